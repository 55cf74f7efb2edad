"""Readers and writers beside each other: snapshots, turns, locks, forks, foreign programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_workload import LIBVER, skeleton

from simarchive.errors import (
    ClosedError,
    CorruptError,
    ForeignChangeError,
    FormatError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from simarchive.journal import Durability, Journal

KILLS = int(os.environ.get("SIMARCHIVE_KILLS", "20"))
SOAK_S = float(os.environ.get("SIMARCHIVE_SOAK_SECONDS", "4"))


class Store:
    """One opening of a container, used as the container floor uses it."""

    def __init__(self, path: Path, *, writable: bool = True, **options: object) -> None:
        self.journal = Journal.open(path, writable=writable, skeleton=skeleton, **options)
        self.handle: h5py.File | None = None
        self.mode = "r+" if writable else "r"
        self.reopened = 0

    def renew(self, moved: bool) -> h5py.File:
        if moved or self.handle is None:
            self.drop()
            self.handle = h5py.File(self.journal.file, self.mode, libver=LIBVER)
            self.reopened += 1
        return self.handle

    def drop(self) -> None:
        if self.handle is not None:
            old, self.handle = self.handle, None
            old.close()

    def write(self, **values: int) -> None:
        handle = self.renew(self.journal.begin_write(5.0))
        try:
            for key, value in values.items():
                handle.attrs[key] = value
            handle.flush()
            self.journal.commit()
        finally:
            self.journal.end_write()

    def read(self) -> dict[str, int]:
        handle = self.renew(self.journal.begin_read(5.0))
        try:
            return {key: int(value) for key, value in handle.attrs.items()}
        finally:
            self.journal.end_read()

    def close(self) -> None:
        self.journal.file.retire()
        self.drop()
        self.journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "container.h5"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    result = Store(path)
    yield result
    result.close()


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


# ---- turns ------------------------------------------------------------------------------------


def test_the_handle_stays_while_nobody_else_commits(store: Store) -> None:
    for i in range(5):
        store.write(a=i)
        assert store.read() == {"a": i}
    assert store.reopened == 1


def test_two_writers_take_turns_and_see_each_other(path: Path, store: Store) -> None:
    other = Store(path)
    for i in range(6):
        store.write(**{f"a{i}": i})
        assert f"a{i}" in other.read()
        other.write(**{f"b{i}": i})
    assert len(store.read()) == 12
    other.close()
    assert len(store.read()) == 12


def test_an_idle_writer_holds_no_lock(path: Path, store: Store) -> None:
    store.write(a=1)
    assert store.journal.checkpoint()
    with h5py.File(path, "r") as stock:
        assert stock.attrs["a"] == 1


def test_a_checkpoint_by_another_leaves_the_handle_good(path: Path, store: Store) -> None:
    store.write(a=1)
    reader = Store(path, writable=False)
    assert reader.read() == {"a": 1}
    other = Store(path)
    assert other.journal.checkpoint()
    assert reader.read() == {"a": 1}
    store.write(b=2)
    assert reader.read() == {"a": 1, "b": 2}
    assert store.reopened == 1
    assert reader.reopened == 2
    other.close()
    assert not log_of(path).exists()
    assert store.read() == reader.read() == {"a": 1, "b": 2}
    assert store.reopened == 1
    assert reader.reopened == 2
    store.write(c=3)
    assert reader.read() == {"a": 1, "b": 2, "c": 3}
    reader.close()


def test_a_commit_after_a_checkpoint_and_a_new_log_is_seen(path: Path, store: Store) -> None:
    store.write(a=1)
    store.journal.checkpoint()
    for value in range(2, 6):
        other = Store(path)
        other.write(a=value)
        other.close()
        assert store.read() == {"a": value}
    assert store.reopened == 5


# ---- snapshots --------------------------------------------------------------------------------


def test_a_reader_keeps_its_snapshot_while_a_writer_commits_twice(path: Path, store: Store) -> None:
    data = np.arange(200_000.0)
    handle = store.renew(store.journal.begin_write())
    handle["x"] = data
    handle.flush()
    store.journal.commit()
    store.journal.end_write()
    reader = Store(path, writable=False)
    old = reader.renew(reader.journal.begin_read())
    for factor in (2, 3):
        handle = store.renew(store.journal.begin_write())
        handle["x"][...] = data * factor
        handle[f"y{factor}"] = data * factor
        handle.flush()
        store.journal.commit()
        store.journal.end_write()
    assert not store.journal.checkpoint(0.05)
    old.id.refresh() if hasattr(old.id, "refresh") else None
    np.testing.assert_array_equal(old["x"][...], data)
    assert list(old) == ["x"]
    reader.journal.end_read()
    assert reader.journal.begin_read()
    new = reader.renew(True)
    np.testing.assert_array_equal(new["x"][...], data * 3)
    reader.journal.end_read()
    assert store.journal.checkpoint(1.0)
    reader.close()


def test_reads_nest_in_transactions_and_in_each_other(store: Store) -> None:
    journal = store.journal
    store.renew(journal.begin_write())
    assert not journal.begin_read()
    journal.end_read()
    with pytest.raises(StorageError):
        journal.end_read()
    journal.end_write()
    journal.begin_read()
    assert not journal.begin_read()
    with pytest.raises(StorageError):
        journal.begin_write()
    journal.end_read()
    journal.end_read()
    with pytest.raises(StorageError):
        journal.end_read()


def test_a_read_outside_an_operation_is_refused(store: Store) -> None:
    store.write(a=1)
    with pytest.raises(ClosedError):
        store.journal.file.read_at(memoryview(bytearray(8)), 0)


def test_readers_work_on_read_only_media_with_a_hot_log(path: Path) -> None:
    code = """
import os, sys
from test_journal_processes import Store
store = Store(sys.argv[1])
store.write(a=1)
store.write(a=2)
os.kill(os.getpid(), 9)
"""
    run_python(code, path)
    assert log_of(path).exists()
    for name in (path, log_of(path)):
        name.chmod(0o444)
    path.parent.chmod(0o555)

    def everything() -> list[object]:
        # Root writes where it may not; a file that comes and goes leaves the time of its folder.
        names = sorted(path.parent.iterdir())
        return [
            names,
            path.parent.stat().st_mtime_ns,
            *(name.read_bytes() for name in names if name.is_file()),
        ]

    before = everything()
    try:
        reader = Store(path, writable=False)
        assert reader.read() == {"a": 2}
        with pytest.raises(ReadOnlyError):
            reader.journal.begin_write()
        reader.close()
        assert everything() == before
    finally:
        path.parent.chmod(0o755)


# ---- roll back --------------------------------------------------------------------------------


def test_ending_without_commit_rolls_back(store: Store) -> None:
    store.write(a=1)
    handle = store.renew(store.journal.begin_write())
    handle.attrs["a"] = 2
    handle.flush()
    store.journal.end_write()
    assert store.read() == {"a": 1}
    store.write(b=1)
    assert store.read() == {"a": 1, "b": 1}


def test_closing_inside_a_transaction_rolls_back(path: Path) -> None:
    store = Store(path)
    store.write(a=1)
    handle = store.renew(store.journal.begin_write())
    handle.attrs["a"] = 2
    handle.flush()
    store.journal.close()
    store.drop()
    assert not log_of(path).exists()
    with h5py.File(path, "r") as stock:
        assert stock.attrs["a"] == 1


def test_a_handle_may_be_closed_before_the_commit(path: Path) -> None:
    store = Store(path)
    for i in range(4):
        handle = store.renew(store.journal.begin_write())
        handle.create_dataset(f"x{i}", data=np.arange(1000))
        if i:
            del handle[f"x{i - 1}"]
        handle.close()
        store.handle = None
        assert store.journal.commit()
        store.journal.end_write()
    store.close()
    with h5py.File(path, "r") as stock:
        assert list(stock) == ["x3"]


def test_a_commit_of_nothing_writes_nothing(path: Path, store: Store) -> None:
    store.write(a=1)
    size = log_of(path).stat().st_size
    store.renew(store.journal.begin_write())
    assert not store.journal.commit()
    store.journal.end_write()
    assert log_of(path).stat().st_size == size


# ---- locks ------------------------------------------------------------------------------------


def test_a_second_writer_learns_who_holds_the_lock(path: Path, store: Store) -> None:
    code = """
import sys
from test_journal_processes import Store
store = Store(sys.argv[1])
store.journal.begin_write()
print("locked", flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        start = time.monotonic()
        with pytest.raises(LockedError, match=f"process {child.pid} on host"):
            store.journal.begin_write(0.2)
        assert 0.15 < time.monotonic() - start < 3
        assert store.read() == {}
        child.kill()
    store.write(a=1)
    assert store.read() == {"a": 1}


def test_stock_hdf5_writers_and_ours_exclude_each_other(path: Path, store: Store) -> None:
    store.write(a=1)
    store.journal.checkpoint()
    with h5py.File(path, "r+"):
        with pytest.raises(LockedError, match="another HDF5 program"):
            store.journal.begin_write(0.05)
        with pytest.raises(LockedError, match="another HDF5 program"):
            store.journal.begin_read(0.05)
    store.journal.begin_write()
    with pytest.raises(BlockingIOError):
        h5py.File(path, "r+")
    with h5py.File(path, "r") as stock:
        assert stock.attrs["a"] == 1
    store.journal.end_write()


def test_readers_that_come_and_go_do_not_starve_the_checkpoint(path: Path, store: Store) -> None:
    code = """
import sys, time
from test_journal_processes import Store
store = Store(sys.argv[1], writable=False)
end = time.monotonic() + float(sys.argv[2])
print("ready", flush=True)
while time.monotonic() < end:
    store.read()
store.close()
"""
    store.close()
    limit = 1 << 17
    store.__init__(path, checkpoint_bytes=limit)  # type: ignore[misc]
    store.write(a=0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), "2.0"], stdout=subprocess.PIPE, env=environment
        )
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    largest, end = 0, time.monotonic() + 1.5
    while time.monotonic() < end:
        store.write(a=store.reopened, b=time.monotonic_ns())
        largest = max(largest, log_of(path).stat().st_size)
    for reader in readers:
        assert reader.wait(30) == 0
        reader.stdout.close()  # type: ignore[union-attr]
    assert largest < 6 * limit


# ---- forks ------------------------------------------------------------------------------------


def in_child(action: object) -> str:
    """Return what `action` returns, or the error it raises, in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                text = str(action())  # type: ignore[operator]
            except StorageError as error:
                text = f"{type(error).__name__}: {error}"
            os.write(writer, text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(pid, 0)
    return text


def test_a_forked_child_is_told_to_open_again_and_harms_nothing(path: Path, store: Store) -> None:
    store.write(a=1)
    journal = store.journal
    handle = store.renew(journal.begin_write())
    handle.attrs["a"] = 2
    for action in (
        journal.begin_read,
        journal.begin_write,
        journal.commit,
        journal.roll_back,
        journal.end_write,
        journal.checkpoint,
        lambda: journal.file.read_at(memoryview(bytearray(100)), 0),
        lambda: journal.file.write(b"x"),
    ):
        text = in_child(action)
        assert text.startswith("ClosedError"), text
        assert "again in this process" in text
    in_child(journal.close)
    # The parent's lock is still held, and its transaction goes on.
    other = Journal.open(path, writable=True)
    with pytest.raises(LockedError):
        other.begin_write(0.02)
    other.close()
    handle.flush()
    assert journal.commit()
    journal.end_write()
    assert store.read() == {"a": 2}


def test_a_child_that_outlives_a_killed_writer_does_not_keep_its_lock(path: Path) -> None:
    code = """
import os, sys, time
from test_journal_processes import Store
store = Store(sys.argv[1])
store.journal.begin_write()
child = os.fork()
if child == 0:
    time.sleep(20)
    os._exit(0)
time.sleep(0.1)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.wait(20) == -signal.SIGKILL
        try:
            store = Store(path)
            store.write(a=1)
            store.close()
        finally:
            os.kill(child, signal.SIGKILL)


# ---- foreign programs -------------------------------------------------------------------------


def leave_a_hot_log(path: Path) -> None:
    code = """
import os, sys, numpy as np
from test_journal_processes import Store
store = Store(sys.argv[1])
handle = store.renew(store.journal.begin_write())
handle["x"] = np.arange(5000.0)
handle.flush()
store.journal.commit()
store.journal.end_write()
store.journal.checkpoint()
store.write(a=1)
os.kill(os.getpid(), 9)
"""
    run_python(code, path)
    assert log_of(path).exists()


@pytest.mark.parametrize("moves_the_end", [False, True])
def test_a_foreign_change_behind_a_hot_log_is_told_and_nothing_is_overwritten(
    path: Path, moves_the_end: bool
) -> None:
    leave_a_hot_log(path)
    with h5py.File(path, "r+") as stock:
        assert "a" not in stock.attrs
        if moves_the_end:
            stock["y"] = np.arange(9000.0)
        else:
            stock["x"][:10] = -1.0
    before = path.read_bytes(), log_of(path).read_bytes()
    for writable in (False, True):
        store = Store(path, writable=writable)
        with pytest.raises(ForeignChangeError, match="changed by another program"):
            store.journal.begin_read()
        if writable:
            with pytest.raises(ForeignChangeError):
                store.journal.begin_write()
            with pytest.raises(ForeignChangeError):
                store.journal.checkpoint()
            with pytest.raises(ForeignChangeError):
                store.journal.close()
        store.close()
    assert path.read_bytes() == before[0]
    # The name of the last process that tried may have changed, nothing else.
    after = log_of(path).read_bytes()
    assert after[:512] == before[1][:512]
    assert after[4096:] == before[1][4096:]
    log_of(path).rename(path.with_name("kept"))
    store = Store(path)
    assert store.read() == {}
    store.write(b=1)
    store.close()


def test_a_foreign_byte_in_a_logged_page_is_found(path: Path) -> None:
    leave_a_hot_log(path)
    with path.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    store = Store(path)
    with pytest.raises(ForeignChangeError, match="near byte 0"):
        store.journal.begin_write()
    with pytest.raises(ForeignChangeError):
        store.close()


def test_a_living_writer_finds_a_foreign_change_between_its_transactions(path: Path, store: Store) -> None:
    store.write(a=1)
    with h5py.File(path, "r+"):
        pass
    with pytest.raises(ForeignChangeError):
        store.journal.begin_write()
    log_of(path).unlink()
    assert store.read() == {}
    store.write(b=2)
    assert store.read() == {"b": 2}


def test_a_log_of_another_container_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    leave_a_hot_log(first)
    store = Store(second)
    store.write(b=1)
    store.close()
    reader = Store(second, writable=False)
    assert reader.read() == {"b": 1}
    log_of(first).rename(log_of(second))
    for _ in range(2):
        with pytest.raises(ForeignChangeError, match="belongs to another container"):
            reader.journal.begin_read()
    reader.close()


def test_a_copied_pair_recovers_like_the_original(tmp_path: Path) -> None:
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    leave_a_hot_log(first)
    second.write_bytes(first.read_bytes())
    log_of(second).write_bytes(log_of(first).read_bytes())
    for path in (first, second):
        store = Store(path)
        assert store.read() == {"a": 1}
        store.close()
        with h5py.File(path, "r") as stock:
            assert stock.attrs["a"] == 1


def test_a_foreign_change_without_pending_commits_is_simply_the_new_state(path: Path, store: Store) -> None:
    store.write(a=1)
    store.journal.checkpoint()
    with h5py.File(path, "r+", libver=LIBVER) as stock:
        stock.attrs["a"] = 7
    assert store.read() == {"a": 7}
    store.write(b=1)
    assert store.read() == {"a": 7, "b": 1}


def test_a_container_marked_as_being_written_is_refused(path: Path) -> None:
    Store(path).close()
    run_python("import h5py, os, sys; f = h5py.File(sys.argv[1], 'r+'); f.flush(); os._exit(0)", path)
    store = Store(path)
    with pytest.raises(CorruptError, match="marked as being written"):
        store.journal.begin_read()
    store.journal.close()


def test_a_container_put_in_place_of_another_is_followed(path: Path, store: Store) -> None:
    store.write(a=1)
    store.journal.checkpoint()
    new = path.with_name("new.h5")
    other = Store(new)
    other.write(z=9)
    other.close()
    log_of(path).unlink()
    new.rename(path)
    assert store.read() == {"z": 9}


def test_opening_creates_once_never_writes_and_names_what_is_missing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        Journal.open(tmp_path / "nothing.h5", writable=True)
    with pytest.raises(NotFoundError):
        Journal.open(tmp_path / "nothing.h5", writable=False, skeleton=skeleton)
    Journal.open(path, writable=True, skeleton=skeleton).close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    Journal.open(path, writable=True, skeleton=skeleton).close()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [name.name for name in tmp_path.iterdir()] == ["container.h5"]
    (tmp_path / "text").write_text("no HDF5 at all, but long enough to hold a superblock")
    journal = Journal.open(tmp_path / "text", writable=False)
    with pytest.raises(FormatError):
        journal.begin_read()
    journal.close()
    with pytest.raises(ClosedError):
        journal.begin_read()


# ---- kills ------------------------------------------------------------------------------------

WRITER = """
import json, os, random, sys, time
import numpy as np
from test_journal_processes import Store
from simarchive.journal import Durability, files
path, seed, durability = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = random.Random(seed)
left = [rng.randint(1, 80) if rng.random() < 0.7 else 10**9]

class Dying(files.Files):
    def _count(self):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
    def pwrite(self, fd, data, offset):
        if left[0] == 1:
            super().pwrite(fd, bytes(data)[: len(data) // 2], offset)
        self._count()
        return super().pwrite(fd, data, offset)
    def sync(self, fd):
        self._count()
        super().sync(fd)
    def truncate(self, fd, size):
        self._count()
        super().truncate(fd, size)
    def unlink(self, path):
        self._count()
        super().unlink(path)

while True:
    store = Store(path, durability=Durability(durability), checkpoint_bytes=1 << 17, files=Dying())
    for _ in range(rng.randint(1, 12)):
        handle = store.renew(store.journal.begin_write(20.0))
        number = int(handle.attrs.get("number", 0)) + 1
        size = rng.choice((10, 300, 20_000))
        if f"x{number - 3}" in handle:
            del handle[f"x{number - 3}"]
        handle[f"x{number}"] = np.full(size, float(number))
        handle.attrs["number"] = number
        handle.flush()
        if rng.random() < 0.1:
            store.journal.roll_back()
            store.drop()
        else:
            print("intent", number, flush=True)
            store.journal.commit()
            print("done", number, flush=True)
        store.journal.end_write()
    store.close()
"""


def check_numbers(handle: h5py.File) -> int:
    number = int(handle.attrs.get("number", 0))
    names = {f"x{n}" for n in range(max(1, number - 2), number + 1)}
    assert {name for name in handle if name.startswith("x")} == names
    for name in names:
        assert (handle[name][...] == float(name[1:])).all(), name
    return number


def test_a_killed_process_loses_no_commit(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    Store(path).close()
    hot = 0
    for kill in range(KILLS):
        durability = ("commit", "close")[kill % 2]
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(kill), durability],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep((0.0, 0.02, 0.1)[kill % 3])
            child.kill()
            output, errors = child.communicate(timeout=30)
        assert not errors, errors
        hot += log_of(path).exists()
        reader = Store(path, writable=False)
        number = check_numbers(reader.renew(reader.journal.begin_read()))
        reader.journal.end_read()
        reader.close()
        words = [line.split() for line in output.splitlines()]
        done = max((int(w[1]) for w in words if len(w) == 2 and w[0] == "done"), default=0)
        intent = max((int(w[1]) for w in words if len(w) == 2 and w[0] == "intent"), default=number)
        assert done <= number <= max(intent, done), (done, number, intent)
    assert hot
    store = Store(path)
    store.write(end=1)
    store.close()
    with h5py.File(path, "r") as stock:
        assert stock.attrs["end"] == 1


# ---- many at once -----------------------------------------------------------------------------

SHARER = """
import json, os, random, sys, time
import numpy as np
from test_journal_processes import Store
path, kind, number, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
store = Store(path, writable=kind == "writer", checkpoint_bytes=1 << 17)
end, rounds, worst, last = time.monotonic() + seconds, 0, 0.0, 0
while time.monotonic() < end:
    start = time.monotonic()
    if kind == "writer":
        handle = store.renew(store.journal.begin_write(30.0))
        worst = max(worst, time.monotonic() - start)
        total = int(handle.attrs["total"]) + 1
        mine = int(handle.attrs.get(f"w{number}", 0))
        assert mine == rounds, (mine, rounds)
        handle.attrs[f"w{number}"] = mine + 1
        handle.attrs["total"] = total
        if total % 7 == 0:
            if "bulk" in handle:
                del handle["bulk"]
            handle["bulk"] = np.full(20_000, float(total))
        handle.flush()
        store.journal.commit()
        store.journal.end_write()
    else:
        handle = store.renew(store.journal.begin_read(30.0))
        for _ in range(2):
            values = {k: int(v) for k, v in handle.attrs.items()}
            assert values["total"] == sum(v for k, v in values.items() if k.startswith("w")), values
            if "bulk" in handle:
                data = handle["bulk"][...]
                assert (data == data[0]).all() and int(data[0]) == values["total"] // 7 * 7
        assert values["total"] >= last
        last = values["total"]
        store.journal.end_read()
    rounds += 1
    if rounds % 50 == 0:
        store.close()
        store = Store(path, writable=kind == "writer", checkpoint_bytes=1 << 17)
store.close()
print(json.dumps({"rounds": rounds, "worst": worst}))
"""


def test_four_writers_and_four_readers_share_one_file(path: Path) -> None:
    store = Store(path)
    store.write(total=0)
    store.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = {
        (kind, number): subprocess.Popen(
            [sys.executable, "-c", SHARER, str(path), kind, str(number), str(SOAK_S)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for kind in ("writer", "reader")
        for number in range(4)
    }
    answers = {key: child.communicate(timeout=SOAK_S + 90) for key, child in children.items()}
    assert not [errors for _, errors in answers.values() if errors]
    rounds = {key: json.loads(output)["rounds"] for key, (output, _) in answers.items()}
    print(rounds)
    reader = Store(path, writable=False)
    values = reader.read()
    reader.close()
    for number in range(4):
        assert values[f"w{number}"] == rounds["writer", number] > 0
    assert all(count > 0 for count in rounds.values())
    assert not log_of(path).exists()


def test_durability_close_syncs_the_log_only_at_the_end(path: Path) -> None:
    from simarchive.journal.files import Files

    class Counting(Files):
        syncs = 0

        def sync(self, fd: int) -> None:
            type(self).syncs += 1
            super().sync(fd)

    store = Store(path, durability=Durability.CLOSE, files=Counting())
    store.write(a=0)
    begun = Counting.syncs
    for i in range(10):
        store.write(a=i)
    assert Counting.syncs == begun
    store.close()
    assert Counting.syncs > begun

"""Every commit is seen, or its absence is said: short reads, logs that others cut, devices that fail."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from children import force_field, is_a, is_ours, keys_in, killed_writer, outcome, run, say, start, store, use

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.testing.sample_objects import simulation, write_files

# ---- reads and writes that do less than they were asked for --------------------------------------------

LIMITS = (1 << 30, 1 << 16, 5_000, 511)


def limit_calls(limit: int, *, writes: bool = False) -> None:
    """Have the kernel read (and write) no more than so many bytes at once."""
    pread, preadv, read, pwrite = os.pread, os.preadv, os.read, os.pwrite

    def short_preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        return preadv(fd, [memoryview(buffers[0])[:limit]], offset)

    os.pread = lambda fd, size, offset: pread(fd, min(size, limit), offset)
    os.preadv = short_preadv  # type: ignore[assignment]
    os.read = lambda fd, size: read(fd, min(size, limit))
    if writes:
        os.pwrite = lambda fd, data, offset: pwrite(fd, memoryview(data)[:limit], offset)


def store_large_and_die() -> None:
    files = write_files(Path("files"), os.urandom(300_000))
    backend = HDF5Storage("a.h5")
    say(backend.store_force_field(force_field("small")))
    say(backend.store_force_field(force_field("x" * 120_000)))
    say(backend.store_object(simulation(n_frames=4000), files))
    with backend.transaction():
        for number in range(40):
            say(backend.store_force_field(force_field("y" * 10_000 + str(number))))
    say(backend.store_force_field(force_field("last")))
    os.kill(os.getpid(), signal.SIGKILL)


def look_with_short_reads(limit: int, mode: str) -> None:
    limit_calls(limit)
    backend = HDF5Storage("a.h5", mode=mode)
    say(backend.keys(), backend.verify(full=True).ok)
    for matches in backend.query(SimulationDataQuery()).values():
        for key, data, path in matches:
            assert len(data.observables["PotentialEnergy"]) == 4000
            trajectory = Path(path, "trajectory.dcd").read_bytes()
            assert trajectory == Path("files/trajectory.dcd").read_bytes()
            assert backend.open_member(key, "trajectory.dcd").read() == trajectory
    if mode == "a":
        say(backend.store_force_field(force_field("after")))
    backend.close()


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("limit", LIMITS)
def test_reads_that_return_less_than_asked_for_drop_no_commit(limit: int, mode: str, place: Path) -> None:
    keys = [line[0] for line in run(store_large_and_die).said]
    assert len(keys) == 44
    (seen, is_sound), *after = run(look_with_short_reads, limit, mode).ended_well().said
    assert seen == keys
    assert is_sound
    assert keys_in("a.h5") == keys + [line[0] for line in after]


def store_with_short_writes(limit: int) -> None:
    limit_calls(limit, writes=True)
    files = write_files(Path("files"), os.urandom(300_000))
    with HDF5Storage("a.h5") as backend:
        say(backend.store_force_field(force_field("x" * 120_000)))
        say(backend.store_object(simulation(n_frames=4000), files))


@pytest.mark.parametrize("limit", LIMITS)
def test_writes_that_take_less_than_given_lose_nothing(limit: int, place: Path) -> None:
    done = run(store_with_short_writes, limit).ended_well()
    assert keys_in("a.h5") == [line[0] for line in done.said]


def store_and_read_among_signals() -> None:
    """Work while a signal with a handler that does nothing comes all the time."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    files = write_files(Path("files"), os.urandom(3_000_000))
    with HDF5Storage("a.h5") as backend:
        for number in range(10):
            say(backend.store_force_field(force_field(number)))
        key = backend.store_object(simulation(), files)
        say(key)
        assert backend.open_member(key, "trajectory.dcd").read() == (files / "trajectory.dcd").read_bytes()
        assert len(backend) == 11
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_signals_whose_handlers_do_nothing_disturb_nothing(place: Path) -> None:
    done = run(store_and_read_among_signals).ended_well()
    assert keys_in("a.h5") == [line[0] for line in done.said]


# ---- durability="close" --------------------------------------------------------------------------------

SYNCED = "synced"


def watch_syncs() -> None:
    """Write down which file is synced, also at exit."""
    fd = os.open(SYNCED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watched(call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(synced: int) -> None:
            call(synced)
            name = os.path.basename(os.readlink(f"/proc/self/fd/{synced}"))
            os.write(fd, f"{name.removesuffix(' (deleted)')}\n".encode())

        return sync

    os.fsync, os.fdatasync = watched(os.fsync), watched(os.fdatasync)


def end_with_unsynced_commits(way: str, beside: str) -> None:
    """Commit without a sync, and end in some way while somebody else is at work or not."""
    other = HDF5Storage("a.h5", mode="r" if beside == "a reader" else "a")
    inside = threading.Event()

    def be_busy() -> None:
        if beside == "a writer":
            with other.transaction():
                inside.set()
                time.sleep(60)
        else:

            def wait(n_bytes: int) -> None:
                inside.set()
                time.sleep(60)

            other.verify(full=True, progress=wait)

    watch_syncs()
    backend = HDF5Storage("a.h5", durability="close", lock_timeout_s=0.3)
    say(backend.store_force_field(force_field("one")), backend.store_force_field(force_field("two")))
    if beside != "nobody":
        threading.Thread(target=be_busy, daemon=True).start()
        assert inside.wait(10)
    Path(SYNCED).write_bytes(b"")
    if way == "close":
        backend.close()
    elif way == "with":
        with backend:
            pass
    elif way == "an error in with":
        try:
            with backend:
                raise ValueError("of the program")
        except ValueError:
            pass
    elif way == "forgotten":
        del backend
    else:
        globals()["kept"] = backend
        sys.exit(0)
    say("closed")
    os._exit(0)


@pytest.mark.parametrize("beside", ["nobody", "a writer", "a reader"])
@pytest.mark.parametrize("way", ["close", "with", "an error in with", "forgotten", "sys.exit"])
def test_durability_close_syncs_on_every_way_out(way: str, beside: str, place: Path) -> None:
    files = write_files(Path("files"))
    run(store_a_simulation, str(files)).ended_well()
    done = run(end_with_unsynced_commits, way, beside, torn_down=True, timeout_s=8)
    assert done.code == 0, str(done)
    synced = Path(SYNCED).read_text().split()
    if Path("a.h5-wal").exists():
        assert "a.h5-wal" in synced
    else:
        assert "a.h5" in synced
    assert set(done.said[0]) < set(keys_in("a.h5"))


def store_a_simulation(files: str) -> None:
    with HDF5Storage("a.h5") as backend:
        backend.store_object(simulation(), Path(files))


# ---- a log that others cut, remove or replace ----------------------------------------------------------


def _end_of_commits(log: Path) -> int:
    """Return where the last byte of the log is that says something."""
    return len(log.read_bytes().rstrip(b"\0"))


def _cut_to_nothing(log: Path) -> None:
    os.truncate(log, 0)


def _cut_in_half(log: Path) -> None:
    os.truncate(log, _end_of_commits(log) // 2)


def _cut_the_last_byte(log: Path) -> None:
    os.truncate(log, _end_of_commits(log) - 1)


def _cut_the_last_commit(log: Path) -> None:
    """Put the log back as it was before the last commit, in place."""
    os.truncate(log, 0)
    log.write_bytes(Path("earlier").read_bytes())


def _remove(log: Path) -> None:
    log.unlink()


def _replace_by_nothing(log: Path) -> None:
    Path("empty").touch()
    os.replace("empty", log)


def _replace_by_an_earlier_one(log: Path) -> None:
    os.replace("earlier", log)


def _replace_by_that_of_another(log: Path) -> None:
    os.replace("other.h5-wal", log)


def _replace_by_zeros(log: Path) -> None:
    size = log.stat().st_size
    log.unlink()
    log.write_bytes(bytes(size))


HARMS: dict[str, Callable[[Path], None]] = {
    "cut to nothing": _cut_to_nothing,
    "cut in half": _cut_in_half,
    "cut by a byte": _cut_the_last_byte,
    "cut by a commit": _cut_the_last_commit,
    "removed": _remove,
    "replaced by an empty file": _replace_by_nothing,
    "replaced by an earlier log": _replace_by_an_earlier_one,
    "replaced by the log of another": _replace_by_that_of_another,
    "replaced by zeros": _replace_by_zeros,
}


def harm_the_log_of(who: str, harm: str, what_next: str) -> None:
    """Commit three times, harm the log under an open backend, and use that."""
    path, log = Path("a.h5"), Path("a.h5-wal")
    writer = HDF5Storage(path, lock_timeout_s=0.5)
    keys = [writer.store_force_field(force_field(number)) for number in range(2)]
    shutil.copy(log, "earlier")
    keys.append(writer.store_force_field(force_field("last")))
    user = {
        "the writer": lambda: writer,
        "another writer": lambda: HDF5Storage(path, lock_timeout_s=0.5),
        "a reader": lambda: HDF5Storage(path, mode="r", lock_timeout_s=0.5),
    }[who]()
    assert user.keys()[-3:] == keys
    HARMS[harm](log)
    if what_next == "read":
        say("read", outcome(lambda: say("keys", user.keys())))
    elif what_next == "store":
        say("store", outcome(lambda: keys.append(user.store_force_field(force_field("new")))))
        say("read", outcome(lambda: say("keys", user.keys())))
    if user is not writer and who != "a reader":
        say("close", outcome(user.close))
    elif user is writer:
        say("close", outcome(writer.close))
    say("acknowledged", keys)
    os._exit(0)


@pytest.mark.parametrize(
    ("who", "what_next"),
    [
        *itertools.product(["the writer", "another writer"], ["read", "store", "close"]),
        ("a reader", "read"),  # It neither stores nor tidies up.
    ],
)
@pytest.mark.parametrize("harm", HARMS)
def test_a_log_that_was_harmed_under_an_open_backend_hides_no_commit(
    harm: str, who: str, what_next: str, place: Path
) -> None:
    store("a.h5", "before")
    killed_writer("other.h5", "of another")
    done = run(harm_the_log_of, who, harm, what_next, timeout_s=10).ended_well()
    said = {line[0]: line[1] for line in done.said}
    keys = said.pop("acknowledged")
    seen = said.pop("keys", None)
    for what, text in said.items():
        assert is_ours(text), (what, text)
    if said.get("read") == "ok":
        assert seen is not None
        assert set(keys) < set(seen), "fewer objects than were acknowledged, without a word"
    if "close" in said and all(text == "ok" for text in said.values()):
        # Nothing was said, so nothing may be missing now, unless that is said.
        found = use("a.h5", "r")
        if found == "ok":
            assert set(keys) < set(keys_in("a.h5"))
        assert is_a(found, "ok", "ForeignChangeError"), found


def remove_the_log_of_an_idle_one(who: str) -> None:
    writer = HDF5Storage("a.h5")
    key = writer.store_force_field(force_field("one"))
    writer.close()
    user = HDF5Storage("a.h5", mode="r" if who == "a reader" else "a")
    if who != "a reader":
        with user.transaction():
            pass
    Path("a.h5-wal").unlink(missing_ok=True)
    say(outcome(user.keys), key in user)
    if who != "a reader":
        say(outcome(lambda: user.store_force_field(force_field("two"))), len(user))
    user.close()


@pytest.mark.parametrize("who", ["a reader", "a writer"])
def test_a_log_without_commits_may_be_removed_under_an_open_backend(who: str, place: Path) -> None:
    for said, found in run(remove_the_log_of_an_idle_one, who).ended_well().said:
        assert said == "ok"
        assert found
    assert len(keys_in("a.h5")) == (1 if who == "a reader" else 2)


# ---- a device that fails to read -----------------------------------------------------------------------

FIRST_FAILURES = range(1, 40) if os.environ.get("SIMARCHIVE_MOMENTS") == "0" else (1, 2, 4, 8, 16)


def fail_reads(first: int, how_many: int) -> Callable[[], None]:
    """Have reads fail from the n-th on; return what puts an end to that."""
    calls, last = 0, first + how_many

    def failing(call: Callable[..., object]) -> Callable[..., object]:
        def read(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if first <= calls < last:
                raise OSError(5, "Input/output error")
            return call(*arguments)

        return read

    os.pread, os.preadv = failing(os.pread), failing(os.preadv)  # type: ignore[assignment]

    def mend() -> None:
        nonlocal last
        last = 0

    return mend


def read_from_a_device_that_fails(first: int, how_many: int, mode: str) -> None:
    mend = fail_reads(first, how_many)
    opened: list[HDF5Storage] = []

    def use(backend: HDF5Storage) -> None:
        backend.keys()
        for matches in backend.query(SimulationDataQuery()).values():
            for key, data, path in matches:
                assert len(data.observables["PotentialEnergy"]) == 40
                assert Path(path, "output.pdb").exists()
                assert backend.open_member(key, "trajectory.dcd").read()
        list(backend.headers())

    def open_and_use() -> None:
        opened.append(HDF5Storage("a.h5", mode=mode))
        use(opened[0])

    say("failing", outcome(open_and_use))
    mend()
    for backend in opened:
        say("mended", outcome(lambda backend=backend: use(backend)), len(backend))
    with HDF5Storage("a.h5", mode=mode) as anew:
        say("anew", outcome(lambda: use(anew)), len(anew))
        if mode == "a":
            say("stored", outcome(lambda: anew.store_force_field(force_field("after"))), len(anew))


@pytest.mark.parametrize("log", ["no log", "commits in a log"])
@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("how_many", [1, 400], ids=["one read", "all reads"])
def test_a_device_that_fails_to_read_is_reported_and_forgotten_when_it_works_again(
    how_many: int, mode: str, log: str, place: Path
) -> None:
    files = write_files(Path("files"))
    run(store_a_simulation, str(files)).ended_well()
    if log != "no log":
        killed_writer("a.h5", "in the log")
    sound = {name: Path(name).read_bytes() for name in ("a.h5", "a.h5-wal") if Path(name).exists()}
    n_objects, reported = len(sound), 0
    for first in FIRST_FAILURES:
        for name, content in sound.items():
            Path(name).write_bytes(content)
        done = run(read_from_a_device_that_fails, first, how_many, mode, torn_down=True).ended_well()
        (_, failing), *rest = done.said
        assert is_ours(failing), (first, failing)
        reported += failing != "ok"
        for what, said, found in rest:
            assert said == "ok", (first, what, said)
            assert found == n_objects + (what == "stored"), (first, what)
    assert reported > 1


def say_nothing_and_wait() -> None:
    backend = HDF5Storage("a.h5", durability="close")
    say(backend.store_force_field(force_field("one")))
    time.sleep(60)


def test_a_kill_loses_nothing_with_durability_close(place: Path) -> None:
    child = start(say_nothing_and_wait)
    ((key,),) = child.listen(1)
    child.signal()
    child.finish()
    assert keys_in("a.h5") == [key]

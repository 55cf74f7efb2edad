"""One container in many processes and threads: turns, snapshots, read-only media, foreign programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
from programs import path_of
from storage_programs import Checker, Child, Collection, Reader, Writer, finish_all, fork, sources_in, warm_up

from simarchive import HDF5Storage, InvalidDataError, SimulationDataQuery
from simarchive.errors import (
    ClosedError,
    ForeignChangeError,
    LockedError,
    ReadOnlyError,
    StorageError,
)
from simarchive.journal import LOG_SUFFIX
from simarchive.testing.sample_objects import simulation, write_files

SOAK_S = float(os.environ.get("SIMARCHIVE_SOAK_SECONDS", "5"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "container.h5"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


def log_of(path: Path) -> Path:
    return Path(f"{path}{LOG_SUFFIX}")


def in_child(action: Callable[[], object]) -> str:
    """Return what `action` returned or raised in a forked child."""

    def program(say: Callable[..., None]) -> None:
        try:
            say("returned", str(action()))
        except StorageError as error:
            say(type(error).__name__, str(error))

    (line,) = fork(program).finish()
    return f"{line[0]}: {line[1]}"


def leave_hot_log(path: Path, files: Path, keys: tuple[str, ...] = ("hot",)) -> None:
    """Commit objects in a process that dies, so that they are in the log only."""

    def program(say: Callable[..., None]) -> None:
        backend = HDF5Storage(path)
        for key in keys:
            backend.store_object(simulation(key), files, storage_key=key)
        os.kill(os.getpid(), 9)

    fork(program).finish()
    assert log_of(path).exists()


# ---- many at once -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_soak_of_four_writers_and_four_readers_keeps_every_object_once(path: Path, tmp_path: Path) -> None:
    sources = sources_in(tmp_path / "sources")
    HDF5Storage(path).close()
    warm_up(tmp_path, sources)
    end = time.monotonic() + SOAK_S
    writers = [fork(Writer(path, sources, number, end)) for number in range(4)]
    readers = [fork(Reader(path, sources, number, lambda: time.monotonic() > end)) for number in range(4)]
    expected: Collection = {}
    rounds = []
    answers = finish_all([*writers, *readers])
    for child, said in zip(writers, answers, strict=False):
        assert child.status == 0, said[-1][1]
        expected.update([line[1] for line in said if line[0] == "intend"][-1])
        rounds.append(said[-1][1])
    looks = [said[-1] for said in answers[len(writers) :]]
    print({"commits": rounds, "reads": [look[1:] for look in looks], "objects": len(expected)})
    assert [look[0] for look in looks] == ["rounds"] * 4, looks
    assert all(rounds)
    (line,) = fork(Checker(path, sources)).finish()
    print(line[1] if line[0] == "error" else "")
    assert line == ["collection", expected]
    HDF5Storage(path).close()  # the last writer may have left the log to the readers
    assert not log_of(path).exists()


def hold_transaction(path: Path, files: Path) -> tuple[Child, int]:
    """Return a process inside a transaction, and the pipe whose end ends it."""
    reader, writer = os.pipe()

    def program(say: Callable[..., None]) -> None:
        os.close(writer)
        with HDF5Storage(path) as backend, backend.transaction():
            backend.store_object(simulation("held"), files, storage_key="held")
            say("inside")
            os.read(reader, 1)

    child = fork(program)
    os.close(reader)
    child.listen(1)
    return child, writer


def test_a_second_writer_waits_and_then_learns_who_holds_the_container(path: Path, files: Path) -> None:
    with HDF5Storage(path, lock_timeout_s=0.2) as backend:
        backend.store_object(simulation("mine"), files, storage_key="mine")
        child, gate = hold_transaction(path, files)
        assert backend.keys() == ["mine"]  # a reader sees the last commit meanwhile
        start = time.monotonic()
        with pytest.raises(LockedError, match=rf"\b{child.pid}\b"):
            backend.store_object(simulation("later"), files)
        assert time.monotonic() - start >= 0.2
        patient = HDF5Storage(path, lock_timeout_s=30.0)
        threading.Timer(0.3, os.close, (gate,)).start()
        patient.store_object(simulation("later"), files, storage_key="later")
        child.finish()
        assert patient.keys() == backend.keys() == ["mine", "held", "later"]
        patient.close()


def test_threads_share_one_backend(path: Path, files: Path) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(4):
                key = f"{number}-{i}"
                with backend.transaction():
                    backend.store_object(simulation(key), files, storage_key=key)
                    backend.store_object(simulation(f"{key}+"), files, storage_key=f"{key}+")
                stored, extracted = backend.retrieve_object(key)
                assert stored.source_calculation_id == key
                assert (Path(extracted) / "trajectory.dcd").read_bytes() == (
                    files / "trajectory.dcd"
                ).read_bytes()
                assert {key, f"{key}+"} <= set(backend.keys(SimulationDataQuery()))
                backend.remove_object(f"{key}+")
                backend.store_object(simulation(f"{key}+"), files)
        except BaseException as error:
            errors.append(error)

    with HDF5Storage(path) as backend:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors, errors
        assert backend.verify(full=True).ok
        assert len(backend) == 40


def test_a_forked_child_is_told_to_open_the_container_again(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("parent"), files, storage_key="parent")
        stream = backend.open_member("parent", "trajectory.dcd")
        for action in (
            lambda: backend.keys(),
            lambda: backend.store_object(simulation("child"), files),
            lambda: backend.retrieve_object("parent"),
            lambda: stream.read(10),
            lambda: backend.verify(),
        ):
            text = in_child(action)
            assert text.startswith(ClosedError.__name__), text
            assert "again in this process" in text
        assert in_child(backend.close) == "returned: None"
        backend.store_object(simulation("later"), files, storage_key="later")
        assert backend.keys() == ["parent", "later"]
        assert backend.verify(full=True).ok


# ---- transactions -----------------------------------------------------------------------------


def commits_in_log(backend: HDF5Storage) -> int:
    log = backend._container._open_journal()._pair.log
    return 0 if log is None else len(log.states)


def test_a_transaction_of_many_stores_is_one_commit(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("first"), files)
        assert commits_in_log(backend) == 1
        with backend.transaction():
            for number in range(10):
                backend.store_object(simulation(f"{number}"), files)
            with backend.transaction() as same:
                same.store_object(simulation("nested"), files)
            assert commits_in_log(backend) == 1
        assert commits_in_log(backend) == 2
        assert len(backend) == 12


def test_an_error_in_a_transaction_takes_all_of_it_back(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("kept"), files, storage_key="kept")
        with pytest.raises(ZeroDivisionError), backend.transaction():
            backend.remove_object("kept")
            with backend.transaction():
                backend.store_object(simulation("nested"), files, storage_key="nested")
            1 / 0  # noqa: B018
        assert backend.keys() == backend.keys(SimulationDataQuery()) == ["kept"]
        backend.store_object(simulation("after"), files, storage_key="after")
        assert backend.keys() == ["kept", "after"]
        assert backend.verify(full=True).ok


def test_a_failed_store_that_is_caught_leaves_the_rest_of_the_transaction(path: Path, files: Path) -> None:
    def vanish(n_bytes: int) -> None:
        (files / "trajectory.dcd").unlink(missing_ok=True)

    with HDF5Storage(path) as backend:
        with backend.transaction():
            backend.store_object(simulation("one"), files, storage_key="one")
            with pytest.raises(InvalidDataError):
                backend.store_object(simulation("two"), None)
            backend.progress = vanish
            with pytest.raises(StorageError):
                backend.store_object(simulation("three"), files, storage_key="three")
            with pytest.raises(StorageError):
                backend.remove_object("three")
            backend.progress = None
            (files / "trajectory.dcd").write_bytes(b"again")
            backend.store_object(simulation("four"), files, storage_key="four")
        assert backend.keys() == backend.keys(SimulationDataQuery()) == ["one", "four"]
        assert backend.verify(full=True).ok


def test_a_change_that_failed_halfway_takes_its_transaction_along(
    path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simarchive.storage.hdf5 import indexing

    with HDF5Storage(path) as backend:
        backend.store_object(simulation("one"), files, storage_key="one")
        with (
            monkeypatch.context() as patch,
            pytest.raises(StorageError, match="halfway"),
            backend.transaction(),
        ):
            patch.setattr(indexing, "put", lambda *arguments: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                backend.store_object(simulation("two"), files, storage_key="two")
        assert backend.keys() == ["one"]
        backend.store_object(simulation("two"), files, storage_key="two")
        assert backend.verify(full=True).ok


def test_objects_replaced_in_many_sessions_can_always_be_closed(path: Path, tmp_path: Path) -> None:
    # HDF5 2.0 fails to close, or crashes, when some of more than eight attributes of a group in a reopened
    # file are removed and others created. Long member names are kept in attributes.
    rng = np.random.default_rng(1)
    for session in range(12):
        directory = write_files(tmp_path / f"files{session}", b"x" * session)
        (directory / ("n" * 200)).mkdir()
        for number in range(int(rng.integers(0, 14))):
            (directory / ("n" * 200) / f"{'m' * int(rng.integers(60, 200))}{number}").write_text("x")
        with HDF5Storage(path) as backend:
            for key in rng.choice(["a", "b", "c"], 2, replace=False):
                backend.store_object(simulation(str(key)), directory, storage_key=str(key))
    with HDF5Storage(path, "r") as backend:
        assert backend.verify(full=True).ok
        assert sorted(backend.keys()) == ["a", "b", "c"]


# ---- read-only media --------------------------------------------------------------------------


def everything_of(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(directory.iterdir())}


@pytest.mark.parametrize("hot", [True, False])
def test_read_only_media_are_read_and_never_written(tmp_path: Path, files: Path, hot: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = home / "container.h5"
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("cold"), files, storage_key="cold")
    if hot:
        leave_hot_log(path, files)
    before = everything_of(home)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bind = [["mount", "--bind", str(home), str(mounted)], ["mount", "-o", "remount,bind,ro", str(mounted)]]
    is_mounted = (
        os.geteuid() == 0
        and bool(shutil.which("mount"))
        and all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in bind)
    )
    place = mounted / path.name if is_mounted else path
    if not is_mounted:
        for name in (*home.iterdir(), home):
            name.chmod(0o555 if name.is_dir() else 0o444)
    try:
        with HDF5Storage(place, "r") as backend:
            assert backend.keys() == (["cold", "hot"] if hot else ["cold"])
            assert backend.verify(full=True).ok
            with pytest.raises(ReadOnlyError):
                backend.store_object(simulation("more"), files)
        if is_mounted:
            with pytest.raises(ReadOnlyError):
                HDF5Storage(place, "a")
    finally:
        if is_mounted:
            subprocess.run(["umount", str(mounted)], check=True)
        home.chmod(0o755)
    assert everything_of(home) == before


# ---- foreign programs -------------------------------------------------------------------------


def test_foreign_programs_open_the_file_when_nobody_writes(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("one"), files, storage_key="one")
        backend.store_object(simulation("two"), files, storage_key="two")
        backend.remove_object("one")
    with h5py.File(path, "r") as file:
        assert list(file["objects"]) == ["two"]
        member = file["objects/two/files/trajectory.dcd"]
        size = int(member.attrs["member_size"])
        assert member[...].tobytes()[:size] == (files / "trajectory.dcd").read_bytes()
    with netCDF4.Dataset(path) as data:
        assert list(data["objects"].groups) == ["two"]
    dumped = subprocess.run([path_of("h5dump"), "-H", str(path)], capture_output=True, text=True, check=True)
    assert re.search(r'GROUP "two"', dumped.stdout)


def test_foreign_programs_see_the_last_checkpoint_behind_a_hot_log(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("cold"), files, storage_key="cold")
    leave_hot_log(path, files)
    with h5py.File(path, "r") as file:
        assert list(file["objects"]) == ["cold"]
    with netCDF4.Dataset(path) as data:
        assert list(data["objects"].groups) == ["cold"]
    dumped = subprocess.run([path_of("h5dump"), "-H", str(path)], capture_output=True, text=True, check=True)
    assert '"cold"' in dumped.stdout
    assert '"hot"' not in dumped.stdout
    with HDF5Storage(path) as backend:
        assert backend.keys() == ["cold", "hot"]


def test_foreign_writers_and_ours_exclude_each_other(path: Path, files: Path) -> None:
    with HDF5Storage(path, lock_timeout_s=0.2) as backend:
        backend.store_object(simulation("one"), files, storage_key="one")
        child, gate = hold_transaction(path, files)
        refused = in_python(f"import h5py; h5py.File({str(path)!r}, 'r+')")
        assert "lock" in refused
        os.close(gate)
        child.finish()
        with h5py.File(path, "r+"), pytest.raises(LockedError):
            backend.store_object(simulation("two"), files)


def in_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode, "the foreign program was let in"
    return done.stderr


def test_a_foreign_change_behind_a_hot_log_is_told_and_nothing_is_overwritten(
    path: Path, files: Path
) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("cold"), files, storage_key="cold")
    leave_hot_log(path, files)
    with h5py.File(path, "r+") as file:
        file.attrs["foreign"] = np.arange(100)
        file["objects/cold"].attrs["mine"] = 1
    before = path.read_bytes(), log_of(path).read_bytes()
    for mode in ("a", "r"):
        with pytest.raises(ForeignChangeError, match=str(path)):
            HDF5Storage(path, mode)
    assert (path.read_bytes(), log_of(path).read_bytes()) == before


def test_a_foreign_change_without_a_log_is_simply_there(path: Path, files: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("one"), files, storage_key="one")
    with h5py.File(path, "r+") as file:
        file["objects/one"].attrs["mine"] = 1
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("two"), files, storage_key="two")
        assert backend.keys() == ["one", "two"]
    with h5py.File(path, "r") as file:
        assert file["objects/one"].attrs["mine"] == 1

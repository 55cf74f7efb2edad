"""`LocalFileStorage`: Ctrl-C, errors, kills and other writers leave the old or the new state."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupted_lines import lines_of, moments

from simarchive import (
    ClosedError,
    HDF5Storage,
    LocalFileStorage,
    LockedError,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    SmirnoffForceFieldSource,
    StorageError,
    StorageFullError,
    StorageIOError,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    TrainedModelData,
    rebuild_registry,
    unit,
)
from simarchive.storage.evaluator_directory import storage as directory_module
from simarchive.storage.evaluator_directory.changes import CHANGES, Changes

OLD, NEW, MODEL = "a" * 32, "b" * 32, "c" * 32


def simulation(calculation: str, inefficiency: float = 2.0) -> StoredSimulationData:
    return StoredSimulationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=ThermodynamicState("298.15 K", "1 atm"),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=calculation,
        force_field_id="f" * 32,
        coordinate_file_name="output.pdb",
        trajectory_file_name="trajectory.dcd",
        observables=ObservableFrame(
            {"Density": ObservableArray(np.ones((3, 1)) * unit.gram / unit.milliliter)}
        ),
        statistical_inefficiency=inefficiency,
        number_of_molecules=10,
    )


def files(directory: Path, content: str) -> Path:
    (directory / "sub").mkdir(parents=True)
    (directory / "output.pdb").write_text(content)
    (directory / "trajectory.dcd").write_text(content * 100)
    (directory / "sub" / "notes.txt").write_text(content)
    return directory


def model() -> TrainedModelData:
    return TrainedModelData(
        name="density", framework="torch", target_property="density", domain="liquids", metrics={"rmse": 0.1}
    )


def state_of(directory: Path) -> dict[str, bytes]:
    """Return what anyone sees: the files by name, without the hidden ones."""
    return {
        name: path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not (name := str(path.relative_to(directory))).startswith(".")
    }


def hidden_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(".")]


def check_agreement(directory: Path) -> None:
    """Check that the registries name exactly what is there."""
    listed = []
    for name in ("object_keys.json", "simarchive_keys.json"):
        if (directory / name).exists():
            keys = json.loads((directory / name).read_text())["object_keys"].values()
            listed += [key for some in keys for key in some]
    names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    documents = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    assert sorted(documents - {"object_keys", "simarchive_keys"}) == sorted(listed)
    assert {name for name in names if not name.endswith(".json")} <= set(listed)


class Store:
    """A directory with an object of each kind, and what may be done to it."""

    def __init__(self, root: Path) -> None:
        self.start, self.directory = root / "start", root / "store"
        self.old, self.new = files(root / "old", "old"), files(root / "new", "new")
        with LocalFileStorage(self.start) as backend:
            backend.store_object(simulation("1"), self.old, storage_key=OLD)
            backend.store_object(model(), self.old, storage_key=MODEL)
        self.other = LocalFileStorage(root / "other")
        self.other.store_object(simulation("3"), self.new, storage_key="d" * 32)
        self.other.store_object(simulation("1", 1.0), self.new, storage_key="e" * 32)
        self.other.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
        self.force_field = self.other.keys()[-1]

    def begin_again(self) -> LocalFileStorage:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.start, self.directory)
        return LocalFileStorage(self.directory, lock_timeout_s=0.2)

    def add(self, backend: LocalFileStorage) -> None:
        backend.store_object(simulation("2"), self.new, storage_key=NEW)

    def replace(self, backend: LocalFileStorage) -> None:
        backend.store_object(simulation("1", 1.0), self.new)

    def remove(self, backend: LocalFileStorage) -> None:
        backend.remove_object(OLD)

    def remove_own(self, backend: LocalFileStorage) -> None:
        backend.remove_object(MODEL)

    def add_without_files(self, backend: LocalFileStorage) -> None:
        from simarchive import ForceFieldData

        source = SmirnoffForceFieldSource("<SMIRNOFF version='1'/>")
        backend.store_object(ForceFieldData(force_field_source=source), storage_key=NEW)

    def many(self, backend: LocalFileStorage) -> None:
        with backend.transaction():
            self.replace(backend)
            self.remove_own(backend)
            self.add(backend)
            backend.remove_object(OLD)
            backend.store_object(simulation("4"), self.new, storage_key=OLD)

    def merge(self, backend: LocalFileStorage) -> None:
        backend.update(self.other)


OPERATIONS = ["add", "add_without_files", "replace", "remove", "remove_own", "many", "merge"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# A file that is open when an exception comes at the end of its `with` is closed by the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interrupt_at_any_line_leaves_the_old_or_the_new_state(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # some thousand times
    operation = getattr(store, name)
    backend = store.begin_again()
    old = state_of(store.directory)
    lines = lines_of(lambda: operation(backend))
    new = state_of(store.directory)
    assert new != old
    tries = list(moments(lines))
    assert len(tries) > 50
    # The parts of the long ones are tried in full by the others.
    tries = tries[:: 4 if name in ("many", "merge") else 1]
    for moment in tries:
        backend = store.begin_again()
        with contextlib.suppress(KeyboardInterrupt):
            lines_of(lambda backend=backend: operation(backend), moment)  # type: ignore[misc]
        assert state_of(store.directory) in (old, new), moment
        check_agreement(store.directory)
        reader = LocalFileStorage(store.directory, mode="r")
        assert (reader.keys(), reader.problems) == (backend.keys(), {}), moment
        # The lock is free, for others as for this one.
        with held(store.directory):
            pass
        key = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF version='3'/>"))
        assert key in LocalFileStorage(store.directory, mode="r"), moment
        assert hidden_in(store.directory) == [], moment
        check_agreement(store.directory)
        if name == "add":
            assert backend.has_object(simulation("2")) == (NEW if NEW in backend else None), moment


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


PLACES = ["put", "take", "finish", "new_place"]


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_error_at_any_step_leaves_the_old_state(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, place: str, nth: int
) -> None:
    backend = store.begin_again()
    old = state_of(store.directory)
    real, calls = getattr(Changes, place), []

    def fails_once(*arguments: Any) -> Any:
        calls.append(1)
        return failing() if len(calls) == nth else real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Changes, place, fails_once)
        try:
            getattr(store, name)(backend)
        except StorageFullError:
            assert state_of(store.directory) == old
        else:
            assert len(calls) < nth
    assert hidden_in(store.directory) == []
    check_agreement(store.directory)
    keys = backend.keys()
    assert LocalFileStorage(store.directory, mode="r").keys() == keys
    key = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF version='3'/>"))
    assert key in backend


def test_a_first_store_that_fails_at_the_registry_registers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalFileStorage(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr(Changes, "finish", failing)
        with pytest.raises(StorageFullError):
            backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
    assert backend.keys() == []
    assert backend.has_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>")) is None
    assert list((tmp_path / "s").iterdir()) == []


# --- transactions ----------------------------------------------------------------------------------------


def test_a_transaction_writes_the_registry_once_and_is_undone_as_a_whole(store: Store) -> None:
    backend = store.begin_again()
    old = state_of(store.directory)
    with pytest.raises(RuntimeError, match="mine"), backend.transaction():
        store.many(backend)
        assert OLD in backend
        assert MODEL not in backend
        raise RuntimeError("mine")
    assert state_of(store.directory) == old
    assert backend.keys() == [OLD, MODEL]


def test_an_inner_transaction_that_failed_with_changes_lets_the_outer_one_commit_nothing(
    store: Store,
) -> None:
    backend = store.begin_again()
    old = state_of(store.directory)
    with (
        pytest.raises(StorageError, match="failed halfway"),
        backend.transaction(),
        pytest.raises(RuntimeError),
        backend.transaction(),
    ):
        store.add(backend)
        raise RuntimeError
    assert state_of(store.directory) == old


def test_a_store_that_was_refused_before_it_changed_anything_spoils_no_transaction(store: Store) -> None:
    backend = store.begin_again()
    with backend.transaction():
        store.add(backend)
        with pytest.raises(StorageError):
            backend.store_object(simulation("9"), store.directory / "missing")
        with pytest.raises(StorageError):
            backend.remove_object("0" * 32)
    assert NEW in LocalFileStorage(store.directory, mode="r")


def test_a_merge_that_fails_halfway_leaves_the_target_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = store.begin_again()
    old = state_of(store.directory)
    real, calls = directory_module.write_text, []

    def second_fails(*arguments: Any) -> None:
        calls.append(1)
        return failing() if len(calls) == 2 else real(*arguments)

    monkeypatch.setattr(directory_module, "write_text", second_fails)
    with pytest.raises(StorageFullError):
        store.merge(backend)
    assert state_of(store.directory) == old
    assert backend.keys() == [OLD, MODEL]


# --- kills -----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
import test_directory_interruption as t
from simarchive.storage.evaluator_directory.changes import Changes
place, nth, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
real, calls = getattr(Changes, place), []
def die(*arguments):
    calls.append(1)
    if len(calls) == nth: os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
setattr(Changes, place, die)
store = t.Store.__new__(t.Store)
store.directory, store.new = Path("store").absolute(), Path("new").absolute()
store.other = t.LocalFileStorage("other", mode="r")
getattr(store, name)(t.LocalFileStorage("store"))
"""


def killed(root: Path, place: str, nth: int, name: str) -> bool:
    """Have another process killed at a step; return whether it was."""
    code = KILLED.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code, place, str(nth), name],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize(
    ("name", "place", "nth"),
    [
        ("add", "put", 1),
        ("add", "put", 2),
        ("add", "put", 3),
        ("replace", "put", 2),
        ("replace", "finish", 1),
        ("remove", "take", 2),
        ("many", "put", 5),
        ("many", "_retired", 1),
        ("merge", "put", 4),
    ],
)
def test_what_a_killed_process_left_is_taken_back_by_the_next_writer(
    store: Store, tmp_path: Path, name: str, place: str, nth: int
) -> None:
    backend = store.begin_again()
    backend.has_object(simulation("1"))
    old = state_of(store.directory)
    assert killed(tmp_path, place, nth, name)
    assert hidden_in(store.directory) == [CHANGES]
    with backend.transaction():
        assert state_of(store.directory) == old
    assert hidden_in(store.directory) == []
    assert backend.keys() == [OLD, MODEL]
    assert backend.problems == {}
    assert backend.has_object(simulation("2")) is None
    store.many(backend)
    check_agreement(store.directory)


def test_what_was_finished_but_not_cleared_away_stays_finished(store: Store, tmp_path: Path) -> None:
    backend = store.begin_again()
    backend.store_object(simulation("2"), store.new, storage_key=NEW)
    new = state_of(store.directory)
    (store.directory / f"{CHANGES}.{'0' * 32}.done" / "old" / OLD).mkdir(parents=True)
    LocalFileStorage(store.directory).remove_object(MODEL)
    assert hidden_in(store.directory) == []
    assert OLD in backend
    assert state_of(store.directory).keys() < new.keys()


def test_leftovers_of_earlier_versions_are_put_back_or_swept(store: Store) -> None:
    backend = store.begin_again()
    old = state_of(store.directory)
    place = store.directory
    (place / OLD).rename(place / f".{OLD}.{'1' * 32}.old")
    shutil.copytree(store.new, place / f".{MODEL}.{'2' * 32}.old")
    shutil.copytree(store.new, place / f".{NEW}.{'3' * 32}.new")
    for name in ("object_keys", "simarchive_keys", OLD):
        (place / f".{name}.json.ab1_9xyz.new").write_text("{")
    (place / ".hidden").write_text("of somebody else")
    (place / f".{NEW}.txt").mkdir()
    with backend.transaction():
        pass
    assert sorted(hidden_in(place)) == sorted([".hidden", f".{NEW}.txt"])
    assert state_of(place) == old


@pytest.mark.parametrize("kind", ["link to a directory", "link to nowhere", "file", "fifo"])
def test_what_is_in_the_place_of_the_changes_is_neither_followed_nor_in_the_way(
    store: Store, tmp_path: Path, kind: str
) -> None:
    backend = store.begin_again()
    victim = files(tmp_path / "victim", "mine")
    (victim / "added").mkdir()
    (victim / "added" / f"{OLD}.json").touch()
    place = store.directory / CHANGES
    if kind == "file":
        place.write_text("x")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(victim if kind == "link to a directory" else tmp_path / "nowhere")
    before = state_of(victim)
    store.add(backend)
    assert state_of(victim) == before
    assert backend.keys() == [OLD, NEW, MODEL]
    assert hidden_in(store.directory) == []


# --- waiting, threads and forks --------------------------------------------------------------------------


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "change",
    [
        lambda backend, new: backend.store_object(simulation("2"), new),
        lambda backend, new: backend.remove_object(OLD),
        lambda backend, new: backend.update(LocalFileStorage(new.parent / "other", mode="r")),
        lambda backend, new: backend.transaction().__enter__(),
        lambda backend, new: rebuild_registry(backend.directory, lock_timeout_s=0.1),
    ],
)
def test_a_directory_that_another_process_holds_is_waited_for_no_longer_than_the_timeout(
    store: Store, change: Callable[[LocalFileStorage, Path], object]
) -> None:
    store.begin_again()
    backend = LocalFileStorage(store.directory, lock_timeout_s=0.1)
    with held(store.directory):
        begun = time.monotonic()
        with pytest.raises(LockedError, match="store"):
            change(backend, store.new)
        assert time.monotonic() - begun > 0.09
        # Reading waits for nobody.
        assert backend.keys() == [OLD, MODEL]
    store.add(backend)


def test_the_timeout_is_the_same_as_that_of_a_container(tmp_path: Path) -> None:
    assert LocalFileStorage(tmp_path / "s").lock_timeout_s == 10.0


def test_a_wait_for_the_lock_ends_with_ctrl_c(store: Store) -> None:
    store.begin_again()
    backend = LocalFileStorage(store.directory, lock_timeout_s=60)
    with held(store.directory):
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                store.add(backend)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    store.add(backend)
    assert NEW in backend


def test_a_file_system_without_locks_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = store.begin_again()

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("simarchive.storage.evaluator_directory.lock.fcntl.flock", no_locks)
    with pytest.raises(StorageIOError, match="cannot be locked: No locks available"):
        store.add(backend)


def test_threads_that_store_in_one_directory_all_do(store: Store) -> None:
    backends = [store.begin_again(), LocalFileStorage(store.directory)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(5):
                backends[number % 2].store_object(simulation(f"{number}-{i}"), store.new)
        except BaseException as error:
            errors.append(error)

    for backend in backends:
        backend.lock_timeout_s = 30
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(backends[0]) == len(backends[1]) == 22
    check_agreement(store.directory)


def in_child(action: Callable[[], object]) -> str:
    """Do something in a forked process; return the name of the error that it ended with, or "ok"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
            answer = "ok"
        except BaseException as error:
            answer = type(error).__name__
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def test_a_process_forked_in_a_transaction_gets_an_error_and_changes_nothing(store: Store) -> None:
    backend = store.begin_again()

    def end_the_transaction(manager: Any) -> None:
        manager.__exit__(None, None, None)

    manager = backend.transaction()
    manager.__enter__()
    store.add(backend)
    assert in_child(lambda: store.replace(backend)) == ClosedError.__name__
    assert in_child(lambda: end_the_transaction(manager)) == ClosedError.__name__
    manager.__exit__(None, None, None)
    assert backend.keys() == [OLD, NEW, MODEL]
    check_agreement(store.directory)


def test_a_process_forked_between_changes_makes_its_own(store: Store) -> None:
    backend = store.begin_again()
    backend.has_object(simulation("1"))
    assert in_child(lambda: store.add(backend)) == "ok"
    assert backend.keys() == [OLD, NEW, MODEL]
    assert backend.has_object(simulation("2")) == NEW


def test_a_forked_process_keeps_no_lock_of_its_parent(store: Store) -> None:
    backend = store.begin_again()
    reading, writing = os.pipe()
    with backend.transaction():
        child = os.fork()
        if child == 0:
            os.read(reading, 1)
            os._exit(0)
    try:
        # The child lives, and the parent's turn is over.
        store.add(LocalFileStorage(store.directory, lock_timeout_s=0.0))
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_two_directories_that_update_each_other_in_two_threads_come_to_an_end(tmp_path: Path) -> None:
    backends: list[Any] = [LocalFileStorage(tmp_path / "a"), HDF5Storage(tmp_path / "b.h5")]
    for number, backend in enumerate(backends):
        for i in range(3):
            backend.store_force_field(SmirnoffForceFieldSource(f"<SMIRNOFF version='{number}{i}'/>"))
    barrier = threading.Barrier(2)

    def copy(target: Any, source: Any) -> None:
        barrier.wait()
        for _ in range(20):
            target.update(source)

    threads = [
        threading.Thread(target=copy, args=pair, daemon=True) for pair in (backends, reversed(backends))
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads)
    assert len(backends[0]) == len(backends[1]) == 6
    backends[1].close()

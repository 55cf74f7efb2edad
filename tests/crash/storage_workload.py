"""Random work of `HDF5Storage` on a simulated disk, and what every crash of it must leave."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from crash_images import PATH, Diary, State
from simulated_disk import Operation, SimulatedDisk

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.chemistry.force_fields import SmirnoffForceFieldSource
from simarchive.container import container as container_module
from simarchive.container.container import Container
from simarchive.container.documents import identity_digest
from simarchive.container.index import IndexTable
from simarchive.container.index.segments import Shape
from simarchive.container.members import member_digest
from simarchive.data import BaseStoredData, ForceFieldData
from simarchive.errors import StorageError
from simarchive.journal import Durability
from simarchive.storage.hdf5 import storage as hdf5
from simarchive.storage.hdf5 import upkeep
from simarchive.testing.sample_objects import simulation

SMALL_SHAPE = Shape(tail_rows=4, fan=3, levels=2, spare_texts=6)
SIZES = (0, 500, 5_000, 60_000, 70_000, 150_000)
LARGE_SIZE = 1_300_000  # more than one chunk


class ContainerDisk(SimulatedDisk):
    """A simulated disk with a directory, to which a file that HDF5 made elsewhere can be renamed."""

    successor = ""  #: a path on the real disk
    reads = 0
    fails_to_read: Callable[[int], bool] = staticmethod(lambda count: False)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.reads += 1
        if self.fails_to_read(self.reads):
            raise OSError(errno.EIO, "Input/output error")
        return super().pread(fd, size, offset)

    def status_of(self, path: str) -> SimpleNamespace:
        if path == str(Path(PATH).parent):
            return SimpleNamespace(st_mode=0o040755)
        return super().status_of(path)

    def open(self, path: str, flags: int) -> int:
        if path == self.successor and path not in self.image.names and Path(path).exists():
            number = self._next_inode
            self._next_inode += 1
            self.perform(Operation("name", number, path=path))
            self.perform(Operation("write", number, 0, Path(path).read_bytes()))
        return super().open(path, flags)


class IntendedError(Exception):
    """Leaves a transaction that is to be rolled back."""


@contextlib.contextmanager
def small_index() -> Iterator[None]:
    """Let index tables seal and merge segments all the time."""
    with (
        mock.patch.dict(IndexTable.open.__func__.__kwdefaults__, shape=SMALL_SHAPE),
        mock.patch.dict(_defaults_of_create(), shape=SMALL_SHAPE),
    ):
        yield


def _defaults_of_create() -> dict[str, object]:
    return IndexTable.create.__func__.__kwdefaults__


def open_storage(disk: SimulatedDisk, mode: str = "a", **options: object) -> HDF5Storage:
    """Return an `HDF5Storage` whose container is on a simulated disk."""
    with mock.patch.object(hdf5, "Container", functools.partial(Container, files=disk)):
        return HDF5Storage(PATH, mode, lock_timeout_s=0.5, **options)


def digest_of(identity: str, members: dict[str, str]) -> str:
    return " ".join([identity, *(f"{name}={digest}" for name, digest in sorted(members.items()))])


def state_of(backend: HDF5Storage) -> dict[str, str]:
    """Return the digest of every object; document, members and index have been checked in full."""
    report = backend.verify(full=True)
    assert report.ok, report.problems[:3]
    keys = backend.keys()
    assert report.n_objects == len(keys) == len(set(keys))
    state = {}
    for key in keys:
        members = {info.name: info.digest for info in backend.list_members(key)}
        state[key] = digest_of(backend.header(key).identity, members)
    classes = {key: backend.class_name_of(key) for key in keys}
    simulations = [key for key in keys if classes[key] == "StoredSimulationData"]
    assert sorted(backend.keys(SimulationDataQuery())) == sorted(simulations)
    return state


@dataclass
class Sources:
    """Directories to store, on the real disk, made from a seed."""

    root: Path
    rng: random.Random
    count: int = 0

    def directory(self) -> Path:
        self.count += 1
        path = self.root / f"source{self.count}"
        path.mkdir()
        rng = self.rng
        (path / "output.pdb").write_bytes(b"ATOM\n" * rng.randint(1, 300))
        chance = rng.random()
        if chance < 0.3:  # one of two that every object may have
            content = random.Random(rng.randint(0, 1)).randbytes(100_000)
        elif chance < 0.35:
            content = rng.randbytes(LARGE_SIZE)
        elif chance < 0.5:
            content = b"a trajectory " * rng.randint(1, 30_000)
        else:
            content = rng.randbytes(rng.choice(SIZES))
        (path / "trajectory.dcd").write_bytes(content)
        if rng.random() < 0.3:
            (path / "empty").mkdir()
        for i in range(rng.choice((0, 0, 0, 2, 9))):
            # Names too long for a link are kept in attributes of the object's group.
            folder = path / ("n" * 200)
            folder.mkdir(exist_ok=True)
            (folder / f"{'m' * 80}{i}").write_bytes(rng.randbytes(40))
        return path


@dataclass
class Work:
    """Changes to an open storage, and the model of what it must hold after them."""

    rng: random.Random
    sources: Sources
    state: dict[str, str] = field(default_factory=dict)
    calculations: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def _keep(self, key: str, stored: BaseStoredData, directory: Path | None) -> None:
        members = {}
        for path in sorted(directory.rglob("*")) if directory is not None else ():
            if path.is_file():
                members[path.relative_to(directory).as_posix()] = member_digest(path)[1]
        identity = identity_digest(type(stored).data_class_name, stored.to_document())
        self.state[key] = digest_of(identity, members)

    def _new_simulation(self, calculation: str) -> BaseStoredData:
        return simulation(calculation, inefficiency=1.0, n_frames=self.rng.choice((3, 40, 700)))

    def store(self, backend: HDF5Storage, calculation: str = "") -> None:
        """Store a simulation: a new one, or another measurement of one that is there."""
        self.count += 1
        calculation = calculation or f"calculation {self.count}"
        directory, stored = self.sources.directory(), self._new_simulation(calculation)
        key = backend.store_object(stored, directory)
        assert self.calculations.setdefault(calculation, key) == key
        self._keep(key, stored, directory)

    def replace(self, backend: HDF5Storage) -> None:
        known = sorted(name for name in self.calculations if not name.startswith("force field"))
        self.store(backend, self.rng.choice(known) if known else "")

    def remove(self, backend: HDF5Storage) -> None:
        if len(self.calculations) < 3:
            return
        calculation = self.rng.choice(sorted(self.calculations))
        key = self.calculations.pop(calculation)
        backend.remove_object(key)
        del self.state[key]

    def store_force_field(self, backend: HDF5Storage) -> None:
        self.count += 1
        text = f"<SMIRNOFF><!-- {self.count} {'x' * self.rng.choice((10, 3000, 70_000))} --></SMIRNOFF>"
        stored = ForceFieldData(force_field_source=SmirnoffForceFieldSource(text))
        key = backend.store_object(stored)
        self._keep(key, stored, None)
        self.calculations[f"force field {self.count}"] = key

    def store_many(self, backend: HDF5Storage) -> None:
        for _ in range(self.rng.randint(3, 9)):
            self.store(backend)

    def fail_in_between(self, backend: HDF5Storage) -> None:
        """Stores around one that breaks off while its files are read, and is caught."""
        self.store(backend)

        def break_off(n_bytes: int) -> None:
            raise IntendedError

        calculation = self.rng.choice([*sorted(self.calculations), "never stored"])
        stored = self._new_simulation(calculation)
        backend.progress = break_off
        try:
            backend.store_object(stored, self.sources.directory())
        except IntendedError:
            pass
        else:
            raise AssertionError("the store did not fail")
        finally:
            backend.progress = None
        self.replace(backend)

    def change(self, backend: HDF5Storage) -> None:
        chosen = self.rng.choices(
            (
                self.store,
                self.replace,
                self.remove,
                self.store_force_field,
                self.store_many,
                self.fail_in_between,
                lambda backend: backend.rebuild_index(),
            ),
            (8, 7, 5, 3, 3, 3, 1),
        )[0]
        chosen(backend)


class StorageWorkload:
    """Sessions of `HDF5Storage`: commits, roll-backs, checkpoints, a repack, closes.

    Parameters
    ----------
    root
        A directory on the real disk, for the files that are stored.
    """

    def __init__(
        self,
        root: Path,
        seed: int,
        *,
        steps: int = 10,
        sessions: int = 2,
        durability: Durability = Durability.COMMIT,
        checkpoint_bytes: int = 1 << 18,
    ) -> None:
        self.root, self.seed, self.steps, self.sessions = root, seed, steps, sessions
        self.durability, self.checkpoint_bytes = durability, checkpoint_bytes
        self.runs = 0
        self.after_error: Callable[[HDF5Storage], None] = lambda backend: None

    def open(self, disk: SimulatedDisk) -> HDF5Storage:
        backend = open_storage(disk, durability=self.durability)
        backend._container._open_journal()._checkpoints.limit_bytes = self.checkpoint_bytes
        return backend

    def run(self, disk: SimulatedDisk, diary: Diary) -> None:
        rng = random.Random(self.seed)
        self.runs += 1
        sources = self.root / f"run{self.runs}"
        sources.mkdir(parents=True)
        work = Work(rng, Sources(sources, rng))
        with small_index(), numbered_keys():
            for session in range(self.sessions):
                if session == 0:
                    diary.intend({})
                backend = self.open(disk)
                if session == 0:
                    diary.acknowledge()
                try:
                    for _ in range(self.steps // self.sessions):
                        self.transaction(backend, work, diary)
                    diary.intend(work.state)
                except StorageError:
                    self.after_error(backend)
                    raise
                finally:
                    backend.close()
                diary.acknowledge()
                if session == 0:
                    self.repack(disk, work, diary)

    def transaction(self, backend: HDF5Storage, work: Work, diary: Diary) -> None:
        before = (dict(work.state), dict(work.calculations))
        roll_back = work.rng.random() < 0.15
        try:
            with backend.transaction():
                work.change(backend)
                if roll_back:
                    raise IntendedError
                diary.intend(work.state, durable=self.durability is Durability.COMMIT)
            diary.acknowledge()
        except IntendedError:
            work.state, work.calculations = before
            assert backend.keys() == list(work.state)
        if work.rng.random() < 0.15:
            backend._container.checkpoint()

    def repack(self, disk: SimulatedDisk, work: Work, diary: Diary) -> None:
        folder = self.root / f"successor{self.runs}"
        folder.mkdir(exist_ok=True)
        if isinstance(disk, ContainerDisk):
            disk.successor = str(folder / Path(PATH).name)
        with (
            mock.patch.object(container_module, "workplace", lambda path: contextlib.nullcontext(folder)),
            contextlib.closing(Container(PATH, writable=True, lock_timeout_s=0.5, files=disk)) as container,
        ):
            container.checkpoint()
            with container.transaction() as contents:
                diary.intend(work.state)
                container.rewrite(functools.partial(upkeep.complete_copy, source=contents))
        diary.acknowledge()

    def read_state(self, disk: SimulatedDisk) -> State:
        before = disk.count
        with small_index(), open_storage(disk, "r") as backend:
            state = state_of(backend)
        assert disk.count == before, "a reader wrote"
        return state

    def recover_and_add(self, disk: SimulatedDisk) -> State:
        with small_index(), self.open(disk) as backend:
            return self.add(backend)

    def add(self, backend: HDF5Storage) -> State:
        """Store one more object; return what there is then."""
        # Several processes recover images of one run at once.
        directory = self.root / f"added after recovery by {os.getpid()}"
        if not directory.exists():
            directory.mkdir(parents=True)
            (directory / "output.pdb").write_bytes(b"ATOM\n")
            (directory / "trajectory.dcd").write_bytes(bytes(range(256)) * 400)
        before = state_of(backend)
        key = backend.store_object(simulation("after recovery", n_frames=50), directory)
        state = state_of(backend)
        assert {**before, key: state[key]} == state
        return state


@contextlib.contextmanager
def numbered_keys() -> Iterator[None]:
    """Give keys in order, so that a run can be repeated."""
    numbers = iter(range(10**9))
    with mock.patch("simarchive.ground.keys.new_key", lambda: f"{next(numbers):032x}"):
        yield

"""Random changes to an HDF5 file through the journal, as the container makes them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random

import h5py
import numpy as np
from crash_images import PATH, Diary, State
from simulated_disk import SimulatedDisk

from simarchive.errors import StorageError
from simarchive.journal import Durability, Journal

LIBVER = ("v110", "v110")


def skeleton(**options: object) -> bytes:
    """Return an empty HDF5 file."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER, track_order=True, **options):
        pass
    return memory.getvalue()


def state_of(file: h5py.File) -> dict[str, str]:
    """Return the digest of every object below /objects, by name."""
    return {name: _digest(group) for name, group in file["objects"].items()} if "objects" in file else {}


def _digest(group: h5py.Group) -> str:
    digest = hashlib.blake2b(digest_size=16)

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        digest.update(name.encode())
        for key in sorted(item.attrs):
            digest.update(key.encode() + np.asarray(item.attrs[key]).tobytes())
        if isinstance(item, h5py.Dataset):
            digest.update(str(item.shape).encode() + np.ascontiguousarray(item[()]).tobytes())

    names: list[str] = []
    group.visit(names.append)
    add(".", group)
    for name in sorted(names):
        add(name, group[name])
    return digest.hexdigest()


class Changes:
    """Creates, replaces, deletes, resizes and rewrites objects at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.count = 0

    def begin(self, file: h5py.File) -> None:
        file.create_group("objects", track_order=True)
        file.create_group("index")

    def _fill(self, group: h5py.Group) -> None:
        rng = self.rng
        size = int(rng.integers(1, 400)) if rng.random() > 0.15 else int(rng.integers(10_000, 40_000))
        group.attrs["document"] = np.bytes_(b"{" + b"x" * int(rng.integers(1, 3000)) + b"}")
        group.attrs["uid"] = int(rng.integers(1 << 40))
        data = rng.standard_normal((size, 3)).astype("f4")
        kind = int(rng.integers(3))
        if kind == 0:
            group.create_dataset("xyz", data=data)
        elif kind == 1:
            group.create_dataset("xyz", data=data, chunks=(min(size, 4096), 3), maxshape=(None, 3))
        else:
            group.create_dataset(
                "xyz", data=np.round(data, 1), chunks=(min(size, 128), 3), compression="gzip", shuffle=True
            )
        group.create_dataset("times", data=np.arange(size, dtype="f8"), maxshape=(None,), chunks=(64,))

    def step(self, file: h5py.File) -> None:
        rng, objects = self.rng, file["objects"]
        self.count += 1
        names = sorted(objects)
        some = names[int(rng.integers(len(names)))] if names else ""
        chance = rng.random()
        if len(names) < 3 or chance < 0.4:
            self._fill(objects.create_group(f"k{self.count:04d}", track_order=True))
        elif chance < 0.55:
            self._fill(objects.create_group("new", track_order=True))
            del objects[some]
            objects.move("new", some)
        elif chance < 0.7:
            del objects[some]
        elif chance < 0.8:
            data = objects[some]["xyz"]
            data[...] = rng.standard_normal(data.shape).astype("f4")
        elif chance < 0.9:
            times = objects[some]["times"]
            old, more = times.shape[0], int(rng.integers(1, 200))
            times.resize((old + more,))
            times[old:] = np.arange(more)
        else:
            self._compact(file["index"])
        objects.attrs["changes"] = self.count

    def _compact(self, index: h5py.Group) -> None:
        """Replace small attributes by one large, as the index does."""
        rows = [index.attrs.pop(name) for name in list(index.attrs) if name.startswith("tail")]
        index.attrs[f"segment{self.count}"] = np.arange(len(rows) * 64 + 1, dtype="u8")
        for i in range(4):
            index.attrs[f"tail{self.count}-{i}"] = self.rng.standard_normal(64)
        for name in list(index.attrs)[:-12]:
            del index.attrs[name]


class JournalWorkload:
    """Sessions of transactions: kept and closed HDF5 handles, roll-backs, checkpoints, closes."""

    def __init__(
        self,
        seed: int,
        *,
        steps: int = 36,
        sessions: int = 3,
        durability: Durability = Durability.COMMIT,
        checkpoint_bytes: int = 1 << 17,
        **options: object,
    ) -> None:
        self.seed, self.steps, self.sessions, self.options = seed, steps, sessions, options
        self.durability, self.checkpoint_bytes = durability, checkpoint_bytes

    def open(self, disk: SimulatedDisk, *, writable: bool = True) -> Journal:
        return Journal.open(
            PATH,
            writable=writable,
            skeleton=lambda: skeleton(**self.options),
            durability=self.durability,
            checkpoint_bytes=self.checkpoint_bytes,
            files=disk,
        )

    def run(self, disk: SimulatedDisk, diary: Diary) -> None:
        rng, changes = random.Random(self.seed), Changes(self.seed)
        for session in range(self.sessions):
            if session == 0:
                diary.intend({})
            journal = self.open(disk)
            if session == 0:
                diary.acknowledge()
            handle: h5py.File | None = None
            try:
                for _ in range(self.steps // self.sessions):
                    handle = self._transaction(journal, handle, diary, rng, changes)
                diary.intend(diary.marks[-1].state)
            except BaseException:
                _close_quietly(handle)
                handle = None
                raise
            finally:
                if handle is not None:
                    journal.file.retire()
                    handle.close()
                journal.close()
            diary.acknowledge()

    def _transaction(
        self,
        journal: Journal,
        handle: h5py.File | None,
        diary: Diary,
        rng: random.Random,
        changes: Changes,
    ) -> h5py.File:
        handle = begin(journal, handle, journal.begin_write(1.0))
        try:
            if rng.random() < 0.15 and "objects" in handle:
                changes.step(handle)
                changes.step(handle)
                handle.flush()
                journal.roll_back()
                _close_quietly(handle)
                handle = h5py.File(journal.file, "r+", libver=LIBVER)
                assert state_of(handle) == diary.marks[-1].state
                return handle
            changes.step(handle) if "objects" in handle else changes.begin(handle)
            state = state_of(handle)
            if rng.random() < 0.3:
                handle.close()
            else:
                handle.flush()
            diary.intend(state, durable=self.durability is Durability.COMMIT)
            journal.commit()
            diary.acknowledge()
            if not handle:
                handle = h5py.File(journal.file, "r+", libver=LIBVER)
        except BaseException:
            # As the container does: the dead file lets HDF5 close.
            try:
                journal.roll_back()
            except StorageError:
                journal.file.retire()
            _close_quietly(handle)
            raise
        finally:
            journal.end_write()
        if rng.random() < 0.1:
            journal.checkpoint(0.0)
        return handle

    def read_state(self, disk: SimulatedDisk) -> State:
        before = disk.count
        journal = self.open(disk, writable=False)
        try:
            journal.begin_read(1.0)
            with h5py.File(journal.file, "r") as file:
                state = state_of(file)
            journal.end_read()
        finally:
            journal.close()
        assert disk.count == before, "a reader wrote"
        return state

    def recover_and_add(self, disk: SimulatedDisk) -> State:
        journal = self.open(disk)
        try:
            journal.begin_write(1.0)
            with h5py.File(journal.file, "r+", libver=LIBVER) as file:
                objects = file.require_group("objects")
                objects.create_group("after").create_dataset("xyz", data=np.arange(60_000.0))
                file.flush()
                state = state_of(file)
            journal.commit()
            journal.end_write()
        finally:
            journal.close()
        return state


def begin(journal: Journal, handle: h5py.File | None, moved: bool) -> h5py.File:
    """Return the handle to go on with after a begin_write."""
    if not moved and handle is not None:
        return handle
    _close_quietly(handle)
    return h5py.File(journal.file, "r+", libver=LIBVER)


def _close_quietly(handle: h5py.File | None) -> None:
    if handle:
        with contextlib.suppress(Exception):
            handle.close()

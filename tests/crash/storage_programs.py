"""Processes that write to one container and read from it, and say what was acknowledged.

They are forked, so that they start at once; each opens the container itself.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.testing.sample_objects import simulation

EXAMPLES = Path(__file__).parents[2] / "examples" / "stored_data"
Say = Callable[..., None]
Collection = dict[str, int]  # key -> number of its source
FIRST_FRAMES = 40
MAX_OBJECTS = 10


def sources_in(root: Path) -> list[Path]:
    """Return directories to store: real trajectories, and generated ones of several MB."""
    real = [p for p in sorted(EXAMPLES.iterdir()) if (p / "trajectory.dcd").exists()]
    made = []
    for number, n_atoms in enumerate((600, 1500, 3000)):
        directory = root / f"generated{number}"
        directory.mkdir(parents=True)
        walk = np.random.default_rng(number).normal(scale=0.1, size=(100, n_atoms, 3)).cumsum(axis=0)
        (directory / "trajectory.dcd").write_bytes(walk.astype("f4").tobytes())
        (directory / "output.pdb").write_text("ATOM\n" * n_atoms)
        made.append(directory)
    return real + made


def warm_up(root: Path, sources: Sequence[Path]) -> None:
    """Import here what the forked processes would otherwise each import."""
    with HDF5Storage(root / "warm.h5", codec="zstd") as backend:
        backend.store_object(simulation(), sources[0])
        assert backend.count(SimulationDataQuery()) == 1


@dataclass
class Child:
    """A forked process, and the lines it has said."""

    pid: int
    stream: int
    text: bytes = b""
    status: int | None = None

    def listen(self, lines: int) -> None:
        """Wait until the process has said so many lines."""
        while self.text.count(b"\n") < lines:
            piece = os.read(self.stream, 1 << 16)
            if not piece:
                return
            self.text += piece

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def finish(self) -> list[list[object]]:
        """Return all that the process said, when it is over."""
        with os.fdopen(self.stream, "rb") as stream:
            self.text += stream.read()
        _, self.status = os.waitpid(self.pid, 0)
        lines = self.text.split(b"\n")[:-1]
        return [json.loads(line) for line in lines]


def finish_all(children: Sequence[Child]) -> list[list[list[object]]]:
    """Return all that each process said; they are heard at once, since a full pipe holds up who speaks."""
    with ThreadPoolExecutor(len(children)) as pool:
        return list(pool.map(Child.finish, children))


def fork(program: Callable[[Say], None]) -> Child:
    """Run `program` in a child; an error in it is said as ``["error", text]``."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader)
    os.close(reader)

    def say(*words: object) -> None:
        os.write(writer, json.dumps(words).encode() + b"\n")

    status = 1
    try:
        program(say)
        status = 0
    except BaseException:
        say("error", traceback.format_exc()[-3000:])
    finally:
        os._exit(status)


@dataclass
class Writer:
    """Stores, replaces and removes objects, alone and many at once, until `end`."""

    path: Path
    sources: Sequence[Path]
    seed: int
    end: float
    collection: Collection = field(default_factory=dict)
    durability: str = "commit"

    def __call__(self, say: Say) -> None:
        rng = random.Random(self.seed)
        rounds = 0
        while time.monotonic() < self.end:
            with HDF5Storage(
                self.path,
                durability=self.durability,
                lock_timeout_s=60.0,
                codec=rng.choice(("deflate", "zstd")),
            ) as backend:
                for _ in range(rng.randint(1, 12)):
                    self.transaction(backend, rng, say)
                    rounds += 1
                    if time.monotonic() >= self.end:
                        break
        say("rounds", rounds)

    def transaction(self, backend: HDF5Storage, rng: random.Random, say: Say) -> None:
        changed = dict(self.collection)
        many = rng.random() < 0.2
        with backend.transaction():
            for _ in range(rng.randint(2, 4) if many else 1):
                self.change(backend, changed, rng)
            say("intend", changed)
        self.collection = changed
        say("done")

    def change(self, backend: HDF5Storage, changed: Collection, rng: random.Random) -> None:
        chance = rng.random()
        if len(changed) >= MAX_OBJECTS or (changed and chance < 0.15):
            key = rng.choice(sorted(changed))
            backend.remove_object(key)
            del changed[key]
            return
        source = rng.randrange(len(self.sources))
        key = rng.choice(sorted(changed)) if changed and chance < 0.45 else f"{rng.getrandbits(128):032x}"
        # The number of frames says which files belong to the object, the calculation which key.
        stored = simulation(key, n_frames=FIRST_FRAMES + source)
        assert backend.store_object(stored, self.sources[source], storage_key=key) == key
        changed[key] = source


@dataclass
class Reader:
    """Queries and extracts all the time, and checks each answer by itself."""

    path: Path
    sources: Sequence[Path]
    seed: int
    end: Callable[[], bool]

    def __call__(self, say: Say) -> None:
        rng = random.Random(self.seed)
        rounds = found = 0
        while not self.end():
            with (
                tempfile.TemporaryDirectory() as scratch,
                HDF5Storage(
                    self.path, "r", scratch, lock_timeout_s=60.0, scratch_max_bytes=50 << 20
                ) as backend,
            ):
                for _ in range(rng.randint(1, 10)):
                    found += self.look(backend, rng)
                    rounds += 1
        say("rounds", rounds, found)

    def look(self, backend: HDF5Storage, rng: random.Random) -> int:
        with backend._container.reading():  # one snapshot for several questions
            keys = backend.keys()
            matches = [m for group in backend.query(SimulationDataQuery()).values() for m in group]
            assert sorted(keys) == sorted(key for key, _, _ in matches)
            for key, stored, _ in matches:
                assert stored.source_calculation_id == key
            if not keys:
                return 0
            key = rng.choice(keys)
            stored, path = backend.retrieve_object(key)
            check_files(Path(path), self.sources[len(stored.observables["PotentialEnergy"]) - FIRST_FRAMES])
        return len(keys)


def check_files(directory: Path, source: Path) -> None:
    """Check that a directory holds exactly the files of a source."""
    names = sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())
    assert sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()) == names
    for name in names:
        assert filecmp.cmp(directory / name, source / name, shallow=False), name


@dataclass
class Checker:
    """Says what the container holds now; all of it has been checked and compared with its source."""

    path: Path
    sources: Sequence[Path]

    def __call__(self, say: Say) -> None:
        collection = {}
        with HDF5Storage(self.path, "r") as backend:
            report = backend.verify(full=True)
            assert report.ok, [p for p in report.problems if p.is_error][:3]
            for key in backend.keys():  # noqa: SIM118
                stored = backend.load(key)
                assert stored.source_calculation_id == key
                source = len(stored.observables["PotentialEnergy"]) - FIRST_FRAMES
                assert key not in collection
                collection[key] = source
                directory = tempfile.mkdtemp()
                try:
                    backend.extract(key, directory)
                    check_files(Path(directory), self.sources[source])
                finally:
                    shutil.rmtree(directory)
        say("collection", collection)

"""Long work of many processes with kills, a full disk, a read-only one and clocks that jump: nothing grows.

Two processes, a writer and a reader, live all the time; their memory and descriptors are measured, and the
sizes of container, log, scratch and temporary files. `make soak` does it for an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from names_of_files import mounted
from storage_programs import FIRST_FRAMES, Checker, Say, check_files, fork, warm_up

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.errors import (
    CommitInDoubtError,
    ConflictError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StorageFullError,
    StorageIOError,
)
from simarchive.journal import LOG_SUFFIX
from simarchive.testing.sample_objects import simulation

SOAK_S = float(os.environ.get("SIMARCHIVE_SOAK_SECONDS", "8"))
DISK_MB = 48
SCRATCH_BYTES = 6 << 20
MAX_OBJECTS = 5
N_WRITERS, N_READERS = 3, 3
LONG_LIVED = ("writer 0", "reader 0")

# What the disk does to a process is no fault of it.
_OF_THE_DISK = (StorageFullError, StorageIOError, ReadOnlyError, LockedError, CommitInDoubtError)


@dataclass
class Place:
    """The disk of a soak, and what lies on it."""

    disk: Path
    log: Path
    sources: list[Path] = field(default_factory=list)

    @property
    def container(self) -> Path:
        return self.disk / "a.h5"

    @property
    def pause(self) -> Path:
        """While it is there, nobody begins anything."""
        return self.log.with_name("pause")

    @property
    def scratch(self) -> Path:
        return self.disk / "scratch"


@pytest.fixture(params=["directory", "small disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder, or a small file system of its own that can be full and read-only."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    sources = []
    for number, n_frames in enumerate((20, 60, 140)):
        source = tmp_path / f"source{number}"
        source.mkdir()
        walk = np.random.default_rng(number).normal(scale=0.1, size=(n_frames, 300, 3)).cumsum(axis=0)
        (source / "trajectory.dcd").write_bytes(walk.astype("f4").tobytes())
        (source / "output.pdb").write_text(f"ATOM {number}\n" * 500)
        sources.append(source)
    warm_up(tmp_path, sources)
    with contextlib.ExitStack() as stack:
        if request.param == "small disk":
            stack.enter_context(mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs"))
        yield Place(tmp_path / "disk", tmp_path / "said", sources)


# ---- the processes -------------------------------------------------------------------------------


class JumpingClock:
    """The time of day as a machine has it whose clock is set again and again."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._time, self._offset, self._until = time.time, 0.0, 0.0

    def __call__(self) -> float:
        if time.monotonic() > self._until:
            self._until = time.monotonic() + self._rng.uniform(0.1, 2.0)
            self._offset = self._rng.choice((0.0, 3600.0, -3600.0, 1e8, -1e8))
        return self._time() + self._offset


def work(place: Place, name: str, seed: int, end: float, say: Say) -> None:
    """Be one of the processes, and write down its size now and then."""
    time.time = JumpingClock(seed)
    kind, _, number = name.partition(" ")
    rng = random.Random(f"{name}-{seed}")
    measured = 0.0
    outcomes: dict[str, int] = {}
    messages: dict[str, str] = {}  # the last of each kind
    while time.monotonic() < end:
        while place.pause.exists():
            time.sleep(0.02)
        try:
            with HDF5Storage(
                place.container,
                "a" if kind == "writer" else "r",
                place.scratch,
                lock_timeout_s=30.0,
                scratch_max_bytes=SCRATCH_BYTES,
            ) as backend:
                for _ in range(rng.randint(1, 15)):
                    if kind == "writer":
                        change(place, backend, number, rng)
                    else:
                        look(place, backend, rng)
                    outcomes["done"] = outcomes.get("done", 0) + 1
                    if time.monotonic() > end or place.pause.exists():
                        break
        except _OF_THE_DISK as error:
            outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
            messages[type(error).__name__] = str(error)
            time.sleep(0.05)
        if time.monotonic() > measured + min(1.0, SOAK_S / 40):
            measured = time.monotonic()
            write_down(place, name=name, at=measured, memory=memory_bytes(), descriptors=descriptors())
    write_down(place, name=name, outcomes=outcomes, messages=messages)


def change(place: Place, backend: HDF5Storage, number: str, rng: random.Random) -> None:
    mine = [key for key in backend.keys() if key.startswith(number)]  # noqa: SIM118
    if len(mine) >= MAX_OBJECTS or (mine and rng.random() < 0.3):
        backend.remove_object(rng.choice(mine))
        return
    source = rng.randrange(len(place.sources))
    key = rng.choice(mine) if mine and rng.random() < 0.5 else f"{number}{rng.getrandbits(120):031x}"
    stored = simulation(key, n_frames=FIRST_FRAMES + source)
    backend.store_object(stored, place.sources[source], storage_key=key)


def look(place: Place, backend: HDF5Storage, rng: random.Random) -> None:
    keys = backend.keys(SimulationDataQuery())
    if not keys:
        return
    key = rng.choice(keys)
    # It may be replaced or removed at any moment.
    with contextlib.suppress(ConflictError, NotFoundError):
        stored, path = backend.retrieve_object(key)
        if stored is None:
            return
        assert stored.source_calculation_id == key
        with contextlib.suppress(FileNotFoundError):
            check_files(Path(path), place.sources[len(stored.observables["PotentialEnergy"]) - FIRST_FRAMES])


def write_down(place: Place, **line: object) -> None:
    """Add a line to what was measured; whole, whoever else writes."""
    fd = os.open(place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)


def memory_bytes() -> int:
    """Return what this process keeps in memory and has not in common with a file."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return count_in(Path("/proc/self/fd"))


def count_in(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


# ---- what is done to them ------------------------------------------------------------------------


@dataclass
class Trouble:
    """Keeps processes at work, and makes trouble."""

    place: Place
    end: float
    is_own_disk: bool
    rng: random.Random
    children: dict[str, object] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    started: int = 0

    def start_all(self) -> None:
        for name in [f"writer {n}" for n in range(N_WRITERS)] + [f"reader {n}" for n in range(N_READERS)]:
            if name not in self.children:
                self.started += 1
                seed = self.started
                self.children[name] = fork(
                    lambda say, name=name, seed=seed: work(self.place, name, seed, self.end, say)
                )

    def run(self) -> None:
        measured = 0.0
        while time.monotonic() < self.end - 1:
            self.start_all()
            time.sleep(self.rng.uniform(0.1, min(1.5, SOAK_S / 20)))
            trouble = self.rng.choice(("kill", "kill", "full", "read-only", "nothing"))
            if "kills" not in self.done:
                trouble = "kill"  # A short soak on a busy machine makes few choices.
            if trouble == "kill":
                self.kill(self.rng.choice([name for name in self.children if name not in LONG_LIVED]))
            elif trouble == "full" and self.is_own_disk:
                self.fill_up()
            elif trouble == "read-only" and self.is_own_disk:
                self.make_read_only()
            if time.monotonic() > measured + min(1.0, SOAK_S / 40):
                measured = time.monotonic()
                self.measure()

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def kill(self, name: str) -> None:
        child = self.children.pop(name)
        child.kill()  # type: ignore[attr-defined]
        said = child.finish()  # type: ignore[attr-defined]
        assert said == [], said
        self.count("kills")

    def fill_up(self) -> None:
        with contextlib.suppress(OSError), (self.place.disk / "of another").open("ab", buffering=0) as file:
            for size in (1 << 16, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        time.sleep(self.rng.uniform(0.1, 0.5))
        (self.place.disk / "of another").unlink(missing_ok=True)
        self.count("full")

    def make_read_only(self) -> None:
        # Refused while a file is open for writing: all close theirs, and go on with a disk that has changed.
        self.place.pause.touch()
        patience = time.monotonic() + 10
        while not (is_changed := self.remount("ro")) and time.monotonic() < patience:
            time.sleep(0.1)
        self.place.pause.unlink()
        if is_changed:
            time.sleep(self.rng.uniform(0.1, 0.5))
            assert self.remount("rw")
            self.count("read-only")
        else:
            self.count("not read-only: busy")

    def remount(self, how: str) -> bool:
        command = ["mount", "-o", f"remount,{how}", self.place.disk]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def measure(self) -> None:
        sizes = {
            "container": size_of(self.place.container),
            "log": size_of(Path(f"{self.place.container}{LOG_SUFFIX}")),
            "scratch": size_of(self.place.scratch),
            "temporary": count_in(Path(tempfile.gettempdir())),
            "names": count_in(self.place.disk),
        }
        write_down(self.place, name="disk", at=time.monotonic(), **sizes)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; others come and go meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        if not path.is_dir():
            return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(folder) / name).lstat().st_size
    return total


# ---- the soak ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_soak_with_kills_full_disks_and_jumping_clocks_lets_nothing_grow(
    place: Place, request: pytest.FixtureRequest
) -> None:
    in_child = fork(lambda say: HDF5Storage(place.container).close())
    assert in_child.finish() == []
    trouble = Trouble(
        place, time.monotonic() + SOAK_S, os.path.ismount(place.disk), random.Random(f"soak {int(SOAK_S)}")
    )
    try:
        trouble.run()
        for name, child in trouble.children.items():
            assert child.finish() == [], name  # type: ignore[attr-defined]
        trouble.children.clear()
    finally:
        for child in trouble.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in place.log.read_text().splitlines()]
    print(trouble.done, [line for line in lines if "outcomes" in line])
    assert trouble.done.get("kills"), trouble.done
    for name in LONG_LIVED:
        (outcomes,) = [line["outcomes"] for line in lines if line["name"] == name and "outcomes" in line]
        assert outcomes["done"] > 0, outcomes
        sizes = [line for line in lines if line["name"] == name and "memory" in line]
        assert_does_not_grow(f"memory of {name}", [line["memory"] for line in sizes], 24 << 20)
        assert_does_not_grow(f"descriptors of {name}", [line["descriptors"] for line in sizes], 4)
    disk = [line for line in lines if line["name"] == "disk"]
    # Whatever is stored at once, and the objects that replace others in a transaction.
    most = sum(size_of(source) for source in place.sources) * N_WRITERS * MAX_OBJECTS
    assert max(line["container"] for line in disk) < 2 * most + (4 << 20)
    assert max(line["log"] for line in disk) < 2 * most + (16 << 20)
    assert max(line["scratch"] for line in disk) < SCRATCH_BYTES + N_READERS * (2 << 20)
    assert max(line["names"] for line in disk) <= 8
    assert_does_not_grow("container", [line["container"] for line in disk], 4 << 20)
    assert_does_not_grow("temporary files", [line["temporary"] for line in disk], 6)
    (checked,) = fork(Checker(place.container, place.sources)).finish()
    assert checked[0] == "collection", checked
    assert len(checked[1]) <= N_WRITERS * MAX_OBJECTS  # type: ignore[arg-type]
    shutil.rmtree(place.scratch, ignore_errors=True)


def assert_does_not_grow(what: str, measured: list[int], allowance: int) -> None:
    """Compare the last third with the second: in the first, caches fill."""
    assert measured, what
    third = len(measured) // 3
    before, after = measured[third : 2 * third] or measured, measured[2 * third :] or measured
    assert statistics.median(after) <= statistics.median(before) + allowance, (what, before, after)

"""Crash images and injected errors of `HDF5Storage`: what a commit acknowledged is there, whole."""

from __future__ import annotations

import errno
import gc
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_images import PATH, CrashSuite, Diary, run_in_children
from simulated_disk import Operation, SimulatedDisk
from storage_workload import ContainerDisk, StorageWorkload, state_of

from simarchive import HDF5Storage
from simarchive.errors import CommitInDoubtError, StorageError, StorageFullError, StorageIOError
from simarchive.journal import Durability, PagedFile

# Of the images of CI and of `make torture`, two fifths are checked here, the others in tests/journal.
IMAGES = int(os.environ.get("SIMARCHIVE_CRASH_IMAGES", "5000")) * 2 // 5
TORTURE = IMAGES >= 20_000
IMAGES_OF_A_RUN = 500
WORKLOADS: dict[str, dict[str, object]] = {
    "commit": {},
    "checkpoints": {"checkpoint_bytes": 1 << 15},
    "durability close": {"durability": Durability.CLOSE},
    "spilling": {"checkpoint_bytes": 1 << 16},
}


@pytest.fixture(autouse=True)
def _quiet_rebuilds() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_leaves_a_committed_collection(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "spilling":
        monkeypatch.setattr(PagedFile, "SPILL_PAGES", 4)
        monkeypatch.setattr(PagedFile, "BULK_BYTES", 8192)
    wanted, checked, seed = IMAGES // len(WORKLOADS), 0, 1
    while checked < wanted:
        suite = CrashSuite(
            StorageWorkload(tmp_path / str(seed), seed, **WORKLOADS[name]), seed, ContainerDisk()
        )
        assert (
            suite.workload.read_state(SimulatedDisk(suite.disk.image.copy())) == suite.diary.marks[-1].state
        )
        report = suite.check(min(wanted - checked, IMAGES_OF_A_RUN), deep=0.15, recovered=0.15)
        assert not report.failures, (seed, report.failures[:5])
        checked += report.images
        seed += 1


# ---- errors of the device ---------------------------------------------------------------------


class FaultAt:
    """Fail call `at`, and all behind it if sticky; write the first half of the data if `half`."""

    def __init__(self, at: int, number: int, *, sticky: bool, half: bool) -> None:
        self.at, self.number, self.sticky, self.half = at, number, sticky, half
        self.hits = 0

    def __call__(self, disk: SimulatedDisk, operation: Operation) -> None:
        if disk.count == self.at or (self.sticky and disk.count > self.at):
            self.hits += 1
            if self.half and operation.kind == "write":
                disk.image.apply(operation._replace(data=operation.data[: len(operation.data) // 2]))
            raise OSError(self.number, os.strerror(self.number))


ERRORS = (
    (errno.ENOSPC, False, True),
    (errno.ENOSPC, True, False),
    (errno.EIO, False, False),
    (errno.EIO, True, True),
)
SMALL: dict[str, int] = {"steps": 6, "sessions": 2}


def outcome_of_errors(workload: StorageWorkload, disk: ContainerDisk, number: int) -> str:
    """Return 'ok ...' if no commit is lost, the error is ours, and the same backend goes on; else why not."""
    diary = Diary(disk)
    disk.recording = False
    found: list[str] = []

    def allowed() -> list[object]:
        done = [i for i, mark in enumerate(diary.marks) if mark.acknowledged is not None]
        first = done[-1] if done else 0
        return [mark.state for mark in diary.marks[first : first + 2]]

    def mend() -> None:
        disk.fault, disk.fails_to_read = None, lambda count: False

    def go_on(backend: HDF5Storage) -> None:
        mend()
        if state_of(backend) not in allowed():
            found.append("the backend shows another state after the error")
        workload.add(backend)
        diary.intend(state_of(backend))
        diary.acknowledge()

    workload.after_error = go_on
    outcome = "no error"
    try:
        workload.run(disk, diary)
    except StorageError as error:
        outcome = type(error).__name__
        if "/disk" not in str(error) and str(workload.root) not in str(error):
            return f"the error names no file: {error}"
        expected = (StorageFullError,) if number == errno.ENOSPC else (StorageIOError,)
        if not isinstance(error, (*expected, CommitInDoubtError)):
            return f"wrong class: {type(error).__name__}: {error}"
    mend()
    if found:
        return found[0]
    if PATH not in disk.image.names:
        return "ok, not created" if diary.marks[0].acknowledged is None else "container lost"
    if workload.read_state(SimulatedDisk(disk.snapshot())) not in allowed():
        return f"lost commit after {outcome}"
    workload.recover_and_add(SimulatedDisk(disk.snapshot()))
    return f"ok, {outcome}"


class ErrorPart:
    """Cases for one child process: (call, errno, sticky, half), or (read, sticky)."""

    def __init__(self, workload: StorageWorkload, cases: list[tuple[object, ...]]) -> None:
        self.workload, self.cases = workload, cases

    def __len__(self) -> int:
        return len(self.cases)

    def run(self, first: int) -> Iterator[list[str]]:
        for number, case in enumerate(self.cases[first:], first):
            workload = StorageWorkload(
                self.workload.root / f"{os.getpid()}-{number}", self.workload.seed, **SMALL
            )
            try:
                line = self.outcome(workload, case)
            except BaseException as error:
                line = f"{type(error).__name__}: {error}"
            yield [line if line.startswith("ok") else f"{case}: {line}"]

    def outcome(self, workload: StorageWorkload, case: tuple[object, ...]) -> str:
        disk = ContainerDisk()
        if len(case) == 2:
            at, sticky = case
            disk.fails_to_read = lambda count: count == at or (sticky and count > at)
            return outcome_of_errors(workload, disk, errno.EIO)
        at, number, sticky, half = case
        disk.fault = FaultAt(at, number, sticky=sticky, half=half)
        return outcome_of_errors(workload, disk, number)


def run_cases(workload: StorageWorkload, cases: list[tuple[object, ...]], sample: int) -> list[str]:
    chosen = cases if TORTURE else random.Random(3).sample(cases, min(sample, len(cases)))
    parts = [ErrorPart(workload, chosen[i::2]) for i in range(2)]
    lines = [line for step in run_in_children(parts, timeout_s=120) for line in step]
    assert len(lines) == len(chosen)
    assert not [line for line in lines if not line.startswith("ok")]
    return lines


@pytest.mark.slow
def test_an_error_at_any_call_loses_no_commit_and_the_backend_goes_on(tmp_path: Path) -> None:
    workload = StorageWorkload(tmp_path, 12, **SMALL)
    disk = ContainerDisk()
    workload.run(disk, Diary(disk))
    cases = [(at, *error) for at in range(1, disk.count + 1) for error in ERRORS]
    lines = run_cases(workload, cases, sample=60)
    assert any("StorageFullError" in line for line in lines)
    assert any("StorageIOError" in line for line in lines)


@pytest.mark.slow
def test_a_failed_read_is_told_and_never_taken_for_missing_data(tmp_path: Path) -> None:
    workload = StorageWorkload(tmp_path, 12, **SMALL)
    disk = ContainerDisk()
    workload.run(disk, Diary(disk))
    cases = [(at, sticky) for at in range(1, disk.reads + 1) for sticky in (False, True)]
    lines = run_cases(workload, cases, sample=30)
    assert any("StorageIOError" in line for line in lines)


# ---- the garbage collector --------------------------------------------------------------------


def test_a_collector_that_runs_whenever_it_may_misplaces_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # h5py makes objects between its seek and its write, and any of them may set the collector off.
    plain_seek = PagedFile.seek

    def seek(self: PagedFile, offset: int, whence: int = os.SEEK_SET) -> int:
        position = plain_seek(self, offset, whence)
        if gc.isenabled() and dice.random() < 0.1:
            gc.collect()
        return position

    dice = random.Random(1)
    monkeypatch.setattr(PagedFile, "seek", seek)
    for seed in (1, 2):
        workload = StorageWorkload(tmp_path / str(seed), seed, checkpoint_bytes=1 << 16)
        disk = ContainerDisk()
        diary = Diary(disk)
        workload.run(disk, diary)
        assert workload.read_state(SimulatedDisk(disk.snapshot())) == diary.marks[-1].state
        workload.recover_and_add(SimulatedDisk(disk.snapshot()))
    assert gc.isenabled()

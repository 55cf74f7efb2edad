"""Crash images, injected errors, and plain h5py as the proof that the suite can fail."""

from __future__ import annotations

import errno
import io
import os

import h5py
import pytest
from crash_images import (
    PATH,
    CrashSuite,
    Diary,
    State,
    run_in_children,
)
from hdf5_workload import LIBVER, Changes, JournalWorkload, skeleton, state_of
from simulated_disk import Operation, SimulatedDisk

from simarchive.errors import (
    CommitInDoubtError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.journal import Durability, PagedFile

# Of the images of CI and of `make torture`, three fifths are checked here, the others in tests/crash.
IMAGES = int(os.environ.get("SIMARCHIVE_CRASH_IMAGES", "5000")) * 3 // 5

WORKLOADS = {
    "plain": {},
    "persistent free space": {"fs_strategy": "fsm", "fs_persist": True},
    "pages": {"fs_strategy": "page", "fs_persist": True},
    "durability close": {"durability": Durability.CLOSE, "fs_strategy": "fsm", "fs_persist": True},
    "spilling": {"fs_strategy": "page", "fs_persist": True, "checkpoint_bytes": 1 << 15},
}


def check_all(seed: int, image_count: int, **options: object) -> tuple[int, list[str]]:
    suite = CrashSuite(JournalWorkload(seed, steps=24, sessions=2, **options), seed)
    report = suite.check(image_count)
    return report.images, report.failures


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_leaves_a_committed_state(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "spilling":
        monkeypatch.setattr(PagedFile, "SPILL_PAGES", 4)
        monkeypatch.setattr(PagedFile, "BULK_BYTES", 8192)
    checked, seed = 0, 11
    wanted = IMAGES // len(WORKLOADS)
    while checked < wanted:
        images, failures = check_all(seed, min(wanted - checked, 2000), **WORKLOADS[name])
        assert not failures, (seed, failures[:5])
        checked += images
        seed += 1


class PlainWorkload:
    """What a program does without the journal: flush and sync after every store."""

    def run(self, disk: SimulatedDisk, diary: Diary) -> None:
        changes = Changes(5)
        diary.intend({})
        file = disk.create_new(PATH, 0o666)
        disk.pwrite(file, skeleton(), 0)
        disk.sync(file)
        disk.sync_directory("/disk")
        diary.acknowledge()
        with h5py.File(_OnDisk(disk, file), "r+", libver=LIBVER) as handle:
            changes.begin(handle)
            for _ in range(12):
                changes.step(handle)
                diary.intend(state_of(handle))
                handle.flush()
                disk.sync(file)
                diary.acknowledge()

    def read_state(self, disk: SimulatedDisk) -> State:
        data = disk.image.bytes_of(PATH)
        assert data is not None
        with h5py.File(io.BytesIO(data), "r") as file:
            return state_of(file)

    def recover_and_add(self, disk: SimulatedDisk) -> State:
        return self.read_state(disk)


class _OnDisk(io.RawIOBase):
    """The simulated disk as a plain file object for h5py."""

    def __init__(self, disk: SimulatedDisk, fd: int) -> None:
        self.disk, self.fd, self.at = disk, fd, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset if whence == 0 else self.disk.status(self.fd).st_size + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        view[:] = self.disk.pread(self.fd, len(view), self.at).ljust(len(view), b"\0")
        self.at += len(view)
        return len(view)

    def write(self, data: object) -> int:
        size = self.disk.pwrite(self.fd, bytes(memoryview(data)), self.at)  # type: ignore[arg-type]
        self.at += size
        return size

    def truncate(self, size: int | None = None) -> int:
        self.disk.truncate(self.fd, self.at if size is None else size)
        return self.at

    def flush(self) -> None:
        pass


def test_the_same_crashes_damage_plain_h5py() -> None:
    suite = CrashSuite(PlainWorkload(), 5)
    report = suite.check(300, deep=0.0)
    assert len(report.failures) > 0.1 * report.images


# ---- errors ---------------------------------------------------------------------------------

ERRORS = [
    (errno.ENOSPC, False, True),
    (errno.ENOSPC, True, False),
    (errno.EIO, False, False),
    (errno.EIO, True, True),
]


class _Faults:
    """Raise `number` at call `at`; for ever after if sticky; write the first half if `half`."""

    def __init__(self, at: int, number: int, *, sticky: bool, half: bool) -> None:
        self.at, self.number, self.sticky, self.half = at, number, sticky, half
        self.hits = 0

    def __call__(self, disk: SimulatedDisk, operation: Operation) -> None:
        if disk.count == self.at or (
            self.sticky and disk.count > self.at and operation.kind in ("write", "sync")
        ):
            self.hits += 1
            if self.half and operation.kind == "write" and len(operation.data) > 1:
                disk.image.apply(operation._replace(data=operation.data[: len(operation.data) // 2]))
            raise OSError(self.number, os.strerror(self.number))


def run_with_fault(workload: JournalWorkload, fault: _Faults) -> str:
    """Return 'ok ...' if no commit is lost, and the error names the file; else what is wrong."""
    disk = SimulatedDisk()
    disk.recording = False
    disk.fault = fault
    diary = Diary(disk)
    outcome = "no error"
    try:
        workload.run(disk, diary)
    except StorageError as error:
        if PATH not in str(error) and "/disk" not in str(error):
            return f"the error names no file: {error}"
        expected = (StorageFullError,) if fault.number == errno.ENOSPC else (StorageIOError,)
        if not isinstance(error, (*expected, CommitInDoubtError)):
            return f"wrong class: {type(error).__name__}: {error}"
        outcome = type(error).__name__
    disk.fault = None
    if PATH not in disk.image.names:
        return "ok, not created" if not diary.marks[0].acknowledged else "container lost"
    acknowledged = [i for i, mark in enumerate(diary.marks) if mark.acknowledged is not None]
    last = acknowledged[-1] if acknowledged else 0
    allowed = [mark.state for mark in diary.marks[last : last + 2]]
    state = workload.read_state(SimulatedDisk(disk.snapshot()))
    if state not in allowed:
        return f"lost commit after {outcome}"
    workload.recover_and_add(SimulatedDisk(disk.snapshot()))
    return f"ok, {outcome}"


class _ErrorPart:
    def __init__(self, workload: JournalWorkload, cases: list[tuple[int, int, bool, bool]]) -> None:
        self.workload, self.cases = workload, cases

    def __len__(self) -> int:
        return len(self.cases)

    def run(self, first: int):  # type: ignore[no-untyped-def]
        for case in self.cases[first:]:
            at, number, sticky, half = case
            try:
                line = run_with_fault(self.workload, _Faults(at, number, sticky=sticky, half=half))
            except Exception as error:
                line = f"{type(error).__name__}: {error}"
            yield [line if line.startswith("ok") else f"{case}: {line}"]


def test_an_error_at_any_call_loses_no_commit_and_is_told() -> None:
    workload = JournalWorkload(21, steps=10, sessions=2, fs_strategy="fsm", fs_persist=True)
    disk = SimulatedDisk()
    workload.run(disk, Diary(disk))
    stride = max(1, 4 * disk.count // max(200, IMAGES // 4))
    cases = [(at, *error) for at in range(1, disk.count + 1, stride) for error in ERRORS]
    parts = [_ErrorPart(workload, cases[i::2]) for i in range(2)]
    lines = [line for step in run_in_children(parts, timeout_s=60) for line in step]
    assert len(lines) == len(cases)
    failures = [line for line in lines if not line.startswith("ok")]
    assert not failures, failures[:5]
    assert any("StorageFullError" in line for line in lines)
    assert any("StorageIOError" in line for line in lines)

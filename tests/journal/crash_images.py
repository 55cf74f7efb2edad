"""What a crash can leave of a recorded run, and whether each of it opens at a committed state.

A workload is anything with the three methods of `CrashWorkload`; `record` runs it on a simulated
disk, `CrashSuite` builds crash images at every write and sync of the run and checks each one:

* a kill leaves every call up to some point (the *prefix*);
* a power loss leaves any subset of what was not synced, torn at 512 bytes;
* either may hit the recovery of an image again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from simulated_disk import Image, Operation, SimulatedDisk

from simarchive.journal import Journal
from simarchive.journal.superblock import end_of_file, is_guarded, is_intact

PATH = "/disk/container.h5"
LOG_PATH = PATH + "-wal"
State = Mapping[str, str]


class CrashWorkload(Protocol):
    """Something that changes one container, `PATH`, on a disk."""

    def run(self, disk: SimulatedDisk, diary: Diary) -> None:
        """Change the container; tell the diary before and after each commit (open and close, too)."""

    def read_state(self, disk: SimulatedDisk) -> State:
        """Open the container for reading, and return what it holds as name: digest."""

    def recover_and_add(self, disk: SimulatedDisk) -> State:
        """Open the container for writing, commit something new, close; return what it holds then."""


@dataclass
class Mark:
    """A committed state: when its commit began, when it was acknowledged, and its bytes' digest."""

    state: State
    begun: int
    durable: bool
    acknowledged: int | None = None
    image: bytes | None = None


@dataclass
class Diary:
    """The committed states of a run, in order."""

    disk: SimulatedDisk
    marks: list[Mark] = field(default_factory=list)

    def intend(self, state: State, *, durable: bool = True) -> None:
        """Say that a commit begins which leaves `state`; durable if no power loss may take it."""
        self.marks.append(Mark(dict(state), self.disk.count, durable))

    def acknowledge(self) -> None:
        """Say that the commit has returned."""
        mark = self.marks[-1]
        mark.acknowledged = self.disk.count
        mark.image = committed_digest(self.disk.image)


def committed_bytes(image: Image) -> bytes:
    """Return the last commit's bytes as a reader with the journal sees them; it writes nothing."""
    disk = SimulatedDisk(image)
    journal = Journal.open(PATH, writable=False, files=disk)
    try:
        journal.begin_read(1.0)
        data = bytearray(journal.file.end)
        journal.file.read_at(memoryview(data), 0)
        journal.end_read()
    finally:
        journal.close()
    assert disk.count == 0, "a reader wrote"
    return bytes(data)


def committed_digest(image: Image) -> bytes:
    return hashlib.blake2b(committed_bytes(image), digest_size=16).digest()


def crash_images(
    operations: list[Operation], rng: random.Random, count: int, start: Image
) -> Iterator[tuple[str, Image]]:
    """Yield what a crash after all `operations` can leave: first the prefix, then `count` power losses."""
    prefix = start.copy()
    for operation in operations:
        prefix.apply(operation)
    yield "kill", prefix
    last_sync: dict[int, int] = {}
    last_names = -1
    for i, operation in enumerate(operations):
        if operation.kind == "sync":
            last_sync[operation.inode] = i
        elif operation.kind == "sync-names":
            last_names = i
    pending = [i for i, o in enumerate(operations) if i > last_names and o.kind in ("name", "unname")]
    for variant in range(count):
        likelihood = (0.5, 0.9, 0.1)[variant % 3]
        names_kept = set(pending[: rng.randint(0, len(pending))])
        image = start.copy()
        for i, operation in enumerate(operations):
            if operation.kind in ("name", "unname"):
                if i <= last_names or i in names_kept:
                    image.apply(operation)
                elif operation.kind == "name":
                    image.inodes.setdefault(operation.inode, bytearray())
            elif i <= last_sync.get(operation.inode, -1):
                image.apply(operation)
            else:
                _apply_in_part(image, operation, rng, likelihood)
        yield "power", image


def _apply_in_part(image: Image, operation: Operation, rng: random.Random, likelihood: float) -> None:
    """Apply what a power loss may leave of one call: all, nothing, the beginning, or some sectors."""
    if operation.kind == "truncate":
        if rng.random() < likelihood:
            image.apply(operation)
        return
    if operation.kind != "write":
        return
    data, offset = operation.data, operation.offset
    if rng.random() < 0.25:
        kept = rng.choice((len(data), rng.randint(0, len(data))))
        if kept:
            image.apply(operation._replace(data=data[:kept]))
        return
    at = 0
    while at < len(data):
        length = min(512 - (offset + at) % 512, len(data) - at)
        if rng.random() < likelihood:
            image.apply(operation._replace(offset=offset + at, data=data[at : at + length]))
        at += length


@dataclass
class Report:
    """How many images were checked, and what was wrong with which."""

    images: int = 0
    points: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class CrashSuite:
    """Crash images of one recorded run of a workload, and their checks."""

    def __init__(self, workload: CrashWorkload, seed: int, disk: SimulatedDisk | None = None) -> None:
        self.workload, self.seed = workload, seed
        self.disk = SimulatedDisk() if disk is None else disk
        self.diary = Diary(self.disk)
        workload.run(self.disk, self.diary)
        self.recovered = 0.1
        self.images = {mark.image for mark in self.diary.marks}

    def check(
        self, image_count: int, *, deep: float = 0.05, recovered: float | None = None, processes: int = 2
    ) -> Report:
        """Check about `image_count` images.

        Parameters
        ----------
        deep
            The share that is read through HDF5 even if its bytes are those of a committed state.
        recovered
            The share that is recovered and written to, and crashed once more; twice `deep` by default.
        """
        self.recovered = 2 * deep if recovered is None else recovered
        total = len(self.disk.operations)
        variants = 3 if image_count < 4 * total else image_count // total - 1
        rng = random.Random(self.seed)
        wanted = max(1, image_count // (variants + 1))
        points = sorted(rng.sample(range(total + 1), wanted)) if wanted <= total else list(range(total + 1))
        parts = [points[i::processes] for i in range(processes)]
        report = Report(points=len(points))
        for lines in run_in_children(
            [_Part(self, part, variants, deep) for part in parts if part], timeout_s=120
        ):
            for line in lines:
                report.images += 1
                if line.startswith("ok"):
                    report.kinds[line] += 1
                else:
                    report.failures.append(line)
        return report

    def allowed(self, point: int, kind: str) -> list[Mark]:
        """Return the commits that a crash after `point` operations may leave, the oldest first."""
        marks = self.diary.marks
        known = [
            i for i, mark in enumerate(marks) if mark.acknowledged is not None and mark.acknowledged <= point
        ]
        if not known:
            return [mark for mark in marks[:1] if mark.begun < point]
        last = known[-1]
        first = last
        if kind != "kill":
            while first > 0 and not marks[first].durable:
                first -= 1
        following = marks[last + 1 : last + 2]
        return marks[first : last + 1] + [mark for mark in following if mark.begun < point]

    def check_image(self, image: Image, point: int, kind: str, rng: random.Random, deep: float) -> str:
        """Return 'ok ...', or what is wrong with one image."""
        allowed = self.allowed(point, kind)
        if PATH not in image.names:
            done = any(
                mark.acknowledged is not None and mark.acknowledged <= point for mark in self.diary.marks
            )
            return "the container is gone" if done else "ok not created yet"
        wrong = self.foreign_view(image)
        if wrong:
            return wrong
        digest = committed_digest(image)
        exact = digest in {mark.image for mark in allowed}
        state: State | None = None
        if not exact or rng.random() < deep:
            state = self.workload.read_state(SimulatedDisk(image.copy()))
            if state not in [mark.state for mark in allowed]:
                older = any(state == mark.state for mark in self.diary.marks)
                return "a state that was committed, but not this one" if older else "no committed state"
        if rng.random() < self.recovered:
            wrong = self.check_recovery(image, digest, rng, [mark.state for mark in allowed])
            return wrong or f"ok {kind}, recovered and went on"
        return f"ok {kind}, " + ("same bytes" if exact else "same objects")

    def foreign_view(self, image: Image) -> str:
        """Return what is wrong with what HDF5 alone sees: it must be refused, or be a committed state."""
        data = image.bytes_of(PATH)
        assert data is not None
        if len(data) < 48 or not is_intact(data[:48]) or is_guarded(data[:48]):
            return ""
        content = data[: end_of_file(data[:48], PATH)]
        digest = hashlib.blake2b(content, digest_size=16).digest()
        return "" if digest in self.images else "HDF5 alone opens a mixture"

    def check_recovery(self, image: Image, digest: bytes, rng: random.Random, allowed: list[State]) -> str:
        """Recover, add a commit, close; then crash that, too."""
        disk = SimulatedDisk(image.copy())
        after = self.workload.recover_and_add(disk)
        if LOG_PATH in disk.image.names:
            return "a log stayed after close"
        if self.workload.read_state(SimulatedDisk(disk.image.copy())) != after:
            return "another state after recovery and a commit"
        end_digest = committed_digest(disk.image)
        point = rng.randint(0, len(disk.operations))
        for kind, second in crash_images(disk.operations[:point], rng, 2, image):
            if PATH not in second.names:
                return "the container is gone after a second crash"
            second_digest = committed_digest(second)
            if second_digest in (digest, end_digest):
                continue
            state = self.workload.read_state(SimulatedDisk(second))
            if state not in allowed and state != after:
                return (
                    f"no committed state after a second crash ({kind} at {point} of {len(disk.operations)})"
                )
        return ""


@dataclass
class _Part:
    """The crash points that one child process checks."""

    suite: CrashSuite
    points: list[int]
    variants: int
    deep: float

    def __len__(self) -> int:
        return len(self.points)

    def run(self, first: int) -> Iterator[list[str]]:
        suite = self.suite
        operations = suite.disk.operations
        base, base_at = Image(), 0
        pending: set[object] = set()
        scanned = 0
        for point in self.points[first:]:
            # Everything before the last moment without unsynced calls is on the disk for sure.
            safe = base_at
            for i in range(scanned, point):
                operation = operations[i]
                if operation.kind in ("write", "truncate"):
                    pending.add(operation.inode)
                elif operation.kind == "sync":
                    pending.discard(operation.inode)
                elif operation.kind == "sync-names":
                    pending.discard("names")
                else:
                    pending.add("names")
                if not pending:
                    safe = i + 1
            scanned = max(scanned, point)
            for operation in operations[base_at:safe]:
                base.apply(operation)
            base_at = safe
            rng = random.Random(suite.seed * 100003 + point)
            lines = []
            for kind, image in crash_images(operations[safe:point], rng, self.variants, base):
                try:
                    line = suite.check_image(image, point, kind, rng, self.deep)
                except Exception as error:
                    line = f"{type(error).__name__}: {str(error)[:200]}"
                lines.append(line if line.startswith("ok") else f"point {point} ({kind}): {line}")
            yield lines


class ChildWork(Protocol):
    """Work for a child process, in steps; `run` yields the findings of each step from `first` on."""

    def __len__(self) -> int: ...
    def run(self, first: int) -> Iterator[list[str]]: ...


def run_in_children(parts: list[ChildWork], *, timeout_s: int) -> list[list[str]]:
    """Run each part in a child of its own: HDF5 may crash, or loop for ever, on a damaged file.

    A step that kills its child, or takes longer than `timeout_s`, is reported; the next child goes
    on behind it.
    """
    with ThreadPoolExecutor(len(parts)) as pool:
        return [lines for part in pool.map(lambda p: _run_part(p, timeout_s), parts) for lines in part]


def _run_part(part: ChildWork, timeout_s: int) -> list[list[str]]:
    results: list[list[str]] = []
    while len(results) < len(part):
        reader, writer = multiprocessing.Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            _child(part, len(results), writer, timeout_s)
        writer.close()
        while True:
            try:
                results.append(reader.recv())
            except EOFError:
                break
        reader.close()
        _, status = os.waitpid(pid, 0)
        if len(results) < len(part):
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            what = "took too long" if number == signal.SIGALRM else f"signal {number}"
            results.append([f"step {len(results)}: HDF5 brought the process down ({what})"])
    return results


def _child(part: ChildWork, first: int, writer: object, timeout_s: int) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        for lines in part.run(first):
            writer.send(lines)  # type: ignore[attr-defined]
            signal.alarm(timeout_s)
    finally:
        os._exit(0)

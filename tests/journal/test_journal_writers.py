"""Several writers and sessions on one disk, killed and rolled back in turn, and every crash of that."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import struct
from dataclasses import dataclass

import pytest
from crash_images import LOG_PATH, PATH, committed_bytes, crash_images
from hdf5_workload import skeleton
from simulated_disk import Image, Operation, SimulatedDisk

from simarchive.errors import (
    CommitInDoubtError,
    CorruptError,
    DetachedLogError,
    ForeignChangeError,
    StorageError,
    StorageIOError,
)
from simarchive.journal import Durability, Journal, PagedFile
from simarchive.journal.frames import COMMIT, FRAMES_AT, PAGE_BYTES, Head
from simarchive.journal.seal import Seal
from simarchive.journal.superblock import is_guarded, is_intact, lookup3

MODELS = int(os.environ.get("SIMARCHIVE_MODELS", "8"))
SUPERBLOCK = skeleton()[:48]


def superblock(end: int) -> bytes:
    """Return a superblock that states `end`, as HDF5 writes one at each flush."""
    body = SUPERBLOCK[:28] + struct.pack("<Q", end) + SUPERBLOCK[36:44]
    return body + struct.pack("<I", lookup3(body))


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PagedFile, "SPILL_PAGES", 3)
    monkeypatch.setattr(PagedFile, "BULK_BYTES", 8192)


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


def open_journal(disk: SimulatedDisk, content: bytes = b"", **options: object) -> Journal:
    content = content or superblock(5000) + bytes(5000 - 48)
    return Journal.open(PATH, writable=True, skeleton=lambda: content, files=disk, **options)


@pytest.fixture
def journal(disk: SimulatedDisk) -> Journal:
    return open_journal(disk)


def write(journal: Journal, *writes: tuple[int, bytes], end: int | None = None) -> None:
    """Write within the open transaction, and set the end of the file if it is given."""
    for offset, data in writes:
        journal.file.seek(offset)
        journal.file.write(data)
    if end is not None:
        journal.file.truncate(end)
    journal.file.seek(0)
    journal.file.write(superblock(journal.file.end))


def transact(journal: Journal, *writes: tuple[int, bytes], end: int | None = None) -> None:
    journal.begin_write(1.0)
    try:
        write(journal, *writes, end=end)
        journal.commit()
    finally:
        journal.end_write()


def read(journal: Journal, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    journal.begin_read()
    journal.file.read_at(memoryview(buffer), offset)
    journal.end_read()
    return bytes(buffer)


def kill(journal: Journal) -> None:
    """Leave everything as a killed process does: its locks are gone, nothing is tidied up."""
    journal._pair.close()


# ---- the model ----------------------------------------------------------------------------------


class KilledError(BaseException):
    """What a killed process does next."""


class KillAt:
    """Let nothing reach the disk from one call on, as if the process had been killed then."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, disk: SimulatedDisk, operation: Operation) -> None:
        if disk.count >= self.count:
            raise KilledError


@dataclass
class Mark:
    """A committed state: when its commit began and ended, and whether a power loss may take it."""

    begun: int
    ended: int
    content: bytes
    durable: bool


class Writers:
    """Two writers that take turns, each in sessions of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        size = self.rng.randint(5000, 40_000)
        self.committed = superblock(size) + self.rng.randbytes(size - 48)
        self.disk = SimulatedDisk()
        self.durability = (Durability.COMMIT, Durability.CLOSE)[seed % 2]
        self.journals = [self.open(), self.open()]
        self.highest = size  # of all commits: what lies behind it was never anybody's
        self.marks = [Mark(0, len(self.disk.operations), self.committed, durable=True)]

    def open(self) -> Journal:
        return open_journal(self.disk, self.committed, durability=self.durability, checkpoint_bytes=40_000)

    def turn(self) -> None:
        """Let one of the two do something, and be killed in the midst of it now and then."""
        rng, disk, which = self.rng, self.disk, self.rng.randrange(2)
        self.at_work, begun = (self.committed, self.highest), len(disk.operations)
        if rng.random() < 0.4:
            disk.fault = KillAt(disk.count + rng.randint(1, 25))
        try:
            self.work(which)
        except KilledError:
            disk.fault = None
            kill(self.journals[which])
            self.journals[which] = self.open()
            content, highest = self.at_work
            if content != self.committed and committed_bytes(disk.image) == content:
                self.committed, self.highest = content, highest
                self.marks.append(Mark(begun, len(disk.operations), content, durable=False))
        finally:
            disk.fault = None

    def work(self, which: int) -> None:
        rng, journal = self.rng, self.journals[which]
        journal.begin_write(1.0)
        for attempt in range(rng.choice((1, 1, 2))):
            if attempt:
                journal.roll_back()
            now = bytearray(self.committed)
            highest = self.highest
            for _ in range(rng.randint(1, 4)):
                highest = self.write(journal, now, highest)
            now[:48] = superblock(len(now))
            journal.file.seek(0)
            journal.file.write(now[:48])
        if rng.random() < 0.8:
            begun, self.at_work = len(self.disk.operations), (bytes(now), highest)
            journal.commit()
            self.committed, self.highest = self.at_work
            durable = self.durability is Durability.COMMIT
            self.marks.append(Mark(begun, len(self.disk.operations), self.committed, durable))
        journal.end_write()
        if rng.random() < 0.3:
            journal.close()
            self.journals[which] = self.open()

    def write(self, journal: Journal, now: bytearray, highest: int) -> int:
        """Write bytes somewhere, or behind a hole, or shorten the file; return the highest end so far."""
        rng = self.rng
        data = rng.randbytes(rng.choice((10, 3000, 9000, 30_000)))
        offset = rng.randint(48, len(now))
        chance = rng.random()
        if chance < 0.35 and len(now) == highest:
            offset = len(now) + rng.choice((5000, 20_000))
        elif chance < 0.45:
            del now[max(4096, len(now) - 15_000) :]
            journal.file.truncate(len(now))
            return highest
        elif len(now) < highest:
            # HDF5 never reads what it has not written: what was shortened gets a content first.
            offset, data = len(now), rng.randbytes(highest - len(now) + 10)
        journal.file.seek(offset)
        journal.file.write(data)
        now.extend(bytes(max(0, offset + len(data) - len(now))))
        now[offset : offset + len(data)] = data
        return max(highest, len(now))


def allowed(marks: list[Mark], point: int, kind: str) -> list[bytes]:
    """Return what a crash after `point` calls may leave: the last commit, or the one at work."""
    known = max((i for i, mark in enumerate(marks) if mark.ended <= point), default=0)
    first = known
    while kind == "power" and not marks[first].durable:
        first -= 1
    at_work = [mark for mark in marks[known + 1 : known + 2] if mark.begun < point]
    return [mark.content for mark in marks[first : known + 1] + at_work]


@pytest.mark.parametrize("seed", range(MODELS))
def test_writers_that_are_killed_and_rolled_back_in_turn_leave_commits_only(seed: int) -> None:
    model = Writers(seed)
    for _ in range(14):
        model.turn()
        assert committed_bytes(model.disk.image) == model.committed
    for journal in model.journals:
        journal.close()
    assert committed_bytes(model.disk.image) == model.committed
    rng, operations = random.Random(seed), model.disk.operations
    reach = max(len(mark.content) for mark in model.marks)
    for point in range(model.marks[0].ended, len(operations) + 1):
        for kind, image in crash_images(operations[:point], rng, 2, Image()):
            found = committed_bytes(image)
            assert found in allowed(model.marks, point, kind), (kind, point)
            if rng.random() < 0.15:
                # Whoever goes on from there keeps what is committed, and tidies up.
                again = SimulatedDisk(image)
                journal = open_journal(again, found)
                transact(journal, (reach + 9000, b"more" * 3000))
                journal.close()
                after = committed_bytes(again.image)
                assert after[48 : len(found)] == found[48:], (kind, point)
                assert after[reach:] == bytes(9000) + b"more" * 3000, (kind, point)
                assert LOG_PATH not in again.image.names


# ---- what must be durable before what -----------------------------------------------------------


def with_cuts_lost(disk: SimulatedDisk, inode: int) -> Image:
    """Return the disk as a power loss may leave it: a file was written, but not cut, since its last sync."""
    image, operations = Image(), disk.operations
    last = max(i for i, o in enumerate(operations) if (o.kind, o.inode) == ("sync", inode))
    for i, operation in enumerate(operations):
        if operation.inode != inode or i <= last or operation.kind != "truncate":
            image.apply(operation)
    return image


@pytest.mark.parametrize("who", ["the same writer", "another one"])
def test_a_tail_that_was_rolled_back_stays_cut_off_under_a_hole(
    disk: SimulatedDisk, journal: Journal, who: str
) -> None:
    # Each has grown the file, so that nothing is left to be synced of what was before.
    transact(journal, (12_000, b"a" * 100))
    other = open_journal(disk) if who == "another one" else journal
    transact(other, (18_000, b"b" * 100))
    journal.begin_write()
    write(journal, (40_960, b"garbage!" * 4096))
    if who == "another one":
        # Rolled back, and cut off; it dies before anything is synced.
        journal.roll_back()
        kill(journal)
        other.begin_write()
    else:
        journal.roll_back()
    write(other, (90_000, b"end"))
    other.commit()
    content = committed_bytes(disk.image)
    assert not any(content[20_480:90_000])
    assert committed_bytes(with_cuts_lost(disk, disk.image.names[PATH])) == content


def test_a_seal_is_durable_before_anything_else_happens(disk: SimulatedDisk) -> None:
    first = open_journal(disk)
    transact(first, (8192, b"1" * 9000))
    first.checkpoint(0.0)
    transact(first, (8192, b"2" * 9000))
    kill(first)
    second = open_journal(disk)
    transact(second, (8192, b"3"))
    second.close()
    third = open_journal(disk)
    transact(third, (8192, b"4"))
    third.close()
    container, seals, pending = disk.image.names[PATH], 0, False
    for operation in disk.operations:
        if operation.inode == container and operation.kind == "sync":
            pending = False
        elif operation.kind == "write" and operation.data.startswith(b"simseal"):
            seals, pending = seals + 1, True
        elif operation.inode != container:
            assert not pending, operation.kind
    assert seals >= 6
    assert not pending


def test_the_name_of_a_new_log_is_durable_before_its_first_commit(
    disk: SimulatedDisk, journal: Journal
) -> None:
    disk.operations.clear()
    transact(journal, (8192, b"1"))
    kinds = [operation.kind for operation in disk.operations]
    log = disk.image.names[LOG_PATH]
    frames = [i for i, o in enumerate(disk.operations) if o.inode == log and o.offset == FRAMES_AT]
    named = kinds.index("name")
    assert "sync-names" in kinds[named : frames[0]]


def test_a_checkpoint_is_durable_step_by_step(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1" * 9000))
    disk.operations.clear()
    assert journal.checkpoint(0.0)
    container = disk.image.names[PATH]
    steps = [
        "mark" if o.offset == 0 and o.kind == "write" else o.kind
        for o in disk.operations
        if o.inode == container and o.kind != "allocate"
    ]
    assert steps[:2] == ["mark", "sync"]
    assert steps[-3:] == ["sync", "mark", "sync"]
    # Page 0 is among the pages that are copied, still with the mark.
    assert steps[2:-3].count("mark") == 1
    assert "sync" not in steps[2:-3]


def test_a_commit_that_is_taken_back_is_so_durably(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))
    log, failed = disk.image.names[LOG_PATH], []

    def fail_once(disk: SimulatedDisk, operation: Operation) -> None:
        if (operation.kind, operation.inode) == ("sync", log) and not failed:
            failed.append(len(disk.operations))
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fault = fail_once
    journal.begin_write()
    write(journal, (8192, b"2"))
    with pytest.raises(StorageIOError):
        journal.commit()
    after = [o.kind for o in disk.operations[failed[0] :] if o.inode == log]
    assert after[:2] == ["write", "sync"]
    journal.end_write()
    assert read(journal, 8192, 1) == b"1"


def test_a_commit_in_doubt_that_another_one_has_seen_is_not_taken_back(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, (8192, b"1"))
    log = disk.image.names[LOG_PATH]

    def fail(disk: SimulatedDisk, operation: Operation) -> None:
        # The frame gets there, but no sync, and nothing behind it.
        if operation.inode == log:
            if operation.kind == "sync" or written:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            written.append(operation)

    written: list[Operation] = []
    disk.fault = fail
    journal.begin_write()
    write(journal, (8192, b"2"))
    with pytest.raises(CommitInDoubtError):
        journal.commit()
    with contextlib.suppress(StorageError):
        journal.end_write()
    disk.fault = None
    # Another writer has found the commit, and gone on from it.
    other = open_journal(disk)
    assert read(other, 8192, 1) == b"2"
    transact(other, (8193, b"3"))
    transact(journal, (8194, b"4"))
    for reader in (journal, other):
        assert read(reader, 8192, 3) == b"234"


def test_a_writer_finishes_a_checkpoint_that_was_broken_off_before_it_adds_to_the_log(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, (8192, b"1"))
    log = disk.image.names[LOG_PATH]

    def fail(disk: SimulatedDisk, operation: Operation) -> None:
        if (operation.kind, operation.inode, operation.offset) == ("write", log, 0):
            raise KilledError

    disk.fault = fail
    with pytest.raises(KilledError):
        journal.checkpoint(0.0)
    disk.fault = None
    kill(journal)
    other = open_journal(disk)
    transact(other, (8192, b"2"))
    kill(other)
    assert committed_bytes(disk.image)[8192:8193] == b"2"
    # By another name the container lacks that commit, and has to say so.
    alone = disk.image.copy()
    del alone.names[LOG_PATH]
    with pytest.raises(DetachedLogError):
        committed_bytes(alone)


def test_a_close_that_cannot_copy_the_log_makes_it_durable(disk: SimulatedDisk) -> None:
    journal = open_journal(disk, durability=Durability.CLOSE)
    transact(journal, (8192, b"1"))
    reader = Journal.open(PATH, writable=False, files=disk)
    reader.begin_read()
    transact(journal, (8192, b"2"))
    log = disk.image.names[LOG_PATH]
    assert not {o.kind for o in disk.operations[-3:] if o.inode == log} & {"sync"}
    journal.close()
    assert LOG_PATH in disk.image.names
    last = max(i for i, o in enumerate(disk.operations) if (o.kind, o.inode) == ("sync", log))
    assert not [o for o in disk.operations[last:] if (o.kind, o.inode) == ("write", log)]
    reader.end_read()
    assert read(reader, 8192, 1) == b"2"


@pytest.mark.parametrize("kept", range(1, 48))
def test_the_last_step_of_a_checkpoint_may_be_torn_anywhere(
    disk: SimulatedDisk, journal: Journal, kept: int
) -> None:
    transact(journal, (8192, b"1" * 9000))
    content, container = committed_bytes(disk.image), disk.image.names[PATH]
    starts: list[Operation] = []

    def tear(disk: SimulatedDisk, operation: Operation) -> None:
        if (operation.kind, operation.inode, operation.offset) == ("write", container, 0):
            starts.append(operation)
            # The mark, page 0 with the mark, and at last the superblock without it.
            if len(starts) == 3:
                disk.image.apply(operation._replace(data=operation.data[:kept]))
                raise KilledError

    disk.fault = tear
    with pytest.raises(KilledError):
        journal.checkpoint(0.0)
    assert len(starts[2].data) == 48
    disk.fault = None
    kill(journal)
    assert committed_bytes(disk.image) == content
    alone = disk.image.copy()
    del alone.names[LOG_PATH]
    data = alone.bytes_of(PATH) or b""
    if is_intact(data[:48]) and not is_guarded(data[:48]):
        assert committed_bytes(alone) == content
    else:
        with pytest.raises(DetachedLogError):
            committed_bytes(alone)
    other = open_journal(disk)
    transact(other, (8193, b"2"))
    other.close()
    assert committed_bytes(disk.image)[8192:8194] == b"12"


def test_a_writer_notices_that_a_logged_page_was_changed_by_others_between_its_transactions(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, (4096, b"1"))
    transact(journal, (4097, b"2"))
    # By a program that does not use HDF5, which would have cut the seal off.
    disk.perform(Operation("write", disk.image.names[PATH], 4200, b"x"))
    before = disk.image.bytes_of(PATH)
    with pytest.raises(ForeignChangeError, match="near byte 4096"):
        transact(journal, (4098, b"3"))
    assert disk.image.bytes_of(PATH) == before


class UnreadableDisk(SimulatedDisk):
    """Fails to read while it is told to."""

    fails = False

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().pread(fd, size, offset)


def test_a_handle_that_met_a_failed_read_is_not_used_again() -> None:
    disk = UnreadableDisk()
    journal = open_journal(disk)
    transact(journal, (8192, b"1"))
    assert not journal.begin_write()
    disk.fails = True
    journal.file.seek(4096)
    with pytest.raises(StorageIOError):
        journal.file.readinto(bytearray(100))
    disk.fails = False
    journal.end_write()
    # HDF5 may have kept half of what it read.
    assert journal.begin_write()
    assert not journal.commit()
    journal.end_write()
    assert not journal.begin_write()
    journal.end_write()


def test_room_is_kept_for_the_pages_of_a_commit_and_some_more(disk: SimulatedDisk, journal: Journal) -> None:
    container = disk.image.names[PATH]
    for end, kept_to in ((9000, 12_288 + (128 << 10)), (9001, None), (200_000, 200_704 + (128 << 10))):
        disk.operations.clear()
        transact(journal, (end - 1, b"z"))
        kept = [o.offset for o in disk.operations if (o.kind, o.inode) == ("allocate", container)]
        assert kept == ([] if kept_to is None else [kept_to])


# ---- spilled, then shortened --------------------------------------------------------------------


def test_a_page_that_was_spilled_is_superseded_though_the_end_lies_before_it(journal: Journal) -> None:
    pages = [(at * PAGE_BYTES, b"first" * 100) for at in range(2, 10)]
    last = (8 * PAGE_BYTES, b"second" * 100)
    transact(journal, *pages, last, end=3 * PAGE_BYTES)
    journal.begin_write()
    write(journal, end=12 * PAGE_BYTES)
    buffer = bytearray(600)
    journal.file.read_at(memoryview(buffer), last[0])
    assert buffer == last[1]
    journal.roll_back()
    journal.end_write()


def test_pages_that_were_spilled_and_cut_off_hide_no_bulk_of_later(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, *[(at * PAGE_BYTES, b"old" * 1000) for at in range(2, 40)], end=2 * PAGE_BYTES)
    bulk = os.urandom(36 * PAGE_BYTES)
    transact(journal, (3 * PAGE_BYTES, bulk))
    assert read(journal, 3 * PAGE_BYTES, len(bulk)) == bulk
    assert committed_bytes(disk.image)[3 * PAGE_BYTES :] == bulk


# ---- nonsense that looks sound ------------------------------------------------------------------


class AskedDisk(SimulatedDisk):
    """Remembers how much was asked for at once."""

    largest = 0

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.largest = max(self.largest, size)
        assert size < 1 << 30, "more than there can be"
        return super().pread(fd, size, offset)


@pytest.mark.parametrize("count", [100, 1 << 18, 1 << 39, 1 << 40, (1 << 40) + 1])
def test_a_frame_that_claims_more_than_there_is_is_no_frame(
    disk: SimulatedDisk, journal: Journal, count: int
) -> None:
    transact(journal, (8192, b"1"))
    log = journal._pair.find_log()
    assert log is not None
    content, end, sequence = committed_bytes(disk.image), log.size, log._chain.sequence
    kill(journal)
    head = Head(COMMIT, sequence + 1, 7, 5000, count).to_bytes()
    disk.image.apply(Operation("write", disk.image.names[LOG_PATH], end, head + bytes(5000)))
    asked = AskedDisk(disk.image)
    reader = Journal.open(PATH, writable=False, files=asked)
    assert read(reader, 0, len(content)) == content
    reader.close()
    assert asked.largest <= 2 << 20
    again = open_journal(disk)
    transact(again, (8192, b"2"))
    assert read(again, 8192, 1) == b"2"
    again.close()


def test_a_commit_without_a_superblock_is_not_copied(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))
    journal.checkpoint(0.0)
    journal.begin_write()
    journal.file.seek(0)
    journal.file.write(b"nonsense" * 6)
    journal.commit()
    before = disk.image.bytes_of(PATH)
    journal.end_write()
    with pytest.raises(CorruptError, match="superblock"):
        journal.checkpoint(0.0)
    assert disk.image.bytes_of(PATH) == before


def test_a_log_with_commits_is_not_taken_for_that_of_a_container_which_waits_for_another(
    disk: SimulatedDisk, journal: Journal
) -> None:
    # The container is as it was when this log began, and then another log went on from the same state.
    transact(journal, (8192, b"1"))
    kill(journal)
    old = disk.image.copy()
    seal_at = end_of_container(disk)
    data = bytearray(disk.image.bytes_of(PATH) or b"")
    seal = Seal.from_bytes(bytes(data[seal_at:]))
    assert seal is not None
    foreign = seal.settled().pending_in(b"another!")
    disk.image.apply(Operation("write", disk.image.names[PATH], seal_at, foreign.to_bytes()))
    with pytest.raises(StorageError, match="another name"):
        committed_bytes(disk.image)
    assert committed_bytes(old)[8192:8193] == b"1"


def end_of_container(disk: SimulatedDisk) -> int:
    (end,) = struct.unpack_from("<Q", disk.image.bytes_of(PATH) or b"", 28)
    return int(end)

"""The pager against a model: a plain array of bytes with commits, roll-backs, checkpoints and crashes."""

from __future__ import annotations

import errno
import gc
import os
import random
import struct
from pathlib import Path

import pytest
from crash_images import LOG_PATH, PATH, Diary, committed_bytes, crash_images
from hdf5_workload import skeleton
from simulated_disk import Image, Operation, SimulatedDisk

from simarchive.errors import StorageIOError
from simarchive.journal import Journal, PagedFile
from simarchive.journal.superblock import lookup3

MODELS = int(os.environ.get("SIMARCHIVE_MODELS", "12"))
SUPERBLOCK = skeleton()[:48]


def superblock(end: int) -> bytes:
    """Return a superblock that states `end`, as HDF5 writes one at each flush."""
    body = SUPERBLOCK[:28] + struct.pack("<Q", end) + SUPERBLOCK[36:44]
    return body + struct.pack("<I", lookup3(body))


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PagedFile, "SPILL_PAGES", 3)
    monkeypatch.setattr(PagedFile, "BULK_BYTES", 8192)


class Model:
    """Random writes to a journal's file and, the same, to a bytearray."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        size = self.rng.randint(5000, 60_000)
        content = superblock(size) + self.rng.randbytes(size - 48)
        self.disk = SimulatedDisk()
        self.diary = Diary(self.disk)
        self.now = bytearray(content)
        self.committed = bytes(content)
        self.journal = Journal.open(PATH, writable=True, skeleton=lambda: content, files=self.disk)
        self.marks: list[tuple[int, int, bytes]] = [(0, self.disk.count, self.committed)]

    def write(self) -> None:
        rng, now, file = self.rng, self.now, self.journal.file
        offset, size = rng.randint(48, len(now)), rng.choice((10, 500, 5000, 9000, 30_000))
        same = rng.random() < 0.3 and self.committed[offset : offset + size]
        data = same or rng.randbytes(size)
        file.seek(offset)
        file.write(data)
        now.extend(bytes(max(0, offset + len(data) - len(now))))
        now[offset : offset + len(data)] = data

    def resize(self) -> None:
        now = self.now
        size = max(4096, len(now) + self.rng.randint(-9000, 12_000))
        self.journal.file.truncate(size)
        del now[size:]
        if size > len(now):
            # HDF5 never reads what it has not written: give the gap a content.
            gap = self.rng.randbytes(size - len(now))
            self.journal.file.seek(len(now))
            self.journal.file.write(gap)
            now.extend(gap)

    def compare(self) -> None:
        file, now, rng = self.journal.file, self.now, self.rng
        assert file.end == len(now)
        low = rng.randint(0, len(now) - 1)
        for start, stop in ((0, len(now)), (low, rng.randint(low + 1, len(now))), (low, low + 1)):
            buffer = bytearray(b"?" * (stop - start))
            file.read_at(memoryview(buffer), start)
            assert buffer == now[start:stop]

    def transaction(self) -> None:
        rng, journal = self.rng, self.journal
        journal.begin_write(1.0)
        self.compare()
        for _ in range(rng.randint(1, 10)):
            self.write() if rng.random() < 0.85 else self.resize()
        self.now[:48] = superblock(len(self.now))
        journal.file.seek(0)
        journal.file.write(self.now[:48])
        self.compare()
        chance = rng.random()
        if chance < 0.7:
            begun = self.disk.count
            changed = self.now != self.committed
            assert journal.commit() or not changed
            self.committed = bytes(self.now)
            self.marks.append((begun, self.disk.count, self.committed))
        elif chance < 0.85:
            journal.roll_back()
        self.now = bytearray(self.committed)
        if chance < 0.85:
            self.compare()
        journal.end_write()

    def between(self) -> None:
        chance = self.rng.random()
        if chance < 0.2:
            assert self.journal.checkpoint(0.0)
        elif chance < 0.35:
            self.journal.close()
            self.journal = Journal.open(PATH, writable=True, files=self.disk)
        elif chance < 0.5:
            # As after a kill: nobody tidies up.
            self.journal._pair.close()
            self.journal = Journal.open(PATH, writable=True, files=self.disk)
        assert committed_bytes(self.disk.image) == self.committed


def allowed(marks: list[tuple[int, int, bytes]], point: int) -> list[bytes]:
    known = max((i for i, mark in enumerate(marks) if mark[1] <= point), default=None)
    if known is None:
        return [marks[0][2]]
    return [marks[known][2]] + [mark[2] for mark in marks[known + 1 : known + 2] if mark[0] < point]


@pytest.mark.parametrize("seed", range(MODELS))
def test_the_pager_equals_an_array_of_bytes_and_survives_every_crash(seed: int) -> None:
    model = Model(seed)
    for _ in range(10):
        model.transaction()
        model.between()
    model.journal.close()
    assert LOG_PATH not in model.disk.image.names
    first = model.marks[0][1]
    rng = random.Random(seed)
    operations = model.disk.operations
    for point in range(first, len(operations) + 1):
        for kind, image in crash_images(operations[:point], rng, 2, Image()):
            assert committed_bytes(image) in allowed(model.marks, point), (kind, point)


def transact(journal: Journal, *writes: tuple[int, bytes]) -> None:
    journal.begin_write(1.0)
    try:
        for offset, data in writes:
            journal.file.seek(offset)
            journal.file.write(data)
        journal.file.seek(0)
        journal.file.write(superblock(journal.file.end))
        journal.commit()
    finally:
        journal.end_write()


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.fixture
def journal(disk: SimulatedDisk) -> Journal:
    content = superblock(5000) + bytes(5000 - 48)
    return Journal.open(PATH, writable=True, skeleton=lambda: content, files=disk)


def test_only_changed_pages_are_logged(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (4096, b"a" * 100))
    log = journal._pair.find_log()
    assert log is not None
    before = log.size
    transact(journal, (4096, b"b" * 10), (100, bytes(50)))
    # The head and table of one frame, page 1, and page 0 as always.
    assert log.size - before == 512 + 2 * 4096


def test_bulk_is_written_once_and_straight_to_the_container(disk: SimulatedDisk, journal: Journal) -> None:
    data = os.urandom(1 << 20)
    transact(journal, (8192, b"x"))
    disk.operations.clear()
    transact(journal, (16384, data))
    written = sum(len(o.data) for o in disk.operations if o.kind == "write")
    assert written < len(data) + 5 * 4096
    container = disk.image.names[PATH]
    kinds = [(o.kind, o.inode == container) for o in disk.operations]
    # The container's bulk is durable before the log points at it.
    assert kinds.index(("sync", True)) < kinds.index(("write", False))


def test_bulk_never_overwrites_what_a_commit_of_this_log_used(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1" * 40_000))
    reader = Journal.open(PATH, writable=False, files=disk)
    reader.begin_read()
    journal.begin_write()
    journal.file.truncate(8192)
    journal.file.seek(0)
    journal.file.write(superblock(8192))
    journal.commit()
    journal.end_write()
    transact(journal, (8192, b"2" * 40_000))
    buffer = bytearray(40_000)
    reader.file.read_at(memoryview(buffer), 8192)
    assert buffer == b"1" * 40_000
    reader.end_read()
    reader.begin_read()
    reader.file.read_at(memoryview(buffer), 8192)
    assert buffer == b"2" * 40_000
    reader.end_read()
    reader.close()


def test_a_spilled_page_does_not_hide_later_bulk(journal: Journal) -> None:
    writes = [(12_288 + i * 4096, b"s" * 100) for i in range(6)]
    bulk = os.urandom(32_768)
    transact(journal, *writes, (12_288, bulk))
    journal.begin_read()
    buffer = bytearray(32_768)
    journal.file.read_at(memoryview(buffer), 12_288)
    assert buffer == bulk
    journal.end_read()


def test_a_read_past_the_end_gives_zeros(journal: Journal) -> None:
    journal.begin_read()
    journal.file.seek(4990)
    buffer = bytearray(b"?" * 10_000)
    assert journal.file.readinto(buffer) == 10_000
    assert not any(buffer)
    journal.end_read()


def test_the_tail_of_a_killed_transaction_is_cut_and_the_cut_is_durable(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, (8192, b"a"))
    journal.begin_write()
    journal.file.seek(16_384)
    journal.file.write(b"garbage!" * 4096)
    journal._pair.close()
    journal = Journal.open(PATH, writable=True, files=disk)
    disk.operations.clear()
    journal.begin_write()
    # A commit with a hole where the garbage was: it must read as zeros after any crash.
    journal.file.seek(70_000)
    journal.file.write(b"end")
    journal.file.seek(0)
    journal.file.write(superblock(70_003))
    journal.commit()
    container = disk.image.names[PATH]
    kinds = [(o.kind, o.inode == container) for o in disk.operations]
    assert ("truncate", True) in kinds
    assert kinds.index(("truncate", True)) < kinds.index(("sync", True)) < len(kinds) - 1
    buffer = bytearray(32_768)
    journal.file.read_at(memoryview(buffer), 16_384)
    assert not any(buffer)
    journal.end_write()


def test_the_seal_never_shows_in_the_content(disk: SimulatedDisk, journal: Journal) -> None:
    for end in (30_000, 90_000):
        # Only the last bytes are written; what lies between is a hole over the old seal.
        transact(journal, (end - 1, b"z"))
        content = committed_bytes(disk.image)
        assert (
            content[48:] == bytes(end - 49) + b"z"
            if end == 30_000
            else content[30_000:] == bytes(59_999) + b"z"
        )
        assert journal.checkpoint(0.0)
        assert committed_bytes(disk.image) == content


def test_a_torn_superblock_hides_no_byte(disk: SimulatedDisk, journal: Journal) -> None:
    # The ends 300,000 and 400,000, mixed after their second byte, give 268,928: a place amid old bytes.
    old, new = (bytes(range(1, 251)) * 1200)[: 300_000 - 8192], bytes(range(1, 251)) * 400
    transact(journal, (8192, old))
    journal.checkpoint(0.0)
    transact(journal, (8192 + len(old), new))
    marked: list[Operation] = []

    def note(disk: SimulatedDisk, operation: Operation) -> None:
        if operation.offset == 0 and operation.inode == disk.image.names[PATH]:
            marked.append(operation)
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = note
    with pytest.raises(StorageIOError):
        journal.checkpoint(0.0)
    (mark,) = marked
    committed = committed_bytes(disk.image)
    assert committed[8192:] == old + new
    for kept in range(1, len(mark.data)):
        torn = disk.image.copy()
        torn.apply(mark._replace(data=mark.data[:kept]))
        assert committed_bytes(torn) == committed, kept
        # Who goes on from there overwrites nothing, and tidies up.
        again = Journal.open(PATH, writable=True, files=SimulatedDisk(torn))
        transact(again, (8192 + len(old) + len(new), b"more" * 5000))
        again.close()
        assert LOG_PATH not in torn.names
        assert committed_bytes(torn)[48:] == committed[48:] + b"more" * 5000


def test_the_garbage_collector_waits_between_a_seek_and_what_follows(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "container.h5", writable=True, skeleton=skeleton)
    journal.begin_write(1.0)
    file = journal.file
    for act in (lambda: file.write(b"x"), lambda: file.readinto(bytearray(3)), file.stop, file.retire):
        assert gc.isenabled()
        file.seek(100)
        assert not gc.isenabled()
        act()
        assert gc.isenabled()
        file.begin_reading()
    journal.close()

"""The log, its frames, the superblock, the seal, the files and the locks, one by one."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from crash_images import LOG_PATH, PATH, committed_bytes
from hdf5_workload import skeleton
from simulated_disk import Operation, SimulatedDisk
from test_journal_pager import superblock, transact

from simarchive.errors import (
    ClosedError,
    CommitInDoubtError,
    FormatError,
    LockedError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.journal import Journal, PagedFile
from simarchive.journal.creation import create_file
from simarchive.journal.files import SYSTEM, Files, OpenFile
from simarchive.journal.frames import COMMIT, Head, Header, decode_frame, encode_frame
from simarchive.journal.locks import CHECKPOINT_WAITS, Holder, read_holder
from simarchive.journal.log import Log
from simarchive.journal.seal import SEAL_BYTES, Seal
from simarchive.journal.superblock import end_of_file, guarded, is_guarded, is_intact, lookup3

# ---- superblock and seal ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_lookup3_gives_the_published_values(data: bytes, checksum: int) -> None:
    assert lookup3(data) == checksum


def test_stock_hdf5_refuses_a_guarded_superblock_and_takes_it_back(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(skeleton())
    first = path.read_bytes()[:48]
    assert is_intact(first)
    assert not is_guarded(first)
    assert end_of_file(first, "a") == path.stat().st_size
    with path.open("r+b") as file:
        file.write(guarded(first))
    assert is_intact(guarded(first))
    assert is_guarded(guarded(first))
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r")
    with path.open("r+b") as file:
        file.write(first)
    h5py.File(path, "r").close()


def test_a_file_that_is_no_container_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w", libver="earliest"):
        pass
    journal = Journal.open(path, writable=True)
    with pytest.raises(FormatError, match=r"old\.h5.*version 0.*h5repack"):
        journal.begin_read()
    journal._pair.close()


def test_a_seal_is_known_only_if_every_byte_is_right() -> None:
    seal = Seal.new()
    data = seal.to_bytes()
    assert len(data) == SEAL_BYTES
    assert Seal.from_bytes(data) == seal
    for i in range(SEAL_BYTES):
        assert Seal.from_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]) is None
        assert Seal.from_bytes(data[:i]) is None


def test_hdf5_cuts_the_seal_off_when_it_opens_for_writing_and_ignores_it_else(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    Journal.open(path, writable=True, skeleton=skeleton).close()
    size = path.stat().st_size
    with h5py.File(path, "r"):
        pass
    assert path.stat().st_size == size
    with h5py.File(path, "r+"):
        pass
    assert path.stat().st_size == size - SEAL_BYTES


# ---- frames -----------------------------------------------------------------------------------


def test_a_frame_is_known_only_whole_and_behind_its_predecessor() -> None:
    images = [(0, bytes(4096)), (7, b"p" * 4096)]
    head = Head(COMMIT, 1, 99, 40_000, 2)
    frame, data = encode_frame(head, b"salt", 4096, images, {7: b"12345678"})
    assert len(data) == 512 + 2 * 4096
    assert frame.pages == {0: 4096 + 512, 7: 4096 + 512 + 4096}
    assert Head.from_bytes(data) == head
    assert decode_frame(memoryview(data), b"salt", 4096) == frame
    assert decode_frame(memoryview(data), b"pepper", 4096) is None
    assert decode_frame(memoryview(data)[:-1], b"salt", 4096) is None
    for at in (0, 20, 60, 80, 511, 512, len(data) - 1):
        torn = bytearray(data)
        torn[at] ^= 1
        assert decode_frame(memoryview(torn), b"salt", 4096) is None


def test_a_header_of_a_later_format_is_refused() -> None:
    header = Header(os.urandom(16), Seal.new(), 1000, skeleton()[:48])
    data = header.to_bytes()
    assert Header.from_bytes(data, "log") == header
    assert Header.from_bytes(data[:100] + b"x" + data[101:], "log") is None
    from blake3 import blake3

    body = data[:7] + b"\x09" + data[8:120]
    with pytest.raises(FormatError, match="upgrade"):
        Header.from_bytes((body + blake3(body).digest(16)).ljust(512, b"\0"), "log")


# ---- the log ----------------------------------------------------------------------------------


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.fixture
def journal(disk: SimulatedDisk) -> Journal:
    content = superblock(5000) + bytes(5000 - 48)
    return Journal.open(PATH, writable=True, skeleton=lambda: content, files=disk)


def opened(files: Files, path: Path) -> OpenFile:
    create_file(files, str(path), b"")
    return OpenFile(files, str(path), writable=True)


def new_log(disk: SimulatedDisk, *, writable: bool = True) -> Log:
    create_file(disk, LOG_PATH, b"")
    return Log(OpenFile(disk, LOG_PATH, writable=writable))


def test_a_reader_of_the_log_follows_commits_and_ignores_the_rest(disk: SimulatedDisk) -> None:
    writer, reader = new_log(disk), new_log(disk, writable=False)
    assert not reader.refresh()
    writer.restart(Seal.new(), 1000, skeleton()[:48])
    assert reader.refresh()
    assert not reader.refresh()
    page = bytes(4096)
    writer.append([(1, page)], {}, 9000, commit=False)
    assert not reader.refresh()
    writer.append([(2, page)], {}, 12_288, commit=True)
    writer.accept()
    assert reader.refresh()
    assert reader.pages == writer.pages
    assert reader.pages.keys() == {1, 2}
    assert (reader.end, reader.state) == (writer.end, writer.state) == (12_288, writer.state)
    # A transaction that is given up, and another in its place.
    writer.append([(5, page)], {}, 24_576, commit=False)
    assert not reader.refresh()
    writer.forget_unfinished()
    writer.append([(6, page)], {}, 28_672, commit=False)
    writer.append([(7, page)], {}, 32_768, commit=True)
    writer.accept()
    assert reader.refresh()
    assert reader.pages.keys() == {1, 2, 6, 7}
    assert reader.high_water == writer.high_water == 32_768
    again = new_log(disk, writable=False)
    again.refresh()
    assert (again.pages, again.state, again.size) == (reader.pages, reader.state, reader.size)


def test_most_commits_leave_the_size_of_the_log_alone(disk: SimulatedDisk, journal: Journal) -> None:
    sizes = []
    for number in range(60):
        transact(journal, (8192, bytes([number]) * 4096))
        sizes.append(disk.status_of(LOG_PATH).st_size)
    assert len(set(sizes)) <= 8
    assert sizes[0] < 1 << 16


def test_old_frames_die_with_the_salt(disk: SimulatedDisk) -> None:
    log = new_log(disk)
    log.restart(Seal.new(), 1000, skeleton()[:48])
    for number in range(3):
        log.append([(number, bytes(4096))], {}, 9000, commit=True)
        log.accept()
    log.restart(Seal.new(), 1000, skeleton()[:48])
    log.append([(9, bytes(4096))], {}, 9000, commit=True)
    log.accept()
    reader = new_log(disk, writable=False)
    reader.refresh()
    assert reader.pages.keys() == {9}


def test_a_frame_that_is_written_over_while_it_is_read_is_taken_whole_or_not_at_all(
    disk: SimulatedDisk,
) -> None:
    writer, reader = new_log(disk), new_log(disk, writable=False)
    page = bytes(4096)
    for end in (40_000, 50_000):
        writer.restart(Seal.new(), 1000, skeleton()[:48])
        reader.refresh()
        # The sequence begins anew with each generation: the dead frame looks like the one to come.
        stale = disk.image.bytes_of(LOG_PATH) or b""
        writer.append([(0, page), (1, page)], {}, end, commit=True)
        writer.accept()
    pread, calls = disk.pread, []

    def late(fd: int, size: int, offset: int) -> bytes:
        calls.append(offset)
        # The head alone was read a moment before the writer got there.
        return (
            stale[offset : offset + size]
            if calls.count(4096) == 1 and size < 512
            else pread(fd, size, offset)
        )

    disk.pread = late  # type: ignore[method-assign]
    while reader.refresh():
        assert (reader.end, reader.state) == (50_000, writer.state)
    assert reader.end == 50_000
    assert calls.count(4096) > 1


def test_a_failed_restart_acknowledges_nothing(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"first"))

    def fail(disk: SimulatedDisk, operation: Operation) -> None:
        if operation.kind in ("write", "sync") and operation.inode == disk.image.names[LOG_PATH]:
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = fail
    with pytest.raises(StorageIOError):
        journal.checkpoint(0.0)
    with pytest.raises(StorageIOError):
        transact(journal, (8192, b"lost!"))
    disk.fault = None
    transact(journal, (8192, b"again"))
    assert committed_bytes(disk.image)[8192:8197] == b"again"


def test_a_restart_that_fails_halfway_leaves_no_page_where_others_will_lie(
    disk: SimulatedDisk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PagedFile, "SPILL_PAGES", 1)
    transact(journal, (8192, b"a" * 4096), (16_384, b"b" * 4096))

    def tear(disk: SimulatedDisk, operation: Operation) -> None:
        if operation.inode == disk.image.names[LOG_PATH] and operation.offset == 0:
            disk.image.apply(operation._replace(data=operation.data[:60]))
            raise OSError(errno.EIO, "Input/output error")

    disk.fault = tear
    with pytest.raises(StorageIOError):
        journal.checkpoint(0.0)
    disk.fault = None
    journal.begin_write()
    # Pages that are spilled go to the beginning of the log, where the others lay.
    for offset in range(24_576, 49_152, 4096):
        journal.file.seek(offset)
        journal.file.write(b"c" * 4096)
    assert journal.file.has_spilled
    for offset, letter in ((8192, b"a"), (16_384, b"b"), (24_576, b"c")):
        buffer = bytearray(4096)
        journal.file.read_at(memoryview(buffer), offset)
        assert buffer == letter * 4096
    journal.end_write()


class FailingSyncs:
    """Fail every sync of the log, and whatever else is asked for."""

    def __init__(self, *also: str) -> None:
        self.kinds = ("sync", *also)
        self.active = True

    def __call__(self, disk: SimulatedDisk, operation: Operation) -> None:
        if self.active and operation.kind in self.kinds and operation.inode == disk.image.names[LOG_PATH]:
            raise OSError(errno.EIO, "Input/output error")


def test_a_commit_whose_sync_failed_is_taken_back_and_its_readers_are_safe(
    disk: SimulatedDisk, journal: Journal
) -> None:
    transact(journal, (8192, b"1" * 4096))
    reader = Journal.open(PATH, writable=False, files=disk)
    seen: list[bytes] = []

    def fail_once(disk: SimulatedDisk, operation: Operation) -> None:
        if operation.kind == "sync" and operation.inode == disk.image.names[LOG_PATH] and not seen:
            # The commit is whole in the log: a reader may meet it before it is taken back.
            assert reader.begin_read()
            seen.append(bytes(4096))
            raise OSError(errno.EIO, "Input/output error")

    journal.begin_write()
    journal.file.seek(8192)
    journal.file.write(b"2" * 4096)
    disk.fault = fail_once
    with pytest.raises(StorageIOError):
        journal.commit()
    journal.roll_back()
    journal.file.seek(8192)
    journal.file.write(b"3" * 4096)
    assert journal.commit()
    journal.end_write()
    buffer = bytearray(4096)
    reader.file.read_at(memoryview(buffer), 8192)
    assert buffer == b"2" * 4096
    reader.end_read()
    assert reader.begin_read()
    reader.file.read_at(memoryview(buffer), 8192)
    assert buffer == b"3" * 4096
    reader.end_read()
    assert committed_bytes(disk.image)[8192:12_288] == b"3" * 4096


def test_a_commit_in_doubt_is_said_and_settled_by_rolling_back(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1" * 4096))
    fault = disk.fault = FailingSyncs()
    journal.begin_write()
    journal.file.seek(8192)
    journal.file.write(b"2" * 4096)
    with pytest.raises(CommitInDoubtError, match="unknown until"):
        journal.commit()
    with pytest.raises(CommitInDoubtError):
        journal.roll_back()
    with pytest.raises(StorageError):
        journal.commit()
    fault.active = False
    journal.roll_back()
    journal.file.seek(100)
    journal.file.write(b"3")
    assert journal.commit()
    journal.end_write()
    assert committed_bytes(disk.image)[8192:12_288] == b"1" * 4096
    assert committed_bytes(disk.image)[100:101] == b"3"


def test_a_full_disk_is_told_as_such_and_the_journal_goes_on(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))

    def full(disk: SimulatedDisk, operation: Operation) -> None:
        if operation.kind == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    journal.begin_write()
    disk.fault = full
    journal.file.seek(1 << 16)
    journal.file.write(b"bulk" * 20_000)
    assert isinstance(journal.file.failure, StorageFullError)
    with pytest.raises(StorageFullError, match=r"container\.h5.*make room"):
        journal.commit()
    disk.fault = None
    journal.roll_back()
    journal.file.seek(8192)
    journal.file.write(b"2")
    assert journal.commit()
    journal.end_write()
    assert committed_bytes(disk.image)[8192:8193] == b"2"


def test_a_checkpoint_syncs_a_log_that_its_writer_did_not(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))
    journal._pair.close()
    other = Journal.open(PATH, writable=True, files=disk)
    disk.operations.clear()
    assert other.checkpoint(0.0)
    log = disk.image.names[LOG_PATH]
    effects = [(o.kind, o.inode == log) for o in disk.operations if o.offset != 512]
    assert effects.index(("sync", True)) < effects.index(("write", False))


# ---- files ------------------------------------------------------------------------------------


def test_writes_go_in_pieces_and_short_writes_are_completed(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Short(Files):
        def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
            sizes.append(len(data))
            return super().pwrite(fd, data[: max(1, len(data) * 2 // 3)], offset)

    data = os.urandom(4_000_000)
    file = opened(Short(), tmp_path / "a")
    file.write(data, 3)
    file.close()
    assert (tmp_path / "a").read_bytes() == bytes(3) + data
    assert max(sizes) == 1 << 20


def test_writeback_begins_while_bulk_is_written_and_not_for_little(tmp_path: Path) -> None:
    begun: list[int] = []

    class Noting(Files):
        def begin_writeback(self, fd: int) -> None:
            begun.append(os.fstat(fd).st_size)
            super().begin_writeback(fd)

    file = opened(Noting(), tmp_path / "a")
    piece = memoryview(bytes(3 << 20))
    for number in range(7):
        file.write_bulk(piece, number * len(piece))
        file.write(b"x", number)
    file.close()
    assert begun == [9 << 20, 18 << 20]


def test_reads_of_many_pieces_are_completed_and_padded(tmp_path: Path) -> None:
    class Short(Files):
        def preadv(self, fd: int, buffers: object, offset: int) -> int:
            return super().preadv(fd, [buffers[0][:1000]], offset)  # type: ignore[index]

    (tmp_path / "a").write_bytes(b"a" * 5500)
    file = OpenFile(Short(), str(tmp_path / "a"), writable=False)
    buffer = bytearray(b"?" * 6000)
    file.read_into(memoryview(buffer), 100)
    assert buffer == b"a" * 5400 + bytes(600)
    file.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EROFS, ReadOnlyError),
        (errno.EACCES, ReadOnlyError),
        (errno.EIO, StorageIOError),
    ],
)
def test_errors_name_the_file_and_their_kind(tmp_path: Path, number: int, kind: type[StorageError]) -> None:
    class Failing(Files):
        def sync(self, fd: int) -> None:
            raise OSError(number, os.strerror(number))

    file = opened(Failing(), tmp_path / "named")
    with pytest.raises(kind, match="named") as caught:
        file.sync()
    assert isinstance(caught.value.__cause__, OSError)
    file.close()


def test_a_medium_without_locks_can_be_read_but_not_written(tmp_path: Path) -> None:
    class NoLocks(Files):
        def lock(self, fd: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

    path = tmp_path / "a.h5"
    Journal.open(path, writable=True, skeleton=skeleton).close()
    reader = Journal.open(path, writable=False, files=NoLocks())
    assert reader.begin_read()
    reader.end_read()
    reader.close()
    writer = Journal.open(path, writable=True, files=NoLocks())
    with pytest.raises(StorageIOError, match="has no locks"):
        writer.begin_write()
    writer._pair.close()


def test_a_read_only_disk_gives_a_read_only_error(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))
    journal._pair.close()
    disk.read_only = True
    with pytest.raises(ReadOnlyError, match="open it for reading"):
        Journal.open(PATH, writable=True, files=disk)
    count = disk.count
    reader = Journal.open(PATH, writable=False, files=disk)
    reader.begin_read()
    assert reader.file.end == 8193
    reader.end_read()
    reader.close()
    assert disk.count == count


# ---- locks ------------------------------------------------------------------------------------


def test_the_note_of_the_holder_is_read_back(tmp_path: Path) -> None:
    file = opened(SYSTEM, tmp_path / "log")
    assert read_holder(file) is None
    holder = Holder.this_process()
    assert not holder.claim_log(file)
    assert holder.claim_log(file)
    assert read_holder(file) == holder
    assert f"process {os.getpid()} on host" in str(holder)
    assert not Holder.this_process().claim_log(file)
    file.close()


def test_readers_step_aside_for_a_waiting_checkpoint_but_not_for_long(tmp_path: Path) -> None:
    file = opened(SYSTEM, tmp_path / "log")
    CHECKPOINT_WAITS.set(file)
    start = time.monotonic()
    CHECKPOINT_WAITS.step_aside(file, start + 10)
    assert 0.02 < time.monotonic() - start < 2
    CHECKPOINT_WAITS.clear(file)
    assert not CHECKPOINT_WAITS.is_fresh(file)
    file.close()


def test_a_writer_in_the_same_process_waits_as_well(disk: SimulatedDisk, journal: Journal) -> None:
    other = Journal.open(PATH, writable=True, files=disk)
    journal.begin_write()
    with pytest.raises(LockedError):
        other.begin_write(0.01)
    assert not disk.image.names.keys() - {PATH, LOG_PATH}
    journal.end_write()
    other.begin_write(0.01)
    other.end_write()


def test_a_restarted_log_is_durable_before_it_is_used_again(disk: SimulatedDisk, journal: Journal) -> None:
    transact(journal, (8192, b"1"))
    disk.operations.clear()
    assert journal.checkpoint(0.0)
    transact(journal, (8192, b"2"))
    log = disk.image.names[LOG_PATH]
    effects = [(o.kind, o.offset) for o in disk.operations if o.inode == log]
    header = effects.index(("write", 0))
    assert effects[header + 1] == ("sync", 0)
    assert effects[header + 2] == ("write", 4096)


USES_OF_A_FILE: dict[str, Callable[[OpenFile], object]] = {
    "read": lambda file: file.read(1, 0),
    "read_into": lambda file: file.read_into(memoryview(bytearray(1)), 0),
    "read_exactly_into": lambda file: file.read_exactly_into(memoryview(bytearray(1)), 0),
    "write": lambda file: file.write(b"x", 0),
    "write_bulk": lambda file: file.write_bulk(memoryview(bytes(1 << 25)), 0),
    "truncate": lambda file: file.truncate(1),
    "sync": lambda file: file.sync(),
    "status": lambda file: file.status(),
    "try_lock": lambda file: file.try_lock(exclusive=True),
    "try_lock_byte": lambda file: file.try_lock_byte(0),
    "allocate": lambda file: file.allocate(0, 1),
}
NEVER_FAIL = {"unlock", "unlock_byte", "is_current", "is_closed", "close"}


def test_every_use_of_a_file_is_listed() -> None:
    public = {name for name in vars(OpenFile) if not name.startswith("_")}
    assert public == {*USES_OF_A_FILE, *NEVER_FAIL}


@pytest.mark.parametrize("use", USES_OF_A_FILE)
def test_a_thread_that_finds_its_file_closed_is_told_so(use: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"kept")
    file = OpenFile(SYSTEM, str(tmp_path / "a"), writable=True)
    file.close()
    with pytest.raises(ClosedError):
        USES_OF_A_FILE[use](file)
    file.unlock()
    file.unlock_byte(0)
    file.close()
    assert file.is_current()
    assert (tmp_path / "a").read_bytes() == b"kept"

"""What was extracted into one directory of scratch; one file is looked up without reading the rest."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from simarchive.storage.scratch.trust import is_one_file, is_ours_alone

_MAGIC = b"simarchive-stmp3"
# Slots in the table, slots in use, size of all files in use.
_HEADER = struct.Struct("<16sQQQ")
# Digest of the name, digest of the stamp, digest of the file's digest, size of the file, start of the system.
_ROW = struct.Struct("<16s16s16sQ16s")
_Row = tuple[bytes, bytes, bytes, int, bytes]
_FREE = bytes(16)
_FIRST_CAPACITY = 64
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, order=True)
class ScratchFile:
    """A file that can be extracted: its member name, its size in bytes and the digest of its content."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class NotedFile:
    """What a `StampTable` says of a file."""

    stamp: bytes
    content: bytes
    size: int

    def is_of(self, file: ScratchFile) -> bool:
        """Return whether the file was extracted with the content that it should have."""
        return self.content == _digest(file.digest)


class StampTable:
    """The stamps of extracted files by name, a hash table in a file.

    A stamp says what was extracted, and what changes when someone writes to the file, even if the time of
    modification is set back. A table that cannot be read is an empty one, and its files are extracted again.

    One program at a time may have it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._opened()
        self._capacity = self._count = self.total_bytes = 0
        if not self._load():
            self._write_empty(_FIRST_CAPACITY)

    @property
    def is_ours_alone(self) -> bool:
        """Whether nobody else can have written to the table."""
        return is_ours_alone(os.fstat(self._fd))

    def noted(self, name: str) -> NotedFile | None:
        """Return what was noted of the file of this name when it was extracted; ``None`` if it was not."""
        _, row = self._find(_digest(name))
        return None if row is None else NotedFile(row[1], row[2], row[3])

    def is_of_this_boot(self, name: str) -> bool:
        """Return whether the file of this name was extracted since the system was started.

        Scratch is not synced: after a power loss a file may have its size and its times, and lack its bytes.
        """
        _, row = self._find(_digest(name))
        return row is not None and row[4] == boot()

    def size_of(self, name: str) -> int:
        """Return the size of the file of this name that was extracted last; 0 if none was."""
        noted = self.noted(name)
        return 0 if noted is None else noted.size

    def put(self, file: ScratchFile, stamp: bytes) -> None:
        """Note that a file was extracted just now, and is as its stamp says."""
        name = _digest(file.name)
        slot, old = self._find(name)
        if old is None and 2 * (self._count + 1) > self._capacity:
            self._grow()
            slot, old = self._find(name)
        row = _ROW.pack(name, stamp, _digest(file.digest), file.size, boot())
        os.pwrite(self._fd, row, self._offset(slot))
        self._count += old is None
        self.total_bytes += file.size - (0 if old is None else old[3])
        self._write_header()

    def close(self) -> None:
        """Close the file; later calls do nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> int:
        # Nobody may write to it who may not write to the folder.
        mode = stat.S_IMODE(self._path.parent.stat().st_mode) & 0o666
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path, flags, mode)
        if is_one_file(os.fstat(fd)):
            return fd
        # Somebody gave another file this name: it is not written to.
        os.close(fd)
        self._path.unlink()
        return os.open(self._path, flags | os.O_EXCL, mode)

    def _load(self) -> bool:
        header = os.pread(self._fd, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            return False
        magic, capacity, count, total = _HEADER.unpack(header)
        self._capacity, self._count, self.total_bytes = capacity, count, total
        is_whole = os.fstat(self._fd).st_size == _HEADER.size + capacity * _ROW.size
        return bool(magic == _MAGIC and is_whole and 2 * count <= capacity)

    def _write_empty(self, capacity: int) -> None:
        os.ftruncate(self._fd, 0)
        os.ftruncate(self._fd, _HEADER.size + capacity * _ROW.size)
        self._capacity, self._count, self.total_bytes = capacity, 0, 0
        self._write_header()

    def _write_header(self) -> None:
        os.pwrite(self._fd, _HEADER.pack(_MAGIC, self._capacity, self._count, self.total_bytes), 0)

    def _offset(self, slot: int) -> int:
        return _HEADER.size + slot * _ROW.size

    def _find(self, name: bytes) -> tuple[int, _Row | None]:
        """Return the slot of a name and what is in it, or the free slot where it would go."""
        slot = int.from_bytes(name[:8], "little") % self._capacity
        for _ in range(self._capacity):
            content = os.pread(self._fd, _ROW.size, self._offset(slot))
            row = _ROW.unpack(content.ljust(_ROW.size, b"\0"))
            if row[0] == name:
                return slot, row
            if row[0] == _FREE:
                return slot, None
            slot = (slot + 1) % self._capacity
        return slot, None  # Damaged: every slot is taken.

    def _grow(self) -> None:
        """Double the number of slots."""
        old = os.pread(self._fd, self._capacity * _ROW.size, _HEADER.size)
        rows = [row for row in _ROW.iter_unpack(old) if row[0] != _FREE]
        capacity = 2 * self._capacity
        table = bytearray(capacity * _ROW.size)
        for row in rows:
            slot = int.from_bytes(row[0][:8], "little") % capacity
            while table[slot * _ROW.size : slot * _ROW.size + 16] != _FREE:
                slot = (slot + 1) % capacity
            _ROW.pack_into(table, slot * _ROW.size, *row)
        header = _HEADER.pack(_MAGIC, capacity, len(rows), sum(row[3] for row in rows))
        # Beside it and renamed, so that a kill leaves the one or the other.
        larger = self._path.with_name(self._path.name + ".tmp")
        larger.unlink(missing_ok=True)
        with larger.open("xb") as file:
            file.write(header + table)
        larger.replace(self._path)
        self.close()
        self._fd = self._opened()
        self._load()


@functools.cache
def boot() -> bytes:
    """Return what tells this run of the system from every other; the same for all where it has no name."""
    with contextlib.suppress(OSError):
        return _digest(_BOOT_ID.read_text())
    return _digest("")


def remove_table(path: Path) -> None:
    """Remove a table, and what a killed program left beside it."""
    for name in (path, path.with_name(path.name + ".tmp")):
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def _digest(text: str) -> bytes:
    digest: bytes = blake3(text.encode()).digest()
    return digest[:16]


def stamp_of(file: ScratchFile, now: os.stat_result) -> bytes:
    """Return the stamp of a file that is as this says; it is another one after anyone wrote to it."""
    return _digest(f"{file.digest} {now.st_size} {now.st_ino} {now.st_mtime_ns} {now.st_ctime_ns}")

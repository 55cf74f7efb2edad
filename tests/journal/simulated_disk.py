"""A disk in memory that stands in for `simarchive.journal.files.Files`, records, and fails on demand."""

from __future__ import annotations

import copy
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

from simarchive.journal.files import Files


class Operation(NamedTuple):
    """One effect on the disk. Kinds: write, truncate, sync, name, unname, sync-names."""

    kind: str
    inode: int = 0
    offset: int = 0
    data: bytes = b""
    path: str = ""


@dataclass
class Image:
    """What lies on the disk: names, and the bytes behind each inode."""

    names: dict[str, int] = field(default_factory=dict)
    inodes: dict[int, bytearray] = field(default_factory=dict)

    def copy(self) -> Image:
        return Image(dict(self.names), {number: bytearray(data) for number, data in self.inodes.items()})

    def apply(self, operation: Operation) -> None:
        kind, inode = operation.kind, operation.inode
        if kind == "write":
            data = self.inodes.setdefault(inode, bytearray())
            stop = operation.offset + len(operation.data)
            if len(data) < operation.offset:
                data.extend(bytes(operation.offset - len(data)))
            data[operation.offset : stop] = operation.data
        elif kind == "truncate":
            data = self.inodes.setdefault(inode, bytearray())
            if operation.offset < len(data):
                del data[operation.offset :]
            else:
                data.extend(bytes(operation.offset - len(data)))
        elif kind == "name":
            self.names[operation.path] = inode
            self.inodes.setdefault(inode, bytearray())
        elif kind == "unname":
            self.names.pop(operation.path, None)

    def bytes_of(self, path: str) -> bytes | None:
        number = self.names.get(path)
        return None if number is None else bytes(self.inodes[number])


Fault = Callable[["SimulatedDisk", Operation], None]


class SimulatedDisk(Files):
    """`Files` on an `Image`; `operations` is everything that reached it.

    `fault` sees every changing call before it takes effect and may raise `OSError`. Locks work
    between the descriptors of this disk, as flock does.
    """

    def __init__(self, image: Image | None = None) -> None:
        self.image = image if image is not None else Image()
        self.operations: list[Operation] = []
        self.recording = True
        self.count = 0
        self.fault: Fault | None = None
        self.read_only = False
        self.has_unnamed_files = True
        self._open: dict[int, int] = {}
        self._locks: dict[int, dict[int, int]] = {}
        self._byte_locks: dict[tuple[int, int], int] = {}
        self._next_fd = 1000
        self._next_inode = max(self.image.inodes, default=0) + 1
        self._clock = 0
        self._changed: dict[int, int] = {}

    def perform(self, operation: Operation) -> None:
        self.count += 1
        if self.fault is not None:
            self.fault(self, operation)
        if self.recording:
            self.operations.append(operation)
        self._clock += 1
        self._changed[operation.inode] = self._clock
        self.image.apply(operation)

    def open(self, path: str, flags: int) -> int:
        number = self.image.names.get(path)
        if self.read_only and flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        if number is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return self._opened(number)

    def _opened(self, number: int) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = number
        return self._next_fd

    def _new_inode(self) -> int:
        if self.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
        number = self._next_inode
        self._next_inode += 1
        self.image.inodes[number] = bytearray()
        return number

    def create_unnamed(self, directory: str, mode: int) -> int:
        if not self.has_unnamed_files:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return self._opened(self._new_inode())

    def create_new(self, path: str, mode: int) -> int:
        if path in self.image.names:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        number = self._new_inode()
        self.perform(Operation("name", number, path=path))
        return self._opened(number)

    def name(self, fd: int, path: str) -> None:
        if path in self.image.names:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        self.perform(Operation("name", self._inode(fd), path=path))

    def names_in(self, directory: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self.image.names]

    def real_path(self, path: str) -> str:
        return path

    def set_access(self, fd: int, mode: int, owner: int, group: int) -> None:
        self._inode(fd)

    def allocate(self, fd: int, offset: int, size: int) -> None:
        self.perform(Operation("allocate", self._inode(fd), offset + size))

    def close(self, fd: int) -> None:
        number = self._open.pop(fd, None)
        if number is not None:
            self._locks.get(number, {}).pop(fd, None)
            self._byte_locks = {place: held for place, held in self._byte_locks.items() if held != fd}

    def _inode(self, fd: int) -> int:
        if fd not in self._open:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return self._open[fd]

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(self.image.inodes[self._inode(fd)][offset : offset + size])

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        data = self.pread(fd, len(buffers[0]), offset)
        buffers[0][: len(data)] = data
        return len(data)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        self.perform(Operation("write", self._inode(fd), offset, bytes(data)))
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        self.perform(Operation("truncate", self._inode(fd), size))

    def sync(self, fd: int) -> None:
        self.perform(Operation("sync", self._inode(fd)))

    def sync_directory(self, path: str) -> None:
        self.perform(Operation("sync-names"))

    def lock(self, fd: int, operation: int) -> None:
        held = self._locks.setdefault(self._inode(fd), {})
        mine = held.pop(fd, None)
        if operation & fcntl.LOCK_UN:
            return
        wanted = fcntl.LOCK_EX if operation & fcntl.LOCK_EX else fcntl.LOCK_SH
        del mine  # as in Linux: a conversion gives the old lock up first
        if held and (wanted == fcntl.LOCK_EX or fcntl.LOCK_EX in held.values()):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        held[fd] = wanted

    def lock_byte(self, fd: int, offset: int, *, locked: bool) -> None:
        place = (self._inode(fd), offset)
        held = self._byte_locks.get(place)
        if held is not None and held != fd:
            if locked:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            return
        if locked:
            self._byte_locks[place] = fd
        else:
            self._byte_locks.pop(place, None)

    def _status(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(
            st_dev=1,
            st_ino=number,
            st_size=len(self.image.inodes[number]),
            st_mtime_ns=self._changed.get(number, 0),
            st_mode=0o100644,
            st_nlink=list(self.image.names.values()).count(number),
            st_uid=0,
            st_gid=0,
        )

    def status(self, fd: int) -> SimpleNamespace:
        return self._status(self._inode(fd))

    def status_of(self, path: str) -> SimpleNamespace:
        number = self.image.names.get(path)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return self._status(number)

    def status_of_name(self, path: str) -> SimpleNamespace:
        return self.status_of(path)

    def link(self, path: str, new_path: str) -> None:
        if new_path in self.image.names:
            raise FileExistsError(errno.EEXIST, "File exists", new_path)
        self.perform(Operation("name", self.image.names[path], path=new_path))

    def rename(self, path: str, new_path: str) -> None:
        self.perform(Operation("name", self.image.names[path], path=new_path))
        self.perform(Operation("unname", path=path))

    def unlink(self, path: str) -> None:
        if path not in self.image.names:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        self.perform(Operation("unname", path=path))

    def snapshot(self) -> Image:
        return copy.deepcopy(self.image)

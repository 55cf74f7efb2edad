"""Every system call of the journal, in one place that a test can replace.

`Files` is the bare calls; a test hands in another object with the same methods to record what
reaches the disk, or to make a call fail. `OpenFile` adds what the rest of the journal needs on
top: whole reads and writes, and errors that name the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from collections.abc import Sequence
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Protocol

from simarchive.errors import ClosedError, ReadOnlyError, StorageError, StorageFullError, StorageIOError
from simarchive.journal.writeback import WRITEBACK_BYTES, begin_writeback

# One pwrite of several MiB can cost ten times the processor time of the same bytes in pieces.
WRITE_PIECE_BYTES = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOCK_REFUSED = (errno.EAGAIN, errno.EACCES, errno.EINTR)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FileStatus(Protocol):
    """What `stat` tells about a file."""

    @property
    def st_dev(self) -> int:
        """The device."""

    @property
    def st_ino(self) -> int:
        """The inode."""

    @property
    def st_size(self) -> int:
        """The size in bytes."""

    @property
    def st_mtime_ns(self) -> int:
        """When it was changed last."""

    @property
    def st_mode(self) -> int:
        """Type and permissions."""


class Files:
    """The system calls themselves, by file descriptor."""

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open `path` and return a descriptor that a new program does not inherit."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`."""
        return os.pread(fd, size, offset)

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        """Fill the buffers from `offset` on and return how many bytes there were."""
        return os.preadv(fd, buffers, offset)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write at `offset` and return how many bytes went."""
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        """Set the size of the file."""
        os.ftruncate(fd, size)

    def begin_writeback(self, fd: int) -> None:
        """Have the system begin to write to the device what it has of the file, and do not wait for it."""
        begin_writeback(fd)

    def sync(self, fd: int) -> None:
        """Return when data and size are on the device."""
        os.fdatasync(fd)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on the device."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, fd: int, operation: int) -> None:
        """Change the `flock` on an open file."""
        flock(fd, operation)

    def status(self, fd: int) -> FileStatus:
        """Return the status of an open file."""
        return os.fstat(fd)

    def status_of(self, path: str) -> FileStatus:
        """Return the status of the file that a path names."""
        return os.stat(path)  # noqa: PTH116 - a Path costs more than the call

    def link(self, path: str, new_path: str) -> None:
        """Give a file a second name; never replaces one."""
        os.link(path, new_path)

    def rename(self, path: str, new_path: str) -> None:
        """Rename a file, replacing another."""
        os.rename(path, new_path)  # noqa: PTH104 - one seam for every call

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)  # noqa: PTH108 - one seam for every call


SYSTEM = Files()


def storage_error(error: OSError, action: str, path: str) -> StorageError:
    """Return the error of our tree that says what failed on which file, and what to do."""
    reason = error.strerror or str(error)
    result: StorageError
    if error.errno in _FULL:
        result = StorageFullError(
            f"cannot {action} {path!r}: {reason}; the last commit stands: make room and try again"
        )
    elif error.errno in _READ_ONLY:
        result = ReadOnlyError(
            f"cannot {action} {path!r}: {reason}; open it for reading, or change the permissions"
        )
    else:
        result = StorageIOError(f"cannot {action} {path!r}: {reason}; the last commit stands")
    if isinstance(result, OSError):
        result.errno = error.errno
    return result


class OpenFile:
    """One open file: whole reads and writes at offsets, locks, and errors that name it."""

    def __init__(
        self, files: Files, path: str, *, writable: bool, create: bool = False, mode: int = 0o666
    ) -> None:
        flags = os.O_RDWR if writable else os.O_RDONLY
        self.path, self.files, self.fd = path, files, -1
        self._bulk_bytes = 0
        try:
            self.fd = files.open(path, flags | (os.O_CREAT if create else 0), mode)
            status = files.status(self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.close()
            raise storage_error(error, "open", path) from error
        self.identity = (status.st_dev, status.st_ino)
        self.mode = stat.S_IMODE(status.st_mode)
        _OPEN_FILES.add(self)

    def read(self, size: int, offset: int) -> bytes:
        """Return the `size` bytes at `offset`, fewer at the end of the file."""
        try:
            return self.files.pread(self.fd, size, offset)
        except OSError as error:
            raise self._failure(error, "read") from error

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on; with zeros past the end of the file."""
        size = len(buffer)
        try:
            got = count = self.files.preadv(self.fd, [buffer], offset)
            # The kernel moves 2 GiB at most in one call.
            while count and got < size:
                count = self.files.preadv(self.fd, [buffer[got:]], offset + got)
                got += count
        except OSError as error:
            raise self._failure(error, "read") from error
        if got < size:
            buffer[got:] = bytes(size - got)

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view, at, size = memoryview(data), 0, len(data)
        try:
            while at < size:
                at += self.files.pwrite(self.fd, view[at : at + WRITE_PIECE_BYTES], offset + at)
        except OSError as error:
            raise self._failure(error, "write to") from error

    def write_bulk(self, data: memoryview, offset: int) -> None:
        """Write all of `data` at `offset`, one piece of much that a sync will follow."""
        self.write(data, offset)
        self._bulk_bytes += len(data)
        if self._bulk_bytes >= WRITEBACK_BYTES:
            self._bulk_bytes = 0
            self.files.begin_writeback(self.fd)

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long."""
        try:
            self.files.truncate(self.fd, size)
        except OSError as error:
            raise self._failure(error, "change the size of") from error

    def sync(self) -> None:
        """Return when everything written is on the device."""
        try:
            self.files.sync(self.fd)
        except OSError as error:
            raise self._failure(error, "sync") from error

    def status(self) -> FileStatus:
        """Return the size and times of the open file."""
        try:
            return self.files.status(self.fd)
        except OSError as error:
            raise self._failure(error, "look at") from error

    def try_lock(self, *, exclusive: bool) -> bool:
        """Return whether the lock was free; it is held then. A held one of the other kind is given up.

        Raises
        ------
        NoLocksError
            If the file system has no locks.
        """
        try:
            self.files.lock(self.fd, (LOCK_EX if exclusive else LOCK_SH) | LOCK_NB)
        except OSError as error:
            if error.errno in _LOCK_REFUSED:
                return False
            failure = self._failure(error, "lock")
            if error.errno in _NO_LOCKS:
                raise NoLocksError(
                    f"the file system of {self.path!r} has no locks ({error.strerror}): "
                    "it can be read there; to write, copy it to a local disk"
                ) from error
            raise failure from error
        return True

    def unlock(self) -> None:
        """Give the lock up. Never fails: a lock that cannot be given up goes with the file."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.files.lock(self.fd, LOCK_UN)

    def is_current(self) -> bool:
        """Return whether the path still names this very file."""
        try:
            status = self.files.status_of(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failure(error, "look at") from error
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> None:
        """Close the file; its locks go unless a forked process shares it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            _OPEN_FILES.discard(self)
            with contextlib.suppress(OSError):
                self.files.close(fd)

    def __del__(self) -> None:
        self.close()

    def _failure(self, error: OSError, action: str) -> StorageError:
        if self.fd < 0:
            return ClosedError(
                f"{self.path!r} is closed here: after a fork or a close, open it again in this process"
            )
        return storage_error(error, action, self.path)


class NoLocksError(StorageIOError):
    """A file system that does not know locks."""


def status_of(files: Files, path: str | os.PathLike[str]) -> FileStatus | None:
    """Return the status of the file that a path names; ``None`` if there is none."""
    name = os.fspath(path)
    try:
        return files.status_of(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, "look at", name) from error


def directory_of(path: str) -> str:
    """Return the directory that holds the name `path`."""
    return str(Path(path).parent)


def remove_name(files: Files, path: str) -> None:
    """Remove the name `path` if it is there, and make that durable."""
    try:
        with contextlib.suppress(FileNotFoundError):
            files.unlink(path)
        files.sync_directory(directory_of(path))
    except OSError as error:
        raise storage_error(error, "remove", path) from error


def sync_name(files: Files, path: str) -> None:
    """Make the name `path` durable: sync the directory that holds it."""
    directory = directory_of(path)
    try:
        files.sync_directory(directory)
    except OSError as error:
        raise storage_error(error, "sync the directory", directory) from error


def create_file(files: Files, path: str, content: bytes) -> None:
    """Create `path` with `content`, all or nothing and durably; a file that is there stays as it is."""
    temporary = f"{path}.{os.getpid()}.new"
    try:
        new = OpenFile(files, temporary, writable=True, create=True)
        try:
            new.truncate(0)
            new.write(content, 0)
            new.sync()
            with contextlib.suppress(FileExistsError):
                files.link(temporary, path)
        finally:
            new.close()
            with contextlib.suppress(OSError):
                files.unlink(temporary)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(error, "create", path) from error
    sync_name(files, path)


# A forked child must not keep the parent's locks alive after the parent died, nor give them up
# while it lives. Closing the descriptors in the child does neither: the lock belongs to the open
# file that parent and child share until one of them is the last.
_OPEN_FILES: weakref.WeakSet[OpenFile] = weakref.WeakSet()


def _abandon_files_in_child() -> None:
    for file in list(_OPEN_FILES):
        file.close()


os.register_at_fork(after_in_child=_abandon_files_in_child)

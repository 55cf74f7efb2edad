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
from fcntl import F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Protocol

from simarchive.errors import (
    ClosedError,
    FormatError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.ground.filesystem import (
    WRITE_PIECE_BYTES,
    WRITEBACK_BYTES,
    PathLike,
    allocate,
    begin_writeback,
    is_full,
    lock_bytes,
    set_access,
    sync_directory,
)

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOCK_REFUSED = (errno.EAGAIN, errno.EACCES, errno.EINTR)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# A link in the place of a file of ours is not followed, and a FIFO there not waited for.
_OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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

    @property
    def st_nlink(self) -> int:
        """How many names it has."""

    @property
    def st_uid(self) -> int:
        """Its owner."""

    @property
    def st_gid(self) -> int:
        """Its group."""


class Files:
    """The system calls themselves, by file descriptor."""

    def open(self, path: str, flags: int) -> int:
        """Open the file `path`, no link, and return a descriptor that a new program does not inherit."""
        return os.open(path, flags | _OPEN_FLAGS)

    def create_unnamed(self, directory: str, mode: int) -> int:
        """Make a file without a name on the device of a directory, and return a descriptor of it."""
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)

    def create_new(self, path: str, mode: int) -> int:
        """Make the file `path`, which must not exist, and return a descriptor of it."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _OPEN_FLAGS, mode)

    def name(self, fd: int, path: str) -> None:
        """Give a file without a name one; never replaces a file."""
        # With a directory given, Python asks the system to follow the link.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)

    def set_access(self, fd: int, mode: int, owner: int, group: int) -> None:
        """Set permissions, owner and group of an open file; -1 leaves one of the latter as it is."""
        set_access(fd, mode, owner, group)

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

    def allocate(self, fd: int, offset: int, size: int) -> None:
        """Have the device keep room for bytes that are to be written later."""
        allocate(fd, offset, size)

    def begin_writeback(self, fd: int) -> None:
        """Have the system begin to write to the device what it has of the file, and do not wait for it."""
        begin_writeback(fd)

    def sync(self, fd: int) -> None:
        """Return when data and size are on the device."""
        os.fdatasync(fd)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on the device."""
        sync_directory(path)

    def lock(self, fd: int, operation: int) -> None:
        """Change the `flock` on an open file."""
        flock(fd, operation)

    def names_in(self, directory: str) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(directory)  # noqa: PTH208 - one seam for every call

    def lock_byte(self, fd: int, offset: int, *, locked: bool) -> None:
        """Lock or unlock one byte of an open file, which `flock` and HDF5 know nothing of."""
        lock_bytes(fd, F_WRLCK if locked else F_UNLCK, offset)

    def status(self, fd: int) -> FileStatus:
        """Return the status of an open file."""
        return os.fstat(fd)

    def status_of(self, path: str) -> FileStatus:
        """Return the status of the file that a path names."""
        return os.stat(path)  # noqa: PTH116 - a Path costs more than the call

    def real_path(self, path: str) -> str:
        """Return the path without links in it."""
        return os.path.realpath(path)

    def status_of_name(self, path: str) -> FileStatus:
        """Return the status of a name itself, be it a link."""
        return os.lstat(path)

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
    what = f"cannot {action} {path!r}: {error.strerror or error}"
    if error.errno in _READ_ONLY:
        return ReadOnlyError(f"{what}; open it for reading, or change the permissions")
    result: StorageFullError | StorageIOError
    # A container that meets a limit on the size of a file is as full as its device could be.
    if is_full(error) or error.errno == errno.EFBIG:
        result = StorageFullError(f"{what}; the last commit stands: make room and try again")
    else:
        result = StorageIOError(f"{what}; the last commit stands")
    result.errno = error.errno
    return result


def check_open(path: str, pid: int, *, is_closed: bool) -> None:
    """Raise ClosedError if what the process `pid` opened is closed, or this is a process forked from it."""
    if os.getpid() != pid:
        raise ClosedError(
            f"container {path!r} was opened by process {pid}, which was forked: open it again in this process"
        )
    if is_closed:
        raise ClosedError(f"container {path!r} is closed: open it again")


# No process has a descriptor with this number, so a call that uses it fails as calls of the system do,
# with OSError. Python itself answers a negative one, and that with ValueError.
_NO_FD = (1 << 31) - 1


class OpenFile:
    """One open file: whole reads and writes at offsets, locks, and errors that name it."""

    def __init__(self, files: Files, path: str, *, writable: bool) -> None:
        self.path, self.files, self.fd = path, files, _NO_FD
        self._bulk_bytes = 0
        try:
            self.fd = files.open(path, os.O_RDWR if writable else os.O_RDONLY)
            status = files.status(self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.close()
            check_kind(status_of(files, path, follow=False), path)
            raise storage_error(error, "open", path) from error
        _OPEN_FILES.add(self)
        check_kind(status, path)
        self.identity = (status.st_dev, status.st_ino)

    @property
    def is_closed(self) -> bool:
        """Whether the file was closed."""
        return self.fd == _NO_FD

    def read(self, size: int, offset: int) -> bytes:
        """Return the `size` bytes at `offset`, fewer only at the end of the file."""
        try:
            data = self.files.pread(self.fd, size, offset)
            # The system may return less than it was asked for: of more than 2 GiB it always does.
            while data and len(data) < size:
                more = self.files.pread(self.fd, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise self._failure(error, "read") from error
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on; with zeros past the end of the file."""
        self._read_into(buffer, offset)

    def _read_into(self, buffer: memoryview, offset: int) -> bool:
        """Do what `read_into` says; return whether the file reaches so far."""
        size = len(buffer)
        try:
            got = count = self.files.preadv(self.fd, [buffer], offset)
            # As in `read`.
            while count and got < size:
                count = self.files.preadv(self.fd, [buffer[got:]], offset + got)
                got += count
        except OSError as error:
            raise self._failure(error, "read") from error
        if got < size:
            buffer[got:] = bytes(size - got)
        return got == size

    def read_exactly_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset` on; what lies past the end of the file is an error."""
        if not self._read_into(buffer, offset):
            raise StorageIOError(f"{self.path!r} ended early: was it cut by someone?")

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

    def try_lock_byte(self, offset: int) -> bool:
        """Return whether a byte's lock was free; it is held then, by this file whatever it is called."""
        try:
            self.files.lock_byte(self.fd, offset, locked=True)
        except BlockingIOError:
            return False
        except OSError as error:
            # Where there are no such locks, the mark in the container alone keeps other names out.
            if error.errno not in _NO_LOCKS:
                raise self._failure(error, "lock") from error
        return True

    def unlock_byte(self, offset: int) -> None:
        """Give up the lock of a byte. Never fails, as `unlock`."""
        if not self.is_closed:
            with contextlib.suppress(OSError):
                self.files.lock_byte(self.fd, offset, locked=False)

    def allocate(self, offset: int, size: int) -> None:
        """Have the device keep room for bytes that are to be written later."""
        try:
            self.files.allocate(self.fd, offset, size)
        except OSError as error:
            raise self._failure(error, "write to") from error

    def unlock(self) -> None:
        """Give the lock up. Never fails: a lock that cannot be given up goes with the file."""
        if not self.is_closed:
            with contextlib.suppress(OSError):
                self.files.lock(self.fd, LOCK_UN)

    def is_current(self) -> bool:
        """Return whether the path still names this very file."""
        try:
            # A link to it would have its log elsewhere.
            status = self.files.status_of_name(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._failure(error, "look at") from error
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> None:
        """Close the file; its locks go unless a forked process shares it."""
        fd, self.fd = self.fd, _NO_FD
        if fd != _NO_FD:
            _OPEN_FILES.discard(self)
            with contextlib.suppress(OSError):
                self.files.close(fd)

    def __del__(self) -> None:
        self.close()

    def _failure(self, error: OSError, action: str) -> StorageError:
        if self.is_closed:
            return ClosedError(
                f"{self.path!r} is closed here: after a fork or a close, open it again in this process"
            )
        return storage_error(error, action, self.path)


class NoLocksError(StorageIOError):
    """A file system that does not know locks."""


def status_of(files: Files, path: PathLike, *, follow: bool = True) -> FileStatus | None:
    """Return the status of the file that a path names, or of the link itself; ``None`` if there is none."""
    name = os.fspath(path)
    try:
        return files.status_of(name) if follow else files.status_of_name(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, "look at", name) from error


def check_kind(status: FileStatus | None, path: str) -> None:
    """Raise FormatError for anything but a plain file."""
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
        raise FormatError(
            f"{path!r} is {kind}: a container and its log are plain files, so it is neither read nor "
            "written; remove it, or name another file"
        )


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


# A forked child must not keep the parent's locks alive after the parent died, nor give them up
# while it lives. Closing the descriptors in the child does neither: the lock belongs to the open
# file that parent and child share until one of them is the last.
_OPEN_FILES: weakref.WeakSet[OpenFile] = weakref.WeakSet()


def _abandon_files_in_child() -> None:
    for file in list(_OPEN_FILES):
        file.close()


os.register_at_fork(after_in_child=_abandon_files_in_child)

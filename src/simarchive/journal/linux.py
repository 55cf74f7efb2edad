"""Calls of Linux that Python's `os` and `fcntl` lack."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

# struct flock on 64 bits: type, whence, start, length, process (0 for locks that belong to an open file).
_FLOCK = struct.Struct("@hhqqi0q")
_KEEP_SIZE = 1
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM)


def lock_bytes(fd: int, kind: int, offset: int, size: int = 1) -> None:
    """Change the lock of an open file on some bytes; they need not exist, and `flock` knows nothing of it.

    The lock belongs to the open file: two openings exclude each other, in one process too.

    Parameters
    ----------
    kind
        `fcntl.F_RDLCK`, `fcntl.F_WRLCK` or `fcntl.F_UNLCK`.
    size
        With 0, all bytes from `offset` on.

    Raises
    ------
    BlockingIOError
        If another open file holds it.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, size, 0))
    except PermissionError as error:
        # Systems differ in how they say so.
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error


def allocate(fd: int, offset: int, size: int) -> None:
    """Have the device keep room for bytes of a file that are to be written later; its size stays.

    Where the system or the file system cannot, nothing happens.

    Raises
    ------
    OSError
        ENOSPC if there is no room.
    """
    if _fallocate is None:
        return
    if _fallocate(fd, _KEEP_SIZE, offset, size):
        code = ctypes.get_errno()
        if code not in _CANNOT_ALLOCATE:
            raise OSError(code, os.strerror(code))


def _find_fallocate() -> ctypes._NamedFuncPointer | None:
    try:
        found = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError, TypeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return found


_fallocate = _find_fallocate()

"""Calls of Linux that Python's `os` and `fcntl` lack; where the system has none, nothing happens."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

# struct flock on 64 bits: type, whence, start, length, process (0 for locks that belong to an open file).
_FLOCK = struct.Struct("@hhqqi0q")
_KEEP_SIZE = 1
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM)


def lock_byte(fd: int, offset: int, kind: int) -> None:
    """Change the lock of an open file on one byte; it need not exist, and `flock` knows nothing of it.

    Parameters
    ----------
    kind
        `fcntl.F_WRLCK` or `fcntl.F_UNLCK`.

    Raises
    ------
    BlockingIOError
        If another open file holds it.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
    except OSError as error:
        if error.errno == errno.EACCES:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
        if error.errno not in _NO_LOCKS:
            raise


def allocate(fd: int, offset: int, size: int) -> None:
    """Have the device keep room for bytes of a file that are to be written later; its size stays.

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

"""Having written bytes go to the device early, so that a sync at the end has little to wait for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

# The device is kept busy from here on, and a sync has no more than this to wait for.
WRITEBACK_BYTES = 8 << 20
_SYNC_FILE_RANGE_WRITE = 2


def begin_writeback(fd: int) -> None:
    """Have the system begin to write to the device what it has of a file, and do not wait for it.

    Writing then goes on while more of the file is made, so that a sync at the end takes half the time. It is
    no sync: errors, too, come with the sync. Where the system has no such call, nothing happens.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    # Python's `os` lacks it.
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError, TypeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_sync_file_range = _find_sync_file_range()

"""What the floors above ask of the file system, where Python's `os` leaves it to more than one call.

Errors of the system as errors of ours, files that appear whole or not at all, syncs, access rights and locks.
The journal makes its calls through `simarchive.journal.files.Files`, which uses these.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import random
import secrets
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from simarchive.errors import StorageError, StorageFullError, StorageIOError
from simarchive.ground.signals import SIGNALS

PathLike = str | os.PathLike[str]

WRITE_PIECE_BYTES = 1 << 20
"""One pwrite of several MiB can cost ten times the processor time of the same bytes in pieces."""

WRITEBACK_BYTES = 8 << 20
"""After so much `begin_writeback` keeps the device busy, and a sync has no more than this to wait for."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SYNC_FILE_RANGE_WRITE = 2
_KEEP_SIZE = 1
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM)
# struct flock on 64 bits: type, whence, start, length, process (0 for locks that belong to an open file).
_FLOCK = struct.Struct("@hhqqi0q")
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.0002, 0.002


# ---- errors ------------------------------------------------------------------------------------


def is_full(error: OSError) -> bool:
    """Return whether the system has no room for what was to be written."""
    # `shutil.copytree` gathers errors as texts.
    return error.errno in _FULL or (
        isinstance(error, shutil.Error) and any(f"[Errno {number}]" in str(error) for number in _FULL)
    )


def error_of(error: OSError, message: str) -> StorageFullError | StorageIOError:
    """Return our error for one of the system, with a message of ours and the number of the system."""
    result = StorageFullError(message) if is_full(error) else StorageIOError(message)
    result.errno = error.errno
    return result


# ---- names and files ---------------------------------------------------------------------------


def sync_directory(directory: PathLike) -> None:
    """Return when the names in a directory are on the device; without it a rename may be lost."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path, *, sync: bool = False) -> None:
    """Make a folder and those on the way to it, unless they are there.

    Parameters
    ----------
    sync
        Whether the names of those that are made are on the device when this returns.
    """
    made = []
    if sync:
        place = folder.absolute()
        while not place.exists():
            made.append(place)
            place = place.parent
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(made):
        sync_directory(place.parent)


@contextlib.contextmanager
def whole_file(destination: Path, *, overwrite: bool = True, sync: bool = False) -> Iterator[int]:
    """Give the descriptor of a new file, which gets its name when the block ends without an error.

    Parameters
    ----------
    overwrite
        Whether a file that is there is replaced.
    sync
        Whether content and name are on the device when the block has ended.

    Raises
    ------
    FileExistsError
        If there is a file, and it is not to be replaced.
    """
    temporary = destination.parent / f".simarchive-{secrets.token_hex(8)}.part"
    # Mode 0666 less the umask, as any program's new file.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            yield fd
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        if overwrite:
            temporary.replace(destination)
        else:
            # A link, unlike a rename, never replaces a file.
            destination.hardlink_to(temporary)
            temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(destination.parent)


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset` of an open file."""
    while data:
        n_written = os.pwrite(fd, data[:WRITE_PIECE_BYTES], offset)
        data, offset = data[n_written:], offset + n_written


def begin_writeback(fd: int) -> None:
    """Have the system begin to write to the device what it has of a file, and do not wait for it.

    Writing then goes on while more of the file is made, so that a sync at the end takes half the time. It is
    no sync: errors, too, come with the sync. Where the system has no such call, nothing happens.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


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


def _system_call(name: str, *argument_types: type) -> Callable[..., int] | None:
    """Return a call that Python's `os` lacks, or ``None`` where the system lacks it, too."""
    try:
        found = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return None
    found.argtypes = argument_types
    call: Callable[..., int] = found
    return call


_sync_file_range = _system_call(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)
_fallocate = _system_call("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


# ---- access rights -----------------------------------------------------------------------------


def set_access(place: int | PathLike, mode: int, owner: int, group: int) -> None:
    """Set permissions, owner and group of a file, open or by path; -1 leaves one of the latter as it is."""
    if owner != -1 or group != -1:
        os.chown(place, owner, group)
    # The mode last: a change of owner takes bits away.
    os.chmod(place, mode)  # noqa: PTH101 - of a descriptor, too


def give_access(set_access: Callable[[int, int, int], None], mode: int, owner: int, group: int) -> None:
    """Set permissions, owner and group of a file as far as the system lets us, and grant nobody more.

    Parameters
    ----------
    set_access
        Called as ``set_access(mode, owner, group)``, with -1 for what is to stay.
    """
    for wanted in dict.fromkeys(((owner, group), (-1, group))):
        with contextlib.suppress(PermissionError):
            set_access(mode, *wanted)
            return
    # What is the right of one group must not become the right of another: it gets no more than everybody.
    set_access(mode & (~0o070 | (mode & 0o007) << 3), -1, -1)


# ---- locks -------------------------------------------------------------------------------------


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


def wait_until(
    attempt: Callable[[], bool], deadline: float, while_waiting: Callable[[], None] | None = None
) -> bool:
    """Return whether `attempt` succeeded before `deadline` (`time.monotonic`); pauses grow, with jitter.

    Signals are answered meanwhile: their handlers may raise.

    Parameters
    ----------
    while_waiting
        Called before each pause. Its errors are ignored: it only speeds things up.
    """
    pause = _SHORTEST_PAUSE_S
    while not attempt():
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        SIGNALS.deliver()
        if while_waiting is not None:
            with contextlib.suppress(StorageError):
                while_waiting()
        time.sleep(min(remaining, pause * random.uniform(0.5, 1.5)))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
    return True

"""The turns that processes take writing to a directory of objects."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path

from simarchive.errors import LockedError, StorageIOError
from simarchive.ground.filesystem import wait_until


class DirectoryLock:
    """The lock of one process on a directory.

    It is on the directory itself, so that no lock file is left in it.

    Parameters
    ----------
    directory
        An existing directory.
    """

    _descriptor = -1  # there from the start: an interrupt may come in the next line

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        _LOCKS.add(self)

    def acquire(self, timeout_s: float) -> None:
        """Hold the lock.

        Raises
        ------
        LockedError
            If another process, or another backend of this one, holds it all the time.
        StorageIOError
            If the directory is gone, or its file system has no locks.
        """
        try:
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            is_held = wait_until(self._is_held, time.monotonic() + timeout_s)
        except OSError as error:
            self.release()
            raise StorageIOError(
                f"directory {str(self._directory)!r} cannot be locked: {error.strerror or error};"
                " nothing was changed"
            ) from error
        except BaseException:
            self.release()
            raise
        if not is_held:
            self.release()
            raise LockedError(
                f"directory {str(self._directory)!r} is being written to by another process or backend,"
                f" which did not finish within {timeout_s:g} s: try again, or raise lock_timeout_s"
            )

    def _is_held(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock; later calls do nothing."""
        descriptor = self._descriptor
        if descriptor >= 0:
            # Closing is not enough, since a forked process may have the same open file.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._close()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self.release()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    @staticmethod
    def abandon_all() -> None:
        """Close what a forked process has of its parent's locks, which stay the parent's."""
        for lock in list(_LOCKS):
            lock._close()


_LOCKS: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()

# A child must not keep the lock of a parent that died.
os.register_at_fork(after_in_child=DirectoryLock.abandon_all)

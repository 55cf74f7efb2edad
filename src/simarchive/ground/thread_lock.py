"""The lock by which the threads of one process take turns on one store."""

from __future__ import annotations

import os
import threading
import time

from simarchive.errors import ClosedError, LockedError, StorageError
from simarchive.ground.signals import SIGNALS

# So often a thread that waits looks whether its program was interrupted.
_LOOK_S = 0.05


class ThreadLock:
    """A reentrant lock that nobody waits for longer than a timeout, and under which signal handlers wait.

    Parameters
    ----------
    what
        What it protects, for messages.
    timeout_s
        How long a thread waits for another one.
    can_fork
        Whether a forked child may use what it protects, with a lock of its own.
    """

    def __init__(self, what: str, timeout_s: float = 10.0, *, can_fork: bool = False) -> None:
        self.what, self.timeout_s, self._can_fork = what, timeout_s, can_fork
        self._free = threading.Lock()
        self._owner = self._depth = 0
        self._forks = _forks

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds the lock."""
        return self._owner == threading.get_ident() and self._forks == _forks

    @property
    def is_foreign(self) -> bool:
        """Whether this is a forked child of the process that made the lock."""
        return self._forks != _forks

    def __enter__(self) -> None:
        SIGNALS.begin()
        try:
            self.acquire()
        except BaseException:
            SIGNALS.end()
            raise

    def __exit__(self, *exception: object) -> None:
        self.release()
        SIGNALS.end()

    def acquire(self) -> None:
        """Take the lock; handlers of signals must be held off.

        Raises
        ------
        LockedError
            If another thread does not release it within the timeout.
        ClosedError
            In a forked child: its lock may be in the hand of a thread that it does not have.
        StorageError
            In the handler of a signal that came in the midst of an operation of the same thread.
        """
        if self._forks != _forks:
            self._renew_in_child()
        me = threading.get_ident()
        if self._owner == me:
            if SIGNALS.is_delivering:
                raise StorageError(
                    f"{self.what} is in the middle of an operation, and cannot be used in the handler of a "
                    "signal now: let the handler note what is to be done, and do it afterwards"
                )
            self._depth += 1
            return
        if not self._free.acquire(blocking=False):
            self._wait()
        self._owner, self._depth = me, 1

    def release(self) -> None:
        """Give the lock back, as often as it was taken."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._free.release()

    def try_acquire(self, timeout_s: float) -> bool:
        """Take the lock if it is free within a time; never raises."""
        if self._forks != _forks:
            return False
        me = threading.get_ident()
        if self._owner != me:
            if not self._free.acquire(timeout=timeout_s):
                return False
            self._owner = me
        self._depth += 1
        return True

    def _renew_in_child(self) -> None:
        """Do without the lock of the parent, which may be in the hand of a thread that is not here."""
        if not self._can_fork:
            raise ClosedError(
                f"{self.what} was opened before this process was forked: open it again in this process"
            )
        self._free, self._owner, self._depth, self._forks = threading.Lock(), 0, 0, _forks

    def _wait(self) -> None:
        end = time.monotonic() + self.timeout_s
        while not self._free.acquire(timeout=max(0.0, min(_LOOK_S, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise LockedError(
                    f"{self.what} is in use by another thread of this process, which did not finish within "
                    f"{self.timeout_s:g} s: wait for it, or raise the timeout"
                )
            SIGNALS.deliver()


_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)

"""Locks between the programs that share a scratch directory. Every wait has a bound, and Ctrl-C ends it.

A lock is a byte of a file, locked by its open file description (`F_OFD_SETLK`): two openings exclude each
other, even in one process, and the locks of a killed process are released.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from simarchive.errors import ClosedError, LockedError
from simarchive.ground.filesystem import lock_bytes
from simarchive.ground.signals import SIGNALS

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05

SHARED, EXCLUSIVE = fcntl.F_RDLCK, fcntl.F_WRLCK

Progress = Callable[[], object]


class LockFile:
    """A file whose bytes stand for locks. A forked child holds none of them, and cannot take any.

    Parameters
    ----------
    path
        The file, never opened through a link; it is made unless it `must_exist`.
    """

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        self.path = path
        self._fd = -1
        self._fd = _opened(path, 0 if must_exist else os.O_CREAT)
        _OPEN_FILES.add(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed, or belongs to the process that this one was forked from."""
        return self._fd < 0

    def is_in_place(self) -> bool:
        """Return whether the file is still there under its name, for others to see."""
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.lstat())
        except FileNotFoundError:
            return False

    def renew(self) -> None:
        """Open the file again, or make it if it is gone; the locks are gone in any case."""
        fd = _opened(self.path, os.O_CREAT)
        os.close(self._fd)
        self._fd = fd

    def attempt(self, name: str, kind: int) -> bool:
        """Return whether the lock that `name` stands for could be taken now, `SHARED` or `EXCLUSIVE`."""
        if self.closed:
            raise ClosedError("scratch was closed, or opened by another process: open it again")
        try:
            self._set(name, kind)
        except BlockingIOError:
            return False
        return True

    def wait(self, name: str, kind: int, timeout_s: float, progress: Progress | None = None) -> bool:
        """Return whether the lock could be taken in time.

        Parameters
        ----------
        progress
            Returns another value once whoever holds the lock has made progress; then the time starts again.
        """
        return wait_until(lambda: self.attempt(name, kind), timeout_s, progress)

    def release(self, name: str) -> None:
        """Release a lock."""
        if not self.closed:
            self._set(name, fcntl.F_UNLCK)

    def close(self) -> None:
        """Release all locks; later calls do nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # Locks belong to the open file, which a child forked a moment ago may not have closed yet.
            with contextlib.suppress(OSError):
                lock_bytes(fd, fcntl.F_UNLCK, 0, 0)
            os.close(fd)

    def abandon(self) -> None:
        """In a forked child: leave all locks to the parent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _set(self, name: str, kind: int) -> None:
        place = int.from_bytes(blake3(name.encode()).digest()[:7], "little")
        lock_bytes(self._fd, kind, place)


class UseLocks:
    """Tells all processes that share a scratch which of its directories are in use.

    Each directory has one byte of one file, locked for sharing by its users. One descriptor holds them all,
    however many directories are in use.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._file = LockFile(path)
        self._timeout_s = timeout_s
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._released: deque[str] = deque()

    @property
    def closed(self) -> bool:
        """Whether this was closed, or belongs to the process that this one was forked from."""
        return self._file.closed

    def restore(self) -> None:
        """Make the file again if somebody removed it, and take the locks that are held in it again."""
        if self._file.closed or self._file.is_in_place():
            return
        with self._held():
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.renew()
            for name in self._counts:
                self._file.attempt(name, SHARED)

    def share(self, name: str) -> None:
        """Keep a directory from being evicted, until `release` was called as often as this.

        Raises
        ------
        LockedError
            If another process is removing it all the time.
        """
        if not wait_until(lambda: self._shared(name), self._timeout_s):
            raise LockedError(
                f"{name!r} of scratch '{self._file.path.parent.parent}' is being removed by another process,"
                f" and was for {self._timeout_s:g} s: try again, or name another scratch directory"
            )

    def _shared(self, name: str) -> bool:
        with self._held():
            self._settle()
            if not self._counts[name] and not self._file.attempt(name, SHARED):
                del self._counts[name]
                return False
            self._counts[name] += 1
            return True

    def release(self, name: str) -> None:
        """Undo one `share`; later than `close`, do nothing."""
        # The garbage collector may call this during any other method, on the thread that holds the lock: so
        # it never waits, and what it leaves undone the next call does.
        self._released.append(name)
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[bool]:
        """Give True, and keep others from using the directory in the block; or give False if it is in use."""
        with self._held():
            self._settle()
            if self._counts[name] or not self._file.attempt(name, EXCLUSIVE):
                yield False
                return
            try:
                yield True
            finally:
                self._file.release(name)

    def close(self) -> None:
        """Release everything; later calls do nothing."""
        self._file.close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        # A signal handler may come while its own thread is in here, and a fork while another one is.
        if not self._lock.acquire(timeout=self._timeout_s):
            raise LockedError(f"scratch '{self._file.path.parent.parent}' is in use by another thread")
        try:
            yield
        finally:
            self._lock.release()

    def _settle(self) -> None:
        while self._released:
            name = self._released.popleft()
            self._counts[name] -= 1
            if self._counts[name] <= 0:
                del self._counts[name]
                self._file.release(name)


def wait_until(attempt: Callable[[], bool], timeout_s: float, progress: Progress | None = None) -> bool:
    """Return whether `attempt` succeeded within a time; where there is `progress`, without any of it."""
    pause = _SHORTEST_PAUSE_S
    seen = None
    deadline = time.monotonic() + timeout_s
    while not attempt():
        now = time.monotonic()
        if progress is not None and (found := progress()) != seen:
            seen, deadline = found, now + timeout_s
        if now >= deadline:
            return False
        SIGNALS.deliver()
        time.sleep(min(pause, max(deadline - now, 0)))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
    return True


def _opened(path: Path, how: int) -> int:
    # O_NONBLOCK, should somebody have put a FIFO there.
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | how, 0o666)


_OPEN_FILES: weakref.WeakSet[LockFile] = weakref.WeakSet()


def _abandon_files_in_child() -> None:
    for file in list(_OPEN_FILES):
        file.abandon()


os.register_at_fork(after_in_child=_abandon_files_in_child)

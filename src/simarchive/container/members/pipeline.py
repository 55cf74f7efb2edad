"""Threads that take the chunks of a member, each from its first step to its last.

A chunk stays with one thread, so that its bytes stay in the memory of one processor, and there are no more
chunks in memory than threads. What has to happen in the order of the chunks, such as the digest, happens
inside `Stage.turn`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from simarchive.ground.signals import SIGNALS

# More threads than this do not help: the digest, which is sequential, is then the bottleneck.
MAX_THREADS = 4

Space = TypeVar("Space")

Progress = Callable[[int], None]
"""Called with the number of bytes that were done since the last call."""


def thread_count(n_chunks: int) -> int:
    """Return how many threads work on a member of `n_chunks` chunks, the caller's among them."""
    if n_chunks <= 1:
        return 1  # The system is asked for its processors where that matters only: most files are small.
    return min(MAX_THREADS, os.cpu_count() or 1, n_chunks)


class Stopped(Exception):
    """Another thread failed, so that a turn never comes."""


class Stage:
    """Lets one thread in at a time, in the order of the chunks' numbers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._stopped = False

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for all lower numbers, then let this one in.

        Raises
        ------
        Stopped
            If one of them failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._next == number or self._stopped)
            if self._stopped:
                raise Stopped
        yield
        with self._changed:
            self._next = number + 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Admit no thread from now on."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class Pipeline:
    """A run over the chunks of a member.

    Parameters
    ----------
    n_chunks
        How many chunks there are.
    stages
        Those in which the work takes turns.
    """

    def __init__(self, n_chunks: int, *stages: Stage) -> None:
        self._numbers = iter(range(n_chunks))
        self._n_threads = thread_count(n_chunks)
        self._stages = stages
        self._failure: BaseException | None = None
        self._done: deque[int] = deque()

    def run(
        self,
        work: Callable[[int, Space], int],
        make_space: Callable[[], Space],
        progress: Progress | None = None,
    ) -> None:
        """Call ``work(number, space)`` for each chunk, and return when all are done.

        The first error of any thread is raised, when no thread works any more.

        Parameters
        ----------
        work
            Returns how many bytes it did.
        make_space
            Makes what each thread needs for itself.
        progress
            Called for each chunk with its number of bytes, always in the thread of the caller.
        """
        threads = [
            threading.Thread(target=self._take_chunks, args=(work, make_space), name="simarchive-chunks")
            for _ in range(self._n_threads - 1)
        ]
        if threads:
            keep_freed_memory()
        for thread in threads:
            thread.start()
        try:
            self._take_chunks(work, make_space, progress)
        finally:
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        self._report(progress)

    def _take_chunks(
        self,
        work: Callable[[int, Space], int],
        make_space: Callable[[], Space],
        progress: Progress | None = None,
    ) -> None:
        try:
            space = make_space()
            for number in self._numbers:
                if self._failure is not None:
                    return
                self._done.append(work(number, space))
                self._report(progress)
                SIGNALS.deliver()
        except Stopped:
            return
        except BaseException as error:
            if self._failure is None:
                self._failure = error
            for stage in self._stages:
                stage.stop()

    def _report(self, progress: Progress | None) -> None:
        while progress is not None and self._done:
            progress(self._done.popleft())


def keep_freed_memory() -> None:
    """Make glibc keep the memory of freed buffers, which else is mapped and cleared again for each chunk.

    Freeing one large block raises the limits above which glibc maps blocks singly and gives memory back. That
    spares a third of a millisecond per MiB; elsewhere it does nothing.
    """
    bytearray(16 << 20)  # never touched, so it takes no memory

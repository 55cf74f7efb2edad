"""Many ranges of one object in few requests, at once, with an end to the waiting."""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from simarchive.errors import StorageIOError
from simarchive.ground.signals import SIGNALS
from simarchive.remote.source import Source

Answer = TypeVar("Answer")

Range = tuple[int, int]
"""Offset and size."""

# Bytes between two ranges that are fetched in vain cost less than a request: some 30 ms at 10 MB/s.
_GAP_BYTES = 256 << 10
_REQUEST_BYTES = 8 << 20
_AT_ONCE = 32
_LOOK_S = 0.1
# The source gives up a request before that. This is for one that does not.
_STALLED_S = 300.0
_ENDLESS = 1 << 63


def joined(ranges: Iterable[Range], gap: int = _GAP_BYTES, most: int = _REQUEST_BYTES) -> list[Range]:
    """Join ranges that overlap, or lie close to each other and do not make a request too large."""
    found: list[list[int]] = []
    for offset, size in sorted(set(ranges)):
        stop = offset + size
        overlaps = bool(found) and offset < found[-1][1]
        if overlaps or (found and offset - found[-1][1] <= gap and stop - found[-1][0] <= most):
            found[-1][1] = max(found[-1][1], stop)
        else:
            found.append([offset, stop])
    return [(start, stop - start) for start, stop in found]


class Fetcher:
    """Fetches ranges from a source, several at once.

    Attributes
    ----------
    progress
        Called with the number of bytes of each request that is done, if it is set.
    n_bytes
        How many bytes were fetched so far.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.progress: Callable[[int], None] | None = None
        self.n_bytes = 0
        self._lock = threading.Lock()

    def tail(self, size: int) -> tuple[bytes, int]:
        """Return the last bytes of the object, and its size."""
        [(data, whole)] = self._all([lambda: self.source.tail(size)])
        self._count(len(data))
        return data, whole

    def fetch(self, ranges: Sequence[Range]) -> list[bytes | memoryview]:
        """Return the bytes of each range.

        Raises
        ------
        StorageError
            As `Source.read`; the first error of any request, when none is at work any more.
        """
        requests = _split(joined(ranges))
        if not requests:
            return [b"" for _ in ranges]
        answers = self._all([self._request(offset, size) for offset, size in requests])
        return [_cut(requests, answers, offset, size) for offset, size in ranges]

    def close(self) -> None:
        """Release the source."""
        self.source.close()

    def _request(self, offset: int, size: int) -> Callable[[], bytes]:
        def ask() -> bytes:
            data = self.source.read(offset, size)
            self._count(len(data))
            return data

        return ask

    def _count(self, n_bytes: int) -> None:
        with self._lock:
            self.n_bytes += n_bytes
        if self.progress is not None:
            self.progress(n_bytes)

    def _all(self, calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
        """Make calls in threads, so that this one can be interrupted while it waits."""
        todo, answers = iter(enumerate(calls)), queue.SimpleQueue[tuple[int, Answer | BaseException]]()
        given_up = threading.Event()

        def take() -> None:
            while not given_up.is_set():
                with self._lock:
                    number, call = next(todo, (-1, None))
                if call is None:
                    return
                try:
                    answers.put((number, call()))
                except BaseException as error:
                    answers.put((number, error))

        with _COLLECTOR.paused():
            threads = [
                threading.Thread(target=take, name="simarchive-requests", daemon=True)
                for _ in range(min(len(calls), _AT_ONCE))
            ]
            for thread in threads:
                thread.start()
            try:
                found = self._gathered(answers, len(calls))
            finally:
                given_up.set()
            for thread in threads:
                thread.join()
        return [found[number] for number in range(len(calls))]

    def _gathered(
        self, answers: queue.SimpleQueue[tuple[int, Answer | BaseException]], n_calls: int
    ) -> dict[int, Answer]:
        """Wait for all answers; raise the first that is an error."""
        found: dict[int, Answer] = {}
        last = time.monotonic()
        while len(found) < n_calls:
            try:
                number, answer = answers.get(timeout=_LOOK_S)
            except queue.Empty:
                if time.monotonic() - last > _STALLED_S:
                    raise StorageIOError(
                        f"'{self.source.name}' has not answered for {_STALLED_S:.0f} seconds"
                    ) from None
            else:
                if isinstance(answer, BaseException):
                    raise answer
                found[number] = answer
                last = time.monotonic()
            SIGNALS.deliver()
        return found


class _Collector:
    """Python's cyclic garbage collector, which must not run in a thread that another one waits for.

    It may come across an h5py object, for which it needs h5py's lock. Whoever waits may hold that: HDF5 asks
    for bytes in the midst of its calls.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._is_ours = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the collector off in the block, in all threads."""
        with self._lock:
            self._depth += 1
            if gc.isenabled():
                gc.disable()
                self._is_ours = True
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth and self._is_ours:
                    self._is_ours = False
                    gc.enable()


_COLLECTOR = _Collector()


def _split(requests: Iterable[Range]) -> list[Range]:
    return [
        (at, min(_REQUEST_BYTES, offset + size - at))
        for offset, size in requests
        for at in range(offset, offset + size, _REQUEST_BYTES)
    ]


def _cut(requests: Sequence[Range], answers: Sequence[bytes], offset: int, size: int) -> bytes | memoryview:
    """Return the bytes of one range from those of the requests, which are in order."""
    if not size:
        return b""
    first = bisect_right(requests, (offset, _ENDLESS)) - 1
    start = offset - requests[first][0]
    if start + size <= requests[first][1]:
        return memoryview(answers[first])[start : start + size]
    parts, at = [], offset
    while at < offset + size:
        start, length = requests[first]
        part = memoryview(answers[first])[at - start : min(length, offset + size - start)]
        parts.append(part)
        at += len(part)
        first += 1
    return b"".join(parts)

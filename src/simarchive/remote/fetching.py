"""Many ranges of one object in few requests, at once, with an end to the waiting."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
    """Join ranges that lie close to each other, as long as no request becomes too large for it."""
    found: list[list[int]] = []
    for offset, size in sorted(set(ranges)):
        stop = offset + size
        if found and offset - found[-1][1] <= gap and stop - found[-1][0] <= most:
            found[-1][1] = max(found[-1][1], stop)
        elif not found or stop > found[-1][1]:
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
        self._pool: ThreadPoolExecutor | None = None
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
        """Stop the threads and release the source."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
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
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="simarchive-requests")
        futures = [self._pool.submit(call) for call in calls]
        try:
            self._wait(set(futures))
        finally:
            for future in futures:
                future.cancel()
        return [future.result() for future in futures]

    def _wait(self, pending: set[Future[Answer]]) -> None:
        last = time.monotonic()
        while pending:
            done, pending = wait(pending, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                if (error := future.exception()) is not None:
                    raise error
            now = time.monotonic()
            if done:
                last = now
            elif now - last > _STALLED_S:
                raise StorageIOError(f"'{self.source.name}' has not answered for {_STALLED_S:.0f} seconds")
            SIGNALS.deliver()


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

"""Chunks worked on by several threads, and handed back in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

# More threads than this do not help: the thread that reads, digests and writes is then the bottleneck.
MAX_WORKERS = 4


def worker_count() -> int:
    """Return how many threads encode or decode beside the one that reads and writes."""
    return max(1, min(MAX_WORKERS, os.cpu_count() or 1))


def in_order(
    work: Callable[[Argument], Result], arguments: Iterable[Argument], *, workers: int, ahead: int
) -> Generator[Result, None, None]:
    """Yield ``work(argument)`` for each argument, in order, computed by `workers` threads.

    At most `ahead` results exist or are being computed at any time, which bounds the memory. Work that has
    not begun when the caller stops, or when one piece fails, is not done.
    """
    if workers <= 1:
        yield from map(work, arguments)
        return
    _keep_freed_memory()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="simarchive-chunks") as pool:
        try:
            for argument in arguments:
                pending.append(pool.submit(work, argument))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _keep_freed_memory() -> None:
    """Make glibc keep what chunk-sized buffers leave, which else is mapped and cleared anew for each chunk.

    Freeing one large block raises the limits above which glibc maps blocks singly and gives memory back. That
    spares a third of a millisecond per MiB; elsewhere it does nothing.
    """
    bytearray(16 << 20)  # never touched, so it takes no memory

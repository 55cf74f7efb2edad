"""The decoded chunks round a position of a member: a few at a time, decoded ahead by threads.

Who reads on gets chunks that threads have decoded meanwhile, into buffers that are used again. Who jumps gets
the bytes alone that were asked for: of a chunk that is not looked at twice, no more is put together.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from simarchive.container.members.extraction import check_stored, decode_stored
from simarchive.container.members.pipeline import MAX_THREADS, keep_freed_memory
from simarchive.container.members.table import MemberTable
from simarchive.errors import StorageError

# Bytes decoded ahead of a reader: at 2 MiB a chunk, what two processors have ready when it gets there.
_AHEAD_BYTES = 4 << 20
# Decoded bytes behind the reader that are kept.
_BEHIND_BYTES = 2 << 20
# So many chunks of which a part was read are remembered: one that is wanted again is decoded whole.
_REMEMBERED = 8

_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


class StoredChunks(Protocol):
    """Where the stored bytes of a member's chunks come from."""

    @property
    def table(self) -> MemberTable:
        """Where they lie, and their checks."""
        ...

    def read(self, chunks: Sequence[int], buffers: Sequence[bytearray | memoryview]) -> list[memoryview]:
        """Return the stored bytes of some chunks, unchecked, each in its buffer.

        A `bytearray` may be made longer; a `memoryview` is long enough for the chunk.
        """
        ...


def _pool() -> ThreadPoolExecutor:
    """Return the threads of this process that decode; a forked child has its own."""
    with _pools_lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            _pools.clear()
            workers = max(1, min(MAX_THREADS, os.cpu_count() or 1))
            pool = _pools[os.getpid()] = ThreadPoolExecutor(workers, "simarchive-chunks")
        return pool


class _Held:
    """A decoded chunk, or one that a thread is decoding."""

    def __init__(self, decoded: memoryview, work: Future[None] | None) -> None:
        self.decoded = decoded
        self.work = work


class ChunkWindow:
    """Bytes of a member, by offset, from decoded and checked chunks. For one thread at a time.

    Stored bytes are read in the thread of the caller: the threads that decode never wait for a lock that the
    caller may hold.
    """

    def __init__(self, source: StoredChunks) -> None:
        self._source = source
        table = source.table
        self.size = table.size
        self._chunk_bytes, self._n_chunks = table.chunk_bytes, table.n_chunks
        self._ahead = max(1, _AHEAD_BYTES // self._chunk_bytes)
        self._behind = max(1, _BEHIND_BYTES // self._chunk_bytes)
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._free: list[memoryview] = []
        self._spare: list[bytearray] = []
        self._touched: OrderedDict[int, None] = OrderedDict()
        self._first, self._last, self._step, self._jumped = 0, -1, 0, False
        self._joined = bytearray()
        self._current: tuple[int, memoryview] | None = None  # where the chunk that is read begins, and it
        self._pid = os.getpid()
        keep_freed_memory()

    def view(self, start: int, stop: int, *, read_ahead: bool = True) -> memoryview:
        """Return bytes `start` to `stop`, which have to be within the member; good until the next call.

        Parameters
        ----------
        read_ahead
            Whether what follows is likely to be wanted next.

        Raises
        ------
        CorruptMemberError
            If a chunk does not match its check.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"bytes {start} to {stop} of {self.size}")
        if start == stop:
            return memoryview(b"")
        if self._pid != os.getpid():
            self._forget()
        if self._current is not None:
            begin, decoded = self._current
            if begin <= start and stop <= begin + self._chunk_bytes:
                return decoded[start - begin : stop - begin]
        self._current = None
        first, last = start // self._chunk_bytes, (stop - 1) // self._chunk_bytes
        numbers = range(first, last + 1)
        if self._is_jump(first, last):
            return self._parts(numbers, start, stop)
        self._hold(numbers, read_ahead=read_ahead)
        if first == last:
            begin, decoded = self._current = first * self._chunk_bytes, self._held[first].decoded
            return decoded[start - begin : stop - begin]
        return self._join(numbers, start, stop)

    def read(self, start: int, n_bytes: int) -> bytes:
        """Return a copy of `n_bytes` bytes, fewer at the end, and decode no more for it."""
        stop = min(self.size, start + n_bytes)
        return bytes(self.view(min(start, self.size), stop, read_ahead=False))

    def close(self) -> None:
        """Wait for the threads, and forget all chunks."""
        if self._pid == os.getpid():
            for number in list(self._held):
                self._drop(number)
        self._forget()

    def _forget(self) -> None:
        """Begin anew: the threads of the process that was forked are not here."""
        self._current = None
        self._held.clear()
        self._free.clear()
        self._spare.clear()
        self._pid = os.getpid()

    # --- what is wanted next ---------------------------------------------------------------------------

    def _is_jump(self, first: int, last: int) -> bool:
        """Return whether these chunks have nothing to do with those before, and no part of them was read."""
        if all(number in self._held for number in range(first, last + 1)):
            return False
        if self._goes_on(first) or any(number in self._touched for number in range(first, last + 1)):
            return False
        self._first, self._last, self._step, self._jumped = first, last, first - self._first, True
        return True

    def _goes_on(self, first: int) -> bool:
        """Return whether `first` is next to the last, or as far from it as that was from the one before."""
        step = first - self._first
        return abs(step) <= self._last - self._first + 1 or step == self._step

    def _wanted_next(self, first: int, last: int) -> list[int]:
        step = first - self._first
        if step:
            self._jumped = not self._goes_on(first)
            self._step = step
        if self._jumped:
            return []
        step = self._step
        ahead: Iterable[int]
        if abs(step) > last - first + 1:
            ahead = (number + step for number in range(first, last + 1))
        elif step < 0:
            ahead = range(first - 1, first - 1 - self._ahead, -1)
        else:
            ahead = range(last + 1, last + 1 + self._ahead)
        return [number for number in ahead if 0 <= number < self._n_chunks]

    # --- whole chunks ----------------------------------------------------------------------------------

    def _hold(self, numbers: range, *, read_ahead: bool) -> None:
        """Have these chunks decoded; they stay until others are asked for."""
        first, last = numbers[0], numbers[-1]
        if (first, last) != (self._first, self._last) or any(number not in self._held for number in numbers):
            ahead = self._wanted_next(first, last) if read_ahead else []
            self._first, self._last = first, last
            self._make_room(numbers, ahead)
            self._start([number for number in numbers if number not in self._held], is_ahead=False)
            # What is wrong with a chunk that nobody wants yet is said when somebody does.
            with contextlib.suppress(StorageError, OSError, EOFError):
                missing = [number for number in ahead if number not in self._held]
                # Several at once: to look at the container costs as much as to read a small chunk.
                if missing and (missing[0] == ahead[0] or 2 * len(missing) >= len(ahead)):
                    self._start(missing, is_ahead=True)
        for number in numbers:
            held = self._held[number]
            if held.work is not None:
                try:
                    held.work.result()
                except BaseException:
                    self._drop(number)
                    raise
                held.work = None
            self._held.move_to_end(number)

    def _make_room(self, numbers: range, ahead: list[int]) -> None:
        wanted = {*numbers, *ahead}
        others = [number for number in self._held if number not in wanted]
        for number in others[: max(0, len(others) - self._behind)]:
            self._drop(number)

    def _start(self, missing: list[int], *, is_ahead: bool) -> None:
        """Read missing chunks and have them decoded; the first one here, unless all are read ahead."""
        if not missing:
            return
        table = self._source.table
        spaces = [self._space() for _ in missing]
        # What is stored as it is needs no decoding, so it is read to where it will be looked at.
        buffers = [
            out if table.is_plain(number) else self._spare.pop() if self._spare else bytearray()
            for number, out in zip(missing, spaces, strict=True)
        ]
        try:
            found = self._source.read(missing, buffers)
        except BaseException:
            self._free += spaces
            raise
        jobs = list(zip(missing, found, buffers, spaces, strict=True))
        for number, stored, buffer, out in jobs if is_ahead else jobs[1:]:
            work = _pool().submit(self._decode, table, number, stored, buffer, out)
            self._held[number] = _Held(out, work)
        if not is_ahead:
            number, stored, buffer, out = jobs[0]
            try:
                self._decode(table, number, stored, buffer, out)
            except BaseException:
                self._free.append(out)
                raise
            self._held[number] = _Held(out, None)

    def _space(self) -> memoryview:
        return self._free.pop() if self._free else memoryview(bytearray(self._chunk_bytes))

    def _decode(
        self,
        table: MemberTable,
        number: int,
        stored: memoryview,
        buffer: bytearray | memoryview,
        out: memoryview,
    ) -> None:
        check_stored(table, number, stored)
        if isinstance(buffer, memoryview):
            return
        decode_stored(table, number, stored, 0, out)
        stored.release()
        self._spare.append(buffer)

    def _drop(self, number: int) -> None:
        held = self._held.pop(number)
        if held.work is not None and not held.work.cancel():
            held.work.exception()
        self._free.append(held.decoded)

    # --- parts of chunks -------------------------------------------------------------------------------

    def _parts(self, numbers: range, start: int, stop: int) -> memoryview:
        """Return bytes of which no more than these is put together."""
        out = self._room(stop - start)
        buffer = self._spare.pop() if self._spare else bytearray()
        for number in numbers:
            low, high = self._within(number, start, stop)
            target = out[low - start : high - start]
            held = self._held.get(number)
            if held is not None and held.work is None:
                target[:] = held.decoded[low - number * self._chunk_bytes :][: high - low]
                continue
            [stored] = self._source.read([number], [buffer])
            table = self._source.table
            check_stored(table, number, stored)
            decode_stored(table, number, stored, low - number * self._chunk_bytes, target)
            stored.release()
            self._touched[number] = None
        self._spare.append(buffer)
        while len(self._touched) > max(_REMEMBERED, len(numbers)):
            self._touched.popitem(last=False)
        return out

    def _join(self, numbers: range, start: int, stop: int) -> memoryview:
        out = self._room(stop - start)
        for number in numbers:
            low, high = self._within(number, start, stop)
            at = low - number * self._chunk_bytes
            out[low - start : high - start] = self._held[number].decoded[at : at + high - low]
        return out

    def _within(self, number: int, start: int, stop: int) -> tuple[int, int]:
        return max(start, number * self._chunk_bytes), min(stop, (number + 1) * self._chunk_bytes)

    def _room(self, n_bytes: int) -> memoryview:
        if len(self._joined) < n_bytes:
            self._joined = bytearray(n_bytes)
        return memoryview(self._joined)[:n_bytes]

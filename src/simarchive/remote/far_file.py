"""The bytes of a container that lies elsewhere: from its map where that has them, else fetched and kept."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from simarchive.errors import CorruptError, DetachedLogError, FormatError
from simarchive.journal.seal import SEAL_BYTES, Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, end_of_file, is_guarded, is_intact
from simarchive.remote.fetching import Fetcher, Range
from simarchive.remote.map_format import Map, Trailer
from simarchive.remote.source import Source

LOGGER = logging.getLogger("simarchive")

# With the directories of some 30,000 objects.
_TAIL_BYTES = 128 << 10
# At once, if it is known that they will be asked for.
_WINDOW_BYTES = 16 << 20
_KEPT_BYTES = 64 << 20
# Shorter reads are of HDF5's own, and others like it follow: whole pages are fetched for them.
_LEAST_CHUNK_BYTES = 32 << 10
_MOST_REMEMBERED = 1 << 17  # chunks
_PAGE_BYTES, _PAGE_BYTES_WITHOUT_MAP = 64 << 10, 1 << 20
_SIGNATURE = b"\x89HDF\r\n\x1a\n"

Name = TypeVar("Name")


class FarFile:
    """What `PagedFile` reads from in the place of a file of this machine. Threads may read at once.

    Parameters
    ----------
    source
        What answers ranges of bytes.
    path
        How messages name it.

    Raises
    ------
    FormatError
        If it is not a container.
    DetachedLogError
        If commits of it are in a log elsewhere, so that it is not whole.
    """

    def __init__(self, source: Source, path: str) -> None:
        self.path = path
        self.is_closed = False
        self.fetcher = Fetcher(source)
        self._lock = threading.RLock()
        self._map: Map | None = None
        self._blocks: _Kept[int] = _Kept(_KEPT_BYTES)
        self._pages: _Kept[int] = _Kept(_KEPT_BYTES)
        self._chunks: _Kept[int] = _Kept(4 * _WINDOW_BYTES)
        self._wanted_blocks: dict[int, None] = {}
        self._wanted_chunks: dict[int, int] = {}
        self._sequences: dict[int, tuple[_Sequence, int]] = {}
        self._block_run, self._page_run = _Run(), _Run()
        try:
            self._tail, self.size = self.fetcher.tail(_TAIL_BYTES)
            self._page_bytes = _PAGE_BYTES_WITHOUT_MAP
            self.end = self.size
            why_not = self._open_map()
            self._check_head()
        except BaseException:
            self.close()
            raise
        if self._map is None:
            LOGGER.warning(
                "%s: to read '%s' takes many requests, one after the other; its owner can publish it with"
                " 'simarchive repack FILE --publish'",
                why_not,
                path,
            )

    @property
    def progress(self) -> Callable[[int], None] | None:
        """Called with the number of bytes of each request that is done, if it is set."""
        return self.fetcher.progress

    @progress.setter
    def progress(self, progress: Callable[[int], None] | None) -> None:
        self.fetcher.progress = progress

    def close(self) -> None:
        """Forget all bytes, and release the source."""
        self.is_closed = True
        self.fetcher.close()
        self._blocks.clear()
        self._pages.clear()
        self._chunks.clear()

    # ---- what PagedFile calls ------------------------------------------------------------

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset` on: fewer at the end."""
        data = bytearray(max(0, min(size, self.end - offset)))
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes at `offset`; zeros past HDF5's end."""
        stop, at = offset + len(buffer), offset
        if stop <= self.end and self._begins_chunk(offset, len(buffer)):
            # Whole, even if its first bytes lie so close to metadata that a block of the map has them.
            self._read_chunk(buffer, offset)
            return
        while at < stop:
            if at >= self.end:
                buffer[at - offset :] = bytes(stop - at)
                return
            found = self._map.piece_at(at) if self._map is not None else None
            if found is not None:
                block, start, left = found
                until = min(stop, at + left)
                buffer[at - offset : until - offset] = self._block(block)[start : start + until - at]
            else:
                until = min(stop, self.end, self.end if self._map is None else self._map.next_piece(at))
                self._read_plain(buffer[at - offset : until - offset], at)
            at = until

    def _begins_chunk(self, offset: int, size: int) -> bool:
        """Return whether a chunk that somebody announced is read as a whole."""
        if self._wanted_chunks.get(offset, 0) >= size or offset in self._chunks:
            return True
        sequence, number = self._sequences.get(offset, (None, 0))
        return sequence is not None and sequence.ranges[number][1] == size

    def expect_nodes(self, places: Iterable[int]) -> None:
        """Take note that the objects at these offsets will be read: the first brings the others along."""
        with self._lock:
            if self._map is None:
                self._wanted_blocks = {}
                return
            wanted = (block for place in places for block in self._map.blocks_for(place))
            self._wanted_blocks = {block: None for block in wanted if block not in self._blocks}

    def is_expecting(self, chunk: Range) -> bool:
        """Return whether a range is expected, or here already."""
        plain = (offset for offset, _ in self._plain_parts(*chunk))
        return all(offset in self._wanted_chunks or offset in self._chunks for offset in plain)

    def expect_in_order(self, ranges: Iterable[Range]) -> None:
        """Take note that these ranges may be read one after the other: more and more come at a time."""
        with self._lock:
            if len(self._sequences) > _MOST_REMEMBERED:
                self._sequences.clear()
            sequence = _Sequence([*ranges], _Run())
            self._sequences.update(
                (offset, (sequence, number)) for number, (offset, _) in enumerate(sequence.ranges)
            )

    def expect_chunks(self, ranges: Iterable[Range], *, also: bool = False) -> None:
        """Take note that these bytes will be asked for, each range as a whole, once.

        Parameters
        ----------
        also
            Whether what was expected before still is.
        """
        with self._lock:
            wanted = {
                at: n_bytes
                for offset, size in ranges
                if size and 0 <= offset <= self.end - size and size <= _KEPT_BYTES
                for at, n_bytes in self._plain_parts(offset, size)
            }
            self._wanted_chunks = {**self._wanted_chunks, **wanted} if also else wanted

    def _plain_parts(self, offset: int, size: int) -> Iterator[Range]:
        """Yield what of a range no block of the map has: it is read piece by piece, as `read_into` does."""
        if self._map is None:
            yield offset, size
            return
        at, stop = offset, offset + size
        while at < stop:
            found = self._map.piece_at(at)
            if found is not None:
                at += found[2]
                continue
            until = min(stop, self._map.next_piece(at))
            yield at, until - at
            at = until

    # ---- opening -------------------------------------------------------------------------

    def _open_map(self) -> str:
        """Use the map if there is a sound one; else return in words why not."""
        try:
            trailer = Trailer.at_end_of(self._tail, self.size)
            if trailer is None:
                return "it has no map"
            [directory] = self._fetch([(trailer.directory_offset, trailer.directory_size)])
            found = Map(trailer, bytes(directory))
            self._read_first(found)
        except ValueError as error:
            self._blocks.clear()
            return f"its map is not used, because it is damaged or of another state ({error})"
        self._map, self.end, self._page_bytes = found, trailer.hdf5_end, _PAGE_BYTES
        return ""

    def _read_first(self, found: Map) -> None:
        """Fetch the seal and the blocks behind it that every reader needs; check that the map fits it."""
        end = found.trailer.hdf5_end
        ranges = [(end, SEAL_BYTES), *(found.block_range(block) for block in range(found.n_first))]
        seal_bytes, *stored = self._fetch(ranges)
        seal = Seal.from_bytes(bytes(seal_bytes))
        if seal is None or seal.is_pending or seal.state != found.trailer.state:
            raise ValueError("the seal is of another state")
        for block, data in enumerate(stored):
            self._blocks.pin(block, found.block(block, data))

    def _check_head(self) -> None:
        """Refuse what is no container, or not whole."""
        first = self.read(SUPERBLOCK_BYTES, 0)
        if not first.startswith(_SIGNATURE):
            raise FormatError(f"'{self.path}' is not an HDF5 file, so not a container")
        end = end_of_file(first, self.path)
        if not is_intact(first):
            raise FormatError(f"'{self.path}' has a damaged superblock: publish it again from a sound copy")
        if end > self.size:
            raise FormatError(
                f"'{self.path}' was cut short: it should have {end:,} bytes and has {self.size:,}"
            )
        if self._map is not None and end != self.end:
            raise FormatError(f"'{self.path}' has a map of another state: publish it again")
        seal = None
        if self._map is None:
            self.end = end
            [data] = self._fetch([(end, min(SEAL_BYTES, self.size - end))])
            seal = Seal.from_bytes(bytes(data))
        if is_guarded(first) or (seal is not None and seal.is_pending):
            raise DetachedLogError(
                f"'{self.path}' was copied while it was in use: commits of it are in a log that is not there."
                " Close it everywhere, and copy it again"
            )

    # ---- bytes ---------------------------------------------------------------------------

    def _fetch(self, ranges: list[Range]) -> list[bytes | memoryview]:
        """Return the bytes of some ranges, those in the tail without a request."""
        start = self.size - len(self._tail)
        far = [(offset, size) for offset, size in ranges if offset < start or offset + size > self.size]
        fetched = iter(self.fetcher.fetch(far))
        return [
            next(fetched)
            if offset < start or offset + size > self.size
            else memoryview(self._tail)[offset - start : offset - start + size]
            for offset, size in ranges
        ]

    def _block(self, number: int) -> bytes:
        with self._lock:
            data = self._blocks.get(number)
            if data is not None:
                return data
            assert self._map is not None
            if number in self._wanted_blocks:
                wanted = _window(self._wanted_blocks, number, self._size_of)
            else:
                run = self._block_run.after_miss(number, most=_WINDOW_BYTES // 4 // self._size_of(number))
                last = min(number + run, self._map.n_blocks)
                wanted = [block for block in range(number, last) if block not in self._blocks]
            fetched = self._fetch([*map(self._map.block_range, wanted)])
            for block, stored in zip(wanted[1:], fetched[1:], strict=True):
                self._wanted_blocks.pop(block, None)
                with contextlib.suppress(CorruptError):  # which is told to whoever asks for it
                    self._blocks.keep(block, self._checked_block(block, stored))
            self._wanted_blocks.pop(number, None)
            data = self._checked_block(number, fetched[0])
            self._blocks.keep(number, data)
            return data

    def _size_of(self, block: int) -> int:
        assert self._map is not None
        return self._map.block_range(block)[1]

    def _checked_block(self, block: int, stored: bytes | memoryview) -> bytes:
        assert self._map is not None
        try:
            return self._map.block(block, stored)
        except ValueError as error:
            raise CorruptError(
                f"the map of '{self.path}' is damaged: {error}: download the file, and check it with"
                " 'simarchive verify'"
            ) from error

    def _read_plain(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with bytes that no block of the map has."""
        if offset in self._wanted_chunks or len(buffer) >= _LEAST_CHUNK_BYTES or offset in self._chunks:
            self._read_chunk(buffer, offset)
            return
        at, stop = offset, offset + len(buffer)
        first, last = at // self._page_bytes, (stop - 1) // self._page_bytes
        for number, page in zip(range(first, last + 1), self._pages_between(first, last), strict=True):
            start = at - number * self._page_bytes
            piece = page[start : start + stop - at]
            buffer[at - offset : at - offset + len(piece)] = piece
            at += len(piece)

    def _pages_between(self, first: int, last: int) -> list[bytes]:
        """Return some pages in a row; those that are not here are fetched together."""
        with self._lock:
            found = {number: self._pages.get(number) for number in range(first, last + 1)}
            missing = [number for number, page in found.items() if page is None]
            if missing:
                run = self._page_run.after_miss(missing[0], most=_WINDOW_BYTES // 4 // self._page_bytes)
                stop = min(max(missing[0] + run, last + 1), -(-self.end // self._page_bytes))
                wanted = [page for page in range(missing[0], stop) if page not in self._pages]
                starts = [page * self._page_bytes for page in wanted]
                ranges = [(start, min(self._page_bytes, self.size - start)) for start in starts]
                for page, fetched in zip(wanted, self._fetch(ranges), strict=True):
                    data = bytes(fetched)
                    self._pages.keep(page, data)
                    if page <= last:
                        found[page] = data
            return [page for page in found.values() if page is not None]

    def _read_chunk(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with stored bytes of a member or an array, of which its reader knows the place."""
        size = len(buffer)
        with self._lock:
            here = self._chunks.take(offset)
            data = self._fetch_chunks(offset, size) if here is None or len(here) < size else here
        buffer[:] = data[:size]

    def _fetch_chunks(self, offset: int, size: int) -> bytes | memoryview:
        if self._wanted_chunks.get(offset, 0) >= size:
            offsets = _window(self._wanted_chunks, offset, self._wanted_chunks.__getitem__)
            ranges = [(at, self._wanted_chunks.pop(at)) for at in offsets]
        else:
            ranges = [(offset, size), *self._following(offset, size)]
        first, *others = self._fetch(ranges)
        for (at, _), data in zip(ranges[1:], others, strict=True):
            self._chunks.keep(at, bytes(data))
        return first

    def _following(self, offset: int, size: int) -> list[Range]:
        """Return what to fetch together with a chunk that was not expected."""
        sequence, number = self._sequences.get(offset, (None, 0))
        if sequence is None or sequence.ranges[number][1] != size:
            return []
        run = sequence.run.after_miss(number, most=max(1, _WINDOW_BYTES // 2 // size))
        return [
            (at, n_bytes)
            for at, n_bytes in sequence.ranges[number + 1 : number + run]
            if n_bytes and 0 <= at <= self.end - n_bytes and at not in self._chunks
        ]


class _Kept(Generic[Name]):
    """Bytes by name, those that were used last, up to a bound; pinned ones stay."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._n_bytes = 0
        self._kept: OrderedDict[Name, bytes] = OrderedDict()
        self._pinned: dict[Name, bytes] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._kept or name in self._pinned

    def get(self, name: Name) -> bytes | None:
        """Return the bytes of a name, ``None`` if they are not kept."""
        data = self._pinned.get(name)
        if data is None:
            data = self._kept.get(name)
            if data is not None:
                self._kept.move_to_end(name)
        return data

    def take(self, name: Name) -> bytes | None:
        """Return the bytes of a name, and keep them no longer."""
        data = self._kept.pop(name, None)
        self._n_bytes -= 0 if data is None else len(data)
        return data

    def keep(self, name: Name, data: bytes) -> None:
        """Keep bytes, in place of the oldest ones; the newest are kept whatever their size."""
        self.take(name)
        self._kept[name] = data
        self._n_bytes += len(data)
        while self._n_bytes > self._most and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._n_bytes -= len(old)

    def pin(self, name: Name, data: bytes) -> None:
        """Keep bytes until `clear`."""
        self._pinned[name] = data

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._pinned.clear()
        self._n_bytes = 0


class _Run:
    """How much further to read than asked: nothing at first, twice as much each time that it was right."""

    def __init__(self) -> None:
        self._next = -1
        self._length = 1

    def after_miss(self, number: int, most: int) -> int:
        """Return how many units to fetch, of which the unit `number` is the first."""
        self._length = min(2 * self._length, max(1, most)) if number == self._next else 1
        self._next = number + self._length
        return self._length


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The chunks of a member in their order, and how its reader has gone through them so far."""

    ranges: list[Range]
    run: _Run


def _window(wanted: Iterable[int], first: int, size_of: Callable[[int], int]) -> list[int]:
    """Return `first` and what is wanted after it, in its order, up to the bytes that are fetched at once."""
    chosen = [first]
    n_bytes = size_of(first)
    for name in itertools.dropwhile(lambda name: name != first, wanted):
        n_bytes += 0 if name == first else size_of(name)
        if n_bytes > _WINDOW_BYTES:
            break
        if name != first:
            chosen.append(name)
    return chosen

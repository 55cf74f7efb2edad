"""The map: a compressed copy of the bytes that HDF5 reads to find and describe objects, behind the seal.

To read a container over a network by ranges takes hundreds of requests, one after the other: what describes
one object lies in many places. The map has these bytes object by object, with their offsets in the file. A
reader that has fetched an object's block answers whatever HDF5 asks for from it, so that all that is above
HDF5 works, and is checked, as if the file were local. The bytes of files and large arrays are not in it: they
are fetched from where they lie.

HDF5 ignores what is behind its end, and whatever opens the file for a change cuts it off: the map of another
state cannot stay. All numbers are little-endian.

    seal of the container, 128 bytes at HDF5's end of file
    blocks: zlib streams, one after the other
    directory: a zlib stream
    trailer, 112 bytes
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from simarchive.journal.seal import SEAL_BYTES

_MAGIC = b"simmap01"
# Magic, HDF5's end, offset of the directory, its length, its length when decompressed, the seal's state.
_TRAILER = struct.Struct("<8sQQQQ16s")
DIGEST_BYTES = 32
TRAILER_BYTES = 112
_HEAD = struct.Struct("<QQQQ")  # numbers of blocks, of first blocks, of pieces, and of needs
BLOCK_DIGEST_BYTES = 16
MOST_BLOCK_BYTES = 1 << 20
"""Of what one block decompresses to."""
_MOST_DIRECTORY_BYTES = 64 << 20  # of some 200,000 objects; taken apart it takes eight times as much
_LEVEL = 6

Offsets = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Trailer:
    """The last bytes of a published container.

    Attributes
    ----------
    hdf5_end
        Where HDF5's part of the file ends, and the seal begins.
    directory_offset, directory_size
        Where the directory lies.
    directory_length
        Its length when it is decompressed.
    state
        The state that the seal names.
    digest
        BLAKE3 of the fields before, and of the directory as it is stored.
    """

    hdf5_end: int
    directory_offset: int
    directory_size: int
    directory_length: int
    state: bytes
    digest: bytes

    @classmethod
    def at_end_of(cls, tail: bytes, size: int) -> Trailer | None:
        """Return the trailer of a file of `size` bytes, given its last ones; ``None`` if there is none.

        Raises
        ------
        ValueError
            If there is one, but it does not fit the size of the file.
        """
        data = tail[-TRAILER_BYTES:]
        if len(data) < TRAILER_BYTES or not data.startswith(_MAGIC):
            return None
        _, end, offset, stored, length, state = _TRAILER.unpack_from(data)
        trailer = cls(end, offset, stored, length, state, data[_TRAILER.size : _TRAILER.size + DIGEST_BYTES])
        if any(data[_TRAILER.size + DIGEST_BYTES :]):
            raise ValueError("its trailer has bytes that this version does not know")
        if offset + stored + TRAILER_BYTES != size or offset < end + SEAL_BYTES:
            raise ValueError("its trailer does not fit the size of the file")
        if length > min(_MOST_DIRECTORY_BYTES, 1024 * stored + 4096):
            raise ValueError(f"its directory claims {length:,} bytes")
        return trailer

    def to_bytes(self) -> bytes:
        """Return what stands at the end of the file."""
        return (self._fields() + self.digest).ljust(TRAILER_BYTES, b"\0")

    def digest_with(self, directory: bytes) -> bytes:
        """Return what `digest` has to be, given the directory as it is stored."""
        return blake3(self._fields() + directory).digest(DIGEST_BYTES)

    def _fields(self) -> bytes:
        return _TRAILER.pack(
            _MAGIC,
            self.hdf5_end,
            self.directory_offset,
            self.directory_size,
            self.directory_length,
            self.state,
        )


@dataclass(frozen=True)
class Directory:
    """Which bytes of the HDF5 part are in which block. Offsets ascend, and no two pieces overlap.

    Attributes
    ----------
    n_first
        So many blocks at the beginning are needed by whoever opens the container: lists of objects, index.
    stored_sizes, lengths, digests
        For each block, its size in the file, when it is decompressed, and the first bytes of the BLAKE3 of
        its stored bytes.
    starts, sizes, blocks
        For each piece, its offset in the file, its size, and the block that has it. A block has its pieces
        in this order.
    need_places, need_blocks
        An object whose group is at one of these offsets needs the block, too: only for objects that need
        others than the one block in which the offset is.
    """

    n_first: int
    stored_sizes: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.uint32]
    digests: Sequence[bytes]
    starts: Offsets
    sizes: npt.NDArray[np.uint32]
    blocks: npt.NDArray[np.uint32]
    need_places: Offsets
    need_blocks: npt.NDArray[np.uint32]

    def to_bytes(self) -> bytes:
        """Return the directory as text for zlib."""
        before = np.concatenate([np.zeros(1, np.uint64), (self.starts + self.sizes)[:-1]])
        gaps = self.starts - before[: len(self.starts)]
        columns: list[tuple[Any, str]] = [
            (self.stored_sizes, "<u4"),
            (self.lengths, "<u4"),
            (gaps, "<u8"),
            (self.sizes, "<u4"),
            (self.blocks, "<u4"),
            (self.need_places, "<u8"),
            (self.need_blocks, "<u4"),
        ]
        head = _HEAD.pack(len(self.lengths), self.n_first, len(self.starts), len(self.need_places))
        parts = [np.ascontiguousarray(values, dtype).tobytes() for values, dtype in columns]
        return b"".join([head, *parts, *self.digests])

    @classmethod
    def from_bytes(cls, data: bytes, hdf5_end: int, room: int) -> Directory:
        """Return what a directory says, if it can be.

        Parameters
        ----------
        hdf5_end
            No piece lies behind it.
        room
            The bytes that all blocks take in the file.

        Raises
        ------
        ValueError
            If it contradicts itself, or the file.
        """
        if len(data) < _HEAD.size:
            raise ValueError("its directory is too short")
        n_blocks, n_first, n_pieces, n_needs = _HEAD.unpack_from(data)
        expected = _HEAD.size + n_blocks * (8 + BLOCK_DIGEST_BYTES) + n_pieces * 16 + n_needs * 12
        if len(data) != expected or n_first > n_blocks:
            raise ValueError("its directory has another length than it says")
        at = _HEAD.size

        def column(count: int, dtype: str) -> npt.NDArray[Any]:
            nonlocal at
            values = np.frombuffer(data, dtype, count, at)
            at += values.nbytes
            return values

        stored_sizes, lengths = column(n_blocks, "<u4"), column(n_blocks, "<u4")
        gaps, sizes, blocks = column(n_pieces, "<u8"), column(n_pieces, "<u4"), column(n_pieces, "<u4")
        need_places, need_blocks = column(n_needs, "<u8"), column(n_needs, "<u4")
        digests = [data[i : i + BLOCK_DIGEST_BYTES] for i in range(at, len(data), BLOCK_DIGEST_BYTES)]
        if int(stored_sizes.sum(dtype=np.uint64)) != room:
            raise ValueError("its blocks do not fill their room")
        if n_blocks and (int(lengths.max()) > MOST_BLOCK_BYTES or int(stored_sizes.min()) == 0):
            raise ValueError("a block is too large, or empty")
        total = float(gaps.sum(dtype=np.float64)) + float(sizes.sum(dtype=np.float64))
        # First as floats, which do not overflow.
        if total > 1.001 * hdf5_end or int(gaps.sum() + sizes.sum(dtype=np.uint64)) > hdf5_end:
            raise ValueError("it has bytes from behind the end")
        for numbers in (blocks, need_blocks):
            if len(numbers) and int(numbers.max()) >= n_blocks:
                raise ValueError("it names a block that it does not have")
        filled = np.bincount(blocks, weights=sizes, minlength=n_blocks) if n_blocks else np.zeros(0)
        if not np.array_equal(filled, lengths):
            raise ValueError("its pieces do not fill its blocks")
        starts = np.cumsum(gaps + sizes, dtype=np.uint64) - sizes
        return cls(n_first, stored_sizes, lengths, digests, starts, sizes, blocks, need_places, need_blocks)


class Map:
    """The map of a published container, without its blocks.

    Parameters
    ----------
    trailer
        The last bytes of the file.
    directory
        The directory as it is stored.

    Raises
    ------
    ValueError
        If it does not match its digest, or makes no sense.
    """

    def __init__(self, trailer: Trailer, directory: bytes) -> None:
        if trailer.digest != trailer.digest_with(directory):
            raise ValueError("its directory does not match its digest")
        first = trailer.hdf5_end + SEAL_BYTES
        text = inflated(directory, trailer.directory_length)
        self.trailer = trailer
        self.directory = Directory.from_bytes(text, trailer.hdf5_end, trailer.directory_offset - first)
        sizes = self.directory.stored_sizes.astype(np.uint64)
        self._offsets: list[int] = (first + np.cumsum(sizes) - sizes).astype(np.uint64).tolist()
        self._starts: list[int] = self.directory.starts.tolist()
        self._blocks: list[int] = self.directory.blocks.tolist()
        self._sizes: list[int] = self.directory.sizes.tolist()
        self._within = self._places_in_blocks()

    @property
    def n_blocks(self) -> int:
        """The number of blocks."""
        return len(self._offsets)

    @property
    def n_first(self) -> int:
        """How many of the blocks are needed to open the container."""
        return self.directory.n_first

    def block_range(self, block: int) -> tuple[int, int]:
        """Return offset and size of a block in the file."""
        return self._offsets[block], int(self.directory.stored_sizes[block])

    def block(self, number: int, stored: bytes | memoryview) -> bytes:
        """Return what a block holds, given its stored bytes.

        Raises
        ------
        ValueError
            If they do not match their digest.
        """
        if blake3(stored).digest(BLOCK_DIGEST_BYTES) != self.directory.digests[number]:
            raise ValueError(f"block {number} does not match its digest")
        return inflated(stored, int(self.directory.lengths[number]))

    def piece_at(self, offset: int) -> tuple[int, int, int] | None:
        """Return the block that has the byte at an offset, where in it, and how many follow; or ``None``."""
        piece = bisect_right(self._starts, offset) - 1
        if piece < 0:
            return None
        past = offset - self._starts[piece]
        left = self._sizes[piece] - past
        return (self._blocks[piece], self._within[piece] + past, left) if left > 0 else None

    def next_piece(self, offset: int) -> int:
        """Return where the first piece behind an offset begins; HDF5's end if there is none."""
        piece = bisect_right(self._starts, offset)
        return self._starts[piece] if piece < len(self._starts) else self.trailer.hdf5_end

    def blocks_for(self, place: int) -> list[int]:
        """Return the blocks that an object needs whose group is at an offset; none if it is not known."""
        needed = self._needs.get(place)
        if needed is not None:
            return needed
        piece = self.piece_at(place)
        return [] if piece is None else [piece[0]]

    def pieces_of(self, block: int) -> list[tuple[int, int, int]]:
        """Return offset in the file, size, and offset in the block of each piece of a block."""
        return [
            (self._starts[piece], self._sizes[piece], self._within[piece])
            for piece in np.flatnonzero(self.directory.blocks == block).tolist()
        ]

    @cached_property
    def _needs(self) -> dict[int, list[int]]:
        needs: dict[int, list[int]] = {}
        pairs = zip(self.directory.need_places.tolist(), self.directory.need_blocks.tolist(), strict=True)
        for place, block in pairs:
            needs.setdefault(place, []).append(block)
        return needs

    def _places_in_blocks(self) -> list[int]:
        filled = [0] * self.n_blocks
        places = []
        for block, size in zip(self._blocks, self._sizes, strict=True):
            places.append(filled[block])
            filled[block] += size
        return places


def deflated(data: bytes) -> bytes:
    """Return data as a zlib stream."""
    return zlib.compress(data, _LEVEL)


def inflated(stored: bytes | memoryview, length: int) -> bytes:
    """Return what a zlib stream holds.

    Raises
    ------
    ValueError
        If that is not as many bytes as `length`, or it is none.
    """
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(stored, length + 1)
    except zlib.error as error:
        raise ValueError(f"a part of it is no zlib stream ({error})") from error
    if len(data) != length or not stream.eof or stream.unused_data:
        raise ValueError("a part of it has another length than it says")
    return data

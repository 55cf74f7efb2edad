"""The codecs that every HDF5 reads without a plugin: deflate, with and without the byte shuffle.

Each encoded chunk is one plain zlib stream. In the shuffled variant it is put together plane by plane:
the low mantissa bytes of coordinates are noise, which goes into stored blocks at the speed of a copy, and
only the planes that can shrink pass through the compressor, each ended by a full flush.

References
----------
RFC 1950 (zlib streams), RFC 1951 (deflate blocks), HDF5 filters 1 (deflate) and 2 (shuffle).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import deflate
import numpy as np
from isal import isal_zlib

from simarchive.codecs.codec import CHUNK_BYTES, EncodedChunk, copy_stored, keep_smaller
from simarchive.codecs.planes import (
    SHUFFLE_FILTER,
    WORD,
    Bytes,
    noise_planes,
    noise_rows,
    split_planes,
    unshuffle,
)

DEFLATE_FILTER = (1, (1,))

_ZLIB_HEADER = b"\x78\x01"
_EMPTY_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"
_MAX_STORED_BLOCK = 65535
_STORED_HEADER = struct.Struct("<BHH")
_BINARY_LEVEL = 1
# Of libdeflate, whose level 6 makes text as small as zlib's, or up to 8% smaller, at three times the speed.
# ISA-L is six times as fast again, and leaves PDB files 9 to 15% larger, mdcrd files up to twice as large.
_TEXT_LEVEL = 6
_ROUGH_LEVEL = 1
_RAW_WINDOW = -15


class ShuffledDeflate:
    """Byte shuffle of 4-byte words, then deflate: the default for everything but text."""

    name = "deflate"
    element_size = WORD
    filters = (SHUFFLE_FILTER, DEFLATE_FILTER)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b11

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zlib stream of the chunk's byte planes, or the chunk itself if that gains nothing."""
        noise = noise_planes(chunk)
        if all(noise):
            return EncodedChunk(chunk, self._all_filters)
        planes = split_planes(chunk)
        return keep_smaller(chunk, zlib_stream(planes, noise), self._all_filters)

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zlib stream, or from the chunk's own bytes if the filters were skipped."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
            return
        planes = inflate(stored, len(out))
        unshuffle(np.frombuffer(planes, np.uint8), np.frombuffer(out, np.uint8))


class PlainDeflate:
    """Deflate without a shuffle: text, and whatever else shrinks more without one."""

    name = "deflate-text"
    element_size = 1
    filters = (DEFLATE_FILTER,)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b1

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zlib stream, or the chunk itself if that gains nothing."""
        if all(noise_rows(np.frombuffer(chunk, np.uint8).reshape(1, -1))):
            return EncodedChunk(chunk, self._all_filters)
        encoded: bytes = bytes(deflate.zlib_compress(chunk, _TEXT_LEVEL))
        return keep_smaller(chunk, encoded, self._all_filters)

    def rough_size(self, chunk: memoryview) -> int:
        """Return about how many bytes `encode` makes of a chunk, at a fraction of its cost; never too few."""
        if all(noise_rows(np.frombuffer(chunk, np.uint8).reshape(1, -1))):
            return len(chunk)
        return min(len(chunk), len(deflate.zlib_compress(chunk, _ROUGH_LEVEL)))

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zlib stream, or from the chunk's own bytes if the filter was skipped."""
        copy_stored(stored if filter_mask & self._all_filters else memoryview(inflate(stored, len(out))), out)


def inflate(stored: memoryview, n_bytes: int) -> bytearray:
    """Return the `n_bytes` bytes of a zlib stream; raise ValueError if they are fewer or more."""
    try:
        plain = deflate.zlib_decompress(stored, n_bytes)
    except deflate.DeflateError as error:
        raise ValueError(f"the chunk is not a zlib stream of {n_bytes} bytes: {error}") from error
    if len(plain) != n_bytes:
        raise ValueError(f"the chunk inflates to {len(plain)} bytes in place of {n_bytes}")
    return plain


def zlib_stream(planes: Bytes, noise: list[bool]) -> bytes:
    """Return the zlib stream of the rows of `planes`; `noise` says which rows to store as they are."""
    parts: list[bytes | memoryview] = [_ZLIB_HEADER]
    for is_stored, rows in itertools.groupby(range(len(noise)), noise.__getitem__):
        first, *others = rows
        if is_stored:
            parts += _stored_blocks(planes[first : first + 1 + len(others)].reshape(-1))
        else:
            parts += [part for row in (first, *others) for part in _flushed(planes[row])]
    parts += [_EMPTY_FINAL_BLOCK, deflate.adler32(planes.data).to_bytes(4, "big")]
    return b"".join(parts)


def _stored_blocks(data: Bytes) -> Iterator[bytes | memoryview]:
    for start in range(0, len(data), _MAX_STORED_BLOCK):
        block = data[start : start + _MAX_STORED_BLOCK]
        yield _STORED_HEADER.pack(0, len(block), len(block) ^ 0xFFFF)
        yield block.data


def _flushed(plane: Bytes) -> tuple[bytes, bytes]:
    compressor = isal_zlib.compressobj(_BINARY_LEVEL, isal_zlib.DEFLATED, _RAW_WINDOW, 9)
    # A full flush ends on a whole byte, so that the next plane's blocks can follow.
    return compressor.compress(plane), compressor.flush(isal_zlib.Z_FULL_FLUSH)

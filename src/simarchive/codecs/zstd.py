"""The zstd codecs: faster and a little smaller than deflate, for readers that have the zstd filter.

Each encoded chunk is one zstd frame with its content size, as HDF5 filter 32015 reads and writes it. Noise
planes become raw blocks at the speed of a copy. Other programs need a filter plugin (in Python: ``import
hdf5plugin``). This one needs the package `zstandard`.

References
----------
RFC 8878 (zstd frames); HDF5 registered filters, number 32015.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

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
from simarchive.errors import InvalidDataError

ZSTD_FILTER = (32015, (1,))
_LEVEL = 1
# None of them is best for all text: level 1 finds what repeats far away, level 7 what is short.
_TEXT_LEVELS = (1, 3, 7)

# RFC 8878, 3.1.1: a frame whose window is its content, of a size in 4 bytes; block headers are 3 bytes.
_FRAME_HEADER = struct.Struct("<IBI")
_MAGIC, _SINGLE_SEGMENT = 0xFD2FB528, 0xA0
_LAST, _RLE, _SIZE_SHIFT = 1, 1, 3
_EMPTY_LAST_BLOCK = b"\x01\x00\x00"
# Also no larger than the content, of which not every plane is noise.
_MAX_BLOCK = 1 << 17


class _Zstd:
    """What both variants share: a compressor and a decompressor per thread."""

    def __init__(self) -> None:
        self._zstandard = _import_zstandard()
        self._local = threading.local()

    def compress(self, parts: list[Any], n_bytes: int, level: int = _LEVEL) -> bytes:
        """Return one zstd frame of all parts; each starts a block, and so has statistics of its own."""
        compressor = getattr(self._local, f"compressor_{level}", None)
        if compressor is None:
            compressor = self._zstandard.ZstdCompressor(level=level)
            setattr(self._local, f"compressor_{level}", compressor)
        if len(parts) == 1:
            whole: bytes = compressor.compress(parts[0])
            return whole
        frame = compressor.compressobj(size=n_bytes)
        encoded: list[bytes] = []
        for part in parts[:-1]:
            encoded += [frame.compress(part), frame.flush(self._zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
        encoded += [frame.compress(parts[-1]), frame.flush()]
        return b"".join(encoded)

    def decompress(self, stored: memoryview, n_bytes: int) -> bytes:
        """Return the `n_bytes` bytes of one zstd frame; raise ValueError if it holds fewer or more."""
        decompressor = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = self._zstandard.ZstdDecompressor()
        try:
            if self._zstandard.frame_content_size(stored) != n_bytes:
                raise ValueError(f"the chunk does not hold {n_bytes} bytes")
            plain: bytes = decompressor.decompress(stored, allow_extra_data=False)
        except self._zstandard.ZstdError as error:
            raise ValueError(f"the chunk is not a zstd frame: {error}") from error
        return plain


class ShuffledZstd(_Zstd):
    """Byte shuffle of 4-byte words, then zstd."""

    name = "zstd"
    element_size = WORD
    filters = (SHUFFLE_FILTER, ZSTD_FILTER)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b11

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zstd frame of the chunk's byte planes, or the chunk itself if that gains nothing."""
        noise = noise_planes(chunk)
        if all(noise):
            return EncodedChunk(chunk, self._all_filters)
        planes = split_planes(chunk)
        return keep_smaller(chunk, self._frame(planes, noise), self._all_filters)

    def _frame(self, planes: Bytes, noise: list[bool]) -> bytes:
        """Return one frame: noise planes at either end as raw blocks, those between as zstd makes them."""
        first = noise.index(False)
        last = WORD - noise[::-1].index(False)
        inner = self.compress(list(planes[first:last]), planes[first:last].size)
        return b"".join(
            [
                _FRAME_HEADER.pack(_MAGIC, _SINGLE_SEGMENT, planes.size),
                *_raw_blocks(planes[:first].reshape(-1)),
                # Its blocks do not look back beyond their own start, so they can stand anywhere.
                _without_end(inner, self._zstandard.frame_header_size(inner)),
                *_raw_blocks(planes[last:].reshape(-1)),
                _EMPTY_LAST_BLOCK,
            ]
        )

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zstd frame, or from the chunk's own bytes if the filters were skipped."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
            return
        planes = self.decompress(stored, len(out))
        unshuffle(np.frombuffer(planes, np.uint8), np.frombuffer(out, np.uint8))


class PlainZstd(_Zstd):
    """Zstd without a shuffle: text, and whatever else shrinks more without one."""

    name = "zstd-text"
    element_size = 1
    filters = (ZSTD_FILTER,)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b1

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zstd frame, or the chunk itself if that gains nothing."""
        if all(noise_rows(np.frombuffer(chunk, np.uint8).reshape(1, -1))):
            return EncodedChunk(chunk, self._all_filters)
        frames = (self.compress([chunk], len(chunk), level) for level in _TEXT_LEVELS)
        return keep_smaller(chunk, min(frames, key=len), self._all_filters)

    def rough_size(self, chunk: memoryview) -> int:
        """Return about how many bytes `encode` makes of a chunk, at a fraction of its cost; never too few."""
        if all(noise_rows(np.frombuffer(chunk, np.uint8).reshape(1, -1))):
            return len(chunk)
        return min(len(chunk), len(self.compress([chunk], len(chunk))))

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zstd frame, or from the chunk's own bytes if the filter was skipped."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
        else:
            out[:] = self.decompress(stored, len(out))


def _raw_blocks(data: Bytes) -> Iterator[bytes | memoryview]:
    for start in range(0, len(data), _MAX_BLOCK):
        block = data[start : start + _MAX_BLOCK]
        yield (len(block) << _SIZE_SHIFT).to_bytes(3, "little")
        yield block.data


def _without_end(frame: bytes, position: int) -> bytes:
    """Return the blocks of a frame, whose header ends at `position`, none of them marked as the last."""
    blocks = bytearray(frame[position:])
    position = 0
    while True:
        header = int.from_bytes(blocks[position : position + 3], "little")
        if header & _LAST:
            blocks[position] &= ~_LAST & 0xFF
            return bytes(blocks)
        is_repeated_byte = (header >> 1) & 3 == _RLE
        position += 3 + (1 if is_repeated_byte else header >> _SIZE_SHIFT)


def _import_zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidDataError(
            "codec 'zstd' needs the package zstandard: pip install 'simarchive[zstd]'"
        ) from error
    return zstandard

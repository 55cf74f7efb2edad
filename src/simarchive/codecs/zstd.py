"""The zstd codecs: faster and a little smaller than deflate, for readers that have the zstd filter.

Each encoded chunk is one zstd frame with its content size, as HDF5 filter 32015 reads and writes it. Other
programs need a filter plugin (in Python: ``import hdf5plugin``). This one needs the package `zstandard`.

References
----------
RFC 8878 (zstd frames); HDF5 registered filters, number 32015.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import numpy as np

from simarchive.codecs.codec import CHUNK_BYTES, EncodedChunk, copy_stored, keep_smaller
from simarchive.codecs.planes import SHUFFLE_FILTER, WORD, is_noise, shuffle, thread_array, unshuffle
from simarchive.errors import InvalidDataError

ZSTD_FILTER = (32015, (1,))
_LEVEL = 1


class _Zstd:
    """What both variants share: a compressor and a decompressor per thread."""

    def __init__(self) -> None:
        self._zstandard = _import_zstandard()
        self._local = threading.local()

    def compress(self, data: Any) -> bytes:
        """Return one zstd frame."""
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = self._zstandard.ZstdCompressor(level=_LEVEL)
        frame: bytes = compressor.compress(data)
        return frame

    def decompress(self, stored: memoryview, out: Any) -> None:
        """Fill `out` from one zstd frame; raise ValueError if it holds fewer or more bytes."""
        decompressor = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = self._zstandard.ZstdDecompressor()
        try:
            with decompressor.stream_reader(stored) as reader:
                n_bytes = reader.readinto(out)
                if n_bytes != len(out) or reader.read(1):
                    raise ValueError(f"the chunk does not hold {len(out)} bytes")
        except self._zstandard.ZstdError as error:
            raise ValueError(f"the chunk is no zstd frame: {error}") from error


class ShuffledZstd(_Zstd):
    """Byte shuffle of 4-byte words, then zstd."""

    name = "zstd"
    element_size = WORD
    filters = (SHUFFLE_FILTER, ZSTD_FILTER)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b11

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zstd frame of the chunk's byte planes, or the chunk itself if that gains nothing."""
        words = np.frombuffer(chunk, np.uint8)
        if all(is_noise(words[plane::WORD]) for plane in range(WORD)):
            return EncodedChunk(chunk, self._all_filters)
        planes = thread_array("shuffled", len(words))
        shuffle(words, planes)
        return keep_smaller(chunk, self.compress(planes), self._all_filters)

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zstd frame, or from the chunk's own bytes if the filters were skipped."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
            return
        planes = thread_array("shuffled", len(out))
        self.decompress(stored, planes)
        unshuffle(planes, np.frombuffer(out, np.uint8))


class PlainZstd(_Zstd):
    """Zstd without a shuffle: text, and whatever else shrinks more without one."""

    name = "zstd-text"
    element_size = 1
    filters = (ZSTD_FILTER,)
    chunk_bytes = CHUNK_BYTES
    _all_filters = 0b1

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return one zstd frame, or the chunk itself if that gains nothing."""
        if is_noise(np.frombuffer(chunk, np.uint8)):
            return EncodedChunk(chunk, self._all_filters)
        return keep_smaller(chunk, self.compress(chunk), self._all_filters)

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from one zstd frame, or from the chunk's own bytes if the filter was skipped."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
        else:
            self.decompress(stored, out)


def _import_zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidDataError(
            "codec 'zstd' needs the package zstandard: pip install 'simarchive[zstd]'"
        ) from error
    return zstandard

"""Byte planes of 4-byte words: what HDF5's shuffle filter makes, and how random each of them is."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 4
SHUFFLE_FILTER = (2, (WORD,))

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]

# Above this many bits per byte, entropy coding saves less than 5% of a plane, and costs as much time as all
# the rest of the chunk.
NOISE_BITS = 7.6
_SAMPLE_PIECES, _SAMPLE_PIECE_BYTES = 64, 64
_MIN_NOISE_BYTES = 4096

_local = threading.local()


def thread_array(purpose: str, n_bytes: int) -> Bytes:
    """Return a work array of this thread: `n_bytes` bytes of unknown content, used again by every call."""
    arrays: dict[str, Any] = _local.__dict__
    array = arrays.get(purpose)
    if array is None or len(array) < n_bytes:
        array = arrays[purpose] = np.empty(n_bytes, np.uint8)
    result: Bytes = array[:n_bytes]
    return result


def split_planes(chunk: memoryview | Words) -> Bytes:
    """Return the byte planes of a chunk of whole words, one plane a row: what HDF5's shuffle makes of it.

    The array is one that this thread uses again.
    """
    words = np.frombuffer(chunk, "<u4")
    data, n_words = words.view(np.uint8), len(words)
    planes = thread_array("planes", len(data)).reshape(WORD, n_words)
    if n_words:
        np.copyto(planes[0], words, casting="unsafe")
        for plane in range(1, WORD):
            # The lowest byte of a word that is read so many bytes later. Taking it is three times as fast as
            # a copy of every fourth byte, because processors narrow many words at a time.
            shifted = data[plane : plane - WORD].view("<u4")
            np.copyto(planes[plane, :-1], shifted, casting="unsafe")
        planes[1:, -1] = data[1 - WORD :]
    return planes


def unshuffle(planes: Bytes, out: Bytes) -> None:
    """Fill `out` with the words whose byte planes are `planes`: all first bytes, then all second, ..."""
    n_words = len(out) // WORD
    # Four strided copies are three times as fast as one transposition.
    for plane in range(WORD):
        out[plane::WORD] = planes[plane * n_words : (plane + 1) * n_words]


def unshuffle_part(planes: Bytes, start: int, out: Bytes) -> None:
    """Fill `out` with the bytes from `start` on of what `unshuffle` would make of all of `planes`."""
    n_words = len(planes) // WORD
    first, last = start // WORD, -(-(start + len(out)) // WORD)
    words = thread_array("words", (last - first) * WORD)
    for plane in range(WORD):
        words[plane::WORD] = planes[plane * n_words + first : plane * n_words + last]
    out[:] = words[start - first * WORD :][: len(out)]


def entropy_bits(rows: Bytes) -> NDArray[np.float64]:
    """Return the entropy of each row, in bits per byte (0 to 8), from an evenly spaced sample of it."""
    n_rows, length = rows.shape
    if length > 2 * _SAMPLE_PIECES * _SAMPLE_PIECE_BYTES:
        stride = length // _SAMPLE_PIECES
        pieces = rows[:, : stride * _SAMPLE_PIECES].reshape(n_rows, _SAMPLE_PIECES, stride)
        rows = pieces[:, :, :_SAMPLE_PIECE_BYTES].reshape(n_rows, -1)
    # All rows at once, each with 256 counters of its own.
    counters = rows + 256 * np.arange(n_rows)[:, np.newaxis]
    counts = np.bincount(counters.reshape(-1), minlength=256 * n_rows).reshape(n_rows, 256)
    shares = counts / max(1, rows.shape[1])
    bits: NDArray[np.float64] = -(shares * np.log2(np.where(counts, shares, 1))).sum(axis=1)
    return bits


def noise_planes(chunk: memoryview) -> list[bool]:
    """Return which byte planes of a chunk look random, from a sample, so that noise is not even split."""
    return noise_rows(np.frombuffer(chunk, np.uint8).reshape(-1, WORD).T)


def noise_rows(rows: Bytes) -> list[bool]:
    """Return which rows look random; too short a row never does."""
    if rows.shape[1] < _MIN_NOISE_BYTES:
        return [False] * len(rows)
    noise: list[bool] = (entropy_bits(rows) > NOISE_BITS).tolist()
    return noise

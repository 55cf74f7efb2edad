"""The trajectory codec: each coordinate is stored as its change since the frame before.

For archives that must be small. Chunks do not depend on each other: the first frame of each is coded by the
change from atom to atom. HDF5 knows the filter by a number of the range for private use, so that other
programs report a missing filter; the format is written down here so that anyone can write one.

Stream of one chunk (all numbers little-endian)
-----------------------------------------------
====== ===== ======================================================================================
offset bytes meaning
====== ===== ======================================================================================
0      1     version: 1
1      1     kind: 0 words, 1 ordered floats, 2 grid
2      1     byte order of the chunk's words: 0 little-endian, 1 big-endian
3      1     grid (kind 2): see below; else 0
4      4     F: words from a word to its counterpart in the frame before
8      4     A: words from a coordinate to the same coordinate of the atom before
12     4     E: number of exceptions (kind 2), else 0
16     4     Z: bytes of the first zlib stream
20     Z     zlib stream of the byte planes of N residuals; N is the number of words in the chunk
20 + Z rest  if E > 0: zlib stream of the byte planes of 2 E numbers: the words' places, each as the
             distance from the place before (the first from 0), then the words themselves
====== ===== ======================================================================================

The byte planes of numbers are all their lowest bytes, then all their second bytes, third and highest.

To decode: undo the zigzag of each residual, ``d = (r >> 1) ^ -(r & 1)`` in 32 bits. For kinds 1 and 2 add,
modulo 2**32 and from the first on: ``v[i] = d[i]`` for i < A, ``v[i] = d[i] + v[i - A]`` for A <= i < F,
``v[i] = d[i] + v[i - F]`` from F on. For kind 0, the words are the residuals r themselves. For kind 1, a word
is ``v`` if its top bit is clear, else ``v ^ 0x7fffffff``: integers in the order of the floats they stand for.
For kind 2, a word is the float32 that the grid gives for v, a signed number; then each exception replaces the
word at its place. Grids, in float32 arithmetic where every step is rounded, unless said otherwise:

1. ``(v * float32(0.001)) * 10``: from XTC of the usual precision, in angstroms
2. ``v * float32(0.001)``: the same in nanometres
3. ``v / 100``, rounded once: two decimals
4. ``v / 1000``, rounded once: three decimals
5. ``((v * float32(0.001)) * 10) * float32(0.1)``: grid 1 turned back into nanometres, as MDAnalysis does
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.codec import CHUNK_BYTES, EncodedChunk, copy_part, copy_stored, keep_smaller
from simarchive.codecs.deflate import inflate, zlib_stream
from simarchive.codecs.planes import (
    WORD,
    Words,
    entropy_bits,
    noise_rows,
    split_planes,
    thread_array,
    unshuffle,
)
from simarchive.codecs.trajectory_files.repetition import Repetition

# Of the range 32768 to 65535, which the HDF Group leaves for private use.
TRAJECTORY_FILTER = (33217, (1,))

_HEADER = struct.Struct("<BBBBIIII")
_VERSION = 1
_WORDS, _ORDERED, _GRID = 0, 1, 2
_MAX_CHUNK_BYTES = 4 << 20
_FRAMES_PER_CHUNK = 8
_SAMPLE_WORDS = 4096
# Beyond this share of words off the grid, exceptions cost more than the grid saves.
_MAX_EXCEPTIONS = 0.125
# Whole numbers up to this are exact in float32.
_MAX_STEPS = 1 << 24

Steps = NDArray[np.int32]


def _float32_steps(steps: Steps) -> NDArray[np.float32]:
    return steps.astype(np.float32) * np.float32(0.001)


_GRIDS: dict[int, tuple[float, Callable[[Steps], NDArray[np.float32]]]] = {
    1: (0.01, lambda steps: _float32_steps(steps) * np.float32(10)),
    2: (0.001, _float32_steps),
    3: (0.01, lambda steps: (steps / 100.0).astype(np.float32)),
    4: (0.001, lambda steps: (steps / 1000.0).astype(np.float32)),
    5: (0.001, lambda steps: _float32_steps(steps) * np.float32(10) * np.float32(0.1)),
}


class Trajectory:
    """Previous-frame differences of 4-byte words; without a layout it only decodes."""

    name = "trajectory"
    element_size = WORD
    filters = (TRAJECTORY_FILTER,)
    _all_filters = 0b1

    def __init__(self, layout: Repetition | None = None) -> None:
        self._layout = layout

    @property
    def chunk_bytes(self) -> int:
        """The size of a chunk: as that of other codecs, or up to 4 MiB so that it holds eight frames."""
        frame_bytes = WORD * self._layout.frame_words if self._layout else 0
        wanted = _FRAMES_PER_CHUNK * frame_bytes
        return min(_MAX_CHUNK_BYTES, max(CHUNK_BYTES, -(-wanted // CHUNK_BYTES) * CHUNK_BYTES))

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return the stream described above, or the chunk itself if that gains nothing."""
        if self._layout is None:
            raise ValueError("a trajectory codec without a layout only decodes")
        layout = self._layout
        stored_order = np.dtype(">u4" if layout.big_endian else "<u4")
        words: Words = np.frombuffer(chunk, stored_order).astype(np.uint32)
        kind, grid, residuals, exceptions = _best_residuals(words, layout)
        if len(exceptions):
            places = np.diff(exceptions, prepend=0).astype(np.uint32)
            extra = _packed(np.concatenate([places, words[exceptions]]))
        else:
            extra = b""
        body = _packed(residuals)
        head = _HEADER.pack(
            _VERSION,
            kind,
            layout.big_endian,
            grid,
            layout.frame_words,
            layout.atom_words,
            len(exceptions),
            len(body),
        )
        return keep_smaller(chunk, b"".join((head, body, extra)), self._all_filters)

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from the stream described above, or from the chunk's own bytes."""
        if filter_mask & self._all_filters:
            copy_stored(stored, out)
            return
        if len(stored) < _HEADER.size:
            raise ValueError("the chunk is shorter than its header")
        version, kind, big_endian, grid, frame, atom, n_exceptions, body_bytes = _HEADER.unpack_from(stored)
        n_words = len(out) // WORD
        known = (
            version == _VERSION and kind in (_WORDS, _ORDERED, _GRID) and (kind != _GRID or grid in _GRIDS)
        )
        if not known or n_exceptions > n_words or not 0 < atom < frame:
            raise ValueError("the header of the chunk is not one of a known kind")
        body = stored[_HEADER.size :]
        words = _words(_unpacked(body[:body_bytes], n_words), kind, grid, frame, atom)
        if n_exceptions:
            pairs = _unpacked(body[body_bytes:], 2 * n_exceptions)
            places = np.cumsum(pairs[:n_exceptions], dtype=np.int64)
            if places[-1] >= n_words:
                raise ValueError("an exception lies outside the chunk")
            words[places] = pairs[n_exceptions:]
        np.frombuffer(out, ">u4" if big_endian else "<u4")[:] = words

    def decode_part(
        self, stored: memoryview, filter_mask: int, chunk_bytes: int, start: int, out: memoryview
    ) -> None:
        """Fill `out` from `start` of the chunk, of which each frame builds on the one before."""
        if filter_mask & self._all_filters:
            copy_part(stored, chunk_bytes, start, out)
            return
        whole = thread_array("chunk", chunk_bytes).data
        self.decode(stored, filter_mask, whole)
        copy_part(whole, chunk_bytes, start, out)


def _best_residuals(words: Words, layout: Repetition) -> tuple[int, int, Words, NDArray[Any]]:
    """Return the kind, the grid, the residuals and the places of exceptions that make `words` smallest."""
    none = np.empty(0, np.int64)
    for grid, (spacing, value) in _GRIDS.items():
        middle = len(words) // 2
        if _off_grid(words[middle : middle + _SAMPLE_WORDS], spacing, value)[1].mean() > _MAX_EXCEPTIONS:
            continue
        steps, off = _off_grid(words, spacing, value)
        if off.mean() <= _MAX_EXCEPTIONS:
            steps[off] = 0
            return _GRID, grid, _differences(steps.view(np.uint32), layout), np.flatnonzero(off)
    residuals = _differences(_ordered(words), layout)
    if _plane_bits(residuals) < _plane_bits(words):
        return _ORDERED, 0, residuals, none
    return _WORDS, 0, words, none


def _off_grid(
    words: Words, spacing: float, value: Callable[[Steps], NDArray[np.float32]]
) -> tuple[Steps, NDArray[np.bool_]]:
    """Return the nearest grid number of each word, and which words it does not give back bit for bit."""
    with np.errstate(all="ignore"):
        nearest = np.rint(words.view(np.float32).astype(np.float64) / spacing)
        inside = np.abs(nearest) < _MAX_STEPS
    steps = np.where(inside, nearest, 0).astype(np.int32)
    return steps, ~inside | (value(steps).view(np.uint32) != words)


def _ordered(words: Words) -> Words:
    """Return integers in the order of the floats; applied twice, it gives back the words."""
    negative = (words.view(np.int32) >> 31).view(np.uint32)
    return words ^ (negative >> np.uint32(1))


def _differences(values: Words, layout: Repetition) -> Words:
    frame, atom = layout.frame_words, layout.atom_words
    difference = values.copy()
    difference[frame:] -= values[:-frame]
    difference[atom:frame] -= values[: max(0, min(frame, len(values)) - atom)]
    signed = difference.view(np.int32)
    return ((signed << 1) ^ (signed >> 31)).view(np.uint32)


def _words(residuals: Words, kind: int, grid: int, frame: int, atom: int) -> Words:
    if kind == _WORDS:
        return residuals
    values = (residuals >> np.uint32(1)) ^ (~(residuals & np.uint32(1)) + np.uint32(1))
    _accumulate(values[:frame], atom)
    _accumulate(values, frame)
    if kind == _ORDERED:
        return _ordered(values)
    words: Words = _GRIDS[grid][1](values.view(np.int32)).view(np.uint32)
    return words


def _accumulate(values: Words, lag: int) -> None:
    """Add to each value, from the first on, the sum that stands `lag` before."""
    n_rows = len(values) // lag
    rows = values[: n_rows * lag].reshape(n_rows, lag)
    np.add.accumulate(rows, axis=0, out=rows)
    rest = values[n_rows * lag :]
    if n_rows:
        rest += rows[-1][: len(rest)]


def _plane_bits(numbers: Words) -> float:
    return float(entropy_bits(split_planes(numbers)).sum())


def _packed(numbers: Words) -> bytes:
    planes = split_planes(numbers)
    return zlib_stream(planes, noise_rows(planes))


def _unpacked(stream: memoryview, n_numbers: int) -> Words:
    planes = inflate(stream, WORD * n_numbers)
    numbers = np.empty(n_numbers, "<u4")
    unshuffle(np.frombuffer(planes, np.uint8), numbers.view(np.uint8))
    return numbers.astype(np.uint32, copy=False)

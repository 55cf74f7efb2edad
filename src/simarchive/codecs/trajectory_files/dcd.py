"""DCD as CHARMM, NAMD, X-PLOR, OpenMM and LAMMPS write it.

References
----------
MDAnalysis `readdcd.h`; `dcdplugin.c` of VMD, from which come records with markers of 8 bytes, and files of
velocities.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.trajectory_files.layout import EvenStarts, Layout, LayoutError, Read, rest_in_words

AKMA_PS = 4.888821e-2
"""The unit of time of CHARMM and NAMD in picoseconds, as MDAnalysis has it."""

_HEADER_RECORD = 84
_CELL_BYTES = 48
_MOST_HEADER_BYTES = 64 << 20
_WORD = 4


@dataclass(frozen=True)
class DCDHeader:
    """The header of a DCD file.

    Attributes
    ----------
    order
        ``"<"`` or ``">"``.
    marker_bytes
        Length of the numbers before and after each record: 4 or 8.
    holds_velocities
        Whether each frame has velocities in place of coordinates.
    title
        What the program that wrote it says of it.
    n_atoms
        Atoms of each frame, the fixed ones too.
    has_cell
        Whether each frame begins with a unit cell.
    n_axes
        3, or 4 if there is a fourth dimension, which nobody reads.
    free
        Indices of the atoms that all frames after the first one hold; None if that is all of them.
    first_step, steps_between, delta
        Number of the first step, steps from one frame to the next, and the length of a step in AKMA units
        of time.
    start
        Where the first frame begins.
    """

    order: str
    marker_bytes: int
    holds_velocities: bool
    title: bytes
    n_atoms: int
    has_cell: bool
    n_axes: int
    free: NDArray[np.intp] | None
    first_step: int
    steps_between: int
    delta: float
    start: int

    def frame_bytes(self, number: int) -> int:
        """Return the length of a frame, of which the first may be longer than the others."""
        return self.cell_bytes + self.n_axes * (_WORD * self._n_held(number) + 2 * self.marker_bytes)

    def has_markers(self, read: Callable[[int, int], bytes | memoryview], number: int) -> bool:
        """Return whether a frame begins and ends as one does; `read` counts from its start."""
        width = self.marker_bytes
        first, later, cell = self._marks
        block = later if number else first
        if self.has_cell and not read(0, width) == read(_CELL_BYTES + width, width) == cell:
            return False
        end = self.frame_bytes(number)
        return bool(read(self.cell_bytes, width) == read(end - width, width) == block)

    @cached_property
    def _marks(self) -> tuple[bytes, bytes, bytes]:
        """The lengths that stand round each axis of the first frame, of later ones, and round the cell."""
        mark = struct.Struct(self.order + ("i" if self.marker_bytes == 4 else "q"))
        first, later = (mark.pack(_WORD * self._n_held(number)) for number in (0, 1))
        return first, later, mark.pack(_CELL_BYTES)

    def cell(self, frame: bytes | memoryview) -> NDArray[np.float64]:
        """Return the six numbers of the unit cell that a frame begins with."""
        return np.frombuffer(frame, self.order + "f8", 6, self.marker_bytes).astype(np.float64)

    @property
    def cell_bytes(self) -> int:
        """The length of the record of the unit cell; 0 if there is none."""
        return _CELL_BYTES + 2 * self.marker_bytes if self.has_cell else 0

    def _n_held(self, number: int) -> int:
        return self.n_atoms if self.free is None or number == 0 else len(self.free)


def dcd_header(read: Read, size: int) -> DCDHeader:
    """Return the header of a DCD file; either byte order, markers of 4 or 8 bytes, fixed atoms.

    Parameters
    ----------
    size
        Of the file, or of what there is of it.

    Raises
    ------
    LayoutError
        If it is none.
    """
    head = read(0, 16)
    for order in "<>":
        for kind, width in (("i", 4), ("q", 8)):
            begin = struct.pack(order + kind, _HEADER_RECORD)
            if head[:width] == begin and head[width : width + 4] in (b"CORD", b"VELD"):
                try:
                    return _Records(read, size, order, kind).header()
                except LayoutError:
                    raise
                except (struct.error, ValueError) as error:
                    raise LayoutError(f"its header is cut short or damaged: {error}") from error
    raise LayoutError("it does not begin as a DCD file does")


def dcd_layout(read: Read, size: int) -> Layout:
    """Return where the frames of a DCD file lie.

    Raises
    ------
    LayoutError
        If it is none.
    """
    header = dcd_header(read, size)
    start, first, later = header.start, header.frame_bytes(0), header.frame_bytes(1)
    n_frames = 0 if size < start + first else 1 + (size - start - first) // later
    # The header says how many frames there are, too, but that is wrong while a simulation runs.
    n_frames = _n_real(read, EvenStarts(start, first, later, n_frames), header)
    starts = EvenStarts(start, first, later, n_frames)
    return Layout(header.n_atoms, starts, header, rest_in_words(size - starts[n_frames]))


def _n_real(read: Read, starts: EvenStarts, header: DCDHeader) -> int:
    """Return how many frames there are before anything else, such as what a full disk left."""

    def is_frame(number: int) -> bool:
        return header.has_markers(lambda at, n_bytes: read(starts[number] + at, n_bytes), number)

    n_frames = len(starts) - 1
    if not n_frames or is_frame(n_frames - 1):
        return n_frames
    low, high = 0, n_frames - 1  # the frames before `low` are some, that at `high` is none
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if is_frame(middle) else (low, middle)
    return low


class _Records:
    """Reads the header of a DCD file."""

    def __init__(self, read: Read, size: int, order: str, marker: str) -> None:
        self._read, self._size, self._order = read, size, order
        self._marker = struct.Struct(order + marker)

    def header(self) -> DCDHeader:
        block, at = self._record(0)
        control = struct.unpack(self._order + "20i", block[4:_HEADER_RECORD])
        is_charmm = control[19] != 0
        (delta,) = struct.unpack_from(self._order + ("f" if is_charmm else "d"), block, 4 + 9 * _WORD)
        title, at = self._title(at)
        count, at = self._record(at)
        (n_atoms,) = struct.unpack(self._order + "i", count)
        n_fixed, free = control[8], None
        if n_atoms <= 0 or not 0 <= n_fixed < n_atoms:
            raise LayoutError(f"its header says {n_atoms} atoms, of which {n_fixed} are fixed")
        if n_fixed:
            indices, at = self._record(at)
            free = np.frombuffer(indices, self._order + "i4").astype(np.intp) - 1
            if len(free) != n_atoms - n_fixed or free.min() < 0 or free.max() >= n_atoms:
                raise LayoutError("its list of free atoms contradicts its number of atoms")
        return DCDHeader(
            order=self._order,
            marker_bytes=self._marker.size,
            holds_velocities=block[:4] == b"VELD",
            title=title,
            n_atoms=n_atoms,
            has_cell=bool(is_charmm and control[10]),
            n_axes=4 if is_charmm and control[11] else 3,
            free=free,
            first_step=control[1],
            steps_between=control[2],
            delta=float(delta),
            start=at,
        )

    def _number(self, at: int) -> int:
        (number,) = self._marker.unpack(self._read(at, self._marker.size))
        return int(number)

    def _record(self, at: int) -> tuple[bytes, int]:
        n_bytes, width = self._number(at), self._marker.size
        if not 0 <= n_bytes <= min(self._size, _MOST_HEADER_BYTES):
            raise LayoutError(f"its header has a record of {n_bytes} bytes")
        return self._read(at + width, n_bytes), at + n_bytes + 2 * width

    def _title(self, at: int) -> tuple[bytes, int]:
        """Return the title and where it ends; old MDAnalysis wrote a wrong length of it."""
        width = self._marker.size
        length = self._number(at)
        (n_lines,) = struct.unpack(self._order + "i", self._read(at + width, _WORD))
        after = at + width + _WORD + 80 * n_lines
        is_inside = 0 <= n_lines <= self._size // 80 and after + width <= self._size
        if is_inside and self._number(after) == length:
            return self._read(at + width + _WORD, after - at - width - _WORD), after + width
        title, end = self._record(at)
        return title[_WORD:], end

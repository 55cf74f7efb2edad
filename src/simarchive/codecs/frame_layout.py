"""Where the frames of a trajectory file lie, from the file's own header: DCD, TRR and AMBER NetCDF.

Only files made of 4-byte words are described, whose frames all have one length: in them, each word of a frame
has its counterpart exactly one frame earlier.

References
----------
CHARMM/NAMD DCD as in MDAnalysis `readdcd.h`; GROMACS TRR as in `xdrfile_trr.c`; NetCDF classic format,
"NetCDF File Format Specifications", Appendix B.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_WORD = 4


@dataclass(frozen=True)
class FrameLayout:
    """How the words of a trajectory repeat.

    Attributes
    ----------
    frame_words
        Words from one frame to the next.
    atom_words
        Words from a coordinate to the same coordinate of the next atom: 1 if all x come first, else 3.
    big_endian
        The byte order of the words.
    """

    frame_words: int
    atom_words: int
    big_endian: bool


def find_layout(head: bytes) -> FrameLayout | None:
    """Return the layout of the trajectory that starts with `head`, or None if it is none that repeats."""
    for find in (_dcd_layout, _trr_layout, _netcdf_layout):
        try:
            layout = find(head)
        except (struct.error, IndexError, ValueError):
            # The header ends early or contradicts itself: not a file of this format.
            continue
        if layout is not None and layout.frame_words > layout.atom_words:
            return layout
    return None


def frame_counters(head: bytes) -> tuple[tuple[int, int], ...]:
    """Return where a file that starts with `head` says how many frames it has: offsets and lengths in bytes.

    Programs that write DCD and NetCDF write these again with each frame; all else stays as it was.
    """
    if head[4:8] == b"CORD":
        return (8, 4), (20, 4)  # NSET, and NSTEP, which is the last step in files of CHARMM and OpenMM
    if head[:3] == b"CDF" and head[3:4] in (b"\x01", b"\x02"):
        return ((4, 4),)  # numrecs
    if head[:4] == b"CDF\x05":
        return ((4, 8),)
    return ()


def _dcd_layout(head: bytes) -> FrameLayout | None:
    if head[4:8] != b"CORD":
        return None
    order = "<" if head[:4] == b"\x54\0\0\0" else ">"
    control = struct.unpack_from(f"{order}20i", head, 8)
    fixed_atoms, has_cell, has_fourth = control[8], control[10], control[11]
    (title_bytes,) = struct.unpack_from(f"{order}i", head, 92)
    marker, n_atoms = struct.unpack_from(f"{order}2i", head, 92 + 8 + title_bytes)
    if marker != _WORD or fixed_atoms or n_atoms <= 0 or title_bytes % _WORD:
        return None
    axes = 4 if control[19] and has_fourth else 3
    cell_words = 14 if control[19] and has_cell else 0
    return FrameLayout(cell_words + axes * (n_atoms + 2), 1, order == ">")


def _trr_layout(head: bytes) -> FrameLayout | None:
    if head[:4] != struct.pack(">i", 1993):
        return None
    (text_bytes,) = struct.unpack_from(">i", head, 8)
    start = 12 + -(-text_bytes // _WORD) * _WORD
    *sizes, n_atoms, _step, _nre = struct.unpack_from(">13i", head, start)
    if n_atoms <= 0 or sizes[7] != 3 * _WORD * n_atoms:
        return None  # no coordinates, or in double precision
    header_bytes = start + 13 * _WORD + 2 * _WORD
    return FrameLayout((header_bytes + sum(sizes)) // _WORD, 3, big_endian=True)


def _netcdf_layout(head: bytes) -> FrameLayout | None:
    if head[:3] != b"CDF" or head[3] not in (1, 2):
        return None
    reader = _NetcdfHeader(head)
    dimensions = reader.dimensions()
    reader.attributes()
    sizes = [size for is_record, size in reader.variables(dimensions) if is_record]
    if not sizes or any(size % _WORD for size in sizes):
        return None
    return FrameLayout(sum(sizes) // _WORD, 3, big_endian=True)


class _NetcdfHeader:
    """Reads the header of a NetCDF classic file from its start."""

    _TYPE_BYTES = (0, 1, 1, 2, 4, 4, 8)

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._offset_bytes = 4 if head[3] == 1 else 8
        self._position = 8

    def dimensions(self) -> list[int]:
        lengths = []
        for _ in range(self._list_length()):
            self._skip(self._integer())
            lengths.append(self._integer())
        return lengths

    def attributes(self) -> None:
        for _ in range(self._list_length()):
            self._skip(self._integer())
            bytes_each = self._TYPE_BYTES[self._integer()]
            self._skip(self._integer() * bytes_each)

    def variables(self, dimensions: list[int]) -> list[tuple[bool, int]]:
        """Return for each variable whether it grows with the frames, and its size or its share of a frame."""
        found = []
        for _ in range(self._list_length()):
            self._skip(self._integer())
            shape = [dimensions[self._integer()] for _ in range(self._integer())]
            self.attributes()
            self._position += 4
            size = self._integer()
            self._position += self._offset_bytes
            # The length of the dimension that grows is written as 0.
            found.append((bool(shape) and shape[0] == 0, size))
        return found

    def _list_length(self) -> int:
        self._position += 4
        return self._integer()

    def _integer(self) -> int:
        (value,) = struct.unpack_from(">I", self._head, self._position)
        self._position += 4
        return int(value)

    def _skip(self, n_bytes: int) -> None:
        self._position += -(-n_bytes // _WORD) * _WORD

"""Where the frames of a trajectory lie in its bytes: DCD, AMBER NetCDF, TRR and XTC.

References
----------
DCD as CHARMM, NAMD and X-PLOR write it: MDAnalysis `readdcd.h`. NetCDF classic format: "NetCDF File Format
Specifications", Appendix B; AMBER NetCDF trajectory convention, revision C. TRR and XTC:
`simarchive.codecs.xdr_frames`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.xdr_frames import HEADER_BYTES, frame_size, trr_header

Read = Callable[[int, int], bytes]
"""Gives so many bytes from an offset: fewer only at the end of the file."""

FORMATS = {
    ".dcd": "DCD",
    ".nc": "NCDF",
    ".ncdf": "NCDF",
    ".netcdf": "NCDF",
    ".trr": "TRR",
    ".xtc": "XTC",
}
"""The format of a trajectory by the extension of its name."""

_HEADER_RECORD = 84
_MOST_HEADER_BYTES = 64 << 20
_WORD = 4


class LayoutError(ValueError):
    """Bytes that are no trajectory of a format."""


class Starts(Protocol):
    """The offsets of all frames, and where the last one ends."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


class EvenStarts:
    """Offsets of frames of one length, after a first one that may be longer, without a table of them."""

    def __init__(self, start: int, first: int, length: int, n_frames: int) -> None:
        self._start, self._first, self._length, self._n_frames = start, first, length, n_frames

    def __len__(self) -> int:
        return self._n_frames + 1

    def __iter__(self) -> Iterator[int]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> int:
        return self._start if number == 0 else self._start + self._first + (number - 1) * self._length


@dataclass(frozen=True)
class Layout:
    """Where frames lie: frame `i` is the bytes from ``starts[i]`` to ``starts[i + 1]``.

    Attributes
    ----------
    n_atoms
        Atoms of each frame.
    starts
        One more than there are frames.
    header
        What the file says of all its frames: `DCDHeader`, `NetCDFHeader`, or None.
    missing
        What is there beyond the whole frames, or is said to be there and is not; empty if all is well.
    """

    n_atoms: int
    starts: Starts
    header: Any = None
    missing: str = ""

    @property
    def n_frames(self) -> int:
        """The number of whole frames."""
        return len(self.starts) - 1


# --- DCD ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DCDHeader:
    """The header of a DCD file.

    Attributes
    ----------
    order
        ``"<"`` or ``">"``.
    marker_bytes
        Length of the numbers before and after each record: 4 or 8.
    has_cell
        Whether each frame begins with a unit cell.
    n_axes
        3, or 4 if there is a fourth dimension, which nobody reads.
    free
        Indices of the atoms that all frames after the first one hold; None if that is all of them.
    first_step, steps_between, delta
        Number of the first step, steps from one frame to the next, and the length of a step in AKMA units
        of time.
    """

    order: str
    marker_bytes: int
    has_cell: bool
    n_axes: int
    free: NDArray[np.intp] | None
    first_step: int
    steps_between: int
    delta: float


def dcd_layout(read: Read, size: int) -> Layout:
    """Return where the frames of a DCD file lie; either byte order, markers of 4 or 8 bytes, fixed atoms.

    Raises
    ------
    LayoutError
        If it is none.
    """
    head = read(0, 16)
    for order in "<>":
        for kind, width in (("i", 4), ("q", 8)):
            if head[: width + 4] == struct.pack(order + kind, _HEADER_RECORD) + b"CORD":
                try:
                    return _DCD(read, size, order, kind).layout()
                except LayoutError:
                    raise
                except (struct.error, ValueError) as error:
                    raise LayoutError(f"its header is cut short or damaged: {error}") from error
    raise LayoutError("it does not begin as a DCD file does")


class _DCD:
    """Reads the header of a DCD file."""

    def __init__(self, read: Read, size: int, order: str, marker: str) -> None:
        self._read, self._size, self._order = read, size, order
        self._marker = struct.Struct(order + marker)

    def layout(self) -> Layout:
        width = self._marker.size
        block, at = self._record(0)
        control = struct.unpack(self._order + "20i", block[4:_HEADER_RECORD])
        is_charmm = control[19] != 0
        has_cell, has_fourth = bool(is_charmm and control[10]), bool(is_charmm and control[11])
        (delta,) = struct.unpack_from(self._order + ("f" if is_charmm else "d"), block, 4 + 9 * _WORD)
        at = self._after_title(at)
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
        n_axes, cell_bytes = 3 + has_fourth, (48 + 2 * width if has_cell else 0)
        first = cell_bytes + n_axes * (_WORD * n_atoms + 2 * width)
        later = cell_bytes + n_axes * (_WORD * (n_atoms - n_fixed) + 2 * width)
        n_frames = 0 if self._size < at + first else 1 + (self._size - at - first) // later
        header = DCDHeader(self._order, width, has_cell, n_axes, free, control[1], control[2], float(delta))
        # The header says how many frames there are, too, but that is wrong while a simulation runs.
        starts = EvenStarts(at, first, later, n_frames)
        n_frames = self._n_real(starts, header, n_atoms)
        return Layout(
            n_atoms, EvenStarts(at, first, later, n_frames), header, _rest(self._size - starts[n_frames])
        )

    def _n_real(self, starts: EvenStarts, header: DCDHeader, n_atoms: int) -> int:
        """Return how many frames there are before anything else, such as what a full disk left."""

        def is_frame(number: int) -> bool:
            return has_markers(lambda at, n: self._read(starts[number] + at, n), header, n_atoms, number)

        n_frames = len(starts) - 1
        if not n_frames or is_frame(n_frames - 1):
            return n_frames
        low, high = 0, n_frames - 1  # the frames before `low` are some, that at `high` is none
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if is_frame(middle) else (low, middle)
        return low

    def _number(self, at: int) -> int:
        (number,) = self._marker.unpack(self._read(at, self._marker.size))
        return int(number)

    def _record(self, at: int) -> tuple[bytes, int]:
        n_bytes, width = self._number(at), self._marker.size
        if not 0 <= n_bytes <= min(self._size, _MOST_HEADER_BYTES):
            raise LayoutError(f"its header has a record of {n_bytes} bytes")
        return self._read(at + width, n_bytes), at + n_bytes + 2 * width

    def _end_of_record(self, at: int) -> int:
        return self._record(at)[1]

    def _after_title(self, at: int) -> int:
        """Return where the title ends. Old MDAnalysis wrote a wrong length; its number of lines is right."""
        width = self._marker.size
        length = self._number(at)
        (n_lines,) = struct.unpack(self._order + "i", self._read(at + width, _WORD))
        after = at + width + _WORD + 80 * n_lines
        is_inside = 0 <= n_lines <= self._size // 80 and after + width <= self._size
        return after + width if is_inside and self._number(after) == length else self._end_of_record(at)


def has_markers(read: Read, header: DCDHeader, n_atoms: int, number: int) -> bool:
    """Return whether a frame of a DCD file begins and ends as one does; `read` counts from its start."""
    width = header.marker_bytes
    n_words = n_atoms if header.free is None or number == 0 else len(header.free)
    mark = struct.Struct(header.order + ("i" if width == 4 else "q"))
    block, cell = mark.pack(_WORD * n_words), mark.pack(48)
    x = 48 + 2 * width if header.has_cell else 0
    end = x + header.n_axes * (_WORD * n_words + 2 * width)
    if header.has_cell and not read(0, width) == read(48 + width, width) == cell:
        return False
    return bool(read(x, width) == read(end - width, width) == block)


# --- NetCDF-3 -------------------------------------------------------------------------------------------

_TYPES = {
    1: "i1",
    2: "S1",
    3: ">i2",
    4: ">i4",
    5: ">f4",
    6: ">f8",
    7: "u1",
    8: ">u2",
    9: ">u4",
    10: ">i8",
    11: ">u8",
}
_UNKNOWN_COUNT = (-1, 0xFFFFFFFF)
# A hundred times that of any program; what is longer is no header.
_MOST_NETCDF_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class NetCDFVariable:
    """A variable that grows with the frames: where it lies in one, and what it is multiplied with."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float | None


@dataclass(frozen=True)
class NetCDFHeader:
    """The variables of a NetCDF trajectory by name, and where its header says how many frames there are."""

    variables: dict[str, NetCDFVariable] = field(default_factory=dict)
    count_bytes: int = 4


def netcdf_layout(read: Read, size: int) -> Layout:
    """Return where the frames of an AMBER trajectory in the classic NetCDF format lie.

    Raises
    ------
    LayoutError
        If it is none.
    """
    n_bytes = 1 << 14
    while True:
        data = read(0, n_bytes)
        if data[:8] == b"\x89HDF\r\n\x1a\n":
            raise LayoutError("it is a NetCDF-4 file, and only the classic format, NetCDF-3, can be")
        if data[:3] != b"CDF" or data[3:4] not in (b"\1", b"\2", b"\5"):
            raise LayoutError("it does not begin as a NetCDF file does")
        try:
            return _NetCDF(data).layout(size)
        except struct.error:
            if n_bytes >= min(size, _MOST_NETCDF_HEADER_BYTES):
                raise LayoutError("its header is cut short") from None
            n_bytes *= 8
        except LayoutError:
            raise
        except (KeyError, IndexError, ValueError, OverflowError, TypeError) as error:
            raise LayoutError(f"its header is damaged: {error!r}") from error


class _NetCDF:
    """Reads the header of a classic NetCDF file from its start."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 4
        self._version = data[3]

    def layout(self, size: int) -> Layout:
        n_records = self._count()
        dimensions = self._listed(lambda: (self._name(), self._count()))
        attributes = dict(self._listed(self._attribute))
        variables = self._listed(self._variable)
        lengths = dict(dimensions)
        if any(length < 0 for length in lengths.values()):
            raise LayoutError("a dimension of its header is shorter than nothing")
        record = next((number for number, (_, length) in enumerate(dimensions) if length == 0), -1)
        names = [name for name, *_ in variables]
        conventions = str(attributes.get("Conventions", "")).replace(",", " ").split()
        if "AMBER" not in conventions or "coordinates" not in names or lengths.get("spatial") != 3:
            raise LayoutError("it is a NetCDF file, but no trajectory by the AMBER convention")
        found, steps, begins = {}, [], []
        for name, axes, of_variable, dtype, begin in variables:
            shape = tuple(dimensions[axis][1] for axis in axes)
            if axes[:1] != [record]:
                continue
            n_bytes = int(np.prod(shape[1:], dtype=np.float64)) * dtype.itemsize
            steps.append((n_bytes, -(-n_bytes // _WORD) * _WORD))
            begins.append(begin)
            found[name] = (begin, dtype, shape[1:], of_variable.get("scale_factor"))
        n_atoms = lengths.get("atom", 0)
        if "coordinates" not in found or found["coordinates"][2] != (n_atoms, 3) or n_atoms <= 0:
            raise LayoutError("its coordinates are not of frames, atoms and three axes")
        # One variable alone is not padded.
        length = steps[0][0] if len(steps) == 1 else sum(padded for _, padded in steps)
        start = min(begins)
        if start < 0 or any(
            not 0 <= begin - start <= length - n_bytes
            for begin, (n_bytes, _) in zip(begins, steps, strict=True)
        ):
            raise LayoutError("the variables of its header overlap")
        there = max(0, (size - start) // length)
        n_frames = there if n_records in _UNKNOWN_COUNT else min(max(0, n_records), there)
        missing = f"{n_records - there} of {n_records} frames are missing" if n_records > there else ""
        header = NetCDFHeader(
            {
                name: NetCDFVariable(begin - start, dtype, shape, None if scale is None else float(scale[0]))
                for name, (begin, dtype, shape, scale) in found.items()
            },
            8 if self._version == 5 else 4,
        )
        return Layout(n_atoms, EvenStarts(start, length, length, n_frames), header, missing)

    def _take(self, kind: str) -> int:
        (value,) = struct.unpack_from(">" + kind, self._data, self._at)
        self._at += struct.calcsize(">" + kind)
        return int(value)

    def _count(self) -> int:
        return self._take("q" if self._version == 5 else "i")

    def _raw(self, n_bytes: int) -> bytes:
        if n_bytes < 0:
            raise LayoutError("its header is damaged: a length below zero")
        value = self._data[self._at : self._at + n_bytes]
        if len(value) < n_bytes:
            raise struct.error("the header goes on")
        self._at += -(-n_bytes // _WORD) * _WORD
        return value

    def _name(self) -> str:
        return self._raw(self._count()).decode()

    def _listed(self, entry: Callable[[], Any]) -> list[Any]:
        self._take("i")  # what is listed, or zero
        return [entry() for _ in range(self._count())]

    def _attribute(self) -> tuple[str, Any]:
        name, kind = self._name(), self._take("i")
        dtype = np.dtype(_TYPES[kind])
        raw = self._raw(self._count() * dtype.itemsize)
        return name, raw.decode("utf-8", "replace") if kind == 2 else np.frombuffer(raw, dtype)

    def _variable(self) -> tuple[str, list[int], dict[str, Any], np.dtype[Any], int]:
        name = self._name()
        axes = [self._count() for _ in range(self._count())]
        attributes = dict(self._listed(self._attribute))
        dtype = np.dtype(_TYPES[self._take("i")])
        self._count()  # its size, which says too little of large variables
        return name, axes, attributes, dtype, self._take("i" if self._version == 1 else "q")


# --- TRR and XTC ----------------------------------------------------------------------------------------


def layout_of_lengths(lengths: NDArray[np.uint32], size: int, read: Read) -> Layout:
    """Return where the frames of a TRR or XTC file lie whose lengths are known."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    try:
        n_atoms, _ = frame_size(read(0, HEADER_BYTES))
    except ValueError as error:
        raise LayoutError(str(error)) from error
    return Layout(n_atoms, starts, None, _rest(size - int(starts[-1])))


def scanned_layout(read: Read, size: int) -> Layout:
    """Return where the frames of a TRR or XTC file lie, by reading the header of each.

    Those of a TRR file are taken to be as long as the first if some of them, all over the file, are: whoever
    reads a frame looks at its header, and finds it out if that was wrong.

    Raises
    ------
    LayoutError
        If it does not begin with a frame.
    """
    try:
        n_atoms, length = frame_size(read(0, HEADER_BYTES))
    except ValueError as error:
        raise LayoutError(str(error)) from error
    if _is_even(read, size, length):
        return Layout(n_atoms, EvenStarts(0, length, length, size // length))
    starts, at = [0], 0
    while at < size:
        try:
            _, length = frame_size(read(at, HEADER_BYTES))
        except ValueError:
            break
        if at + length > size:
            break
        at += length
        starts.append(at)
    return Layout(n_atoms, np.array(starts, np.int64), None, _rest(size - at))


def _is_even(read: Read, size: int, length: int) -> bool:
    n_frames, rest = divmod(size, length)
    if rest or n_frames < 9:
        return False
    places = sorted({1, n_frames - 1, *(n_frames * part // 7 for part in range(1, 7))})
    try:
        first = trr_header(read(0, HEADER_BYTES)).shape
        return all(trr_header(read(place * length, HEADER_BYTES)).shape == first for place in places)
    except ValueError:
        return False


def _rest(n_bytes: int) -> str:
    return f"{n_bytes} bytes after the last whole frame are none" if n_bytes > 0 else ""

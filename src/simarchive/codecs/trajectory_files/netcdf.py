"""The classic NetCDF format, NetCDF-3, and the trajectories that AMBER and others write in it.

References
----------
"NetCDF File Format Specifications", Appendix B, with the variants for 64-bit offsets and data; AMBER NetCDF
trajectory convention, revision C.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simarchive.codecs.trajectory_files.layout import EvenStarts, Layout, LayoutError, Read

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
_FIRST_READ_BYTES = 1 << 14
# A hundred times that of any program; what is longer is no header.
_MOST_HEADER_BYTES = 1 << 20
_WORD = 4


@dataclass(frozen=True)
class NetCDFVariable:
    """A variable.

    Attributes
    ----------
    offset
        Where it lies: in a record if it grows, else in the file.
    shape
        Of its values in one record if it grows, else of all.
    scale
        What its numbers are multiplied with; None if that is not said.
    """

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float | None

    @property
    def n_bytes(self) -> int:
        """The length of its values, in one record if it grows."""
        # As floats: a hostile header must not overflow.
        return int(np.prod(self.shape, dtype=np.float64)) * self.dtype.itemsize


@dataclass(frozen=True)
class NetCDFHeader:
    """The header of a classic NetCDF file.

    Attributes
    ----------
    n_records
        How many values each variable that grows has; negative if whoever wrote it did not know yet.
    dimensions
        Their lengths by name, 0 for the one that grows.
    attributes
        Those of the file by name: texts, and arrays of numbers.
    variables, fixed
        Variables that grow, and those that do not, by name.
    start, record_bytes
        Where the records begin, and the length of each; 0 if nothing grows.
    count_bytes
        So long is the number of records, at byte 4 of the file.
    """

    n_records: int
    dimensions: dict[str, int]
    attributes: dict[str, Any]
    variables: dict[str, NetCDFVariable]
    fixed: dict[str, NetCDFVariable]
    start: int
    record_bytes: int
    count_bytes: int

    @property
    def conventions(self) -> list[str]:
        """The conventions that the file says it follows."""
        return str(self.attributes.get("Conventions", "")).replace(",", " ").split()


def netcdf_header(read: Read, size: int) -> NetCDFHeader:
    """Return the header of a NetCDF file of the classic format, in any of its three variants.

    Parameters
    ----------
    size
        Of the file, or of what there is of it.

    Raises
    ------
    LayoutError
        If it is none.
    """
    n_bytes = _FIRST_READ_BYTES
    while True:
        data = read(0, n_bytes)
        if data[:8] == b"\x89HDF\r\n\x1a\n":
            raise LayoutError("it is a NetCDF-4 file, and only the classic format, NetCDF-3, can be")
        if data[:3] != b"CDF" or data[3:4] not in (b"\1", b"\2", b"\5"):
            raise LayoutError("it does not begin as a NetCDF file does")
        try:
            return _Parser(data).header()
        except struct.error:
            if n_bytes >= min(size, _MOST_HEADER_BYTES):
                raise LayoutError("its header is cut short") from None
            n_bytes *= 8
        except LayoutError:
            raise
        except (KeyError, IndexError, ValueError, OverflowError, TypeError) as error:
            raise LayoutError(f"its header is damaged: {error!r}") from error


def netcdf_layout(read: Read, size: int) -> Layout:
    """Return where the frames of an AMBER trajectory in the classic NetCDF format lie.

    Raises
    ------
    LayoutError
        If it is none.
    """
    return layout_of_header(netcdf_header(read, size), size)


def layout_of_header(header: NetCDFHeader, size: int) -> Layout:
    """Return where the frames lie of a file with a header; errors as of `netcdf_layout`."""
    coordinates = header.variables.get("coordinates")
    known = coordinates or header.fixed.get("coordinates")
    if "AMBER" not in header.conventions or known is None or header.dimensions.get("spatial") != 3:
        raise LayoutError("it is a NetCDF file, but no trajectory by the AMBER convention")
    n_atoms = header.dimensions.get("atom", 0)
    if coordinates is None or coordinates.shape != (n_atoms, 3) or n_atoms <= 0:
        raise LayoutError("its coordinates are not of frames, atoms and three axes")
    start, length = header.start, header.record_bytes
    there = max(0, (size - start) // length)
    n_records = header.n_records
    n_frames = there if n_records in _UNKNOWN_COUNT else min(max(0, n_records), there)
    missing = f"{n_records - there} of {n_records} frames are missing" if n_records > there else ""
    return Layout(n_atoms, EvenStarts(start, length, length, n_frames), header, missing)


class _Parser:
    """Reads the header of a classic NetCDF file from its start; `struct.error` means that it goes on."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 4
        self._version = data[3]

    def header(self) -> NetCDFHeader:
        n_records = self._count()
        dimensions = self._listed(lambda: (self._name(), self._count()))
        if any(length < 0 for _, length in dimensions):
            raise LayoutError("a dimension of its header is shorter than nothing")
        attributes = dict(self._listed(self._attribute))
        growing = next((number for number, (_, length) in enumerate(dimensions) if length == 0), -1)
        fixed: dict[str, NetCDFVariable] = {}
        begins: dict[str, NetCDFVariable] = {}
        for name, axes, of_variable, dtype, begin in self._listed(self._variable):
            grows = axes[:1] == [growing]
            shape = tuple(dimensions[axis][1] for axis in axes)[1 if grows else 0 :]
            scale = of_variable.get("scale_factor")
            variable = NetCDFVariable(begin, dtype, shape, None if scale is None else float(scale[0]))
            (begins if grows else fixed)[name] = variable
        start, record_bytes = _record(begins)
        variables = {
            name: NetCDFVariable(found.offset - start, found.dtype, found.shape, found.scale)
            for name, found in begins.items()
        }
        count_bytes = 8 if self._version == 5 else 4
        return NetCDFHeader(
            n_records, dict(dimensions), attributes, variables, fixed, start, record_bytes, count_bytes
        )

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


def _record(variables: dict[str, NetCDFVariable]) -> tuple[int, int]:
    """Return where the records of variables that grow begin, and the length of each."""
    if not variables:
        return 0, 0
    sizes = [variable.n_bytes for variable in variables.values()]
    # One variable alone is not padded.
    length = sizes[0] if len(sizes) == 1 else sum(-(-size // _WORD) * _WORD for size in sizes)
    start = min(variable.offset for variable in variables.values())
    if start < 0 or any(
        variable.offset - start > length - variable.n_bytes for variable in variables.values()
    ):
        raise LayoutError("the variables of its header overlap")
    return start, length

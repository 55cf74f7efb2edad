"""The frames of a member as they lie in it, one at a time, each checked before it is used."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.trajectory_files.formats import FORMATS, LAYOUTS
from simarchive.codecs.trajectory_files.layout import Layout, LayoutError
from simarchive.codecs.trajectory_files.xdr import (
    HEADER_BYTES,
    TRRHeader,
    frame_size,
    layout_of_lengths,
    trr_header,
)
from simarchive.container.members import ChunkWindow
from simarchive.container.open_members.chunks import MemberChunks
from simarchive.errors import FrameReadError, InvalidDataError, StorageError
from simarchive.ground.limits import LIMITS, in_bytes

Array = NDArray[Any]

_READ_ERRORS = (OSError, EOFError, ValueError, struct.error)


class Source:
    """The frames of one member.

    Parameters
    ----------
    chunks
        Where its stored chunks come from.

    Raises
    ------
    InvalidDataError
        If the member is no trajectory of this format.

    Warns
    -----
    UserWarning
        If its end is cut off, or followed by something else. The whole frames can be read.
    """

    format = ""

    def __init__(self, chunks: MemberChunks) -> None:
        self.chunks = chunks
        self.label = f"member {chunks.name!r} of object {chunks.key!r}"
        self.window = ChunkWindow(chunks)
        with self.errors("its frames cannot be found"):
            try:
                self.layout = self._find_layout()
            except LayoutError as error:
                raise InvalidDataError(
                    f"{self.label} is no {self.format} trajectory that can be read in place: {error}"
                ) from error
        self.n_atoms, self.n_frames = self.layout.n_atoms, self.layout.n_frames
        frame_bytes = 3 * 4 * self.n_atoms
        if frame_bytes > LIMITS.array_bytes and self.n_atoms > self.window.size:
            raise InvalidDataError(
                f"{self.label} claims {self.n_atoms} atoms, {in_bytes(frame_bytes)} a frame, in"
                f" {in_bytes(self.window.size)}; {LIMITS.hint(LIMITS.array_bytes)}"
            )
        if self.layout.missing:
            warnings.warn(
                f"{self.label}: {self.layout.missing}; its {self.n_frames} whole frames can be read",
                stacklevel=2,
            )

    def __len__(self) -> int:
        return self.n_frames

    def _find_layout(self) -> Layout:
        return LAYOUTS[self.format](self.window.read, self.window.size)

    def frame(self, number: int) -> memoryview:
        """Return the bytes of a frame: good until the next call.

        Raises
        ------
        FrameReadError
            If they cannot be read, or are no frame.
        CorruptMemberError
            If a chunk that holds them does not match its check.
        """
        if not 0 <= number < self.n_frames:
            raise FrameReadError(f"{self.label} has {self.n_frames} frames: there is no frame {number}")
        starts = self.layout.starts
        try:
            data = self.window.view(int(starts[number]), int(starts[number + 1]))
            self._check(data, number)
        except _READ_ERRORS as error:
            self._fail(error, f"frame {number} cannot be read")
        return data

    def _check(self, data: memoryview, number: int) -> None:
        """Raise ValueError if these bytes are no frame of this trajectory."""

    def close(self) -> None:
        """Forget what was decoded."""
        self.window.close()

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn the errors of reading and of parsing into `FrameReadError`, which nobody takes for an end."""
        try:
            yield
        except _READ_ERRORS as error:
            self._fail(error, what)

    def _fail(self, error: Exception, what: str) -> NoReturn:
        if isinstance(error, StorageError) and not isinstance(error, OSError):
            raise error
        raise FrameReadError(f"{self.label}: {what}: {error}") from error


class DCDSource(Source):
    """A DCD file."""

    format = "DCD"

    def __init__(self, chunks: MemberChunks) -> None:
        super().__init__(chunks)
        header = self.layout.header
        self._real = np.dtype(header.order + "f4")
        self._first: NDArray[np.float32] | None = None

    def _find_layout(self) -> Layout:
        layout = super()._find_layout()
        if layout.header.holds_velocities:
            raise LayoutError("its frames are velocities, not coordinates")
        return layout

    def _check(self, data: memoryview, number: int) -> None:
        if not self.layout.header.has_markers(lambda at, n_bytes: data[at : at + n_bytes], number):
            raise ValueError("its records do not have the lengths that they should")

    def raw(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Return coordinates as they lie there, good until the next call, and the six numbers of the cell.

        Coordinates have the shape (n_atoms, 3) and the byte order of the file.
        """
        header = self.layout.header
        cell = None
        if header.free is None or number == 0:
            data = self.frame(number)
            xyz = self._axes(data, self.n_atoms).T
        else:
            if self._first is None:
                self._first = self._axes(self.frame(0), self.n_atoms).T.astype(np.float32)
            data = self.frame(number)
            xyz = self._first.copy()
            xyz[header.free] = self._axes(data, len(header.free)).T
        if header.has_cell:
            cell = header.cell(data)
        return xyz, cell

    def _axes(self, data: memoryview, n_atoms: int) -> Array:
        header = self.layout.header
        skipped = 48 + 2 * header.marker_bytes if header.has_cell else 0
        words, marker = np.frombuffer(data, self._real, offset=skipped), header.marker_bytes // 4
        return words.reshape(header.n_axes, n_atoms + 2 * marker)[:3, marker : marker + n_atoms]


class NetCDFSource(Source):
    """An AMBER trajectory in the classic NetCDF format."""

    format = "NCDF"

    def __init__(self, chunks: MemberChunks) -> None:
        super().__init__(chunks)
        self._number, self._data = -1, memoryview(b"")

    @property
    def names(self) -> list[str]:
        """The names of the variables that have a value for each frame."""
        return list(self.layout.header.variables)

    def raw(self, number: int, name: str) -> Array:
        """Return one variable of a frame as it lies there, unscaled, good until another frame is read."""
        if number != self._number:
            self._number = -1
            self._data = self.frame(number)
            self._number = number
        variable = self.layout.header.variables[name]
        return np.ndarray(variable.shape, variable.dtype, self._data, variable.offset)

    def scaled(self, number: int, name: str) -> Array | None:
        """Return one variable of a frame times its scale factor; None if there is none of this name."""
        variable = self.layout.header.variables.get(name)
        if variable is None:
            return None
        raw = self.raw(number, name)
        return raw if variable.scale is None or np.isclose(variable.scale, 1) else raw * variable.scale


class XDRSource(Source):
    """A TRR or an XTC file."""

    def _find_layout(self) -> Layout:
        size = self.window.size
        lengths = self.chunks.frame_lengths()
        if lengths is not None:
            return layout_of_lengths(lengths, size, self.window.read, self.format)
        with self.chunks.peeking() as peek:

            def read(at: int, n_bytes: int) -> bytes:
                found = peek(at, min(n_bytes, size - at))
                return self.window.read(at, n_bytes) if found is None else found

            return LAYOUTS[self.format](read, size)

    def _check(self, data: memoryview, number: int) -> None:
        n_atoms, n_bytes = frame_size(data[:HEADER_BYTES])
        if (n_atoms, n_bytes) != (self.n_atoms, len(data)):
            raise ValueError(
                f"there is a frame of {n_atoms} atoms and {n_bytes} bytes in place of {self.n_atoms} and"
                f" {len(data)}"
            )


class XTCSource(XDRSource):
    """An XTC file; its frames are compressed."""

    format = "XTC"


class TRRSource(XDRSource):
    """A TRR file."""

    format = "TRR"

    def raw(self, number: int) -> tuple[TRRHeader, dict[str, Array]]:
        """Return the header of a frame, and its arrays as they lie there: box, x, v, f.

        Arrays are good until the next call, in nanometres and picoseconds, big-endian, float32 or float64.
        """
        data = self.frame(number)
        header = trr_header(data[:HEADER_BYTES])
        real, at, arrays = f">f{header.real_bytes}", header.header_bytes, {}
        if header.box_bytes:
            arrays["box"] = np.ndarray((3, 3), real, data, at)
        at += header.box_bytes + header.skipped_bytes
        for name, n_bytes in (("x", header.x_bytes), ("v", header.v_bytes), ("f", header.f_bytes)):
            if n_bytes:
                arrays[name] = np.ndarray((header.n_atoms, 3), real, data, at)
            at += n_bytes
        return header, arrays


SOURCES: dict[str, type[Source]] = {
    source.format: source for source in (DCDSource, NetCDFSource, TRRSource, XTCSource)
}


def format_of(name: str) -> str:
    """Return the format of a trajectory by its name.

    Raises
    ------
    InvalidDataError
        If it has none of the extensions.
    """
    extension = "." + name.lower().rpartition(".")[2]
    if extension not in FORMATS:
        raise InvalidDataError(
            f"file {name!r} is no trajectory that can be read in place: its name ends in none of"
            f" {', '.join(FORMATS)}"
        )
    return FORMATS[extension]


def open_source(chunks: MemberChunks) -> Source:
    """Return the frames of a member, whose format its name says; errors as those of `Source`."""
    return SOURCES[format_of(chunks.name)](chunks)

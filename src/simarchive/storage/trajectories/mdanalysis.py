"""Members for MDAnalysis: ``Universe("a.h5::<key>/x.pdb", "a.h5::<key>/x.dcd")``. To import this is enough.

The readers are those of MDAnalysis, which interpret headers, units, cells and times; only the object that
they take frames from is ours. Readers of DCD and NetCDF are opened on an excerpt in memory, and then given
the whole; those of TRR and XTC take a class that opens files. This rests on names that MDAnalysis does not
document: the tests compare every trajectory of its test suite with its own readers.

A reader knows its member by an address, which is text. So it can be copied, pickled and sent to other
processes, and a forked child opens the container anew.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from simarchive.codecs.trajectory_files.formats import FORMATS
from simarchive.container.members import ChunkWindow
from simarchive.errors import FrameReadError, InvalidDataError, StorageError
from simarchive.storage.trajectories import address as addresses
from simarchive.storage.trajectories.address import Address
from simarchive.storage.trajectories.excerpt import excerpt
from simarchive.storage.trajectories.source import (
    DCDSource,
    NetCDFSource,
    Source,
    TRRSource,
    XTCSource,
    open_source,
)
from simarchive.storage.trajectories.xtc import SlotFile

try:
    import MDAnalysis
    from MDAnalysis.coordinates.base import ReaderBase
    from MDAnalysis.coordinates.DCD import DCDReader
    from MDAnalysis.coordinates.TRJ import NCDFReader
    from MDAnalysis.coordinates.TRR import TRRReader
    from MDAnalysis.coordinates.XTC import XTCReader
    from MDAnalysis.core._get_readers import get_parser_for, get_reader_for
    from MDAnalysis.lib.formats.libdcd import DCDFrame
    from MDAnalysis.lib.formats.libmdaxdr import TRRFrame, XTCFile
    from MDAnalysis.lib.util import NamedStream, guess_format
    from MDAnalysis.topology.base import TopologyReaderBase
    from MDAnalysis.topology.MinimalParser import MinimalParser
except ImportError as error:
    raise InvalidDataError(
        "MDAnalysis is not installed, or is not a version that is supported: "
        f"pip install 'simarchive[trajectories]' ({error})"
    ) from error

_FORMAT = "SIMARCHIVE"
# Files that parsers read as bytes.
_BINARY = (".tpr", ".gsd", ".mmtf", ".ncrst")


def universe(topology: Address, *trajectories: Address, **options: Any) -> MDAnalysis.Universe:
    """Return a universe of members; `options` are those of `MDAnalysis.Universe`.

    Raises
    ------
    InvalidDataError
        If MDAnalysis cannot make one of them.
    """
    try:
        return MDAnalysis.Universe(str(topology), *map(str, trajectories), **options)
    except StorageError:
        raise
    except Exception as error:
        # Its parsers raise whatever they stumble over.
        names = ", ".join(address.name for address in (topology, *trajectories))
        raise InvalidDataError(
            f"object {topology.key!r}: MDAnalysis makes no universe of {names}: {error}"
        ) from error


class _WholeMember(NamedStream):  # type: ignore[misc]
    """A whole member as what MDAnalysis takes for an open file; pickled, it is an address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        window = ChunkWindow(address.chunks())
        data = window.read(0, window.size)
        window.close()
        stream: io.IOBase
        try:
            is_binary = address.extension in _BINARY
            stream = io.BytesIO(data) if is_binary else io.StringIO(data.decode())
        except UnicodeDecodeError as error:
            raise InvalidDataError(
                f"member {address.name!r} of object {address.key!r} is no text: {error}"
            ) from error
        super().__init__(stream, address.name)

    def __del__(self) -> None:
        if "stream" in self.__dict__:
            super().__del__()

    def __reduce__(self) -> Any:
        return type(self), (self._address,)


def _has_reader(name: str) -> bool:
    """Return whether MDAnalysis has a reader for the extension of a name."""
    try:
        get_reader_for(name, format=guess_format(name))
    except (ValueError, TypeError):
        return False
    return True


class MemberReader(ReaderBase):  # type: ignore[misc]
    """Takes addresses; gives a reader of the format that ``format`` or the name of the member says."""

    format = _FORMAT

    @staticmethod
    def _format_hint(thing: Any) -> bool:
        # Not a topology that has no coordinates, which a universe does without.
        return addresses.is_address(thing) and _has_reader(os.fspath(thing))

    def __new__(cls, filename: Any, *arguments: Any, **options: Any) -> Any:
        """Return a new reader of the class for the format."""
        if cls is not MemberReader:
            return super().__new__(cls)
        address = addresses.find(filename)
        wanted = options.get("format")
        kind = FORMATS.get(address.extension) if wanted in (None, _FORMAT) else str(wanted).upper()
        if kind in READERS:
            return super().__new__(READERS[kind])
        # PDB, GRO and others are read whole. The reader is not of this class, so it is made here.
        stream = _WholeMember(address)
        others = {name: value for name, value in options.items() if name != "format"}
        return get_reader_for(stream)(stream, **others)

    def _find(self, filename: Any) -> Address:
        self._auxs: dict[str, Any] = {}  # `ReaderBase.__del__` wants it, should opening fail
        self.address = addresses.find(filename)
        return self.address

    def _opened(self) -> None:
        self.filename = self._kwargs["filename"] = str(self.address)

    def close(self) -> None:
        """Close the reader, if it was ever open."""
        if "ts" in self.__dict__:
            super().close()

    def _position(self) -> int:
        # Not `ts.frame`, which is that of the whole chain in a `ChainReader`.
        return int(self._frame)

    def __reduce__(self) -> Any:
        options = {name: value for name, value in self._kwargs.items() if name not in ("filename", "kwargs")}
        options |= self._kwargs.get("kwargs", {})
        state = (self._position(), self.ts, self.transformations, self._auxs)
        return _opened_again, (type(self), str(self.address), options, *state)


def _opened_again(
    cls: type[MemberReader],
    address: str,
    options: dict[str, Any],
    position: int,
    ts: Any,
    transformations: Any,
    auxs: dict[str, Any],
) -> MemberReader:
    """Return a reader as it was when it was pickled."""
    reader: MemberReader = cls(address, **options)
    if transformations:
        reader.add_transformations(*transformations)
    for name, aux in auxs.items():
        reader.add_auxiliary(name, aux)
    if position >= 0:
        reader[position]
    else:
        reader._reopen()
    reader.ts = ts
    return reader


def _is_readable(source: Source) -> None:
    """Raise FrameReadError for a trajectory without a frame, which the readers of MDAnalysis cannot open."""
    if not len(source):
        raise FrameReadError(f"{source.label} has no whole frame")


# --- DCD ------------------------------------------------------------------------------------------------


class _DCDFrames:
    """Does what `DCDFile` of MDAnalysis does, for its reader. Coordinates are good until the next read."""

    def __init__(self, source: DCDSource, header: dict[str, Any], position: int) -> None:
        self._source, self.header, self._next = source, header, position
        self.n_frames = len(source)

    def __len__(self) -> int:
        return self.n_frames

    def read(self) -> Any:
        xyz, cell = self._source.raw(self._next)
        self._next += 1
        return DCDFrame(xyz, np.zeros(6) if cell is None else cell)

    def readframes(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int | None = None,
        order: str = "fac",
        indices: Any = None,
    ) -> Any:
        numbers = range(self.n_frames)[start:stop:step]
        chosen = slice(None) if indices is None else indices
        lengths = {
            "f": len(numbers),
            "a": self.header["natoms"] if indices is None else len(indices),
            "c": 3,
        }
        out = np.empty([lengths[axis] for axis in order], np.float32)
        by_frame = np.moveaxis(out, [order.index(axis) for axis in "fac"], [0, 1, 2])
        cells = np.zeros((len(numbers), 6))
        for place, number in enumerate(numbers):
            xyz, cell = self._source.raw(number)
            by_frame[place] = xyz[chosen]
            if cell is not None:
                cells[place] = cell
        return DCDFrame(out, cells)

    def seek(self, frame: int) -> None:
        if not 0 <= frame < self.n_frames:
            raise EOFError(f"there is no frame {frame}")
        self._next = frame

    def tell(self) -> int:
        return self._next

    def open(self, mode: str = "r") -> None:
        self._next = 0

    def close(self) -> None:
        """Do nothing: the reader closes and opens to begin anew."""


class MemberDCDReader(MemberReader, DCDReader):  # type: ignore[misc]
    """DCD where it lies."""

    _file: Any

    def __init__(self, filename: Any, **options: Any) -> None:
        self._source = DCDSource(self._find(filename).chunks())
        _is_readable(self._source)
        options.pop("format", None)
        with excerpt(self._source, range(min(2, len(self._source)))) as path:
            super().__init__(path, **options)
            header, position = dict(self._file.header), self._file.tell()
            self._file.close()
        self._file = _DCDFrames(self._source, header, position)
        self._opened()

    def close(self) -> None:
        """Close the reader, and forget what was decoded."""
        super().close()
        if "_source" in self.__dict__:
            self._source.close()


# --- NetCDF ---------------------------------------------------------------------------------------------


class _Variable:
    def __init__(self, source: NetCDFSource, name: str) -> None:
        self._source, self._name = source, name

    def __getitem__(self, frame: int) -> Any:
        if not 0 <= frame < len(self._source):
            raise IndexError(frame)
        raw = self._source.raw(frame, self._name)
        # The reader holds the times of two frames at once, and passes them on.
        return raw if raw.ndim == 2 else raw[()] if raw.ndim == 0 else raw.copy()


class _NetCDFFrames:
    """What the reader of MDAnalysis uses of `scipy.io.netcdf_file`."""

    def __init__(self, source: NetCDFSource) -> None:
        self._source = source
        self.variables = {name: _Variable(source, name) for name in source.names}

    def close(self) -> None:
        self._source.close()


class MemberNCDFReader(MemberReader, NCDFReader):  # type: ignore[misc]
    """AMBER NetCDF where it lies."""

    trjfile: Any

    def __init__(self, filename: Any, **options: Any) -> None:
        source = NetCDFSource(self._find(filename).chunks())
        _is_readable(source)
        options.pop("format", None)
        with excerpt(source, range(min(2, len(source)))) as path:
            super().__init__(path, **{**options, "mmap": False})
            self.trjfile.close()
        self.trjfile = _NetCDFFrames(source)
        self.n_frames = len(source)
        self._opened()

    def _position(self) -> int:
        return int(self._current_frame)


# --- TRR and XTC ----------------------------------------------------------------------------------------


class _TRRFrames:
    """Does what `TRRFile` of MDAnalysis does, for its reader."""

    def __init__(self, source: TRRSource) -> None:
        self._source, self._next = source, 0
        self.n_atoms = source.n_atoms

    def __len__(self) -> int:
        return len(self._source)

    def read(self) -> Any:
        return self.read_direct_xvf(*(np.empty((self.n_atoms, 3), np.float32) for _ in "xvf"))

    def read_direct_xvf(self, positions: Any, velocities: Any, forces: Any) -> Any:
        if self._next >= len(self._source):
            raise StopIteration
        header, raw = self._source.raw(self._next)
        self._next += 1
        with np.errstate(over="ignore", invalid="ignore"):  # from double to single precision
            for name, out in (("x", positions), ("v", velocities), ("f", forces)):
                if name in raw:
                    out[:] = raw[name]
            box = raw["box"].astype(np.float32) if "box" in raw else np.zeros((3, 3), np.float32)
            time, lambda_ = (float(np.float32(value)) for value in (header.time, header.lambda_))
        held = (name in raw for name in "xvf")
        return TRRFrame(positions, velocities, forces, box, header.step, time, lambda_, *held)

    def seek(self, frame: int) -> None:
        if not 0 <= frame < len(self):
            raise EOFError(f"there is no frame {frame}")
        self._next = frame

    def close(self) -> None:
        self._source.close()


class _MemberXDRReader(MemberReader):
    """What TRR and XTC share: where the frames lie is known, and no file of offsets is kept."""

    def __init__(self, filename: Any, **options: Any) -> None:
        self._find(filename)
        options.pop("format", None)
        options["refresh_offsets"] = False
        super().__init__(str(self.address), **options)
        self._opened()

    def _load_offsets(self) -> None:
        """Do nothing: they are known."""

    def _read_offsets(self, store: bool = False) -> None:
        """Do nothing: they are known."""

    def _reopen(self) -> None:
        self.ts.frame, self._frame = 0, -1
        self._xdr.seek(0)

    def _read_frame(self, i: int) -> Any:
        self._frame = i - 1
        self._xdr.seek(i)
        return self._read_next_timestep()


class MemberXTCReader(_MemberXDRReader, XTCReader):  # type: ignore[misc]
    """XTC where it lies."""

    def _file(self, filename: str) -> SlotFile:
        source = XTCSource(self.address.chunks())
        _is_readable(source)
        return SlotFile(XTCFile, source)


class MemberTRRReader(_MemberXDRReader, TRRReader):  # type: ignore[misc]
    """TRR where it lies."""

    def _file(self, filename: str) -> _TRRFrames:
        source = TRRSource(self.address.chunks())
        _is_readable(source)
        return _TRRFrames(source)


READERS: dict[str, type[MemberReader]] = {
    "DCD": MemberDCDReader,
    "NCDF": MemberNCDFReader,
    "NC": MemberNCDFReader,
    "TRR": MemberTRRReader,
    "XTC": MemberXTCReader,
}


class MemberTopologyParser(TopologyReaderBase):  # type: ignore[misc]
    """Topologies from members, by the parsers of MDAnalysis."""

    format = _FORMAT

    @staticmethod
    def _format_hint(thing: Any) -> bool:
        return addresses.is_address(thing)

    def parse(self, **options: Any) -> Any:
        """Return the topology that the member holds."""
        address = addresses.find(self.filename)
        if address.extension in FORMATS:
            source = open_source(address.chunks())
            source.close()
            with MinimalParser(str(address)) as minimal:
                return minimal.parse(n_atoms=source.n_atoms, **options)
        stream = _WholeMember(address)
        with get_parser_for(stream)(stream) as parser:
            return parser.parse(**options)

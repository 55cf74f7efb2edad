"""The map of a container for readers elsewhere: what HDF5 reads is found out by reading all of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import h5py
from h5py import h5d, h5g

from simarchive.container import members, nodes
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.new_file import LIBVER
from simarchive.container.rescue.overlay import Overlay
from simarchive.errors import StorageError
from simarchive.ground import attention
from simarchive.journal import PagedFile
from simarchive.journal.files import OpenFile
from simarchive.journal.seal import SEAL_BYTES, Seal
from simarchive.remote.fetching import Range
from simarchive.remote.map_format import TRAILER_BYTES, Map, Trailer
from simarchive.remote.map_writing import MapWriter

# Arrays up to this size are in the map; a larger one is fetched when somebody uses it.
_SMALL_ARRAY_BYTES = 4096
_MOST_DEPTH = 4  # of groups in the group of an object


def append_map(path: Path) -> int:
    """Append its map to a container that is closed and has no log; return how many bytes it takes.

    Raises
    ------
    FormatError
        If it is not closed.
    CorruptError
        If its objects cannot be listed.
    """
    with path.open("r+b") as file:
        writer = MapWriter(file, str(path))
        with _observed(file, writer.end) as (contents, reads):
            _read_what_all_need(contents)
            keys = contents.names()
            places = {key: place for key in keys for place in nodes.link_places(contents.objects, [key])}
            writer.add_first(reads.taken())
            walk = _Walk(reads)
            for key, place in places.items():
                attention.note(key)
                with contextlib.suppress(*nodes.UNREADABLE):
                    walk.read(nodes.open_group(contents.objects, key))
                writer.add_object(place, reads.taken())
        return writer.write()


def map_faults(container: Container) -> list[str] | None:
    """Return what is wrong with the map of a container, in words; ``None`` if it has none.

    Each block is compared with its digest, and what it holds with the bytes of the file.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    file = OpenFile(container.files, str(container.path), writable=False)
    with contextlib.closing(file):
        size = file.status().st_size
        tail = file.read(TRAILER_BYTES, max(0, size - TRAILER_BYTES))
        try:
            trailer = Trailer.at_end_of(tail, size)
            if trailer is None:
                return None
            found = Map(trailer, file.read(trailer.directory_size, trailer.directory_offset))
            seal = Seal.from_bytes(file.read(SEAL_BYTES, trailer.hdf5_end))
            if seal is None or seal.is_pending or seal.state != trailer.state:
                return ["is of another state of the container"]
        except ValueError as error:
            return [f"cannot be used ({error})"]
        return [fault for block in range(found.n_blocks) for fault in _faults_of(file, found, block)]


def _faults_of(file: OpenFile, found: Map, block: int) -> Iterator[str]:
    offset, size = found.block_range(block)
    try:
        data = found.block(block, file.read(size, offset))
    except ValueError as error:
        yield f"is damaged ({error})"
        return
    for start, length, within in found.pieces_of(block):
        if file.read(length, start) != data[within : within + length]:
            yield f"does not say what stands in the file at byte {start}"


class _Reads:
    """Which bytes HDF5 has read since they were last taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ranges: list[Range] = []

    def read_below(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer from the file, and take note of it."""
        self._ranges.append((offset, len(buffer)))
        self._file.seek(offset)
        data = self._file.read(len(buffer))
        buffer[:] = data.ljust(len(buffer), b"\0")

    def mark(self) -> int:
        """Return what `since` takes for the reads from now on."""
        return len(self._ranges)

    def since(self, mark: int) -> list[Range]:
        """Return what was read since a mark."""
        return self._ranges[mark:]

    def add(self, ranges: list[Range]) -> None:
        """Take note of reads that were made before."""
        self._ranges += ranges

    def taken(self) -> list[Range]:
        """Return what was read, and begin anew."""
        ranges, self._ranges = self._ranges, []
        return ranges


@contextlib.contextmanager
def _observed(file: BinaryIO, end: int) -> Iterator[tuple[Contents, _Reads]]:
    reads = _Reads(file)
    below = Overlay(reads.read_below, end)
    handle = h5py.File(below, "r", libver=LIBVER)
    try:
        yield Contents(handle, cast("PagedFile", below)), reads
    finally:
        handle.close()


def _read_what_all_need(contents: Contents) -> None:
    """Read what says which objects there are, and what an index query needs; what is damaged is left out."""
    contents.description()
    nodes.read_all_attributes(contents.root.id)
    nodes.read_all_attributes(contents.objects)
    contents.data_classes()
    for name in contents.tables.class_names():
        with contextlib.suppress(StorageError):
            table = contents.tables.get(name)
            if table is not None:
                table.rows()


class _Walk:
    """Reads all that describes objects, as far as it can be read."""

    def __init__(self, reads: _Reads) -> None:
        self._reads = reads
        self._shared: dict[int, list[Range]] = {}  # what was read of datasets with several names, by address

    def read(self, group: h5g.GroupID, depth: int = 0) -> None:
        """Read a group, and what is in it."""
        nodes.read_all_attributes(group)
        for name in nodes.child_names(group):
            begin = self._reads.mark()
            with contextlib.suppress(*nodes.UNREADABLE):
                node = nodes.open_node(group, name)
                if isinstance(node, h5d.DatasetID):
                    self._read_dataset(node, begin)
                elif isinstance(node, h5g.GroupID) and depth < _MOST_DEPTH:
                    self.read(node, depth + 1)

    def _read_dataset(self, dataset: h5d.DatasetID, begin: int) -> None:
        address, n_names = nodes.address_and_names(dataset)
        if address in self._shared:
            # HDF5 still has it in memory: another reader will not.
            self._reads.add(self._shared[address])
            return
        _read_description(dataset)
        if n_names > 1:
            self._shared[address] = self._reads.since(begin)


def _read_description(dataset: h5d.DatasetID) -> None:
    """Read what describes a dataset, where its chunks lie, and the values of a small array."""
    nodes.read_all_attributes(dataset)
    if members.is_member(h5py.Dataset(dataset)):
        nodes.visit_chunks(dataset, lambda _: None)
        return
    shape, dtype = nodes.array_form(dataset)
    if math.prod(shape) * dtype.itemsize <= _SMALL_ARRAY_BYTES:
        nodes.read_array(dataset)

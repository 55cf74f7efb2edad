"""The map of a container for readers elsewhere: what HDF5 reads is found out by reading all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import h5py
import numpy as np

from simarchive.container import members, nodes
from simarchive.container.contents import Contents
from simarchive.container.new_file import LIBVER
from simarchive.container.rescue.overlay import Overlay
from simarchive.errors import StorageError
from simarchive.ground import attention
from simarchive.journal import PagedFile
from simarchive.remote.fetching import Range
from simarchive.remote.map_writing import MapWriter

# Arrays up to this size are in the map; a larger one is fetched when somebody uses it.
_SMALL_ARRAY_BYTES = 4096


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
            for key, place in places.items():
                attention.note(key)
                _read_object(contents, key)
                writer.add_object(place, reads.taken())
        return writer.write()


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


def _read_object(contents: Contents, key: str) -> None:
    """Read all that describes an object, as far as it can be read."""
    for read in (_read_document, _read_parts, _read_members):
        with contextlib.suppress(StorageError, *nodes.UNREADABLE):
            read(contents, key)


def _read_document(contents: Contents, key: str) -> None:
    nodes.read_all_attributes(contents.node(key))
    contents.tree(key, lambda mark, name: np.zeros(0))
    contents.attribute_faults(key)


def _read_parts(contents: Contents, key: str) -> None:
    group = contents.node(key)
    for link in nodes.child_names(group):
        dataset = nodes.open_dataset(group, link)
        if dataset is None or members.is_member(h5py.Dataset(dataset)):
            continue
        nodes.read_all_attributes(dataset)
        shape, dtype = nodes.array_form(dataset)
        if int(np.prod(shape, dtype=object)) * dtype.itemsize <= _SMALL_ARRAY_BYTES:
            nodes.read_array(dataset)


def _read_members(contents: Contents, key: str) -> None:
    contents.names_of_parts(key)
    contents.n_members_stored(key)
    for info in contents.members(key):
        with contextlib.suppress(StorageError):
            contents.stored_member(key, info.name)
            contents.frame_lengths(key, info.name)

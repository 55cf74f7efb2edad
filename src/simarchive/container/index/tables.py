"""The index tables of an open container, by name."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable

import h5py
from h5py import h5g

from simarchive.container import layout
from simarchive.container.index.table import IndexTable
from simarchive.container.nodes import (
    UNREADABLE,
    child_names,
    create_group,
    link_exists,
    open_own_group,
    put_aside,
    unlink,
)
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.conditions import Column

LOGGER = logging.getLogger("simarchive")


class IndexTables:
    """The tables below /index of one HDF5 handle, each opened when it is first asked for.

    Attributes
    ----------
    distrusted
        Names of tables that turned out to be unusable. It is shared by all views of one container, and
        creating a table again takes its name out.
    settled
        Tables that lack objects, of which some were tried and are not understood by this program either.
    freed
        Whether a table was removed, whose room can be used again.
    """

    def __init__(self, handle: h5py.File, distrusted: set[str]) -> None:
        self._handle = handle
        self.distrusted = distrusted
        self.settled: set[IndexTable] = set()
        self.freed = False
        self._group: h5g.GroupID | None = None
        # What cannot be opened is no index; a new one takes its place.
        with contextlib.suppress(*UNREADABLE):
            self._group = open_own_group(handle.id, layout.INDEX)
        self._tables: dict[str, IndexTable] = {}

    @property
    def exist(self) -> bool:
        """Whether there is a group of index tables at all."""
        return self._group is not None

    def class_names(self) -> list[str]:
        """Return the names of the tables of data classes."""
        if self._group is None:
            return []
        try:
            return [name for name in child_names(self._group) if name != layout.MEMBER_TABLE]
        except UNREADABLE as error:
            raise CorruptError(f"the index tables cannot be listed: {error}: rebuild the index") from error

    def get(self, name: str) -> IndexTable | None:
        """Return an index table, or ``None`` if there is none of that name.

        Raises
        ------
        CorruptError
            If it is damaged, or what has its name is not a group.
        FormatError
            If it was written by another version of the format.
        """
        if name not in self._tables:
            if not self._has(name):
                return None
            assert self._group is not None
            try:
                group = h5py.Group(open_own_group(self._group, name))
            except UNREADABLE as error:
                raise _unreadable(name, str(error)) from error
            self._tables[name] = IndexTable.open(group)
        return self._tables[name]

    def _has(self, name: str) -> bool:
        # A link that leads nowhere counts, too: the name is taken. A name is not a path.
        if self._group is None or not name or name.startswith(".") or "/" in name:
            return False
        return link_exists(self._group, name)

    def create(self, name: str, columns: Iterable[Column]) -> IndexTable:
        """Return a new, empty index table in place of any of that name.

        Raises
        ------
        InvalidDataError
            If the name is not valid Unicode.
        """
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InvalidDataError(f"index table {name!r} has a name that is not valid Unicode") from error
        self.drop(name)
        if self._group is None:
            if link_exists(self._handle.id, layout.INDEX):
                put_aside(self._handle.id, layout.INDEX, layout.INDEX)
            self._group = create_group(self._handle.id, layout.INDEX)
        self._tables[name] = IndexTable.create(h5py.Group(self._group), name, tuple(columns))
        self.distrusted.discard(name)
        return self._tables[name]

    def flush(self) -> None:
        """Have all changes in the file; a table that turns out to be damaged is removed, and distrusted."""
        for name, table in list(self._tables.items()):
            try:
                table.flush()
            except CorruptError as error:
                LOGGER.warning("the index of %s is removed, to be rebuilt: %s", name, error)
                self.drop(name)
                self.distrusted.add(name)

    def drop(self, name: str) -> None:
        """Remove an index table if it is there."""
        self._tables.pop(name, None)
        if not self._has(name):
            return
        assert self._group is not None
        try:
            unlink(self._group, name)
        except UNREADABLE:
            # What HDF5 cannot read it cannot take apart either.
            put_aside(self._group, name, f"{layout.INDEX} {name}")
        self.freed = True


def _unreadable(name: str, what: str) -> CorruptError:
    return CorruptError(
        f"the index table {name!r} cannot be read: {what}: rebuild the index, which loses nothing"
    )

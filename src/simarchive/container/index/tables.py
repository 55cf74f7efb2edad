"""The index tables of an open container, by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import h5py

from simarchive.conditions import Column
from simarchive.container import layout
from simarchive.container.groups import create_group, put_aside
from simarchive.container.index.table import IndexTable
from simarchive.container.links import unlink
from simarchive.container.node_attributes import UNREADABLE
from simarchive.errors import CorruptError

LOGGER = logging.getLogger("simarchive")


class IndexTables:
    """The tables below /index of one HDF5 handle, each opened when it is first asked for.

    Attributes
    ----------
    distrusted
        Names of tables that turned out to be unusable. It is shared by all views of one container, and
        creating a table anew takes its name out.
    freed
        Whether a table was removed, whose room can be used again.
    """

    def __init__(self, handle: h5py.File, distrusted: set[str]) -> None:
        self._handle = handle
        self.distrusted = distrusted
        self.freed = False
        try:
            self._group = handle.get(layout.INDEX)
        except UNREADABLE:
            self._group = None
        self._tables: dict[str, IndexTable] = {}

    @property
    def exist(self) -> bool:
        """Whether there is a group of index tables at all."""
        return self._group is not None

    def class_names(self) -> list[str]:
        """Return the names of the tables of data classes."""
        return [] if self._group is None else [name for name in self._group if name != layout.MEMBER_TABLE]

    def get(self, name: str) -> IndexTable | None:
        """Return an index table, or ``None`` if there is none of that name."""
        if name not in self._tables:
            if self._group is None or name not in self._group:
                return None
            self._tables[name] = IndexTable.open(self._group[name])
        return self._tables[name]

    def create(self, name: str, columns: Iterable[Column]) -> IndexTable:
        """Return a new, empty index table in place of any of that name."""
        self.drop(name)
        if self._group is None:
            if layout.INDEX in self._handle:
                put_aside(self._handle, f"/{layout.INDEX}", layout.INDEX)
            self._group = create_group(self._handle, layout.INDEX)
        self._tables[name] = IndexTable.create(self._group, name, tuple(columns))
        self.distrusted.discard(name)
        return self._tables[name]

    def flush(self) -> None:
        """Have all changes in the file; a table that turns out to be damaged is removed, and distrusted."""
        for name, table in list(self._tables.items()):
            try:
                table.flush()
            except CorruptError as error:
                LOGGER.warning("the index of %s is removed, to be made anew: %s", name, error)
                self.drop(name)
                self.distrusted.add(name)

    def drop(self, name: str) -> None:
        """Remove an index table if it is there."""
        self._tables.pop(name, None)
        if self._group is None or name not in self._group:
            return
        try:
            unlink(self._group.id, name)
        except UNREADABLE:
            # What HDF5 cannot read it cannot take apart either.
            put_aside(self._handle, f"{self._group.name}/{name}", f"{layout.INDEX} {name}")
        self.freed = True

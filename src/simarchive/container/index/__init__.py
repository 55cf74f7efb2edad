"""Index tables: one row for each object of a data class, kept in attributes (see `table`)."""

from simarchive.container.index.segments import Shape
from simarchive.container.index.table import KEY_COLUMN, IndexTable
from simarchive.container.index.tables import IndexTables

__all__ = ["KEY_COLUMN", "IndexTable", "IndexTables", "Shape"]

"""Lines of objects: a key, a class, and what the index knows of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simarchive.cli import object_keys, wording
from simarchive.cli.output import print_table

if TYPE_CHECKING:
    from simarchive.storage.hdf5 import HDF5Storage

_COLUMNS = ("substance", "temperature", "pressure", "property_phase")
_HEADINGS = ("KEY", "CLASS", "SUBSTANCE", "T", "P", "PHASE")

Row = Mapping[str, Any]
"""Values by name: ``key``, ``data_class``, and columns of the index."""


def indexed_rows(backend: HDF5Storage, class_names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what the index knows of all objects of some classes, by key; no document is read."""
    from simarchive.data import data_class_named
    from simarchive.queries import query_class_for

    rows: dict[str, dict[str, Any]] = {}
    for name in class_names:
        data_class = data_class_named(name)
        if data_class is None:
            continue
        columns = backend.columns(query_class_for(data_class)())
        names = [column for column in columns if column != "key"]
        for place, key in enumerate(columns["key"]):
            # A query on a class finds its subclasses too; those are listed by their own names.
            rows.setdefault(str(key), {column: columns[column][place] for column in names})
    return rows


def print_rows(rows: Sequence[Row], keys: Iterable[str]) -> None:
    """Print one line for each object, with as much of its key as tells it from all `keys`."""
    length = object_keys.short_length(keys)
    print_table(_HEADINGS, (_cells(row, length) for row in rows), right=("T", "P"))


def _cells(row: Row, length: int) -> list[str]:
    return [
        row["key"][:length],
        wording.short_class_name(row["data_class"]),
        *(wording.index_value_text(column, row.get(column)) for column in _COLUMNS),
    ]

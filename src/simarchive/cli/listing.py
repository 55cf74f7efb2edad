"""Lines of objects: a key, a class, and what the index knows of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simarchive.cli import wording
from simarchive.cli.output import print_table
from simarchive.errors import CorruptError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage

_COLUMNS = ("substance", "temperature", "pressure", "property_phase")
DAMAGED = "damaged"
"""Shown as the class of an object that cannot be read."""

_HEADINGS = ("KEY", "CLASS", "SUBSTANCE", "T", "P", "PHASE")

Row = Mapping[str, Any]
"""Values by name: ``key``, ``data_class``, and columns of the index."""


def rows_of(backend: HDF5Storage) -> list[dict[str, Any]]:
    """Return key, class and indexed values of every object in stored order.

    Objects that the index knows are not read.
    """
    indexed = _indexed_rows(backend)
    rows = []
    for key in backend.keys():  # noqa: SIM118 - not a mapping
        if key not in indexed:
            try:
                indexed[key] = {"data_class": backend.header(key).data_class}
            except CorruptError:
                indexed[key] = {"data_class": DAMAGED}
        rows.append({"key": key, **indexed[key]})
    return rows


def _indexed_rows(backend: HDF5Storage) -> dict[str, dict[str, Any]]:
    from simarchive.queries import query_class_for

    rows: dict[str, dict[str, Any]] = {}
    # A query on a class finds its subclasses too, so those come first: each object under its own name.
    for data_class in sorted(backend.data_classes(), key=lambda cls: -len(cls.__mro__)):
        columns = backend.columns(query_class_for(data_class)())
        names = [name for name in columns if name != "key"]
        for place, key in enumerate(columns["key"]):
            values = {name: columns[name][place] for name in names}
            rows.setdefault(str(key), {"data_class": data_class.data_class_name, **values})
    return rows


def print_rows(rows: Sequence[Row], key_length: int) -> None:
    """Print one line for each object, with so many characters of its key: see `object_keys.short_length`."""
    print_table(_HEADINGS, (_cells(row, key_length) for row in rows), right=("T", "P"))


def _cells(row: Row, length: int) -> list[str]:
    return [
        row["key"][:length],
        wording.short_class_name(row["data_class"]),
        *(wording.index_value_text(column, row.get(column)) for column in _COLUMNS),
    ]

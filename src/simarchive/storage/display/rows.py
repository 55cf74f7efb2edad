"""Objects as rows: a key, a class, and what the index knows of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from simarchive.errors import CorruptError

DAMAGED = "damaged"
"""Shown as the class of an object that cannot be read."""

Row = Mapping[str, Any]
"""Values by name: ``key``, ``data_class``, and columns of the index."""


class Indexed(Protocol):
    """A backend with an index: `HDF5Storage`."""

    def keys(self) -> list[str]:
        """Return the keys of all objects."""

    def columns(self, data_query: Any, names: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """Return the indexed values of the objects that match a query."""

    def indexed_rows(self, column: str | None = None) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Return the indexed values of objects by key, and the classes whose objects have to be read."""

    def data_class(self, name: str) -> Any:
        """Return the data class of a name, or ``None``."""

    def header(self, storage_key: str) -> Any:
        """Return what is known of an object without reading its document."""


def rows_of(backend: Indexed, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return key, class and indexed values of every object in stored order.

    Objects that the index knows are not read.

    Parameters
    ----------
    keys
        The objects that are wanted, in their order; all by default.
    """
    indexed = _indexed_rows(backend, None)
    rows = []
    for key in backend.keys() if keys is None else keys:
        if key not in indexed:
            try:
                indexed[key] = {"data_class": backend.header(key).data_class}
            except CorruptError:
                indexed[key] = {"data_class": DAMAGED}
        rows.append({"key": key, **indexed[key]})
    return rows


def substances_of(backend: Indexed) -> dict[str, str]:
    """Return the identifier of the substance of each object that has one, by key."""
    rows = _indexed_rows(backend, "substance")
    return {key: row["substance"] for key, row in rows.items() if row["substance"]}


def _indexed_rows(backend: Indexed, column: str | None) -> dict[str, dict[str, Any]]:
    """Return the class and the indexed values, or one of them, of all objects that the index knows."""
    rows, left_out = backend.indexed_rows(column)
    return rows | _rows_read(backend, left_out, column) if left_out else rows


def _rows_read(backend: Indexed, class_names: Sequence[str], column: str | None) -> dict[str, dict[str, Any]]:
    """Return the same of the objects of some classes as they say it themselves."""
    from simarchive.queries import query_class_for

    known = filter(None, map(backend.data_class, class_names))
    rows: dict[str, dict[str, Any]] = {}
    # A query on a class finds its subclasses too, so those come first: each object under its own name.
    for data_class in sorted(known, key=lambda cls: -len(cls.__mro__)):
        if column is not None and column not in {known.name for known in data_class.index_columns()}:
            continue
        columns = backend.columns(query_class_for(data_class)(), None if column is None else (column,))
        names = [name for name in columns if name != "key"]
        for place, key in enumerate(columns["key"]):
            values = {name: columns[name][place] for name in names}
            rows.setdefault(str(key), {"data_class": data_class.data_class_name, **values})
    return rows

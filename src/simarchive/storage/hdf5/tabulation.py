"""The indexed values of matching objects as columns, and as a DataFrame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.container.contents import Contents
from simarchive.container.index import KEY_COLUMN
from simarchive.data import data_class_named
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.conditions import ColumnKind, Value
from simarchive.queries import BaseDataQuery
from simarchive.storage.hdf5 import indexing, selection

if TYPE_CHECKING:
    import pandas

KEY = "key"


def column_names(data_query: BaseDataQuery, names: Sequence[str] | None) -> list[str]:
    """Return the names asked for, or those of all index columns of the query's class.

    Raises
    ------
    InvalidDataError
        If a name is none of them.
    """
    known = [column.name for column in data_query.data_class().index_columns()]
    for name in names or ():
        if name not in known:
            raise InvalidDataError(f"there is no column {name!r}: there are {', '.join(known)}")
    return known if names is None else list(names)


def columns_of_index(
    contents: Contents, data_query: BaseDataQuery, names: list[str]
) -> dict[str, Any] | None:
    """Return the columns of the matches straight from the index, or ``None`` if no single table has them."""
    found = selection.columns(contents, data_query, [KEY_COLUMN, *names])
    return None if found is None else {KEY: found.pop(KEY_COLUMN), **found}


def columns_of_keys(
    contents: Contents, data_query: BaseDataQuery, keys: list[str], names: list[str]
) -> dict[str, Any]:
    """Return what `columns_of_index` does, for some objects: from their rows, or from themselves."""
    kinds = {column.name: column.kind for column in data_query.data_class().index_columns()}
    rows = [_row(contents, key) for key in keys]
    columns: dict[str, Any] = {KEY: list(keys)}
    for name in names:
        columns[name] = _typed(kinds[name], [row.get(name) for row in rows])
    return columns


def _typed(kind: ColumnKind, values: list[Value]) -> np.ndarray[Any, Any] | list[Value]:
    """Return values of one column as an index table returns them."""
    if kind is ColumnKind.REAL:
        return np.array([math.nan if value is None else value for value in values], np.float64)
    if kind is ColumnKind.INTEGER and None not in values:
        return np.array(values, np.int64)
    return values


def data_frame(columns: dict[str, Any]) -> pandas.DataFrame:
    """Return columns as a pandas DataFrame whose index are the keys.

    Raises
    ------
    InvalidDataError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise InvalidDataError("a table needs pandas: pip install 'simarchive[table]'") from error
    frame = pandas.DataFrame({name: values for name, values in columns.items() if name != KEY})
    frame.index = pandas.Index(columns[KEY], name=KEY, dtype=object)
    return frame


def plain(columns: dict[str, Any]) -> dict[str, list[Value]]:
    """Return columns as lists of plain values, with ``None`` where one is missing."""
    return {
        name: [None if value != value else value for value in values.tolist()]
        if isinstance(values, np.ndarray)
        else list(values)
        for name, values in columns.items()
    }


def _row(contents: Contents, key: str) -> dict[str, Value]:
    class_name = contents.class_name(key)
    table = indexing.usable_table(contents, class_name)
    try:
        if table is not None and key in table:
            return table.row(key)
    except CorruptError as error:
        indexing.distrust(contents, class_name, str(error))
    data_class = data_class_named(class_name)
    if data_class is None:
        return {}
    document = contents.document(key, lambda _, name: contents.variable(key, name))
    return data_class.from_document(document.tree, document.data_class_version).index_values()

"""What a container answers by its index: which keys a query selects, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from simarchive.container.contents import Contents
from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.conditions import ColumnKind, Condition, Value
from simarchive.ground.texts import count_text
from simarchive.storage.finding.matches import arranged
from simarchive.storage.hdf5 import classes, indexing

if TYPE_CHECKING:
    import pandas

    from simarchive.queries import BaseDataQuery

Answer = TypeVar("Answer")

AskedTable = tuple[IndexTable, tuple[Condition, ...]]
"""A table, and the conditions that its rows have to fulfil."""

KEY = "key"
"""The name of the first column of every table."""


def select(contents: Contents, data_query: BaseDataQuery) -> list[str] | None:
    """Return the keys of the objects that match, or ``None`` if a table cannot be used."""
    found = tables(contents, data_query)
    if found is None:
        return None
    if len(found) == 1:
        return _asked(contents, data_query, found, _select_first)
    rows = _asked(contents, data_query, found, _first_rows)
    if rows is None:
        return None
    return [key for key, _ in arranged(data_query, rows, lambda row, _: row[1])]


def count(contents: Contents, data_query: BaseDataQuery) -> int | None:
    """Return how many objects match without regard to a limit, or ``None`` if a table cannot be used."""
    found = tables(contents, data_query)
    if found is None:
        return None
    return _asked(contents, data_query, found, _count)


def candidates(contents: Contents, data_query: BaseDataQuery) -> list[str]:
    """Return the keys of at least all objects that match, class by class, each in stored order."""
    found: list[str] = []
    for name, conditions in searched(contents, data_query):
        found += select_by(contents, (name,), conditions)
    return found


def select_by(contents: Contents, class_names: Iterable[str], conditions: Sequence[Condition]) -> list[str]:
    """Return the keys of objects of the classes named whose rows fulfil all conditions.

    Where a class has no usable table, all its keys are returned.
    """
    found: list[str] = []
    for name in class_names:
        keys = indexing.select(contents, name, conditions)
        found += indexing.keys_by_scan(contents, (name,)) if keys is None else keys
    return found


def explain(contents: Contents, data_query: BaseDataQuery) -> str:
    """Return in words how the index answers a query."""
    lines = [data_query.explain()]
    is_decided = True
    for name, conditions in searched(contents, data_query):
        table = indexing.usable_table(contents, name)
        if table is None:
            has_objects = name in contents.data_classes()
            is_decided = is_decided and not has_objects
            lines.append(
                f"{name}: " + ("no usable index, every object is read" if has_objects else "no objects")
            )
            continue
        lines.append(f"{name}: {count_text(len(table), 'object')}")
        for step in table.explain(conditions):
            spared = (
                f"; {step.pruned:,} of {step.segments:,} parts of the index not read" if step.pruned else ""
            )
            remaining = "1 remains" if step.remaining == 1 else f"{step.remaining:,} remain"
            lines.append(f"  {step.column} {step.reading}: {remaining}{spared}")
    return "\n".join([*lines, "the index decides"] if is_decided else lines)


def _asked(
    contents: Contents,
    data_query: BaseDataQuery,
    found: list[AskedTable],
    ask: Callable[[list[AskedTable], BaseDataQuery], Answer],
) -> Answer | None:
    """Return what tables answer, or ``None`` if one turns out to be damaged."""
    try:
        return ask(found, data_query)
    except CorruptError as error:
        for name in classes.names_of(contents, data_query.data_class()):
            indexing.distrust(contents, name, str(error))
        return None


def _select_first(found: list[AskedTable], data_query: BaseDataQuery) -> list[str]:
    [(table, conditions)] = found
    order_by = _order_in(table, data_query.order_by)
    return table.object_keys(conditions, order_by=order_by, limit=data_query.limit)


def _order_in(table: IndexTable, order_by: str | None) -> str | None:
    """Return what the rows of a table are ordered by: if it lacks the column, they have no value there."""
    if order_by is None:
        return None
    wanted = order_by.removeprefix("-")
    return order_by if any(column.name == wanted for column in table.columns_spec) else None


def _first_rows(found: list[AskedTable], data_query: BaseDataQuery) -> list[tuple[str, Value]]:
    """Return key, and value to order by, of the first matches of each table: as many as there can be."""
    limit = data_query.limit
    rows: list[tuple[str, Value]] = []
    for table, conditions in found:
        order_by = _order_in(table, data_query.order_by)
        if order_by is None:
            rows += ((key, None) for key in table.object_keys(conditions, limit=limit))
        else:
            names = [KEY_COLUMN, order_by.removeprefix("-")]
            columns = table.columns(names, conditions, order_by=order_by, limit=limit)
            table.checked_keys(list(columns[KEY_COLUMN]))
            rows += zip(*(columns[name] for name in names), strict=True)
    return rows


def _count(found: list[AskedTable], data_query: BaseDataQuery) -> int:
    return sum(table.count(conditions) for table, conditions in found)


def searched(contents: Contents, data_query: BaseDataQuery) -> Iterator[tuple[str, tuple[Condition, ...]]]:
    """Yield the classes that may hold a match, each with the conditions that a match fulfils there."""
    for name in classes.names_of(contents, data_query.data_class()):
        data_class = classes.class_of(contents, name)
        assert data_class is not None
        conditions = data_query.conditions_in(data_class)
        if conditions is not None:
            yield name, conditions


def tables(contents: Contents, data_query: BaseDataQuery) -> list[AskedTable] | None:
    """Return the tables of all classes that a query is about, or ``None`` if one is missing or unusable."""
    found = []
    for name, conditions in searched(contents, data_query):
        table = indexing.usable_table(contents, name)
        if table is not None:
            found.append((table, conditions))
        elif any(True for _ in indexing.keys_by_scan(contents, (name,))):
            return None
    return found


# --- columns and tables ----------------------------------------------------------------------------------


def column_names(data_query: BaseDataQuery, names: Sequence[str] | None) -> list[str]:
    """Return the names asked for, or those of all index columns of the query's class.

    Raises
    ------
    InvalidDataError
        If a name is none of them.
    """
    known = [column.name for column in data_query.columns()]
    for name in names or ():
        if name not in known:
            raise InvalidDataError(f"there is no column {name!r}: there are {', '.join(known)}")
    return known if names is None else list(names)


def columns_of_index(
    contents: Contents, data_query: BaseDataQuery, names: list[str]
) -> dict[str, Any] | None:
    """Return the columns of the matches straight from the index, or ``None`` if no single table has them."""
    asked = tables(contents, data_query)
    if asked is None or len(asked) != 1:
        return None
    there = {column.name for column in asked[0][0].columns_spec}
    if not there.issuperset(names) or (data_query.order_by or "").removeprefix("-") not in {"", *there}:
        return None

    def columns(tables: list[AskedTable], query: BaseDataQuery) -> dict[str, Any]:
        chosen, (table, conditions) = [KEY_COLUMN, *names], tables[0]
        found = table.columns(chosen, conditions, order_by=query.order_by, limit=query.limit)
        table.checked_keys(list(found[KEY_COLUMN]))
        return found

    found = _asked(contents, data_query, asked, columns)
    return None if found is None else {KEY: found.pop(KEY_COLUMN), **found}


def columns_of_keys(
    contents: Contents, data_query: BaseDataQuery, keys: list[str], names: list[str]
) -> dict[str, Any]:
    """Return what `columns_of_index` does, for some objects: from their rows, or from themselves."""
    kinds = {column.name: column.kind for column in data_query.columns()}
    contents.expect(keys)
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
    data_class = classes.class_of(contents, class_name)
    if data_class is None:
        return {}
    document = contents.document(key, contents.loader(key))
    return data_class.from_document(document.tree, document.data_class_version).index_values()

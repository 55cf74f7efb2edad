"""Which keys a query selects: the index says it, as far as its tables can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from simarchive.container.index import KEY_COLUMN
from simarchive.data import name_and_subclasses
from simarchive.errors import CorruptError
from simarchive.ground.conditions import Condition, Value
from simarchive.storage.arrangement import arrange
from simarchive.storage.hdf5 import indexing

Answer = TypeVar("Answer")

if TYPE_CHECKING:
    from simarchive.container.contents import Contents
    from simarchive.container.index import IndexTable
    from simarchive.queries import BaseDataQuery


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
    return [key for key, _ in arrange(data_query, rows, lambda row, _: row[1])]


def count(contents: Contents, data_query: BaseDataQuery) -> int | None:
    """Return how many objects match without regard to a limit, or ``None`` if a table cannot be used."""
    found = tables(contents, data_query)
    if found is None:
        return None
    return _asked(contents, data_query, found, _count)


def candidates(contents: Contents, data_query: BaseDataQuery) -> list[str]:
    """Return the keys of at least all objects that match, class by class, each in stored order."""
    return select_by(contents, name_and_subclasses(data_query.data_class()), data_query.conditions())


def select_by(contents: Contents, class_names: Iterable[str], conditions: Sequence[Condition]) -> list[str]:
    """Return the keys of objects of the classes named whose rows fulfil all conditions.

    Where a class has no usable table, all its keys are returned.
    """
    found: list[str] = []
    for name in class_names:
        keys = indexing.select(contents, name, conditions)
        found += indexing.keys_by_scan(contents, (name,)) if keys is None else keys
    return found


def columns(contents: Contents, data_query: BaseDataQuery, names: Sequence[str]) -> dict[str, Any] | None:
    """Return columns of the matches, or ``None`` if no single table has them all."""
    found = tables(contents, data_query)
    if found is None or len(found) != 1:
        return None
    return _asked(
        contents,
        data_query,
        found,
        lambda asked, query: asked[0].columns(
            names, query.conditions(), order_by=query.order_by, limit=query.limit
        ),
    )


def keys_of_classes(contents: Contents, class_names: Iterable[str]) -> list[str]:
    """Return the keys of all objects of the classes named."""
    return select_by(contents, class_names, ())


def explain(contents: Contents, data_query: BaseDataQuery) -> str:
    """Return in words how the index answers a query."""
    lines = [data_query.explain()]
    is_decided = True
    for name in name_and_subclasses(data_query.data_class()):
        table = indexing.usable_table(contents, name)
        if table is None:
            has_objects = name in contents.data_classes()
            is_decided = is_decided and not has_objects
            lines.append(
                f"{name}: " + ("no usable index, every object is read" if has_objects else "no objects")
            )
            continue
        lines.append(f"{name}: {len(table)} objects")
        lines.extend(
            f"  {step.column} {step.reading}: {step.remaining} remain"
            f" ({step.pruned} of {step.segments} segments not read)"
            for step in table.explain(data_query.conditions())
        )
    return "\n".join([*lines, "the index decides"] if is_decided else lines)


def _asked(
    contents: Contents,
    data_query: BaseDataQuery,
    found: list[IndexTable],
    ask: Callable[[list[IndexTable], BaseDataQuery], Answer],
) -> Answer | None:
    """Return what tables answer, or ``None`` if one turns out to be damaged."""
    try:
        return ask(found, data_query)
    except CorruptError as error:
        for name in name_and_subclasses(data_query.data_class()):
            indexing.distrust(contents, name, str(error))
        return None


def _select_first(found: list[IndexTable], data_query: BaseDataQuery) -> list[str]:
    return found[0].select(data_query.conditions(), order_by=data_query.order_by, limit=data_query.limit)


def _first_rows(found: list[IndexTable], data_query: BaseDataQuery) -> list[tuple[str, Value]]:
    """Return key, and value to order by, of the first matches of each table: as many as there can be."""
    conditions, order_by, limit = data_query.conditions(), data_query.order_by, data_query.limit
    rows: list[tuple[str, Value]] = []
    for table in found:
        if order_by is None:
            rows += ((key, None) for key in table.select(conditions, limit=limit))
        else:
            names = [KEY_COLUMN, order_by.removeprefix("-")]
            columns = table.columns(names, conditions, order_by=order_by, limit=limit)
            rows += zip(*(columns[name] for name in names), strict=True)
    return rows


def _count(found: list[IndexTable], data_query: BaseDataQuery) -> int:
    return sum(table.count(data_query.conditions()) for table in found)


def tables(contents: Contents, data_query: BaseDataQuery) -> list[IndexTable] | None:
    """Return the tables of all classes that a query is about, or ``None`` if one is missing or unusable."""
    found = []
    for name in name_and_subclasses(data_query.data_class()):
        table = indexing.usable_table(contents, name)
        if table is not None:
            found.append(table)
        elif any(True for _ in indexing.keys_by_scan(contents, (name,))):
            return None
    return found

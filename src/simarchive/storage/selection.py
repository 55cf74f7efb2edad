"""Which keys a query selects, as far as the index can say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from simarchive.conditions import Condition
from simarchive.data import name_and_subclasses
from simarchive.storage import indexing

if TYPE_CHECKING:
    from simarchive.container.contents import Contents
    from simarchive.container.index import IndexTable
    from simarchive.queries import BaseDataQuery


def candidates(contents: Contents, data_query: BaseDataQuery) -> Iterator[str]:
    """Yield the keys of at least all objects that match, class by class, each in stored order."""
    for name in name_and_subclasses(data_query.data_class()):
        table = indexing.usable_table(contents, name)
        if table is None:
            yield from indexing.keys_by_scan(contents, (name,))
        elif data_query.exact and data_query.limit is not None:
            # An object beyond the first `limit` of its class cannot be among the first of all.
            yield from table.select(
                data_query.conditions(), order_by=data_query.order_by, limit=data_query.limit
            )
        else:
            yield from table.select(data_query.conditions())


def select(contents: Contents, data_query: BaseDataQuery) -> list[str] | None:
    """Return the keys of the objects that match, or ``None`` if the index alone cannot say."""
    found = tables(contents, data_query)
    if found is None or not data_query.exact:
        return None
    if len(found) == 1:
        return found[0].select(data_query.conditions(), order_by=data_query.order_by, limit=data_query.limit)
    if data_query.order_by is not None:
        return None
    keys = [key for table in found for key in table.select(data_query.conditions())]
    return keys[: data_query.limit]


def count(contents: Contents, data_query: BaseDataQuery) -> int | None:
    """Return how many objects match without regard to a limit, or ``None`` if the index cannot say."""
    found = tables(contents, data_query)
    if found is None or not data_query.exact:
        return None
    return sum(table.count(data_query.conditions()) for table in found)


def select_by(contents: Contents, class_names: Iterable[str], conditions: Sequence[Condition]) -> list[str]:
    """Return the keys of objects of the classes named whose rows fulfil all conditions.

    Where a class has no usable table, all its keys are returned.
    """
    found: list[str] = []
    for name in class_names:
        table = indexing.usable_table(contents, name)
        found += indexing.keys_by_scan(contents, (name,)) if table is None else table.select(conditions)
    return found


def keys_of_classes(contents: Contents, class_names: Iterable[str]) -> list[str]:
    """Return the keys of all objects of the classes named."""
    return select_by(contents, class_names, ())


def explain(contents: Contents, data_query: BaseDataQuery) -> str:
    """Return in words how the index answers a query."""
    lines = [data_query.explain()]
    for name in name_and_subclasses(data_query.data_class()):
        table = indexing.usable_table(contents, name)
        if table is None:
            lines.append(f"{name}: no usable index, every object is read")
            continue
        lines.append(f"{name}: {len(table)} objects")
        lines.extend(
            f"  {step.reading}: {step.remaining} remain ({step.pruned} of {step.segments} segments not read)"
            for step in table.explain(data_query.conditions())
        )
    lines.append(
        "the index decides" if data_query.exact else "each object that the index leaves is read and compared"
    )
    return "\n".join(lines)


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

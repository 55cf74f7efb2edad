"""What a query found: one match after another, in the order and up to the limit that the query asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from simarchive.ground.conditions import Value, places_in_order
from simarchive.storage.display.views import Match as Match

if TYPE_CHECKING:
    from simarchive.queries import BaseDataQuery

Found = TypeVar("Found")


def class_names(data_query: BaseDataQuery) -> tuple[str, ...]:
    """Return the names of the classes that a query searches."""
    from simarchive.data import name_and_subclasses

    return name_and_subclasses(data_query.data_class())


def arranged_matches(
    data_query: BaseDataQuery, found: list[tuple[tuple[Any, ...], Match]]
) -> Iterator[tuple[tuple[Any, ...], Match]]:
    """Yield matched values and matches in the order, and up to the limit, that a query asks for.

    Parameters
    ----------
    found
        Of each class in the order in which its objects were stored.
    """
    ranks = {name: rank for rank, name in enumerate(class_names(data_query))}
    by_class = sorted(found, key=lambda pair: ranks.get(pair[1][1].data_class_name, len(ranks)))
    yield from arranged(data_query, by_class, lambda pair, name: pair[1][1].index_values().get(name))


def arranged(
    data_query: BaseDataQuery, found: Sequence[Found], value_of: Callable[[Found, str], Value]
) -> list[Found]:
    """Return what was found in the order that the query asks for, and no more than its limit.

    Parameters
    ----------
    found
        Class by class, and of each class in the order in which its objects were stored; equal values keep it.
    value_of
        Called with one of these and the name of an index column; returns the value to order by.
    """
    in_order = list(found)
    if data_query.order_by is not None:
        name, descending = data_query.order_by.removeprefix("-"), data_query.order_by.startswith("-")
        values = [value_of(one, name) for one in in_order]
        in_order = [in_order[place] for place in places_in_order(values, descending=descending)]
    return in_order[: data_query.limit]

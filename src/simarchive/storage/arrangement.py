"""Order and limit of what a query found, where no single index table did it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from simarchive.ground.conditions import Value, places_in_order
from simarchive.queries import BaseDataQuery

Found = TypeVar("Found")


def arrange(
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
    arranged = list(found)
    if data_query.order_by is not None:
        name, descending = data_query.order_by.removeprefix("-"), data_query.order_by.startswith("-")
        values = [value_of(one, name) for one in arranged]
        arranged = [arranged[place] for place in places_in_order(values, descending=descending)]
    return arranged[: data_query.limit]

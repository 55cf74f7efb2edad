"""Order and limit of what a query found, where no index did it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from simarchive.data import BaseStoredData
from simarchive.queries import BaseDataQuery

Found = TypeVar("Found")


def arrange(
    data_query: BaseDataQuery, found: Sequence[tuple[BaseStoredData, Found]]
) -> list[tuple[BaseStoredData, Found]]:
    """Return what was found in the order that the query asks for, and no more than its limit.

    Equal values keep the order in which the objects were stored; a missing value comes last.
    """
    arranged = list(found)
    if data_query.order_by is not None:
        name = data_query.order_by.removeprefix("-")
        values = [(stored.index_values().get(name), place) for place, (stored, _) in enumerate(arranged)]
        present = [(value, place) for value, place in values if value is not None]
        present.sort(key=lambda pair: pair[0], reverse=data_query.order_by.startswith("-"))
        missing = [place for value, place in values if value is None]
        arranged = [arranged[place] for place in [*(place for _, place in present), *missing]]
    return arranged[: data_query.limit]

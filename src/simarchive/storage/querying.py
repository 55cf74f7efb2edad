"""Queries over a backend: by default, each object is read and asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from simarchive.data import BaseStoredData, name_and_subclasses
from simarchive.queries import BaseDataQuery
from simarchive.storage.arrangement import arrange
from simarchive.storage.key_registry import KeyRegistry

Match = tuple[str, BaseStoredData, Any]
"""One match of a query: key, object, and the path of its ancillary data or ``None``."""


class Querying(KeyRegistry):
    """What a backend answers; a backend with an index overrides how."""

    def query(self, data_query: BaseDataQuery) -> dict[tuple[Any, ...], list[Match]]:
        """Return the objects that match a query, grouped by the matched values.

        Returns
        -------
        matches
            A plain dict. Its keys are tuples of the matched values: the substance first, then the
            criteria in the order in which the query class declares them. Its values are lists of
            ``(key, object, path)``; `path` is ``None`` for an object without ancillary data.
        """
        data_query.validate()
        with self._lock:
            found: dict[tuple[Any, ...], list[Match]] = {}
            for matched, match in self._matches(data_query):
                found.setdefault(matched, []).append(match)
            return found

    def keys(self, data_query: BaseDataQuery | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order.

        A query that finds several classes gives them class by class, unless it says how to order them.
        """
        with self._lock:
            if data_query is None:
                return self._object_keys()
            data_query.validate()
            return [key for _, (key, _, _) in self._matches(data_query)]

    def count(self, data_query: BaseDataQuery) -> int:
        """Return how many objects match a query."""
        return len(self.keys(data_query))

    # --- hooks with defaults ---------------------------------------------------------------------------

    def _candidates(self, data_query: BaseDataQuery) -> Iterable[str]:
        """Return the keys of at least all objects that match a query, in stored order."""
        return self._object_keys(class_names(data_query))

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        """Yield the matched values and the match of each object that matches, ordered and limited."""
        found = []
        for key in self._candidates(data_query):
            stored, path = self._retrieve_object(key)
            if stored is None:
                continue
            matched = data_query.apply(stored)
            if matched is not None:
                found.append((matched, (key, stored, path)))
        yield from arranged_matches(data_query, found)


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
    yield from arrange(data_query, by_class, lambda pair, name: pair[1][1].index_values().get(name))


def class_names(data_query: BaseDataQuery) -> tuple[str, ...]:
    """Return the names of the classes that a query searches."""
    return name_and_subclasses(data_query.data_class())

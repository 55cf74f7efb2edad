"""The registry of queries: which class of queries finds which data."""

from __future__ import annotations

from typing import TypeVar

from simarchive.data.base import BaseStoredData
from simarchive.errors import InvalidDataError
from simarchive.ground.vocabulary.query_classes import known_query_class, set_query_class
from simarchive.queries.base import BaseDataQuery

QueryClass = TypeVar("QueryClass", bound=type[BaseDataQuery])


def register_query_class(cls: QueryClass) -> QueryClass:
    """Register a class of queries, as a decorator, as the one for its data class."""
    if not issubclass(cls, BaseDataQuery):
        raise InvalidDataError(f"{cls.__name__} must derive from BaseDataQuery to be a query")
    set_query_class(cls.data_class(), cls)
    return cls


def query_class_for(data_class: type[BaseStoredData]) -> type[BaseDataQuery]:
    """Return the class of queries for a data class; one is made from its fields if none was registered.

    A class that is made derives from the queries of the nearest parent that has some, and can ask for every
    searchable field.
    """
    known = known_query_class(data_class)
    if known is None:
        parents = (known_query_class(base) for base in data_class.__mro__)
        namespace = {
            "__doc__": f"A query for `{data_class.__name__}`, made from its fields.",
            "__module__": data_class.__module__,
            "data_class": classmethod(lambda cls: data_class),
        }
        parent = next(filter(None, parents), BaseDataQuery)
        known = type(f"{data_class.__name__}Query", (parent,), namespace)
        set_query_class(data_class, known)
    return known

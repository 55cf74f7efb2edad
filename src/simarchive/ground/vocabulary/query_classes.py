"""Which class of queries finds the objects of a data class.

Queries know the data that they find, and data is asked for its query. Data does not import queries for that:
this map lies below both, and queries fill it when they are loaded. Whatever is missing is found by a function
that the front door of the package sets. Python runs the front door before every module of the package, so the
order of imports does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_query_classes: dict[type[Any], type[Any]] = {}
_find_missing: Callable[[type[Any]], type[Any]]


def set_query_class(data_class: type[Any], query_class: type[Any]) -> None:
    """Make a class of queries the one for a data class."""
    _query_classes[data_class] = query_class


def known_query_class(data_class: type[Any]) -> type[Any] | None:
    """Return the class of queries that was set for a data class, or ``None``."""
    return _query_classes.get(data_class)


def find_missing_with(function: Callable[[type[Any]], type[Any]]) -> None:
    """Have a function return, and set, the class of queries of each data class that has none yet."""
    global _find_missing
    _find_missing = function


def query_class_of(data_class: type[Any]) -> type[Any]:
    """Return the class of queries for a data class, whether queries were loaded before or not."""
    return _query_classes.get(data_class) or _find_missing(data_class)

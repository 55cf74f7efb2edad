"""The registry of data classes: permanent names, and who is whose subclass."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, overload

from simarchive.data.base import BaseStoredData, ReplaceableData
from simarchive.data.fields import fields_of_class, terms_of_class
from simarchive.errors import ConflictError, InvalidDataError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DataClass = TypeVar("DataClass", bound=type[BaseStoredData])

ENTRY_POINTS = "simarchive.data_classes"
"""The group of entry points by which installed packages name their data classes."""

LOGGER = logging.getLogger("simarchive")

_classes: dict[str, type[BaseStoredData]] = {}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


@overload
def register_data_class(cls: DataClass) -> DataClass: ...


@overload
def register_data_class(cls: str, *, version: int = 1) -> Callable[[DataClass], DataClass]: ...


def register_data_class(
    cls: DataClass | str, *, version: int = 1
) -> DataClass | Callable[[DataClass], DataClass]:
    """Register a data class, as a decorator, so that its objects can be stored and found.

    Use ``@register_data_class("Name", version=1)``, or ``@register_data_class`` on a class that sets
    ``data_class_name`` and ``data_class_version`` itself. The name is permanent: it is written beside every
    document and never derived from the name of the Python class.

    Raises
    ------
    InvalidDataError
        If the name, the version or a field cannot be used.
    ConflictError
        If another class has the name.
    """
    if not isinstance(cls, str):
        return _register(cls)

    def decorate(data_class: DataClass) -> DataClass:
        data_class.data_class_name = cls
        data_class.data_class_version = version
        return _register(data_class)

    return decorate


def _register(cls: DataClass) -> DataClass:
    name = cls.__dict__.get("data_class_name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidDataError(
            f"{cls.__name__} needs a permanent name of letters, digits and underscores: "
            f'@register_data_class("{cls.__name__}", version=1)'
        )
    if not isinstance(cls.data_class_version, int) or cls.data_class_version < 1:
        raise InvalidDataError(f"the version of {name} must be a positive integer")
    fields = fields_of_class(cls)
    terms_of_class(cls)
    named = [*cls.reference_fields]
    if issubclass(cls, ReplaceableData):
        named += cls.identity_fields
        if not cls.identity_fields:
            raise InvalidDataError(f"{name} is replaceable and needs identity_fields: what must be equal")
    for field_name in named:
        if field_name not in fields:
            raise InvalidDataError(f"{name} has no field {field_name!r}, but names it")
    known = _classes.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConflictError(
            f"the name {name} belongs to {known.__module__}.{known.__qualname__}: use another"
        )
    _classes[name] = cls
    return cls


def is_class_name(name: str) -> bool:
    """Return whether a data class can have this name."""
    return _NAME.fullmatch(name) is not None


def data_class_named(name: str) -> type[BaseStoredData] | None:
    """Return the data class of a permanent name, or None if no such class was registered.

    An installed package can say where its classes are, by entry points of the group
    ``simarchive.data_classes``: their names are those of the classes. It is imported when one is asked for.
    """
    known = _classes.get(name)
    if known is None and name and name in _in_packages():
        _import_package_of(name)
        known = _classes.get(name)
    return known


@functools.cache
def _in_packages() -> dict[str, EntryPoint]:
    import importlib.metadata  # 20 ms, for those who meet a class that they do not have

    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


@functools.cache
def _import_package_of(name: str) -> None:
    point = _in_packages()[name]
    try:
        point.load()
    except Exception as error:  # whatever a package of others raises
        LOGGER.warning("%s, which has the data class %r, cannot be imported: %s", point.value, name, error)


def registered_data_classes() -> tuple[type[BaseStoredData], ...]:
    """Return all registered classes in the order of registration."""
    return tuple(_classes.values())


def registered_name(cls: type[BaseStoredData]) -> str:
    """Return the permanent name of a class.

    Raises
    ------
    InvalidDataError
        If the class was not registered.
    """
    for name, registered in _classes.items():
        if registered is cls:
            return name
    raise InvalidDataError(
        f"{cls.__name__} is not registered: decorate it with "
        f'@register_data_class("{cls.__name__}", version=1)'
    )


def name_and_subclasses(cls: type[BaseStoredData]) -> tuple[str, ...]:
    """Return the permanent names of a class and its registered subclasses: what a query on it searches."""
    names = [name for name, registered in _classes.items() if issubclass(registered, cls)]
    return tuple(sorted(names, key=lambda name: _classes[name] is not cls))

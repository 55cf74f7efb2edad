"""The registry of data classes: permanent names, and who is whose subclass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar, overload

from simarchive.data.base import BaseStoredData, ReplaceableData
from simarchive.data.fields import fields_of_class, terms_of_class
from simarchive.errors import ConflictError, InvalidDataError

DataClass = TypeVar("DataClass", bound=type[BaseStoredData])

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
    """Return the data class of a permanent name, or None if no such class was registered."""
    return _classes.get(name)


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

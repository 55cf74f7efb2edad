"""Keeping the index in step with the objects: which columns, which rows, and when to rebuild.

The index is an accelerator only. Every table has the columns that the data class declares, and one
with the first bytes of the identity digest, by which identical documents are found.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from simarchive.conditions import Column, ColumnKind, Condition, Equals, Value
from simarchive.container.contents import Contents
from simarchive.container.index import IndexTable
from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import CorruptError, InvalidDataError, StorageError

LOGGER = logging.getLogger("simarchive")

IDENTITY = Column("identity", ColumnKind.INTEGER)
"""The first 8 bytes of an object's identity digest, as a signed integer."""


@functools.cache
def columns_of(data_class: type[BaseStoredData] | None) -> tuple[Column, ...]:
    """Return the columns of the table of a data class; of an unknown class only the identity is kept."""
    return (IDENTITY,) if data_class is None else (IDENTITY, *data_class.index_columns())


def row_of(values: Mapping[str, Value], identity: str) -> dict[str, Value]:
    """Return the row of an object with these index values and an identity digest."""
    row: dict[str, Value] = {IDENTITY.name: identity_value(identity)}
    for name, value in values.items():
        row[name] = None if value != value else value
    return row


def identity_value(identity: str) -> int:
    """Return what the identity column holds for an identity digest."""
    return int.from_bytes(bytes.fromhex(identity[:16]), "little", signed=True)


def identical(identity: str) -> Equals:
    """Return the condition for rows whose identity digest starts alike."""
    return Equals(IDENTITY.name, identity_value(identity))


def usable_table(contents: Contents, class_name: str) -> IndexTable | None:
    """Return the table of a class if it answers queries of this version, else ``None``.

    ``None`` also for a class without objects: see `keys_by_scan`.
    """
    if class_name in contents.tables.distrusted:
        return None
    try:
        table = contents.tables.get(class_name)
    except StorageError as error:
        distrust(contents, class_name, str(error))
        return None
    if table is None:
        if class_name in contents.data_classes():
            distrust(contents, class_name, "it is missing")
        return None
    if _fits(table, class_name):
        return table
    if data_class_named(class_name) is not None:
        distrust(contents, class_name, "it is of another version")
    return None


def distrust(contents: Contents, class_name: str, reason: str) -> None:
    """Say that the table of a class cannot be used; it is not looked at again until it is rebuilt."""
    LOGGER.warning("the index of %s cannot be used, objects are read instead: %s", class_name, reason)
    contents.tables.distrusted.add(class_name)


def select(contents: Contents, class_name: str, conditions: Sequence[Condition]) -> list[str] | None:
    """Return the keys in the table of a class that fulfil all conditions; ``None`` if it cannot be used."""
    table = usable_table(contents, class_name)
    if table is None:
        return None
    try:
        return table.select(conditions)
    except CorruptError as error:
        distrust(contents, class_name, str(error))
        return None


def restore(contents: Contents) -> None:
    """Rebuild every table that is missing, damaged or out of date."""
    if not contents.shared.work():
        contents.rebuild_shared()
    for class_name in contents.data_classes():
        # The columns of a class that is not registered here are not known: its table stays as it is.
        is_known = data_class_named(class_name) is not None or class_name not in contents.tables.class_names()
        if is_known and usable_table(contents, class_name) is None:
            rebuild(contents, class_name)
    contents.tables.distrusted.clear()


def prepare(contents: Contents, class_name: str) -> None:
    """Have a table for objects of a class that are about to be written."""
    if usable_table(contents, class_name) is None:
        rebuild(contents, class_name)


def put(contents: Contents, class_name: str, key: str, row: dict[str, Value]) -> None:
    """Give an object that was just written its row; a damaged table is rebuilt instead."""
    table = usable_table(contents, class_name)
    if table is None:
        rebuild(contents, class_name)
        return
    try:
        if key in table:
            table.replace(key, row)
        else:
            table.insert(key, row, is_new=True)
    except CorruptError as error:
        distrust(contents, class_name, str(error))
        rebuild(contents, class_name)


def state_of(contents: Contents, class_name: str) -> str:
    """Return ``"ready"``, ``"missing"`` or ``"out of date"``."""
    try:
        table = contents.tables.get(class_name)
    except StorageError:
        return "out of date"
    if table is None:
        return "missing"
    return "ready" if _fits(table, class_name) else "out of date"


def forget(contents: Contents, class_name: str, key: str) -> None:
    """Remove the row of an object that is no longer of a class."""
    table = usable_table(contents, class_name)
    try:
        if table is not None and key in table:
            table.remove(key)
    except CorruptError as error:
        distrust(contents, class_name, str(error))
        rebuild(contents, class_name)


def rebuild(contents: Contents, class_name: str, *, keys: Iterable[str] | None = None) -> IndexTable:
    """Make the table of a class anew from its objects; return it."""
    data_class = data_class_named(class_name)
    if keys is None:
        keys = keys_by_scan(contents, (class_name,))
    rows = list(_rows(contents, class_name, data_class, keys))
    if class_name in contents.tables.distrusted:
        LOGGER.warning("the index of %s is rebuilt from %d objects", class_name, len(rows))
    table = contents.tables.create(class_name, columns_of(data_class))
    table.insert_many(rows)
    return table


def rebuild_all(contents: Contents) -> dict[str, int]:
    """Make every table anew; return the number of rows by class."""
    by_class: dict[str, list[str]] = {name: [] for name in contents.data_classes()}
    for key in contents.keys():  # noqa: SIM118
        try:
            by_class.setdefault(contents.class_name(key), []).append(key)
        except CorruptError as error:
            LOGGER.warning("%s: it is left out of the index", error)
    for name in contents.tables.class_names():
        contents.tables.drop(name)
    for class_name, keys in by_class.items():
        rebuild(contents, class_name, keys=keys)
    contents.rebuild_shared()
    return {class_name: len(keys) for class_name, keys in by_class.items() if keys}


def keys_by_scan(contents: Contents, class_names: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys of all objects of the classes named, by looking at every object if there are any."""
    if not set(class_names) & set(contents.data_classes()):
        return
    for key in contents.keys():  # noqa: SIM118
        try:
            if contents.class_name(key) in class_names:
                yield key
        except CorruptError as error:
            LOGGER.warning("%s: it is left out", error)


def _variable(contents: Contents, key: str, identity: str, name: str) -> np.ndarray[Any, Any]:
    return contents.variable(key, name)


def _fits(table: IndexTable, class_name: str) -> bool:
    return tuple(table.columns_spec) == columns_of(data_class_named(class_name))


def _rows(
    contents: Contents, class_name: str, data_class: type[BaseStoredData] | None, keys: Iterable[str]
) -> Iterator[tuple[str, dict[str, Value]]]:
    for key in keys:
        try:
            values: dict[str, Value] = {}
            if data_class is not None:
                # The values of arrays are not in the index: nothing loads them here.
                document = contents.document(key, functools.partial(_variable, contents, key))
                values = data_class.from_document(document.tree, document.data_class_version).index_values()
            yield key, row_of(values, contents.identity(key))
        except (CorruptError, InvalidDataError) as error:
            LOGGER.warning("object %r is left out of the index: %s", key, error)

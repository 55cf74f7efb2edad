"""Keeping the index in step with the objects: which columns, which rows, and when to rebuild.

The index is an accelerator only. Every table has the columns that the data class declares, and one
with the first bytes of the identity digest, by which identical documents are found.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator

from simarchive.conditions import Column, ColumnKind, Equals, Value
from simarchive.container.contents import Contents
from simarchive.container.index import IndexTable
from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import CorruptError, InvalidDataError, StorageError

LOGGER = logging.getLogger("simarchive")

IDENTITY = Column("identity", ColumnKind.INTEGER)
"""The first 8 bytes of an object's identity digest, as a signed integer."""


def columns_of(data_class: type[BaseStoredData] | None) -> tuple[Column, ...]:
    """Return the columns of the table of a data class; of an unknown class only the identity is kept."""
    return (IDENTITY,) if data_class is None else (IDENTITY, *data_class.index_columns())


def row_of(stored: BaseStoredData | None, identity: str) -> dict[str, Value]:
    """Return the row of an object with an identity digest; of an object no class can read, the identity."""
    row: dict[str, Value] = {IDENTITY.name: identity_value(identity)}
    if stored is not None:
        row.update(stored.index_values())
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
    try:
        table = contents.table(class_name)
    except StorageError as error:
        LOGGER.warning("the index of %s cannot be used, objects are read instead: %s", class_name, error)
        return None
    if table is not None and not _fits(table, class_name):
        LOGGER.warning("the index of %s is of another version, objects are read instead", class_name)
        return None
    return table


def state_of(contents: Contents, class_name: str) -> str:
    """Return ``"ready"``, ``"missing"`` or ``"out of date"``."""
    try:
        table = contents.table(class_name)
    except StorageError:
        return "out of date"
    if table is None:
        return "missing"
    return "ready" if _fits(table, class_name) else "out of date"


def writable_table(contents: Contents, class_name: str) -> IndexTable:
    """Return the table of a class for changes; one that is missing or out of date is rebuilt first."""
    table = usable_table(contents, class_name)
    if table is None:
        table = rebuild(contents, class_name)
        if len(table):
            LOGGER.warning("the index of %s was rebuilt from %d objects", class_name, len(table))
    return table


def forget(contents: Contents, class_name: str, key: str) -> None:
    """Remove the row of an object that is no longer of a class."""
    table = usable_table(contents, class_name)
    if table is not None and key in table:
        table.remove(key)


def rebuild(contents: Contents, class_name: str, *, keys: Iterable[str] | None = None) -> IndexTable:
    """Make the table of a class anew from its objects; return it."""
    data_class = data_class_named(class_name)
    if keys is None:
        keys = keys_by_scan(contents, (class_name,))
    rows = list(_rows(contents, class_name, data_class, keys))
    table = contents.create_table(class_name, columns_of(data_class))
    table.insert_many(rows)
    return table


def rebuild_all(contents: Contents) -> dict[str, int]:
    """Make every table anew; return the number of rows by class."""
    by_class: dict[str, list[str]] = {}
    for key in contents.keys():  # noqa: SIM118
        try:
            by_class.setdefault(contents.header(key).data_class, []).append(key)
        except CorruptError as error:
            LOGGER.warning("%s: it is left out of the index", error)
    for name in contents.tables():
        contents.drop_table(name)
    for class_name, keys in by_class.items():
        rebuild(contents, class_name, keys=keys)
    contents.rebuild_member_table()
    return {class_name: len(keys) for class_name, keys in by_class.items()}


def keys_by_scan(contents: Contents, class_names: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys of all objects of the classes named, by looking at every object if there are any."""
    if not set(class_names) & set(contents.data_classes()):
        return
    for key in contents.keys():  # noqa: SIM118
        try:
            if contents.header(key).data_class in class_names:
                yield key
        except CorruptError as error:
            LOGGER.warning("%s: it is left out", error)


def _fits(table: IndexTable, class_name: str) -> bool:
    return tuple(table.columns_spec) == columns_of(data_class_named(class_name))


def _rows(
    contents: Contents, class_name: str, data_class: type[BaseStoredData] | None, keys: Iterable[str]
) -> Iterator[tuple[str, dict[str, Value]]]:
    for key in keys:
        try:
            header = contents.header(key)
            stored = None
            if data_class is not None:
                # The values of arrays are not in the index: nothing loads them here.
                tree = contents.tree(key, load=functools.partial(contents.variable, key))
                stored = data_class.from_document(tree, header.data_class_version)
            yield key, row_of(stored, header.identity)
        except (CorruptError, InvalidDataError) as error:
            LOGGER.warning("object %r is left out of the index: %s", key, error)

"""Keeping the index in step with the objects: which columns, which rows, and when to rebuild.

The index is an accelerator only. Every table has the columns that the data class declares, and one
with the first bytes of the identity digest, by which identical documents are found.

Whoever changes an object keeps its row, whether its data class is registered in this program or not: a
row can be removed without the class, and only a program that has the class can make one. A table that cannot
be kept right without the class is removed, and the next change by a program that has it rebuilds it. A
program that has another version of the class does not use the table, and one that understands documents
that the maker of the table did not (they are noted with it) rebuilds it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simarchive.container.contents import Contents
from simarchive.container.index import IndexTable
from simarchive.errors import CorruptError, FormatError, InvalidDataError, NotFoundError, StorageError
from simarchive.ground.conditions import Column, ColumnKind, Condition, Equals, Value, is_missing
from simarchive.ground.vocabulary.data_classes import Declaration
from simarchive.storage.hdf5 import classes

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData

LOGGER = logging.getLogger("simarchive")

IDENTITY = Column("identity", ColumnKind.INTEGER)
"""The first 8 bytes of an object's identity digest, as a signed integer."""


NOT_UNDERSTOOD = (InvalidDataError, FormatError)
"""What a document raises that this program cannot make an object of; another one may."""

TRIED_AGAIN = 16
"""Of the objects that the maker of a table did not understand, so many are tried when it is opened."""


@functools.cache
def columns_of(declared: Declaration) -> tuple[Column, ...]:
    """Return the columns of the table of a data class."""
    return (IDENTITY, *declared.columns)


def row_of(values: Mapping[str, Value], identity: str) -> dict[str, Value]:
    """Return the row of an object with these index values and an identity digest."""
    row: dict[str, Value] = {IDENTITY.name: identity_value(identity)}
    for name, value in values.items():
        row[name] = None if is_missing(value) else value
    return row


def identity_value(identity: str) -> int:
    """Return what the identity column holds for an identity digest.

    Raises
    ------
    CorruptError
        If it is none.
    """
    try:
        return int.from_bytes(bytes.fromhex(identity[:16]), "little", signed=True)
    except ValueError as error:
        raise CorruptError(f"the identity digest {identity[:80]!r} is not hexadecimal") from error


def identical(identity: str) -> Equals:
    """Return the condition for rows whose identity digest starts alike."""
    return Equals(IDENTITY.name, identity_value(identity))


def usable_table(contents: Contents, class_name: str) -> IndexTable | None:
    """Return the table of a class if it answers queries of this version, else ``None``.

    ``None`` also for a class without objects (see `keys_by_scan`), and for one that is not known here.
    """
    declared = classes.declaration_of(contents, class_name)
    if declared is None or class_name in contents.tables.distrusted:
        return None
    try:
        table = contents.tables.get(class_name)
        fault = None if table is None else fault_of(contents, table, class_name, declared)
    except StorageError as error:
        distrust(contents, class_name, str(error))
        return None
    if table is None:
        if class_name in contents.data_classes():
            distrust(contents, class_name, "it is missing")
        return None
    if fault is not None:
        distrust(contents, class_name, fault)
        return None
    return table


def fault_of(contents: Contents, table: IndexTable, class_name: str, declared: Declaration) -> str | None:
    """Return in words why a table does not answer for a data class as it is here; ``None`` if it does."""
    if table.columns_spec != columns_of(declared) or table.class_version not in (None, declared.version):
        return "it is of another version"
    if table.left_out and table not in contents.tables.settled:
        data_class = classes.class_of(contents, class_name)
        assert data_class is not None
        if any(_is_understood(contents, key, data_class) for key in _sample(table.left_out)):
            return "it lacks objects that its maker did not understand"
        contents.tables.settled.add(table)
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
        return table.object_keys(conditions)
    except CorruptError as error:
        distrust(contents, class_name, str(error))
        return None


def restore(contents: Contents) -> None:
    """Rebuild every table of a class known here that is missing, damaged or out of date."""
    if not contents.shared.is_usable():
        contents.rebuild_shared()
    for class_name in contents.data_classes():
        is_known = classes.class_of(contents, class_name) is not None
        if is_known and usable_table(contents, class_name) is None:
            rebuild(contents, class_name)
    contents.tables.distrusted.clear()


def prepare(contents: Contents, class_name: str) -> None:
    """Have a table for objects of a class that are about to be written, if the class is known here."""
    if classes.class_of(contents, class_name) is not None and usable_table(contents, class_name) is None:
        rebuild(contents, class_name)


def put(contents: Contents, class_name: str, key: str, row: dict[str, Value] | None) -> None:
    """Give an object that was just written its row; a damaged table is rebuilt instead.

    The table of a class that is not known here, or of an object of which no row can be made, notes that it
    lacks the object.
    """
    if row is None or classes.class_of(contents, class_name) is None:
        _note_without_row(contents, class_name, key)
        return
    table = usable_table(contents, class_name)
    if table is None:
        rebuild(contents, class_name)
        return
    try:
        if key in table:
            table.replace(key, row)
        elif key in table.left_out:
            rebuild(contents, class_name)  # Its row is not the last one.
        else:
            table.insert(key, row, is_new=True)
    except CorruptError as error:
        distrust(contents, class_name, str(error))
        rebuild(contents, class_name)


def put_between(contents: Contents, class_name: str, key: str) -> None:
    """Give an object its row that is not the last one of its class: the table is rebuilt."""
    if classes.class_of(contents, class_name) is None:
        _note_without_row(contents, class_name, key)
    else:
        rebuild(contents, class_name)


def _note_without_row(contents: Contents, class_name: str, key: str) -> None:
    try:
        table = contents.tables.get(class_name)
        if table is not None:
            if key in table:
                table.remove(key)
            table.note_origin(table.class_version, table.left_out | {key})
    except StorageError as error:
        _give_up(contents, class_name, str(error))


def state_of(contents: Contents, class_name: str) -> str:
    """Return ``"ready"``, ``"missing"``, ``"out of date"``, or ``"not checked"`` for a class unknown here."""
    declared = classes.declaration_of(contents, class_name)
    if declared is None:
        return "not checked"
    try:
        table = contents.tables.get(class_name)
        if table is None:
            return "missing"
        return "ready" if fault_of(contents, table, class_name, declared) is None else "out of date"
    except StorageError:
        return "out of date"


def forget(contents: Contents, class_name: str | None, key: str) -> None:
    """Remove the row of an object that is no longer of a class, which need not be registered here.

    Parameters
    ----------
    class_name
        ``None`` if the object could not say: then no table keeps a row of it.
    """
    if class_name is None or class_name not in contents.data_classes():
        names = contents.tables.class_names()
    else:
        names = [class_name]
    for name in names:
        try:
            table = contents.tables.get(name)
            if table is None:
                continue
            if key in table:
                table.remove(key)
            if key in table.left_out:
                table.note_origin(table.class_version, table.left_out - {key})
        except StorageError as error:
            if classes.class_of(contents, name) is None:
                _give_up(contents, name, str(error))
            else:
                distrust(contents, name, str(error))
                rebuild(contents, name)


def rebuild(contents: Contents, class_name: str, *, keys: Iterable[str] | None = None) -> IndexTable:
    """Rebuild the table of a class from its objects; return it.

    Raises
    ------
    InvalidDataError
        If the class is not registered here.
    """
    data_class = classes.class_of(contents, class_name)
    if data_class is None:
        raise InvalidDataError(
            f"the data class {class_name!r} is not registered: decorate it with @register_data_class"
        )
    if keys is None:
        keys = keys_by_scan(contents, (class_name,))
    rows: list[tuple[str, dict[str, Value]]] = []
    left_out: list[str] = []
    for key in keys:
        try:
            rows.append((key, _row(contents, key, data_class)))
        except CorruptError as error:
            LOGGER.warning("object %r is left out of the index: %s", key, error)
        except NOT_UNDERSTOOD as error:
            LOGGER.warning("object %r is left out of the index: %s", key, error)
            left_out.append(key)
    if class_name in contents.tables.distrusted:
        LOGGER.warning("the index of %s is rebuilt from %d objects", class_name, len(rows))
    table = contents.tables.create(class_name, columns_of(classes.declaration_by(data_class)))
    table.note_origin(data_class.data_class_version, left_out)
    table.insert_many(rows)
    if left_out:
        contents.tables.settled.add(table)
    return table


def rebuild_all(contents: Contents) -> dict[str, int]:
    """Rebuild every table, and keep those of classes that are not known here; return the rows by class."""
    by_class: dict[str, list[str]] = {name: [] for name in contents.data_classes()}
    for key in contents.keys():  # noqa: SIM118
        try:
            by_class.setdefault(contents.class_name(key), []).append(key)
        except CorruptError as error:
            LOGGER.warning("%s: it is left out of the index", error)
    tables = contents.tables
    for name in tables.class_names():
        if name not in by_class or classes.is_registered(name):
            tables.drop(name)
    made = {class_name: _made_again(contents, class_name, keys) for class_name, keys in by_class.items()}
    contents.rebuild_shared()
    return {name: len(table) for name, table in made.items() if table is not None and len(table)}


def _made_again(contents: Contents, class_name: str, keys: list[str]) -> IndexTable | None:
    """Return the table of a class, rebuilt; that of a class that another program has is kept if it can be."""
    if classes.is_registered(class_name):
        return rebuild(contents, class_name, keys=keys)
    kept = _keep(contents, class_name, keys)
    if kept is None and classes.class_of(contents, class_name) is not None:
        return rebuild(contents, class_name, keys=keys)
    return kept


def carry_over(source: Contents, target: Contents) -> None:
    """Copy what is kept of classes that this program has not into a container with the same objects."""
    classes.copy_schemas(source, target)
    for name in source.tables.class_names():
        if classes.is_registered(name):
            continue
        try:
            table = source.tables.get(name)
            if table is not None:
                copy = target.tables.create(name, table.columns_spec)
                copy.note_origin(table.class_version, table.left_out)
                copy.insert_many(table.rows().items())
        except StorageError as error:
            _give_up(target, name, str(error))


def _keep(contents: Contents, class_name: str, keys: list[str]) -> IndexTable | None:
    """Return the table of a class that is not known here, with rows of its present objects only.

    One that is damaged, or lacks an object, cannot be kept: it is removed.
    """
    try:
        table = contents.tables.get(class_name)
        if table is None:
            return None
        identities = {key: row[IDENTITY.name] for key, row in table.rows().items()}
        present = _identities(contents, [key for key in keys if key not in table.left_out])
        for key in identities.keys() - present.keys():
            table.remove(key)
            del identities[key]
        if list(identities.items()) == list(present.items()):
            return table
        fault = "it does not agree with the objects"
    except (StorageError, KeyError) as error:
        fault = str(error)
    _give_up(contents, class_name, fault)
    return None


def _identities(contents: Contents, keys: Iterable[str]) -> dict[str, int]:
    found = {}
    for key in keys:
        try:
            found[key] = identity_value(contents.identity(key))
        except (CorruptError, ValueError) as error:
            LOGGER.warning("object %r is left out of the index: %s", key, error)
    return found


def _give_up(contents: Contents, class_name: str, reason: str) -> None:
    """Remove the table of a class that is not known here, for a program that knows it to rebuild it."""
    LOGGER.warning(
        "the index of %s is removed, to be rebuilt by a program that knows the class: %s",
        class_name,
        reason,
    )
    contents.tables.drop(class_name)


def keys_by_scan(contents: Contents, class_names: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys of all objects of the classes named, by looking at every object if there are any."""
    if not set(class_names) & set(contents.data_classes()):
        return
    keys = contents.keys()
    contents.expect(keys)
    for key in keys:
        try:
            if contents.class_name(key) in class_names:
                yield key
        except CorruptError as error:
            LOGGER.warning("%s: it is left out", error)


def _row(contents: Contents, key: str, data_class: type[BaseStoredData]) -> dict[str, Value]:
    # The values of arrays are not in the index: nothing loads them here.
    document = contents.document(key, contents.loader(key))
    values = data_class.from_document(document.tree, document.data_class_version).index_values()
    return row_of(values, contents.identity(key))


def _sample(keys: frozenset[str]) -> list[str]:
    """Return some keys from all over a set."""
    return sorted(keys)[:: -(-len(keys) // TRIED_AGAIN)]


def _is_understood(contents: Contents, key: str, data_class: type[BaseStoredData]) -> bool:
    try:
        if contents.class_name(key) != data_class.data_class_name:
            return False
        _row(contents, key, data_class)
    except (CorruptError, NotFoundError, *NOT_UNDERSTOOD):
        return False
    return True

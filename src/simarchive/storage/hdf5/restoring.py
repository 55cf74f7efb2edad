"""Undo: objects that were removed or replaced, back where they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simarchive.container.changing.removed import RemovedObject
from simarchive.container.contents import Contents
from simarchive.errors import CorruptError, NotFoundError, StorageError
from simarchive.ground.conditions import Value
from simarchive.storage.finding.key_prefixes import only_start
from simarchive.storage.hdf5 import classes, indexing


@dataclass(frozen=True, slots=True)
class RestoredObject:
    """What a restoration did."""

    key: str
    number: int  #: that it had among the removed
    replaced: bool  #: an object stood under the key, and is now among the removed itself
    missing: tuple[str, ...] = ()  #: keys of objects that it refers to, and that are not there


def chosen(contents: Contents, text: str, number: int | None = None) -> RemovedObject:
    """Return what was removed last under a key, or under the only one that starts with a text.

    Parameters
    ----------
    number
        Which one, if not the last.

    Raises
    ------
    NotFoundError
        If nothing was removed under it, or it is no longer kept.
    InvalidDataError
        If several keys start with it.
    """
    listed = contents.removed.listed()
    keys = {one.key for one in listed}
    if text not in keys:
        key = only_start(sorted(keys), text, noun="removed keys")
        if key is None:
            raise NotFoundError(
                f"nothing that was removed has a key that is or starts with {text!r}: see 'simarchive log'"
            )
        text = key
    for one in reversed(listed):
        if one.key == text and number in (None, one.number):
            return one
    raise NotFoundError(f"of {text!r} no removed object has the number {number}: see 'simarchive log'")


def restore(contents: Contents, one: RemovedObject) -> RestoredObject:
    """Make an object again of what was removed; inside a transaction.

    What stands under its key now is removed in turn, and kept as it was.

    Raises
    ------
    CorruptError
        If it cannot be read. Nothing is changed.
    """
    try:
        class_name = contents.of_removed().class_name(one.link)
    except StorageError as error:
        raise CorruptError(f"removed object {one.key!r} cannot be restored: {error}") from error
    is_taken = one.key in contents
    if is_taken:
        standing = classes.name_if_readable(contents, one.key)
        contents.remove(one.key)
        with contents.in_one_piece():
            indexing.forget(contents, standing, one.key)
    indexing.prepare(contents, class_name)
    contents.restore(one, one.key)
    with contents.in_one_piece():
        row, missing = _meaning(contents, one.key)
        indexing.put(contents, class_name, one.key, row)
    return RestoredObject(one.key, one.number, is_taken, tuple(missing))


def purge(contents: Contents, numbers: Sequence[int] | None = None) -> list[RemovedObject]:
    """Delete for good what was removed: all, or what has these numbers; return what it was."""
    gone = [one for one in contents.removed.listed() if numbers is None or one.number in numbers]
    for one in gone:
        contents.purge(one)
    return gone


def fault_of(contents: Contents, one: RemovedObject) -> str | None:
    """Return why something removed could not be restored as it was; ``None`` if it could.

    Its document, its arrays and every stored byte of its files are compared with their checks.
    """
    view = contents.of_removed()
    try:
        view.tree(one.link)
        for info in view.members(one.link):
            faults = [info.fault] if info.fault else view.verify_member(one.link, info.name, full=False)
            for fault in faults:
                return f"file {info.name!r}: {fault if isinstance(fault, str) else fault.message}"
    except StorageError as error:
        return str(error)
    return None


def _meaning(contents: Contents, key: str) -> tuple[dict[str, Value] | None, list[str]]:
    """Return the row of an object, ``None`` if none can be made, and what it refers to and is not there."""
    try:
        document = contents.document(key, contents.loader(key))
        stored = classes.interpret(contents, key, document, lazily=True)
        if classes.is_undescribed(stored):
            return None, []
        missing = [other for other in dict.fromkeys(classes.references(stored)) if other not in contents]
        return indexing.row_of(stored.index_values(), contents.identity(key)), missing
    except (CorruptError, *indexing.NOT_UNDERSTOOD):
        return None, []

"""The data classes of a container: those of this program, and those that the container itself describes.

What a program has not registered is made from the schema that a program which has it left in the container.
"""

from __future__ import annotations

import logging
from functools import lru_cache

from simarchive.container.contents import Contents
from simarchive.container.objects import ReadDocument
from simarchive.data import BaseStoredData, data_class_named, is_class_name, name_and_subclasses
from simarchive.data.schemas import is_stand_in, schema_text, stand_in_for, undescribed_class
from simarchive.errors import CorruptError, FormatError, InvalidDataError

LOGGER = logging.getLogger("simarchive")


def class_of(contents: Contents, class_name: str) -> type[BaseStoredData] | None:
    """Return the data class of a name: this program's, or what stands in for it; ``None`` if neither is."""
    known = data_class_named(class_name)
    if known is not None or not is_class_name(class_name):
        return known
    try:
        text = contents.schema(class_name)
    except CorruptError as error:
        _say_once(str(error))
        return None
    return None if text is None else _stand_in(class_name, text)


def name_if_readable(contents: Contents, key: str) -> str | None:
    """Return the name of an object's data class; ``None`` if it is damaged, and can still be removed."""
    try:
        return contents.class_name(key)
    except CorruptError:
        return None


@lru_cache(maxsize=256)
def _stand_in(class_name: str, text: str) -> type[BaseStoredData] | None:
    try:
        return stand_in_for(class_name, text)
    except InvalidDataError as error:
        _say_once(f"the schema of {class_name!r} cannot be used: {error}")
        return None


@lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    LOGGER.warning("%s: import the module that defines the class", message)


def names_of(contents: Contents, data_class: type[BaseStoredData]) -> tuple[str, ...]:
    """Return the names of a class and its subclasses that the objects of a container may have."""
    names = name_and_subclasses(data_class)
    others = []
    for name in contents.data_classes():
        if name not in names and data_class_named(name) is None:
            found = class_of(contents, name)
            if found is not None and issubclass(found, data_class):
                others.append(name)
    return (*names, *others)


def keep_schema(contents: Contents, data_class: type[BaseStoredData]) -> None:
    """Keep the schema of the class of an object that is written, unless a later version is kept.

    Where the class itself says otherwise than what stands in for it, the class is right.

    Raises
    ------
    InvalidDataError
        If the class is not registered.
    """
    if not is_stand_in(data_class) and data_class_named(data_class.data_class_name) is None:
        raise InvalidDataError(
            f"the data class {data_class.data_class_name or data_class.__name__!r} is not registered:"
            " decorate it with @register_data_class"
        )
    name, text = data_class.data_class_name, schema_text(data_class)
    if text is None:
        return
    try:
        kept = contents.schema(name)
    except CorruptError:
        kept = None
    if kept == text:
        return
    present = None if kept is None else _stand_in(name, kept)
    if present is not None:
        is_later = present.data_class_version > data_class.data_class_version
        if is_later or (
            is_stand_in(data_class) and present.data_class_version == data_class.data_class_version
        ):
            return
    contents.keep_schema(name, text)


def copy_schemas(source: Contents, target: Contents) -> None:
    """Copy the schemas of a container as far as they can be read."""
    for name in source.data_classes():
        if is_class_name(name):
            try:
                text = source.schema(name)
            except CorruptError as error:
                LOGGER.warning("%s: it is not copied", error)
                continue
            if text is not None:
                target.keep_schema(name, text)


def interpret(
    contents: Contents,
    key: str,
    document: ReadDocument,
    *,
    lazily: bool = False,
    like: type[BaseStoredData] | None = None,
) -> BaseStoredData:
    """Return the object that a document says.

    Parameters
    ----------
    lazily
        As for `BaseStoredData.from_document`.
    like
        The class of an object that it will be compared with, which is used if it stands in for another.

    Raises
    ------
    InvalidDataError
        If its data class is not registered in this process and not described in the container, or the
        document does not fit the class.
    """
    data_class = class_of(contents, document.data_class)
    if like is not None and is_stand_in(like) and like.data_class_version == document.data_class_version:
        data_class = like
    if data_class is None:
        raise InvalidDataError(
            f"object {key!r} is of the data class {document.data_class!r}, which is not registered, and which"
            " the container does not describe: import the module that defines it"
        )
    return data_class.from_document(document.tree, document.data_class_version, lazily=lazily)


def copied(contents: Contents, key: str, document: ReadDocument, *, lazily: bool = False) -> BaseStoredData:
    """Return the object of a document to be copied; what nobody can interpret here is copied as it is.

    Parameters
    ----------
    lazily
        As for `interpret`.
    """
    try:
        return interpret(contents, key, document, lazily=lazily)
    except (FormatError, InvalidDataError):
        if data_class_named(document.data_class) is not None or not is_class_name(document.data_class):
            raise
    undescribed = undescribed_class(
        document.data_class, document.data_class_version, has_files=document.has_ancillary_data
    )
    return undescribed.from_document(document.tree)

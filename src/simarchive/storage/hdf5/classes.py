"""The data classes of a container: those of this program, and those that the container itself describes.

What a program has not registered is made from the schema that a program which has it left in the container.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from simarchive.container.contents import Contents
from simarchive.container.objects import ReadDocument
from simarchive.errors import CorruptError, FormatError, InvalidDataError
from simarchive.ground.vocabulary.data_classes import DECLARED, Declaration

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData

LOGGER = logging.getLogger("simarchive")


def stands_in(data_class: type[BaseStoredData]) -> bool:
    """Return whether a class was made from the schema that a container keeps."""
    from simarchive.data.schemas import is_stand_in

    return is_stand_in(data_class)


def is_undescribed(stored: BaseStoredData) -> bool:
    """Return whether nothing but its document is known of an object."""
    from simarchive.data.schemas import UndescribedData

    return isinstance(stored, UndescribedData)


def references(stored: BaseStoredData) -> list[str]:
    """Return the keys of other objects that an object refers to."""
    from simarchive.storage import merging

    return merging.references(stored)


def declaration_of(contents: Contents, class_name: str) -> Declaration | None:
    """Return what the index has to know of a class of this name; ``None`` if nobody knows it here.

    No data class is loaded to know this of those that this package has.
    """
    declared = DECLARED.get(class_name)
    if declared is None:
        data_class = class_of(contents, class_name)
        declared = None if data_class is None else declaration_by(data_class)
    return declared


@functools.cache
def declaration_by(data_class: type[BaseStoredData]) -> Declaration:
    """Return what a data class itself says."""
    return Declaration(data_class.data_class_version, data_class.index_columns())


def registered() -> tuple[type[BaseStoredData], ...]:
    """Return the data classes of this program, with those that stand for classes of Evaluator's users."""
    from simarchive.data import registered_data_classes
    from simarchive.storage.evaluator_json import EvaluatorObject as EvaluatorObject

    return registered_data_classes()


def is_registered(class_name: str) -> bool:
    """Return whether this program has the data class of a name."""
    return class_name in DECLARED or registered_class(class_name) is not None


def registered_class(class_name: str) -> type[BaseStoredData] | None:
    """Return the data class that this program has under a name, or ``None``."""
    from simarchive.data import data_class_named
    from simarchive.storage.evaluator_json import EvaluatorObject as EvaluatorObject

    return data_class_named(class_name)


def class_of(contents: Contents, class_name: str) -> type[BaseStoredData] | None:
    """Return the data class of a name: this program's, or what stands in for it; ``None`` if neither is."""
    from simarchive.data import is_class_name

    known = registered_class(class_name)
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


@functools.lru_cache(maxsize=256)
def _stand_in(class_name: str, text: str) -> type[BaseStoredData] | None:
    from simarchive.data.schemas import stand_in_for

    try:
        return stand_in_for(class_name, text)
    except InvalidDataError as error:
        _say_once(f"the schema of {class_name!r} cannot be used: {error}")
        return None


@functools.lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    LOGGER.warning("%s: import the module that defines the class", message)


def names_of(contents: Contents, data_class: type[BaseStoredData]) -> tuple[str, ...]:
    """Return the names of a class and its subclasses that the objects of a container may have."""
    from simarchive.data import name_and_subclasses

    names = name_and_subclasses(data_class)
    others = []
    for name in contents.data_classes():
        if name not in names and not is_registered(name):
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
    from simarchive.data.schemas import is_stand_in, schema_text

    if not is_stand_in(data_class) and not is_registered(data_class.data_class_name):
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
    from simarchive.data import is_class_name

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
    from simarchive.data.schemas import is_stand_in

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
    from simarchive.data import is_class_name
    from simarchive.data.schemas import undescribed_class

    try:
        return interpret(contents, key, document, lazily=lazily)
    except (FormatError, InvalidDataError):
        if is_registered(document.data_class) or not is_class_name(document.data_class):
            raise
    undescribed = undescribed_class(
        document.data_class, document.data_class_version, has_files=document.has_ancillary_data
    )
    return undescribed.from_document(document.tree)

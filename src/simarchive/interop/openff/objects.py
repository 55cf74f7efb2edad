"""OpenFF Evaluator's stored objects to our data objects and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import InvalidDataError
from simarchive.interop.openff.values import from_typed, to_typed
from simarchive.storage.evaluator_json.documents import from_evaluator, has_data_class_for, to_evaluator
from simarchive.storage.evaluator_json.objects import (
    OPAQUE_CLASSES,
    EvaluatorObject,
    EvaluatorObjectWithFiles,
    typed_of,
)


def archived(evaluator_object: Any) -> BaseStoredData:
    """Return our object for one of Evaluator's; an `EvaluatorObject` for a class that we have not.

    Raises
    ------
    InvalidDataError
        If the object could not be read back.
    """
    typed = to_typed(evaluator_object)
    if has_data_class_for(typed):
        return archived_typed(typed)
    # A user's class may write what it cannot read: better to know now.
    from_typed(typed)
    with_files = bool(evaluator_object.has_ancillary_data())
    return (EvaluatorObjectWithFiles if with_files else EvaluatorObject).of(typed)


def archived_typed(typed: Mapping[str, Any]) -> BaseStoredData:
    """Return our object for the typed JSON of a class that we have.

    Raises
    ------
    InvalidDataError
        If the class is not registered, or does not accept the fields.
    """
    name, tree = from_evaluator(typed)
    data_class = data_class_named(name)
    if data_class is None:
        raise InvalidDataError(f"the data class {name!r} is not registered: import the module that does so")
    return data_class.from_document(tree, 1)


def restored(class_name: str, tree: Mapping[str, Any]) -> Any:
    """Return Evaluator's object for the document of one of ours.

    Raises
    ------
    InvalidDataError
        If Evaluator has no class for it, or the program has not loaded the class.
    """
    return from_typed(typed_document(class_name, tree))


def typed_document(class_name: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return Evaluator's typed JSON for the document of one of our objects, arrays not yet lists."""
    return typed_of(tree) if class_name in OPAQUE_CLASSES else to_evaluator(class_name, tree)


def stored_class_name(type_string: str) -> str:
    """Return the name of the Python class of a type string, under which Evaluator files keys."""
    return type_string.rpartition(".")[2]

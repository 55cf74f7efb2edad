"""Objects of data classes that users of OpenFF Evaluator wrote themselves, kept as its typed JSON.

Evaluator's own classes become ours. What only a user's program can interpret is kept as it is: its type,
and its JSON with arrays as variables. Nobody needs Evaluator to list, copy or extract such objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simarchive.chemistry import Substance
from simarchive.chemistry.trees import same_tree
from simarchive.data import BaseStoredData, data_class_named, register_data_class
from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json.documents import from_evaluator, has_data_class_for, to_evaluator
from simarchive.storage.evaluator_json.reading import read_value, with_arrays
from simarchive.storage.evaluator_json.types import TYPE


class TypedJSON:
    """The typed JSON of an object, arrays in it as numpy arrays."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = dict(tree)

    def to_tree(self) -> dict[str, Any]:
        """Return the typed JSON."""
        return self._tree

    @classmethod
    def from_tree(cls, tree: Any) -> TypedJSON:
        """Return the value of a tree."""
        if not isinstance(tree, Mapping):
            raise InvalidDataError(f"typed JSON must be an object, not {type(tree).__name__}")
        return cls(tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedJSON) and same_tree(self._tree, other._tree)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<TypedJSON with {', '.join(self._tree) or 'nothing'}>"


@register_data_class("EvaluatorObject", version=1)
class EvaluatorObject(BaseStoredData):
    """An object of a user's own Evaluator class, without ancillary data."""

    type_string: str | None = None
    """The module path and name of the class."""
    state: TypedJSON | None = None
    """Its fields as typed JSON."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return False: there is `EvaluatorObjectWithFiles` for those that have."""
        return False

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> EvaluatorObject:
        """Return the object of typed JSON."""
        return cls(
            type_string=typed[TYPE],
            state=TypedJSON({name: value for name, value in typed.items() if name != TYPE}),
        )

    @property
    def substance(self) -> Substance | None:
        """The substance, if the object has one that can be read."""
        typed = None if self.state is None else self.state.to_tree().get("substance")
        if typed is None:
            return None
        try:
            return Substance.from_tree(read_value(typed, "substance"))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # Only a user's program says what it should be: all of it was read as JSON, no more.
            return None

    def to_typed(self) -> dict[str, Any]:
        """Return the typed JSON that the object was made of."""
        return typed_of(type(self).data_class_name, self.to_document())


@register_data_class("EvaluatorObjectWithFiles", version=1)
class EvaluatorObjectWithFiles(EvaluatorObject):
    """An object of a user's own Evaluator class, with ancillary data."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return True."""
        return True


def opaque_class(*, with_files: bool) -> type[EvaluatorObject]:
    """Return the data class for objects with or without ancillary data."""
    return EvaluatorObjectWithFiles if with_files else EvaluatorObject


OPAQUE_CLASSES = ("EvaluatorObject", "EvaluatorObjectWithFiles")
"""The data classes of objects that only a user's program can interpret."""


def typed_of(data_class_name: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return Evaluator's typed JSON for the document of an object; arrays in it stay arrays.

    Raises
    ------
    InvalidDataError
        If the data class has no form there.
    """
    if data_class_name in OPAQUE_CLASSES:
        return {**tree["state"], TYPE: tree["type_string"]}
    return to_evaluator(data_class_name, tree)


def object_of(typed: Any, *, with_files: bool) -> BaseStoredData:
    """Return the object of typed JSON; an `EvaluatorObject` if its class has no data class here.

    Parameters
    ----------
    with_files
        Whether it has ancillary data, which only the class of an object that has none here says.

    Raises
    ------
    InvalidDataError
        If it is not a stored object, its data class is not registered, or does not accept the fields.
    """
    if isinstance(typed, Mapping) and TYPE in typed and not has_data_class_for(typed):
        return opaque_class(with_files=with_files).of(with_arrays(typed))
    name, tree = from_evaluator(typed)
    return stored_object(name, tree, version=1)


def stored_object(data_class_name: str, tree: Mapping[str, Any], *, version: int) -> BaseStoredData:
    """Return the object of a document that a version of its data class wrote.

    Raises
    ------
    InvalidDataError
        If the data class is not registered, or does not accept the fields.
    """
    data_class = data_class_named(data_class_name)
    if data_class is None:
        raise InvalidDataError(
            f"the data class {data_class_name!r} is not registered: import the module that does so"
        )
    return data_class.from_document(tree, version)

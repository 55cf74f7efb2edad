"""Objects of data classes that users of OpenFF Evaluator wrote themselves, kept as its typed JSON.

Evaluator's own classes become ours. What only a user's program can interpret is kept as it is: its type,
and its JSON with arrays as variables. Nobody needs Evaluator to list, copy or extract such objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simarchive.chemistry import Substance
from simarchive.chemistry.trees import same_tree
from simarchive.data import BaseStoredData, register_data_class
from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json.reading import read_value
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
        except InvalidDataError:
            return None

    def to_typed(self) -> dict[str, Any]:
        """Return the typed JSON that the object was made of."""
        return typed_of(self.to_document())


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


def typed_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the typed JSON in the document of an `EvaluatorObject`."""
    return {**document["state"], TYPE: document["type_string"]}

"""Kinds of fields for lists and mappings."""

from __future__ import annotations

from typing import Any

from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import Tree
from simarchive.data.kinds import FieldKind, ScalarKind, TextKind
from simarchive.data.value_kinds import SubstanceKind
from simarchive.ground.conditions import ColumnKind, Value


class ListKind(FieldKind):
    """Lists of values of one kind."""

    def __init__(self, element: FieldKind) -> None:
        self.element = element
        self.wanted = f"a list, each element {element.wanted},"

    def accept(self, value: Any) -> list[Any]:
        """Return a new list of the accepted elements."""
        if not isinstance(value, list | tuple):
            raise self.refuse(value)
        return [self.element.accept(element) for element in value]

    def to_tree(self, value: list[Any]) -> Tree:
        """Return the trees of the elements."""
        return [self.element.to_tree(element) for element in value]

    def from_tree(self, tree: Tree) -> list[Any]:
        """Return the elements of a list of trees."""
        if not isinstance(tree, list):
            raise self.refuse(tree)
        return [self.element.from_tree(element) for element in tree]

    def validate(self, value: list[Any]) -> None:
        """Validate each element, for a list can be changed in place."""
        for element in self.accept(value):
            self.element.validate(element)

    def same(self, first: list[Any], second: list[Any]) -> bool:
        """Return whether the elements are equal, in order."""
        return len(first) == len(second) and all(map(self.element.same, first, second))


class SubstanceListKind(ListKind, ScalarKind):
    """Lists of substances, which stand in the index by their sorted identifiers, one a line."""

    column_kind = ColumnKind.CATEGORY

    def __init__(self) -> None:
        super().__init__(SubstanceKind())

    def index_value(self, value: list[Substance]) -> Value:
        """Return the sorted identifiers, one a line."""
        return "\n".join(sorted(substance.identifier for substance in value))


class MappingKind(FieldKind):
    """Mappings from texts to values of one kind."""

    def __init__(self, element: FieldKind) -> None:
        self._key = TextKind()
        self.element = element
        self.wanted = f"a dict from text, each value {element.wanted},"

    def accept(self, value: Any) -> dict[str, Any]:
        """Return a new dict of the accepted values."""
        if not isinstance(value, dict):
            raise self.refuse(value)
        return {self._key.accept(key): self.element.accept(element) for key, element in value.items()}

    def to_tree(self, value: dict[str, Any]) -> Tree:
        """Return the trees of the values."""
        return {key: self.element.to_tree(element) for key, element in value.items()}

    def from_tree(self, tree: Tree) -> dict[str, Any]:
        """Return the values of a mapping of trees."""
        if not isinstance(tree, dict):
            raise self.refuse(tree)
        return {self._key.accept(key): self.element.from_tree(element) for key, element in tree.items()}

    def validate(self, value: dict[str, Any]) -> None:
        """Validate each value, for a dict can be changed in place."""
        for element in self.accept(value).values():
            self.element.validate(element)

    def same(self, first: dict[str, Any], second: dict[str, Any]) -> bool:
        """Return whether keys and values are equal; the order does not matter."""
        return first.keys() == second.keys() and all(
            self.element.same(first[key], second[key]) for key in first
        )

"""Kinds of fields for lists and mappings.

Those of texts, numbers and the like are searched by their elements: an index column holds what would stand in
a column of its own for each, as JSON, one a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import Tree
from simarchive.data.kinds import FieldKind, ScalarKind, TextKind
from simarchive.data.value_kinds import SubstanceKind
from simarchive.ground.conditions import ColumnKind, Condition, Satisfies, Value, in_words


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


class ElementsKind(ScalarKind):
    """What lists and mappings have in common that are searched by their elements."""

    column_kind = ColumnKind.CATEGORY
    element: FieldKind

    @property
    def scalar(self) -> ScalarKind:
        """The kind of the elements."""
        assert isinstance(self.element, ScalarKind)
        return self.element

    @property
    def is_number(self) -> bool:  # type: ignore[override]
        """Whether a range of elements makes sense."""
        return self.scalar.is_number


class ElementListKind(ListKind, ElementsKind):
    """Lists that are searched by their elements."""

    def index_value(self, value: list[Any]) -> Value:
        """Return what each element has in the index, one a line."""
        return "\n".join(json.dumps(self.scalar.index_value(element)) for element in value)

    def having(self, column: str, condition: Condition) -> Condition:
        """Return the condition for lists with an element that fulfils a condition."""

        def test(text: str) -> bool:
            return any(map(condition.matches, _lines(text)))

        return Satisfies(column, test, f"has one that {in_words(condition)}")


class MappingKind(FieldKind):
    """Mappings from texts to values of one kind."""

    def __init__(self, element: FieldKind) -> None:
        self.key = TextKind()
        self.element = element
        self.wanted = f"a dict from text, each value {element.wanted},"

    def accept(self, value: Any) -> dict[str, Any]:
        """Return a new dict of the accepted values."""
        if not isinstance(value, dict):
            raise self.refuse(value)
        return {self.key.accept(key): self.element.accept(element) for key, element in value.items()}

    def to_tree(self, value: dict[str, Any]) -> Tree:
        """Return the trees of the values."""
        return {key: self.element.to_tree(element) for key, element in value.items()}

    def from_tree(self, tree: Tree) -> dict[str, Any]:
        """Return the values of a mapping of trees."""
        if not isinstance(tree, dict):
            raise self.refuse(tree)
        return {self.key.accept(key): self.element.from_tree(element) for key, element in tree.items()}

    def validate(self, value: dict[str, Any]) -> None:
        """Validate each value, for a dict can be changed in place."""
        for element in self.accept(value).values():
            self.element.validate(element)

    def same(self, first: dict[str, Any], second: dict[str, Any]) -> bool:
        """Return whether keys and values are equal; the order does not matter."""
        return first.keys() == second.keys() and all(
            self.element.same(first[key], second[key]) for key in first
        )


class ElementMappingKind(MappingKind, ElementsKind):
    """Mappings that are searched by their keys and values."""

    def index_value(self, value: dict[str, Any]) -> Value:
        """Return each key with what its value has in the index, one pair a line, in the order of the keys."""
        return "\n".join(json.dumps([key, self.scalar.index_value(value[key])]) for key in sorted(value))

    def having(self, column: str, wanted: Mapping[str, Condition | None]) -> Condition:
        """Return the condition for mappings that have some keys, and fulfil conditions under them."""

        def test(text: str) -> bool:
            values = dict(_lines(text))
            return all(
                key in values and (condition is None or condition.matches(values[key]))
                for key, condition in wanted.items()
            )

        words = (f"{key!r}" + (f" that {in_words(wish)}" if wish else "") for key, wish in wanted.items())
        return Satisfies(column, test, f"has {' and '.join(words)}")


@lru_cache(maxsize=8192)
def _lines(text: str) -> tuple[Any, ...]:
    return tuple(map(json.loads, text.splitlines())) if text else ()


def list_kind(element: FieldKind, *, is_searched: bool = True) -> ListKind:
    """Return the kind of lists of a kind of elements; it is searched if the elements can be."""
    if isinstance(element, SubstanceKind):
        return SubstanceListKind()
    return ElementListKind(element) if is_searched and _is_searchable(element) else ListKind(element)


def mapping_kind(element: FieldKind, *, is_searched: bool = True) -> MappingKind:
    """Return the kind of mappings to a kind of values; it is searched if the values can be."""
    return ElementMappingKind(element) if is_searched and _is_searchable(element) else MappingKind(element)


def _is_searchable(element: FieldKind) -> bool:
    """Return whether an element is one value of a column, which is not itself made of several."""
    return (
        isinstance(element, ScalarKind)
        and not isinstance(element, SubstanceListKind | ElementsKind)
        and len(element.terms("element")) == 1
    )

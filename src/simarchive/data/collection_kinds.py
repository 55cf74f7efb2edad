"""Kinds of fields for lists and mappings.

Those whose elements are texts, numbers and the like are searched, all in the same way: a list by what is in
it, a mapping by its names and what stands under them. How they stand in their one text column of the index
differs from kind to kind; a query tests the text of a row, so it reads the column and no document.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import Tree
from simarchive.data.kinds import FieldKind, ScalarKind, TextKind
from simarchive.data.value_kinds import SubstanceKind
from simarchive.ground.conditions import ColumnKind, Condition, Satisfies, Value


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


Test = Callable[[Any], bool]
"""Whether what stands in an index for one element is wanted."""


class SearchedListKind(ListKind, ScalarKind):
    """Lists that are searched by their elements."""

    column_kind = ColumnKind.CATEGORY

    @abstractmethod
    def elements_in(self, text: str) -> Iterable[Any]:
        """Return what each element has in an index, from the text of the list there."""

    def having(self, column: str, test: Test, words: str) -> Condition:
        """Return the condition for lists with an element that passes a test; `words` say which."""
        return Satisfies(column, lambda text: any(map(test, self.elements_in(text))), f"has one that {words}")


class ElementListKind(SearchedListKind):
    """Lists of numbers, texts and the like."""

    def index_value(self, value: list[Any]) -> Value:
        """Return what each element has in the index as JSON, one a line."""
        assert isinstance(self.element, ScalarKind)
        return "\n".join(json.dumps(self.element.index_value(element)) for element in value)

    def elements_in(self, text: str) -> Iterable[Any]:
        """Return the lines."""
        return _lines(text)


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


class SearchedMappingKind(MappingKind, ScalarKind):
    """Mappings that are searched by their names and what stands under them."""

    @abstractmethod
    def value_in(self, text: str, name: str) -> Any:
        """Return what the value under a name has in an index, from the text of the mapping there, or None."""

    def having(self, column: str, name: str, test: Test | None, words: str = "") -> Condition:
        """Return the condition for mappings with a name, and a value that passes a test under it."""

        def holds(text: str) -> bool:
            value = self.value_in(text, name)
            return value is not None and (test is None or test(value))

        return Satisfies(column, holds, f"has {name!r}{words and f' that {words}'}")


class ElementMappingKind(SearchedMappingKind):
    """Mappings to numbers, texts and the like."""

    column_kind = ColumnKind.CATEGORY

    def index_value(self, value: dict[str, Any]) -> Value:
        """Return the names in their order, each with what its value has in the index, one pair a line."""
        assert isinstance(self.element, ScalarKind)
        pairs = ([name, self.element.index_value(value[name])] for name in sorted(value))
        return "\n".join(map(json.dumps, pairs))

    def value_in(self, text: str, name: str) -> Any:
        """Return what stands in the line of a name."""
        return next((value for known, value in _lines(text) if known == name), None)


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
        and not isinstance(element, SubstanceListKind | SearchedListKind | SearchedMappingKind)
        and len(element.terms("element")) == 1
    )

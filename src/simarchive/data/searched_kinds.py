"""Searched lists and mappings with rules of their own: tags, and values of any kind by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from simarchive.chemistry.trees import Tree, describe
from simarchive.chemistry.units import (
    as_quantity,
    is_quantity,
    magnitude_in,
    quantity_from_tree,
    quantity_to_tree,
    same_quantity,
    unit_text,
)
from simarchive.data.collection_kinds import SearchedListKind, SearchedMappingKind
from simarchive.data.kinds import BooleanKind, FieldKind, IntegerKind, RealKind, TextKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import ColumnKind, Value

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity

Plain = bool | int | float | str | tuple[float, str]
"""What an index text says of one value: a quantity is a number in base units with their name."""


class TagsKind(SearchedListKind):
    """Lists of texts whose order does not matter; they stand in the index sorted, one a line."""

    def __init__(self) -> None:
        super().__init__(TextKind())
        self.wanted = "a list of texts"

    def accept(self, value: Any) -> list[str]:
        """Return a new list of the texts, each once, in the order of their first places."""
        tags = super().accept(value)
        for tag in tags:
            if not tag.strip() or not tag.isprintable():
                raise InvalidDataError(f"a tag must be a text of one line that is not blank, not {tag!r}")
        return list(dict.fromkeys(tags))

    def same(self, first: list[str], second: list[str]) -> bool:
        """Return whether the tags are the same; their order does not matter."""
        return set(first) == set(second)

    def index_value(self, value: list[str]) -> Value:
        """Return the sorted tags, one a line; nothing for an empty list."""
        return "\n".join(sorted(set(value))) or None

    def elements_in(self, text: str) -> Iterable[str]:
        """Return the tags."""
        return text.split("\n")


class AnyValueKind(FieldKind):
    """A truth value, number, text or quantity of one number."""

    wanted = "a number, a text, True or False, or a quantity of one number"

    def __init__(self) -> None:
        self._kinds = ((bool, BooleanKind()), (int, IntegerKind()), (float, RealKind()), (str, TextKind()))

    def accept(self, value: Any) -> Any:
        """Return the value as a plain one of its own type."""
        if is_quantity(value):
            quantity = as_quantity(value, "the value")
            if not isinstance(quantity.magnitude, int | float):
                raise self.refuse(value)
            return quantity
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
        for python_type, kind in self._kinds:
            if isinstance(plain, python_type):
                return kind.accept(plain)
        raise self.refuse(value)

    def to_tree(self, value: Any) -> Tree:
        """Return the value, a quantity as number and unit."""
        return quantity_to_tree(value) if is_quantity(value) else value

    def from_tree(self, tree: Tree) -> Any:
        """Return the value of a tree."""
        return self.accept(quantity_from_tree(tree, "a quantity") if isinstance(tree, dict) else tree)

    def same(self, first: Any, second: Any) -> bool:
        """Return whether type, unit and value agree; NaN equals itself."""
        if is_quantity(first) and is_quantity(second):
            return same_quantity(first, second)
        if is_quantity(first) or is_quantity(second) or type(first) is not type(second):
            return False
        return bool(first == second) or (first != first and second != second)


class ValuesByNameKind(SearchedMappingKind):
    """Mappings to values of one kind or any; they stand in the index as sorted JSON."""

    column_kind = ColumnKind.IDENTIFIER

    def accept(self, value: Any) -> dict[str, Any]:
        """Return a new dict of the accepted values, whose names can be written in a query."""
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str) or not name.strip() or not name.isprintable():
                    raise InvalidDataError(
                        f"the name of a value must be a text of one line, not {describe(name)}"
                    )
        return super().accept(value)

    def index_value(self, value: dict[str, Any]) -> Value:
        """Return the values by sorted names as JSON; nothing for an empty mapping."""
        plain = {name: _json_value(value[name]) for name in sorted(value)}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) if plain else None

    def value_in(self, text: str, name: str) -> Plain | None:
        """Return what the text says of the value with a name, or ``None``."""
        # Most rows do not have the name, and need no parsing.
        if json.dumps(name, ensure_ascii=False) not in text:
            return None
        try:
            found = json.loads(text).get(name)
        except (ValueError, AttributeError):
            return None
        if isinstance(found, dict):
            return float(str(found.get("number", "nan")))
        return (float(found[0]), str(found[1])) if isinstance(found, list) else found


def _json_value(value: Any) -> Any:
    if is_quantity(value):
        return list(in_base_units(value))
    # Of numbers that JSON does not have, and of the two zeros, one text each.
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else {"number": str(value)}
    return value


def in_base_units(quantity: Quantity) -> tuple[float, str]:
    """Return the number of a quantity in base units, and the name of these."""
    base = _base_unit_text(unit_text(quantity.units))
    return magnitude_in(quantity, base), base


@lru_cache(maxsize=1024)
def _base_unit_text(text: str) -> str:
    quantity: Any = as_quantity(f"1 {text}", "a unit").to_base_units()
    return unit_text(quantity.units)

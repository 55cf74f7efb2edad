"""Kinds of fields: how a value of a field is accepted, stored, compared and indexed.

One kind stands behind each annotation that a data class may use. Kinds that can be searched derive from
`ScalarKind`: each maps a value to the one number or text that stands in an index column, and two values are
equal for a query exactly if these are.
"""

from __future__ import annotations

import enum
import math
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from simarchive.chemistry.trees import Tree, describe, same_tree
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import ColumnKind, Condition, Equals, Value, Within
from simarchive.ground.keys import check_member_name


class FilePath(str):
    """The name of a member: a file of the ancillary data, relative to its directory; empty for none."""

    __slots__ = ()


class FieldKind(ABC):
    """How values of one kind of field are accepted, stored and compared."""

    wanted: str  #: what is accepted, in words

    @abstractmethod
    def accept(self, value: Any) -> Any:
        """Return the value as it is kept, or raise InvalidDataError."""

    def to_tree(self, value: Any) -> Tree:
        """Return the tree of a value."""
        return value

    def from_tree(self, tree: Tree) -> Any:
        """Return the value of a tree."""
        return self.accept(tree)

    def validate(self, value: Any) -> None:
        """Raise InvalidDataError if the value is not complete."""
        self.accept(value)

    def same(self, first: Any, second: Any) -> bool:
        """Return whether two values are equal; NaN equals itself."""
        return bool(first == second)

    def terms(self, name: str) -> tuple[Term, ...]:
        """Return what queries can search in a field of this kind."""
        return ()

    def refuse(self, value: object) -> InvalidDataError:
        """Return the error for a value of another kind."""
        return InvalidDataError(f"{self.wanted} is expected, not {describe(value)}")


class ScalarKind(FieldKind):
    """A kind whose values stand in one index column."""

    column_kind: ColumnKind
    is_number: bool = False  #: whether a range makes sense

    @abstractmethod
    def index_value(self, value: Any) -> Value:
        """Return what stands in the index column for a value."""

    def tolerance(self, bound: float) -> float:
        """Return how far beyond a bound, or beside a number asked for, still matches."""
        return 0.0

    def condition(self, value: Any, column: str) -> Condition:
        """Return the condition on the index column for the values that count as the one asked for.

        Raises
        ------
        InvalidDataError
            If it is a value of another kind.
        """
        index_value = self.index_value(self.accept(value))
        if index_value is None:
            raise self.refuse(value)
        if isinstance(index_value, float) and self.tolerance(index_value):
            tolerance = self.tolerance(index_value)
            return Within(column, index_value - tolerance, index_value + tolerance)
        return Equals(column, index_value)

    def terms(self, name: str) -> tuple[Term, ...]:
        """Return the one term: the value itself."""
        return (Term(name, self),)


@dataclass(frozen=True)
class Term:
    """Something that queries can search: a field or a part of one, with its index column's name."""

    name: str
    kind: ScalarKind
    part: str | None = None

    def value_of(self, field_value: Any) -> Any:
        """Return the searchable value within the value of the field, or None."""
        return field_value if self.part is None or field_value is None else getattr(field_value, self.part)

    def index_value(self, field_value: Any) -> Value:
        """Return what stands in the index column for the value of the field."""
        value = self.value_of(field_value)
        return None if value is None else self.kind.index_value(value)


class IntegerKind(ScalarKind):
    """Integers of 64 bits."""

    wanted = "an integer of at most 64 bits"
    column_kind = ColumnKind.INTEGER
    is_number = True

    def accept(self, value: Any) -> int:
        """Return the value as an int."""
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise self.refuse(value)
        if not -(2**63) <= value < 2**63:
            raise self.refuse(value)
        return int(value)

    def index_value(self, value: int) -> Value:
        """Return the number."""
        return value


class RealKind(ScalarKind):
    """Floating-point numbers of 64 bits; integers become such."""

    wanted = "a number"
    column_kind = ColumnKind.REAL
    is_number = True

    def accept(self, value: Any) -> float:
        """Return the value as a float, if it is one without loss."""
        if isinstance(value, bool | np.bool_) or not isinstance(
            value, int | float | np.integer | np.floating
        ):
            raise self.refuse(value)
        try:
            number = float(value)
        except OverflowError as error:
            raise self.refuse(value) from error
        if isinstance(value, int | np.integer) and int(number) != value:
            raise self.refuse(value)
        return number

    def index_value(self, value: float) -> Value:
        """Return the number."""
        return value

    def same(self, first: float, second: float) -> bool:
        """Return whether the numbers are equal, or both NaN."""
        return first == second or (math.isnan(first) and math.isnan(second))


class BooleanKind(ScalarKind):
    """Truth values, which stand in the index as 0 and 1."""

    wanted = "True or False"
    column_kind = ColumnKind.INTEGER

    def accept(self, value: Any) -> bool:
        """Return the value as a bool."""
        if not isinstance(value, bool | np.bool_):
            raise self.refuse(value)
        return bool(value)

    def index_value(self, value: bool) -> Value:
        """Return 0 or 1."""
        return int(value)


class TextKind(ScalarKind):
    """Texts, few different ones (a category) or many (identifiers)."""

    wanted = "a text"

    def __init__(self, column_kind: ColumnKind = ColumnKind.CATEGORY) -> None:
        self.column_kind = column_kind

    def accept(self, value: Any) -> str:
        """Return the text, if UTF-8 can write it and it holds no NUL."""
        if not isinstance(value, str):
            raise self.refuse(value)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidDataError(f"{value[:60]!r} is not valid Unicode") from error
        if "\0" in value:
            raise InvalidDataError(f"{value[:60]!r} must not hold a NUL character")
        return str(value)

    def index_value(self, value: str) -> Value:
        """Return the text."""
        return value


class UnindexedTextKind(TextKind):
    """Texts that queries do not search."""

    def terms(self, name: str) -> tuple[Term, ...]:
        """Return nothing."""
        return ()


class FilePathKind(FieldKind):
    """Names of members."""

    wanted = "the name of a file, relative to the directory of the ancillary data,"

    def accept(self, value: Any) -> FilePath:
        """Return the name, if it stays below the directory, or is empty."""
        if not isinstance(value, str | os.PathLike):
            raise self.refuse(value)
        name = os.fspath(value)
        # OpenFF Evaluator stores objects whose calculation wrote no such file under an empty name.
        return FilePath(name if name == "" else check_member_name(name))

    def to_tree(self, value: FilePath) -> Tree:
        """Return the name as plain text."""
        return str(value)


class EnumKind(ScalarKind):
    """Members of an enumeration, by their values."""

    def __init__(self, enumeration: type[enum.Enum]) -> None:
        values = [member.value for member in enumeration]
        if not values or not all(isinstance(value, str) for value in values):
            raise InvalidDataError(f"the values of {enumeration.__name__} must be texts to be stored")
        self.column_kind = ColumnKind.CATEGORY
        self._enumeration = enumeration
        self.wanted = f"a {enumeration.__name__}"

    def choices(self) -> list[str]:
        """Return the values of all members."""
        return [member.value for member in self._enumeration]

    def accept(self, value: Any) -> enum.Enum:
        """Return the member, given as such or by its value."""
        try:
            return self._enumeration(value)
        except ValueError as error:
            raise self.refuse(value) from error

    def to_tree(self, value: enum.Enum) -> Tree:
        """Return the value of the member."""
        return value.value

    def index_value(self, value: enum.Enum) -> Value:
        """Return the value of the member."""
        text: str = value.value
        return text


class ChoiceKind(TextKind):
    """Texts of which there is a list: the values of an enumeration that this program has not."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__()
        self._choices = choices
        self.wanted = f"one of {', '.join(choices[:20])}"

    def choices(self) -> list[str]:
        """Return the texts."""
        return list(self._choices)

    def accept(self, value: Any) -> str:
        """Return the text, if it is one of them."""
        text = super().accept(value)
        if text not in self._choices:
            raise self.refuse(value)
        return text


class TreeKind(FieldKind):
    """Values of which only a class knows what they mean, kept as the trees that they are stored as."""

    wanted = "a tree"

    def accept(self, value: Any) -> Tree:
        """Return the tree, whatever it is."""
        return value

    def same(self, first: Tree, second: Tree) -> bool:
        """Return whether they are the same: types, order of fields, and every bit."""
        return same_tree(first, second)

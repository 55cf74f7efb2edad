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

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import Tree, describe, is_array_leaf, same_array
from simarchive.chemistry.units import (
    as_quantity,
    magnitude_in,
    plain_array,
    quantity_from_tree,
    quantity_to_tree,
    same_quantity,
)
from simarchive.conditions import ColumnKind, Value
from simarchive.errors import InvalidDataError
from simarchive.keys import check_member_name

TEMPERATURE_TOLERANCE_K = 1e-6
PRESSURE_TOLERANCE_PA = 1e-3


class FilePath(str):
    """The name of a member: a file of the ancillary data, relative to its directory."""

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
        """Return the name, if it stays below the directory."""
        if not isinstance(value, str | os.PathLike):
            raise self.refuse(value)
        return FilePath(check_member_name(os.fspath(value)))

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


class PhaseKind(ScalarKind):
    """Phases, which stand in the index as numbers."""

    wanted = "a PropertyPhase"
    column_kind = ColumnKind.INTEGER

    def accept(self, value: Any) -> PropertyPhase:
        """Return the phase."""
        if not isinstance(value, PropertyPhase):
            raise self.refuse(value)
        return value

    def to_tree(self, value: PropertyPhase) -> Tree:
        """Return the number of the phase."""
        return value.to_tree()

    def from_tree(self, tree: Tree) -> PropertyPhase:
        """Return the phase of a number."""
        return PropertyPhase.from_tree(tree)

    def index_value(self, value: PropertyPhase) -> Value:
        """Return the number of the phase."""
        return int(value)


class ValueKind(FieldKind):
    """Values of a class with ``to_tree`` and ``from_tree``, such as observables."""

    def __init__(self, value_class: type[Any]) -> None:
        self._value_class = value_class
        self.wanted = f"a {value_class.__name__}"

    def accept(self, value: Any) -> Any:
        """Return the value, if it is of the class."""
        if not isinstance(value, self._value_class):
            raise self.refuse(value)
        return value

    def to_tree(self, value: Any) -> Tree:
        """Return the tree of the value."""
        return value.to_tree()

    def from_tree(self, tree: Tree) -> Any:
        """Return the value of a tree."""
        return self._value_class.from_tree(tree)

    def validate(self, value: Any) -> None:
        """Validate the value, if its class knows how."""
        validate = getattr(value, "validate", None)
        if validate is not None:
            validate()


class SubstanceKind(ValueKind, ScalarKind):
    """Substances, which stand in the index by their identifiers."""

    column_kind = ColumnKind.CATEGORY

    def __init__(self) -> None:
        super().__init__(Substance)

    def index_value(self, value: Substance) -> Value:
        """Return the identifier."""
        return value.identifier


class StateKind(ValueKind, ScalarKind):
    """Thermodynamic states: a text that decides equality, and two numbers to search by range."""

    column_kind = ColumnKind.CATEGORY

    def __init__(self) -> None:
        super().__init__(ThermodynamicState)

    def index_value(self, value: ThermodynamicState) -> Value:
        """Return the identifier."""
        return value.identifier

    def terms(self, name: str) -> tuple[Term, ...]:
        """Return the state, its temperature and its pressure."""
        prefix = "" if name == "thermodynamic_state" else f"{name}_"
        return (
            Term(name, self),
            Term(f"{prefix}temperature", QuantityKind("kelvin", TEMPERATURE_TOLERANCE_K), "temperature"),
            Term(f"{prefix}pressure", QuantityKind("pascal", PRESSURE_TOLERANCE_PA), "pressure"),
        )


class ForceFieldKind(ValueKind, ScalarKind):
    """Force field sources, which stand in the index by the digest of their canonical JSON."""

    column_kind = ColumnKind.IDENTIFIER

    def __init__(self) -> None:
        super().__init__(ForceFieldSource)

    def index_value(self, value: ForceFieldSource) -> Value:
        """Return the SHA-256 of the canonical JSON."""
        return value.digest


class QuantityKind(ScalarKind):
    """Numbers with a unit, which stand in the index in one declared unit."""

    column_kind = ColumnKind.REAL
    is_number = True

    def __init__(self, unit_name: str, absolute_tolerance: float | None = None) -> None:
        self.unit_name = unit_name
        self._absolute_tolerance = absolute_tolerance
        self.wanted = f"a quantity convertible to {unit_name}"

    def accept(self, value: Any) -> Any:
        """Return the quantity, given as such or as text."""
        quantity = as_quantity(value, "the value", compatible_with=self.unit_name)
        if not isinstance(quantity.magnitude, int | float):
            raise self.refuse(value)
        return quantity

    def to_tree(self, value: Any) -> Tree:
        """Return number and unit."""
        return quantity_to_tree(value)

    def from_tree(self, tree: Tree) -> Any:
        """Return the quantity of a tree."""
        return self.accept(quantity_from_tree(tree, "a quantity"))

    def same(self, first: Any, second: Any) -> bool:
        """Return whether unit and bits agree."""
        return same_quantity(first, second)

    def index_value(self, value: Any) -> Value:
        """Return the number in the declared unit."""
        return magnitude_in(value, self.unit_name)

    def tolerance(self, bound: float) -> float:
        """Return the declared tolerance, else what converting units may lose."""
        if not math.isfinite(bound):
            return 0.0
        return abs(bound) * 1e-12 if self._absolute_tolerance is None else self._absolute_tolerance


class ArrayKind(FieldKind):
    """Numpy arrays of numbers, which may not be loaded yet."""

    wanted = "a numpy array of numbers"

    def accept(self, value: Any) -> Any:
        """Return the array; one that is not loaded stays so."""
        if not is_array_leaf(value):
            raise self.refuse(value)
        return plain_array(value, "the array") if isinstance(value, np.ndarray) else value

    def same(self, first: Any, second: Any) -> bool:
        """Return whether element type, shape and every bit agree."""
        return same_array(np.asarray(first), np.asarray(second))


class ListKind(FieldKind):
    """Lists of values of one kind."""

    def __init__(self, element: FieldKind) -> None:
        self._element = element
        self.wanted = f"a list, each element {element.wanted},"

    def accept(self, value: Any) -> list[Any]:
        """Return a new list of the accepted elements."""
        if not isinstance(value, list | tuple):
            raise self.refuse(value)
        return [self._element.accept(element) for element in value]

    def to_tree(self, value: list[Any]) -> Tree:
        """Return the trees of the elements."""
        return [self._element.to_tree(element) for element in value]

    def from_tree(self, tree: Tree) -> list[Any]:
        """Return the elements of a list of trees."""
        if not isinstance(tree, list):
            raise self.refuse(tree)
        return [self._element.from_tree(element) for element in tree]

    def validate(self, value: list[Any]) -> None:
        """Validate each element, for a list can be changed in place."""
        for element in self.accept(value):
            self._element.validate(element)

    def same(self, first: list[Any], second: list[Any]) -> bool:
        """Return whether the elements are equal, in order."""
        return len(first) == len(second) and all(map(self._element.same, first, second))


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
        self._element = element
        self.wanted = f"a dict from text, each value {element.wanted},"

    def accept(self, value: Any) -> dict[str, Any]:
        """Return a new dict of the accepted values."""
        if not isinstance(value, dict):
            raise self.refuse(value)
        return {self._key.accept(key): self._element.accept(element) for key, element in value.items()}

    def to_tree(self, value: dict[str, Any]) -> Tree:
        """Return the trees of the values."""
        return {key: self._element.to_tree(element) for key, element in value.items()}

    def from_tree(self, tree: Tree) -> dict[str, Any]:
        """Return the values of a mapping of trees."""
        if not isinstance(tree, dict):
            raise self.refuse(tree)
        return {self._key.accept(key): self._element.from_tree(element) for key, element in tree.items()}

    def validate(self, value: dict[str, Any]) -> None:
        """Validate each value, for a dict can be changed in place."""
        for element in self.accept(value).values():
            self._element.validate(element)

    def same(self, first: dict[str, Any], second: dict[str, Any]) -> bool:
        """Return whether keys and values are equal; the order does not matter."""
        return first.keys() == second.keys() and all(
            self._element.same(first[key], second[key]) for key in first
        )

"""Kinds of fields for values of chemistry and for arrays."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import NOMINAL_TOLERANCE, NearSubstances, Substance
from simarchive.chemistry.trees import Tree, same_array
from simarchive.chemistry.units import (
    as_quantity,
    magnitude_in,
    plain_array,
    quantity_from_tree,
    quantity_to_tree,
    same_quantity,
)
from simarchive.data.kinds import FieldKind, ScalarKind, Term
from simarchive.ground.arrays import check_says_no_more, is_array
from simarchive.ground.conditions import ColumnKind, Condition, Satisfies, Value

TEMPERATURE_TOLERANCE_K = 1e-6
PRESSURE_TOLERANCE_PA = 1e-3


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
        self.value_class = value_class
        self.wanted = f"a {value_class.__name__}"

    def accept(self, value: Any) -> Any:
        """Return the value, if it is of the class."""
        if not isinstance(value, self.value_class):
            raise self.refuse(value)
        return value

    def to_tree(self, value: Any) -> Tree:
        """Return the tree of the value."""
        return value.to_tree()

    def from_tree(self, tree: Tree) -> Any:
        """Return the value of a tree."""
        return self.value_class.from_tree(tree)

    def validate(self, value: Any) -> None:
        """Validate the value, if its class knows how."""
        validate = getattr(value, "validate", None)
        if validate is not None:
            validate()


# A query asks the index, and then each object that it found.
_near = lru_cache(maxsize=256)(NearSubstances)


class SubstanceKind(ValueKind, ScalarKind):
    """Substances, which stand in the index by their identifiers."""

    column_kind = ColumnKind.CATEGORY

    def __init__(self, tolerance: float = NOMINAL_TOLERANCE) -> None:
        super().__init__(Substance)
        self._tolerance = tolerance

    def index_value(self, value: Substance) -> Value:
        """Return the identifier."""
        return value.identifier

    def condition(self, value: Any, column: str) -> Condition:
        """Return the condition for the substance, and for boxes of whole molecules that stand for it."""
        wanted: Substance = self.accept(value)
        if not self._tolerance or not wanted.is_mixed_by_fractions:
            return super().condition(wanted, column)
        near = _near(wanted.identifier, self._tolerance)
        words = f"is {wanted.identifier} within {self._tolerance:g}"
        return Satisfies(column, near.__contains__, words, near.form)


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
        quantity = quantity_from_tree(tree, "the value", compatible_with=self.unit_name)
        if not isinstance(quantity.magnitude, int | float):
            raise self.refuse(quantity)
        return quantity

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
        if not is_array(value):
            raise self.refuse(value)
        if isinstance(value, np.ndarray):
            return plain_array(value, "the array")
        check_says_no_more(value, "the array")
        return value

    def same(self, first: Any, second: Any) -> bool:
        """Return whether element type, shape and every bit agree."""
        return same_array(np.asarray(first), np.asarray(second))

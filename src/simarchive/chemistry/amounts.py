"""Amounts: how much of a component a substance holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real

from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.errors import InvalidDataError


class Amount(ABC):
    """How much of a component a substance holds; equal if the identifiers are."""

    value: float

    @property
    @abstractmethod
    def identifier(self) -> str:
        """The amount as it stands in the identifier of a substance."""

    @abstractmethod
    def to_number_of_molecules(self, total_substance_molecules: int, tolerance: float | None = None) -> int:
        """Return how many molecules the amount is among a total number.

        Raises
        ------
        InvalidDataError
            If it would be none, or further from the amount than `tolerance`.
        """

    def to_tree(self) -> Tree:
        """Return the kind of amount and its number."""
        return {"type": type(self).__name__, "value": self.value}

    @staticmethod
    def from_tree(tree: Tree) -> Amount:
        """Return the amount of a tree."""
        fields = fields_of(tree, "an amount", ("type", "value"))
        kind = AMOUNT_TYPES.get(fields["type"]) if isinstance(fields["type"], str) else None
        if kind is None:
            raise InvalidDataError(
                f"{fields['type']!r} is not a kind of amount: use one of {', '.join(AMOUNT_TYPES)}"
            )
        return kind(fields["value"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Amount):
            return NotImplemented
        return type(self) is type(other) and self.identifier == other.identifier

    def __hash__(self) -> int:
        return hash(self.identifier)

    def __str__(self) -> str:
        return self.identifier

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identifier}>"


@dataclass(frozen=True, repr=False, eq=False)
class MoleFraction(Amount):
    """The mole fraction of a component: above 0, at most 1, told apart by 6 decimals."""

    value: float

    def __post_init__(self) -> None:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidDataError(f"a mole fraction must be a number, not {describe(value)}")
        value = float(value)
        if not 0.0 < value <= 1.0:
            raise InvalidDataError(f"a mole fraction must be above 0 and at most 1, not {value}")
        if math.floor(value * 1e6) < 1:
            raise InvalidDataError(f"mole fraction {value} is below the smallest that is told from 0, 1e-6")
        object.__setattr__(self, "value", value)

    @property
    def identifier(self) -> str:
        """Such as ``x=0.500000``."""
        return f"x={self.value:.6f}"

    def to_number_of_molecules(self, total_substance_molecules: int, tolerance: float | None = None) -> int:
        """Return the rounded share of a total number; exact halves are rounded down."""
        exact = self.value * total_substance_molecules
        is_half = math.isclose(exact % 1, 0.5, rel_tol=1e-5, abs_tol=1e-8)
        number = int(exact) if is_half else round(exact)
        if number == 0:
            raise InvalidDataError(
                f"{total_substance_molecules} molecules are too few for a mole fraction of {self.value}"
            )
        reached = number / total_substance_molecules
        if tolerance is not None and abs(reached - self.value) > tolerance:
            raise InvalidDataError(
                f"with {total_substance_molecules} molecules the mole fraction is {reached}, "
                f"further from {self.value} than the tolerance {tolerance}"
            )
        return number


@dataclass(frozen=True, repr=False, eq=False)
class ExactAmount(Amount):
    """An exact number of molecules, of a component that is infinitely dilute."""

    value: int

    def __post_init__(self) -> None:
        value: object = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
            raise InvalidDataError(f"an exact amount must be a positive whole number, not {describe(value)}")
        object.__setattr__(self, "value", int(value))

    @property
    def identifier(self) -> str:
        """Such as ``n=1``."""
        return f"n={self.value:d}"

    def to_number_of_molecules(self, total_substance_molecules: int, tolerance: float | None = None) -> int:
        """Return the amount itself."""
        return self.value


AMOUNT_TYPES: dict[str, type[MoleFraction] | type[ExactAmount]] = {
    "MoleFraction": MoleFraction,
    "ExactAmount": ExactAmount,
}
"""The kinds of amounts by their permanent names."""

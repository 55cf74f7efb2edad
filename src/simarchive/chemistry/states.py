"""Thermodynamic states: temperature and, where it matters, pressure."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from simarchive.chemistry.trees import Tree, fields_of
from simarchive.chemistry.units import (
    as_quantity,
    check_dimensions_of_text,
    long_unit_text,
    magnitude_in,
    magnitude_in_of_text,
    quantity_from_tree,
    quantity_to_tree,
    registry,
    unit_text,
)
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


class ThermodynamicState:
    """The temperature and pressure at which data was collected; immutable.

    Two states are equal if their temperatures in kelvin and their pressures in pascal agree to 3 decimals,
    whatever their units: the identity that OpenFF Evaluator uses. Queries by range tell more apart.

    Parameters
    ----------
    temperature
        A quantity or a text such as ``"298.15 K"`` or ``"25 degC"``; above absolute zero.
    pressure
        A positive quantity or a text such as ``"1 atm"``; left out for non-periodic systems.
    """

    _temperature: Quantity
    _pressure: Quantity | None

    def __init__(self, temperature: Quantity | str, pressure: Quantity | str | None = None) -> None:
        given = as_quantity(temperature, "the temperature of a state")
        self._set("temperature", given, unit_text(given.units), "kelvin")
        self._pressure = None
        if pressure is not None:
            given = as_quantity(pressure, "the pressure of a state")
            self._set("pressure", given, unit_text(given.units), "pascal")

    def _set(self, name: str, quantity: Quantity, text: str, base: str) -> None:
        """Keep a quantity whose unit has the long name `text`, and its number in the base unit."""
        check_dimensions_of_text(text, base, f"the {name} of a state")
        if not isinstance(quantity.magnitude, (int, float)):
            raise InvalidDataError(f"the {name} of a state must be one number, not an array")
        if "delta_" in text:
            raise InvalidDataError(f"the {name} of a state must not be a difference: {quantity:~}")
        number = magnitude_in_of_text(quantity, text, base)
        if not (math.isfinite(number) and number > 0.0):
            raise InvalidDataError(
                f"the {name} of a state must be a positive, finite number of {base}, not {number}"
            )
        object.__setattr__(self, f"_{name}", quantity)
        self.__dict__[base] = number

    @property
    def temperature(self) -> Quantity:
        """The temperature, in the unit it was given in."""
        return self._temperature

    @property
    def pressure(self) -> Quantity | None:
        """The pressure, in the unit it was given in, or None."""
        return self._pressure

    @cached_property
    def kelvin(self) -> float:
        """The temperature in kelvin."""
        return magnitude_in(self._temperature, "kelvin")

    @cached_property
    def pascal(self) -> float | None:
        """The pressure in pascal, or None."""
        return None if self._pressure is None else magnitude_in(self._pressure, "pascal")

    @cached_property
    def identifier(self) -> str:
        """The text that decides equality, such as ``T=298.150 K|P=101325.000 Pa``."""
        text = f"T={self.kelvin:.3f} K"
        return text if self.pascal is None else f"{text}|P={self.pascal:.3f} Pa"

    @property
    def inverse_beta(self) -> Quantity:
        """The temperature times the molar gas constant, in kJ/mol."""
        quantity: Quantity = (self.kelvin * registry().kelvin * registry().molar_gas_constant).to(
            "kilojoule / mole"
        )
        return quantity

    @property
    def beta(self) -> Quantity:
        """One divided by `inverse_beta`."""
        quantity: Quantity = 1.0 / self.inverse_beta
        return quantity

    def to_tree(self) -> Tree:
        """Return temperature and, if set, pressure."""
        tree = {"temperature": quantity_to_tree(self._temperature)}
        if self._pressure is not None:
            tree["pressure"] = quantity_to_tree(self._pressure)
        return tree

    @classmethod
    def from_tree(cls, tree: Tree) -> ThermodynamicState:
        """Return the state of a tree."""
        fields = fields_of(tree, "a thermodynamic state", ("temperature",), ("pressure",))
        state = cls.__new__(cls)
        state._pressure = None
        for name, base in (("temperature", "kelvin"), ("pressure", "pascal")):
            part = fields.get(name)
            if part is not None:
                quantity = quantity_from_tree(part, f"the {name} of a state")
                state._set(name, quantity, long_unit_text(part["unit"]), base)
        return state

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ThermodynamicState):
            return NotImplemented
        return self.identifier == other.identifier

    def __hash__(self) -> int:
        return hash(self.identifier)

    def __str__(self) -> str:
        text = f"T={self._temperature:~}"
        return text if self._pressure is None else f"{text} P={self._pressure:~}"

    def __repr__(self) -> str:
        return f"<ThermodynamicState {self}>"

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("temperature", "pressure") or not name.startswith("_"):
            raise InvalidDataError(f"a state cannot be changed: make a new ThermodynamicState ({name})")
        object.__setattr__(self, name, value)

"""Quantities: numbers with units, taken from any pint registry or from text.

``unit`` is pint's application registry, so that quantities survive pickling, and so that users of
``openff.units`` (which sets that registry) and this package speak of the same units.
"""

from __future__ import annotations

import importlib.resources
import math
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pint

from simarchive.chemistry import unit_texts
from simarchive.chemistry.trees import Tree, describe, fields_of, same_array, same_number, shortened
from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import check_says_no_more, is_array

unit: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
if TYPE_CHECKING:
    Quantity: TypeAlias = pint.Quantity[Any]
else:
    Quantity = pint.Quantity

# Each digit fits one place of the pattern only, or a long number that does not fit would take forever.
_NUMBER_THEN_UNIT = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*)", re.DOTALL)
_LONGEST_INTEGER = 18
"""So many digits fit an integer of 64 bits, whichever they are; what has more is read as a float."""

_ELSEWHERE = {
    f"{name}_per_mole": f"{energy} / mole"
    for energy in ("joule", "kilojoule", "calorie", "kilocalorie")
    for name in (energy, f"{energy}s")
}
"""Names that are defined in the registry of openff-units, and got into files from there."""


@lru_cache(maxsize=1024)
def _parsed_unit(registry: object, text: str) -> Any:
    return _unit_of(unit_texts.factors(text))


def _unit_of(factors: dict[str, float]) -> Any:
    if any(name in _ELSEWHERE and name not in unit for name in factors):
        factors = _with_definitions(factors, _ELSEWHERE)
    return unit.Unit(unit_texts.product_text(factors))


def _with_definitions(factors: dict[str, float], definitions: dict[str, str]) -> dict[str, float]:
    """Return a product with what they mean in the place of some names."""
    result: dict[str, float] = {}
    for name, exponent in factors.items():
        meaning = unit_texts.factors(definitions[name]) if name in definitions else {name: 1.0}
        for part, power in meaning.items():
            result[part] = result.get(part, 0.0) + exponent * power
    return {name: exponent for name, exponent in result.items() if exponent}


def unit_named(text: str) -> Any:
    """Return the unit that a text names, such as ``kilojoule / mole`` or ``degC``.

    The text is looked up, not calculated: see `unit_texts.factors`.

    Raises
    ------
    InvalidDataError
        If pint does not know such a unit.
    """
    try:
        return _parsed_unit(unit.get(), text)
    except InvalidDataError:
        raise
    except Exception as error:  # pint raises its own errors, tokenize's, and AttributeError
        raise InvalidDataError(f"{shortened(text)} is not a unit that pint knows") from error


def unit_text(units: Any) -> str:
    """Return the long name of a unit, which every pint registry reads back."""
    return _long_name(units.__class__, units)


@lru_cache(maxsize=1024)
def _long_name(unit_class: Any, units: Any) -> str:
    # A class belongs to one registry. It comes first, for units of two registries cannot be compared.
    text = format(units, "D")
    factor, portable = _portable(unit_class._REGISTRY, text)
    return portable if factor == 1.0 else text


@lru_cache(maxsize=1024)
def _portable(registry: Any, text: str) -> tuple[float, str]:
    """Return a unit of plain pint and its size, for one of a registry that may have names of its own.

    What is defined in one registry only is written by its definition, for others cannot look it up.
    """
    definitions: dict[str, str] = {}
    factor = 1.0
    factors = unit_texts.factors(text)
    for name, exponent in factors.items():
        definition = _definition(registry, name)
        if definition is not None:
            size, definitions[name] = definition
            factor *= size**exponent
    if not definitions:
        return 1.0, text
    meaning = unit_texts.product_text(_with_definitions(factors, definitions))
    return factor, format(registry.Unit(meaning), "D")


def _definition(registry: Any, name: str) -> tuple[float, str] | None:
    """Return size and unit that a name of one registry stands for; None if plain pint has the name."""
    parts = registry.parse_unit_name(name.removeprefix("delta_"))
    if not parts or not _plain_names() or parts[0][1] in _plain_names():
        return None
    definition = registry._units[parts[0][1]]
    if not definition.reference or not definition.is_multiplicative or definition.is_base:
        return None
    meaning = format(registry.Unit(definition.reference), "D")
    size = float(registry.Quantity(1.0, name).to(meaning).magnitude) if parts[0][0] else 1.0
    size *= 1.0 if parts[0][0] else float(definition.converter.scale)
    more, text = _portable(registry, meaning)
    return size * more, text


@lru_cache(maxsize=1)
def _plain_names() -> frozenset[str]:
    """Return the names of all units of pint's own registry; to build one would take half a second."""
    names: set[str] = set()
    for file in ("default_en.txt", "constants_en.txt"):
        text = (importlib.resources.files(pint) / file).read_text(encoding="utf-8")
        names.update(match[1] for match in re.finditer(r"^\s*([^\s=#@\[\]]+)\s*=", text, re.MULTILINE))
    return frozenset(names)


@lru_cache(maxsize=1024)
def _portable_of(unit_class: Any, units: Any) -> tuple[float, str]:
    return _portable(unit_class._REGISTRY, format(units, "D"))


def _portable_unit(units: Any) -> tuple[float, str]:
    return _portable_of(units.__class__, units)


def quantity_named(text: str, *, default_unit: str | None = None) -> Quantity:
    """Return the quantity that a text such as ``298.15 K`` or ``25 degC`` names.

    Raises
    ------
    InvalidDataError
        If the text is not a number followed by a unit.
    """
    match = _NUMBER_THEN_UNIT.fullmatch(text.strip())
    if match is None:
        raise InvalidDataError(f"{shortened(text)} is not a number followed by a unit, such as '298.15 K'")
    number, unit_name = match.groups()
    is_integer = len(number) <= _LONGEST_INTEGER and number.lstrip("+-").isdecimal()
    magnitude = int(number) if is_integer else float(number)
    if not math.isfinite(magnitude):
        raise InvalidDataError(f"the number {shortened(number)} is too large")
    return _quantity(magnitude, unit_named(unit_name or default_unit or "dimensionless"))


def _quantity(magnitude: Any, units: Any) -> Quantity:
    # By the constructor: 25 * degC is ambiguous to pint, Quantity(25, degC) is not.
    quantity: Quantity = unit.Quantity(magnitude, units)
    return quantity


def is_quantity(value: object) -> bool:
    """Return whether a value is a quantity of pint, of whatever registry."""
    return isinstance(value, pint.Quantity)


def as_quantity(value: object, what: str, *, compatible_with: str | None = None) -> Quantity:
    """Return `value` as a quantity of the application registry.

    Parameters
    ----------
    value
        A pint quantity of any registry, or a text such as ``"298.15 K"``.
    what
        What the quantity is, for messages.
    compatible_with
        The text of a unit whose dimensions the quantity must have.

    Raises
    ------
    InvalidDataError
        If it is not a quantity, its dimensions do not fit, or its magnitude is not a plain number or array.
    """
    if isinstance(value, str):
        value = quantity_named(value)
    if not isinstance(value, pint.Quantity):
        raise InvalidDataError(
            f"{what} must be a quantity such as 298.15 * unit.kelvin or '298.15 K', not {describe(value)}"
        )
    magnitude = _plain_magnitude(value.magnitude, what)
    factor, text = _portable_unit(value.units)
    if factor != 1.0:
        quantity = _quantity(magnitude * factor, unit_named(text))
    elif magnitude is value.magnitude and type(value) is unit.get().Quantity:
        quantity = value
    else:
        quantity = _quantity(magnitude, unit_named(text))
    if compatible_with is not None:
        check_dimensions(quantity.units, compatible_with, what)
    return quantity


@lru_cache(maxsize=1024)
def _are_compatible(registry: object, first: str, second: str) -> bool:
    return bool(unit_named(first).dimensionality == unit_named(second).dimensionality)


@lru_cache(maxsize=1024)
def _long_name_of_text(registry: object, text: str) -> str:
    return unit_text(unit_named(text))


def long_unit_text(text: str) -> str:
    """Return the long name of the unit that a text names: what `unit_text` says of it.

    Raises
    ------
    InvalidDataError
        If pint does not know such a unit.
    """
    return _long_name_of_text(unit.get(), text)


def check_dimensions(units: Any, compatible_with: str, what: str) -> None:
    """Raise InvalidDataError if a unit cannot be converted to the one that is named."""
    check_dimensions_of_text(unit_text(units), compatible_with, what)


def check_dimensions_of_text(text: str, compatible_with: str, what: str) -> None:
    """Raise InvalidDataError if the unit of a long name cannot be converted to the one that is named."""
    if text != compatible_with and not _are_compatible(unit.get(), text, compatible_with):
        raise InvalidDataError(f"{what} must be convertible to {compatible_with}, not in {text}")


def _plain_magnitude(magnitude: object, what: str) -> Any:
    if isinstance(magnitude, np.ndarray):
        return plain_array(magnitude, what)
    if isinstance(magnitude, np.generic):
        magnitude = magnitude.item()
    if isinstance(magnitude, bool) or not isinstance(magnitude, int | float):
        raise InvalidDataError(f"{what} must have a number or an array of numbers, not {describe(magnitude)}")
    if isinstance(magnitude, int) and abs(magnitude) > sys.float_info.max:
        raise InvalidDataError(f"{what} must have a number that fits a float")
    return magnitude


def plain_array(array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """Return an array of integers or floats of at most 64 bits, in native byte order."""
    check_says_no_more(array, what)
    array = np.asarray(array)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise InvalidDataError(
            f"{what} must hold integers or floats of at most 64 bits, not {array.dtype}: convert it first"
        )
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


@lru_cache(maxsize=1024)
def _factor(quantity_class: Any, source: str, target: str) -> float | None:
    """Return the factor that pint itself multiplies with, or None if units differ by more than a factor."""
    zero, one, two = (float(quantity_class(n, source).to(target).magnitude) for n in (0.0, 1.0, 2.0))
    return one if zero == 0.0 and two == 2.0 * one else None


def magnitude_in(quantity: Quantity, unit_name: str) -> float:
    """Return the number of a scalar quantity in the unit that is named."""
    return magnitude_in_of_text(quantity, unit_text(quantity.units), unit_name)


def magnitude_in_of_text(quantity: Quantity, text: str, unit_name: str) -> float:
    """Return what `magnitude_in` does for a quantity whose unit has the long name `text`."""
    if text == unit_name:
        return float(quantity.magnitude)
    quantity_class: Any = type(quantity)
    factor = _factor(quantity_class, text, unit_name)
    if factor is not None:
        return float(quantity.magnitude * factor)
    return float(quantity.to(unit_name).magnitude)


def quantity_to_tree(quantity: Quantity) -> Tree:
    """Return the tree of a quantity: its number or array as it is, and its unit as text."""
    return {"value": quantity.magnitude, "unit": unit_text(quantity.units)}


def quantity_from_tree(tree: Tree, what: str, *, compatible_with: str | None = None) -> Quantity:
    """Return the quantity of a tree; an array that is not loaded yet is loaded.

    Raises
    ------
    InvalidDataError
        If the tree is not that of a quantity.
    """
    fields = fields_of(tree, what, ("value", "unit"))
    value, text = fields["value"], fields["unit"]
    if is_array(value):
        value = np.asarray(value)
    if not isinstance(text, str):
        raise InvalidDataError(f"the unit of {what} must be a text, not {describe(text)}")
    if compatible_with is not None:
        check_dimensions_of_text(long_unit_text(text), compatible_with, what)
    return _quantity(_plain_magnitude(value, what), unit_named(text))


def same_quantity(first: Quantity, second: Quantity) -> bool:
    """Return whether two quantities have one unit and the same bits, so NaN equals itself."""
    if unit_text(first.units) != unit_text(second.units):
        return False
    if isinstance(first.magnitude, np.ndarray) and isinstance(second.magnitude, np.ndarray):
        return same_array(first.magnitude, second.magnitude)
    if isinstance(first.magnitude, np.ndarray) or isinstance(second.magnitude, np.ndarray):
        return False
    return same_number(first.magnitude, second.magnitude)

"""Quantities: numbers with units, taken from any pint registry or from text.

``unit`` is pint's application registry, so that quantities survive pickling, and so that users of
``openff.units`` (which sets that registry) and this package speak of the same units.

pint takes as long to import as all the rest, and many questions are about no unit: it is loaded when the
first quantity is made, or when somebody asks for `unit` or `Quantity`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from simarchive.chemistry.trees import Tree, describe, fields_of, same_array, same_number, shortened
from simarchive.chemistry.unit_names import registries
from simarchive.chemistry.unit_names import texts as unit_texts
from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import check_says_no_more, is_array

if TYPE_CHECKING:
    import pint

    unit: Any
    Quantity: TypeAlias = pint.Quantity[Any]
else:

    def __getattr__(name: str) -> Any:
        if name == "unit":
            return registry()
        if name == "Quantity":
            return _pint().Quantity
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class AnyQuantity:
    """Stands for `Quantity` in the annotations of classes that are loaded before pint is."""


_with_own_arithmetic: dict[str, type] = {}


def leave_arithmetic_to(cls: type) -> None:
    """Have ``quantity * value`` be what the class of the value makes of it."""
    _with_own_arithmetic[f"{cls.__module__}.{cls.__name__}"] = cls
    if "pint" in sys.modules:
        _pint().compat.upcast_type_map.update(_with_own_arithmetic)


@cache
def _pint() -> Any:
    import pint
    import pint.compat

    # Typed as read-only by pint, which documents it.
    upcast_type_map: Any = pint.compat.upcast_type_map
    upcast_type_map.update(_with_own_arithmetic)
    return pint


@cache
def registry() -> Any:
    """Return pint's application registry, which is what ``unit`` is."""
    return _pint().get_application_registry()


# Each digit fits one place of the pattern only, or a long number that does not fit would take forever.
_NUMBER_THEN_UNIT = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*)", re.DOTALL)
_LONGEST_INTEGER = 18
"""So many digits fit an integer of 64 bits, whichever they are; what has more is read as a float."""


@lru_cache(maxsize=1024)
def _parsed_unit(of: Any, text: str) -> Any:
    factors = unit_texts.factors(text)
    return registry().Unit(unit_texts.product_text(registries.understood(of, factors)))


@lru_cache(maxsize=1024)
def _check_stored(of: Any, text: str) -> None:
    registries.check_meaning(of, unit_texts.factors(text))


def unit_named(text: str) -> Any:
    """Return the unit that a text names, such as ``kilojoule / mole`` or ``degC``.

    The text is looked up, not calculated: see `unit_texts.factors`.

    Raises
    ------
    InvalidDataError
        If pint does not know such a unit.
    """
    try:
        return _parsed_unit(registry().get(), text)
    except InvalidDataError:
        raise
    except Exception as error:  # pint raises its own errors, tokenize's, and AttributeError
        raise InvalidDataError(
            f"{shortened(text)} is not a unit that pint knows{_hint(unit_texts.factors(text))}"
        ) from error


def _hint(factors: Mapping[str, float]) -> str:
    unknown = next((name for name in factors if name not in registry()), None)
    return "" if unknown is None else registries.hint_for(registry().get(), unknown)


def stored_unit_named(text: str) -> Any:
    """Return the unit of a text that stands in a store, where every name has one meaning.

    Raises
    ------
    InvalidDataError
        If this program has no such unit, or one of the same name and another meaning.
    """
    units = unit_named(text)
    _check_stored(registry().get(), text)
    return units


def unit_text(units: Any) -> str:
    """Return the text of a unit as it stands in containers: names of the vocabulary, in one order."""
    return _long_name(units.__class__, units)


@lru_cache(maxsize=1024)
def _long_name(unit_class: Any, units: Any) -> str:
    # A class belongs to one registry. It comes first, for units of two registries cannot be compared.
    written = _written(unit_class, units)
    if written.factor == 1.0:
        return written.text
    return unit_texts.canonical_text(unit_texts.factors(format(units, "D")))


@lru_cache(maxsize=1024)
def _written(unit_class: Any, units: Any) -> registries.Written:
    return registries.written(unit_class._REGISTRY, units)


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
    quantity: Quantity = registry().Quantity(magnitude, units)
    return quantity


def is_quantity(value: object) -> TypeGuard[Quantity]:
    """Return whether a value is a quantity of pint, of whatever registry."""
    # Before pint is loaded there is none.
    quantity_class = getattr(sys.modules.get("pint"), "Quantity", None)
    return isinstance(quantity_class, type) and isinstance(value, quantity_class)


def is_quantity_class(cls: type) -> bool:
    """Return whether a class is that of quantities, or stands for it."""
    quantity_class = getattr(sys.modules.get("pint"), "Quantity", None)
    return cls is AnyQuantity or (isinstance(quantity_class, type) and issubclass(cls, quantity_class))


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
    if not is_quantity(value):
        raise InvalidDataError(
            f"{what} must be a quantity such as 298.15 * unit.kelvin or '298.15 K', not {describe(value)}"
        )
    magnitude = _plain_magnitude(value.magnitude, what)
    units: Any = value.units
    factor, text, strangers = _written(units.__class__, units)
    if strangers:
        raise _unknown_elsewhere(strangers[0], what)
    if factor != 1.0:
        quantity = _quantity(magnitude * factor, unit_named(text))
    elif magnitude is value.magnitude and type(value) is registry().get().Quantity:
        quantity = value
    else:
        quantity = _quantity(magnitude, unit_named(text))
    if compatible_with is not None:
        check_dimensions(quantity.units, compatible_with, what)
    return quantity


def _unknown_elsewhere(name: str, what: str) -> InvalidDataError:
    return InvalidDataError(
        f"{what} has the unit {name!r}, which is defined in this program only, so that no other could"
        " read it: convert it to units such as kilojoule / mole, nanometer or picosecond"
        f"{registries.hint_for(registry().get(), name, only_vocabulary=True)}"
    )


@lru_cache(maxsize=1024)
def _are_compatible(of: object, first: str, second: str) -> bool:
    return bool(unit_named(first).dimensionality == unit_named(second).dimensionality)


@lru_cache(maxsize=1024)
def _long_name_of_text(of: object, text: str) -> str:
    return unit_text(unit_named(text))


def long_unit_text(text: str) -> str:
    """Return the long name of the unit that a text names: what `unit_text` says of it.

    Raises
    ------
    InvalidDataError
        If pint does not know such a unit.
    """
    return _long_name_of_text(registry().get(), text)


def check_dimensions(units: Any, compatible_with: str, what: str) -> None:
    """Raise InvalidDataError if a unit cannot be converted to the one that is named."""
    check_dimensions_of_text(unit_text(units), compatible_with, what)


def check_dimensions_of_text(text: str, compatible_with: str, what: str) -> None:
    """Raise InvalidDataError if the unit of a long name cannot be converted to the one that is named."""
    if text != compatible_with and not _are_compatible(registry().get(), text, compatible_with):
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
    units = stored_unit_named(text)
    if compatible_with is not None:
        check_dimensions_of_text(long_unit_text(text), compatible_with, what)
    return _quantity(_plain_magnitude(value, what), units)


def same_quantity(first: Quantity, second: Quantity) -> bool:
    """Return whether two quantities have one unit and the same bits, so NaN equals itself."""
    if unit_text(first.units) != unit_text(second.units):
        return False
    if isinstance(first.magnitude, np.ndarray) and isinstance(second.magnitude, np.ndarray):
        return same_array(first.magnitude, second.magnitude)
    if isinstance(first.magnitude, np.ndarray) or isinstance(second.magnitude, np.ndarray):
        return False
    return same_number(first.magnitude, second.magnitude)

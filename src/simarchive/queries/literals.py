"""Literals: how the values in a query expression are read."""

from __future__ import annotations

import math
import re
from typing import Any

from simarchive.chemistry.amounts import Amount, ExactAmount, MoleFraction
from simarchive.chemistry.components import Component
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import shortened
from simarchive.chemistry.units import quantity_named
from simarchive.data.kinds import BooleanKind, IntegerKind, RealKind, ScalarKind, TextKind
from simarchive.data.value_kinds import PhaseKind, QuantityKind, StateKind, SubstanceKind
from simarchive.errors import InvalidDataError
from simarchive.queries.criteria import AnyOf, Between, Meanings, Not
from simarchive.queries.substance import ComponentPattern

# Each digit fits one place of the pattern only, or a long number that does not fit would take forever.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_PLAIN_NUMBER = re.compile(_NUMBER)
_UNIT_AT_END = re.compile(rf"{_NUMBER}\s*([^\d\s.].*)", re.DOTALL)
_COMPONENT = re.compile(r"(?P<smiles>[^{}|]+)(?:\{(?P<role>[a-z]+)\})?(?:\{(?P<amounts>[xn]=[^{}]*)\})?")


def read_literal(text: str, kind: ScalarKind, *, unit_of: str = "") -> Any:
    """Return the value that a text means for one kind of field.

    Parameters
    ----------
    text
        The text.
    kind
        The kind of the field.
    unit_of
        The other end of a range, whose unit counts if this end has none.

    Raises
    ------
    InvalidDataError
        If the text means no such value.
    """
    if isinstance(kind, QuantityKind):
        match = _UNIT_AT_END.fullmatch(unit_of.strip())
        if match is None and kind.unit_name != "dimensionless" and _PLAIN_NUMBER.fullmatch(text.strip()):
            example = _EXAMPLE_UNITS.get(kind.unit_name, f" {kind.unit_name}")
            number = text if len(text) <= _LONGEST_EXAMPLE else "298.15"
            raise InvalidDataError(f"{shortened(text)} needs a unit, such as {number}{example}")
        return kind.accept(quantity_named(text, default_unit=match[1] if match else None))
    if isinstance(kind, IntegerKind | RealKind):
        return _number(text, kind)
    if isinstance(kind, BooleanKind):
        if text.lower() not in ("true", "false"):
            raise InvalidDataError(f"true or false is expected, not {shortened(text)}")
        return text.lower() == "true"
    if isinstance(kind, PhaseKind):
        return PropertyPhase.from_string(text)
    if isinstance(kind, SubstanceKind):
        return read_substance(text)
    if isinstance(kind, StateKind):
        temperature, at, pressure = text.partition("@")
        return ThermodynamicState(temperature, pressure if at else None)
    if isinstance(kind, TextKind):
        return text
    return kind.accept(text)


def read_any_value(text: str) -> Any:
    """Return what a text may mean for a value of any kind: itself, and a number, quantity, truth or range.

    Raises
    ------
    InvalidDataError
        If it is a range that is empty.
    """
    low, dots, high = text.partition("..")
    if dots and (low or high):
        end = _UNIT_AT_END.fullmatch(high.strip())
        bounds = [_number_or_quantity(part, end[1] if end else None) for part in (low, high)]
        if all(bound is not None for bound, part in zip(bounds, (low, high), strict=True) if part):
            return Meanings(Between(*bounds), text)
    meaning: Any = {"true": True, "false": False}.get(text.lower(), _number_or_quantity(text))
    return text if meaning is None else Meanings(meaning, text)


def read_plain_value(text: str) -> Any:
    """Return the one thing that a text means best: a number, a quantity, True or False, or the text."""
    meaning: Any = {"true": True, "false": False}.get(text.lower(), _number_or_quantity(text))
    return text if meaning is None else meaning


def open_range_of_any(operator: str, text: str) -> Any:
    """Return the range that ``>=``, ``<=``, ``>`` or ``<`` and a bound mean for a value of any kind.

    Raises
    ------
    InvalidDataError
        If the bound is neither a number nor a quantity, or its range would leave it out.
    """
    bound = _number_or_quantity(text)
    if bound is None:
        raise InvalidDataError(f"a number or a quantity is expected, not {shortened(text)}")
    if operator in ("<", ">"):
        if not isinstance(bound, int):
            raise InvalidDataError(f"ranges include their ends: write {operator}= instead of {operator}")
        # The next number, for a value may be no integer.
        bound = math.nextafter(bound, math.inf if operator == ">" else -math.inf)
    return Between(low=bound) if operator[0] == ">" else Between(high=bound)


def _number_or_quantity(text: str, default_unit: str | None = None) -> Any:
    """Return the number or quantity that a text means, or ``None``."""
    try:
        if default_unit is None and _PLAIN_NUMBER.fullmatch(text.strip()):
            return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
        return quantity_named(text, default_unit=default_unit)
    except (InvalidDataError, ValueError):  # a text, or a number of too many digits
        return None


def read_criterion(criterion: Any, kind: ScalarKind) -> Any:
    """Return a criterion in which texts that stand for phases, substances and states are read."""
    if not isinstance(kind, PhaseKind | SubstanceKind | StateKind):
        return criterion
    if isinstance(criterion, str):
        return read_literal(criterion, kind)
    if isinstance(criterion, AnyOf):
        return AnyOf(*(read_criterion(choice, kind) for choice in criterion.choices))
    if isinstance(criterion, Not):
        return Not(read_criterion(criterion.criterion, kind))
    return criterion


LONGEST_SMILES = 4000
"""So many characters may the SMILES of a substance or component have."""

_LONGEST_EXAMPLE = 40
_EXAMPLE_UNITS = {"kelvin": "K", "pascal": "Pa"}


def _number(text: str, kind: IntegerKind | RealKind) -> int | float:
    try:
        number = int(text) if isinstance(kind, IntegerKind) else float(text)
        float(number)
    except (ValueError, OverflowError) as error:  # not a number, or with too many digits for one
        raise InvalidDataError(f"{kind.wanted} is expected, not {shortened(text)}") from error
    return number


def open_range(operator: str, text: str, kind: ScalarKind) -> Between:
    """Return the range that ``>=``, ``<=``, ``>`` or ``<`` and a bound mean.

    Raises
    ------
    InvalidDataError
        If the kind has no order, or an end of a range of quantities should be left out.
    """
    if not kind.is_number:
        raise InvalidDataError(f"{operator} makes no sense here: {kind.wanted} has no order")
    bound = read_literal(text, kind)
    if operator in ("<", ">"):
        if not isinstance(kind, IntegerKind):
            raise InvalidDataError(f"ranges include their ends: write {operator}= instead of {operator}")
        bound += 1 if operator == ">" else -1
    return Between(low=bound) if operator[0] == ">" else Between(high=bound)


def read_component(text: str) -> ComponentPattern:
    """Return the component of a text such as ``O`` or ``C{sol}``.

    Raises
    ------
    InvalidDataError
        If the text cannot be read.
    """
    _check_smiles(text)
    return ComponentPattern.of(text)


def _check_smiles(text: str) -> None:
    # RDKit takes the square of the number of atoms: seconds for ten thousand, hours for a million.
    if len(text) > LONGEST_SMILES:
        raise InvalidDataError(
            f"{shortened(text)} is longer than the {LONGEST_SMILES:,} characters that a SMILES or substance"
            " may have in a query"
        )


def read_substance(text: str) -> Substance:
    """Return the substance of a text such as ``O``, ``O|CO`` or ``C{sol}{n=1}|O{solv}{x=1}``.

    Components without an amount get equal shares of what the given mole fractions leave.

    Raises
    ------
    InvalidDataError
        If the text cannot be read, or the mole fractions do not add up to 1.
    """
    _check_smiles(text)
    parsed: list[tuple[Component, tuple[Amount, ...]]] = []
    for part in text.split("|"):
        match = _COMPONENT.fullmatch(part)
        if match is None:
            raise InvalidDataError(f"{shortened(part)} is not a component such as O or C{{sol}}{{n=1}}")
        component = Component(match["smiles"], match["role"] or Component.Role.Solvent)  # type: ignore[arg-type]
        amounts = tuple(_amount(amount) for amount in (match["amounts"] or "").split(",") if amount)
        parsed.append((component, amounts))
    fractions = [
        amount.value for _, amounts in parsed for amount in amounts if isinstance(amount, MoleFraction)
    ]
    without = sum(not amounts for _, amounts in parsed)
    substance = Substance()
    for component, amounts in parsed:
        for amount in amounts or (MoleFraction((1.0 - sum(fractions)) / without),):
            substance.add_component(component, amount)
    substance.validate()
    return substance


def _amount(text: str) -> Amount:
    kind, _, number = text.partition("=")
    try:
        return MoleFraction(float(number)) if kind == "x" else ExactAmount(int(number))
    except ValueError as error:
        if isinstance(error, InvalidDataError):
            raise
        raise InvalidDataError(f"{shortened(text)} is not an amount such as x=0.5 or n=1") from error

"""How classes, substances and states are written for people, in forms that commands read back."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from simarchive.errors import NotFoundError
from simarchive.ground.vocabulary.criteria import ALIASES, CLASS_ALIASES

_WHOLE = "{x=1.000000}"
_TRAILING_ZEROS = re.compile(r"(\{x=\d+(?:\.\d*?[1-9])?)\.?0+\}")
_PRESSURE_UNITS = (("atm", 101325.0), ("bar", 1e5))


def short_class_name(name: str) -> str:
    """Return the short name of a data class, ``simulation`` for ``StoredSimulationData``, if it has one."""
    return next((short for short, long in CLASS_ALIASES.items() if long == name), name)


def class_named(text: str, names: Iterable[str]) -> str:
    """Return the registered name that a person means by a short or a long name.

    Raises
    ------
    NotFoundError
        If it is none of `names`.
    """
    known = list(names)
    wanted = CLASS_ALIASES.get(text.replace("-", "_").lower(), text)
    if wanted in known:
        return wanted
    there = ", ".join(map(short_class_name, known)) or "none"
    raise NotFoundError(f"no object is of a data class {text!r}: the classes here are {there}")


def short_column_name(name: str) -> str:
    """Return the short name of a column of the index, as query expressions have it."""
    return min((short for short, long in ALIASES.items() if long == name), key=len, default=name)


def substance_text(identifier: str) -> str:
    """Return a substance in the short form that query expressions read: ``CO{x=0.5}|O{x=0.5}``."""
    lines = []
    for line in identifier.split("\n"):
        parts = line.replace("{solv}", "").split("|")
        if sum("{x=" in part for part in parts) == 1:
            parts = [part.replace(_WHOLE, "") for part in parts]
        lines.append("|".join(_TRAILING_ZEROS.sub(r"\1}", part) for part in parts))
    return "\n".join(lines)


def temperature_text(kelvin: object) -> str:
    """Return a temperature, ``298.15 K``."""
    return f"{kelvin:.6g} K" if isinstance(kelvin, float) else ""


def pressure_text(pascal: object) -> str:
    """Return a pressure in atmospheres, ``1 atm``, or in bar if it is a round number of these, ``1 bar``."""
    if not isinstance(pascal, float):
        return ""
    for name, size in _PRESSURE_UNITS:
        number = pascal / size
        if abs(number - float(f"{number:.4g}")) <= 1e-9 * abs(number):
            return f"{number:.4g} {name}"
    return f"{pascal / _PRESSURE_UNITS[0][1]:.4g} atm"


@functools.lru_cache(maxsize=1000)
def unit_text(name: str) -> str:
    """Return a unit in short, ``kJ/mol`` for ``kilojoule / mole``; one that is not known as it is named."""
    from simarchive.chemistry.units import unit_named
    from simarchive.errors import InvalidDataError

    if name == "dimensionless":
        return ""
    try:
        short = f"{unit_named(name):~P}"
    except InvalidDataError:
        return name
    return short or name


def state_text(state: Any) -> str:
    """Return a thermodynamic state, ``298.15 K, 1 atm``."""
    parts = [temperature_text(state.kelvin), pressure_text(state.pascal)]
    return ", ".join(filter(None, parts))


def phase_text(number: object) -> str:
    """Return the name of a phase."""
    from simarchive.chemistry import PropertyPhase

    return str(PropertyPhase(number)) if isinstance(number, int) else ""


def index_value_text(column: str, value: Any) -> str:
    """Return what stands in a column of the index, for people."""
    if value is None:
        return ""
    if column.endswith("temperature"):
        return temperature_text(value)
    if column.endswith("pressure"):
        return pressure_text(value)
    if column == "property_phase":
        return phase_text(value)
    if column.startswith("substance"):
        return substance_text(str(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def matched_text(value: Any) -> str:
    """Return one matched value of a query, for people."""
    from simarchive.chemistry import Substance, ThermodynamicState
    from simarchive.chemistry.units import is_quantity

    if isinstance(value, Substance):
        return substance_text(value.identifier)
    if isinstance(value, ThermodynamicState):
        return state_text(value)
    if is_quantity(value):
        return quantity_text(value)
    if isinstance(value, tuple):
        return " + ".join(map(matched_text, value))
    return str(value)


def quantity_text(quantity: Any) -> str:
    """Return a quantity of one number: temperatures and pressures as in lists, others in their own unit."""
    for unit_name, text_of in (("kelvin", temperature_text), ("pascal", pressure_text)):
        if quantity.is_compatible_with(unit_name):
            return text_of(float(quantity.to(unit_name).magnitude))
    return f"{quantity.magnitude:.7g} {unit_text(str(quantity.units))}".rstrip()

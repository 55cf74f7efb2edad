"""How classes, substances and states are written for people, in forms that commands read back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from simarchive.errors import NotFoundError

_WHOLE = "{x=1.000000}"
_TRAILING_ZEROS = re.compile(r"(\{x=\d+(?:\.\d*?[1-9])?)\.?0+\}")
_ATMOSPHERE_PA = 101325.0


def short_class_name(name: str) -> str:
    """Return the short name of a data class, ``simulation`` for ``StoredSimulationData``, if it has one."""
    from simarchive.queries.expression import CLASS_ALIASES

    return next((short for short, long in CLASS_ALIASES.items() if long == name), name)


def class_named(text: str, names: Iterable[str]) -> str:
    """Return the registered name that a person means by a short or a long name.

    Raises
    ------
    NotFoundError
        If it is none of `names`.
    """
    from simarchive.queries.expression import CLASS_ALIASES

    known = list(names)
    wanted = CLASS_ALIASES.get(text.replace("-", "_").lower(), text)
    if wanted in known:
        return wanted
    there = ", ".join(map(short_class_name, known)) or "none"
    raise NotFoundError(f"no object is of a data class {text!r}: the classes here are {there}")


def short_column_name(name: str) -> str:
    """Return the short name of a column of the index, as query expressions have it."""
    from simarchive.queries.expression import ALIASES

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
    """Return a pressure in atmospheres, ``1 atm``."""
    return f"{pascal / _ATMOSPHERE_PA:.4g} atm" if isinstance(pascal, float) else ""


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
    from simarchive.chemistry import Substance

    if isinstance(value, Substance):
        return substance_text(value.identifier)
    if isinstance(value, tuple):
        return " + ".join(map(matched_text, value))
    return str(value)

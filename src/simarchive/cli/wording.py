"""How classes, substances and states are written in tables, so that a person can type them back in."""

from __future__ import annotations

import re

from simarchive.errors import NotFoundError

_WHOLE = "{x=1.000000}"
_TRAILING_ZEROS = re.compile(r"(\{x=\d+(?:\.\d*?[1-9])?)\.?0+\}")
ATMOSPHERE_PA = 101325.0


def short_class_name(name: str) -> str:
    """Return ``Simulation`` for ``StoredSimulationData``: what tables show and ``--class`` accepts."""
    return name.removeprefix("Stored").removesuffix("Data") or name


def class_named(text: str, names: list[str]) -> str:
    """Return the registered name that a person means.

    Raises
    ------
    NotFoundError
        If it is none of `names`, short or long.
    """
    wanted = text.replace("-", "").replace("_", "").lower()
    for name in names:
        if wanted in (name.lower(), short_class_name(name).lower()):
            return name
    known = ", ".join(short_class_name(name) for name in names)
    raise NotFoundError(f"there is no data class {text!r}: the classes are {known}")


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
    return f"{pascal / ATMOSPHERE_PA:.4g} atm" if isinstance(pascal, float) else ""


def phase_text(number: object) -> str:
    """Return the name of a phase."""
    from simarchive.chemistry import PropertyPhase

    return str(PropertyPhase(number)) if isinstance(number, int) else ""

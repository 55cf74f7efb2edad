"""Units of pint in the words of UDUNITS, which netCDF programs read.

UDUNITS knows the units of physics and hardly any of those of molecules, and gives some names another
meaning: its calorie is not the thermochemical one. Those are written as a number of units that it knows.

References
----------
UDUNITS-2, "Syntax" and "The unit database", https://docs.unidata.ucar.edu/udunits/current/.
CODATA 2022 for the constants.
"""

from __future__ import annotations

import functools
import re

_PREFIXES = {
    "atto": "a",
    "femto": "f",
    "pico": "p",
    "nano": "n",
    "micro": "u",
    "milli": "m",
    "centi": "c",
    "deci": "d",
    "kilo": "k",
    "mega": "M",
    "giga": "G",
    "tera": "T",
}
_SYMBOLS = {
    "ampere": "A",
    "bar": "bar",
    "candela": "cd",
    "coulomb": "C",
    "farad": "F",
    "gram": "g",
    "hertz": "Hz",
    "joule": "J",
    "kelvin": "K",
    "liter": "L",
    "meter": "m",
    "mole": "mol",
    "newton": "N",
    "ohm": "ohm",
    "pascal": "Pa",
    "radian": "rad",
    "second": "s",
    "siemens": "S",
    "tesla": "T",
    "volt": "V",
    "watt": "W",
    "weber": "Wb",
}
# Names with their prefix, or that take none.
_WHOLE = {
    "angstrom": "angstrom",
    "centipoise": "mPa s",
    "day": "day",
    "degree": "degree",
    "degree_Celsius": "degC",
    "delta_degree_Celsius": "K",
    "hour": "h",
    "minute": "min",
    "standard_atmosphere": "atm",
    "percent": "percent",
}
# As a number of another unit, which may get the prefix.
_SCALED = {
    "bohr": ("5.29177210544e-11", "m"),
    "calorie": ("4.184", "J"),
    "dalton": ("1.66053906892e-27", "kg"),
    "debye": ("3.33564095e-30", "C m"),
    "electron_volt": ("1.602176634e-19", "J"),
    "elementary_charge": ("1.602176634e-19", "C"),
    "hartree": ("4.3597447222060e-18", "J"),
    "poise": ("0.1", "Pa s"),
    "torr": ("133.32236842105263", "Pa"),
    "unified_atomic_mass_unit": ("1.66053906892e-27", "kg"),
}
_DIMENSIONLESS = "dimensionless"
_FACTOR = re.compile(r"(?P<name>[A-Za-z_]\w*)(?: \*\* (?P<exponent>-?\d+))?")


@functools.lru_cache(maxsize=256)
def udunits_text(unit: str) -> str | None:
    """Return a unit as UDUNITS reads it, ``kJ mol-1`` for ``kilojoule / mole``.

    Parameters
    ----------
    unit
        As documents have it: names of pint, joined by ``*`` and ``/``.

    Returns
    -------
    text
        None if there is no spelling of it with the same meaning.
    """
    if unit == _DIMENSIONLESS:
        return "1"
    numerator, *denominators = unit.split(" / ")
    factors = [] if numerator == "1" else [(text, 1) for text in numerator.split(" * ")]
    words = [_word(text, sign) for text, sign in [*factors, *((text, -1) for text in denominators)]]
    return None if not words or None in words else " ".join(word for word in words if word is not None)


def _word(factor: str, sign: int) -> str | None:
    found = _FACTOR.fullmatch(factor)
    spelled = _spelled(found["name"]) if found is not None else None
    if found is None or spelled is None:
        return None
    exponent = sign * int(found["exponent"] or 1)
    if exponent == 1:
        return spelled
    return f"{spelled}{exponent}" if " " not in spelled else f"({spelled}){exponent}"


def _spelled(name: str) -> str | None:
    whole = _WHOLE.get(name)
    if whole is not None:
        return whole
    for prefix, short in [("", ""), *_PREFIXES.items()]:
        base = name.removeprefix(prefix)
        if prefix and base == name:
            continue
        if base in _SYMBOLS:
            return short + _SYMBOLS[base]
        if base in _SCALED:
            number, symbol = _SCALED[base]
            if not short:
                return f"{number} {symbol}"
            return f"{number} {short}{symbol}" if symbol in _SYMBOLS.values() else None
    return None

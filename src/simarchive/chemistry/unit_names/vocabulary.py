"""The names that units have in containers, in one meaning each: all that every release of pint knows.

The names and what they mean stand in ``names.txt`` beside this file.
"""

from __future__ import annotations

import difflib
import importlib.resources
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

_COMMON = ("meter", "gram", "second", "joule", "calorie", "mole", "liter", "pascal", "hartree")
_COMMON_PREFIXES = ("kilo", "mega", "deci", "centi", "milli", "micro", "nano", "pico", "femto")


@dataclass(frozen=True)
class Meaning:
    """What a name of the vocabulary means.

    Attributes
    ----------
    scale, reference
        One of it is so much of the reference, a unit in base units. Of a unit that is itself a base, the
        reference is its dimension in square brackets.
    offset
        What it begins at, such as 273.15 (kelvin) for ``degree_Celsius``.
    logarithm
        What pint is told of a logarithmic unit; empty for any other.
    """

    scale: float
    reference: str
    offset: float = 0.0
    logarithm: str = ""

    @property
    def is_base(self) -> bool:
        """Whether no other unit says what it is."""
        return self.reference.startswith("[")

    def definition(self, name: str) -> str:
        """Return the line that defines a name so in a registry of pint."""
        if self.is_base:
            return f"{name} = {self.reference}"
        offset = f"; offset: {self.offset!r}" if self.offset else ""
        return f"{name} = {self.scale!r} {self.reference}".rstrip() + offset + self.logarithm


@lru_cache(maxsize=1)
def _lines() -> Mapping[str, str]:
    text = importlib.resources.files(__package__).joinpath("names.txt").read_text(encoding="utf-8")
    lines = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {name: definition for name, _, definition in lines}


def _meaning(text: str) -> Meaning:
    definition, _, more = text.partition("; ")
    if definition.startswith("["):
        return Meaning(1.0, definition)
    scale, _, reference = definition.partition(" ")
    if more.startswith("offset: "):
        return Meaning(float(scale), reference, offset=float(more.removeprefix("offset: ")))
    return Meaning(float(scale), reference, logarithm=f"; {more}" if more else "")


@lru_cache(maxsize=1024)
def meaning_of(name: str) -> Meaning | None:
    """Return what a name means, which may have a prefix; None if it is not in the vocabulary."""
    lines = _lines()
    if name.endswith("-"):
        return None
    if name in lines:
        return _meaning(lines[name])
    for length in range(1, len(name)):
        prefix, rest = f"{name[:length]}-", name[length:]
        if prefix in lines and rest in lines:
            found = _meaning(lines[rest])
            if found.offset or found.logarithm:
                return None
            factor = float(lines[prefix])
            return Meaning(factor, rest) if found.is_base else replace(found, scale=factor * found.scale)
    return None


def names() -> tuple[str, ...]:
    """Return all names, without prefixes."""
    return tuple(name for name in _lines() if not name.endswith("-"))


def is_same(mine: float, theirs: float) -> bool:
    """Return whether two sizes are of one unit: constants of nature are known to more digits every year."""
    return math.isclose(mine, theirs, rel_tol=1e-6, abs_tol=0.0)


def nearest(name: str, others: Iterable[str] = ()) -> str | None:
    """Return the name of the vocabulary, or of some others, that is most like one that is not in it."""
    known = dict.fromkeys((*names(), *(p + n for n in _COMMON for p in _COMMON_PREFIXES), *others))
    found = difflib.get_close_matches(name, known, 1)
    return found[0] if found else None

"""Between the vocabulary of units and a registry of pint, which may lack names and have more of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from simarchive.chemistry.unit_names import texts
from simarchive.chemistry.unit_names.vocabulary import Meaning, is_same, meaning_of, nearest
from simarchive.errors import InvalidDataError

OF_OPENFF_UNITS = {
    f"{name}_per_mole": f"{energy} / mole"
    for energy in ("joule", "kilojoule", "calorie", "kilocalorie")
    for name in (energy, f"{energy}s")
}
"""Names that are defined in the registry of openff-units, and got into older files from there."""

_DIFFERENCE = "delta_"
_defining = threading.Lock()


class Written(NamedTuple):
    """A unit of a registry in the words of the vocabulary: ``factor`` times the unit of ``text``.

    ``strangers`` are the names in ``text`` that have no words there.
    """

    factor: float
    text: str
    strangers: tuple[str, ...]


def written(registry: Any, units: Any) -> Written:
    """Return a unit of a registry in the words of the vocabulary.

    A name that is not in the vocabulary, or has another meaning there, is written by its definition.
    """
    return _written(registry, texts.factors(format(units, "D")))


def _written(registry: Any, factors: Mapping[str, float]) -> Written:
    product: dict[str, float] = {}
    strangers: list[str] = []
    factor = 1.0
    for name, exponent in factors.items():
        size, parts, unknown = _words(registry, name)
        strangers += unknown
        factor *= size**exponent
        for part, power in parts.items():
            product[part] = product.get(part, 0.0) + exponent * power
    return Written(factor, texts.canonical_text(product), tuple(strangers))


@lru_cache(maxsize=4096)
def _words(registry: Any, name: str) -> tuple[float, Mapping[str, float], tuple[str, ...]]:
    """Return one name as so many times a product of names of the vocabulary, and those that are not in it."""
    if name == "dimensionless":
        return 1.0, {}, ()
    plain_name = name.removeprefix(_DIFFERENCE)
    if meaning_of(plain_name) is not None and means_the_same(registry, plain_name):
        return 1.0, {name: 1.0}, ()
    readings = registry.parse_unit_name(plain_name)
    # Without a prefix if there is such a reading: kilojoule_per_mole may be defined beside joule_per_mole.
    prefix, own_name, _ = min(readings, key=lambda reading: len(reading[0]), default=("", "", ""))
    definition = registry._units[own_name] if own_name else None
    if definition is None or not definition.reference or definition.is_base:
        return 1.0, {name: 1.0}, (name,)
    if not definition.is_multiplicative:
        return 1.0, {name: 1.0}, (name,)
    # Its parts may be given by other names than their own, such as mol and π.
    named = texts.product_text({str(part): float(power) for part, power in definition.reference.items()})
    meaning = format(registry.Unit(named), "D")
    inner = _written(registry, texts.factors(meaning))
    size, parts = float(definition.converter.scale) * inner.factor, texts.factors(inner.text)
    if prefix:
        first = next((part for part, power in parts.items() if power == 1.0), None)
        longer = f"{prefix}{first}"
        if first is not None and meaning_of(longer) is not None and means_the_same(registry, longer):
            # Numbers stay as they are: so many kilojoule / mole, not a thousand times as many joule / mole.
            parts = {longer if part == first else part: power for part, power in parts.items()}
        else:
            size = float(registry.Quantity(1.0, name).to(meaning).magnitude) * inner.factor
    return size, parts, inner.strangers


@lru_cache(maxsize=4096)
def means_the_same(registry: Any, name: str) -> bool:
    """Return whether a name of the vocabulary has its meaning in a registry, too."""
    meaning = meaning_of(name)
    assert meaning is not None
    if meaning.is_base or meaning.logarithm:
        return True
    with contextlib.suppress(Exception):  # of pint: it lacks the name, or what it means has other dimensions
        reference = registry.Unit(texts.product_text(texts.factors(meaning.reference)))
        begin, end = (float(registry.Quantity(n, name).to(reference).magnitude) for n in (0.0, 1.0))
        if meaning.offset:
            return is_same(begin, meaning.offset) and is_same(end - begin, meaning.scale)
        return begin == 0.0 and is_same(end, meaning.scale)
    return False


def understood(registry: Any, factors: Mapping[str, float]) -> Mapping[str, float]:
    """Return a product of names as a registry understands it.

    A name of the vocabulary that the registry lacks is defined there, so that a value keeps the unit that it
    was stored with.
    """
    if all(name in registry for name in factors):
        return factors
    product: dict[str, float] = {}
    for name, exponent in factors.items():
        meaning: Mapping[str, float] = {name: 1.0}
        if name not in registry:
            if name in OF_OPENFF_UNITS:
                meaning = texts.factors(OF_OPENFF_UNITS[name])
            else:
                _define(registry, name.removeprefix(_DIFFERENCE))
        for part, power in meaning.items():
            product[part] = product.get(part, 0.0) + exponent * power
    return product


def _define(registry: Any, name: str) -> None:
    """Define a name of the vocabulary in a registry that lacks it, and the bases that it rests on."""
    meaning = meaning_of(name)
    if meaning is None:
        return
    with _defining:
        for base in () if meaning.is_base else texts.factors(meaning.reference):
            base_meaning = meaning_of(base)
            if base not in registry and base_meaning is not None:
                registry.define(base_meaning.definition(base))
        if name not in registry:
            registry.define(meaning.definition(name))


def check_meaning(registry: Any, factors: Mapping[str, float]) -> None:
    """Check that each name of a stored unit means in a registry what it means in the vocabulary.

    Raises
    ------
    InvalidDataError
        If one does not.
    """
    for name in factors:
        plain_name = name.removeprefix(_DIFFERENCE)
        meaning = meaning_of(plain_name)
        if meaning is None or means_the_same(registry, plain_name):
            continue
        raise InvalidDataError(
            f"the unit {name!r} means {_in_words(meaning)} in a container, and something else in this"
            " program, which gave the name another meaning: read the data in a program that does not"
        )


def _in_words(meaning: Meaning) -> str:
    return f"{meaning.scale:.9g} {meaning.reference}".rstrip()


def hint_for(registry: Any, name: str, *, only_vocabulary: bool = False) -> str:
    """Return which known unit has the name nearest to one that is not known, in words, or nothing."""
    close = nearest(name, () if only_vocabulary else map(str, registry))
    return f"; the nearest known name is {close!r}" if close else ""

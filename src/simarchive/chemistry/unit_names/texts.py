"""Units as text: read as a product of names with small exponents, never calculated.

pint evaluates the text of a unit as an expression, in which a power of a power takes forever. A text from a
query, a directory or a file is therefore read here, in time in proportion to its length; pint only gets names
and exponents that are written again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from simarchive.errors import InvalidDataError

LONGEST = 256
"""So many characters may the text of a unit have."""

_DEEPEST = 8
_LARGEST_EXPONENT = 99

# A name of pint is a word, or a sign such as % and °C. Superscripts are digits to Python, and exponents here.
_TOKEN = re.compile(
    r"\s*(?:(?P<name>(?:[^\W\d²³¹⁰⁴-⁹]|[%‰°Δ])(?:[^\W²³¹⁰⁴-⁹]|°)*)"
    r"|(?P<power>\*\*|\^)|(?P<sign>[*/·⋅×])|(?P<bracket>[()])"
    r"|(?P<raised>[⁻⁺]?[⁰¹²³⁴-⁹]+)|(?P<number>[0-9]+(?:\.[0-9]*)?)|(?P<minus>[-+]))"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_WORDS_BEFORE = {"square": 2.0, "sq": 2.0, "cubic": 3.0}
_WORDS_AFTER = {"squared": 2.0, "cubed": 3.0}


def factors(text: str) -> dict[str, float]:
    """Return the exponent of each name in the text of a unit, such as ``kilojoule / mole / nm ** 2``.

    ``*``, ``/``, ``per`` and spaces join names; ``**``, ``^`` or superscripts give a name, or names in
    brackets that have none, an exponent.

    Raises
    ------
    InvalidDataError
        If it is not such a text, or longer than 256 characters.
    """
    if len(text) > LONGEST:
        raise InvalidDataError(
            f"{text[:40]!r}... is not a unit: it has {len(text):,} characters, and a unit at most {LONGEST}"
        )
    return _Reader(text).read()


def product_text(exponents: Mapping[str, float]) -> str:
    """Return a text from which `factors` reads these exponents."""
    return " * ".join(f"{name} ** {exponent:.17g}" for name, exponent in exponents.items())


def canonical_text(exponents: Mapping[str, float]) -> str:
    """Return the one spelling of a product of names: ``kilojoule / mole / nanometer ** 2``.

    Names stand in the order of the alphabet, those with a negative exponent after the others. pint writes the
    same, but not in every release and locale.
    """
    above = [_power_text(name, exponents[name]) for name in sorted(exponents) if exponents[name] > 0]
    below = [_power_text(name, -exponents[name]) for name in sorted(exponents) if exponents[name] < 0]
    if not above and not below:
        return "dimensionless"
    return " / ".join([" * ".join(above) or "1", *below])


def _power_text(name: str, exponent: float) -> str:
    if exponent == 1:
        return name
    is_whole = exponent == int(exponent)
    return f"{name} ** {int(exponent) if is_whole else repr(float(exponent))}"


class _Reader:
    """Reads one text from left to right; no token is looked at twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: Iterator[tuple[str, str]] = self._split()
        self._kind, self._token = next(self._tokens)

    def read(self) -> dict[str, float]:
        if self._kind == "end":
            return {}
        exponents, _ = self._product(0)
        if self._kind != "end":
            raise self._refusal()
        if any(abs(exponent) > _LARGEST_EXPONENT for exponent in exponents.values()):
            raise self._refusal()
        return {name: exponent for name, exponent in exponents.items() if exponent}

    def _refusal(self) -> InvalidDataError:
        return InvalidDataError(
            f"{self._text!r} is not a unit: write names with * and /, and small numbers after **"
        )

    def _split(self) -> Iterator[tuple[str, str]]:
        position, end = 0, len(self._text.rstrip())
        while position < end:
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise self._refusal()
            assert match.lastgroup is not None
            yield match.lastgroup, match[match.lastgroup]
            position = match.end()
        while True:
            yield "end", ""

    def _advance(self) -> str:
        token = self._token
        self._kind, self._token = next(self._tokens)
        return token

    def _product(self, depth: int) -> tuple[dict[str, float], bool]:
        """Read factors up to a closing bracket or the end; return also whether one has an exponent."""
        exponents: dict[str, float] = {}
        has_powers, sign = False, 1.0
        while True:
            more, is_power = self._factor(depth)
            has_powers |= is_power
            for name, exponent in more.items():
                exponents[name] = exponents.get(name, 0.0) + sign * exponent
            sign = 1.0
            if self._kind == "end" or self._token == ")":
                return exponents, has_powers
            if self._kind == "sign" or (self._kind, self._token) == ("name", "per"):
                sign = -1.0 if self._advance() in ("/", "per") else 1.0

    def _factor(self, depth: int) -> tuple[dict[str, float], bool]:
        before = None
        if self._kind == "name" and self._token in _WORDS_BEFORE:
            before = _WORDS_BEFORE[self._advance()]
        is_power = False
        if self._token == "(" and depth < _DEEPEST:
            self._advance()
            inner, is_power = self._product(depth + 1)
            if self._token != ")":
                raise self._refusal()
            self._advance()
        elif self._kind == "name":
            inner = {self._advance(): 1.0}
        elif self._kind == "number" and self._token in ("1", "1.", "1.0"):
            self._advance()
            inner = {}
        else:
            raise self._refusal()
        after = self._power()
        if after is not None and before is not None:
            raise self._refusal()
        power = after if before is None else before
        if power is None:
            return inner, is_power
        if is_power or self._power() is not None:
            raise self._refusal()  # a power of a power
        return {name: exponent * power for name, exponent in inner.items()}, True

    def _power(self) -> float | None:
        """Read an exponent, if there is one."""
        if self._kind == "raised":
            return self._small(self._advance().translate(_SUPERSCRIPTS))
        if self._kind == "name" and self._token in _WORDS_AFTER:
            return _WORDS_AFTER[self._advance()]
        if self._kind != "power":
            return None
        self._advance()
        is_enclosed = self._token == "("
        if is_enclosed:
            self._advance()
        digits = self._advance() if self._kind == "minus" else ""
        if self._kind != "number":
            raise self._refusal()
        digits += self._advance()
        if is_enclosed:
            if self._token != ")":
                raise self._refusal()
            self._advance()
        return self._small(digits)

    def _small(self, digits: str) -> float:
        exponent = float(digits)
        if abs(exponent) > _LARGEST_EXPONENT:
            raise self._refusal()
        return exponent

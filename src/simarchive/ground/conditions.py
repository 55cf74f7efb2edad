"""Typed columns and conditions: what the meaning of data declares, and an index answers.

This is the language between the two wings of the house. A data class declares `Column` objects and
gives one plain value for each; a query gives `Condition` objects; the index finds the rows for
which all conditions hold. Neither wing needs to know the other.

A missing value (``None``) fulfils no condition but a `Negated` one, which is the plain complement of another.

Here is also the one order of values, for everything that sorts: an index, objects that were read, and what
several of them found together.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simarchive.errors import InvalidDataError


class ColumnKind(enum.Enum):
    """How the values of a column are kept."""

    INTEGER = "integer"  #: signed, 64 bits
    REAL = "real"  #: float64
    CATEGORY = "category"  #: text that many rows share (a substance, a phase, a force field)
    IDENTIFIER = "identifier"  #: text that few rows share (a calculation id, a digest)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an index: a name that never changes, and a kind."""

    name: str
    kind: ColumnKind


Value = int | float | str | None
"""What a row holds in a column; ``None`` is missing."""


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is `value`."""

    column: str
    value: int | float | str

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        return value is not None and value == self.value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of `values`."""

    column: str
    values: frozenset[int | float | str]

    @classmethod
    def of(cls, column: str, values: Iterable[int | float | str]) -> OneOf:
        """Return the condition for any iterable of values."""
        return cls(column, frozenset(values))

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        return not is_missing(value) and value in self.values


@dataclass(frozen=True, slots=True)
class Within:
    """The value is a number from `low` to `high`, both included; ``None`` leaves an end open."""

    column: str
    low: float | None = None
    high: float | None = None

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        if value is None or isinstance(value, str) or math.isnan(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Satisfies:
    """The value is a text for which `test` is true; `reading` says it in words for people.

    The test is called once for each different text of a category, so it may be slow; and if `form` is given,
    only for texts that look like it: in UTF-8 as long as `form`, and equal to it but for its zeros. They are
    found among the texts of a category at once.
    """

    column: str
    test: Callable[[str], bool]
    reading: str
    form: bytes | None = None

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        return isinstance(value, str) and self.test(value)


@dataclass(frozen=True, slots=True)
class Negated:
    """The other condition does not hold; so a missing value fulfils this one."""

    condition: Condition

    @property
    def column(self) -> str:
        """The column of the negated condition."""
        return self.condition.column

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        return not self.condition.matches(value)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of several conditions holds, all of them about one column."""

    choices: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if len({choice.column for choice in self.choices}) != 1:
            raise InvalidDataError("the choices of an Or must be about one column")

    @property
    def column(self) -> str:
        """The column of all choices."""
        return self.choices[0].column

    def matches(self, value: Value) -> bool:
        """Return whether one value fulfils the condition."""
        return any(choice.matches(value) for choice in self.choices)


Condition = Equals | OneOf | Within | Satisfies | Negated | Or


def in_words(condition: Condition) -> str:
    """Return a condition as people read it after the name of its column."""
    if isinstance(condition, Or):
        return " or ".join(map(in_words, condition.choices))
    if isinstance(condition, Negated):
        words = in_words(condition.condition)
        is_simple = words.startswith("is ") and not isinstance(condition.condition, Or)
        return f"is not {words.removeprefix('is ')}" if is_simple else f"not ({words})"
    if isinstance(condition, Equals):
        return f"is {condition.value!r}"
    if isinstance(condition, OneOf):
        shown = sorted(map(repr, condition.values))
        return "is one of " + ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
    if isinstance(condition, Satisfies):
        return condition.reading
    low, high = condition.low, condition.high
    if low is None:
        return "is set" if high is None else f"is at most {_short(high)}"
    return f"is at least {_short(low)}" if high is None else f"is from {_short(low)} to {_short(high)}"


def _short(number: float) -> str:
    return f"{number:.12g}" if isinstance(number, float) else str(number)


def is_missing(value: Value) -> bool:
    """Return whether a value counts as missing: ``None``, and NaN."""
    return value is None or value != value


def places_in_order(values: Sequence[Value], *, descending: bool) -> list[int]:
    """Return the places of values in their order: equal ones stay as they stand, missing ones come last.

    Texts are ordered by code point, infinities are the first and the last of the numbers.
    """
    missing = [is_missing(value) for value in values]
    ranks = ranks_of(value for value, gone in zip(values, missing, strict=True) if not gone)
    numbers = [0 if gone else ranks[value] for value, gone in zip(values, missing, strict=True)]
    order = order_of(np.array(numbers, np.int64), np.array(missing, bool), descending=descending)
    places: list[int] = order.tolist()
    return places


def ranks_of(values: Iterable[Any]) -> dict[Any, int]:
    """Return numbers that are ordered like the different ones among some values, none of them missing."""
    return {value: rank for rank, value in enumerate(sorted(set(values)))}


def order_of(
    numbers: npt.NDArray[Any], missing: npt.NDArray[np.bool_], *, descending: bool
) -> npt.NDArray[np.intp]:
    """Return what `places_in_order` does, for an array of numbers and a mask of those that are missing."""
    if descending:
        numbers = -numbers if numbers.dtype.kind == "f" else ~numbers  # ~ has no overflow
    return np.lexsort((numbers, missing))

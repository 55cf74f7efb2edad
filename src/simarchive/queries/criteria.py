"""Criteria: what a query may ask of a value besides being equal to one."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from simarchive.errors import InvalidDataError


class Between:
    """A number or quantity from `low` to `high`, both included; ``None`` leaves an end open.

    Quantities match within a tolerance beyond the bounds, because units are converted: 1e-6 K for
    temperatures, 1e-3 Pa for pressures, a relative 1e-12 for others. ``Between()`` matches any value that is
    set.
    """

    __slots__ = ("high", "low")

    def __init__(self, low: Any = None, high: Any = None) -> None:
        self.low = low
        self.high = high

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Between):
            return NotImplemented
        return bool(self.low == other.low and self.high == other.high)

    def __hash__(self) -> int:
        return hash((self.low, self.high))

    def __repr__(self) -> str:
        return f"Between({_words(self.low)}, {_words(self.high)})"


class AnyOf:
    """One of several values or criteria."""

    __slots__ = ("choices",)

    def __init__(self, *choices: Any) -> None:
        if not choices:
            raise InvalidDataError("AnyOf needs at least one value: AnyOf(290 * unit.kelvin, ...)")
        self.choices = choices

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AnyOf):
            return NotImplemented
        return self.choices == other.choices

    def __hash__(self) -> int:
        return hash(self.choices)

    def __repr__(self) -> str:
        return f"AnyOf({', '.join(map(_words, self.choices))})"


class Not:
    """Anything but a value or criterion; an unset value matches too."""

    __slots__ = ("criterion",)

    def __init__(self, criterion: Any) -> None:
        if criterion is None:
            raise InvalidDataError("Not needs a value or a criterion; an unset value is Not(Between())")
        self.criterion = criterion

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Not):
            return NotImplemented
        return bool(self.criterion == other.criterion)

    def __hash__(self) -> int:
        return hash((Not, self.criterion))

    def __repr__(self) -> str:
        return f"Not({_words(self.criterion)})"


_Value = TypeVar("_Value")
Criterion: TypeAlias = _Value | Between | AnyOf | Not | None
"""A value, a criterion for it, or None for no criterion."""


def _words(value: Any) -> str:
    return f"{value}" if hasattr(value, "units") else repr(value)

"""Criteria: what a query may ask of a value besides being equal to one, and which conditions say so.

A condition decides on an object and in an index alike, by the same numbers and texts, so an index and a scan
over all objects cannot disagree.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, TypeVar

from simarchive.data.kinds import ScalarKind
from simarchive.data.value_kinds import QuantityKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Equals, Negated, OneOf, Or, Within


class Between:
    """A number or quantity from `low` to `high`, both included; ``None`` leaves an end open.

    Quantities match within a tolerance beyond the bounds, because units are converted: 1e-6 K for
    temperatures, 1e-3 Pa for pressures, a relative 1e-12 for others. ``Between()`` matches any value that is
    set. NaN lies in no range.
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
    """Anything but a value or criterion: all that it does not find, so an unset value and NaN match too.

    ``Not(Between(290, 310))`` finds what lies outside of the range, what is not set, and NaN; only numbers
    that lie outside are ``AnyOf(Between(None, 289), Between(311, None))``. ``Not(Between())`` finds what is
    not set, and NaN.
    """

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


def conditions_of(criterion: Any, column: str, kind: ScalarKind) -> tuple[Condition, ...]:
    """Return the conditions that together say what a value or criterion asks of a column.

    Raises
    ------
    InvalidDataError
        If a value is of another kind, a range makes no sense for it, or is empty.
    """
    if isinstance(criterion, Not) and isinstance(criterion.criterion, Not):
        return conditions_of(criterion.criterion.criterion, column, kind)
    if isinstance(criterion, Not) and isinstance(criterion.criterion, AnyOf):
        return tuple(
            condition
            for choice in criterion.criterion.choices
            for condition in conditions_of(Not(choice), column, kind)
        )
    return (_condition_of(criterion, column, kind),)


def _condition_of(criterion: Any, column: str, kind: ScalarKind) -> Condition:
    if isinstance(criterion, Not):
        inner = _condition_of(criterion.criterion, column, kind)
        return inner.condition if isinstance(inner, Negated) else Negated(inner)
    if isinstance(criterion, AnyOf):
        return _any_of([_condition_of(choice, column, kind) for choice in criterion.choices], column)
    if isinstance(criterion, Between):
        return _range(criterion, column, kind)
    return kind.condition(criterion, column)


def _any_of(choices: list[Condition], column: str) -> Condition:
    """Return the condition that one of several holds; single values become one set."""
    values: set[int | float | str] = set()
    parts: list[Condition] = []
    for choice in choices:
        for part in choice.choices if isinstance(choice, Or) else (choice,):
            if isinstance(part, Equals):
                values.add(part.value)
            elif isinstance(part, OneOf):
                values.update(part.values)
            else:
                parts.append(part)
    if values:
        parts.append(OneOf.of(column, values) if len(values) > 1 else Equals(column, values.pop()))
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _range(criterion: Between, column: str, kind: ScalarKind) -> Within:
    if not kind.is_number:
        raise InvalidDataError(f"{criterion} makes no sense here: {kind.wanted} has no order")
    low, high = (None if bound is None else _bound(bound, kind) for bound in (criterion.low, criterion.high))
    # Widened before they are compared: one quantity in two units may be off in the last digit.
    low = low if low is None else low - kind.tolerance(low)
    high = high if high is None else high + kind.tolerance(high)
    if low is not None and high is not None and low > high:
        raise InvalidDataError(f"{criterion} is empty: the low end must not be above the high one")
    return Within(column, low, high)


def _bound(bound: Any, kind: ScalarKind) -> float:
    number = kind.index_value(kind.accept(bound)) if isinstance(kind, QuantityKind) else bound
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise kind.refuse(bound)
    return number

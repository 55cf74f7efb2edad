"""Criteria: what a query may ask of a value besides being equal to one, and which conditions say so.

A condition decides on an object and in an index alike, by the same numbers and texts, so an index and a scan
over all objects cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from simarchive.chemistry.trees import describe
from simarchive.chemistry.units import as_quantity, is_quantity
from simarchive.data.collection_kinds import ElementListKind, ElementMappingKind
from simarchive.data.kinds import ScalarKind
from simarchive.data.searched_kinds import (
    AnyValueKind,
    Plain,
    TagsKind,
    ValuesByNameKind,
    in_base_units,
    value_by_name,
)
from simarchive.data.value_kinds import QuantityKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Equals, Negated, OneOf, Or, Satisfies, Within


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
    if isinstance(kind, ValuesByNameKind):
        return values_by_name(criterion, column, kind)
    if isinstance(criterion, Not) and isinstance(criterion.criterion, Not):
        return conditions_of(criterion.criterion.criterion, column, kind)
    if isinstance(kind, TagsKind) and isinstance(criterion, list | tuple):
        return tuple(_condition_of(tag, column, kind) for tag in kind.accept(criterion))
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
    if isinstance(kind, ElementListKind) and not isinstance(criterion, list | tuple):
        return kind.having(column, _condition_of(criterion, column, kind.scalar))
    if isinstance(kind, ElementMappingKind):
        return _has_keys(criterion, column, kind)
    if isinstance(criterion, Between):
        return _range(criterion, column, kind)
    return kind.condition(criterion, column)


def values_by_name(criterion: Any, column: str, kind: ValuesByNameKind) -> tuple[Condition, ...]:
    """Return the conditions for mappings whose values fulfil one criterion each, by name.

    Raises
    ------
    InvalidDataError
        If this is no mapping of names to criteria, or one makes no sense.
    """
    if not isinstance(criterion, dict) or not criterion:
        raise InvalidDataError(
            f"a dict of names and what their values must be is expected, not {describe(criterion)}"
        )
    return tuple(
        condition
        for name, asked in criterion.items()
        for condition in _value_named(name, asked, column, kind)
    )


def _value_named(name: Any, asked: Any, column: str, kind: ValuesByNameKind) -> tuple[Condition, ...]:
    if not isinstance(name, str):
        raise InvalidDataError(f"the name of a value must be a text, not {describe(name)}")
    if isinstance(asked, Not):
        if isinstance(asked.criterion, Not):
            return _value_named(name, asked.criterion.criterion, column, kind)
        return tuple(Negated(condition) for condition in _value_named(name, asked.criterion, column, kind))
    test, reading = _test_of(asked, kind)

    def holds(text: str) -> bool:
        value = value_by_name(text, name)
        return value is not None and test(value)

    return (Satisfies(column, holds, f"has {name} {reading}"),)


def _test_of(asked: Any, kind: ValuesByNameKind) -> tuple[Callable[[Plain], bool], str]:
    """Return the test of one value for a criterion, and how it reads."""
    if isinstance(asked, AnyOf):
        tests = [_test_of(choice, kind) for choice in asked.choices]
        readings = dict.fromkeys(reading for _, reading in tests)
        return lambda value: any(test(value) for test, _ in tests), " or ".join(readings)
    if isinstance(asked, Between):
        return _range_test(asked)
    if isinstance(asked, Not):
        raise InvalidDataError(f"{asked} cannot be one of several values here: put Not around all of them")
    value = AnyValueKind().accept(asked)
    if is_quantity(value):
        return _range_test(Between(value, value), f"equal to {value}")
    # True is not the number 1.
    is_truth = isinstance(value, bool)
    return lambda found: isinstance(found, bool) is is_truth and found == value, f"equal to {value!r}"


def _range_test(asked: Between, reading: str | None = None) -> tuple[Callable[[Plain], bool], str]:
    bounds = [None if bound is None else _plain_bound(bound) for bound in (asked.low, asked.high)]
    units = {unit for bound in bounds if bound is not None for unit in bound[1:]}
    if len(units) > 1:
        raise InvalidDataError(f"{asked} makes no sense: its ends are of different kinds")
    low, high = (None if bound is None else bound[0] for bound in bounds)
    if low is not None and high is not None and low > high:
        raise InvalidDataError(f"{asked} is empty: the low end must not be above the high one")
    wanted = units.pop() if units else None

    def test(found: Plain) -> bool:
        if wanted is None:
            return True  # Between(): any value at all
        number, unit = found if isinstance(found, tuple) else (found, "")
        if unit != wanted or isinstance(number, bool | str):
            return False
        # Units were converted, as for other quantities.
        slack = 1e-12 if unit else 0.0
        return (low is None or number >= low - abs(low) * slack) and (
            high is None or number <= high + abs(high) * slack
        )

    return test, reading or ("set" if wanted is None else f"in {asked}")


def _plain_bound(bound: Any) -> tuple[float, str]:
    if is_quantity(bound):
        return in_base_units(as_quantity(bound, "a bound"))
    if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
        raise InvalidDataError(f"a number or a quantity is expected as a bound, not {describe(bound)}")
    return bound, ""


def _has_keys(criterion: Any, column: str, kind: ElementMappingKind) -> Condition:
    if isinstance(criterion, str):
        return kind.having(column, {criterion: None})
    if not isinstance(criterion, dict):
        raise InvalidDataError(f"a key, or a dict of keys and values, is expected, not {describe(criterion)}")
    return kind.having(
        column,
        {kind.key.accept(key): _condition_of(value, column, kind.scalar) for key, value in criterion.items()},
    )


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

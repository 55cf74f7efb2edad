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
from simarchive.data.collection_kinds import SearchedListKind, SearchedMappingKind, Test
from simarchive.data.kinds import FieldKind, ScalarKind
from simarchive.data.searched_kinds import AnyValueKind, Plain, in_base_units
from simarchive.data.value_kinds import QuantityKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Equals, Negated, OneOf, Or, Satisfies, Within, in_words


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


class Meanings(AnyOf):
    """What one text may mean: several values, of which those that a field cannot have are left out."""

    __slots__ = ()


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
    if isinstance(kind, SearchedListKind) and isinstance(criterion, list | tuple):
        return tuple(_has_element(element, column, kind) for element in criterion)
    if isinstance(kind, SearchedMappingKind) and isinstance(criterion, dict):
        _check_names(criterion)
        return tuple(_has_value(name, asked, column, kind) for name, asked in criterion.items())
    if isinstance(criterion, Not) and isinstance(criterion.criterion, AnyOf):
        return tuple(
            condition
            for choice in criterion.criterion.choices
            for condition in conditions_of(Not(choice), column, kind)
        )
    return (_condition_of(criterion, column, kind),)


def _condition_of(criterion: Any, column: str, kind: ScalarKind) -> Condition:
    if isinstance(criterion, Not):
        return _negated(_condition_of(criterion.criterion, column, kind))
    if isinstance(criterion, Meanings):
        return _any_of(_of_meanings(criterion, column, kind), column)
    if isinstance(criterion, AnyOf):
        return _any_of([_condition_of(choice, column, kind) for choice in criterion.choices], column)
    if isinstance(kind, SearchedListKind):
        if isinstance(criterion, list | tuple):
            return _all_of([_has_element(element, column, kind) for element in criterion], column)
        return _has_element(criterion, column, kind)
    if isinstance(kind, SearchedMappingKind):
        return _has_values(criterion, column, kind)
    if isinstance(criterion, Between):
        return _range(criterion, column, kind)
    return kind.condition(criterion, column)


def _negated(condition: Condition) -> Condition:
    return condition.condition if isinstance(condition, Negated) else Negated(condition)


def _of_meanings(criterion: Meanings, column: str, kind: ScalarKind) -> list[Condition]:
    made, faults = [], []
    for choice in criterion.choices:
        try:
            made.append(_condition_of(choice, column, kind))
        except InvalidDataError as error:
            faults.append(error)
    if not made:
        raise faults[0]
    return made


# --- lists and mappings ---------------------------------------------------------------------------------


def _has_element(criterion: Any, column: str, kind: SearchedListKind) -> Condition:
    test, words = _test_of(criterion, column, kind.element)
    return kind.having(column, test, words)


def _has_values(criterion: Any, column: str, kind: SearchedMappingKind) -> Condition:
    """Return the one condition that a mapping has a name, or all of several values."""
    if isinstance(criterion, str):
        return kind.having(column, criterion, None)
    _check_names(criterion)
    return _all_of([_has_value(name, asked, column, kind) for name, asked in criterion.items()], column)


def _check_names(criterion: Any) -> None:
    if not isinstance(criterion, dict) or not criterion:
        raise InvalidDataError(
            "a name, or a dict of names and what their values must be, is expected,"
            f" not {describe(criterion)}"
        )
    for name in criterion:
        if not isinstance(name, str):
            raise InvalidDataError(f"the name of a value must be a text, not {describe(name)}")


def _has_value(name: str, asked: Any, column: str, kind: SearchedMappingKind) -> Condition:
    """Return the condition on the value under a name, which is not set where there is no such name."""
    if asked is None:
        return kind.having(column, name, None)
    if isinstance(asked, Not):
        return _negated(_has_value(name, asked.criterion, column, kind))
    if isinstance(asked, AnyOf) and any(isinstance(choice, AnyOf | Not) for choice in asked.choices):
        return _any_of([_has_value(name, choice, column, kind) for choice in asked.choices], column)
    return kind.having(column, name, *_test_of(asked, column, kind.element))


def _all_of(conditions: list[Condition], column: str) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    # As one condition, of which others can be made: that not all of them hold, or that these or those do.
    return Satisfies(
        column,
        lambda text: all(condition.matches(text) for condition in conditions),
        " and ".join(map(in_words, conditions)),
    )


def _test_of(asked: Any, column: str, kind: FieldKind) -> tuple[Test, str]:
    """Return the test of one element of a list or mapping for a criterion, and how it reads."""
    if isinstance(kind, AnyValueKind):
        return _test_of_any(asked)
    assert isinstance(kind, ScalarKind)
    condition = _condition_of(asked, column, kind)
    return condition.matches, in_words(condition)


def _test_of_any(asked: Any) -> tuple[Callable[[Plain], bool], str]:
    """Return the test of a value of any kind for a criterion, and how it reads."""
    if isinstance(asked, AnyOf):
        tests = list(map(_test_of_any, asked.choices))
        readings = dict.fromkeys(reading for _, reading in tests)
        return lambda value: any(test(value) for test, _ in tests), " or ".join(readings)
    if isinstance(asked, Between):
        return _range_test(asked)
    if isinstance(asked, Not):
        inner, words = _test_of_any(asked.criterion)
        return lambda value: not inner(value), f"not ({words})"
    value = AnyValueKind().accept(asked)
    if is_quantity(value):
        return _range_test(Between(value, value), f"is {value}")
    # True is not the number 1.
    is_truth = isinstance(value, bool)
    return lambda found: isinstance(found, bool) is is_truth and found == value, f"is {value!r}"


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

    return test, reading or ("is set" if wanted is None else f"is in {asked}")


def _plain_bound(bound: Any) -> tuple[float, str]:
    if is_quantity(bound):
        return in_base_units(as_quantity(bound, "a bound"))
    if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
        raise InvalidDataError(f"a number or a quantity is expected as a bound, not {describe(bound)}")
    return bound, ""


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

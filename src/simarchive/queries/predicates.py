"""Predicates: criteria made ready to be tested, on an object and by an index alike.

A predicate sees a value as it stands in the index column. `matches` decides; `conditions` are necessary for
it, and `exact` says whether they are sufficient too. Both use the same numbers and texts, so an index and a
scan over all objects cannot disagree.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simarchive.data.kinds import ScalarKind
from simarchive.data.value_kinds import QuantityKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Equals, Negated, OneOf, Satisfies, Value, Within
from simarchive.queries.criteria import AnyOf, Between, Not


class Predicate(ABC):
    """A test of a value in an index column."""

    exact: bool = True

    @abstractmethod
    def matches(self, value: Value) -> bool:
        """Return whether a value, or None for an unset one, matches."""

    @abstractmethod
    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return conditions that hold for every match."""

    def negated(self, column: str) -> tuple[Condition, ...] | None:
        """Return conditions that together are the exact complement, or None if there are none such."""
        conditions = self.conditions(column)
        if not self.exact or len(conditions) != 1 or isinstance(conditions[0], Negated):
            return None
        return (Negated(conditions[0]),)


@dataclass(frozen=True)
class Is(Predicate):
    """The value is one number or text."""

    value: int | float | str

    def matches(self, value: Value) -> bool:
        """Return whether the value is it."""
        return value is not None and value == self.value

    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return the equality."""
        return (Equals(column, self.value),)


@dataclass(frozen=True)
class InRange(Predicate):
    """The value lies in a range; tolerances are already in the bounds."""

    low: float | None
    high: float | None

    def matches(self, value: Value) -> bool:
        """Return whether the value lies in the range."""
        return Within("", self.low, self.high).matches(value)

    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return the range."""
        return (Within(column, self.low, self.high),)


@dataclass(frozen=True)
class Passes(Predicate):
    """The value is a text that passes a test."""

    test: Callable[[str], bool]
    reading: str

    def matches(self, value: Value) -> bool:
        """Return whether the text passes."""
        return isinstance(value, str) and self.test(value)

    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return the test."""
        return (Satisfies(column, self.test, self.reading),)


@dataclass(frozen=True)
class Either(Predicate):
    """At least one of several predicates matches."""

    choices: tuple[Predicate, ...]

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether the choices are plain values; ranges give no more than the range that spans them."""
        return all(isinstance(choice, Is) for choice in self.choices)

    def matches(self, value: Value) -> bool:
        """Return whether a choice matches."""
        return any(choice.matches(value) for choice in self.choices)

    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return the values, or the range that spans all choices, or nothing."""
        if self.exact:
            return (OneOf.of(column, (choice.value for choice in self.choices if isinstance(choice, Is))),)
        lows: list[float | None] = []
        highs: list[float | None] = []
        for choice in self.choices:
            if isinstance(choice, InRange):
                lows.append(choice.low)
                highs.append(choice.high)
            elif isinstance(choice, Is) and not isinstance(choice.value, str):
                lows.append(choice.value)
                highs.append(choice.value)
            else:
                return ()
        low = None if None in lows else min(bound for bound in lows if bound is not None)
        high = None if None in highs else max(bound for bound in highs if bound is not None)
        return (Within(column, low, high),)

    def negated(self, column: str) -> tuple[Condition, ...] | None:
        """Return the complements of all choices: none of them matches."""
        parts = [choice.negated(column) for choice in self.choices]
        if any(part is None for part in parts):
            return None
        return tuple(condition for part in parts if part is not None for condition in part)


@dataclass(frozen=True)
class Neither(Predicate):
    """A predicate does not match; an unset value always does."""

    inner: Predicate

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether the complement can be said in conditions."""
        return self.inner.negated("") is not None

    def matches(self, value: Value) -> bool:
        """Return whether the inner predicate does not match."""
        return not self.inner.matches(value)

    def conditions(self, column: str) -> tuple[Condition, ...]:
        """Return the complement, or nothing."""
        return self.inner.negated(column) or ()

    def negated(self, column: str) -> tuple[Condition, ...] | None:
        """Return the inner conditions, if they are exact."""
        return self.inner.conditions(column) if self.inner.exact else None


def predicate_for(criterion: Any, kind: ScalarKind) -> Predicate:
    """Return the predicate of a value or criterion for values of one kind.

    Raises
    ------
    InvalidDataError
        If a value is of another kind, a range makes no sense for it, or is empty.
    """
    if isinstance(criterion, Not):
        inner = predicate_for(criterion.criterion, kind)
        return inner.inner if isinstance(inner, Neither) else Neither(inner)
    if isinstance(criterion, AnyOf):
        choices = tuple(predicate_for(choice, kind) for choice in criterion.choices)
        return choices[0] if len(choices) == 1 else Either(choices)
    if isinstance(criterion, Between):
        return _range(criterion, kind)
    value = kind.index_value(kind.accept(criterion))
    if value is None:
        raise kind.refuse(criterion)
    if isinstance(value, float) and kind.tolerance(value):
        return InRange(value - kind.tolerance(value), value + kind.tolerance(value))
    return Is(value)


def _range(criterion: Between, kind: ScalarKind) -> InRange:
    if not kind.is_number:
        raise InvalidDataError(f"{criterion} makes no sense here: {kind.wanted} has no order")
    low, high = (None if bound is None else _bound(bound, kind) for bound in (criterion.low, criterion.high))
    # Widened before they are compared: one quantity in two units may be off in the last digit.
    low = low if low is None else low - kind.tolerance(low)
    high = high if high is None else high + kind.tolerance(high)
    if low is not None and high is not None and low > high:
        raise InvalidDataError(f"{criterion} is empty: the low end must not be above the high one")
    return InRange(low, high)


def _bound(bound: Any, kind: ScalarKind) -> float:
    number = kind.index_value(kind.accept(bound)) if isinstance(kind, QuantityKind) else bound
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise kind.refuse(bound)
    return number

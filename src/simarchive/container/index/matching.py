"""Conditions made ready for a table, and the rows that fulfil them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import rounded_down, rounded_up
from simarchive.container.index.predicates import (
    AmongNumbers,
    CategorySatisfies,
    HasCode,
    IdentifierSatisfies,
    InRange,
    IsIdentifier,
    Never,
    Not,
    Predicate,
    Verdict,
)
from simarchive.container.index.rowsets import RowSet
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import (
    Column,
    ColumnKind,
    Condition,
    Equals,
    Negated,
    OneOf,
    Satisfies,
    Within,
)

_INT64 = np.iinfo(np.int64)


def predicate_for(
    condition: Condition, columns: Mapping[str, Column], vocabularies: Mapping[str, Vocabulary]
) -> Predicate:
    """Return the predicate for a condition.

    Raises
    ------
    InvalidDataError
        If the table has no such column.
    """
    column = columns.get(condition.column)
    if column is None:
        raise InvalidDataError(
            f"the index has no column {condition.column!r}; it has {', '.join(columns) or 'none'}"
        )
    if isinstance(condition, Negated):
        return Not(predicate_for(condition.condition, columns, vocabularies))
    if column.kind in (ColumnKind.INTEGER, ColumnKind.REAL):
        return _number_predicate(condition, column.kind)
    return _text_predicate(condition, column, vocabularies)


def _number_predicate(condition: Equals | OneOf | Within | Satisfies, kind: ColumnKind) -> Predicate:
    if isinstance(condition, Satisfies):
        return Never()
    if isinstance(condition, Within):
        return _range_predicate(condition, kind)
    values = condition.values if isinstance(condition, OneOf) else (condition.value,)
    numbers = [number for value in values if (number := _as_number(value, kind)) is not None]
    if not numbers:
        return Never()
    if len(numbers) == 1:
        return InRange(numbers[0], numbers[0])
    return AmongNumbers(np.array(sorted(numbers), np.int64 if kind is ColumnKind.INTEGER else np.float64))


def _as_number(value: float | str, kind: ColumnKind) -> float | None:
    """Return the one number of the column that equals `value`, if there is one."""
    if isinstance(value, str) or value != value:
        return None
    try:
        number = int(value) if kind is ColumnKind.INTEGER else float(value)
    except OverflowError:
        return None
    inside = kind is ColumnKind.REAL or _INT64.min <= number <= _INT64.max
    return number if number == value and inside else None


def _range_predicate(condition: Within, kind: ColumnKind) -> Predicate:
    low = -math.inf if condition.low is None else condition.low
    high = math.inf if condition.high is None else condition.high
    if not low <= high:
        return Never()
    if kind is ColumnKind.REAL:
        return InRange(rounded_up(low), rounded_down(high))
    least = _INT64.min if low < _INT64.min else _INT64.max + 1 if low > _INT64.max else math.ceil(low)
    most = _INT64.max if high > _INT64.max else _INT64.min - 1 if high < _INT64.min else math.floor(high)
    return InRange(least, most) if least <= most else Never()


def _text_predicate(
    condition: Equals | OneOf | Within | Satisfies, column: Column, vocabularies: Mapping[str, Vocabulary]
) -> Predicate:
    category = column.kind is ColumnKind.CATEGORY
    if isinstance(condition, Within):
        return Never()
    if isinstance(condition, Satisfies):
        if category:
            return CategorySatisfies(condition.test, vocabularies[column.name])
        return IdentifierSatisfies(condition.test)
    values = condition.values if isinstance(condition, OneOf) else (condition.value,)
    texts = [value for value in values if isinstance(value, str) and _is_unicode(value)]
    if not category:
        return IsIdentifier(texts) if texts else Never()
    vocabulary = vocabularies[column.name]
    codes = [code for text in texts if (code := vocabulary.code(text)) is not None]
    return HasCode(codes, vocabulary) if codes else Never()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def matching_rows(rows: RowSet, predicates: list[tuple[str, Predicate]]) -> Array:
    """Return the live rows that fulfil every predicate (column, predicate), ascending."""
    needed: list[tuple[str, Predicate]] = []
    for column, predicate in predicates:
        verdict = predicate.verdict(rows.summary(column), rows.size)
        if verdict is Verdict.NONE:
            return np.zeros(0, np.int64)
        if verdict is Verdict.SOME:
            needed.append((column, predicate))
    found = rows.live()
    for column, predicate in needed:
        found = narrowed(rows, column, predicate, found)
        if not found.size:
            break
    return rows.live_rows() if found is None else found


def narrowed(rows: RowSet, column: str, predicate: Predicate, found: Array | None) -> Array:
    """Return those of the rows `found` (``None``: all) that fulfil a predicate."""
    values = rows.values(column)
    if found is None:
        return np.flatnonzero(predicate.mask(values))
    if found.size * 4 < rows.size:
        return found[predicate.mask(values.take(found))]
    return found[predicate.mask(values)[found]]


def in_words(condition: Condition) -> str:
    """Return a condition as people read it."""
    if isinstance(condition, Negated):
        return f"not ({in_words(condition.condition)})"
    if isinstance(condition, Equals):
        return f"is {condition.value!r}"
    if isinstance(condition, OneOf):
        shown = sorted(map(repr, condition.values))
        return "is one of " + ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
    if isinstance(condition, Satisfies):
        return condition.reading
    if condition.low is None or condition.high is None:
        if condition.low is None and condition.high is None:
            return "is any number"
        return f"is at most {condition.high}" if condition.low is None else f"is at least {condition.low}"
    return f"is from {condition.low} to {condition.high}"

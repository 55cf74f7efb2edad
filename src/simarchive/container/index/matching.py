"""Which rows of a table fulfil conditions, and what it took to find them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simarchive.container.index.absence import AbsenceFilter
from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import rounded_down, rounded_up
from simarchive.container.index.predicates import (
    AmongNumbers,
    CategorySatisfies,
    Either,
    HasCode,
    IdentifierSatisfies,
    InRange,
    IsIdentifier,
    Never,
    Not,
    Predicate,
    Verdict,
)
from simarchive.container.index.rows import TableRows
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
    Or,
    Satisfies,
    Within,
    in_words,
)

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """What the index did for one condition of a query."""

    column: str
    reading: str  #: the condition in words
    segments: int  #: segments that still had candidates
    pruned: int  #: of these, segments ruled out without reading their values
    remaining: int  #: rows that remain after this condition


class Matching:
    """Finds the rows of one table that fulfil conditions.

    Parameters
    ----------
    columns
        The columns of the table by name.
    vocabularies
        Those of its columns that are categories.
    rows
        Its rows.
    absence
        What is known not to be there; here it learns from conditions that no row fulfils.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        vocabularies: Mapping[str, Vocabulary],
        rows: TableRows,
        absence: AbsenceFilter,
    ) -> None:
        self._columns = columns
        self._vocabularies = vocabularies
        self._rows = rows
        self._absence = absence

    def rows(self, conditions: Sequence[Condition]) -> list[tuple[RowSet, Array]]:
        """Return the rows that fulfil all conditions, of each set that has any."""
        fingerprints = list(self._absence.fingerprints(conditions, self._columns))
        if any(self._absence.rules_out(column, fingerprint) for column, fingerprint in fingerprints):
            return []
        predicates = [(condition.column, predicate) for condition, predicate in self._predicates(conditions)]
        sets = self._rows.row_sets()
        found = [(rowset, rows) for rowset in sets if (rows := matching_rows(rowset, predicates)).size]
        if not found:
            for column, _ in fingerprints:
                if self._absence.is_worth_learning(column):
                    known = [rowset.values(column).fingerprints() for rowset in self._rows.row_sets()]
                    self._absence.learn(column, known)
        return found

    def explain(self, conditions: Sequence[Condition]) -> tuple[ConditionReport, ...]:
        """Return what is done for each condition, in the order in which they are tried."""
        predicates = self._predicates(conditions)
        candidates = [(rowset, rowset.live_rows()) for rowset in self._rows.row_sets()]
        reports: list[ConditionReport] = []
        for condition, predicate in predicates:
            column, pruned = condition.column, 0
            kept: list[tuple[RowSet, Array]] = []
            for rowset, rows in candidates:
                verdict = predicate.verdict(rowset.summary(column), rowset.size)
                pruned += verdict is Verdict.NONE
                if verdict is Verdict.SOME:
                    rows = narrowed(rowset, column, predicate, rows)
                if verdict is not Verdict.NONE and rows.size:
                    kept.append((rowset, rows))
            remaining = sum(rows.size for _, rows in kept)
            words = in_words(condition)
            reports.append(ConditionReport(column, words, len(candidates), pruned, remaining))
            candidates = kept
        return tuple(reports)

    def _predicates(self, conditions: Sequence[Condition]) -> list[tuple[Condition, Predicate]]:
        """Return each condition with its predicate, those that cost least first."""
        for condition in conditions:
            if condition.column in self._vocabularies:
                self._rows.encode_new_texts(condition.column)
        pairs = [(c, predicate_for(c, self._columns, self._vocabularies)) for c in conditions]
        return sorted(pairs, key=lambda pair: pair[1].cost)


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
    if isinstance(condition, Or):
        return _any_of([predicate_for(choice, columns, vocabularies) for choice in condition.choices])
    if column.kind in (ColumnKind.INTEGER, ColumnKind.REAL):
        return _number_predicate(condition, column.kind)
    return _text_predicate(condition, column, vocabularies)


def _any_of(predicates: list[Predicate]) -> Predicate:
    possible = [predicate for predicate in predicates if not isinstance(predicate, Never)]
    if not possible:
        return Never()
    return possible[0] if len(possible) == 1 else Either(possible)


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
        if not category:
            return IdentifierSatisfies(condition.test)
        if condition.form is None:
            return CategorySatisfies(condition.test, vocabularies[column.name])
        alike = vocabularies[column.name].that_look_like(condition.form)
        return _has_code([code for code, text in alike if condition.test(text)], vocabularies[column.name])
    values = condition.values if isinstance(condition, OneOf) else (condition.value,)
    texts = [value for value in values if isinstance(value, str) and _is_unicode(value)]
    if not category:
        return IsIdentifier(texts) if texts else Never()
    vocabulary = vocabularies[column.name]
    codes = [code for text in texts if (code := vocabulary.code(text)) is not None]
    return _has_code(codes, vocabulary)


def _has_code(codes: list[int], vocabulary: Vocabulary) -> Predicate:
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

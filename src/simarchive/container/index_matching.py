"""Conditions made ready for a table: what they say of a whole segment, and of each of its rows."""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from simarchive.conditions import (
    Column,
    ColumnKind,
    Condition,
    Equals,
    Negated,
    OneOf,
    Satisfies,
    Within,
)
from simarchive.container.index_attributes import Array
from simarchive.container.index_columns import (
    CategoryValues,
    ColumnValues,
    IdentifierValues,
    IntegerValues,
    RealValues,
    Summary,
    rounded_down,
    rounded_up,
)
from simarchive.container.index_segments import RowSet
from simarchive.container.index_texts import WORD, word_of
from simarchive.container.index_vocabulary import Vocabulary
from simarchive.errors import InvalidDataError

_INT64 = np.iinfo(np.int64)


class Verdict(enum.Enum):
    """What a summary says of the rows of a segment."""

    NONE = "no row fulfils the condition"
    SOME = "the values must be read"
    ALL = "every row fulfils the condition"


class Test(ABC):
    """One condition, ready for the columns of one table. Tests of low `cost` are made first."""

    cost: int

    @abstractmethod
    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""

    @abstractmethod
    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""


class NoTest(Test):
    """No value fulfils the condition, as with a number asked of a text."""

    cost = 0

    def verdict(self, summary: Summary, size: int) -> Verdict:
        return Verdict.NONE

    def mask(self, values: ColumnValues) -> Array:
        raise AssertionError("decided by the verdict")


class RangeTest(Test):
    """A number lies from `low` to `high`: both integers for a column of integers, else floats."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        self.cost = 2 if low == high else 3

    def verdict(self, summary: Summary, size: int) -> Verdict:
        if summary.missing == size or summary.high < self.low or summary.low > self.high:
            return Verdict.NONE
        whole = not summary.missing and self.low <= summary.low and summary.high <= self.high
        return Verdict.ALL if whole else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, (IntegerValues, RealValues))
        numbers, low, high = values.values, self.low, self.high
        if isinstance(values, IntegerValues):
            limits = np.iinfo(numbers.dtype)
            low, high = max(low, limits.min), min(high, limits.max)
            if low > high:
                return np.zeros(numbers.size, bool)
        found: Array = numbers == low if low == high else (numbers >= low) & (numbers <= high)
        if isinstance(values, IntegerValues) and values.missing is not None:
            found &= ~values.missing
        return found


class MemberTest(Test):
    """A number is one of several."""

    cost = 3

    def __init__(self, numbers: Array) -> None:
        self._numbers = numbers
        self._bounds = RangeTest(numbers[0].item(), numbers[-1].item())

    def verdict(self, summary: Summary, size: int) -> Verdict:
        verdict = self._bounds.verdict(summary, size)
        return Verdict.SOME if verdict is Verdict.ALL else verdict

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, (IntegerValues, RealValues))
        found: Array = np.isin(values.values, self._numbers)
        if isinstance(values, IntegerValues) and values.missing is not None:
            found &= ~values.missing
        return found


class CodeTest(Test):
    """A category has one of several codes."""

    def __init__(self, codes: list[int], vocabulary: Vocabulary) -> None:
        self._codes = np.array(sorted(codes))
        self._vocabulary = vocabulary
        self.cost = 1

    def verdict(self, summary: Summary, size: int) -> Verdict:
        if summary.missing == size:
            return Verdict.NONE
        inside = np.searchsorted(self._codes, [summary.low, summary.high + 1])
        if inside[0] == inside[1]:
            return Verdict.NONE
        return Verdict.ALL if summary.low == summary.high and not summary.missing else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, CategoryValues)
        codes = values.codes
        inside = self._codes[self._codes <= np.iinfo(codes.dtype).max]
        if inside.size == 1:
            found: Array = codes == codes.dtype.type(inside[0])
            return found
        table = np.zeros(len(self._vocabulary) + 1, bool)  # the last one is for -1
        table[self._codes] = True
        return table[codes]


class CategoryTextTest(Test):
    """The text of a category satisfies a test, which is called once for each different text."""

    cost = 4

    def __init__(self, test: Callable[[str], bool], vocabulary: Vocabulary) -> None:
        self._test = test
        self._vocabulary = vocabulary
        self._known: dict[int, bool] = {-1: False}

    def verdict(self, summary: Summary, size: int) -> Verdict:
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, CategoryValues)
        distinct, places = np.unique(values.codes, return_inverse=True)
        new = [code for code in distinct.tolist() if code not in self._known]
        for code, text in zip(new, self._vocabulary.texts(new), strict=True):
            self._known[code] = bool(self._test(text))
        return np.array([self._known[code] for code in distinct.tolist()], bool)[places]


class IdentifierTest(Test):
    """An identifier is one of several texts: proposed by its word, confirmed by its text."""

    cost = 0

    def __init__(self, texts: Iterable[str]) -> None:
        self._words = {text: word_of(text) for text in texts}

    def verdict(self, summary: Summary, size: int) -> Verdict:
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, IdentifierValues)
        texts = values.texts
        if len(self._words) > 8:
            rows = np.flatnonzero(np.isin(texts.words, np.array(list(self._words.values()), WORD)))
            rows = rows[[text in self._words for text in texts.texts(rows)]]
        else:
            rows = np.concatenate([texts.find(text, word) for text, word in self._words.items()])
        found = np.zeros(len(texts), bool)
        found[rows] = True
        if values.missing is not None:
            found &= ~values.missing
        return found


class IdentifierTextTest(Test):
    """An identifier satisfies a test."""

    cost = 5

    def __init__(self, test: Callable[[str], bool]) -> None:
        self._test = test

    def verdict(self, summary: Summary, size: int) -> Verdict:
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        assert isinstance(values, IdentifierValues)
        present = np.ones(len(values.texts), bool) if values.missing is None else ~values.missing
        rows = np.flatnonzero(present)
        present[rows] = [bool(self._test(text)) for text in values.texts.texts(rows)]
        return present


class NegatedTest(Test):
    """Another condition does not hold."""

    def __init__(self, test: Test) -> None:
        self._test = test
        self.cost = test.cost + 3

    def verdict(self, summary: Summary, size: int) -> Verdict:
        verdict = self._test.verdict(summary, size)
        return {Verdict.NONE: Verdict.ALL, Verdict.ALL: Verdict.NONE}.get(verdict, Verdict.SOME)

    def mask(self, values: ColumnValues) -> Array:
        return ~self._test.mask(values)


def test_for(
    condition: Condition, columns: Mapping[str, Column], vocabularies: Mapping[str, Vocabulary]
) -> Test:
    """Return the test for a condition.

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
        return NegatedTest(test_for(condition.condition, columns, vocabularies))
    if column.kind in (ColumnKind.INTEGER, ColumnKind.REAL):
        return _number_test(condition, column.kind)
    return _text_test(condition, column, vocabularies)


def _number_test(condition: Equals | OneOf | Within | Satisfies, kind: ColumnKind) -> Test:
    if isinstance(condition, Satisfies):
        return NoTest()
    if isinstance(condition, Within):
        return _range_test(condition, kind)
    values = condition.values if isinstance(condition, OneOf) else (condition.value,)
    numbers = [number for value in values if (number := _as_number(value, kind)) is not None]
    if not numbers:
        return NoTest()
    if len(numbers) == 1:
        return RangeTest(numbers[0], numbers[0])
    return MemberTest(np.array(sorted(numbers), np.int64 if kind is ColumnKind.INTEGER else np.float64))


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


def _range_test(condition: Within, kind: ColumnKind) -> Test:
    low = -math.inf if condition.low is None else condition.low
    high = math.inf if condition.high is None else condition.high
    if not low <= high:
        return NoTest()
    if kind is ColumnKind.REAL:
        return RangeTest(rounded_up(low), rounded_down(high))
    least = _INT64.min if low < _INT64.min else _INT64.max + 1 if low > _INT64.max else math.ceil(low)
    most = _INT64.max if high > _INT64.max else _INT64.min - 1 if high < _INT64.min else math.floor(high)
    return RangeTest(least, most) if least <= most else NoTest()


def _text_test(
    condition: Equals | OneOf | Within | Satisfies, column: Column, vocabularies: Mapping[str, Vocabulary]
) -> Test:
    category = column.kind is ColumnKind.CATEGORY
    if isinstance(condition, Within):
        return NoTest()
    if isinstance(condition, Satisfies):
        if category:
            return CategoryTextTest(condition.test, vocabularies[column.name])
        return IdentifierTextTest(condition.test)
    values = condition.values if isinstance(condition, OneOf) else (condition.value,)
    texts = [value for value in values if isinstance(value, str) and _is_unicode(value)]
    if not category:
        return IdentifierTest(texts) if texts else NoTest()
    vocabulary = vocabularies[column.name]
    codes = [code for text in texts if (code := vocabulary.code(text)) is not None]
    return CodeTest(codes, vocabulary) if codes else NoTest()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def matching_rows(rows: RowSet, tests: list[tuple[str, Test]]) -> Array:
    """Return the live rows that pass every test (column, test), ascending."""
    needed: list[tuple[str, Test]] = []
    for column, test in tests:
        verdict = test.verdict(rows.summary(column), rows.size)
        if verdict is Verdict.NONE:
            return np.zeros(0, np.int64)
        if verdict is Verdict.SOME:
            needed.append((column, test))
    found = rows.live()
    for column, test in needed:
        found = narrowed(rows, column, test, found)
        if not found.size:
            break
    return rows.live_rows() if found is None else found


def narrowed(rows: RowSet, column: str, test: Test, found: Array | None) -> Array:
    """Return those of the rows `found` (``None``: all) that pass a test."""
    values = rows.values(column)
    if found is None:
        return np.flatnonzero(test.mask(values))
    if found.size * 4 < rows.size:
        return found[test.mask(values.take(found))]
    return found[test.mask(values)[found]]


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

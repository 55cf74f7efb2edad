"""Predicates: what a condition says of a whole segment, and of each value of a column."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import (
    CategoryValues,
    ColumnValues,
    IdentifierValues,
    IntegerValues,
    RealValues,
    Summary,
)
from simarchive.container.index.texts import WORD, word_of
from simarchive.container.index.vocabulary import Vocabulary


class Verdict(enum.Enum):
    """What a summary says of the rows of a segment."""

    NONE = "no row fulfils the condition"
    SOME = "the values must be read"
    ALL = "every row fulfils the condition"


class Predicate(ABC):
    """One condition, ready for the columns of one table. Tests of low `cost` are made first."""

    cost: int

    @abstractmethod
    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""

    @abstractmethod
    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""


class Never(Predicate):
    """No value fulfils the condition, as with a number asked of a text."""

    cost = 0

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        return Verdict.NONE

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        # Asked for where it stands below others, whose verdict is not its own.
        return np.zeros(values.size, bool)


class InRange(Predicate):
    """A number lies from `low` to `high`: both integers for a column of integers, else floats."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        self.cost = 2 if low == high else 3

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        if summary.missing == size or summary.high < self.low or summary.low > self.high:
            return Verdict.NONE
        whole = not summary.missing and self.low <= summary.low and summary.high <= self.high
        return Verdict.ALL if whole else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        values = cast("IntegerValues | RealValues", values)
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


class AmongNumbers(Predicate):
    """A number is one of several."""

    cost = 3

    def __init__(self, numbers: Array) -> None:
        self._numbers = numbers
        self._bounds = InRange(numbers[0].item(), numbers[-1].item())

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        verdict = self._bounds.verdict(summary, size)
        return Verdict.SOME if verdict is Verdict.ALL else verdict

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        values = cast("IntegerValues | RealValues", values)
        found: Array = np.isin(values.values, self._numbers)
        if isinstance(values, IntegerValues) and values.missing is not None:
            found &= ~values.missing
        return found


class HasCode(Predicate):
    """A category has one of several codes."""

    def __init__(self, codes: list[int], vocabulary: Vocabulary) -> None:
        self._sorted = sorted(codes)
        self._codes = np.array(self._sorted)
        self._vocabulary = vocabulary
        self.cost = 1

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        if summary.missing == size:
            return Verdict.NONE
        # For the few codes that most conditions have, numpy takes ten times as long.
        if bisect_left(self._sorted, summary.low) == bisect_right(self._sorted, summary.high):
            return Verdict.NONE
        return Verdict.ALL if summary.low == summary.high and not summary.missing else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        codes = cast(CategoryValues, values).codes
        if len(self._sorted) == 1:
            found: Array = codes == self._sorted[0]
            return found
        table = np.zeros(len(self._vocabulary) + 1, bool)  # the last one is for -1
        table[self._codes] = True
        return table[codes]


class CategorySatisfies(Predicate):
    """The text of a category satisfies a test, which is called once for each different text."""

    cost = 4

    def __init__(self, test: Callable[[str], bool], vocabulary: Vocabulary) -> None:
        self._test = test
        self._vocabulary = vocabulary
        # 1, 0, -1: not tested; the last one is missing
        self._known = np.full(len(vocabulary) + 1, -1, np.int8)
        self._known[-1] = 0

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        codes = cast(CategoryValues, values).codes
        found = self._known[codes]
        new = sorted(set(codes[found < 0].tolist()))
        if new:
            self._known[new] = [bool(self._test(text)) for text in self._vocabulary.texts(new)]
            found = self._known[codes]
        return found.astype(bool)


class IsIdentifier(Predicate):
    """An identifier is one of several texts: proposed by its word, confirmed by its text."""

    cost = 0

    def __init__(self, texts: Iterable[str]) -> None:
        self._words = {text: word_of(text) for text in texts}

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        values = cast(IdentifierValues, values)
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


class IdentifierSatisfies(Predicate):
    """An identifier satisfies a test."""

    cost = 5

    def __init__(self, test: Callable[[str], bool]) -> None:
        self._test = test

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        return Verdict.NONE if summary.missing == size else Verdict.SOME

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        values = cast(IdentifierValues, values)
        present = np.ones(len(values.texts), bool) if values.missing is None else ~values.missing
        rows = np.flatnonzero(present)
        present[rows] = [bool(self._test(text)) for text in values.texts.texts(rows)]
        return present


class Not(Predicate):
    """Another condition does not hold."""

    def __init__(self, test: Predicate) -> None:
        self._test = test
        self.cost = test.cost + 3

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        verdict = self._test.verdict(summary, size)
        return {Verdict.NONE: Verdict.ALL, Verdict.ALL: Verdict.NONE}.get(verdict, Verdict.SOME)

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        return ~self._test.mask(values)


class Either(Predicate):
    """At least one of several conditions holds."""

    def __init__(self, choices: Sequence[Predicate]) -> None:
        self._choices = choices
        self.cost = 1 + max(choice.cost for choice in choices)

    def verdict(self, summary: Summary, size: int) -> Verdict:
        """Return what is known without reading the values of a segment of `size` rows."""
        verdicts = {choice.verdict(summary, size) for choice in self._choices}
        return next(v for v in (Verdict.ALL, Verdict.SOME, Verdict.NONE) if v in verdicts)

    def mask(self, values: ColumnValues) -> Array:
        """Return which values fulfil the condition."""
        found = self._choices[0].mask(values)
        for choice in self._choices[1:]:
            found |= choice.mask(values)
        return found

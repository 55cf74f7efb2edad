"""What a table has not: says "no" at once to most questions for something that is not there.

Who stores many objects asks for each whether it is here, and nearly always it is not. Keys, integers and
identifiers are known by marks of 64 bits (see `texts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import mark_of_value
from simarchive.container.index.texts import WORD, mark_of
from simarchive.container.layout import INDEX_KEY
from simarchive.ground.conditions import Column, Condition, Equals, Value

_LOOSE = 8192


class KnownMarks:
    """A set of marks: a sorted array, and those added since.

    Marks of removed rows stay, so that only the answer "not here" is final.
    """

    def __init__(self, marks: Sequence[Array]) -> None:
        self._sorted = np.unique(np.concatenate(marks)) if marks else np.zeros(0, WORD)
        self._loose: set[int] = set()

    def __contains__(self, mark: int) -> bool:
        if mark in self._loose:
            return True
        place = int(self._sorted.searchsorted(WORD.type(mark)))
        return place < self._sorted.size and int(self._sorted[place]) == mark

    def add(self, mark: int) -> None:
        """Add a mark."""
        self._loose.add(mark)
        if len(self._loose) >= _LOOSE:
            loose = np.fromiter(self._loose, WORD, len(self._loose))
            self._sorted = np.sort(np.concatenate([self._sorted, loose]))
            self._loose.clear()


class MissedMarks:
    """The marks of those columns in which something was looked for in vain more than once.

    The keys of a table count as the column `layout.INDEX_KEY`.
    """

    def __init__(self) -> None:
        self._known: dict[str, KnownMarks] = {}
        self._missed_once: set[str] = set()

    @staticmethod
    def marks(conditions: Iterable[Condition], columns: Mapping[str, Column]) -> Iterator[tuple[str, int]]:
        """Yield column and mark of each condition that only rows with this mark can fulfil."""
        for condition in conditions:
            column = columns.get(condition.column)
            if column is not None and isinstance(condition, Equals):
                mark = mark_of_value(column, condition.value)
                if mark is not None:
                    yield condition.column, mark

    def rules_out(self, column: str, mark: int) -> bool:
        """Return whether it is known that a column does not have a mark."""
        known = self._known.get(column)
        return known is not None and mark not in known

    def is_frequent(self, column: str) -> bool:
        """Return whether, after one more miss, the marks of a column are worth being learnt."""
        if column in self._missed_once:
            return column not in self._known
        self._missed_once.add(column)
        return False

    def learn(self, column: str, marks: Sequence[Array]) -> None:
        """Take in all marks that a column has."""
        self._known[column] = KnownMarks(marks)

    def note_row(self, key: str, values: Iterable[tuple[Column, Value]]) -> None:
        """Take in a row that is new or has changed."""
        if not self._known:
            return
        for column, value in values:
            known = self._known.get(column.name)
            mark = None if known is None else mark_of_value(column, value)
            if known is not None and mark is not None:
                known.add(mark)
        if INDEX_KEY in self._known:
            self._known[INDEX_KEY].add(mark_of(key))

    def clear(self) -> None:
        """Forget the marks: rows came that were not noted."""
        self._known.clear()

"""What a table has not: says "no" at once to most questions for something that is not there.

Who stores many objects asks for each whether it is here, and nearly always it is not. Keys, integers and
identifiers are known by words of 64 bits (see `index_texts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from simarchive.conditions import Column, Condition, Equals, Value
from simarchive.container.index_attributes import Array
from simarchive.container.index_columns import word_of_value
from simarchive.container.index_texts import WORD, word_of
from simarchive.container.layout import INDEX_KEY

_LOOSE = 8192


class KnownWords:
    """A set of words: a sorted array, and those added since.

    Words of removed rows stay, so that only the answer "not here" is final.
    """

    def __init__(self, words: Sequence[Array]) -> None:
        self._sorted = np.unique(np.concatenate(words)) if words else np.zeros(0, WORD)
        self._loose: set[int] = set()

    def __contains__(self, word: int) -> bool:
        if word in self._loose:
            return True
        place = int(self._sorted.searchsorted(WORD.type(word)))
        return place < self._sorted.size and int(self._sorted[place]) == word

    def add(self, word: int) -> None:
        """Add a word."""
        self._loose.add(word)
        if len(self._loose) >= _LOOSE:
            loose = np.fromiter(self._loose, WORD, len(self._loose))
            self._sorted = np.sort(np.concatenate([self._sorted, loose]))
            self._loose.clear()


class MissedWords:
    """The words of those columns in which something was looked for in vain more than once.

    The keys of a table count as the column `layout.INDEX_KEY`.
    """

    def __init__(self) -> None:
        self._known: dict[str, KnownWords] = {}
        self._missed_once: set[str] = set()

    @staticmethod
    def words(conditions: Iterable[Condition], columns: Mapping[str, Column]) -> Iterator[tuple[str, int]]:
        """Yield column and word of each condition that only rows with this word can fulfil."""
        for condition in conditions:
            column = columns.get(condition.column)
            if column is not None and isinstance(condition, Equals):
                word = word_of_value(column, condition.value)
                if word is not None:
                    yield condition.column, word

    def rules_out(self, column: str, word: int) -> bool:
        """Return whether it is known that a column does not have a word."""
        known = self._known.get(column)
        return known is not None and word not in known

    def is_frequent(self, column: str) -> bool:
        """Return whether, after one more miss, the words of a column are worth being learnt."""
        if column in self._missed_once:
            return column not in self._known
        self._missed_once.add(column)
        return False

    def learn(self, column: str, words: Sequence[Array]) -> None:
        """Take in all words that a column has."""
        self._known[column] = KnownWords(words)

    def note_row(self, key: str, values: Iterable[tuple[Column, Value]]) -> None:
        """Take in a row that is new or has changed."""
        if not self._known:
            return
        for column, value in values:
            known = self._known.get(column.name)
            word = None if known is None else word_of_value(column, value)
            if known is not None and word is not None:
                known.add(word)
        if INDEX_KEY in self._known:
            self._known[INDEX_KEY].add(word_of(key))

    def clear(self) -> None:
        """Forget the words: rows came that were not noted."""
        self._known.clear()

"""What a table does not have: a filter that answers most questions for something that is not there.

A store of many objects asks for each whether it is here, and nearly always it is not. Keys, integers and
identifiers are known by fingerprints of 64 bits (see `texts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import fingerprint_of_value
from simarchive.container.index.texts import WORD, fingerprint_of
from simarchive.container.layout import INDEX_KEY
from simarchive.ground.conditions import Column, Condition, Equals, Value

_LOOSE = 8192


class FingerprintSet:
    """A set of fingerprints: a sorted array, and those added since.

    Fingerprints of removed rows stay, so that only the answer "not here" is final.
    """

    def __init__(self, fingerprints: Sequence[Array]) -> None:
        self._sorted = np.sort(np.concatenate(fingerprints)) if fingerprints else np.zeros(0, WORD)
        self._loose: set[int] = set()

    def __contains__(self, fingerprint: int) -> bool:
        if fingerprint in self._loose:
            return True
        place = int(self._sorted.searchsorted(WORD.type(fingerprint)))
        return place < self._sorted.size and int(self._sorted[place]) == fingerprint

    def add(self, fingerprint: int) -> None:
        """Add a fingerprint."""
        self._loose.add(fingerprint)
        if len(self._loose) >= _LOOSE:
            loose = np.fromiter(self._loose, WORD, len(self._loose))
            self._sorted = np.sort(np.concatenate([self._sorted, loose]))
            self._loose.clear()


class AbsenceFilter:
    """The fingerprints of those columns in which something was not found more than once.

    The keys of a table count as the column `layout.INDEX_KEY`.
    """

    def __init__(self) -> None:
        self._known: dict[str, FingerprintSet] = {}
        self._missed_once: set[str] = set()

    @staticmethod
    def fingerprints(
        conditions: Iterable[Condition], columns: Mapping[str, Column]
    ) -> Iterator[tuple[str, int]]:
        """Yield column and fingerprint of each condition that only rows with this fingerprint can fulfil."""
        for condition in conditions:
            column = columns.get(condition.column)
            if column is not None and isinstance(condition, Equals):
                fingerprint = fingerprint_of_value(column, condition.value)
                if fingerprint is not None:
                    yield condition.column, fingerprint

    def rules_out(self, column: str, fingerprint: int) -> bool:
        """Return whether it is known that a column does not have a fingerprint."""
        known = self._known.get(column)
        return known is not None and fingerprint not in known

    def is_worth_learning(self, column: str) -> bool:
        """Return whether, after one more miss, the fingerprints of a column should be learnt."""
        if column in self._missed_once:
            return column not in self._known
        self._missed_once.add(column)
        return False

    def learn(self, column: str, fingerprints: Sequence[Array]) -> None:
        """Take in all fingerprints that a column has."""
        self._known[column] = FingerprintSet(fingerprints)

    def note_row(self, key: str, values: Iterable[tuple[Column, Value]]) -> None:
        """Take in a row that is new or has changed."""
        if not self._known:
            return
        for column, value in values:
            known = self._known.get(column.name)
            fingerprint = None if known is None else fingerprint_of_value(column, value)
            if known is not None and fingerprint is not None:
                known.add(fingerprint)
        if INDEX_KEY in self._known:
            self._known[INDEX_KEY].add(fingerprint_of(key))

    def clear(self) -> None:
        """Forget the fingerprints: there are rows that were not noted."""
        self._known.clear()

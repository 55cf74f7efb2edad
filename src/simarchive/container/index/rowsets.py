"""Sets of rows that a query can look at, and how several become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import ColumnValues, Summary
from simarchive.container.index.texts import TextArray


class RowSet(ABC):
    """Rows that a query can look at, stored or not."""

    size: int

    @abstractmethod
    def live(self) -> Array | None:
        """Return the rows that were not removed, ascending; ``None`` means all of them."""

    @abstractmethod
    def sequences(self) -> Array:
        """Return the place of each row in the order of first insertion, int64."""

    @abstractmethod
    def keys(self) -> TextArray:
        """Return the key of each row."""

    @abstractmethod
    def values(self, column: str) -> ColumnValues:
        """Return the values of a column."""

    @abstractmethod
    def summary(self, column: str) -> Summary:
        """Return what is known of a column without reading it."""

    def live_rows(self) -> Array:
        """Return the rows that were not removed, ascending."""
        live = self.live()
        return np.arange(self.size) if live is None else live


class MemoryRows(RowSet):
    """Rows in memory, none removed; each column is made when it is first asked for."""

    def __init__(self, sequences: Array, keys: TextArray, make: Callable[[str], ColumnValues]) -> None:
        self.size = len(keys)
        self._sequences = sequences
        self._keys = keys
        self._make = make
        self._columns: dict[str, ColumnValues] = {}

    def live(self) -> Array | None:
        """Return the rows that were not removed, ascending; ``None`` means all of them."""
        return None

    def sequences(self) -> Array:
        """Return the place of each row in the order of first insertion, int64."""
        return self._sequences

    def keys(self) -> TextArray:
        """Return the key of each row."""
        return self._keys

    def values(self, column: str) -> ColumnValues:
        """Return the values of a column."""
        values = self._columns.get(column)
        if values is None:
            values = self._columns[column] = self._make(column)
        return values

    def summary(self, column: str) -> Summary:
        """Return what is known of a column without reading it."""
        return self.values(column).summary()


def merged(parts: Sequence[RowSet]) -> MemoryRows:
    """Return the live rows of several row sets in the order of first insertion."""
    lives = [part.live() for part in parts]

    def sequences_of(part: RowSet, live: Array | None) -> Array:
        return part.sequences() if live is None else part.sequences()[live]

    sequences = np.concatenate([sequences_of(*pair) for pair in zip(parts, lives, strict=True)])
    order = None if bool(np.all(np.diff(sequences) > 0)) else np.argsort(sequences)
    keys = TextArray.join(
        [
            part.keys() if live is None else part.keys().take(live)
            for part, live in zip(parts, lives, strict=True)
        ]
    )

    def make(column: str) -> ColumnValues:
        found = [
            part.values(column) if live is None else part.values(column).take(live)
            for part, live in zip(parts, lives, strict=True)
        ]
        joined = found[0].join(found) if len(found) > 1 else found[0]
        return joined if order is None else joined.take(order)

    if order is not None:
        sequences, keys = sequences[order], keys.take(order)
    return MemoryRows(sequences, keys, make)

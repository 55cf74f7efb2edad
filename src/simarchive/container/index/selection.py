"""The rows that a query found: in which order they are, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, cast

import numpy as np

from simarchive.container.index.attributes import Array
from simarchive.container.index.columns import CategoryValues, IdentifierValues, IntegerValues, RealValues
from simarchive.container.index.rowsets import RowSet
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.ground.conditions import order_of, ranks_of


class Selection:
    """Rows of several row sets, at first in the order of first insertion."""

    def __init__(self, parts: list[tuple[RowSet, Array]], vocabularies: Mapping[str, Vocabulary]) -> None:
        self._parts = parts
        self._vocabularies = vocabularies
        sequences = [rowset.sequences()[rows] for rowset, rows in parts]
        joined = np.concatenate(sequences) if sequences else np.zeros(0, np.int64)
        self._order: Array | None = None
        if joined.size > 1 and not bool(np.all(np.diff(joined) > 0)):
            self._order = np.argsort(joined, kind="stable")

    def __len__(self) -> int:
        return sum(rows.size for _, rows in self._parts)

    def sort(self, column: str, *, descending: bool) -> None:
        """Order by a column; equal values keep their order, missing ones come last."""
        if not self._parts:
            return
        numbers, missing = self._sort_keys(column)
        if self._order is None:
            self._order = order_of(numbers, missing, descending=descending)
        else:
            stored = self._order
            self._order = stored[order_of(numbers[stored], missing[stored], descending=descending)]

    def _sort_keys(self, column: str) -> tuple[Array, Array]:
        """Return numbers that are ordered like the values, and which are missing, row set by row set."""
        numbers: list[Array] = []
        missing: list[Array] = []
        ranks: dict[str, int] | None = None
        if not isinstance(self._parts[0][0].values(column), (IntegerValues, RealValues)):
            ranks = ranks_of(text for text in self._texts(column) if text is not None)
        for rowset, rows in self._parts:
            values = rowset.values(column).take(rows)
            mask = values.missing_mask()
            missing.append(np.zeros(rows.size, bool) if mask is None else mask)
            if ranks is not None:
                found = [0 if text is None else ranks[text] for text in self._decoded(column, values)]
                numbers.append(np.array(found, np.int64))
            elif isinstance(values, RealValues):
                numbers.append(np.where(missing[-1], 0.0, values.values))
            else:
                integers = cast(IntegerValues, values).values
                numbers.append(np.where(missing[-1], 0, integers).astype(np.int64))
        return np.concatenate(numbers), np.concatenate(missing)

    def cut(self, limit: int) -> None:
        """Keep the first `limit` rows."""
        if len(self) <= limit:
            return
        chosen = (np.arange(len(self)) if self._order is None else self._order)[:limit]
        kept = np.sort(chosen)
        parts: list[tuple[RowSet, Array]] = []
        start = 0
        for rowset, rows in self._parts:
            first, last = np.searchsorted(kept, [start, start + rows.size])
            if last > first:
                parts.append((rowset, rows[kept[first:last] - start]))
            start += rows.size
        self._parts = parts
        self._order = np.searchsorted(kept, chosen)

    @property
    def has_plain_keys(self) -> bool:
        """Whether all keys are 32 hexadecimal digits, whatever stands in the file."""
        return all(rowset.keys().is_hexadecimal for rowset, _ in self._parts)

    def _arranged(self, values: list[Any]) -> list[Any]:
        return values if self._order is None else [values[place] for place in self._order.tolist()]

    def keys(self) -> list[str]:
        """Return the keys of the rows."""
        return self._arranged(
            list(chain.from_iterable(rowset.keys().texts(rows) for rowset, rows in self._parts))
        )

    def _decoded(self, column: str, values: object) -> list[str | None]:
        if isinstance(values, CategoryValues):
            return self._vocabularies[column].decoded(values.codes)
        values = cast(IdentifierValues, values)
        texts: list[str | None] = list(values.texts.texts(np.arange(len(values.texts))))
        if values.missing is not None:
            for row in np.flatnonzero(values.missing).tolist():
                texts[row] = None
        return texts

    def _texts(self, column: str) -> list[str | None]:
        return list(
            chain.from_iterable(
                self._decoded(column, rowset.values(column).take(rows)) for rowset, rows in self._parts
            )
        )

    def values(self, column: str) -> Array | list[Any]:
        """Return the values of a column.

        Returns
        -------
        values
            Real numbers as a float64 array with NaN where missing, integers as an int64 array, or as a list
            with ``None`` if one is missing, and texts as a list.
        """
        found = [rowset.values(column).take(rows) for rowset, rows in self._parts]
        first = found[0]
        if isinstance(first, RealValues):
            numbers = first.join(found).values  # type: ignore[arg-type]
            return numbers if self._order is None else numbers[self._order]
        if not isinstance(first, IntegerValues):
            return self._arranged(self._texts(column))
        integers = first.join(found)  # type: ignore[arg-type]
        wide: Array = integers.values.astype(np.int64)
        if integers.missing is None:
            return wide if self._order is None else wide[self._order]
        plain = wide.tolist()
        return self._arranged(
            [None if gone else number for number, gone in zip(plain, integers.missing.tolist(), strict=True)]
        )

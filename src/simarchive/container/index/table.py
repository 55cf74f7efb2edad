"""Index tables: typed columns of many objects in the attributes of one HDF5 group, found in milliseconds.

A table is an accelerator: what it holds follows from the objects, and it can be rebuilt from them at any
time. Rows are added to a small tail that is written in place; a full tail is sealed into a segment, and eight
segments of one size are merged into one, so that the cost of a change does not grow with the table. A query
reads only the columns it needs, of only those segments that may hold a match.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from simarchive.container.index.attributes import Array, Attributes
from simarchive.container.index.columns import IdentifierValues
from simarchive.container.index.matching import (
    in_words,
    matching_rows,
    narrowed,
    predicate_for,
)
from simarchive.container.index.predicates import Predicate, Verdict
from simarchive.container.index.rows import TableRows
from simarchive.container.index.rowsets import RowSet
from simarchive.container.index.segments import Shape
from simarchive.container.index.selection import Selection
from simarchive.container.index.tail import tail_capacity
from simarchive.container.layout import INDEX_FORMAT, INDEX_KEY, INDEX_TABLE
from simarchive.errors import ConflictError, FormatError, InvalidDataError
from simarchive.ground.conditions import Column, ColumnKind, Condition, Value, is_missing

KEY_COLUMN = INDEX_KEY
"""The name under which `IndexTable.columns` gives the keys."""


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """What the index did for one condition of a query."""

    column: str
    reading: str  #: the condition in words
    segments: int  #: segments that still had candidates
    pruned: int  #: of these, segments ruled out without reading their values
    remaining: int  #: rows that remain after this condition


class IndexTable(TableRows):
    """One index table, for as long as its HDF5 handle lives and nobody else writes to the file.

    After a roll back, an error during a change, or a commit of another process, drop the object and open a
    new one. Changes belong to the transaction of the HDF5 file that the group is in; `flush` before its end.
    """

    # --- a table and its description ---------------------------------------------------------

    @classmethod
    def create(
        cls,
        parent: h5py.Group,
        name: str,
        columns: Sequence[Column],
        *,
        shape: Shape = Shape(),  # noqa: B008
    ) -> IndexTable:
        """Return a new, empty table in the new group `name` of `parent`.

        Raises
        ------
        ConflictError
            If `parent` has something of this name.
        InvalidDataError
            If a column has a bad name, or two have the same one.
        """
        for column in columns:
            if not all(part.isidentifier() and part[0] != "_" for part in column.name.split(".")):
                raise InvalidDataError(
                    f"index column {column.name!r} must be named like a Python variable, without '_' first"
                )
        if len({column.name for column in columns}) < len(columns):
            raise InvalidDataError(f"index table {name!r} has two columns of one name")
        above = Attributes.of(parent)
        if above.has_child(name):
            raise ConflictError(f"{above.path!r} has {name!r} already: remove it first, or open it")
        attributes = above.create_child(name, dense=True)
        table = cls(attributes, tuple(columns), {}, shape)
        table._write_description()
        table._tail.create(shape.tail_bytes or tail_capacity(columns))
        table._segments.create()
        return table

    @classmethod
    def open(cls, group: h5py.Group, *, shape: Shape = Shape()) -> IndexTable:  # noqa: B008
        """Return the table in `group`; reads its description, its tail and its list of segments.

        Raises
        ------
        FormatError
            If the table was written by another version of the format.
        CorruptError
            If it is damaged. Then, and with a FormatError, the index can be rebuilt from the objects.
        """
        attributes = Attributes.of(group)
        columns, pieces, class_version, left_out = _read_description(attributes)
        table = cls(attributes, columns, pieces, shape)
        table._class_version, table._left_out = class_version, left_out
        table._tail.load()
        table._segments.load()
        table._check_counters(number for some in pieces.values() for number, _ in some)
        return table

    @property
    def columns_spec(self) -> tuple[Column, ...]:
        """The columns with which the table was created, in their order."""
        return tuple(self._columns.values())

    # --- queries -----------------------------------------------------------------------------

    def _predicates(self, conditions: Sequence[Condition]) -> list[tuple[str, Predicate]]:
        for condition in conditions:
            if condition.column in self._vocabularies and len(self._tail):
                self._tail.view().values(condition.column)  # gives its new texts their codes
        predicates = [(c.column, predicate_for(c, self._columns, self._vocabularies)) for c in conditions]
        return sorted(predicates, key=lambda pair: pair[1].cost)

    def _matching(self, conditions: Sequence[Condition]) -> list[tuple[RowSet, Array]]:
        """Return the rows that fulfil all conditions, of each set that has any."""
        marks = list(self._missed.marks(conditions, self._columns))
        if any(self._missed.rules_out(column, mark) for column, mark in marks):
            return []
        predicates = self._predicates(conditions)
        found = [
            (rowset, rows) for rowset in self._row_sets() if (rows := matching_rows(rowset, predicates)).size
        ]
        if not found:
            for column in [column for column, _ in marks if self._missed.is_frequent(column)]:
                self._missed.learn(column, [rowset.values(column).marks() for rowset in self._row_sets()])
        return found

    def _selection(
        self, conditions: Sequence[Condition], order_by: str | None, limit: int | None
    ) -> Selection:
        if limit is not None and limit < 0:
            raise InvalidDataError(f"a limit must not be negative, as {limit} is")
        selection = Selection(self._matching(conditions), self._vocabularies)
        if order_by is not None:
            self._column(order_by.removeprefix("-"))
            selection.sort(order_by.removeprefix("-"), descending=order_by.startswith("-"))
        if limit is not None:
            selection.cut(limit)
        return selection

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            raise InvalidDataError(f"the index has no column {name!r}; it has {', '.join(self._columns)}")
        return self._columns[name]

    def select(
        self, conditions: Sequence[Condition] = (), *, order_by: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the keys of the rows that fulfil all conditions, in the order of first insertion.

        Parameters
        ----------
        order_by
            A column to order by instead, ``"-name"`` for descending. Equal values keep the order of
            insertion; missing ones come last either way. Texts are ordered by code point.
        limit
            Return only the first so many.

        Raises
        ------
        InvalidDataError
            If the table has no such column, or the limit is negative.
        """
        return self._selection(conditions, order_by, limit).keys()

    def keys(self) -> list[str]:
        """Return all keys in the order of first insertion."""
        return self.select()

    def check(self) -> None:
        """Compare what a query relies on without reading values with what follows from the values.

        Raises
        ------
        CorruptError
            If a bound, a count or a word does not fit the values of its segment.
        """
        tail = self._tail.view()
        for rowset in self._row_sets():
            texts = [rowset.keys()]
            for name in self._columns:
                values = rowset.values(name)
                if isinstance(values, IdentifierValues):
                    texts.append(values.texts)
                if rowset.summary(name) != values.summary():
                    raise self._attributes.corrupt(
                        f"what is noted of column {name!r} does not fit its values"
                    )
            if not all(array.words_fit() for array in texts):
                raise self._attributes.corrupt("a text has the word of another one")
            # In the tail, a row that was replaced comes behind newer ones.
            if rowset is not tail and not bool(np.all(np.diff(rowset.sequences()) > 0)):
                raise self._attributes.corrupt("the rows of a segment are not in their order")
        if not all(vocabulary.is_sound() for vocabulary in self._vocabularies.values()):
            raise self._attributes.corrupt("a vocabulary has a text twice, or with the word of another one")

    def rows(self) -> dict[str, dict[str, Value]]:
        """Return every row by its key, in the order of first insertion; all of the table is read.

        Raises
        ------
        CorruptError
            If a part of it cannot be read, or a key has two rows.
        """
        columns = self.columns([KEY_COLUMN, *self._columns])
        keys = columns.pop(KEY_COLUMN)
        plain = {name: _plain(values) for name, values in columns.items()}
        rows = {
            key: dict(zip(plain, row, strict=True))
            for key, row in zip(keys, zip(*plain.values(), strict=True), strict=True)
        }
        if len(rows) < len(keys):
            raise self._attributes.corrupt("a key has two rows")
        return rows

    def count(self, conditions: Sequence[Condition] = ()) -> int:
        """Return how many rows fulfil all conditions."""
        if not conditions:
            return len(self)
        return sum(rows.size for _, rows in self._matching(conditions))

    def columns(
        self,
        names: Sequence[str],
        conditions: Sequence[Condition] = (),
        *,
        order_by: str | None = None,
        limit: int | None = None,
    ) -> dict[str, Array | list[Any]]:
        """Return the values of columns in the rows that `select` finds; `KEY_COLUMN` names the keys.

        Returns
        -------
        columns
            Real numbers as a float64 array with NaN where missing, integers as an int64 array, or as a list
            with ``None`` if one is missing, texts as a list with ``None`` where missing.
        """
        for name in names:
            if name != KEY_COLUMN:
                self._column(name)
        selection = self._selection(conditions, order_by, limit)
        if not len(selection):
            return {name: self._nothing(name) for name in names}
        return {name: selection.keys() if name == KEY_COLUMN else selection.values(name) for name in names}

    def _nothing(self, name: str) -> Array | list[Any]:
        kind = None if name == KEY_COLUMN else self._columns[name].kind
        if kind is ColumnKind.REAL:
            return np.zeros(0)
        return np.zeros(0, np.int64) if kind is ColumnKind.INTEGER else []

    def explain(self, conditions: Sequence[Condition]) -> tuple[ConditionReport, ...]:
        """Return what the index does for each condition, in the order in which they are tried."""
        words = {id(condition): in_words(condition) for condition in conditions}
        self._predicates(conditions)
        made = [(c, predicate_for(c, self._columns, self._vocabularies)) for c in conditions]
        candidates = [(rowset, rowset.live_rows()) for rowset in self._row_sets()]
        reports: list[ConditionReport] = []
        for condition, test in sorted(made, key=lambda pair: pair[1].cost):
            pruned = 0
            kept: list[tuple[RowSet, Array]] = []
            for rowset, rows in candidates:
                verdict = test.verdict(rowset.summary(condition.column), rowset.size)
                pruned += verdict is Verdict.NONE
                if verdict is Verdict.SOME:
                    rows = narrowed(rowset, condition.column, test, rows)
                if verdict is not Verdict.NONE and rows.size:
                    kept.append((rowset, rows))
            remaining = sum(rows.size for _, rows in kept)
            reports.append(
                ConditionReport(condition.column, words[id(condition)], len(candidates), pruned, remaining)
            )
            candidates = kept
        return tuple(reports)


def _plain(values: Array | list[Any]) -> list[Value]:
    if isinstance(values, list):
        return values
    return [None if is_missing(value) else value for value in values.tolist()]


def _read_description(
    attributes: Attributes,
) -> tuple[tuple[Column, ...], dict[str, list[tuple[int, int]]], int | None, frozenset[str]]:
    """Return the columns of a table, the pieces of their vocabularies, class version and keys left out."""
    try:
        description = json.loads(attributes.read_text(INDEX_TABLE))
        found = description["format"]
        if found != INDEX_FORMAT:
            raise FormatError(
                f"index table {attributes.path!r} has format {found}; this version reads {INDEX_FORMAT}: "
                "rebuild the index, which loses nothing"
            )
        columns = tuple(Column(name, ColumnKind(kind)) for name, kind in description["columns"].items())
        vocabularies = {
            str(column): [(int(number), int(size)) for number, size in pieces]
            for column, pieces in description["vocabularies"].items()
        }
        version = description.get("class_version")
        class_version = None if version is None else int(version)
        left_out = frozenset(map(str, description.get("left_out", ())))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise attributes.corrupt(f"its description cannot be read ({error})") from error
    if any(number < 0 or size < 1 for pieces in vocabularies.values() for number, size in pieces):
        raise attributes.corrupt("a vocabulary has an empty piece")
    return columns, vocabularies, class_version, left_out

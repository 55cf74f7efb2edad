"""Index tables: typed columns of many objects in the attributes of one HDF5 group, found in milliseconds.

A table is an accelerator: what it holds follows from the objects, and it can be rebuilt from them at any
time. Rows are added to a small tail that is written in place; a full tail is sealed into a segment, and eight
segments of one size are merged into one, so that the cost of a change does not grow with the table. A query
reads only the columns it needs, of only those segments that may hold a match.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py
import numpy as np

from simarchive.conditions import Column, ColumnKind, Condition, Value
from simarchive.container.index_attributes import Array, Attributes
from simarchive.container.index_columns import ColumnValues, checked_value, checked_values
from simarchive.container.index_keys import KnownWords
from simarchive.container.index_matching import (
    Test,
    Verdict,
    in_words,
    matching_rows,
    narrowed,
    test_for,
)
from simarchive.container.index_segments import MemoryRows, RowSet, Segment, SegmentStore, Shape, merged
from simarchive.container.index_selection import Selection
from simarchive.container.index_tail import Tail, column_values, tail_capacity
from simarchive.container.index_texts import TextArray, word_of
from simarchive.container.index_vocabulary import Vocabulary
from simarchive.container.layout import INDEX_FORMAT, INDEX_KEY, INDEX_TABLE, INDEX_VOCABULARIES
from simarchive.errors import ConflictError, FormatError, InvalidDataError, NotFoundError

KEY_COLUMN = INDEX_KEY
"""The name under which `IndexTable.columns` gives the keys."""

_SPARE_TEXTS = 1024  # a vocabulary may have so many texts, and two for each row, before it is cleaned


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """What the index did for one condition of a query."""

    column: str
    reading: str  #: the condition in words
    segments: int  #: segments that still had candidates
    pruned: int  #: of these, segments ruled out without reading their values
    remaining: int  #: rows that remain after this condition


class IndexTable:
    """One index table, for as long as its HDF5 handle lives and nobody else writes to the file.

    After a roll back, an error during a change, or a commit of another process, drop the object and open a
    new one. Changes belong to the transaction of the HDF5 file that the group is in.
    """

    def __init__(self, attributes: Attributes, columns: tuple[Column, ...], shape: Shape) -> None:
        self._attributes = attributes
        self._columns = {column.name: column for column in columns}
        self._shape = shape
        self._vocabularies: dict[str, Vocabulary] = {}
        self._tail = Tail(attributes, columns, self._vocabularies)
        kinds = {column.name: column.kind for column in columns}
        self._segments = SegmentStore(
            attributes, kinds, lambda column: self._vocabularies[column].stored, shape
        )
        self._known: KnownWords | None = None
        self._misses = 0

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
        table = cls(attributes, tuple(columns), shape)
        spec = {"format": INDEX_FORMAT, "columns": {column.name: column.kind.value for column in columns}}
        attributes.write_text(INDEX_TABLE, json.dumps(spec).encode())
        table._create_vocabularies({})
        table._write_vocabulary_list()
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
        table = cls(attributes, _read_columns(attributes), shape)
        try:
            pieces = json.loads(attributes.read_text(INDEX_VOCABULARIES))
            table._create_vocabularies(
                {name: [(int(number), int(size)) for number, size in found] for name, found in pieces.items()}
            )
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise attributes.corrupt(f"its list of vocabularies cannot be read ({error})") from error
        table._tail.load()
        table._segments.load()
        return table

    def _create_vocabularies(self, pieces: Mapping[str, list[tuple[int, int]]]) -> None:
        for column in self._columns.values():
            if column.kind is ColumnKind.CATEGORY:
                found = pieces.get(column.name, [])
                if any(number < 0 or size < 1 for number, size in found):
                    raise ValueError(f"column {column.name!r} has an empty piece")
                self._vocabularies[column.name] = Vocabulary(self._attributes, found)

    def _write_vocabulary_list(self) -> None:
        pieces = {name: vocabulary.pieces for name, vocabulary in self._vocabularies.items()}
        self._attributes.write_text(INDEX_VOCABULARIES, json.dumps(pieces).encode())

    @property
    def columns_spec(self) -> tuple[Column, ...]:
        """The columns with which the table was created, in their order."""
        return tuple(self._columns.values())

    # --- changes -----------------------------------------------------------------------------

    def insert(self, key: str, values: Mapping[str, Value], *, is_new: bool = False) -> None:
        """Add a row at the end; a column that `values` does not name is missing.

        Parameters
        ----------
        is_new
            The caller knows that the table has no row of this key, and saves the search for it.

        Raises
        ------
        ConflictError
            If the table has a row of this key.
        InvalidDataError
            If a value does not fit its column, or there is no such column. Nothing is changed.
        """
        row = self._checked_row(key, values)
        if not is_new and key in self:
            raise ConflictError(f"index table {self._attributes.path!r} has key {key!r} already: replace it")
        self._tail.next_sequence += 1
        self._put(self._tail.next_sequence - 1, key, row)
        if self._known is not None:
            self._known.add(word_of(key))

    def insert_many(self, rows: Iterable[tuple[str, Mapping[str, Value]]]) -> None:
        """Add many rows at the end, as `insert` would, fast.

        Raises
        ------
        ConflictError, InvalidDataError
            As `insert`. Rows of earlier batches may be in the table already: roll back.
        """
        stream = iter(rows)
        while batch := list(islice(stream, self._shape.largest)):
            if len(batch) <= self._shape.tail_rows:
                for key, values in batch:
                    self.insert(key, values)
            else:
                self._insert_batch(batch)

    def replace(self, key: str, values: Mapping[str, Value]) -> None:
        """Give the row of `key` other values; it keeps its place in the order of first insertion.

        Raises
        ------
        NotFoundError
            If the table has no row of this key.
        InvalidDataError
            If a value does not fit its column, or there is no such column. Nothing is changed.
        """
        row = self._checked_row(key, values)
        if key in self._tail:
            sequence = self._tail.sequence(key)
            if self._tail.put(sequence, key, row):
                self._tail.write()
                return
            self._tail.discard(key)
        else:
            segment, place = self._found(key)
            sequence = int(segment.sequences()[place])
            self._bury(segment, place)
        self._put(sequence, key, row)

    def remove(self, key: str) -> None:
        """Remove the row of `key`.

        Raises
        ------
        NotFoundError
            If the table has no row of this key.
        """
        if key in self._tail:
            self._tail.discard(key)
        else:
            self._bury(*self._found(key))
        self._tail.write()

    def _checked_row(self, key: str, values: Mapping[str, Value]) -> list[Value]:
        _check_key(key)
        if unknown := values.keys() - self._columns.keys():
            raise InvalidDataError(
                f"index table {self._attributes.path!r} has no column {', '.join(map(repr, sorted(unknown)))}"
            )
        return [checked_value(column, values.get(name)) for name, column in self._columns.items()]

    def _put(self, sequence: int, key: str, row: list[Value]) -> None:
        if not self._tail.put(sequence, key, row):
            self._seal()
            if not self._tail.put(sequence, key, row):
                self._add_rows(np.array([sequence]), [key], [[value] for value in row])
        if len(self._tail) >= self._shape.tail_rows:
            self._seal()
        self._tail.write()

    def _seal(self) -> None:
        """Make a segment of the rows of the tail; the tail is not written."""
        if len(self._tail):
            view = self._tail.view()
            self._add(view)
            self._tail.clear()

    def _next_number(self) -> int:
        self._tail.next_number += 1
        return self._tail.next_number - 1

    def _add(self, rows: RowSet) -> None:
        """Write rows as a segment, the new texts of their categories, and the lists; not the tail."""
        grown = False
        for name, vocabulary in self._vocabularies.items():
            rows.values(name)
            grown |= vocabulary.write_pending(self._next_number())
        self._segments.add(rows, self._next_number())
        limit = 2 * self._segments.live_count + _SPARE_TEXTS
        if any(vocabulary.stored > limit for vocabulary in self._vocabularies.values()):
            self._clean_vocabularies()
            grown = True
        if grown:
            self._write_vocabulary_list()
        self._segments.write_lists()

    def _clean_vocabularies(self) -> None:
        """Write all segments anew, with vocabularies that hold only what their rows use."""
        old = list(self._segments)
        rows = merged(old)
        columns: dict[str, ColumnValues] = {}
        for column in self._columns.values():
            columns[column.name] = rows.values(column.name)
            if vocabulary := self._vocabularies.get(column.name):
                texts = vocabulary.decoded(columns[column.name].codes)  # type: ignore[attr-defined]
                vocabulary.clear()
                columns[column.name] = column_values(column, texts, self._vocabularies)
                vocabulary.write_pending(self._next_number())
        keys, sequences = rows.keys(), rows.sequences()
        for segment in old:
            self._segments.drop(segment)
        for start in range(0, rows.size, self._shape.largest):
            part = np.arange(start, min(start + self._shape.largest, rows.size))
            view = MemoryRows(
                sequences[part], keys.take(part), lambda name, part=part: columns[name].take(part)
            )
            self._segments.add(view, self._next_number())

    def _insert_batch(self, batch: list[tuple[str, Mapping[str, Value]]]) -> None:
        keys = [key for key, _ in batch]
        for key in keys:
            _check_key(key)
        names = self._columns.keys()
        if unknown := {name for _, values in batch if not values.keys() <= names for name in values} - names:
            raise InvalidDataError(
                f"index table {self._attributes.path!r} has no column {', '.join(map(repr, sorted(unknown)))}"
            )
        columns = [
            checked_values(column, [values.get(name) for _, values in batch])
            for name, column in self._columns.items()
        ]
        self._check_new(keys)
        first = self._tail.next_sequence
        self._tail.next_sequence += len(keys)
        self._add_rows(np.arange(first, first + len(keys)), keys, columns)
        self._tail.write()
        self._known = None

    def _check_new(self, keys: list[str]) -> None:
        distinct = set(keys)
        if len(distinct) < len(keys):
            raise ConflictError(f"index table {self._attributes.path!r}: a key occurs twice in the new rows")
        words = TextArray.of(keys).words
        suspects = {key for key in distinct if key in self._tail}
        for segment in self._segments:
            rows = segment.live_rows()
            rows = rows[np.isin(segment.keys().words[rows], words)]
            suspects.update(distinct.intersection(segment.keys().texts(rows)))
        if suspects:
            raise ConflictError(
                f"index table {self._attributes.path!r} has key {min(suspects)!r} already: replace it"
            )

    def _add_rows(self, sequences: Array, keys: list[str], columns: list[Any]) -> None:
        values = dict(zip(self._columns, columns, strict=True))
        self._tail.forget_view()
        self._add(
            MemoryRows(
                sequences,
                TextArray.of(keys),
                lambda name: column_values(self._columns[name], values[name], self._vocabularies),
            )
        )

    def _bury(self, segment: Segment, row: int) -> None:
        """Remove a row of a segment, which is written anew when half of it is gone."""
        segment.bury(row)
        shrink = segment.dead * 2 >= segment.size
        if not segment.live_count:
            self._segments.drop(segment)
        elif shrink:
            rows = merged([segment])
            for name in self._columns:
                rows.values(name)
            self._segments.drop(segment)
            self._segments.add(rows, self._next_number())
        self._segments.write_lists(summaries=shrink)

    # --- one row -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._segments.live_count + len(self._tail)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (key in self._tail or self._find(key) is not None)

    def row(self, key: str) -> dict[str, Value]:
        """Return the values of one row.

        Raises
        ------
        NotFoundError
            If the table has no row of this key.
        """
        if key in self._tail:
            return self._tail.row(key)
        segment, place = self._found(key)
        selection = Selection([(segment, np.array([place]))], self._vocabularies)
        found: dict[str, Value] = {}
        for name, column in self._columns.items():
            (value,) = list(selection.values(name))
            if column.kind is ColumnKind.REAL:
                found[name] = None if value != value else float(value)
            else:
                found[name] = int(value) if isinstance(value, np.integer) else value
        return found

    def _found(self, key: str) -> tuple[Segment, int]:
        found = self._find(key)
        if found is None:
            raise NotFoundError(f"index table {self._attributes.path!r} has no key {key!r}")
        return found

    def _find(self, key: str) -> tuple[Segment, int] | None:
        """Return where a key is that is not in the tail."""
        try:
            word = word_of(key)
        except UnicodeEncodeError:
            return None
        if self._known is not None and word not in self._known:
            return None
        for segment in reversed(list(self._segments)):
            for row in segment.keys().find(key, word).tolist():
                if not (segment.dead and segment.dead_mask()[row]):
                    return segment, row
        self._misses += 1
        if self._known is None and self._misses > 1:
            self._known = KnownWords([rows.keys().words for rows in self._row_sets()])
        return None

    # --- queries -----------------------------------------------------------------------------

    def _tests(self, conditions: Sequence[Condition]) -> list[tuple[str, Test]]:
        for condition in conditions:
            if condition.column in self._vocabularies and len(self._tail):
                self._tail.view().values(condition.column)  # gives its new texts their codes
        tests = [(c.column, test_for(c, self._columns, self._vocabularies)) for c in conditions]
        return sorted(tests, key=lambda pair: pair[1].cost)

    def _row_sets(self) -> Iterator[RowSet]:
        yield from self._segments
        if len(self._tail):
            yield self._tail.view()

    def _selection(
        self, conditions: Sequence[Condition], order_by: str | None, limit: int | None
    ) -> Selection:
        if limit is not None and limit < 0:
            raise InvalidDataError(f"a limit must not be negative, as {limit} is")
        tests = self._tests(conditions)
        parts = [(rowset, rows) for rowset in self._row_sets() if (rows := matching_rows(rowset, tests)).size]
        selection = Selection(parts, self._vocabularies)
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

    def count(self, conditions: Sequence[Condition] = ()) -> int:
        """Return how many rows fulfil all conditions."""
        if not conditions:
            return len(self)
        tests = self._tests(conditions)
        return sum(matching_rows(rowset, tests).size for rowset in self._row_sets())

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
        self._tests(conditions)
        made = [(c, test_for(c, self._columns, self._vocabularies)) for c in conditions]
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


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InvalidDataError(f"the key of an index row must be a text that is not empty, not {key!r}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"key {key!r} is not valid Unicode") from error


def _read_columns(attributes: Attributes) -> tuple[Column, ...]:
    try:
        spec = json.loads(attributes.read_text(INDEX_TABLE))
        found = spec["format"]
        if found != INDEX_FORMAT:
            raise FormatError(
                f"index table {attributes.path!r} has format {found}; this version reads {INDEX_FORMAT}: "
                "rebuild the index, which loses nothing"
            )
        return tuple(Column(name, ColumnKind(kind)) for name, kind in spec["columns"].items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise attributes.corrupt(f"its description cannot be read ({error})") from error

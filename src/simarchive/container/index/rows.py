"""The rows of an index table: how they are added, replaced, removed and found by their key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from simarchive.container.index.attributes import Array, Attributes
from simarchive.container.index.columns import ColumnValues, checked_value, checked_values
from simarchive.container.index.missed import MissedMarks
from simarchive.container.index.rowsets import MemoryRows, RowSet, merged
from simarchive.container.index.segments import Segment, SegmentStore, Shape
from simarchive.container.index.selection import Selection
from simarchive.container.index.tail import Tail, column_values
from simarchive.container.index.texts import TextArray, mark_of, word_of
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.container.layout import INDEX_FORMAT, INDEX_KEY, INDEX_TABLE
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError
from simarchive.ground.conditions import Column, ColumnKind, Value


class TableRows:
    """The rows of one table: a tail, and the segments that were made of earlier tails.

    What a change does to the tail is in memory, for this object to see, until `flush` writes it.
    """

    def __init__(
        self,
        attributes: Attributes,
        columns: tuple[Column, ...],
        pieces: Mapping[str, list[tuple[int, int]]],
        shape: Shape,
    ) -> None:
        self._attributes = attributes
        self._columns = {column.name: column for column in columns}
        self._shape = shape
        self._vocabularies = {
            column.name: Vocabulary(attributes, pieces.get(column.name, []))
            for column in columns
            if column.kind is ColumnKind.CATEGORY
        }
        self._tail = Tail(attributes, columns, self._vocabularies)
        kinds = {column.name: column.kind for column in columns}
        self._segments = SegmentStore(
            attributes, kinds, lambda column: self._vocabularies[column].stored, shape
        )
        self._missed = MissedMarks()
        self._tail_is_written = True
        self._class_version: int | None = None
        self._left_out: frozenset[str] = frozenset()

    # --- what is known of the whole ----------------------------------------------------------

    @property
    def class_version(self) -> int | None:
        """The version of the data class by which the rows were made; ``None`` if it was not noted."""
        return self._class_version

    @property
    def left_out(self) -> frozenset[str]:
        """The keys of objects that have no row because who made the table could not understand them."""
        return self._left_out

    def note_origin(self, class_version: int | None, left_out: Iterable[str] = ()) -> None:
        """Note by which version of the data class the rows are made, and which objects have none."""
        self._class_version, self._left_out = class_version, frozenset(left_out)
        self._write_description()

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
        self._tail_is_written = False

    def flush(self) -> None:
        """Write what is in memory only; to be called before the file is flushed, closed or read by others."""
        if self._tail_is_written:
            return
        if len(self._tail) >= self._shape.tail_rows or not self._tail.fits:
            self._seal()
        self._tail.write()
        self._tail_is_written = True

    def _checked_row(self, key: str, values: Mapping[str, Value]) -> list[Value]:
        _check_key(key)
        if not values.keys() <= self._columns.keys():
            raise self._unknown_columns(values.keys())
        return [checked_value(column, values.get(name)) for name, column in self._columns.items()]

    def _unknown_columns(self, names: Iterable[str]) -> InvalidDataError:
        unknown = sorted(set(names) - self._columns.keys())
        return InvalidDataError(
            f"index table {self._attributes.path!r} has no column {', '.join(map(repr, unknown))}"
        )

    def _put(self, sequence: int, key: str, row: list[Value]) -> None:
        self._tail.put(sequence, key, row)
        self._tail_is_written = False
        self._missed.note_row(key, zip(self._columns.values(), row, strict=True))
        if len(self._tail) >= self._shape.pending_rows:
            self._seal()

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
        """Write rows as a segment, the new texts of their categories, and the lists; not the tail.

        No row may be left in the tail but these, since the codes of texts may change.
        """
        grown = False
        for name, vocabulary in self._vocabularies.items():
            rows.values(name)  # gives its new texts their codes
            grown |= vocabulary.write_pending(self._next_number())
        self._segments.add(rows, self._next_number())
        limit = 2 * self._segments.live_count + self._shape.spare_texts
        if any(vocabulary.stored > limit for vocabulary in self._vocabularies.values()):
            self._clean_vocabularies()
            grown = True
        if grown:
            self._write_description()
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
            chunk = {name: values.take(part) for name, values in columns.items()}
            view = MemoryRows(sequences[part], keys.take(part), chunk.__getitem__)
            self._segments.add(view, self._next_number())

    def _insert_batch(self, batch: list[tuple[str, Mapping[str, Value]]]) -> None:
        keys = [key for key, _ in batch]
        for key in keys:
            _check_key(key)
        for _, values in batch:
            if not values.keys() <= self._columns.keys():
                raise self._unknown_columns(values.keys())
        columns = [
            checked_values(column, [values.get(name) for _, values in batch])
            for name, column in self._columns.items()
        ]
        self._check_new(keys)
        self._seal()
        first = self._tail.next_sequence
        self._tail.next_sequence += len(keys)
        self._add_rows(np.arange(first, first + len(keys)), keys, columns)
        self._tail_is_written = False
        self._missed.clear()

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
        if self._missed.rules_out(INDEX_KEY, mark_of(key)):
            return None
        for segment in reversed(list(self._segments)):
            for row in segment.keys().find(key, word).tolist():
                if not (segment.dead and segment.dead_mask()[row]):
                    return segment, row
        if self._missed.is_frequent(INDEX_KEY):
            self._missed.learn(INDEX_KEY, [rows.keys().marks() for rows in self._row_sets()])
        return None

    def _row_sets(self) -> Iterator[RowSet]:
        yield from self._segments
        if len(self._tail):
            yield self._tail.view()

    def _check_counters(self, pieces: Iterable[int]) -> None:
        """Raise CorruptError if a number that is to be given next is taken; `pieces` have numbers, too."""
        sequences = [segment.last for segment in self._segments]
        numbers = [*(segment.number for segment in self._segments), *pieces]
        if self._tail.next_sequence <= max(sequences, default=-1):
            raise self._attributes.corrupt("the sequence number of its next row is taken")
        if self._tail.next_number <= max(numbers, default=-1):
            raise self._attributes.corrupt("the number of its next segment is taken")

    def _write_description(self) -> None:
        description: dict[str, Any] = {
            "format": INDEX_FORMAT,
            "columns": {column.name: column.kind.value for column in self._columns.values()},
            "vocabularies": {name: vocabulary.pieces for name, vocabulary in self._vocabularies.items()},
        }
        if self._class_version is not None:
            description["class_version"] = self._class_version
        if self._left_out:
            description["left_out"] = sorted(self._left_out)
        self._attributes.write_text(INDEX_TABLE, json.dumps(description).encode())


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InvalidDataError(f"the key of an index row must be a text that is not empty, not {key!r}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"key {key!r} is not valid Unicode") from error

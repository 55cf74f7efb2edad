"""The rows of an index table: how they are added, replaced, removed and found by their key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from simarchive.container.index.absence import AbsenceFilter
from simarchive.container.index.attributes import Attributes
from simarchive.container.index.columns import ColumnValues, IdentifierValues
from simarchive.container.index.rowsets import MemoryRows, RowSet, merged
from simarchive.container.index.segments import MAX_COUNTER, Segment, SegmentStore, Shape
from simarchive.container.index.selection import Selection
from simarchive.container.index.tail import Tail, column_values, tail_capacity
from simarchive.container.index.texts import TextArray, fingerprint_of, word_of
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.container.layout import INDEX_KEY
from simarchive.errors import ConflictError, NotFoundError
from simarchive.ground.conditions import Column, ColumnKind, Value


class TableRows:
    """The rows of one table: a tail, and the segments that were made of earlier tails.

    What a change does to the tail is in memory, for this object to see, until `flush` writes it. Keys and
    values were checked by the caller.

    Parameters
    ----------
    attributes
        Those of the table's group.
    columns
        The columns of the table by name, in their order.
    vocabularies
        Those of its columns that are categories.
    shape
        When the tail becomes a segment, and segments become one.
    absence
        What is known not to be there; here it learns of new rows, and of keys that are not found.
    on_new_texts
        Called when vocabularies were written, whose pieces are part of the table's description.
    """

    def __init__(
        self,
        attributes: Attributes,
        columns: Mapping[str, Column],
        vocabularies: Mapping[str, Vocabulary],
        shape: Shape,
        absence: AbsenceFilter,
        on_new_texts: Callable[[], None],
    ) -> None:
        self._attributes = attributes
        self._columns = columns
        self._vocabularies = vocabularies
        self._shape = shape
        self._absence = absence
        self._on_new_texts = on_new_texts
        self._tail = Tail(attributes, tuple(columns.values()), vocabularies)
        kinds = {name: column.kind for name, column in columns.items()}
        self._segments = SegmentStore(attributes, kinds, lambda column: vocabularies[column].stored, shape)
        self._tail_is_written = True

    def create(self) -> None:
        """Write that there are no rows."""
        self._tail.create(self._shape.tail_bytes or tail_capacity(tuple(self._columns.values())))
        self._segments.create()

    def load(self) -> None:
        """Read the tail and the list of segments.

        Raises
        ------
        CorruptError
            If they are damaged.
        """
        self._tail.load()
        self._segments.load()
        self._check_counters()

    # --- changes -----------------------------------------------------------------------------

    def append(self, key: str, row: Sequence[Value]) -> None:
        """Add a row at the end, whose key no row has."""
        self._tail.next_sequence += 1
        self._put(self._tail.next_sequence - 1, key, row)

    def append_batch(self, keys: Sequence[str], columns: Sequence[Any]) -> None:
        """Add many rows at the end as a segment of their own.

        Parameters
        ----------
        keys
            The key of each row.
        columns
            The values of each column, row by row.

        Raises
        ------
        ConflictError
            If the table has a row of one of the keys, or two new ones have the same. Nothing is changed.
        """
        self._check_new(keys)
        self._seal()
        first = self._tail.next_sequence
        self._tail.next_sequence += len(keys)
        values = dict(zip(self._columns, columns, strict=True))
        self._tail.forget_view()
        self._add(
            MemoryRows(
                np.arange(first, first + len(keys)),
                TextArray.of(keys),
                lambda name: column_values(self._columns[name], values[name], self._vocabularies),
            )
        )
        self._tail_is_written = False
        self._absence.clear()

    def replace(self, key: str, row: Sequence[Value]) -> None:
        """Give the row of `key` other values; it keeps its place in the order of first insertion.

        Raises
        ------
        NotFoundError
            If there is no row of this key.
        """
        if key in self._tail:
            sequence = self._tail.sequence(key)
        else:
            segment, place = self._found(key)
            sequence = int(segment.sequences()[place])
            self._remove_from(segment, place)
        self._put(sequence, key, row)

    def remove(self, key: str) -> None:
        """Remove the row of `key`.

        Raises
        ------
        NotFoundError
            If there is no row of this key.
        """
        if key in self._tail:
            self._tail.discard(key)
        else:
            self._remove_from(*self._found(key))
        self._tail_is_written = False

    def flush(self) -> None:
        """Write what is in memory only."""
        if self._tail_is_written:
            return
        if len(self._tail) >= self._shape.tail_rows or not self._tail.fits:
            self._seal()
        self._tail.write()
        self._tail_is_written = True

    def _put(self, sequence: int, key: str, row: Sequence[Value]) -> None:
        self._tail.put(sequence, key, row)
        self._tail_is_written = False
        self._absence.note_row(key, zip(self._columns.values(), row, strict=True))
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
            self._on_new_texts()
        self._segments.write_lists()

    def _clean_vocabularies(self) -> None:
        """Rewrite all segments, with vocabularies that hold only what their rows use."""
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

    def _check_new(self, keys: Sequence[str]) -> None:
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

    def _remove_from(self, segment: Segment, row: int) -> None:
        """Remove a row of a segment, which is rewritten when half of it is gone."""
        segment.mark_dead(row)
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
            If there is no row of this key.
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
        if self._absence.rules_out(INDEX_KEY, fingerprint_of(key)):
            return None
        for segment in reversed(list(self._segments)):
            for row in segment.keys().find(key, word).tolist():
                if not (segment.dead and segment.dead_mask()[row]):
                    return segment, row
        if self._absence.is_worth_learning(INDEX_KEY):
            self._absence.learn(INDEX_KEY, [rows.keys().fingerprints() for rows in self.row_sets()])
        return None

    # --- all rows ----------------------------------------------------------------------------

    def row_sets(self) -> Iterator[RowSet]:
        """Yield all rows, set by set."""
        yield from self._segments
        if len(self._tail):
            yield self._tail.view()

    def encode_new_texts(self, column: str) -> None:
        """Have codes in the vocabulary of a category for the texts that only the newest rows have."""
        if len(self._tail):
            self._tail.view().values(column)

    def check(self) -> None:
        """Compare what a query relies on without reading values with what follows from the values.

        Raises
        ------
        CorruptError
            If a bound, a count or a word does not fit the values of its segment.
        """
        tail = self._tail.view()
        for rowset in self.row_sets():
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

    def _check_counters(self) -> None:
        """Raise CorruptError if a number that is to be given next is taken."""
        sequences = [segment.last for segment in self._segments]
        numbers = [segment.number for segment in self._segments]
        numbers += [number for vocabulary in self._vocabularies.values() for number, _ in vocabulary.pieces]
        if self._tail.next_sequence <= max(sequences, default=-1):
            raise self._attributes.corrupt("the sequence number of its next row is taken")
        if max(self._tail.next_sequence, self._tail.next_number) >= MAX_COUNTER:
            raise self._attributes.corrupt("its next numbers are too high")
        if self._tail.next_number <= max(numbers, default=-1):
            raise self._attributes.corrupt("the number of its next segment is taken")

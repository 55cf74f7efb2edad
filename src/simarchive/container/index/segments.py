"""Segments: sealed groups of rows, one attribute for each column, read only when a query needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from simarchive.container.index.attributes import LARGE_BYTES, Array, Attributes, check_of
from simarchive.container.index.columns import (
    CategoryValues,
    ColumnValues,
    Summary,
    read_bits,
    read_values,
)
from simarchive.container.index.rowsets import RowSet, merged
from simarchive.container.index.texts import TextArray
from simarchive.container.layout import (
    INDEX_DEAD,
    INDEX_KEY,
    INDEX_SEGMENTS,
    INDEX_SEQUENCE,
    INDEX_SUMMARIES,
    index_segment_group,
)
from simarchive.ground.conditions import ColumnKind

MAX_COUNTER = 1 << 62
"""No sequence number, and no number of a segment or piece, is as high."""

KEY_BYTES = 8  # that each row has at least: the word of its key

_FIELDS = 5  # of a segment in INDEX_SEGMENTS
_LEAST_ROOM = -(-LARGE_BYTES // (8 * _FIELDS))  # the lists have room to spare: most changes go in place
_COMPACT_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table grows; part of no file, so it may change at any time.

    The tail is sealed when it is to be written with `tail_rows` rows or with more text than it has room for,
    and when `pending_rows` rows of it are not written yet. `fan` segments of one level are merged into one.
    A segment of level n has at most ``tail_rows * fan**n`` rows; those of level `levels` are not merged
    again. A vocabulary is cleaned when it has more than two texts for each row of the table, and
    `spare_texts`.
    """

    tail_rows: int = 64
    tail_bytes: int | None = None
    fan: int = 8
    levels: int = 3
    spare_texts: int = 1024

    @property
    def pending_rows(self) -> int:
        """The most rows that wait in memory: as many as a segment of the first level has."""
        return self.tail_rows * self.fan

    def level(self, rows: int) -> int:
        """Return the level of a segment of `rows` rows."""
        level, limit = 0, self.tail_rows
        while rows > limit and level < self.levels:
            level, limit = level + 1, limit * self.fan
        return level

    @property
    def largest(self) -> int:
        """The most rows that a bulk load gives to one segment."""
        return int(self.tail_rows * self.fan**self.levels)


class Segment(RowSet):
    """One sealed segment; nothing of it is read before it is needed, and nothing twice."""

    def __init__(self, store: SegmentStore, number: int, size: int, dead: int, first: int, last: int) -> None:
        self._store = store
        self._own_group: Attributes | None = None
        self.number = number
        self.size = size
        self.dead = dead
        self.first = first
        self.last = last
        self._dead_mask: Array | None = None
        self._live: Array | None = None
        self._sequences: Array | None = None
        self._keys: TextArray | None = None
        self._columns: dict[str, ColumnValues] = {}

    @property
    def live_count(self) -> int:
        """The number of rows that were not removed."""
        return self.size - self.dead

    @property
    def _group(self) -> Attributes:
        if self._own_group is None:
            self._own_group = self._store.attributes.child(index_segment_group(self.number))
        return self._own_group

    def dead_mask(self) -> Array:
        """Return which rows were removed."""
        if self._dead_mask is None:
            self._dead_mask = read_bits(self._group, INDEX_DEAD, self.size, is_sealed=False)
            if int(np.count_nonzero(self._dead_mask)) != self.dead:
                raise self._group.corrupt("its removed rows are miscounted")
        return self._dead_mask

    def live(self) -> Array | None:
        """Return the rows that were not removed, ascending; ``None`` means all of them."""
        if not self.dead:
            return None
        if self._live is None:
            self._live = np.flatnonzero(~self.dead_mask())
        return self._live

    def sequences(self) -> Array:
        """Return the place of each row in the order of first insertion, int64."""
        if self._sequences is None:
            if self.last - self.first + 1 == self.size:
                self._sequences = np.arange(self.first, self.last + 1)
            else:
                offsets = self._group.read_sealed(INDEX_SEQUENCE, self.size)
                if offsets.dtype.kind != "u" or int(offsets[-1]) != self.last - self.first:
                    raise self._group.corrupt(f"segment {self.number} has wrong sequence numbers")
                self._sequences = offsets.astype(np.int64) + self.first
        return self._sequences

    def keys(self) -> TextArray:
        """Return the key of each row."""
        if self._keys is None:
            self._keys = TextArray.read(self._group, INDEX_KEY, self.size)
        return self._keys

    def values(self, column: str) -> ColumnValues:
        """Return the values of a column."""
        values = self._columns.get(column)
        if values is None:
            kind = self._store.kinds[column]
            missing = self.summary(column).missing
            values = read_values(self._group, column, kind, self.size, missing)
            if isinstance(values, CategoryValues):
                self._store.check_codes(column, values.codes)
            self._columns[column] = values
        return values

    def summary(self, column: str) -> Summary:
        """Return what is known of a column without reading it."""
        return self._store.summary(self, column)

    def mark_dead(self, row: int) -> None:
        """Mark one row as removed, in the file too; the list of segments is the caller's."""
        mask = self.dead_mask()
        mask[row] = True
        self.dead += 1
        self._live = None
        self._group.write(INDEX_DEAD, np.packbits(mask))

    def write(self, rows: RowSet) -> None:
        """Write the rows of a new segment, and keep them in memory."""
        dense = self.size > _COMPACT_ROWS
        self._own_group = self._store.attributes.create_child(index_segment_group(self.number), dense=dense)
        self._keys, self._sequences = rows.keys(), rows.sequences()
        self._dead_mask = np.zeros(self.size, bool)
        self._group.write(INDEX_DEAD, np.packbits(self._dead_mask))
        self._keys.write(self._group, INDEX_KEY)
        if self.last - self.first + 1 != self.size:
            offsets = self._sequences - self.first
            kind = np.min_scalar_type(self.last - self.first)
            self._group.create(INDEX_SEQUENCE, offsets.astype(kind))
        for column in self._store.kinds:
            self._columns[column] = rows.values(column)
            self._columns[column].write(self._group, column)
        self._group.seal()

    def delete(self) -> None:
        """Remove the segment from the file; what was read of it stays in memory."""
        self._own_group = None  # an open group would keep its room
        self._store.attributes.delete_child(index_segment_group(self.number))


class SegmentStore:
    """The segments of one table, and the two attributes that list them."""

    def __init__(
        self,
        attributes: Attributes,
        kinds: Mapping[str, ColumnKind],
        vocabulary_size: Callable[[str], int],
        shape: Shape,
    ) -> None:
        self.attributes = attributes
        self.kinds = kinds
        self._vocabulary_size = vocabulary_size
        self._shape = shape
        self._places = {column: place for place, column in enumerate(kinds)}
        self._summaries: dict[int, Array] | None = None
        self._summaries_check: int | None = None  # None: not known, as in early versions
        self._segments: list[Segment] = []

    def create(self) -> None:
        """Write the empty lists."""
        self._summaries = {}
        self.write_lists()

    def load(self) -> None:
        """Read the list of segments, and no more.

        Raises
        ------
        CorruptError
            If the list makes no sense.
        """
        fields = self.attributes.read(INDEX_SEGMENTS)
        if fields.dtype != np.int64 or fields.size % _FIELDS:
            raise self.attributes.corrupt("the list of segments has a wrong form")
        for number, size, dead, first, last in self._checked_list(fields.reshape(-1, _FIELDS)).tolist():
            if not (
                0 <= dead < size <= last - first + 1 and number >= 0 and 0 <= first <= last < MAX_COUNTER
            ):
                raise self.attributes.corrupt(f"segment {number} is listed wrongly")
            self._segments.append(Segment(self, number, size, dead, first, last))
        self.attributes.check_room("rows", sum(segment.size for segment in self._segments), KEY_BYTES)
        if len({segment.number for segment in self._segments}) < len(self._segments):
            raise self.attributes.corrupt("a segment is listed twice")

    def _checked_list(self, fields: Array) -> Array:
        """Return the rows of the list that are segments; the one after them has the checks of both lists."""
        n_used = int(np.flatnonzero(np.any(fields, axis=1)).max(initial=-1)) + 1
        if not n_used or fields[n_used - 1, 1]:
            return fields[:n_used]
        check, _, summaries_check, _, _ = fields[n_used - 1].tolist()
        if check_of(fields[: n_used - 1]) != check:
            raise self.attributes.corrupt("the list of segments does not match its check")
        self._summaries_check = summaries_check
        return fields[: n_used - 1]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def live_count(self) -> int:
        """The number of rows in all segments that were not removed."""
        return sum(segment.live_count for segment in self._segments)

    def check_codes(self, column: str, codes: Array) -> None:
        """Raise CorruptError if a code is not in the vocabulary."""
        if int(codes.max()) >= self._vocabulary_size(column) or int(codes.min()) < -1:
            raise self.attributes.corrupt(f"a row has a text of column {column!r} that is not there")

    def _all_summaries(self) -> dict[int, Array]:
        if self._summaries is None:
            width = 3 * len(self.kinds)
            numbers = self.attributes.read(INDEX_SUMMARIES) if width else np.zeros(0)
            if numbers.dtype != np.float64 or numbers.size < width * len(self._segments):
                raise self.attributes.corrupt("the summaries of the segments have a wrong form")
            if self._summaries_check not in (None, check_of(numbers[: width * len(self._segments)])):
                raise self.attributes.corrupt("the summaries of the segments do not match their check")
            self._summaries = {
                segment.number: numbers[place * width : (place + 1) * width].reshape(-1, 3)
                for place, segment in enumerate(self._segments)
            }
        return self._summaries

    def summary(self, segment: Segment, column: str) -> Summary:
        """Return the summary of one column of one segment."""
        low, high, missing = self._all_summaries()[segment.number][self._places[column]].tolist()
        if not 0 <= missing <= segment.size:
            raise self.attributes.corrupt(f"segment {segment.number} miscounts its missing values")
        return Summary(low, high, int(missing))

    def write_lists(self, *, summaries: bool = True) -> None:
        """Write the list of segments, and their summaries too unless only removed rows changed."""
        if summaries or self._summaries_check is None:
            numbers = self._write_summaries()
            self._summaries_check = check_of(numbers)
        room = _LEAST_ROOM
        while room <= len(self._segments):
            room *= 2
        fields = np.zeros((room, _FIELDS), np.int64)
        for place, segment in enumerate(self._segments):
            fields[place] = segment.number, segment.size, segment.dead, segment.first, segment.last
        used = len(self._segments)
        fields[used] = check_of(fields[:used]), 0, self._summaries_check, 0, 1
        self.attributes.write(INDEX_SEGMENTS, fields.reshape(-1))

    def _write_summaries(self) -> Array:
        known = self._all_summaries()
        numbers = np.concatenate(
            [known[segment.number].reshape(-1) for segment in self._segments] or [np.zeros(0)]
        )
        if self.kinds:
            least = LARGE_BYTES // 8
            while least < numbers.size:
                least *= 2
            self.attributes.write(INDEX_SUMMARIES, np.concatenate([numbers, np.zeros(least - numbers.size)]))
        return numbers

    def add(self, rows: RowSet, number: int) -> None:
        """Write rows as a new segment, merged with others where that keeps the segments few.

        The lists are not written.
        """
        summaries = self._all_summaries()
        merging: list[Segment] = []
        total = rows.size
        while (level := self._shape.level(total)) < self._shape.levels:
            peers = [s for s in self._segments if self._shape.level(s.live_count) == level]
            if len(peers) < self._shape.fan - 1:
                break
            merging += peers
            total += sum(segment.live_count for segment in peers)
            self._segments = [s for s in self._segments if s not in peers]
        result = merged([*merging, rows])
        sequences = result.sequences()
        segment = Segment(self, number, result.size, 0, int(sequences[0]), int(sequences[-1]))
        # What is made now still needs the old segments; what is deleted first makes room for the new one.
        columns = {column: result.values(column).summary() for column in self.kinds}
        for old in merging:
            old.delete()
            del summaries[old.number]
        segment.write(result)
        summaries[number] = np.array([(s.low, s.high, s.missing) for s in columns.values()]).reshape(-1, 3)
        self._segments.append(segment)

    def drop(self, segment: Segment) -> None:
        """Remove a segment; the lists are not written."""
        del self._all_summaries()[segment.number]
        self._segments.remove(segment)
        segment.delete()

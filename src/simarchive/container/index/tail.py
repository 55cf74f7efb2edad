"""The tail of a table: its newest rows and its counters, one text attribute written in place.

The text is lines of JSON. The first is ``[next sequence, next number, check]``; each other one is a row: its
sequence number, its key, and its values in the order of the columns. A category is a code where the
vocabulary has the text already, else the text itself. Infinities are the texts ``inf`` and ``-inf``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simarchive.container.index.attributes import LARGE_BYTES, Attributes, check_of
from simarchive.container.index.columns import (
    CategoryValues,
    ColumnValues,
    IdentifierValues,
    IntegerValues,
    RealValues,
    checked_value,
)
from simarchive.container.index.rowsets import MemoryRows
from simarchive.container.index.texts import TextArray
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.container.layout import INDEX_TAIL
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.conditions import Column, ColumnKind, Value

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_HEADER_ROOM = 56
_INFINITIES = (math.inf, -math.inf)


def tail_capacity(columns: Sequence[Column]) -> int:
    """Return the bytes of a new tail: room for about 32 rows."""
    return max(LARGE_BYTES, 32 * (50 + 9 * len(columns)))


@dataclass(slots=True)
class TailRow:
    """One row of the tail: a category is a code where it has one, else its text."""

    sequence: int
    values: list[Any]
    line: bytes


class Tail:
    """The newest rows of a table, in memory and in the file."""

    def __init__(
        self, attributes: Attributes, columns: Sequence[Column], vocabularies: Mapping[str, Vocabulary]
    ) -> None:
        self._attributes = attributes
        self._columns = columns
        self._places = {column.name: place for place, column in enumerate(columns)}
        self._vocabularies = vocabularies
        self._categories = [(self._places[column], vocabulary) for column, vocabulary in vocabularies.items()]
        self._rows: dict[str, TailRow] = {}
        self._bytes = 0
        self._view: MemoryRows | None = None
        self.next_sequence = 0
        self.next_number = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def create(self, size: int) -> None:
        """Write an empty tail with room for `size` bytes."""
        self._text = self._attributes.create_text(INDEX_TAIL, self._content(), size)

    def load(self) -> None:
        """Read the tail.

        Raises
        ------
        CorruptError
            If it is not what `write` writes.
        """
        self._text = self._attributes.text(INDEX_TAIL)
        try:
            header, _, rest = self._text.read().partition(b"\n")
            lines = rest.split(b"\n") if rest else []
            self._read_header(header, rest)
            for line in lines:
                self._read_row(line)
        except (InvalidDataError, *UNREADABLE) as error:
            raise self._corrupt(f"its newest rows cannot be read ({error})") from error
        if len(self._rows) != len(lines):
            raise self._corrupt("a key occurs twice in its newest rows")
        self._bytes = sum(len(line) + 1 for line in lines)

    def _read_header(self, header: bytes, rest: bytes) -> None:
        numbers = json.loads(header)
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise TypeError("its counters are not numbers")
        self.next_sequence, self.next_number, *checks = numbers
        # Tails of early versions have no check.
        if checks and checks != [self._check(rest)]:
            raise ValueError("they do not match their check")

    def _check(self, rest: bytes) -> int:
        return check_of(rest, check_of(b"%d,%d" % (self.next_sequence, self.next_number)))

    def _corrupt(self, what: str) -> CorruptError:
        return self._attributes.corrupt(what)

    def _read_row(self, line: bytes) -> None:
        sequence, key, *values = json.loads(line)
        if not isinstance(key, str) or not 0 <= int(sequence) < self.next_sequence:
            raise ValueError("a row has a wrong key or sequence number")
        self._rows[key] = TailRow(int(sequence), self._read_values(values), line)

    def _read_values(self, values: list[Any]) -> list[Any]:
        found: list[Any] = []
        for column, value in zip(self._columns, values, strict=True):
            if column.kind is ColumnKind.CATEGORY and isinstance(value, int):
                if not 0 <= value < self._vocabularies[column.name].stored:
                    raise ValueError(f"column {column.name!r} has no text {value}")
                found.append(value)
            elif column.kind is ColumnKind.REAL and isinstance(value, str):
                found.append(float(value))
            else:
                found.append(checked_value(column, value))
        return found

    def _line(self, sequence: int, key: str, values: Sequence[Value]) -> TailRow:
        raw: list[Any] = list(values)
        for place, vocabulary in self._categories:
            if raw[place] is not None:
                code = vocabulary.code(raw[place])
                if code is not None and code < vocabulary.stored:
                    raw[place] = code
        shown = [str(value) if value in _INFINITIES else value for value in raw]
        return TailRow(sequence, raw, _encode([sequence, key, *shown]).encode())

    def put(self, sequence: int, key: str, values: Sequence[Value]) -> None:
        """Add or replace a row, whose values are checked already; the file is not written."""
        row = self._line(sequence, key, values)
        old = self._rows.get(key)
        self._rows[key] = row
        self._bytes += len(row.line) + 1 - (len(old.line) + 1 if old else 0)
        self._view = None

    def discard(self, key: str) -> None:
        """Remove a row; the file is not written."""
        row = self._rows.pop(key)
        self._bytes -= len(row.line) + 1
        self._view = None

    @property
    def fits(self) -> bool:
        """Whether there is room in the file for all rows."""
        return self._bytes + _HEADER_ROOM <= self._text.size

    def clear(self) -> None:
        """Remove all rows; the file is not written."""
        self._rows.clear()
        self._bytes = 0
        self._view = None

    def write(self) -> None:
        """Write the tail in place; it must fit."""
        self._text.write(self._content())

    def _content(self) -> bytes:
        rest = b"\n".join([row.line for row in self._rows.values()])
        header = b"[%d,%d,%d]" % (self.next_sequence, self.next_number, self._check(rest))
        return header + b"\n" + rest if rest else header

    def sequence(self, key: str) -> int:
        """Return the sequence number of a row."""
        return self._rows[key].sequence

    def row(self, key: str) -> dict[str, Value]:
        """Return the values of a row."""
        return self._decoded(self._rows[key].values)

    def _decoded(self, values: Sequence[Any]) -> dict[str, Value]:
        return {
            column.name: self._vocabularies[column.name].text(value)
            if column.kind is ColumnKind.CATEGORY and isinstance(value, int)
            else value
            for column, value in zip(self._columns, values, strict=True)
        }

    def view(self) -> MemoryRows:
        """Return the rows as a query looks at them; what the last view added to vocabularies is forgotten."""
        if self._view is None:
            self.forget_view()
            rows = list(self._rows.values())
            sequences = np.array([row.sequence for row in rows], np.int64)
            self._view = MemoryRows(sequences, TextArray.of(list(self._rows)), self._make)
        return self._view

    def forget_view(self) -> None:
        """Forget what `view` gave, and what it added to the vocabularies."""
        self._view = None
        for vocabulary in self._vocabularies.values():
            vocabulary.forget_pending()

    def _make(self, name: str) -> ColumnValues:
        place = self._places[name]
        return column_values(
            self._columns[place], [row.values[place] for row in self._rows.values()], self._vocabularies
        )


def column_values(
    column: Column, values: Sequence[Any], vocabularies: Mapping[str, Vocabulary]
) -> ColumnValues:
    """Return checked values of one column in compact form; new texts enter its vocabulary."""
    if column.kind is ColumnKind.INTEGER:
        return IntegerValues.of(values)
    if column.kind is ColumnKind.REAL:
        return RealValues.of(values)
    if column.kind is ColumnKind.IDENTIFIER:
        return IdentifierValues.of(values)
    vocabulary = vocabularies[column.name]
    known: dict[Any, int] = {None: -1}
    for value in set(values) - {None}:
        known[value] = value if isinstance(value, int) else vocabulary.code_or_new(value)
    return CategoryValues.of([known[value] for value in values])

"""Index tables: typed columns of many objects in the attributes of one HDF5 group, found in milliseconds.

A table is an accelerator: what it holds follows from the objects, and it can be rebuilt from them at any
time. Rows are added to a small tail that is written in place; a full tail is sealed into a segment, and eight
segments of one size are merged into one, so that the cost of a change does not grow with the table. A query
reads only the columns it needs, of only those segments that may hold a match.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import h5py
import numpy as np

from simarchive.container.index.absence import AbsenceFilter
from simarchive.container.index.attributes import Array, Attributes, check_of
from simarchive.container.index.columns import checked_value, checked_values
from simarchive.container.index.matching import ConditionReport, Matching
from simarchive.container.index.rows import TableRows
from simarchive.container.index.segments import KEY_BYTES, Shape
from simarchive.container.index.selection import Selection
from simarchive.container.index.vocabulary import Vocabulary
from simarchive.container.layout import INDEX_FORMAT, INDEX_KEY, INDEX_TABLE
from simarchive.errors import ConflictError, FormatError, InvalidDataError, StorageError
from simarchive.ground import json_text
from simarchive.ground.conditions import Column, ColumnKind, Condition, Value, is_missing
from simarchive.ground.keys import are_keys, is_key

KEY_COLUMN = INDEX_KEY
"""The name under which `IndexTable.columns` gives the keys."""

Pieces = Mapping[str, list[tuple[int, int]]]
"""Number and size of each piece of the vocabularies, by column."""


_CHECK = b', "check": '


class IndexTable:
    """One index table, for as long as its HDF5 handle lives and nobody else writes to the file.

    After a roll back, an error during a change, or a commit of another process, drop the object and open a
    new one. Changes belong to the transaction of the HDF5 file that the group is in; `flush` before its end.
    """

    def __init__(
        self,
        attributes: Attributes,
        columns: Sequence[Column],
        pieces: Pieces,
        shape: Shape,
        class_version: int | None = None,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        self._attributes = attributes
        self._columns = {column.name: column for column in columns}
        self._shape = shape
        self._class_version = class_version
        self._left_out = left_out
        self._vocabularies = {
            column.name: Vocabulary(attributes, pieces.get(column.name, []))
            for column in columns
            if column.kind is ColumnKind.CATEGORY
        }
        absence = AbsenceFilter()
        self._rows = TableRows(
            attributes, self._columns, self._vocabularies, shape, absence, self._write_description
        )
        self._matching = Matching(self._columns, self._vocabularies, self._rows, absence)

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
        table._rows.create()
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
        with attributes.making_sense():
            table = cls(attributes, columns, pieces, shape, class_version, left_out)
            table._rows.load()
        return table

    @property
    def columns_spec(self) -> tuple[Column, ...]:
        """The columns with which the table was created, in their order."""
        return tuple(self._columns.values())

    @property
    def class_version(self) -> int | None:
        """The version of the data class by which the rows were made; ``None`` if it was not noted."""
        return self._class_version

    @property
    def left_out(self) -> frozenset[str]:
        """The keys of objects without a row: the program that made the table did not understand them."""
        return self._left_out

    def note_origin(self, class_version: int | None, left_out: Iterable[str] = ()) -> None:
        """Note by which version of the data class the rows are made, and which objects have none."""
        self._class_version, self._left_out = class_version, frozenset(left_out)
        self._write_description()

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
        text = json.dumps(description).encode()
        self._attributes.write_text(INDEX_TABLE, b"%b%b%d}" % (text[:-1], _CHECK, check_of(text)))

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
        with self._attributes.making_sense():
            self._rows.append(key, row)

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
        with self._attributes.making_sense():
            self._rows.replace(key, row)

    def remove(self, key: str) -> None:
        """Remove the row of `key`.

        Raises
        ------
        NotFoundError
            If the table has no row of this key.
        """
        with self._attributes.making_sense():
            self._rows.remove(key)

    def flush(self) -> None:
        """Write what is in memory only; to be called before the file is flushed, closed or read by others."""
        with self._attributes.making_sense():
            self._rows.flush()

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
        with self._attributes.making_sense():
            self._rows.append_batch(keys, columns)

    # --- one row -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        with self._attributes.making_sense():
            return key in self._rows

    def row(self, key: str) -> dict[str, Value]:
        """Return the values of one row.

        Raises
        ------
        NotFoundError
            If the table has no row of this key.
        """
        with self._attributes.making_sense():
            return self._rows.row(key)

    # --- queries -----------------------------------------------------------------------------

    def _selection(
        self, conditions: Sequence[Condition], order_by: str | None, limit: int | None
    ) -> Selection:
        if limit is not None and limit < 0:
            raise InvalidDataError(f"a limit must not be negative, as {limit} is")
        selection = Selection(self._matching.rows(conditions), self._vocabularies)
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
        with self._attributes.making_sense():
            return self._selection(conditions, order_by, limit).keys()

    def object_keys(
        self, conditions: Sequence[Condition] = (), *, order_by: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return what `select` does, of a table whose keys are those of objects.

        Raises
        ------
        InvalidDataError
            As `select`.
        CorruptError
            If one of them can be the key of no object.
        """
        with self._attributes.making_sense():
            selection = self._selection(conditions, order_by, limit)
            keys = selection.keys()
        return keys if selection.has_plain_keys else self.checked_keys(keys)

    def checked_keys(self, keys: list[str]) -> list[str]:
        """Return keys of the table if all can be keys of objects; errors as for `object_keys`."""
        if not are_keys(keys):
            name = next(key for key in keys if not is_key(key))
            raise self._attributes.corrupt(f"it has {name!r}, which is not a key")
        return keys

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
        with self._attributes.making_sense():
            self._rows.check()
            if not all(vocabulary.is_sound() for vocabulary in self._vocabularies.values()):
                raise self._attributes.corrupt(
                    "a vocabulary has a text twice, or with the word of another one"
                )

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
        with self._attributes.making_sense():
            return sum(rows.size for _, rows in self._matching.rows(conditions))

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
        with self._attributes.making_sense():
            selection = self._selection(conditions, order_by, limit)
            if not len(selection):
                return {name: self._nothing(name) for name in names}
            return {
                name: selection.keys() if name == KEY_COLUMN else selection.values(name) for name in names
            }

    def _nothing(self, name: str) -> Array | list[Any]:
        kind = None if name == KEY_COLUMN else self._columns[name].kind
        if kind is ColumnKind.REAL:
            return np.zeros(0)
        return np.zeros(0, np.int64) if kind is ColumnKind.INTEGER else []

    def explain(self, conditions: Sequence[Condition]) -> tuple[ConditionReport, ...]:
        """Return what the index does for each condition, in the order in which they are tried."""
        with self._attributes.making_sense():
            return self._matching.explain(conditions)


def _plain(values: Array | list[Any]) -> list[Value]:
    if isinstance(values, list):
        return values
    return [None if is_missing(value) else value for value in values.tolist()]


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InvalidDataError(f"the key of an index row must be a text that is not empty, not {key!r}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"key {key!r} is not valid Unicode") from error


def _checked_text(attributes: Attributes) -> bytes:
    """Return the text of a description without its check, which those of early versions do not have."""
    found = attributes.read_text(INDEX_TABLE)
    text, has_check, check = found.rpartition(_CHECK)
    if not has_check:
        return found
    if check != b"%d}" % check_of(text + b"}"):
        raise attributes.corrupt("its description does not match its check")
    return text + b"}"


def _read_description(
    attributes: Attributes,
) -> tuple[tuple[Column, ...], dict[str, list[tuple[int, int]]], int | None, frozenset[str]]:
    """Return the columns of a table, the pieces of their vocabularies, class version and keys left out."""
    try:
        description = json_text.parse(_checked_text(attributes))
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
    except StorageError:
        raise
    except json_text.NOT_PARSED as error:
        raise attributes.corrupt(f"its description cannot be read ({error})") from error
    if any(number < 0 or size < 1 for pieces in vocabularies.values() for number, size in pieces):
        raise attributes.corrupt("a vocabulary has an empty piece")
    sizes = [size for pieces in vocabularies.values() for _, size in pieces]
    attributes.check_room("texts", sum(sizes), KEY_BYTES)
    return columns, vocabularies, class_version, left_out

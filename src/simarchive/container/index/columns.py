"""The values of one column of one segment, as compact numpy arrays, for each kind of column."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from simarchive.container.index.attributes import Array, Attributes
from simarchive.container.index.texts import WORD, TextArray, fingerprint_of
from simarchive.container.layout import INDEX_MISSING_SUFFIX
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Column, ColumnKind, Value

_INTEGER_TYPES = [np.dtype(name) for name in ("i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8")]
_TEXT_KINDS = (ColumnKind.CATEGORY, ColumnKind.IDENTIFIER)
_INT64 = np.iinfo(np.int64)
_INT64_MIN, _INT64_MAX = int(_INT64.min), int(_INT64.max)
_64_BITS = (1 << 64) - 1


def narrowest_type(low: int, high: int) -> np.dtype[Any]:
    """Return the narrowest integer type that holds `low` to `high`."""
    for kind in _INTEGER_TYPES:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return kind
    raise OverflowError(f"{low} to {high} do not fit in 64 bits")


def checked_value(column: Column, value: object) -> Value:
    """Return `value` as the plain Python value that the column keeps; NaN becomes ``None``, missing.

    Raises
    ------
    InvalidDataError
        If the value is of another type than the column, or out of its range.
    """
    if value is None:
        return None
    kind = type(value)
    if kind is float and column.kind is ColumnKind.REAL:
        return None if value != value else value  # type: ignore[return-value]
    if kind is str and column.kind in _TEXT_KINDS and value.isascii():  # type: ignore[attr-defined]
        return value  # type: ignore[return-value]
    try:
        if column.kind is ColumnKind.INTEGER:
            integer = int(operator.index(value))  # type: ignore[arg-type]
            if _INT64.min <= integer <= _INT64.max:
                return integer
        elif column.kind is ColumnKind.REAL and not isinstance(value, (str, bytes)):
            number = float(value)  # type: ignore[arg-type]
            return None if math.isnan(number) else number
        elif column.kind in _TEXT_KINDS and isinstance(value, str):
            text = str.__str__(value)
            text.encode()
            return text
    except (TypeError, ValueError, OverflowError) as error:
        raise _unfit(column, value) from error
    raise _unfit(column, value)


def checked_values(column: Column, values: Sequence[object]) -> Sequence[Any]:
    """Return `checked_value` of each value, but NaN may stay; fast for values that are plain already."""
    plain: type = {ColumnKind.INTEGER: int, ColumnKind.REAL: float}.get(column.kind, str)
    if set(map(type, values)) <= {plain, type(None)} and (plain is float or _in_range(values)):
        return values
    return [checked_value(column, value) for value in values]


def _in_range(values: Sequence[Any]) -> bool:
    present = {value for value in values if value is not None}
    if not present:
        return True
    if isinstance(next(iter(present)), int):
        return bool(_INT64.min <= min(present) and max(present) <= _INT64.max)
    try:
        "".join(present).encode()
    except UnicodeEncodeError:
        return False
    return True


def _unfit(column: Column, value: object) -> InvalidDataError:
    what = {
        ColumnKind.INTEGER: "integers of 64 bits",
        ColumnKind.REAL: "real numbers",
        ColumnKind.CATEGORY: "texts of valid Unicode",
        ColumnKind.IDENTIFIER: "texts of valid Unicode",
    }[column.kind]
    shown = repr(value)
    return InvalidDataError(f"index column {column.name!r} takes {what}, not {shown[:80]}")


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a segment's column without reading it.

    `low` and `high` bound the numbers or codes (rounded outward), and mean nothing for identifiers.
    """

    low: float
    high: float
    missing: int


class ColumnValues(ABC):
    """The values of one column of one segment; an array for each row."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of rows."""

    @abstractmethod
    def take(self, rows: Array) -> Self:
        """Return the values of `rows`."""

    @classmethod
    @abstractmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the values of several segments as one."""

    @abstractmethod
    def missing_mask(self) -> Array | None:
        """Return which rows are missing a value; ``None`` if none is."""

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest number or code, rounded outward; infinities if there is none."""

    def fingerprints(self) -> Array:
        """Return the fingerprints (see `absence`) of at least all values; integers and identifiers only."""
        raise NotImplementedError

    @abstractmethod
    def write(self, attributes: Attributes, name: str) -> None:
        """Write the values to new attributes."""

    def summary(self) -> Summary:
        """Return what a query wants to know before it reads the values."""
        missing = self.missing_mask()
        low, high = self.bounds()
        return Summary(low, high, 0 if missing is None else int(np.count_nonzero(missing)))


@dataclass(frozen=True, slots=True, eq=False)
class IntegerValues(ColumnValues):
    """Integers of the narrowest type that holds them, and which are missing (with any number instead)."""

    values: Array
    missing: Array | None

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.values.size

    @classmethod
    def of(cls, values: Sequence[int | None]) -> IntegerValues:
        """Return checked values in compact form."""
        if None not in values:
            return cls._narrow(np.array(values, np.int64), None)
        missing = np.array([value is None for value in values])
        fill = next((value for value in values if value is not None), 0)
        filled = np.array([fill if value is None else value for value in values], np.int64)
        return cls._narrow(filled, missing)

    @classmethod
    def _narrow(cls, values: Array, missing: Array | None) -> IntegerValues:
        kind = narrowest_type(int(values.min()), int(values.max())) if values.size else _INTEGER_TYPES[0]
        return cls(values.astype(kind), missing)

    def take(self, rows: Array) -> IntegerValues:
        """Return the values of `rows`."""
        missing = None if self.missing is None else self.missing[rows]
        return self._narrow(self.values[rows], missing if missing is not None and missing.any() else None)

    @classmethod
    def join(cls, parts: Sequence[IntegerValues]) -> IntegerValues:
        """Return the values of several segments as one."""
        values = np.concatenate([part.values.astype(np.int64) for part in parts])
        if all(part.missing is None for part in parts):
            return cls._narrow(values, None)
        masks = [np.zeros(part.values.size, bool) if part.missing is None else part.missing for part in parts]
        return cls._narrow(values, np.concatenate(masks))

    def missing_mask(self) -> Array | None:
        """Return which rows are missing a value; ``None`` if none is."""
        return self.missing

    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest number or code, rounded outward."""
        values = self.values if self.missing is None else self.values[~self.missing]
        if not values.size:
            return math.inf, -math.inf
        return rounded_down(int(values.min())), rounded_up(int(values.max()))

    def fingerprints(self) -> Array:
        """Return the numbers, as unsigned ones of 64 bits."""
        return self.values.astype(np.int64).view(WORD)

    def write(self, attributes: Attributes, name: str) -> None:
        """Write the values to new attributes."""
        attributes.create(name, self.values)
        if self.missing is not None:
            attributes.create(name + INDEX_MISSING_SUFFIX, np.packbits(self.missing))


@dataclass(frozen=True, slots=True, eq=False)
class RealValues(ColumnValues):
    """Floats of 64 bits; NaN is missing."""

    values: Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.values.size

    @classmethod
    def of(cls, values: Sequence[float | None]) -> RealValues:
        """Return checked values in compact form."""
        return cls(np.array([math.nan if value is None else value for value in values], "<f8"))

    def take(self, rows: Array) -> RealValues:
        """Return the values of `rows`."""
        return RealValues(self.values[rows])

    @classmethod
    def join(cls, parts: Sequence[RealValues]) -> RealValues:
        """Return the values of several segments as one."""
        return cls(np.concatenate([part.values for part in parts]))

    def missing_mask(self) -> Array | None:
        """Return which rows are missing a value; ``None`` if none is."""
        mask: Array = np.isnan(self.values)
        return mask if mask.any() else None

    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest number or code, rounded outward."""
        low, high = np.fmin.reduce(self.values), np.fmax.reduce(self.values)
        return (math.inf, -math.inf) if np.isnan(low) else (float(low), float(high))

    def write(self, attributes: Attributes, name: str) -> None:
        """Write the values to new attributes."""
        attributes.create(name, self.values)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryValues(ColumnValues):
    """Codes of texts in the vocabulary of the column; -1 is missing."""

    codes: Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.codes.size

    @classmethod
    def of(cls, codes: Sequence[int] | Array) -> CategoryValues:
        """Return the codes in compact form; signed, so that -1 always fits."""
        array = np.asarray(codes, np.int64)
        high = int(array.max()) if array.size else 0
        return cls(array.astype(np.min_scalar_type(-max(high, 1) - 1)))

    def take(self, rows: Array) -> CategoryValues:
        """Return the values of `rows`."""
        return self.of(self.codes[rows])

    @classmethod
    def join(cls, parts: Sequence[CategoryValues]) -> CategoryValues:
        """Return the values of several segments as one."""
        return cls.of(np.concatenate([part.codes.astype(np.int64) for part in parts]))

    def missing_mask(self) -> Array | None:
        """Return which rows are missing a value; ``None`` if none is."""
        mask: Array = self.codes < 0
        return mask if mask.any() else None

    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest number or code, rounded outward."""
        codes = self.codes[self.codes >= 0]
        return (float(codes.min()), float(codes.max())) if codes.size else (math.inf, -math.inf)

    def write(self, attributes: Attributes, name: str) -> None:
        """Write the values to new attributes."""
        attributes.create(name, self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class IdentifierValues(ColumnValues):
    """Texts, and which are missing (their place holds any text)."""

    texts: TextArray
    missing: Array | None

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.texts)

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> IdentifierValues:
        """Return checked values in compact form."""
        if None not in texts:
            return cls(TextArray.of(texts), None)  # type: ignore[arg-type]
        return cls(TextArray.of_optional(texts), np.array([text is None for text in texts]))

    def take(self, rows: Array) -> IdentifierValues:
        """Return the values of `rows`."""
        missing = None if self.missing is None else self.missing[rows]
        return IdentifierValues(
            self.texts.take(rows), missing if missing is not None and missing.any() else None
        )

    @classmethod
    def join(cls, parts: Sequence[IdentifierValues]) -> IdentifierValues:
        """Return the values of several segments as one."""
        texts = TextArray.join([part.texts for part in parts])
        if all(part.missing is None for part in parts):
            return cls(texts, None)
        return cls(
            texts,
            np.concatenate(
                [np.zeros(len(part.texts), bool) if part.missing is None else part.missing for part in parts]
            ),
        )

    def missing_mask(self) -> Array | None:
        """Return which rows are missing a value; ``None`` if none is."""
        return self.missing

    def bounds(self) -> tuple[float, float]:
        """Return the lowest and the highest number or code, rounded outward."""
        return -math.inf, math.inf

    def fingerprints(self) -> Array:
        """Return the fingerprints of the texts."""
        return self.texts.fingerprints()

    def write(self, attributes: Attributes, name: str) -> None:
        """Write the values to new attributes."""
        self.texts.write(attributes, name)
        if self.missing is not None:
            attributes.create(name + INDEX_MISSING_SUFFIX, np.packbits(self.missing))


def fingerprint_of_value(column: Column, value: Value) -> int | None:
    """Return the fingerprint of a value that a column of integers or identifiers can have, else ``None``."""
    if column.kind is ColumnKind.INTEGER and isinstance(value, int):
        return value & _64_BITS if _INT64_MIN <= value <= _INT64_MAX else None
    if column.kind is ColumnKind.IDENTIFIER and isinstance(value, str):
        try:
            return fingerprint_of(value)
        except UnicodeEncodeError:
            return None
    return None


def read_values(attributes: Attributes, name: str, kind: ColumnKind, rows: int, missing: int) -> ColumnValues:
    """Return the values of one column of a segment of `rows` rows, of which `missing` are missing.

    Raises
    ------
    CorruptError
        If an attribute is not there, or has another size or type.
    """
    if kind is ColumnKind.IDENTIFIER:
        return IdentifierValues(
            TextArray.read(attributes, name, rows), _read_mask(attributes, name, rows, missing)
        )
    values = attributes.read_sealed(name, rows)
    expected = {ColumnKind.INTEGER: "iu", ColumnKind.REAL: "f", ColumnKind.CATEGORY: "i"}[kind]
    if values.dtype.kind not in expected or values.dtype == np.uint64:
        raise attributes.corrupt(f"attribute {name!r} is of type {values.dtype}")
    if kind is ColumnKind.REAL:
        return RealValues(values)
    if kind is ColumnKind.CATEGORY:
        return CategoryValues(values)
    return IntegerValues(values, _read_mask(attributes, name, rows, missing))


def read_bits(attributes: Attributes, name: str, rows: int, *, is_sealed: bool = True) -> Array:
    """Return `rows` bits as booleans."""
    read = attributes.read_sealed if is_sealed else attributes.read
    packed = read(name, (rows + 7) // 8)
    if packed.dtype != np.uint8:
        raise attributes.corrupt(f"attribute {name!r} is of type {packed.dtype}")
    return np.unpackbits(packed, count=rows).astype(bool)


def _read_mask(attributes: Attributes, name: str, rows: int, missing: int) -> Array | None:
    return read_bits(attributes, name + INDEX_MISSING_SUFFIX, rows) if missing else None


def rounded_down(number: float) -> float:
    """Return the largest float that is not above `number`, which may be an integer of any size."""
    try:
        nearest = float(number)
    except OverflowError:
        return math.nextafter(math.inf, 0.0) if number > 0 else -math.inf
    return nearest if nearest <= number else math.nextafter(nearest, -math.inf)


def rounded_up(number: float) -> float:
    """Return the smallest float that is not below `number`, which may be an integer of any size."""
    return -rounded_down(-number)

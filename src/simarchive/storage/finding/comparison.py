"""Where two stores differ: objects, and of each its state, frames, observables, other fields and files.

Objects that have the same identity digest and the same digests of their files are equal, and are not read. Of
the others both documents are read and compared value by value, which is where tolerances count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from simarchive.chemistry.units import unit_named
from simarchive.errors import CorruptError, FormatError, InvalidDataError, StorageError
from simarchive.ground.arrays import is_array
from simarchive.ground.texts import count_text
from simarchive.storage.backend import StorageBackend
from simarchive.storage.display.documents import short_text
from simarchive.storage.display.wording import phase_text, unit_text
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.incoming import Incoming

STATE, SUBSTANCE, FRAMES, OBSERVABLE, FIELD, FILE, CLASS = (
    "state",
    "substance",
    "frames",
    "observable",
    "field",
    "file",
    "class",
)
_KIND_OF_FIELD = {
    "thermodynamic_state": STATE,
    "temperature": STATE,
    "pressure": STATE,
    "property_phase": STATE,
    "substance": SUBSTANCE,
    "n_frames": FRAMES,
}
_OBSERVABLES = "observables"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in which two objects differ."""

    kind: str  #: ``state``, ``substance``, ``frames``, ``observable``, ``field``, ``file`` or ``class``
    name: str  #: of the field, observable or file
    message: str  #: what it is in the first and in the second

    def __str__(self) -> str:
        name = "" if self.kind in (self.name, FRAMES) else f" {self.name}"
        return f"{self.kind}{name}: {self.message}"


@dataclass(slots=True)
class Comparison:
    """Where two stores differ, by key."""

    only_in_first: list[str] = field(default_factory=list)
    only_in_second: list[str] = field(default_factory=list)
    other_key: dict[str, str] = field(default_factory=dict)  #: key in the first -> key in the second
    changed: dict[str, list[Change]] = field(default_factory=dict)
    n_equal: int = 0  #: objects with the same document and the same files
    n_close: int = 0  #: objects whose values differ within the tolerances only
    unreadable: dict[str, str] = field(default_factory=dict)  #: that were not compared, and why

    @property
    def none(self) -> bool:
        """Whether both hold the same under the same keys."""
        return not (self.only_in_first or self.only_in_second or self.other_key or self.changed)

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {"equal": self.none, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may be apart and still count as equal: ``atol + rtol * |second|``, as in numpy."""

    rtol: float = 0.0
    atol: float = 0.0  #: in the unit of the first value

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidDataError(f"{name} must be a number of at least 0, not {value}")

    def are_close(self, first: Any, second: Any) -> np.ndarray[Any, Any]:
        """Return for each pair of numbers whether they count as equal; two NaN do."""
        with np.errstate(invalid="ignore", over="ignore"):
            close = np.abs(first - second) <= self.atol + self.rtol * np.abs(second)
        both_nan = (first != first) & (second != second)
        return np.asarray((first == second) | close | both_nan)


def compare(
    first: StorageBackend,
    second: StorageBackend,
    *,
    keys: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    tolerance: Tolerance | None = None,
    progress: Callable[[object], None] | None = None,
) -> Comparison:
    """Return where two stores differ; either may be a container or a directory of OpenFF Evaluator.

    Parameters
    ----------
    keys
        The objects of each that are compared; all by default.
    tolerance
        How far numbers of documents may be apart; not at all by default.
    progress
        Called with the key of each object that was looked at.
    """
    found = Comparison()
    sides = [_Side(store, only, found, progress) for store, only in zip((first, second), keys, strict=True)]
    mine, theirs = (side.contents() for side in sides)
    elsewhere: dict[_Content, list[str]] = {}
    for key, content in theirs.items():
        if key not in mine:
            elsewhere.setdefault(content, []).append(key)
    for key, content in mine.items():
        if key in theirs:
            _compare_object(key, content, theirs[key], sides, tolerance or Tolerance(), found)
        elif key in found.unreadable:
            continue
        elif elsewhere.get(content):
            found.other_key[key] = elsewhere[content].pop(0)
        else:
            found.only_in_first.append(key)
    taken = {*mine, *found.other_key.values(), *found.unreadable}
    found.only_in_second = [key for key in theirs if key not in taken]
    return found


@dataclass(frozen=True, slots=True)
class _Content:
    """What decides whether two objects are equal."""

    data_class: str
    identity: str
    files: tuple[tuple[str, str], ...]  #: name and digest; empty folders have an empty one


class _Side:
    """One of two stores."""

    def __init__(
        self,
        store: StorageBackend,
        only: Sequence[str] | None,
        found: Comparison,
        progress: Callable[[object], None] | None,
    ) -> None:
        self._store = store
        self._only = only
        self._found = found
        self._progress = progress

    def contents(self) -> dict[str, _Content]:
        """Return the content of each object that can be read; of the others, it is noted why not."""
        contents = {}
        for key in self._store.keys() if self._only is None else self._only:
            try:
                data_class, identity = self._identity(key)
                contents[key] = _Content(
                    data_class, identity, tuple(sorted(self._store.file_digests(key).items()))
                )
            except StorageError as error:
                self._found.unreadable[key] = str(error)
            if self._progress is not None:
                self._progress(key)
        return contents

    def _identity(self, key: str) -> tuple[str, str]:
        if isinstance(self._store, HDF5Storage):
            header = self._store.header(key)
            return header.data_class, header.identity
        incoming = Incoming(self._store.load(key))
        return incoming.class_name, incoming.identity

    def document(self, key: str) -> dict[str, Any]:
        """Return the document of an object as a tree; arrays may not be loaded."""
        if isinstance(self._store, HDF5Storage):
            tree: dict[str, Any] = self._store.retrieve_document(key)[2]
            return tree
        return Incoming(self._store.load(key)).document


def _compare_object(
    key: str,
    content: _Content,
    other: _Content,
    sides: Sequence[_Side],
    tolerance: Tolerance,
    found: Comparison,
) -> None:
    if content == other:
        found.n_equal += 1
        return
    try:
        changes = list(_changes(key, content, other, sides, tolerance))
    except (CorruptError, FormatError, InvalidDataError) as error:
        found.unreadable[key] = str(error)
        return
    if changes:
        found.changed[key] = changes
    else:
        found.n_close += 1


def _changes(
    key: str, content: _Content, other: _Content, sides: Sequence[_Side], tolerance: Tolerance
) -> Iterator[Change]:
    if content.data_class != other.data_class:
        yield Change(CLASS, CLASS, f"{content.data_class} against {other.data_class}")
    elif content.identity != other.identity:
        trees = [side.document(key) for side in sides]
        changes = list(document_changes(trees[0], trees[1], tolerance))
        yield from changes
    mine, theirs = dict(content.files), dict(other.files)
    for name in sorted({*mine, *theirs}):
        if mine.get(name) != theirs.get(name):
            message = "only in the first" if name not in theirs else "only in the second"
            yield Change(FILE, name, "its bytes differ" if name in mine and name in theirs else message)


def document_changes(
    first: dict[str, Any], second: dict[str, Any], tolerance: Tolerance | None = None
) -> Iterator[Change]:
    """Yield in what two documents of one class differ: state, substance, frames, observables, fields."""
    allowed = tolerance or Tolerance()
    for name in dict.fromkeys([*first, *second]):
        mine, theirs = first.get(name), second.get(name)
        if name == _OBSERVABLES and isinstance(mine, dict) and isinstance(theirs, dict):
            yield from _observables(mine, theirs, allowed)
        else:
            kind = _KIND_OF_FIELD.get(name, FIELD)
            message = _difference(mine, theirs, allowed, is_phase=name == "property_phase")
            if message is not None:
                yield Change(kind, name, message)


def _observables(first: dict[str, Any], second: dict[str, Any], tolerance: Tolerance) -> Iterator[Change]:
    lengths = [_n_frames(observables) for observables in (first, second)]
    if None not in lengths and lengths[0] != lengths[1]:
        yield Change(FRAMES, _OBSERVABLES, f"{lengths[0]:,} values against {lengths[1]:,}")
    for name in dict.fromkeys([*first, *second]):
        message = _difference(first.get(name), second.get(name), tolerance)
        if message is not None:
            yield Change(OBSERVABLE, name, message)


def _n_frames(observables: dict[str, Any]) -> int | None:
    """Return how many values the first observable with several has."""
    for observable in observables.values():
        quantity = observable.get("value") if isinstance(observable, dict) else None
        array = quantity.get("value") if isinstance(quantity, dict) else None
        if is_array(array) and array.shape:
            return int(array.shape[0])
    return None


def _difference(first: Any, second: Any, tolerance: Tolerance, *, is_phase: bool = False) -> str | None:
    """Return in words how two values differ; ``None`` if they do not, or not by more than they may."""
    if first is None or second is None:
        if first is second:
            return None
        where = "second" if first is None else "first"
        return f"only in the {where}: {_text(second if first is None else first, is_phase=is_phase)}"
    if _is_quantity(first) and _is_quantity(second):
        return _difference_of_quantities(first, second, tolerance)
    if is_array(first) or is_array(second):
        return _difference_of_arrays(first, second, tolerance, "")
    if isinstance(first, dict) and isinstance(second, dict):
        return _difference_of_mappings(first, second, tolerance)
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return next(
            filter(None, (_difference(*pair, tolerance) for pair in zip(first, second, strict=True))), None
        )
    if _are_numbers(first, second):
        is_equal = bool(tolerance.are_close(np.float64(first), np.float64(second)))
    else:
        is_equal = type(first) is type(second) and first == second
    return (
        None if is_equal else f"{_text(first, is_phase=is_phase)} against {_text(second, is_phase=is_phase)}"
    )


def _difference_of_mappings(
    first: dict[str, Any], second: dict[str, Any], tolerance: Tolerance
) -> str | None:
    for name in dict.fromkeys([*first, *second]):
        message = _difference(first.get(name), second.get(name), tolerance)
        if message is not None:
            texts = [short_text(value) for value in (first, second)]
            # What the whole says in short is more than a part of it.
            if texts[0] != texts[1]:
                return " against ".join(texts)
            return message if name == "value" else f"{name}: {message}"
    return None


def _difference_of_quantities(
    first: dict[str, Any], second: dict[str, Any], tolerance: Tolerance
) -> str | None:
    value = second["value"]
    if first["unit"] != second["unit"]:
        try:
            value = (np.asarray(value) * unit_named(second["unit"])).to(unit_named(first["unit"])).magnitude
        except (InvalidDataError, ValueError, TypeError):
            return f"{short_text(first)} against {short_text(second)}"
    if is_array(first["value"]) or is_array(value):
        return _difference_of_arrays(first["value"], value, tolerance, unit_text(first["unit"]))
    if not _are_numbers(first["value"], value):
        return None if first["value"] == value else f"{short_text(first)} against {short_text(second)}"
    is_equal = bool(tolerance.are_close(np.float64(first["value"]), np.float64(value)))
    return None if is_equal else f"{short_text(first)} against {short_text(second)}"


def _difference_of_arrays(first: Any, second: Any, tolerance: Tolerance, unit: str) -> str | None:
    mine, theirs = np.asarray(first), np.asarray(second)
    if mine.shape != theirs.shape:
        return f"{_shape(mine)} against {_shape(theirs)}"
    if mine.dtype.kind not in "iuf" or theirs.dtype.kind not in "iuf":
        return None if bool(np.array_equal(mine, theirs)) else "its values differ"
    far = ~tolerance.are_close(mine.astype(np.float64), theirs.astype(np.float64))
    n_far = int(far.sum())
    if not n_far:
        return None
    apart = np.abs(mine[far].astype(np.float64) - theirs[far].astype(np.float64))
    largest = float(np.nanmax(apart)) if bool(np.isfinite(apart).any()) else math.nan
    return f"{n_far:,} of {count_text(mine.size, 'value')} differ, by up to {largest:.3g} {unit}".rstrip()


def _shape(array: np.ndarray[Any, Any]) -> str:
    return f"{' x '.join(map(str, array.shape)) or 'one'} values"


def _is_quantity(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"value", "unit"} and isinstance(value["unit"], str)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _text(value: Any, *, is_phase: bool) -> str:
    return phase_text(value) if is_phase else short_text(value)

"""Copying objects from one backend into another: merge, subset, import, export.

Keys stay as they are. Where the target has another object under a key already, the copy gets a new
key and every reference to the old one in the other copied objects is changed with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from simarchive.chemistry import Component, Substance
from simarchive.data import BaseStoredData
from simarchive.errors import CorruptError, FormatError, InvalidDataError, NotFoundError
from simarchive.storage.duplicates import Action
from simarchive.storage.scratch import SharedFiles

if TYPE_CHECKING:
    from simarchive.storage.backend import StorageBackend, StoreOutcome

KeepFilter = Callable[[BaseStoredData], bool]


@dataclass(slots=True)
class MergeReport:
    """What a merge did, by key of the source."""

    stored: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  #: the target had them, or better ones
    new_keys: dict[str, str] = field(default_factory=dict)  #: key in the source -> key in the target
    unreadable: dict[str, str] = field(default_factory=dict)  #: key in the source -> what is wrong

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{len(self.stored)} stored",
            f"{len(self.replaced)} replaced",
            f"{len(self.kept)} there already",
        ]
        if self.new_keys:
            parts.append(f"{len(self.new_keys)} under another key")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} unreadable")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SubstanceFilter:
    """Which substances and components a subset includes and excludes; an empty part lets all pass."""

    include_substances: frozenset[str]
    include_components: frozenset[str]
    exclude_substances: frozenset[str]
    exclude_components: frozenset[str]

    @classmethod
    def of(
        cls,
        include_substances: Iterable[Substance] | None,
        include_components: Iterable[Component] | None,
        exclude_substances: Iterable[Substance] | None,
        exclude_components: Iterable[Component] | None,
    ) -> SubstanceFilter:
        """Return the filter for any iterables.

        Raises
        ------
        InvalidDataError
            If something is to be both included and excluded.
        """
        parts = [
            frozenset(value.identifier for value in values or ())
            for values in (include_substances, include_components, exclude_substances, exclude_components)
        ]
        both = (parts[0] & parts[2]) | (parts[1] & parts[3])
        if both:
            raise InvalidDataError(f"{', '.join(sorted(both))} cannot be both included and excluded")
        return cls(*parts)

    def passes(self, stored: BaseStoredData) -> bool:
        """Return whether an object passes."""
        substance = getattr(stored, "substance", None)
        if not isinstance(substance, Substance):
            return not (self.include_substances or self.include_components)
        components = {component.identifier for component in substance.components}
        return (
            (not self.include_substances or substance.identifier in self.include_substances)
            and self.include_components <= components
            and substance.identifier not in self.exclude_substances
            and not self.exclude_components & components
        )


def merge(
    target: StorageBackend,
    source: StorageBackend,
    *,
    keep: KeepFilter | None = None,
    progress: Callable[[str], None] | None = None,
) -> MergeReport:
    """Copy objects of `source` into `target` as one change; return what was done.

    Parameters
    ----------
    keep
        Which objects to copy; what they refer to is copied too. All by default.
    progress
        Called with the key of each object after it was copied.

    Notes
    -----
    An object of the source that cannot be read is reported and left out; an error of the target
    leaves the target as it was.
    """
    report = MergeReport()
    if target.is_same_store(source):
        report.kept = source.keys()
        return report
    with locked(source._lock, target._lock), target._atomic(), SharedFiles() as shared:
        for key, outcome in _Copying(target, source, keep, report, shared).run():
            if outcome.key != key:
                report.new_keys[key] = outcome.key
            {
                Action.ADD: report.stored,
                Action.REPLACE: report.replaced,
                Action.KEEP: report.kept,
            }[outcome.action].append(key)
            if progress is not None:
                progress(key)
    return report


@contextlib.contextmanager
def locked(*locks: AbstractContextManager[Any]) -> Iterator[None]:
    """Hold several locks: taken in one order everywhere, so that nobody waits in a circle.

    Parameters
    ----------
    locks
        Those of backends. One that stands for another has its number as ``order``.
    """
    in_order = {getattr(lock, "order", id(lock)): lock for lock in locks}
    with contextlib.ExitStack() as stack:
        for number in sorted(in_order):
            stack.enter_context(in_order[number])
        yield


@dataclass(slots=True)
class _Copying:
    """One walk over the objects of a source, each after those that it refers to."""

    target: StorageBackend
    source: StorageBackend
    keep: KeepFilter | None
    report: MergeReport
    shared: SharedFiles
    _keys: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)
    _waiting: set[str] = field(default_factory=set)

    def run(self) -> Iterator[tuple[str, StoreOutcome]]:
        """Copy the objects; yield the key in the source and the outcome of each."""
        keys = self.source.keys()  # a backend's iterator would hold no lock
        self._keys.update(keys)
        for wanted in keys:
            pending = [wanted]
            while pending:
                key, outcome = pending[-1], None
                first: list[str] = []
                if key not in self._done:
                    outcome, first = self._copied(key, is_referred_to=len(pending) > 1)
                if first:
                    pending.extend(reversed(first))
                    continue
                pending.pop()
                if outcome is not None:
                    yield key, outcome

    def _copied(self, key: str, *, is_referred_to: bool) -> tuple[StoreOutcome | None, list[str]]:
        """Copy an object unless it is not wanted, or unless others go first: these are returned."""
        outcome = None
        try:
            with self.source._borrowed(key, self.shared) as (stored, path):
                if not (is_referred_to or self.keep is None or self.keep(stored)):
                    return None, []
                first = self._to_go_first(key, stored)
                if first:
                    return None, first
                for old in references(stored):
                    if old in self.report.new_keys:
                        rename_reference(stored, old, self.report.new_keys[old])
                outcome = self.target._store(stored, path, storage_key=key)
        except (CorruptError, FormatError, InvalidDataError, NotFoundError) as error:
            self.report.unreadable[key] = str(error)
        self._done.add(key)
        return outcome, []

    def _to_go_first(self, key: str, stored: BaseStoredData) -> list[str]:
        # An object is read a second time only if it came before what it refers to.
        if key in self._waiting:
            return []
        self._waiting.add(key)
        return [
            other
            for other in dict.fromkeys(references(stored))
            if other in self._keys and other not in self._done and other not in self._waiting
        ]


def references(stored: BaseStoredData) -> list[str]:
    """Return the keys of other objects that an object refers to."""
    found = []
    for name in type(stored).reference_fields:
        value = getattr(stored, name)
        if isinstance(value, str):
            found.append(value)
        elif value is not None:
            found.extend(value)
    return found


def rename_reference(stored: BaseStoredData, old: str, new: str) -> None:
    """Make an object refer to `new` wherever it refers to `old`."""
    for name in type(stored).reference_fields:
        value = getattr(stored, name)
        if value == old:
            setattr(stored, name, new)
        elif value is not None and not isinstance(value, str) and old in value:
            setattr(stored, name, type(value)(new if key == old else key for key in value))

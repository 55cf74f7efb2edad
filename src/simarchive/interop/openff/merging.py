"""Copying objects from other storages of OpenFF Evaluator into an `EvaluatorStorage`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openff.evaluator.storage import LocalFileStorage as EvaluatorLocalFileStorage
from openff.evaluator.storage import StorageBackend as EvaluatorBackend

from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError, LockedError, WrongTypeError
from simarchive.interop.openff.values import from_typed, to_typed
from simarchive.queries.substance import ComponentPattern
from simarchive.storage import merging
from simarchive.storage.ancillary import DirectoryFiles
from simarchive.storage.backend import StorageBackend
from simarchive.storage.duplicates import Action
from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.storage.evaluator_json import OPAQUE_CLASSES, EvaluatorObject
from simarchive.storage.merging import MergeReport
from simarchive.storage.scratch import SharedFiles

if TYPE_CHECKING:
    from simarchive.interop.openff.storage import EvaluatorStorage

LOCK_TIMEOUT_S = 10

FoundObject = tuple[str, Any, Any]
"""The key, the Evaluator object and the directory of something to copy."""


@dataclass(frozen=True)
class Filters:
    """Which substances and components are included and excluded, for both kinds of objects."""

    ours: merging.SubstanceFilter

    @classmethod
    def of(
        cls,
        include_substances: Iterable[Any] | None,
        include_components: Iterable[Any] | None,
        exclude_substances: Iterable[Any] | None,
        exclude_components: Iterable[Any] | None,
    ) -> Filters:
        """Return the filters for any iterables of Evaluator's substances and components.

        Raises
        ------
        InvalidDataError
            If a substance or a component is to be both included and excluded.
        """
        substances, components, not_substances, not_components = (
            frozenset(each.identifier for each in values or ())
            for values in (include_substances, include_components, exclude_substances, exclude_components)
        )
        for what, both in (
            ("substance", substances & not_substances),
            ("component", components & not_components),
        ):
            if both:
                raise InvalidDataError(
                    f"the same {what} cannot be both included and excluded: {', '.join(sorted(both))}"
                )
        return cls(
            merging.SubstanceFilter(
                substances, _patterns(components), not_substances, _patterns(not_components)
            )
        )

    def passes(self, stored: Any) -> bool:
        """Return whether one of our objects or of Evaluator's passes."""
        if isinstance(stored, BaseStoredData):
            return self.ours.passes(stored)
        substance = getattr(stored, "substance", None)
        if substance is None:
            return not (self.ours.include_substances or self.ours.include_components)
        components = _patterns(component.identifier for component in substance.components)
        return (
            (not self.ours.include_substances or substance.identifier in self.ours.include_substances)
            and self.ours.include_components <= components
            and substance.identifier not in self.ours.exclude_substances
            and not self.ours.exclude_components & components
        )


def _patterns(identifiers: Iterable[str]) -> frozenset[ComponentPattern]:
    return frozenset(ComponentPattern.of(identifier) for identifier in identifiers)


def merge(
    target: EvaluatorStorage, other: Any, *, keep: Callable[[Any], bool] = lambda stored: True
) -> MergeReport:
    """Copy the objects of another storage that `keep` lets pass, as one change.

    Parameters
    ----------
    other
        An `EvaluatorStorage`, one of Evaluator's own storages, a storage of this package, or a directory.
    """
    from simarchive.interop.openff.storage import EvaluatorStorage

    if isinstance(other, EvaluatorStorage):
        other = other.archive
    if isinstance(other, EvaluatorLocalFileStorage):
        other = other.root_directory
    if isinstance(other, str | os.PathLike):
        other = LocalFileStorage(other, mode="r")
    if isinstance(other, StorageBackend):
        return _merge_ours(target, other, keep)
    if not isinstance(other, EvaluatorBackend):
        raise WrongTypeError(f"{other!r} is no storage: give a storage or the path of a directory")
    report = MergeReport()
    with merging.locked(target.archive.lock, _InTime(other._lock)), target.archive.transaction():
        _store_each(target, _all_of(other), report, keep)
    return report


class _InTime:
    """The lock of one of Evaluator's storages, for which nobody waits for ever."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.order = id(lock)

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=LOCK_TIMEOUT_S):
            raise LockedError(
                f"another thread uses the storage to copy from, and did not finish within {LOCK_TIMEOUT_S} s:"
                " try again"
            )

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


def _merge_ours(target: EvaluatorStorage, source: StorageBackend, keep: Callable[[Any], bool]) -> MergeReport:
    """Merge what has a data class of ours, then what only Evaluator's program can interpret."""
    if target.archive.is_same_store(source):
        return MergeReport(kept=source.keys())
    with merging.locked(target.archive.lock, source.lock), target.archive.transaction():
        report = merging.merge(
            target.archive,
            source,
            keep=lambda stored: not isinstance(stored, EvaluatorObject) and keep(stored),
        )
        with SharedFiles() as shared:
            _store_each(target, _opaque_of(source, shared), report, keep)
    if isinstance(source, LocalFileStorage):
        for key, problem in source.problems.items():
            report.unreadable.setdefault(key, problem)
    return report


def _store_each(
    target: EvaluatorStorage,
    found: Iterator[FoundObject],
    report: MergeReport,
    keep: Callable[[Any], bool],
) -> None:
    for key, stored, path in found:
        if not keep(stored):
            continue
        old = getattr(stored, "force_field_id", None)
        if isinstance(old, str) and old in report.new_keys:
            stored.force_field_id = report.new_keys[old]
        try:
            if isinstance(stored, EvaluatorObject):
                outcome = target.archive.put(
                    stored, None if path is None else DirectoryFiles(path), storage_key=key
                )
                new_key, action = outcome.key, outcome.action
            else:
                new_key, action = target._store(stored, path, storage_key=key)
        except InvalidDataError as error:
            report.unreadable[key] = str(error)
            continue
        if new_key != key:
            report.new_keys[key] = new_key
        {Action.ADD: report.stored, Action.REPLACE: report.replaced, Action.KEEP: report.kept}[action].append(
            key
        )


def _opaque_of(source: StorageBackend, shared: SharedFiles) -> Iterator[FoundObject]:
    """Yield the objects of users' classes: as such if the class is loaded, else as they are kept here."""
    for key in source._object_keys(OPAQUE_CLASSES):
        with source.reading(), contextlib.ExitStack() as stack:
            stored = source.load(key)
            if not isinstance(stored, EvaluatorObject):
                continue
            files = source.members(key, shared=shared)
            path = None if files is None else stack.enter_context(files.directory())
            try:
                yield key, from_typed(stored.to_typed()), path
            except InvalidDataError:
                yield key, stored, path


def _all_of(other: Any) -> Iterator[FoundObject]:
    with other._lock:
        listed = {name: list(keys) for name, keys in other._stored_object_keys.items()}
    # What others refer to comes first, so that a key that must change is known to them.
    for name in sorted(listed, key=lambda name: name != "ForceFieldData"):
        for key in listed[name]:
            stored, path = other.retrieve_object(key)
            if stored is not None:
                # Another storage may have the object in a cache: a copy shares nothing with it.
                yield key, from_typed(to_typed(stored)), path

"""Copying objects from other storages into the container of an `EvaluatorStorage`.

What is copied has a data class here, or is an `EvaluatorObject` of a user's class. Evaluator's own storages
are read as such objects too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from openff.evaluator.storage import LocalFileStorage as EvaluatorLocalFileStorage
from openff.evaluator.storage import StorageBackend as EvaluatorBackend

from simarchive.data import BaseStoredData
from simarchive.errors import LockedError, NotFoundError, WrongTypeError
from simarchive.ground.thread_lock import ThreadLock
from simarchive.interop.openff.values import archived
from simarchive.queries import query_class_for
from simarchive.storage import merging
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.backend import StorageBackend
from simarchive.storage.duplicates import StoreOutcome
from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.storage.evaluator_json import OPAQUE_CLASSES, EvaluatorObject
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.merging import Glancing, KeepFilter, MergeReport
from simarchive.storage.scratch import SharedFiles

LOCK_TIMEOUT_S = 10

PutUsersObject = Callable[[EvaluatorObject, AncillaryData | None, str], StoreOutcome]
"""Keeps an object of a user's class and its files under a key; returns what was done."""


def merge(
    archive: HDF5Storage, put_users_object: PutUsersObject, other: Any, *, keep: KeepFilter | None = None
) -> MergeReport:
    """Copy the objects of another storage into a container, as one change.

    Parameters
    ----------
    other
        One of Evaluator's own storages, a storage of this package, or a directory.
    keep
        Which objects to copy; what they refer to is copied too. All by default.
    """
    source = source_of(other)
    if archive.is_same_store(source):
        return MergeReport(kept=source.keys())
    report = merging.merge(Receiver(archive, put_users_object), UsersObjectsLast(source), keep=keep)
    if isinstance(source, LocalFileStorage):
        for key, problem in source.problems.items():
            report.unreadable.setdefault(key, problem)
        report.remarks += source.remarks
    return report


def source_of(other: Any) -> StorageBackend | EvaluatorSource:
    """Return what objects are copied from, for anything that `merge` takes."""
    if isinstance(other, EvaluatorLocalFileStorage):
        other = other.root_directory
    if isinstance(other, str | os.PathLike):
        other = LocalFileStorage(other, mode="r")
    if isinstance(other, StorageBackend):
        return other
    if isinstance(other, EvaluatorBackend):
        return EvaluatorSource(other)
    raise WrongTypeError(f"{other!r} is not a storage: give a storage or the path of a directory")


class Receiver:
    """A container as the target of one merge, which asks about objects of users' classes."""

    def __init__(self, archive: HDF5Storage, put_users_object: PutUsersObject) -> None:
        self._archive = archive
        self._put_users_object = put_users_object
        self._new_keys: dict[str, str] = {}

    @property
    def lock(self) -> ThreadLock:
        """The lock of the container."""
        return self._archive.lock

    def is_same_store(self, other: object, /) -> bool:
        """Return whether a source is the container."""
        return self._archive.is_same_store(other)

    def transaction(self) -> AbstractContextManager[object]:
        """Make all that is put in the block one change."""
        return self._archive.transaction()

    def put(
        self, stored: BaseStoredData, ancillary_data: AncillaryData | None, /, *, storage_key: str
    ) -> StoreOutcome:
        """Keep an object and its files under a key, or what is decided on duplicates."""
        if isinstance(stored, EvaluatorObject):
            outcome = self._put_users_object(self._with_new_keys(stored), ancillary_data, storage_key)
        else:
            outcome = self._archive.put(stored, ancillary_data, storage_key=storage_key)
        if outcome.key != storage_key:
            self._new_keys[storage_key] = outcome.key
        return outcome

    def references_if_there(self, source: object, storage_key: str, /) -> list[str] | None:
        """As `HDF5Storage`, but of objects of users' classes only their class knows whether they are here."""
        if isinstance(source, UsersObjectsLast):
            source = source.source
        if storage_key not in self._archive or self._archive.class_name_of(storage_key) in OPAQUE_CLASSES:
            return None
        return self._archive.references_if_there(source, storage_key)

    def _with_new_keys(self, stored: EvaluatorObject) -> EvaluatorObject:
        # Only Evaluator knows the class, but the field has the same meaning in all of its own.
        typed = stored.to_typed()
        old = typed.get("force_field_id")
        if not isinstance(old, str) or old not in self._new_keys:
            return stored
        return type(stored).of({**typed, "force_field_id": self._new_keys[old]})


class UsersObjectsLast:
    """A source that gives the objects of users' classes last, after what they may refer to."""

    def __init__(self, source: StorageBackend | EvaluatorSource) -> None:
        self.source = source
        self.lock = source.lock
        self.reading = source.reading
        self.load = source.load
        self.glance = source.glance if isinstance(source, Glancing) else source.load
        self.members = source.members

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        if isinstance(self.source, EvaluatorSource):
            return self.source.keys()
        users = dict.fromkeys(self.source.keys(query_class_for(EvaluatorObject)()))
        return [*(key for key in self.source if key not in users), *users]


class EvaluatorSource:
    """One of Evaluator's own storages as a source of our objects."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._last: tuple[str, Any] = ("", None)
        self.lock = _InTime(storage._lock)

    def keys(self) -> list[str]:
        """Return the keys of all objects: first those of force fields, to which others refer."""
        listed = self._storage._stored_object_keys
        names = sorted(listed, key=lambda name: name != "ForceFieldData")
        return [key for name in names for key in listed[name]]

    def reading(self) -> AbstractContextManager[object]:
        """Do nothing: there is one state, while the lock is held."""
        return contextlib.nullcontext()

    def load(self, storage_key: str, /) -> BaseStoredData:
        """Return our object for one of Evaluator's, which shares nothing with what the storage may cache."""
        stored, path = self._storage.retrieve_object(storage_key)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        self._last = storage_key, path
        return archived(stored)

    def members(self, storage_key: str, /, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object."""
        key, path = self._last
        if key != storage_key:
            _, path = self._storage.retrieve_object(storage_key)
        return None if path is None else DirectoryFiles(path)


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

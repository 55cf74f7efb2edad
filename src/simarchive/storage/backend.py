"""The abstract storage backend: what every backend does, built on three things that each must do.

A new backend implements exactly `_store_object`, `_retrieve_object` and `_object_exists`; all are
called under the backend's reentrant lock. Everything else has a default built on these three, which
a backend that knows better may override: the hooks are listed at the end of `StorageBackend`, of
`querying.Querying` and in `key_registry.KeyRegistry`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.container.members import member_digest
from simarchive.data import BaseStoredData, ForceFieldData
from simarchive.errors import InvalidDataError, NotFoundError, WrongTypeError
from simarchive.ground.keys import check_key, new_key
from simarchive.storage import duplicates
from simarchive.storage.ancillary import ancillary_files, same_files
from simarchive.storage.essentials import PathLike
from simarchive.storage.incoming import Incoming
from simarchive.storage.querying import Querying

if TYPE_CHECKING:
    from simarchive.chemistry.components import Component
    from simarchive.chemistry.substances import Substance
    from simarchive.storage.merging import MergeReport
    from simarchive.storage.scratch import SharedFiles


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """The key an object has after it was to be stored, and what was done."""

    key: str
    action: duplicates.Action


class StorageBackend(Querying):
    """A store of simulation data: objects with unique keys, ancillary files, and queries.

    Notes
    -----
    Public methods may be called from several threads of one process.
    """

    # --- storing ---------------------------------------------------------------------------------------

    def store_object(
        self,
        object_to_store: BaseStoredData,
        ancillary_data_path: PathLike | None = None,
        *,
        storage_key: str | None = None,
    ) -> str:
        """Store an object and a copy of its ancillary data; return its key.

        An object that is there already keeps its key: an identical one is not stored again, and of two
        measurements of the same calculation (`ReplaceableData`) the one with most information stays,
        under the old key. Ties go to the new one.

        Parameters
        ----------
        object_to_store
            A complete object of a registered data class.
        ancillary_data_path
            The directory with its files; required if the class has ancillary data, refused otherwise.
            It is copied, never moved.
        storage_key
            The key for an object that is new here; by default a random one.

        Raises
        ------
        InvalidDataError
            If the object is incomplete or cannot be read back, a file that it names is missing, or the
            ancillary data is missing, unexpected, no directory, or has links that lead out of it.
        """
        return self._store(object_to_store, ancillary_data_path, storage_key=storage_key).key

    def _store(
        self,
        object_to_store: BaseStoredData,
        ancillary_data_path: PathLike | None,
        *,
        storage_key: str | None,
    ) -> StoreOutcome:
        """Do what `store_object` says; return also what was done."""
        _check_class(object_to_store)
        incoming = Incoming.checked(object_to_store, ancillary_data_path)
        directory = incoming.directory
        if storage_key is not None:
            check_key(storage_key)
        with self._lock, self._atomic():
            decision = duplicates.decide(
                object_to_store,
                self._twins(incoming),
                lambda key: directory is None or self._has_same_files(key, directory),
            )
            key = decision.existing_key or self._free_key(storage_key)
            if decision.action is not duplicates.Action.KEEP:
                self._put(incoming, key, is_new=not decision.existing_key)
                self._register_key(key, object_to_store)
            return StoreOutcome(key, decision.action)

    def store_force_field(self, force_field: ForceFieldSource) -> str:
        """Store a force field source and return its key; one that is there already keeps its key."""
        return self.store_object(ForceFieldData(force_field_source=force_field))

    def remove_object(self, storage_key: str) -> None:
        """Remove an object and its ancillary data.

        Raises
        ------
        NotFoundError
            If there is no object under the key.
        """
        with self._lock, self._atomic():
            if storage_key not in self:
                raise NotFoundError(f"no object has the key {storage_key!r}: nothing was removed")
            self._remove_object(storage_key)

    # --- retrieving ------------------------------------------------------------------------------------

    def retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        """Return a stored object and the path of its extracted ancillary data.

        Returns
        -------
        stored_object
            The caller's own copy, or ``None`` if no object has the key.
        path
            A directory, or ``None`` if the object has no ancillary data.

        Raises
        ------
        WrongTypeError
            If the object is not of the expected type.
        """
        with self._lock:
            if storage_key not in self:
                return None, None
            stored, path = self._retrieve_object(storage_key, expected_type)
            if stored is not None and expected_type is not None and not isinstance(stored, expected_type):
                raise WrongTypeError(
                    f"object {storage_key!r} is a {type(stored).__name__},"
                    f" not a {expected_type.__name__}: ask for another type or key"
                )
            return stored, path

    def retrieve_force_field(self, storage_key: str) -> ForceFieldSource:
        """Return the force field source stored under a key.

        Raises
        ------
        NotFoundError
            If no object has the key.
        WrongTypeError
            If the object is no force field.
        """
        stored, _ = self.retrieve_object(storage_key, ForceFieldData)
        if stored is None:
            raise NotFoundError(f"no force field has the key {storage_key!r}")
        assert isinstance(stored, ForceFieldData)
        assert stored.force_field_source is not None
        return stored.force_field_source

    def has_object(self, storage_object: BaseStoredData) -> str | None:
        """Return the key under which `store_object` would find this object already there, or ``None``.

        An object counts as there if its document is identical, or if it is another measurement of the
        same calculation.
        """
        _check_class(storage_object)
        with self._lock:
            return duplicates.find(storage_object, self._twins(Incoming(storage_object)))

    def has_force_field(self, force_field: ForceFieldSource) -> str | None:
        """Return the key of a stored force field source that equals this one, or ``None``."""
        return self.has_object(ForceFieldData(force_field_source=force_field))

    def file_digests(self, storage_key: str) -> dict[str, str]:
        """Return the BLAKE3 digest of each file of an object, by name; empty folders have an empty one."""
        with self._lock, self._borrowed(storage_key) as (_, path):
            files = [] if path is None else ancillary_files(path)
            return {file.name: "" if file.path is None else member_digest(file.path)[1] for file in files}

    def __len__(self) -> int:
        with self._lock:
            return len(self._object_keys())

    def __contains__(self, storage_key: object) -> bool:
        with self._lock:
            return self._is_user_key(storage_key) and self._is_stored(str(storage_key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    # --- combining -------------------------------------------------------------------------------------

    def update(self, other: StorageBackend) -> MergeReport:
        """Copy every object of another backend into this one; keys stay as they are.

        Returns
        -------
        report
            What was stored, replaced and skipped, and which keys had to change because this backend
            already has another object under them. References to such keys change along.
        """
        from simarchive.storage import merging

        return merging.merge(self, other)

    def __iadd__(self, other: StorageBackend) -> Self:
        self.update(other)
        return self

    def is_same_store(self, other: StorageBackend) -> bool:
        """Return whether another backend keeps its objects in the same place."""
        return self is other

    def subset(
        self,
        destination: PathLike,
        include_substances: Iterable[Substance] | None = None,
        include_components: Iterable[Component] | None = None,
        exclude_substances: Iterable[Substance] | None = None,
        exclude_components: Iterable[Component] | None = None,
    ) -> Self:
        """Return a new backend at `destination` with the objects that pass all filters.

        An object passes if its substance is one of `include_substances`, holds every one of
        `include_components`, is none of `exclude_substances` and holds none of `exclude_components`; a
        filter that is empty or ``None`` lets all pass. Objects without a substance pass when nothing
        is to be included by substance. What a passing object refers to (its force field) comes along.

        Raises
        ------
        ConflictError
            If something is at `destination` already.
        """
        from simarchive.storage import merging

        filters = merging.SubstanceFilter.of(
            include_substances, include_components, exclude_substances, exclude_components
        )
        target = self._new_at(destination)
        merging.merge(target, self, keep=filters.passes)
        return target

    # --- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release whatever the backend holds; nothing by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- hooks with defaults -----------------------------------------------------------------------------

    def _atomic(self) -> AbstractContextManager[object]:
        """Return a context in which all changes become one, or none; here: each change is its own."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _borrowed(
        self, storage_key: str, shared: SharedFiles | None = None
    ) -> Iterator[tuple[BaseStoredData, PathLike | None]]:
        """Give an object and a directory of its ancillary data that may vanish after the block.

        Parameters
        ----------
        shared
            What keeps the files that objects share, for one who borrows many of them.
        """
        stored, path = self._retrieve_object(storage_key)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        yield stored, None if path is None else Path(path)

    def _put(self, incoming: Incoming, storage_key: str, *, is_new: bool) -> None:
        """Do what `_store_object` does, with what is known already; inside `_atomic`.

        Parameters
        ----------
        is_new
            No object has the key.
        """
        self._store_object(incoming.stored, storage_key, incoming.directory)

    def _twins(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects of the same class, at least all that may be the same as this one."""
        for key in self._object_keys((incoming.class_name,)):
            twin, _ = self._retrieve_object(key)
            if twin is not None:
                yield key, twin

    def _document_of(self, storage_key: str) -> BaseStoredData:
        """Return an object without its ancillary data."""
        stored, _ = self._retrieve_object(storage_key)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        return stored

    def _has_same_files(self, storage_key: str, directory: Path) -> bool:
        """Return whether the ancillary data of an object and a directory hold the same."""
        _, path = self._retrieve_object(storage_key)
        return path is not None and same_files(Path(path), directory)

    def _new_at(self, destination: PathLike) -> Self:
        """Return a new empty backend of this kind at a place where nothing is."""
        raise InvalidDataError(f"{type(self).__name__} cannot make a new store at {os.fspath(destination)!r}")

    # --- the parts of the above ----------------------------------------------------------------------

    def _free_key(self, wanted: str | None) -> str:
        if wanted is not None and not self._object_exists(wanted):
            return wanted
        while True:
            key = new_key()
            if not self._object_exists(key):
                return key


def _check_class(stored: object) -> None:
    if not isinstance(stored, BaseStoredData):
        raise WrongTypeError(f"only objects of a data class can be stored, not {type(stored).__name__}")

"""`EvaluatorStorage`: a storage backend for OpenFF Evaluator that keeps everything in one container."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from openff.evaluator.storage import StorageBackend
from openff.evaluator.storage import data as evaluator_data

from simarchive.errors import CorruptError, InvalidDataError, WrongTypeError
from simarchive.ground.conditions import OneOf
from simarchive.ground.filesystem import PathLike
from simarchive.interop.openff import merging as openff_merging
from simarchive.interop.openff import queries as openff_queries
from simarchive.interop.openff.places import EvaluatorScratch, container_path
from simarchive.interop.openff.values import (
    archived,
    from_typed,
    our_component,
    our_substance,
    restored,
    type_string_of,
)
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.duplicates import Action, StoreOutcome
from simarchive.storage.evaluator_json import (
    OPAQUE_CLASSES,
    EvaluatorObject,
    class_name_of,
    classes_with_evaluator_form,
)
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.merging import KeepFilter, MergeReport, SubstanceFilter

LOGGER = logging.getLogger("simarchive")

Match = tuple[str, Any, str | None]


class EvaluatorStorage(StorageBackend):  # type: ignore[misc]
    """A drop-in for Evaluator's `LocalFileStorage` and `MutableLocalFileStorage` over one container.

    It takes and returns Evaluator's own objects. What it stores is an ordinary container: people without
    Evaluator read it with `HDF5Storage`, and what they store is here as well.

    Parameters
    ----------
    path
        The container, such as ``"stored_data.h5"``. A directory, or a missing path without a suffix such as
        ``"stored_data"``, stands for ``stored_data.h5`` inside that directory.
    cache_objects_in_memory
        Has no effect, which is logged: accepted, so that existing calls work. Objects are always the
        caller's own; nothing is cached that could go stale.
    root_directory
        Another name for `path`, as Evaluator calls it.
    mode
        ``"a"`` to read and change, ``"r"`` to read.
    move
        Whether the directory given to `store_object` is deleted after it was stored. It is copied by
        default, as `MutableLocalFileStorage` does.
    scratch_directory
        Where files are extracted to; it stays when the storage is closed. By default a directory beside the
        container, which other processes can read, and which vanishes with this object. Each file is
        extracted once, and used again by later queries.
    codec, durability, lock_timeout_s
        As `HDF5Storage` takes them.

    Raises
    ------
    InvalidDataError
        If `path` is a directory that holds an Evaluator store, or is missing and named after one, as
        ``stored_data.h5`` is after ``stored_data``: it says how to import it.

    Notes
    -----
    It can be pickled, as Dask does to send it to workers: there it opens the container again.

    A match's path is a `str`, as Evaluator asks, and Evaluator gives it to other processes. So, other than
    with `HDF5Storage`, the files of each match are extracted when the query returns.
    """

    def __init__(
        self,
        path: PathLike | None = None,
        cache_objects_in_memory: bool = False,
        *,
        root_directory: PathLike | None = None,
        mode: str = "a",
        move: bool = False,
        scratch_directory: PathLike | None = None,
        **options: Any,
    ) -> None:
        container = container_path(path if path is not None else root_directory, make=mode == "a")
        self._scratch = EvaluatorScratch(container, scratch_directory)
        self._archive = HDF5Storage(container, mode, self._scratch.directory, **options)
        # The backend's own lock: Evaluator's public methods take it.
        self._lock = self._archive.lock
        self._move = move
        if cache_objects_in_memory:
            LOGGER.info("cache_objects_in_memory has no effect: objects are read from %s", container)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process opens the container again, with a scratch directory of its own."""
        _, (_, place, mode, scratch, options) = self._archive.__reduce__()
        if not self._scratch.is_named:
            scratch = None
        return _opened_again, (type(self), place, mode, self._move, scratch, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._archive.path)!r})"

    @property
    def archive(self) -> HDF5Storage:
        """The container as people without Evaluator see it; shared, so do not close it."""
        return self._archive

    @property
    def root_directory(self) -> str:
        """The directory in which the container lies."""
        return str(self._archive.path.parent)

    def close(self) -> None:
        """Release the container, and remove the scratch directory unless it was named."""
        self._archive.close()
        self._scratch.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._archive)

    def __contains__(self, storage_key: object) -> bool:
        return storage_key in self._archive

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.keys())

    # --- storing -------------------------------------------------------------------------------------

    def store_object(
        self, object_to_store: Any, ancillary_data_path: PathLike | None = None, *, move: bool | None = None
    ) -> str:
        """Store one of Evaluator's objects and its directory; return its key.

        Parameters
        ----------
        move
            Whether to delete the directory once it was stored; by default as the storage was opened.

        Raises
        ------
        InvalidDataError
            If the object is incomplete or could not be read back, or the directory is missing, unexpected
            or lacks a file that the object names. It is a `ValueError`, as Evaluator's is.
        """
        outcome = self._store(object_to_store, ancillary_data_path)
        moves = self._move if move is None else move
        if moves and ancillary_data_path is not None and outcome.action is not Action.KEEP:
            source = Path(ancillary_data_path)
            if not self._scratch.holds(source):
                shutil.rmtree(source)
        return outcome.key

    def _store(
        self, evaluator_object: Any, path: PathLike | None, *, storage_key: str | None = None
    ) -> StoreOutcome:
        if not isinstance(evaluator_object, evaluator_data.BaseStoredData):
            raise WrongTypeError(
                f"only objects of OpenFF Evaluator's data classes can be stored, not {evaluator_object!r}"
            )
        _validate(evaluator_object)
        ours = archived(evaluator_object)
        files = None if path is None else DirectoryFiles(path)
        if isinstance(ours, EvaluatorObject):
            return self._put_opaque(evaluator_object, ours, files, storage_key)
        return self._archive.put(ours, files, storage_key=storage_key)

    def _put_users_object(
        self, ours: EvaluatorObject, files: AncillaryData | None, storage_key: str
    ) -> StoreOutcome:
        """Keep an object of a user's class: as its class says if the program has loaded it, else as it is."""
        try:
            evaluator_object = from_typed(ours.to_typed())
        except InvalidDataError:
            return self._archive.put(ours, files, storage_key=storage_key)
        _validate(evaluator_object)
        return self._put_opaque(evaluator_object, ours, files, storage_key)

    def _put_opaque(
        self,
        evaluator_object: Any,
        ours: EvaluatorObject,
        files: AncillaryData | None,
        storage_key: str | None,
    ) -> StoreOutcome:
        """Keep an object of which only Evaluator can say whether it is here already."""
        with self._archive.transaction():
            existing = self._has_object(evaluator_object)
            if existing is None:
                return self._archive.put(ours, files, storage_key=storage_key)
            if not isinstance(evaluator_object, evaluator_data.ReplaceableData):
                return StoreOutcome(existing, Action.KEEP)
            stored = self._restore(existing)
            winner = type(evaluator_object).most_information(stored, evaluator_object)
            if winner is None:
                return self._archive.put(ours, files, storage_key=storage_key)
            if winner is not evaluator_object:
                return StoreOutcome(existing, Action.KEEP)
            return self._archive.put(ours, files, replacing=existing)

    def remove_object(self, storage_key: str) -> None:
        """Remove an object and its files.

        Raises
        ------
        NotFoundError
            If no object has the key. It is a `KeyError`, as Evaluator's is.
        """
        self._archive.remove_object(storage_key)

    # --- what Evaluator's base class calls ---------------------------------------------------------------

    def _store_object(
        self,
        object_to_store: Any,
        storage_key: str | None = None,
        ancillary_data_path: PathLike | None = None,
    ) -> None:
        self._store(object_to_store, ancillary_data_path, storage_key=storage_key)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[Any] | None = None
    ) -> tuple[Any, str | None]:
        with self._archive.reading():
            if storage_key not in self._archive:
                return None, None
            found = self._restore(storage_key)
            if expected_type is not None and not isinstance(found, expected_type):
                raise WrongTypeError(
                    f"object {storage_key!r} is a {type(found).__name__}, not a {expected_type.__name__}:"
                    " ask for another type or key"
                )
            return found, self._extracted(storage_key)

    def _object_exists(self, storage_key: str) -> bool:
        return storage_key in self._archive

    def _has_object(self, storage_object: Any) -> str | None:
        ours = archived(storage_object)
        found = self._archive.has_object(ours)
        if found is not None or type(ours).data_class_name not in OPAQUE_CLASSES:
            return found
        if isinstance(storage_object, evaluator_data.HashableStoredData):
            return None
        try:
            data_query = storage_object.to_storage_query()
        except NotImplementedError:
            return None
        for key, stored in self._readable(self._candidates(data_query)):
            if type(stored) is type(storage_object) and openff_queries.apply(data_query, stored) is not None:
                return key
        return None

    def _query(self, data_query: Any) -> dict[tuple[Any, ...], list[Match]]:
        found: dict[tuple[Any, ...], list[Match]] = {}
        with self._archive.reading():
            matches = [
                (self._archive.header(key).stored_at, key, stored, matched)
                for key, stored in self._readable(self._candidates(data_query))
                if (matched := openff_queries.apply(data_query, stored)) is not None
            ]
            # The oldest first: see `EvaluatorScratch.extracted`.
            for _, key, stored, matched in sorted(matches, key=lambda match: match[0]):
                found.setdefault(matched, []).append((key, stored, self._extracted(key)))
        return found

    def _readable(self, keys: Iterable[str]) -> Iterator[tuple[str, Any]]:
        for key in keys:
            try:
                stored = self._restore(key)
            except (CorruptError, InvalidDataError) as error:
                LOGGER.warning("object %r is left out of a query: %s", key, error)
                continue
            yield key, stored

    def _candidates(self, data_query: Any) -> list[str]:
        """Return the keys of at least all objects that an Evaluator query matches."""
        wanted = data_query.data_class()
        keys: list[str] = []
        for name in openff_queries.own_class_names(wanted):
            keys += self._archive.select([name], openff_queries.conditions_of(data_query, name))
        type_strings = [type_string_of(found) for found in openff_queries.subclasses_of(wanted)]
        keys += self._archive.select(OPAQUE_CLASSES, [OneOf.of("type_string", type_strings)])
        return keys

    def _restore(self, storage_key: str) -> Any:
        # One read of one committed state, arrays and all: Evaluator's objects cannot wait for theirs.
        with self._archive.reading():
            class_name, _, tree = self._archive.retrieve_document(storage_key)
            try:
                return restored(class_name, tree)
            except InvalidDataError as error:
                error.add_note(f"object {storage_key!r} in {str(self._archive.path)!r}")
                raise

    def _extracted(self, storage_key: str) -> str | None:
        files = self._archive.ancillary_path(storage_key)
        return None if files is None else self._scratch.extracted(files)

    def opaque_keys(self) -> list[str]:
        """Return the keys of objects whose classes only the user's program knows."""
        return self._archive.select(OPAQUE_CLASSES)

    @property
    def _stored_object_keys(self) -> dict[str, list[str]]:
        # Evaluator's MutableLocalFileStorage.update(other) reads this of any other storage.
        by_class: dict[str, list[str]] = {}
        with self._archive.reading():
            for class_name, type_string in classes_with_evaluator_form().items():
                # The index names the objects of a class; none of them is looked at.
                keys = self._archive.select([class_name])
                if keys:
                    by_class.setdefault(class_name_of(type_string), []).extend(keys)
        for key in self.opaque_keys():
            type_string = str(self._archive.retrieve_document(key)[2]["type_string"])
            by_class.setdefault(class_name_of(type_string), []).append(key)
        return by_class

    # --- combining -----------------------------------------------------------------------------------

    def update(self, other: Any) -> MergeReport:
        """Copy every object of another storage into this one; keys stay as they are where they can.

        Parameters
        ----------
        other
            An `EvaluatorStorage`, one of Evaluator's own storages, or the directory of one.

        Returns
        -------
        report
            What was stored, replaced, kept and left out, and which keys had to change.
        """
        return self._merge(other)

    def _merge(self, other: Any, keep: KeepFilter | None = None) -> MergeReport:
        source = other.archive if isinstance(other, EvaluatorStorage) else other
        return openff_merging.merge(self._archive, self._put_users_object, source, keep=keep)

    def __iadd__(self, other: Any) -> Self:
        self.update(other)
        return self

    def subset(
        self,
        directory: PathLike,
        include_substances: Iterable[Any] | None = None,
        include_components: Iterable[Any] | None = None,
        exclude_substances: Iterable[Any] | None = None,
        exclude_components: Iterable[Any] | None = None,
        require_empty_directory: bool = True,
    ) -> EvaluatorStorage:
        """Return a new storage with the objects whose substance passes all filters.

        As Evaluator's, but: an empty filter lets all pass, keys stay, and the force field that a passing
        object refers to comes along.

        Raises
        ------
        InvalidDataError
            If something is to be both included and excluded, or there are objects at `directory` already.
        """
        filters = SubstanceFilter.of(
            map(our_substance, include_substances or ()),
            map(our_component, include_components or ()),
            map(our_substance, exclude_substances or ()),
            map(our_component, exclude_components or ()),
        )
        target = container_path(directory, make=False)
        if require_empty_directory and (target.exists() or _holds_anything(directory)):
            raise InvalidDataError(
                f"{os.fspath(directory)!r} is not empty:"
                " name another place, or set require_empty_directory=False"
            )
        result = type(self)(directory)
        result._merge(self, filters.passes)
        return result


def _opened_again(
    storage_class: type[EvaluatorStorage],
    place: str,
    mode: str,
    move: bool,
    scratch: str | None,
    options: dict[str, Any],
) -> EvaluatorStorage:
    return storage_class(place, mode=mode, move=move, scratch_directory=scratch, **options)


def _validate(evaluator_object: Any) -> None:
    try:
        evaluator_object.validate()
    except AssertionError as error:
        raise InvalidDataError(f"{type(evaluator_object).__name__} is not valid: {error}") from error


def _holds_anything(directory: PathLike) -> bool:
    path = Path(directory)
    return path.is_dir() and any(path.iterdir())

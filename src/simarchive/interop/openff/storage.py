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

from simarchive.container.contents import ObjectHeader
from simarchive.data import BaseStoredData
from simarchive.errors import CorruptError, InvalidDataError, WrongTypeError
from simarchive.ground.conditions import OneOf
from simarchive.interop.openff import merging as openff_merging
from simarchive.interop.openff import queries as openff_queries
from simarchive.interop.openff.places import EvaluatorScratch, container_path
from simarchive.interop.openff.values import archived, restored, type_string_of
from simarchive.storage.ancillary import DirectoryFiles
from simarchive.storage.duplicates import Action
from simarchive.storage.evaluator_json import OPAQUE_CLASSES, class_name_of, evaluator_type_of
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.incoming import Incoming
from simarchive.storage.merging import MergeReport

LOGGER = logging.getLogger("simarchive")

PathLike = str | os.PathLike[str]
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
        Accepted, so that existing calls work. Objects are always the caller's own; nothing is cached that
        could go stale.
    root_directory
        Another name for `path`, as Evaluator calls it.
    mode
        ``"a"`` to read and change, ``"r"`` to read.
    move
        Whether the directory given to `store_object` is deleted after it was stored. It is copied by
        default, as `MutableLocalFileStorage` does.
    scratch_directory
        Where files are extracted to; it stays when the storage is closed. By default a directory beside the
        container, which other processes can read, and which vanishes with this object.
    codec, durability, lock_timeout_s
        As `HDF5Storage` takes them.

    Raises
    ------
    InvalidDataError
        If `path` is a directory that holds an Evaluator store: it says how to import it.
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
        self._archive = HDF5Storage(container, mode, **options)
        self._scratch = EvaluatorScratch(self._archive, scratch_directory)
        # The backend's own lock: Evaluator's public methods take it.
        self._lock = self._archive.lock
        self._move = move

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
        key, action = self._store(object_to_store, ancillary_data_path)
        moves = self._move if move is None else move
        if moves and ancillary_data_path is not None and action is not Action.KEEP:
            source = Path(ancillary_data_path)
            if not self._scratch.holds(source):
                shutil.rmtree(source)
        return key

    def _store(
        self, evaluator_object: Any, path: PathLike | None, *, storage_key: str | None = None
    ) -> tuple[str, Action]:
        if not isinstance(evaluator_object, evaluator_data.BaseStoredData):
            raise WrongTypeError(
                f"only objects of OpenFF Evaluator's data classes can be stored, not {evaluator_object!r}"
            )
        try:
            evaluator_object.validate()
        except AssertionError as error:
            raise InvalidDataError(f"{type(evaluator_object).__name__} is not valid: {error}") from error
        ours = archived(evaluator_object)
        files = None if path is None else DirectoryFiles(path)
        if type(ours).data_class_name not in OPAQUE_CLASSES:
            outcome = self._archive.put(ours, files, storage_key=storage_key)
            return outcome.key, outcome.action
        with self._archive.transaction():
            return self._store_opaque(evaluator_object, ours, files, storage_key)

    def _store_opaque(
        self,
        evaluator_object: Any,
        ours: BaseStoredData,
        files: DirectoryFiles | None,
        storage_key: str | None,
    ) -> tuple[str, Action]:
        existing = self._has_object(evaluator_object)
        if existing is None:
            outcome = self._archive.put(ours, files, storage_key=storage_key)
            return outcome.key, outcome.action
        if not isinstance(evaluator_object, evaluator_data.ReplaceableData):
            return existing, Action.KEEP
        _, stored = self._restore(existing)
        winner = type(evaluator_object).most_information(stored, evaluator_object)
        if winner is None:
            outcome = self._archive.put(ours, files, storage_key=storage_key)
            return outcome.key, outcome.action
        if winner is not evaluator_object:
            return existing, Action.KEEP
        self._archive._put(Incoming.checked(ours, files), existing, is_new=False)
        return existing, Action.REPLACE

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
        with self._archive._container.reading() as contents:
            if storage_key not in contents:
                return None, None
            header, found = self._restore(storage_key)
            if expected_type is not None and not isinstance(found, expected_type):
                raise WrongTypeError(
                    f"object {storage_key!r} is a {type(found).__name__}, not a {expected_type.__name__}:"
                    " ask for another type or key"
                )
            return found, self._extracted(header)

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
        for header, stored in self._readable(self._candidates(data_query)):
            if type(stored) is type(storage_object) and openff_queries.apply(data_query, stored) is not None:
                return header.key
        return None

    def _query(self, data_query: Any) -> dict[tuple[Any, ...], list[Match]]:
        found: dict[tuple[Any, ...], list[Match]] = {}
        with self._archive._container.reading():
            matches = [
                (header, stored, matched)
                for header, stored in self._readable(self._candidates(data_query))
                if (matched := openff_queries.apply(data_query, stored)) is not None
            ]
            # The oldest first: see `EvaluatorScratch.directory_of`.
            for header, stored, matched in sorted(matches, key=lambda match: match[0].stored_at):
                found.setdefault(matched, []).append((header.key, stored, self._extracted(header)))
        return found

    def _readable(self, keys: Iterable[str]) -> Iterator[tuple[ObjectHeader, Any]]:
        for key in keys:
            try:
                restored_object = self._restore(key)
            except (CorruptError, InvalidDataError) as error:
                LOGGER.warning("object %r is left out of a query: %s", key, error)
                continue
            yield restored_object

    def _candidates(self, data_query: Any) -> list[str]:
        """Return the keys of at least all objects that an Evaluator query matches."""
        wanted = data_query.data_class()
        keys: list[str] = []
        for name in openff_queries.own_class_names(wanted):
            keys += self._archive.select([name], openff_queries.conditions_of(data_query, name))
        type_strings = [type_string_of(found) for found in openff_queries.subclasses_of(wanted)]
        keys += self._archive.select(OPAQUE_CLASSES, [OneOf.of("type_string", type_strings)])
        return keys

    def _restore(self, storage_key: str) -> tuple[ObjectHeader, Any]:
        # One read of one committed state, and arrays at once: Evaluator's objects cannot wait for theirs.
        with self._archive._container.reading() as contents:
            header = contents.header(storage_key)
            tree = contents.tree(storage_key)
        try:
            return header, restored(header.data_class, tree)
        except InvalidDataError as error:
            error.add_note(f"object {storage_key!r} in {str(self._archive.path)!r}")
            raise

    def _extracted(self, header: ObjectHeader) -> str | None:
        return self._scratch.directory_of(header) if header.has_ancillary_data else None

    def opaque_keys(self) -> list[str]:
        """Return the keys of objects whose classes only the user's program knows."""
        return self._archive.select(OPAQUE_CLASSES)

    @property
    def _stored_object_keys(self) -> dict[str, list[str]]:
        # Evaluator's MutableLocalFileStorage.update(other) reads this of any other storage.
        by_class: dict[str, list[str]] = {}
        with self._archive._container.reading() as contents:
            for class_name in contents.data_classes():
                type_string = evaluator_type_of(class_name)
                # The index names the objects of a class; none of them is looked at.
                keys = [] if type_string is None else self._archive.select([class_name])
                if type_string is not None and keys:
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
        return openff_merging.merge(self, other)

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

        As Evaluator's, but: an empty filter is no filter, keys stay, and the force field that a passing
        object refers to comes along.

        Raises
        ------
        InvalidDataError
            If something is to be both included and excluded, or there are objects at `directory` already.
        """
        filters = openff_merging.Filters.of(
            include_substances, include_components, exclude_substances, exclude_components
        )
        target = container_path(directory, make=False)
        if require_empty_directory and (target.exists() or any_file_in(directory)):
            raise InvalidDataError(
                f"{os.fspath(directory)!r} is not empty:"
                " name another place, or set require_empty_directory=False"
            )
        result = type(self)(directory)
        openff_merging.merge(result, self, keep=filters.passes)
        return result


def any_file_in(directory: PathLike) -> bool:
    """Return whether a path is a directory that holds anything."""
    path = Path(directory)
    return path.is_dir() and any(path.iterdir())

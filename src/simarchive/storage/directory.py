"""`LocalFileStorage`: a directory of objects, written and read as OpenFF Evaluator does."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import (
    ConflictError,
    CorruptError,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
    StorageIOError,
)
from simarchive.queries import BaseDataQuery
from simarchive.storage import evaluator_writing
from simarchive.storage.backend import StorageBackend
from simarchive.storage.directory_registry import (
    DirectoryRegistries,
    io_error,
    sync_directory,
    write_text,
)
from simarchive.storage.essentials import PathLike
from simarchive.storage.evaluator_json import (
    data_class_filed_under,
    dump_typed,
    filed_under,
    from_evaluator,
    has_data_class_for,
    has_evaluator_form,
    parse_typed,
    to_evaluator,
)
from simarchive.storage.evaluator_objects import EvaluatorObject, opaque_class
from simarchive.storage.evaluator_reading import read_fields, with_arrays
from simarchive.storage.evaluator_types import TYPE
from simarchive.storage.incoming import Incoming
from simarchive.storage.querying import Match, arranged_matches, class_names

LOGGER = logging.getLogger("simarchive")

OWN_TYPE = "simarchive.Document"
"""The type of a JSON file that holds a document of a class that Evaluator does not know."""


class LocalFileStorage(StorageBackend):
    """A storage backend over a directory as OpenFF Evaluator's `LocalFileStorage` keeps it.

    ``<key>.json`` holds an object as Evaluator's typed JSON, ``<key>/`` its files, ``object_keys.json``
    the keys. Evaluator opens what is written here. Objects that it has no class for are kept in the same
    way, but named in ``simarchive_keys.json``, since it would refuse the whole directory for one of them.

    Parameters
    ----------
    directory
        It is made if it is missing and `mode` is ``"a"``; an existing one is not written to by opening it.
    mode
        ``"a"`` to read and change, ``"r"`` to read.

    Attributes
    ----------
    problems
        What was found wrong so far, by key: objects that cannot be read, keys without an object. They are
        left out of everything but `retrieve_object`, which says why.

    Raises
    ------
    NotFoundError
        If there is no directory, and none is to be made.
    CorruptError
        If the registry is no registry, or is missing beside objects.

    Notes
    -----
    Processes that use this class take turns writing; Evaluator itself knows nothing of such turns. A
    failure leaves the old state, and so does a kill, but for one within the last two renames of a
    replacement. For more than that use `HDF5Storage`.
    """

    def __init__(self, directory: PathLike = "stored_data", *, mode: str = "a") -> None:
        super().__init__()
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        self.directory = _checked_directory(directory, make=mode == "a")
        self.problems: dict[str, str] = {}
        self._writable = mode == "a"
        self._turns = 0
        self._registries = DirectoryRegistries(self.directory, self.problems)
        self._check_registries()
        for key, problem in self.problems.items():
            LOGGER.warning("%s: object %r is left out: %s", self.directory, key, problem)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    def is_same_store(self, other: StorageBackend) -> bool:
        """Return whether another backend works on the same directory."""
        return isinstance(other, LocalFileStorage) and self.directory.samefile(other.directory)

    # --- what every backend must do ----------------------------------------------------------------

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        assert storage_key is not None
        text = _text_of(object_to_store)
        with self._atomic():
            try:
                with self._new_files(storage_key, ancillary_data_path):
                    write_text(self._document_path(storage_key), text)
            except OSError as error:
                raise io_error(error, self.directory / storage_key) from error

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        if not self._object_exists(storage_key):
            return None, None
        stored = _object_of(self._document_path(storage_key))
        files = self.directory / storage_key
        if not type(stored).has_ancillary_data():
            return stored, None
        if not files.is_dir():
            self._report(storage_key, "its directory of files is missing")
            return stored, None
        return stored, files

    def _object_exists(self, storage_key: str) -> bool:
        return storage_key in self._registries.listed() and self._document_path(storage_key).is_file()

    # --- hooks ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writable:
            raise ReadOnlyError(f"{str(self.directory)!r} was opened for reading: open it with mode='a'")
        if self._turns:
            yield
            return
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            # The lock is on the directory itself, so that no lock file is left in it.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._turns = 1
            try:
                yield
            finally:
                # After a failure, too: what is registered so far was stored completely.
                self._registries.flush()
        finally:
            self._turns = 0
            os.close(descriptor)

    def _atomic(self) -> AbstractContextManager[object]:
        return self._turn()

    def _registry(self) -> dict[str, str]:
        usable = {}
        for key, name in self._registries.listed().items():
            if self._document_path(key).is_file():
                usable[key] = self._class_filed_under(name, key)
            else:
                self.problems.setdefault(key, f"the registry names this key, but there is no file {key}.json")
        return usable

    def _class_filed_under(self, name: str, storage_key: str) -> str:
        class_name = data_class_filed_under(name)
        if data_class_named(class_name) is not None or name in self._registries.own.read():
            return class_name
        return opaque_class(with_files=(self.directory / storage_key).is_dir()).data_class_name

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        class_name = type(stored).data_class_name
        with self._atomic():
            if isinstance(stored, EvaluatorObject):
                self._registries.evaluator.add(str(stored.type_string).rpartition(".")[2], storage_key)
            elif has_evaluator_form(class_name):
                self._registries.evaluator.add(filed_under(class_name), storage_key)
            else:
                self._registries.own.add(class_name, storage_key)
        self.problems.pop(storage_key, None)

    def _remove_object(self, storage_key: str) -> None:
        with self._atomic():
            self.problems.pop(storage_key, None)
            self._registries.discard(storage_key)
            self._registries.flush()
            try:
                self._document_path(storage_key).unlink(missing_ok=True)
                if (self.directory / storage_key).is_dir():
                    shutil.rmtree(self.directory / storage_key)
            except OSError as error:
                raise StorageIOError(
                    f"object {storage_key!r} is removed, but its files in {str(self.directory)!r} cannot be"
                    f" deleted: {error.strerror}"
                ) from error

    def _twins(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        for key, twin, _ in self._readable((incoming.class_name,)):
            yield key, twin

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        found = []
        for match in self._readable(class_names(data_query)):
            matched = data_query.apply(match[1])
            if matched is not None:
                found.append((matched, match))
        yield from arranged_matches(data_query, found)

    def _new_at(self, destination: PathLike) -> Self:
        path = Path(destination).absolute()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConflictError(f"{str(path)!r} exists and is not empty: name another directory")
        return type(self)(path)

    # --- the parts of the above ------------------------------------------------------------------------

    def _document_path(self, storage_key: str) -> Path:
        return self.directory / f"{storage_key}.json"

    def _readable(self, class_names: tuple[str, ...]) -> Iterator[Match]:
        for key in self._object_keys(class_names):
            try:
                stored, path = self._retrieve_object(key)
            except (CorruptError, InvalidDataError) as error:
                self._report(key, str(error))
                continue
            if stored is not None:
                yield key, stored, path

    def _report(self, storage_key: str, problem: str) -> None:
        if self.problems.get(storage_key) != problem:
            self.problems[storage_key] = problem
            LOGGER.warning("%s: object %r: %s", self.directory, storage_key, problem)

    def _check_registries(self) -> None:
        self._registry()
        if self._registries.evaluator.path.exists() or self._registries.own.path.exists():
            return
        objects = [path for path in self.directory.glob("*.json") if (self.directory / path.stem).is_dir()]
        if objects:
            raise CorruptError(
                f"{str(self.directory)!r} has {len(objects)} objects with files, but no object_keys.json:"
                " restore it, or let rebuild_registry() make a new one from the objects"
            )

    @contextlib.contextmanager
    def _new_files(self, storage_key: str, source: Path | None) -> Iterator[None]:
        """Put a copy of a directory in the place of an object's files, unless what follows fails."""
        place = self.directory / storage_key
        token = uuid.uuid4().hex
        new, old = (self.directory / f".{storage_key}.{token}.{word}" for word in ("new", "old"))
        is_in_place = False
        try:
            if source is not None:
                shutil.copytree(source, new)
            if place.is_dir():
                place.rename(old)
            if source is not None:
                new.rename(place)
                is_in_place = True
            yield
        except BaseException:
            if is_in_place:
                shutil.rmtree(place, ignore_errors=True)
            if old.exists():
                old.rename(place)
            shutil.rmtree(new, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)
        sync_directory(self.directory)


def _checked_directory(directory: PathLike, *, make: bool) -> Path:
    try:
        path = Path(directory).absolute()
    except TypeError as error:
        raise InvalidDataError(f"a directory must be a path, not {type(directory).__name__}") from error
    if path.exists() and not path.is_dir():
        raise InvalidDataError(f"{str(path)!r} is a file: name a directory, or open it with HDF5Storage")
    if not path.exists():
        if not make:
            raise NotFoundError(f"there is no directory {str(path)!r}")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise io_error(error, path) from error
    # Resolved once: a later change of the working directory, or of a link, does not move the store.
    return path.resolve()


def _text_of(stored: BaseStoredData) -> str:
    name, tree = type(stored).data_class_name, stored.to_document()
    if isinstance(stored, EvaluatorObject):
        return dump_typed(stored.to_typed())
    if has_evaluator_form(name):
        return dump_typed(to_evaluator(name, tree))
    return dump_typed(
        {
            "data_class": name,
            "data_class_version": type(stored).data_class_version,
            "document": evaluator_writing.with_tagged_arrays(tree),
            TYPE: OWN_TYPE,
        }
    )


def _object_of(path: Path) -> BaseStoredData:
    try:
        typed = parse_typed(path.read_bytes())
        return _object_from(typed, with_files=path.with_suffix("").is_dir())
    except OSError as error:
        raise StorageIOError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"{str(path)!r} is no stored object: {error!r}") from error
    except InvalidDataError as error:
        error.add_note(f"in {str(path)!r}")
        raise


def _object_from(typed: Any, *, with_files: bool) -> BaseStoredData:
    if isinstance(typed, dict) and typed.get(TYPE) == OWN_TYPE:
        name, version = str(typed["data_class"]), int(typed["data_class_version"])
        tree = read_fields(typed["document"], "")
    elif isinstance(typed, dict) and TYPE in typed and not has_data_class_for(typed):
        # A class that only the user's program knows: nothing of it is lost.
        return opaque_class(with_files=with_files).of(with_arrays(typed))
    else:
        (name, tree), version = from_evaluator(typed), 1
    data_class = data_class_named(name)
    if data_class is None:
        raise InvalidDataError(f"the data class {name!r} is not registered: import the module that does so")
    return data_class.from_document(tree, version)

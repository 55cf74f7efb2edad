"""`LocalFileStorage`: a directory of objects, written and read as OpenFF Evaluator does."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageIOError,
)
from simarchive.ground.filesystem import PathLike
from simarchive.ground.signals import OpenBlock
from simarchive.ground.thread_lock import ThreadLock
from simarchive.queries import BaseDataQuery
from simarchive.storage.ancillary import DirectoryFiles
from simarchive.storage.backend import Match, StorageBackend, arranged_matches, class_names
from simarchive.storage.evaluator_directory.changes import Changes, recover, sweep
from simarchive.storage.evaluator_directory.files import io_error, signature_of, write_text
from simarchive.storage.evaluator_directory.likenesses import Likenesses
from simarchive.storage.evaluator_directory.lock import DirectoryLock
from simarchive.storage.evaluator_directory.registry import DirectoryRegistries, Filing
from simarchive.storage.evaluator_json import writing as evaluator_writing
from simarchive.storage.evaluator_json.documents import (
    data_class_filed_under,
    dump_typed,
    filed_under,
    from_evaluator,
    has_data_class_for,
    has_evaluator_form,
    parse_typed,
    to_evaluator,
)
from simarchive.storage.evaluator_json.objects import EvaluatorObject, opaque_class
from simarchive.storage.evaluator_json.reading import read_fields, with_arrays
from simarchive.storage.evaluator_json.types import TYPE
from simarchive.storage.incoming import Incoming

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
    lock_timeout_s
        How long to wait for another process that is writing.

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
    Processes that use this class take turns writing; Evaluator itself knows nothing of such turns. A change
    that fails or is interrupted leaves the old state. What a killed process left half done the next one that
    writes takes back; until then the objects that were being replaced may be missing or new. For more than
    that use `HDF5Storage`.

    Storing an object reads no other, but for the first one: then all objects of its class are read, to know
    which are the same.
    """

    def __init__(
        self, directory: PathLike = "stored_data", *, mode: str = "a", lock_timeout_s: float = 10.0
    ) -> None:
        super().__init__(ThreadLock("this LocalFileStorage", lock_timeout_s, can_fork=True))
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        self.directory = _checked_directory(directory, make=mode == "a")
        self.problems: dict[str, str] = {}
        self._writable = mode == "a"
        self.lock_timeout_s = lock_timeout_s
        # Not its owner: a turn that an interrupt made end in the midst of its end is no turn any more.
        self._changes: Callable[[], Changes | None] = _nothing
        self._is_swept = False
        self._registries = DirectoryRegistries(self.directory, self.problems)
        self._likenesses = Likenesses(
            self._readable_object, lambda storage_key: signature_of(self._document_path(storage_key))
        )
        self._check_registries()
        for key, problem in self.problems.items():
            LOGGER.warning("%s: object %r is left out: %s", self.directory, key, problem)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    def is_same_store(self, other: object) -> bool:
        """Return whether another backend works on the same directory."""
        return isinstance(other, LocalFileStorage) and self.directory.samefile(other.directory)

    def transaction(self) -> AbstractContextManager[Self]:
        """Make every change in the block one change, or none if an error leaves it.

        The registry, which names all keys, is written once at the end of it. Blocks may be nested: only the
        outermost makes the changes final, and an error that leaves an inner one with something changed makes
        it refuse.

        Raises
        ------
        ReadOnlyError
            If the backend was opened for reading.
        LockedError
            If another process is writing and does not finish in time.
        """
        return OpenBlock(self._locked_turn(), self, lambda: self.lock.is_mine)

    @contextlib.contextmanager
    def _locked_turn(self) -> Iterator[None]:
        with self.lock, self._turn():
            yield

    # --- what every backend must do ----------------------------------------------------------------

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        assert storage_key is not None
        files = None if ancillary_data_path is None else DirectoryFiles(ancillary_data_path)
        incoming = Incoming(object_to_store, files)
        self._put(incoming, storage_key, is_new=not self._object_exists(storage_key))

    def _put(self, incoming: Incoming, storage_key: str, *, is_new: bool) -> None:
        text = _text_of(incoming.stored, incoming.document)
        with incoming.directory() as directory, self._turn() as changes:
            try:
                document, files = changes.new_place(), None
                write_text(document, text, changes.access)
                if directory is not None:
                    files = changes.new_place()
                    shutil.copytree(directory, files)
                    changes.adopt(files)
                # All that can lack room is done: what follows are renames.
                if files is not None:
                    changes.put(storage_key, files)
                elif (self.directory / storage_key).is_dir():
                    changes.take(storage_key)
                changes.put(f"{storage_key}.json", document)
            except OSError as error:
                raise io_error(error, self.directory / storage_key) from error
            self._likenesses.note(storage_key, incoming)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        return self._loaded(storage_key) if self._object_exists(storage_key) else (None, None)

    def _loaded(self, storage_key: str) -> tuple[BaseStoredData | None, Path | None]:
        """Return what there is under a key that is registered."""
        try:
            stored = _object_of(self._document_path(storage_key))
        except FileNotFoundError:
            return None, None
        files = self.directory / storage_key
        if not type(stored).has_ancillary_data():
            return stored, None
        if not files.is_dir():
            self._report(storage_key, "its directory of files is missing")
            return stored, None
        return stored, files

    def _object_exists(self, storage_key: str) -> bool:
        return storage_key in self._filings() and self._document_path(storage_key).is_file()

    # --- hooks ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Changes]:
        """Give the changes of this turn, which become final when the outermost block ends."""
        if not self._writable:
            raise ReadOnlyError(f"{str(self.directory)!r} was opened for reading: open it with mode='a'")
        running = self._running()
        if running is not None:
            with running.part():
                yield running
            return
        lock = DirectoryLock(self.directory)
        changes = Changes(self.directory, *(registry.path for registry in self._registries))
        # Each step to the end twice, for an interrupt may come in the midst of the first.
        try:
            try:
                lock.acquire(self.lock_timeout_s)
                self._clear_up()
                self._changes = weakref.ref(changes)
                try:
                    yield changes
                    self._finish(changes)
                except BaseException:
                    self._undo(changes)
                    raise
            finally:
                changes.is_open = False
                lock.release()
        finally:
            changes.is_open = False
            lock.release()

    def _running(self) -> Changes | None:
        """Return the changes of the turn that is under way here, if one is."""
        changes = self._changes()
        if changes is None or not changes.is_open:
            return None
        if changes.process != os.getpid():
            raise ClosedError(
                f"{str(self.directory)!r} was forked in the midst of a change: open it again in this process"
            )
        return changes

    def _clear_up(self) -> None:
        """Take back, or remove, what killed processes left; what is not known of this turn is forgotten."""
        if recover(self.directory) or self._registries.is_changed:
            self._registries.forget()
        if not self._is_swept:
            try:
                sweep(self.directory)
            except OSError as error:
                raise io_error(error, self.directory) from error
            self._is_swept = True

    def _finish(self, changes: Changes) -> None:
        if changes.process != os.getpid():
            self._running()
        if changes.spoiled is not None:
            raise StorageError(
                f"a change to {str(self.directory)!r} failed halfway, so the whole transaction is taken back"
            ) from changes.spoiled
        if not (changes.has_begun or self._registries.is_changed):
            return
        try:
            written = []
            for registry in self._registries:
                if registry.is_changed:
                    new = changes.new_place()
                    write_text(new, registry.text(), changes.access)
                    written.append((registry, signature_of(new)))
                    changes.put(registry.path.name, new)
            changes.finish()
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise io_error(error, self.directory) from error
        for registry, signature in written:
            registry.written(signature)

    def _undo(self, changes: Changes) -> None:
        if changes.process != os.getpid():
            return
        try:
            changes.undo()
        except OSError as error:
            LOGGER.warning(
                "%s: changes that failed are not taken back yet, the next writer does so: %s",
                self.directory,
                error,
            )
        finally:
            # What is finished may not be cleared away yet.
            self._is_swept = False
            self._registries.forget()

    def _atomic(self) -> AbstractContextManager[object]:
        return self._turn()

    def _filings(self) -> Mapping[str, Filing]:
        """Return where each key is filed, as it is now or will be after this turn."""
        if self._registries.is_changed and self._running() is None:
            self._registries.forget()
        return self._registries.read()

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        self._filings()
        # One look at the directory, not one at each file.
        documents, folders = _names_in(self.directory)
        keys = []
        for key, filing in self._registries.listed():
            if f"{key}.json" not in documents:
                self.problems.setdefault(key, f"the registry names this key, but there is no file {key}.json")
            elif class_names is None or self._class_of(filing, with_files=key in folders) in class_names:
                keys.append(key)
        return keys

    def _is_stored(self, storage_key: str) -> bool:
        return self._object_exists(storage_key)

    def _class_of(self, filing: Filing, *, with_files: bool) -> str:
        class_name = data_class_filed_under(filing.name)
        if filing.is_own or data_class_named(class_name) is not None:
            return class_name
        return opaque_class(with_files=with_files).data_class_name

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        with self._turn():
            self._filings()
            self._registries.add(_filing_of(stored), storage_key)
        self.problems.pop(storage_key, None)

    def _remove_object(self, storage_key: str) -> None:
        with self._turn() as changes:
            try:
                changes.take(f"{storage_key}.json")
                if (self.directory / storage_key).is_dir():
                    changes.take(storage_key)
            except OSError as error:
                raise io_error(error, self.directory / storage_key) from error
            self._filings()
            self._registries.discard(storage_key)
            self._likenesses.forget(storage_key)
        self.problems.pop(storage_key, None)

    def possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects that may be duplicates of this one, of those that were read once."""
        filings = self._filings()
        self._likenesses.follow(self._registries.generation, filings.__contains__)
        for filing in self._registries.names():
            classes = {self._class_of(filing, with_files=with_files) for with_files in (False, True)}
            if incoming.class_name in classes:
                self._likenesses.complete(filing, functools.partial(self._registries.keys_under, filing))
        for key in self._likenesses.alike(incoming):
            stored = self._readable_object(key)
            if stored is not None:
                yield key, stored

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
                stored, path = self._loaded(key)
            except (CorruptError, InvalidDataError) as error:
                self._report(key, str(error))
                continue
            if stored is not None:
                yield key, stored, path

    def _readable_object(self, storage_key: str) -> BaseStoredData | None:
        try:
            return self._loaded(storage_key)[0]
        except (CorruptError, InvalidDataError) as error:
            self._report(storage_key, str(error))
            return None

    def _report(self, storage_key: str, problem: str) -> None:
        if self.problems.get(storage_key) != problem:
            self.problems[storage_key] = problem
            LOGGER.warning("%s: object %r: %s", self.directory, storage_key, problem)

    def _check_registries(self) -> None:
        self._object_keys()
        if self._registries.evaluator.path.exists() or self._registries.own.path.exists():
            return
        objects = [path for path in self.directory.glob("*.json") if (self.directory / path.stem).is_dir()]
        if objects:
            raise CorruptError(
                f"{str(self.directory)!r} has {len(objects)} objects with files, but no object_keys.json:"
                " restore it, or let rebuild_registry() make a new one from the objects"
            )


def _nothing() -> None:
    return None


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


def _names_in(directory: Path) -> tuple[set[str], set[str]]:
    """Return the names of all files and of all folders."""
    files: set[str] = set()
    folders: set[str] = set()
    try:
        with os.scandir(directory) as listing:
            for entry in listing:
                if entry.is_dir():
                    folders.add(entry.name)
                elif entry.is_file():
                    files.add(entry.name)
    except OSError as error:
        raise StorageIOError(f"directory {str(directory)!r} cannot be read: {error.strerror}") from error
    return files, folders


def _filing_of(stored: BaseStoredData) -> Filing:
    class_name = type(stored).data_class_name
    if isinstance(stored, EvaluatorObject):
        return Filing(is_own=False, name=str(stored.type_string).rpartition(".")[2])
    if has_evaluator_form(class_name):
        return Filing(is_own=False, name=filed_under(class_name))
    return Filing(is_own=True, name=class_name)


def _text_of(stored: BaseStoredData, tree: dict[str, Any]) -> str:
    name = type(stored).data_class_name
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
    """Return the object of a document; raise `FileNotFoundError` if the file is gone."""
    try:
        typed = parse_typed(path.read_bytes())
        return _object_from(typed, with_files=path.with_suffix("").is_dir())
    except FileNotFoundError:
        raise
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

"""`LocalFileStorage`: a directory of objects, written and read as OpenFF Evaluator does."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from simarchive.data import BaseStoredData
from simarchive.errors import (
    ConflictError,
    CorruptError,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
    StorageIOError,
)
from simarchive.ground.files_below import file_below
from simarchive.ground.filesystem import PathLike
from simarchive.ground.signals import OpenBlock
from simarchive.ground.thread_lock import ThreadLock
from simarchive.queries import BaseDataQuery
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.backend import StorageBackend
from simarchive.storage.evaluator_directory.changes import Changes
from simarchive.storage.evaluator_directory.documents import Filing, filing_of, read_object, text_of
from simarchive.storage.evaluator_directory.files import (
    Signature,
    copy_files,
    io_error,
    signature_of,
    write_text,
)
from simarchive.storage.evaluator_directory.possible_duplicates import PossibleDuplicates
from simarchive.storage.evaluator_directory.registry import (
    EVALUATOR_REGISTRY,
    OWN_REGISTRY,
    DirectoryRegistries,
    shown_key,
)
from simarchive.storage.evaluator_directory.turns import Turns
from simarchive.storage.evaluator_json import MAX_JSON_BYTES
from simarchive.storage.finding.matches import Match, arranged_matches, class_names
from simarchive.storage.incoming import Incoming

if TYPE_CHECKING:
    from simarchive.storage.scratch import SharedFiles

LOGGER = logging.getLogger("simarchive")
_MOST_WARNINGS = 20


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
    max_json_bytes
        How long the text of an object or a registry may be, 64 MiB by default; what is longer is refused
        before it is parsed. How many values it may have goes with it.
    follow_links
        Links to files outside of the directory, in the place of files of an object, count as these files.

    Attributes
    ----------
    problems
        What was found wrong so far, by key: objects that cannot be read, files without an object. They are
        left out of everything but `retrieve_object`, which says why.
    without_object
        The keys that the registry names although nothing of an object is there, neither its document nor its
        files. Directories from which objects were taken have such keys; they count as removed.

    Raises
    ------
    NotFoundError
        If there is no directory, and none is to be made.
    CorruptError
        If the registry cannot be read as one, or is missing beside objects.

    Notes
    -----
    Processes that use this class take turns writing; Evaluator itself knows nothing of such turns. A change
    that fails or is interrupted leaves the old state. What a killed process left half done is taken back by
    the next one that writes; until then the objects that were being replaced may be missing or new. If you
    need more than that, use `HDF5Storage`.

    Storing the first object of a class reads all objects of that class, to find duplicates; storing others
    reads none.
    """

    def __init__(
        self,
        directory: PathLike = "stored_data",
        *,
        mode: str = "a",
        lock_timeout_s: float = 10.0,
        max_json_bytes: int = MAX_JSON_BYTES,
        follow_links: bool = False,
    ) -> None:
        super().__init__(ThreadLock("this LocalFileStorage", lock_timeout_s, can_fork=True))
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        self.directory = _checked_directory(directory, make=mode == "a")
        self.problems: dict[str, str] = {}
        self.without_object: list[str] = []
        self.max_json_bytes = max_json_bytes
        self._follow_links = follow_links
        self._writable = mode == "a"
        self._last_read: tuple[str, Signature | None, bool] = "", None, False
        self._registries = DirectoryRegistries(self.directory, self.problems, max_json_bytes)
        self._turns = Turns(self.directory, self._registries)
        self._duplicates = PossibleDuplicates(
            self._readable_object, lambda storage_key: signature_of(self._document_path(storage_key))
        )
        self._check_registries()
        for key, problem in itertools.islice(self.problems.items(), _MOST_WARNINGS):
            LOGGER.warning("%s: object %r is left out: %s", self.directory, key, problem)
        if len(self.problems) > _MOST_WARNINGS:
            LOGGER.warning("%s: %d objects are left out in all", self.directory, len(self.problems))
        for remark in self.remarks:
            LOGGER.info("%s: %s", self.directory, remark)

    @property
    def lock_timeout_s(self) -> float:
        """How long to wait for another thread or process that is writing."""
        return self.lock.timeout_s

    @lock_timeout_s.setter
    def lock_timeout_s(self, timeout_s: float) -> None:
        self.lock.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    @property
    def has_registry(self) -> bool:
        """Whether the directory says which keys there are, as every directory of objects does."""
        return self._registries.any_exists

    @property
    def remarks(self) -> list[str]:
        """What is worth saying of the directory and is no problem, in a line each."""
        if not self.without_object:
            return []
        number, shown = len(self.without_object), ", ".join(self.without_object[:_MOST_WARNINGS])
        whose = "1 key that has" if number == 1 else f"{number:,} keys that have"
        more = ", ..." if number > _MOST_WARNINGS else ""
        return [f"the registry names {whose} no object any more: {shown}{more}"]

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
        text = text_of(incoming.stored, incoming.document)
        source = incoming.ancillary if isinstance(incoming.ancillary, DirectoryFiles) else None
        with incoming.directory() as directory, self._turn() as changes:
            try:
                document, files = changes.new_place(), None
                write_text(document, text, changes.access)
                if directory is not None:
                    files = changes.new_place()
                    copy_files(DirectoryFiles(directory) if source is None else source, files)
                    changes.adopt(files)
                # All that can lack room is done: what follows are renames.
                if files is not None:
                    changes.put(storage_key, files)
                elif (self.directory / storage_key).is_dir():
                    changes.take(storage_key)
                changes.put(f"{storage_key}.json", document)
            except OSError as error:
                raise io_error(error, self.directory / storage_key) from error
            self._duplicates.note(storage_key, incoming)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        return self._loaded(storage_key) if self._object_exists(storage_key) else (None, None)

    def _loaded(self, storage_key: str) -> tuple[BaseStoredData | None, Path | None]:
        """Return what there is under a key that is registered."""
        signature = self._signature(storage_key)
        try:
            stored = read_object(self.directory, storage_key, self.max_json_bytes)
        except FileNotFoundError:
            return None, None
        has_files = type(stored).has_ancillary_data()
        self._last_read = storage_key, signature, has_files
        return stored, self._files_of(storage_key) if has_files else None

    def _signature(self, storage_key: str) -> Signature | None:
        """Return what changes with the document of an object; ``None`` if there is nothing to read."""
        try:
            return signature_of(self._document_path(storage_key))
        except OSError:
            return None

    def _files_of(self, storage_key: str) -> Path | None:
        files = self.directory / storage_key
        if files.is_symlink():
            # It is given out only if it does not lead out of the directory.
            file_below(self.directory, storage_key)
        if not files.is_dir():
            self._report(storage_key, "its directory of files is missing")
            return None
        return files

    def members(self, storage_key: str, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object, none of which may lie outside of the directory."""
        with self.lock:
            key, signature, has_files = self._last_read
            # Who copies an object has just read it: its document is not read again to know its class.
            if key == storage_key and signature is not None and signature == self._signature(key):
                path = self._files_of(storage_key) if has_files else None
            else:
                path = self._with_files(storage_key)
        return (
            None
            if path is None
            else DirectoryFiles(path, within=self.directory, follow_links=self._follow_links)
        )

    def _with_files(self, storage_key: str) -> Path | None:
        stored, path = self._loaded(storage_key) if self._object_exists(storage_key) else (None, None)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        return path

    def _object_exists(self, storage_key: str) -> bool:
        return storage_key in self._filings() and os.path.isfile(self._document_path(storage_key))  # noqa: PTH113

    # --- hooks ---------------------------------------------------------------------------------------

    def _atomic(self) -> AbstractContextManager[object]:
        return self._turn()

    def _turn(self) -> AbstractContextManager[Changes]:
        """Give the changes of this turn, which become final when the outermost block ends."""
        if not self._writable:
            raise ReadOnlyError(f"{str(self.directory)!r} was opened for reading: open it with mode='a'")
        return self._turns.take(self.lock_timeout_s)

    def _filings(self) -> Mapping[str, Filing]:
        """Return where each key is filed, as it is now or will be after this turn."""
        if self._registries.is_changed and self._turns.running() is None:
            self._registries.forget()
        return self._registries.read()

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        self._filings()
        # One look at the directory, not one at each file.
        return self._keys_among(_Names.of(self.directory), class_names)

    def _keys_among(self, names: _Names, class_names: tuple[str, ...] | None) -> list[str]:
        keys = []
        self.without_object = []
        for key, filing in self._registries.listed():
            if f"{key}.json" not in names.files:
                if names.has_something_of(key):
                    self.problems.setdefault(key, names.why_no_file(key))
                else:
                    self.without_object.append(key)
            elif class_names is None or filing.class_name(with_files=key in names.folders) in class_names:
                keys.append(key)
        return keys

    def _is_stored(self, storage_key: str) -> bool:
        return self._object_exists(storage_key)

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        with self._turn():
            self._filings()
            self._registries.add(filing_of(stored), storage_key)
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
            self._duplicates.forget(storage_key)
        self.problems.pop(storage_key, None)

    def possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects that may be duplicates of this one, of those that were read once."""
        filings = self._filings()
        self._duplicates.follow(self._registries.generation, filings.__contains__)
        for filing in self._registries.names():
            classes = {filing.class_name(with_files=with_files) for with_files in (False, True)}
            if incoming.class_name in classes:
                self._duplicates.complete(filing, functools.partial(self._registries.keys_under, filing))
        for key in self._duplicates.of(incoming):
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
                yield Match(key, stored, path)

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
        filings, names = self._filings(), _Names.of(self.directory)
        self._keys_among(names, None)
        if not self._registries.any_exists:
            n_objects = sum(name.removesuffix(".json") in names.folders for name in names.documents())
            if n_objects:
                raise CorruptError(
                    f"{str(self.directory)!r} has {n_objects} objects with files, but no object_keys.json:"
                    " restore it, or let rebuild_registry() make a new one from the objects"
                )
        for name in names.documents():
            key = name.removesuffix(".json")
            if key not in filings:
                self.problems.setdefault(
                    shown_key(key),
                    f"no registry names this key, but there is a file {shown_key(name)}: if it is an object,"
                    " let rebuild_registry() list it",
                )


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


@dataclass(frozen=True, slots=True)
class _Names:
    """What is in a directory of objects, by name; links count as what they lead to."""

    files: frozenset[str]
    folders: frozenset[str]
    others: frozenset[str]  # FIFOs, sockets, devices, links that lead nowhere

    @classmethod
    def of(cls, directory: Path) -> _Names:
        """Return what is in a directory; nothing is opened."""
        found: tuple[list[str], list[str], list[str]] = ([], [], [])
        try:
            with os.scandir(directory) as listing:
                for entry in listing:
                    found[_kind_of(entry)].append(entry.name)
        except OSError as error:
            raise StorageIOError(f"directory {str(directory)!r} cannot be read: {error.strerror}") from error
        return cls(*map(frozenset, found))

    def documents(self) -> list[str]:
        """Return the names of files that may be objects."""
        registries = (EVALUATOR_REGISTRY, OWN_REGISTRY)
        return sorted(
            name
            for name in self.files
            if name.endswith(".json") and not name.startswith(".") and name not in registries
        )

    def has_something_of(self, storage_key: str) -> bool:
        """Return whether anything is there that has the name of an object's document or files."""
        return any(
            name in found
            for name in (storage_key, f"{storage_key}.json")
            for found in (self.files, self.folders, self.others)
        )

    def why_no_file(self, storage_key: str) -> str:
        """Return what to say of a key whose document is not there, but something else of it."""
        name = f"{storage_key}.json"
        if name in self.folders or name in self.others:
            return f"the registry names this key, but {name} is not a regular file"
        return f"the registry names this key, and its files are there, but no file {name}"


def _kind_of(entry: os.DirEntry[str]) -> int:
    """Return 0 for a file, 1 for a folder, 2 for all else."""
    try:
        return 0 if entry.is_file() else 1 if entry.is_dir() else 2
    except OSError:
        return 2  # a link that goes round in a circle, or to where nobody may look

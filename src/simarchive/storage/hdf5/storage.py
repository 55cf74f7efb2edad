"""`HDF5Storage`: a whole collection of simulation data in one HDF5 file."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from simarchive.codecs import CODEC_CHOICES
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.members import member_digest
from simarchive.container.object_writing import StoredDocument
from simarchive.data import BaseStoredData, ReplaceableData
from simarchive.errors import ConflictError, CorruptError, InvalidDataError, NotFoundError
from simarchive.ground.thread_lock import ThreadLock
from simarchive.journal import Durability
from simarchive.queries import BaseDataQuery
from simarchive.storage.ancillary import ancillary_files, empty_folders_of, members_of
from simarchive.storage.backend import StorageBackend
from simarchive.storage.essentials import PathLike
from simarchive.storage.hdf5 import indexing, selection
from simarchive.storage.hdf5.inspection import Inspection, interpret
from simarchive.storage.hdf5.members import MemberAccess
from simarchive.storage.incoming import Incoming
from simarchive.storage.querying import Match, arranged_matches
from simarchive.storage.scratch import LazyPath, Scratch, SharedFiles, TemporaryFolder

Progress = Callable[[int], None]


class HDF5Storage(MemberAccess, StorageBackend, Inspection):
    """A storage backend that keeps everything in one HDF5 file, the container.

    Each object is a group with its document as JSON text, its large arrays as variables with units, and
    its files byte for byte as chunked datasets. Every change is a transaction: whatever happens, the
    file opens at the last commit. Several processes may have the same container open; they take turns
    writing, and readers see the last committed state.

    Parameters
    ----------
    path
        The container. It is made if it is missing and `mode` is ``"a"``; an existing one is not written
        to by opening it.
    mode
        ``"a"`` to read and change, ``"r"`` to read: works on read-only media, never writes there.
    scratch_directory
        Where files are extracted to. A directory that is named stays when the backend is closed, and its
        files are used again; by default a temporary one is made, which vanishes with the backend.
    codec
        How new members are stored: ``"deflate"`` (every HDF5 reads it), ``"zstd"`` (smaller and faster,
        needs a plugin elsewhere), ``"trajectory"`` (smallest), ``"raw"``.
    durability
        ``"commit"``: what a call stored is on the disk when it returns. ``"close"``: only when the backend
        is closed, which is faster; a power cut may lose the last commits, never the file.
    lock_timeout_s
        How long to wait for another process that is writing.
    scratch_max_bytes
        Bound on the size of the scratch directory: what was unused for longest makes room.
    log_directory
        Where the redo log lies until `close`, if not beside the container: a way out when its device is full.
        Meanwhile nobody else can open the container.

    Examples
    --------
    >>> with HDF5Storage("water.h5") as backend:  # doctest: +SKIP
    ...     query = SimulationDataQuery()
    ...     query.substance = Substance.from_components("O")
    ...     query.property_phase = PropertyPhase.Liquid
    ...     found_data = backend.query(query)
    """

    def __init__(
        self,
        path: PathLike = "stored_data.h5",
        mode: str = "a",
        scratch_directory: PathLike | None = None,
        *,
        codec: str = "deflate",
        durability: str | Durability = Durability.COMMIT,
        lock_timeout_s: float = 10.0,
        scratch_max_bytes: int | None = None,
        log_directory: PathLike | None = None,
    ) -> None:
        place = _checked_path(path)
        super().__init__(ThreadLock(f"container '{place}'", lock_timeout_s))
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        self.codec = _checked_codec(codec)
        self._container = Container(
            place,
            writable=mode == "a",
            durability=_checked_durability(durability),
            lock_timeout_s=lock_timeout_s,
            lock=self._lock,
            log_directory=None if log_directory is None else os.fspath(Path(log_directory).absolute()),
        )
        self._scratch_directory = None if scratch_directory is None else Path(scratch_directory).absolute()
        self._scratch_max_bytes = scratch_max_bytes
        self._scratch: Scratch | None = None
        self._index_checked_at = -1
        self.progress: Progress | None = None
        """Called with the number of bytes stored since the last call, while files are stored."""

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"{type(self).__name__}({str(self.path)!r}, mode={self.mode!r}{state})"

    @property
    def path(self) -> Path:
        """The container's file."""
        return self._container.path

    @property
    def mode(self) -> str:
        """``"a"`` or ``"r"``."""
        return "a" if self._container.writable else "r"

    @property
    def closed(self) -> bool:
        """Whether the backend has been closed."""
        return self._container.closed

    def close(self) -> None:
        """Release the container, and remove a temporary scratch directory. Closing twice does nothing.

        An open transaction is rolled back. In the handler of a signal that came in the midst of an operation,
        the container is closed as soon as the operation is given up or done.

        Raises
        ------
        LockedError
            If another thread is at work and does not finish within the timeout.
        """
        try:
            self._container.close()
        finally:
            if self._container.closed:
                scratch, self._scratch = self._scratch, None
                if scratch is not None:
                    scratch.close()

    def transaction(self) -> AbstractContextManager[Self]:
        """Make every change in the block one commit, or none if an error leaves it.

        Blocks may be nested: only the outermost commits. If an error leaves an inner one after something was
        changed in it, the outermost commits nothing, even if the error was caught.

        Raises
        ------
        ReadOnlyError
            If the backend was opened for reading.
        LockedError
            If another process is writing and does not finish in time.
        """
        return self._container.open_transaction(self._care_for_index, self)

    def is_same_store(self, other: StorageBackend) -> bool:
        """Return whether another backend has the same container open."""
        return isinstance(other, HDF5Storage) and (
            other is self or os.path.samefile(other.path, self.path)  # noqa: PTH121
        )

    # --- queries that the index answers alone -----------------------------------------------------------

    def keys(self, data_query: BaseDataQuery | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order.

        No document is read where the index alone decides.
        """
        if data_query is None or not data_query.exact:
            return super().keys(data_query)
        data_query.validate()
        with self._container.reading() as contents:
            found = selection.select(contents, data_query)
        return super().keys(data_query) if found is None else found

    def count(self, data_query: BaseDataQuery) -> int:
        """Return how many objects match a query; no document is read where the index alone decides."""
        if data_query.exact and data_query.limit is None:
            data_query.validate()
            with self._container.reading() as contents:
                number = selection.count(contents, data_query)
            if number is not None:
                return number
        return len(self.keys(data_query))

    # --- what StorageBackend asks for ------------------------------------------------------------------

    def _atomic(self) -> AbstractContextManager[object]:
        return self._changing()

    def _changing(self) -> AbstractContextManager[Contents]:
        """Give the contents for changes, with an index that works."""
        return self._container.transaction(self._care_for_index)

    def _care_for_index(self, contents: Contents) -> None:
        # What was rebuilt in a transaction that was rolled back is gone.
        if self._index_checked_at != self._container.roll_backs or contents.tables.distrusted:
            indexing.restore(contents)
            self._index_checked_at = self._container.roll_backs

    def _object_exists(self, storage_key: str) -> bool:
        with self._container.reading() as contents:
            return storage_key in contents

    def _is_stored(self, storage_key: str) -> bool:
        return self._object_exists(storage_key)

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        with self._container.reading() as contents:
            if class_names is None:
                return contents.keys()
            return list(selection.keys_of_classes(contents, class_names))

    def __len__(self) -> int:
        with self._container.reading() as contents:
            return len(contents)

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        """Do nothing: the objects themselves are the registry."""

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        with self._changing() as contents:
            key = storage_key or self._free_key(None)
            self._put(Incoming(object_to_store, ancillary_data_path), key, is_new=key not in contents)

    def _put(self, incoming: Incoming, storage_key: str, *, is_new: bool) -> None:
        stored = StoredDocument(
            data_class=incoming.class_name,
            data_class_version=type(incoming.stored).data_class_version,
            tree=incoming.readable_document(),
            has_ancillary_data=incoming.directory is not None,
            empty_folders=empty_folders_of(incoming.files),
            members=members_of(incoming.files),
        )
        row = indexing.row_of(incoming.index_values, incoming.identity)
        with self._container.reading() as contents:
            # Before the object is written: a table that has to be made must not find it.
            indexing.prepare(contents, stored.data_class)
            replaced = None if is_new else _class_name_if_readable(contents, storage_key)
            contents.write(
                storage_key,
                stored,
                codec=self.codec,
                identity=incoming.identity,
                is_new=is_new,
                progress=self.progress,
            )
            with contents.in_one_piece():
                if is_new or replaced == stored.data_class:
                    indexing.put(contents, stored.data_class, storage_key, row)
                else:
                    indexing.forget(contents, replaced, storage_key)
                    # It keeps its place among the objects, so its row is not the last one of its new class.
                    indexing.rebuild(contents, stored.data_class)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        with self._container.reading() as contents:
            if storage_key not in contents:
                return None, None
            found = contents.document(storage_key)
            return interpret(storage_key, found), self._ancillary_path(storage_key, found)

    def _document_of(self, storage_key: str) -> BaseStoredData:
        with self._container.reading() as contents:
            return self._load(contents, storage_key)

    def _remove_object(self, storage_key: str) -> None:
        with self._changing() as contents:
            class_name = _class_name_if_readable(contents, storage_key)
            contents.remove(storage_key)
            with contents.in_one_piece():
                indexing.forget(contents, class_name, storage_key)

    def _twins(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        # Nothing is held open between two of them: the caller may leave in the midst, or store.
        for key in self._likely_twins(incoming):
            with self._container.reading() as contents:
                if key not in contents:
                    continue
                try:
                    twin = self._load(contents, key)
                except (CorruptError, *indexing.NOT_UNDERSTOOD) as error:
                    indexing.LOGGER.warning("object %r: %s: nothing is compared with it", key, error)
                    continue
            yield key, twin

    def _likely_twins(self, incoming: Incoming) -> list[str]:
        """Return the keys of at least all objects that may be the same as this one."""
        class_name = incoming.class_name
        with self._container.reading() as contents:
            found = indexing.select(contents, class_name, [indexing.identical(incoming.identity)])
            if found is not None and isinstance(incoming.stored, ReplaceableData):
                same = indexing.select(contents, class_name, incoming.same_measurement())
                found = None if same is None else [*found, *same]
            return list(
                indexing.keys_by_scan(contents, (class_name,)) if found is None else dict.fromkeys(found)
            )

    def _has_same_files(self, storage_key: str, directory: Path) -> bool:
        files = ancillary_files(directory)
        members = members_of(files)
        with self._container.reading() as contents:
            infos = {info.name: info for info in contents.members(storage_key)}
            return (
                infos.keys() == members.keys()
                and contents.empty_folders(storage_key) == empty_folders_of(files)
                and all(infos[name].size == path.stat().st_size for name, path in members.items())
                and all(infos[name].digest == member_digest(path)[1] for name, path in members.items())
            )

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        found = []
        with self._container.reading() as contents:
            for key in selection.candidates(contents, data_query):
                try:
                    document = contents.document(key, functools.partial(self._array, key))
                    stored = interpret(key, document, lazily=True)
                    matched = data_query.apply(stored)
                except (CorruptError, NotFoundError, *indexing.NOT_UNDERSTOOD) as error:
                    indexing.LOGGER.warning("object %r is left out of a query: %s", key, error)
                    continue
                if matched is not None:
                    found.append((matched, (key, stored, self._ancillary_path(key, document))))
        yield from arranged_matches(data_query, found)

    @contextlib.contextmanager
    def _borrowed(
        self, storage_key: str, shared: SharedFiles | None = None
    ) -> Iterator[tuple[BaseStoredData, PathLike | None]]:
        with contextlib.ExitStack() as stack:
            contents = stack.enter_context(self._container.reading())
            document = contents.document(storage_key, functools.partial(self._array, storage_key))
            stored = interpret(storage_key, document)
            if not document.has_ancillary_data:
                yield stored, None
                return

            @functools.cache
            def extracted() -> Path:
                folder = TemporaryFolder(self._scratch_directory)
                stack.callback(folder.remove)
                directory = folder.path / storage_key
                if shared is None:
                    self.extract(storage_key, directory)
                    return directory
                for name in contents.empty_folders(storage_key):
                    (directory / name).mkdir(parents=True, exist_ok=True)
                extract = functools.partial(contents.extract_member, storage_key)
                shared.extract(directory, contents.shared_members(storage_key), extract)
                return directory

            # A plan looks at no file, so none is extracted before somebody asks for the path.
            yield stored, LazyPath(extracted)

    def _new_at(self, destination: PathLike) -> Self:
        if Path(destination).exists():
            raise ConflictError(f"'{os.fspath(destination)}' exists already: name a file that does not")
        return type(self)(destination, codec=self.codec)

    # --- the parts of the above ----------------------------------------------------------------------

    def _load(self, contents: Contents, key: str) -> BaseStoredData:
        """Return an object whose arrays are read when someone looks at them."""
        return interpret(key, contents.document(key, functools.partial(self._array, key)))


def _class_name_if_readable(contents: Contents, key: str) -> str | None:
    """Return the name of an object's data class; ``None`` if it is damaged, and can still be removed."""
    try:
        return contents.class_name(key)
    except CorruptError:
        return None


def _checked_path(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InvalidDataError(f"a container is named by a path, not by {path!r}")
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise NotFoundError(f"'{path}' names no container: the current directory was removed") from error


def _checked_codec(codec: str) -> str:
    if codec not in CODEC_CHOICES:
        raise InvalidDataError(f"codec {codec!r} is not known: use one of {', '.join(CODEC_CHOICES)}")
    return codec


def _checked_durability(durability: str | Durability) -> Durability:
    try:
        return Durability(durability)
    except ValueError as error:
        raise InvalidDataError(f"durability {durability!r} is not known: use 'commit' or 'close'") from error

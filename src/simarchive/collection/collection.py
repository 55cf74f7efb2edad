"""`Collection`: many containers read as one backend, and written by many processes at once."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from simarchive.collection import changes, writing
from simarchive.collection.changes import State
from simarchive.collection.writing import ShardOutcome, ShardWriter, check_work_id, shard_file
from simarchive.data import BaseStoredData, registered_data_classes
from simarchive.errors import (
    ClosedError,
    CorruptError,
    FormatError,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
)
from simarchive.ground.conditions import Value
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import is_key
from simarchive.queries import BaseDataQuery
from simarchive.remote.address import name_of
from simarchive.remote.folders import folder_at
from simarchive.storage.ancillary import AncillaryData
from simarchive.storage.backend import StorageBackend
from simarchive.storage.duplicates import StoreOutcome
from simarchive.storage.finding.matches import Match, arranged, class_names
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.incoming import Incoming

if TYPE_CHECKING:
    from simarchive.container.members import MemberInfo
    from simarchive.container.objects import ObjectHeader
    from simarchive.storage.scratch import AncillaryPath, SharedFiles
    from simarchive.storage.trajectories.frames import Frames

LOGGER = logging.getLogger("simarchive")

_OPENED_AT_ONCE = 16


class Collection(StorageBackend):
    """Many containers, the shards, that are read as one backend.

    A shard holds what one piece of work made; it is written by one process on its own, published as a whole,
    and never changed. So any number of processes write at once, without locks: see `writer`. What is read is
    one state of the collection, of the first read or the last `refresh`. Objects come shard by shard, in the
    order of work ids. Of two objects under one key the first counts.

    Parameters
    ----------
    path_or_url
        A folder, made by the first writer, or its URL in an object store (``s3://``, ``gs://``, ``az://``),
        which needs obstore (``pip install 'simarchive[remote]'``).
    mode
        ``"a"`` to read and write, ``"r"`` to read.

    Notes
    -----
    A collection can be pickled, as Dask does to send it to workers. Nothing is read or opened before it is
    needed: one that is only written to costs no look at its shards.

    Examples
    --------
    >>> collection = Collection("s3://lab/water")  # doctest: +SKIP
    >>> with collection.writer("density-0001") as backend:  # doctest: +SKIP
    ...     backend.store_object(data, "density-0001/")
    """

    def __init__(self, path_or_url: PathLike, mode: str = "a") -> None:
        if not isinstance(path_or_url, (str, os.PathLike)) or not os.fspath(path_or_url):
            raise InvalidDataError(f"a collection is named by a path or a URL, not by {path_or_url!r}")
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and write, 'r' to read")
        super().__init__()
        self.path, self.mode = name_of(path_or_url).absolute(), mode
        self._folder = folder_at(self.path)
        if mode == "r" and not self._folder.exists():
            raise NotFoundError(f"there is no collection '{self.path}'")
        self._has_checked = self._closed = False
        self._state: State | None = None
        self._shards: dict[str, HDF5Storage] = {}
        self._homes: dict[str, str] = {}  # work id by key
        self._retired: list[HDF5Storage] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.path), self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, mode={self.mode!r})"

    # --- writing --------------------------------------------------------------------------------------

    def writer(
        self,
        work_id: str,
        *,
        max_objects: int = writing.USUAL_OBJECTS,
        codec: str = "deflate",
        directory: PathLike | None = None,
    ) -> ShardWriter:
        """Return a writer: ``with collection.writer(work_id) as backend:`` gives an `HDF5Storage` to fill.

        When the block ends, the container is published under the name of the work: whole, and once. If the
        same work was done twice, the shard that was there first stays; the second writer logs a warning, and
        its `outcome` says so. After an error, or if the process is killed, nothing of it is visible. A
        block in which nothing was stored publishes nothing.

        Parameters
        ----------
        work_id
            What names the work, the same each time it is tried; by the rules of keys.
        max_objects
            The shard takes no more; at most 30,000.
        codec
            As for `HDF5Storage`.
        directory
            Where the container lies until it is published: by default the system's folder for temporary
            files. What killed processes left there is removed by the next writer.

        Raises
        ------
        InvalidDataError
            If the work id cannot be one.
        ReadOnlyError
            If the collection was opened for reading.
        StorageIOError
            If the object store ignores the condition If-None-Match.
        """
        self._check_writable()
        check_work_id(work_id)
        self._check_conditions()
        return ShardWriter(
            self._folder,
            work_id,
            self.refresh,
            max_objects=max_objects,
            directory=None if directory is None else Path(directory),
            options={"codec": codec},
        )

    def publish(self, path: PathLike, work_id: str) -> ShardOutcome:
        """Publish a copy of a container that has a map as a shard: once, as `writer` does.

        Raises
        ------
        InvalidDataError
            If it has no map: see `simarchive.repack`.
        """
        self._check_writable()
        check_work_id(work_id)
        self._check_conditions()
        outcome = writing.publish(self._folder, Path(path), work_id)
        self.refresh()
        return outcome

    def is_published(self, work_id: str) -> bool:
        """Return whether a work was done: its shard is there, or was removed. Looks each time."""
        check_work_id(work_id)
        with contextlib.suppress(NotFoundError):
            self._folder.tail(shard_file(work_id), 1)
            return True
        return work_id in changes.last_state(self._folder).removed_shards

    def remove(self, storage_keys: Iterable[str]) -> None:
        """Take objects out of the collection, for all who open it from now on, as one change.

        They stay in their shards, unseen.

        Raises
        ------
        NotFoundError
            If one of them is not there. Nothing is removed.
        """
        self._check_writable()
        self._check_conditions()
        keys = frozenset([storage_keys] if isinstance(storage_keys, str) else storage_keys)

        def decide(state: State) -> State | None:
            self._read(state)
            missing = sorted(keys - self._homes.keys())
            if missing:
                raise NotFoundError(f"no object has the key {missing[0]!r}: nothing was removed")
            # Each shard that has the key: the second one must not come to light.
            found = {name: keys.intersection(shard.keys()) for name, shard in self._shards.items()}
            removed = {name: gone for name, gone in found.items() if gone}
            return state.without_objects(removed) if removed else None

        with self.lock:
            self._read(changes.change(self._folder, decide))

    def remove_object(self, storage_key: str) -> None:
        """Take one object out of the collection: see `remove`."""
        self.remove([storage_key])

    def remove_shards(self, work_ids: Iterable[str]) -> None:
        """Take shards out of the collection with all of their objects, as one change.

        The files stay. A work whose shard was removed counts as done: its name cannot be used again.

        Raises
        ------
        NotFoundError
            If one of them is not there, or somebody else took it out before. Nothing is removed.
        """
        self._check_writable()
        self._check_conditions()
        names = frozenset([work_ids] if isinstance(work_ids, str) else work_ids)

        def decide(state: State) -> State | None:
            missing = sorted(names - self._live(state))
            if missing:
                raise NotFoundError(f"there is no shard of the work {missing[0]!r}: nothing was removed")
            return state.without_shards(names) if names else None

        with self.lock:
            changes.change(self._folder, decide)
            self.refresh()

    def put(
        self,
        object_to_store: BaseStoredData,
        ancillary_data: AncillaryData | None = None,
        *,
        storage_key: str | None = None,
        replacing: str | None = None,
    ) -> StoreOutcome:
        """Raise ReadOnlyError: what is stored goes through `writer`."""
        raise ReadOnlyError(
            "a collection is written to shard by shard: with collection.writer(work_id) as backend: ..."
        )

    # --- the state that is read -----------------------------------------------------------------------

    @property
    def work_ids(self) -> list[str]:
        """The names of the shards that count, in order."""
        with self._opened() as shards:
            return list(shards)

    def refresh(self) -> None:
        """See, from the next read on, what others have published or removed meanwhile."""
        with self.lock:
            self._state = None

    def close(self) -> None:
        """Close all shards, and remove what was extracted. Closing twice does nothing."""
        with self.lock, contextlib.ExitStack() as stack:
            self._closed = True
            for shard in (*self._shards.values(), *self._retired):
                stack.callback(shard.close)
            self._shards, self._homes, self._retired, self._state = {}, {}, [], None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, HDF5Storage]]:
        """Give the shards that count, by work id."""
        with self.lock:
            if self._closed:
                raise ClosedError(f"the collection '{self.path}' is closed: open it again")
            if self._state is None:
                # The changes first: what a change took out later still counts then, and nothing is missing.
                self._read(changes.last_state(self._folder))
            yield self._shards

    def _live(self, state: State) -> frozenset[str]:
        files = self._folder.names(writing.FOLDER)
        names = (name.removesuffix(".h5") for name in files if name.endswith(".h5"))
        # What is named otherwise was not published by a writer.
        return frozenset(name for name in names if is_key(name) and name not in state.removed_shards)

    def _read(self, state: State) -> None:
        """Open the shards that count in a state, several at once, and learn their keys."""
        live = sorted(self._live(state))
        # What was given out of a shard stays good until the collection is closed.
        self._retired += [shard for name, shard in self._shards.items() if name not in live]
        known = {name: shard for name, shard in self._shards.items() if name in live}
        new = [name for name in live if name not in known]
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            try:
                for name, shard in zip(new, pool.map(self._open, new), strict=True):
                    if shard is not None:
                        known[name] = shard
            finally:
                self._shards = {name: known[name] for name in live if name in known}
        self._homes = {}
        for name, shard in self._shards.items():
            removed = state.removed_objects.get(name, ())
            for key in shard.keys():  # noqa: SIM118
                if key not in removed:
                    self._homes.setdefault(key, name)
        self._state = state

    def _open(self, work_id: str) -> HDF5Storage | None:
        place = self._folder.place_of(shard_file(work_id))
        try:
            return HDF5Storage(place, "r")
        except (CorruptError, FormatError) as error:
            LOGGER.warning("a shard is left out: %s", error)
            return None

    def _home(self, storage_key: object) -> HDF5Storage:
        """Return the shard with an object."""
        with self._opened() as shards:
            name = self._homes.get(storage_key) if isinstance(storage_key, str) else None
            if name is None:
                raise NotFoundError(f"no object has the key {storage_key!r}")
            return shards[name]

    def _own_keys(self, name: str, keys: Iterable[str]) -> list[str]:
        """Return those of a shard's keys under which the collection has the shard's object."""
        return [key for key in keys if self._homes.get(key) == name]

    # --- queries --------------------------------------------------------------------------------------

    def keys(self, data_query: BaseDataQuery | str | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all; the indexes of the shards answer."""
        with self._opened() as shards:
            if data_query is None:
                return list(self._homes)
            asked = self.asked(data_query)
            order = None if asked.order_by is None else asked.order_by.removeprefix("-")
            classes = class_names(asked)
            found: dict[str, list[tuple[str, Value]]] = {name: [] for name in classes}
            for name, shard in shards.items():
                values = _values(shard, _unlimited(asked), order)
                chosen = self._own_keys(name, values)
                for class_name in classes if chosen else ():
                    of_class = set(chosen if len(classes) == 1 else shard.select([class_name]))
                    found[class_name] += [(key, values[key]) for key in chosen if key in of_class]
            pairs = [pair for of_class in found.values() for pair in of_class]
            return [key for key, _ in arranged(asked, pairs, lambda pair, _: pair[1])]

    def columns(
        self, data_query: BaseDataQuery | str, names: Sequence[str] | None = None
    ) -> dict[str, list[Value]]:
        """Return the indexed values of the objects that match a query, as `HDF5Storage.columns` does."""
        with self._opened() as shards:
            asked = self.asked(data_query)
            rows: dict[str, dict[str, Value]] = {}
            for name, shard in shards.items():
                columns = shard.columns(_unlimited(asked), names)
                own = set(self._own_keys(name, map(str, columns["key"])))
                for row in zip(*columns.values(), strict=True):
                    values = dict(zip(columns, row, strict=True))
                    if values["key"] in own:
                        rows[str(values["key"])] = values
            keys = self.keys(asked)
            titles = list(dict.fromkeys(title for values in rows.values() for title in values)) or ["key"]
            return {title: [rows[key].get(title) for key in keys] for title in titles}

    def prefetch(self, storage_keys: Iterable[str], files: Sequence[str] = ()) -> None:
        """Say which objects, and which files of them, will be read next: see `HDF5Storage.prefetch`."""
        with self._opened() as shards:
            by_shard: dict[str, list[str]] = {}
            for key in storage_keys:
                if key in self._homes:
                    by_shard.setdefault(self._homes[key], []).append(key)
            for name, keys in by_shard.items():
                shards[name].prefetch(keys, files)

    def data_class(self, name: str) -> type[BaseStoredData] | None:
        """Return the data class of a name: of this program, or as a shard describes it."""
        found = super().data_class(name)
        if found is None:
            with self._opened() as shards:
                found = next(filter(None, (shard.data_class(name) for shard in shards.values())), None)
        return found

    def data_classes(self) -> list[type[BaseStoredData]]:
        """Return the known data classes of the objects, and the registered ones."""
        with self._opened() as shards:
            described = [one for shard in shards.values() for one in shard.data_classes()]
            return list(dict.fromkeys([*registered_data_classes(), *described]))

    # --- objects and files: what the shard has --------------------------------------------------------

    def load(self, storage_key: str) -> BaseStoredData:
        """Return an object alone: see `HDF5Storage.load`."""
        return self._home(storage_key).load(storage_key)

    def glance(self, storage_key: str) -> BaseStoredData:
        """Return an object of which only what is looked at is made: see `HDF5Storage.glance`."""
        return self._home(storage_key).glance(storage_key)

    def header(self, storage_key: str) -> ObjectHeader:
        """Return what is known of an object without reading its document: see `HDF5Storage.header`."""
        return self._home(storage_key).header(storage_key)

    def members(self, storage_key: str, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object, wherever they lie: see `HDF5Storage.members`."""
        return self._home(storage_key).members(storage_key, shared=shared)

    def ancillary_path(self, storage_key: str) -> AncillaryPath | None:
        """Return the path of an object's files, extracted on use: see `HDF5Storage.ancillary_path`."""
        return self._home(storage_key).ancillary_path(storage_key)

    def list_members(self, storage_key: str, patterns: Sequence[str] | None = None) -> list[MemberInfo]:
        """Return what is known of each file of an object: see `HDF5Storage.list_members`."""
        return self._home(storage_key).list_members(storage_key, patterns)

    def open_member(self, storage_key: str, name: str) -> BinaryIO:
        """Return a binary file over a member, without extracting it: see `HDF5Storage.open_member`."""
        return self._home(storage_key).open_member(storage_key, name)

    def extract(
        self, storage_key: str, destination: PathLike, patterns: Sequence[str] | None = None, **options: Any
    ) -> list[Path]:
        """Write an object's files below a directory; return their paths: see `HDF5Storage.extract`."""
        return self._home(storage_key).extract(storage_key, destination, patterns, **options)

    def frames(self, storage_key: str, name: str | None = None) -> Frames:
        """Return the frames of a trajectory as arrays: see `HDF5Storage.frames`."""
        key = self.full_key(storage_key)
        return self._home(key).frames(key, name)

    def universe(self, storage_key: str, *files: Any, **options: Any) -> Any:
        """Return a universe of MDAnalysis that reads an object's files: see `HDF5Storage.universe`."""
        key = self.full_key(storage_key)
        return self._home(key).universe(key, *files, **options)

    # --- what StorageBackend asks for -----------------------------------------------------------------

    def possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects that may be duplicates of this one, as the indexes know them."""
        with self._opened() as shards:
            for name, shard in shards.items():
                for key, stored in shard.possible_duplicates(incoming):
                    if self._own_keys(name, [key]):
                        yield key, stored

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        self.put(object_to_store)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        if not self._object_exists(storage_key):
            return None, None
        return self._home(storage_key).retrieve_object(storage_key, expected_type)

    def _object_exists(self, storage_key: str) -> bool:
        with self._opened():
            return storage_key in self._homes

    def _is_stored(self, storage_key: str) -> bool:
        return self._object_exists(storage_key)

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        with self._opened() as shards:
            if class_names is None:
                return list(self._homes)
            return [
                key
                for class_name in class_names
                for name, shard in shards.items()
                for key in self._own_keys(name, shard.select([class_name]))
            ]

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        chosen = self.keys(data_query)
        self.prefetch(chosen)
        for key in chosen:
            home = self._home(key)
            try:
                stored = home.glance(key)
                matched = data_query.apply(stored)
                path = home.ancillary_path(key)
            except (CorruptError, NotFoundError, InvalidDataError, FormatError) as error:
                LOGGER.warning("object %r is left out of a query: %s", key, error)
                continue
            if matched is not None:
                yield matched, Match(key, stored, path)

    def _check_writable(self) -> None:
        if self.mode == "r":
            raise ReadOnlyError(f"the collection '{self.path}' was opened for reading: open it with mode 'a'")

    def _check_conditions(self) -> None:
        """Find out, once, whether the place gives a name only once."""
        if not self._has_checked:
            self._folder.check_conditions()
            self._has_checked = True


def _unlimited(data_query: BaseDataQuery) -> BaseDataQuery:
    every = copy.deepcopy(data_query)  # a copy alone would share its criteria
    every.limit = every.order_by = None
    return every


def _values(shard: HDF5Storage, data_query: BaseDataQuery, column: str | None) -> dict[str, Value]:
    """Return the value of a column by key of each match in a shard; ``None`` if no column is named."""
    if column is None:
        return dict.fromkeys(shard.keys(data_query))
    columns = shard.columns(data_query, [column])
    return dict(zip(map(str, columns["key"]), columns[column], strict=True))

"""A shard on its way in: a container of this process, which is published as a whole, once, or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from simarchive.data import BaseStoredData
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError, StorageError
from simarchive.ground.keys import check_key
from simarchive.remote.folders import Folder
from simarchive.remote.map_format import TRAILER_BYTES, Trailer
from simarchive.storage.ancillary import AncillaryData
from simarchive.storage.duplicates import StoreOutcome
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.scratch import TemporaryFolder

LOGGER = logging.getLogger("simarchive")

FOLDER = "shards"
USUAL_OBJECTS = 10_000
MOST_OBJECTS = 30_000
"""netCDF-C cannot open files with 32,767 groups or more."""

_SCRATCH_PREFIX = "simarchive-shard-"


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """What became of a shard that was to be published.

    Attributes
    ----------
    work_id
        Its name.
    place
        Its path or URL.
    is_published
        Whether it is the one that is there now. If not, another of this name was there first.
    is_same
        Whether the objects of the other one are the same as these; true if it is this one.
    """

    work_id: str
    place: str
    is_published: bool
    is_same: bool

    def __str__(self) -> str:
        if self.is_published:
            return f"{self.work_id}: published as '{self.place}'"
        objects = "has the same objects" if self.is_same else "has other objects"
        return f"{self.work_id}: published before; '{self.place}', which {objects}, stays as it is"


class ShardStorage(HDF5Storage):
    """The container of one shard, which takes no more objects than a shard may have."""

    most_objects = USUAL_OBJECTS
    _n_at_most = 0  # as many objects as were put, or fewer

    def put(
        self,
        object_to_store: BaseStoredData,
        ancillary_data: AncillaryData | None = None,
        *,
        storage_key: str | None = None,
        replacing: str | None = None,
    ) -> StoreOutcome:
        """Do what `HDF5Storage.put` does.

        Raises
        ------
        ConflictError
            If the shard would have too many objects. The new one is not stored.
        """
        with self.transaction():
            outcome = super().put(
                object_to_store, ancillary_data, storage_key=storage_key, replacing=replacing
            )
            self._n_at_most += 1
            if self._n_at_most > self.most_objects:
                self._n_at_most = len(self)
                check_size(self._n_at_most, self.most_objects)
        return outcome


def check_size(n_objects: int, most: int) -> None:
    """Refuse a shard with more than so many objects."""
    if n_objects > most:
        raise ConflictError(
            f"a shard has at most {most:,} objects here, and this would be number {n_objects:,}: divide the"
            f" work among several work ids, or give 'max_objects' (at most {MOST_OBJECTS:,})"
        )


def check_work_id(work_id: object) -> str:
    """Return a work id if it can be the name of a shard.

    Raises
    ------
    InvalidDataError
        If it cannot be a key: see `check_key`.
    """
    try:
        return check_key(work_id)
    except InvalidDataError as error:
        raise InvalidDataError(f"a work id is like a key: {error}") from error


def shard_file(work_id: str) -> str:
    """Return the name of a shard's file in the collection."""
    return f"{FOLDER}/{work_id}.h5"


class ShardWriter:
    """Gives a container in a ``with`` block, and publishes it when the block ends without an error.

    An error, or the end of the process, leaves nothing in the collection. If publishing itself fails, the
    container is kept, and the error says where.

    Attributes
    ----------
    outcome
        What became of it, after the block; ``None`` before, and if nothing was stored.
    """

    def __init__(
        self,
        folder: Folder,
        work_id: str,
        published: Callable[[], None],
        *,
        max_objects: int = USUAL_OBJECTS,
        directory: Path | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.work_id = check_work_id(work_id)
        if not 0 < max_objects <= MOST_OBJECTS:
            raise InvalidDataError(f"a shard has 1 to {MOST_OBJECTS:,} objects, not {max_objects!r}")
        self.outcome: ShardOutcome | None = None
        self._folder, self._published = folder, published
        self._max_objects, self._directory, self._options = max_objects, directory, options or {}
        self._scratch: TemporaryFolder | None = None
        self._backend: ShardStorage | None = None

    def __enter__(self) -> HDF5Storage:
        if self._scratch is not None:
            raise ConflictError("a writer is used for one block: ask the collection for another one")
        # What killed processes left there is swept.
        self._scratch = TemporaryFolder(self._directory, prefix=_SCRATCH_PREFIX)
        try:
            self._backend = ShardStorage(
                self._scratch.path / f"{self.work_id}.h5", durability="close", **self._options
            )
        except BaseException:
            self._scratch.remove()
            raise
        self._backend.most_objects = self._max_objects
        return self._backend

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._backend is not None
        assert self._scratch is not None
        path = self._backend.path
        try:
            n_objects = len(self._backend) if kind is None else 0
            self._backend.close()
            if n_objects:
                self._publish(path)
            elif kind is None:
                LOGGER.warning("%s: nothing was stored, so nothing is published", self.work_id)
        except StorageError as failure:
            if kind is None:
                self._scratch.keep()
                failure.add_note(
                    f"what was to be published is kept as '{path}': publish it with"
                    f" Collection(...).publish({str(path)!r}, {self.work_id!r})"
                )
            raise
        finally:
            self._scratch.remove()

    def _publish(self, path: Path) -> None:
        repack(path, publish=True)
        self.outcome = publish(self._folder, path, self.work_id)
        self._published()


def publish(folder: Folder, path: Path, work_id: str) -> ShardOutcome:
    """Give a published container the name of a work in a collection, unless there is one of this name.

    Raises
    ------
    InvalidDataError
        If the container has no map, or more objects than a shard may have.
    StorageIOError
        If it failed. Trying again is safe.
    """
    name = shard_file(check_work_id(work_id))
    trailer = _trailer_of(path)
    with HDF5Storage(path, "r") as backend:
        check_size(len(backend), MOST_OBJECTS)
    try:
        folder.create(name, path)
    except FileExistsError:
        is_ours = _is_there(folder, name, trailer)
    except StorageError:
        # The answer may have been lost after it was done.
        if not _is_there(folder, name, trailer):
            raise
        is_ours = True
    else:
        is_ours = True
    place = folder.place_of(name)
    outcome = ShardOutcome(work_id, place, is_ours, is_ours or _has_same_objects(path, place))
    if not is_ours:
        LOGGER.warning("%s", outcome)
    return outcome


def _is_there(folder: Folder, name: str, trailer: tuple[bytes, int]) -> bool:
    """Return whether what has a name ends as a file does, with the digest of its map and a random state."""
    with contextlib.suppress(NotFoundError):
        return folder.tail(name, TRAILER_BYTES) == trailer
    return False


def _trailer_of(path: Path) -> tuple[bytes, int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TRAILER_BYTES))
        data = file.read()
    with contextlib.suppress(ValueError):
        if Trailer.at_end_of(data, size) is not None:
            return data, size
    raise InvalidDataError(
        f"container '{path}' has no map, without which it is slow to read from afar: make it with"
        f" 'simarchive repack {path} --publish', and publish it then"
    )


def _has_same_objects(path: Path, place: str) -> bool:
    """Return whether two containers hold equal objects, whatever their keys are; false if nobody can tell."""
    found = []
    try:
        for one in (path, place):
            with HDF5Storage(one, "r") as backend:
                found.append(Counter(header.identity for header in backend.headers()))
    except StorageError as error:
        LOGGER.warning("'%s' cannot be compared with '%s': %s", place, path, error)
        return False
    return found[0] == found[1]

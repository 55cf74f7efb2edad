"""What a merge would do: the same decisions, on documents and digests, with nothing copied or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simarchive.data import BaseStoredData
from simarchive.errors import NotFoundError
from simarchive.storage import duplicates, merging
from simarchive.storage.backend import StorageBackend, StoreOutcome
from simarchive.storage.essentials import PathLike
from simarchive.storage.incoming import Incoming

_Place = tuple[StorageBackend, str]


def plan(target: StorageBackend | None, sources: Sequence[StorageBackend]) -> list[merging.MergeReport]:
    """Return what merging each source into the target, one after another, would report.

    Parameters
    ----------
    target
        Where the objects would go; ``None`` for a new, empty store.
    """
    planned = PlannedStorage(target)
    reports = []
    # A later source may be compared with an earlier one: all are held at once, in the order of all merges.
    with merging.locked(planned._lock, *(source._lock for source in sources)):
        for source in sources:
            planned.source = source
            reports.append(merging.merge(planned, source))
    return reports


class PlannedStorage(StorageBackend):
    """A backend that remembers which objects it would have, and from where, but keeps no files."""

    def __init__(self, target: StorageBackend | None) -> None:
        super().__init__()
        if target is not None:
            self._lock = target._lock
        self.source: StorageBackend | None = None
        self._target = target
        self._places: dict[str, _Place] = {}
        self._objects: dict[str, BaseStoredData] = {}
        self._alike: dict[object, list[str]] = {}

    def _store(
        self,
        object_to_store: BaseStoredData,
        ancillary_data_path: PathLike | None,
        *,
        storage_key: str | None,
    ) -> StoreOutcome:
        if self.source is None or storage_key is None:
            raise NotFoundError("a plan needs the source of each object")
        object_to_store.validate()
        incoming = Incoming(object_to_store)
        place = (self.source, storage_key)
        decision = duplicates.decide(
            object_to_store,
            self._twins(incoming),
            lambda key: _digests(self._place_of(key)) == _digests(place),
        )
        key = decision.existing_key or self._free_key(storage_key)
        if decision.action is not duplicates.Action.KEEP:
            self._places[key], self._objects[key] = place, object_to_store
            for alike in _alike(incoming):
                self._alike.setdefault(alike, []).append(key)
        return StoreOutcome(key, decision.action)

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        self._store(object_to_store, ancillary_data_path, storage_key=storage_key)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        return self._objects.get(storage_key), None

    def _object_exists(self, storage_key: str) -> bool:
        return storage_key in self._objects or (self._target is not None and storage_key in self._target)

    def _twins(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        for key in dict.fromkeys(key for alike in _alike(incoming) for key in self._alike.get(alike, ())):
            yield key, self._objects[key]
        if self._target is not None:
            for key, twin in self._target._twins(incoming):
                if key not in self._objects:
                    yield key, twin

    def _place_of(self, key: str) -> _Place:
        if key in self._places:
            return self._places[key]
        if self._target is None:
            raise NotFoundError(f"no object has the key {key!r}")
        return self._target, key


def _alike(incoming: Incoming) -> Iterator[object]:
    """Yield values of which two objects share at least one if `duplicates` may call them the same."""
    yield incoming.identity
    yield incoming.likeness
    if incoming.measurement is not None:
        yield incoming.measurement


def _digests(place: _Place) -> dict[str, str]:
    backend, key = place
    return backend.file_digests(key)

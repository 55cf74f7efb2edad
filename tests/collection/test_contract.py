"""A collection keeps every promise of a backend: what is stored goes through writers and changes."""

from pathlib import Path
from typing import Any

import pytest

from simarchive import ReadOnlyError
from simarchive.collection import Collection
from simarchive.storage.duplicates import StoreOutcome
from simarchive.testing import BackendContract
from simarchive.testing.sample_objects import simulation, write_files


class RewrittenCollection(Collection):
    """Stores by publishing a new shard with all that is there, and taking the old one out."""

    n_puts = 0

    def put(self, object_to_store: Any, ancillary_data: Any = None, **options: Any) -> StoreOutcome:
        with self.lock:
            old = self.work_ids
            self.n_puts += 1
            with self.writer(f"put-{self.n_puts:04}") as backend:
                backend.update(self)
                outcome = backend.put(object_to_store, ancillary_data, **options)
            self.remove_shards(old)
        return outcome


class TestCollection(BackendContract):
    def open_backend(self, root: Path) -> RewrittenCollection:
        return RewrittenCollection(root)

    def subset(self, backend: Any, destination: Any, **filters: Any) -> Any:
        from simarchive import HDF5Storage
        from simarchive.storage import merging

        target = HDF5Storage(destination.with_suffix(".h5"))
        merging.merge(
            target,
            backend,
            keep=merging.SubstanceFilter.of(
                filters.get("include_substances"),
                filters.get("include_components"),
                filters.get("exclude_substances"),
                filters.get("exclude_components"),
            ).passes,
        )
        return target


def test_nothing_is_stored_but_through_a_writer(tmp_path: Path) -> None:
    with Collection(tmp_path / "c") as collection:
        with pytest.raises(ReadOnlyError, match="writer"):
            collection.store_object(simulation(), write_files(tmp_path / "files"))
        assert list(collection) == []

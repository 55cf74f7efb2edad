"""A backend in twenty lines: the three things that a backend must do are enough."""

import copy
import shutil
from pathlib import Path

from simarchive import StorageBackend
from simarchive.testing import BackendContract


class MemoryStorage(StorageBackend):
    def __init__(self, directory):
        super().__init__()
        self.directory, self.objects = Path(directory), {}

    def _store_object(self, object_to_store, storage_key=None, ancillary_data_path=None):
        path = None
        if ancillary_data_path is not None:
            path = self.directory / f"{len(self.objects)}-{storage_key}-{id(object_to_store)}"
            shutil.copytree(ancillary_data_path, path)
        self.objects[storage_key] = copy.deepcopy(object_to_store), path

    def _retrieve_object(self, storage_key, expected_type=None):
        return copy.deepcopy(self.objects.get(storage_key, (None, None)))

    def _object_exists(self, storage_key):
        return storage_key in self.objects


class TestMemoryStorage(BackendContract):
    def open_backend(self, root):
        return MemoryStorage(root)

    def subset(self, backend, destination, **filters):
        from simarchive.storage.merging import SubstanceFilter, merge

        target = MemoryStorage(destination)
        names = ("include_substances", "include_components", "exclude_substances", "exclude_components")
        merge(target, backend, keep=SubstanceFilter.of(*(filters.get(name) for name in names)).passes)
        return target

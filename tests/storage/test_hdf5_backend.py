"""HDF5Storage keeps every promise of a backend."""

from backend_contract import BackendContract

from simarchive import HDF5Storage


class TestHDF5Storage(BackendContract):
    def open_backend(self, root):
        return HDF5Storage(root.with_suffix(".h5"))

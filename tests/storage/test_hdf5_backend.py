"""HDF5Storage keeps every promise of a backend."""

from pathlib import Path

from simarchive import HDF5Storage
from simarchive.testing import BackendContract


class TestHDF5Storage(BackendContract):
    def open_backend(self, root):
        return HDF5Storage(root.with_suffix(".h5"))


def test_a_backend_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "water.h5"
    HDF5Storage(path).close()
    with HDF5Storage(path, "r") as backend:
        assert repr(backend) == f"HDF5Storage('{path}', mode='r')"
    assert repr(backend) == f"HDF5Storage('{path}', mode='r', closed)"

"""HDF5Storage keeps every promise of a backend."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from simarchive import HDF5Storage
from simarchive.errors import ClosedError, ConflictError
from simarchive.testing import BackendContract
from simarchive.testing.sample_objects import simulation, write_files


class TestHDF5Storage(BackendContract):
    def open_backend(self, root):
        return HDF5Storage(root.with_suffix(".h5"))


def test_a_backend_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "water.h5"
    HDF5Storage(path).close()
    with HDF5Storage(path, "r") as backend:
        assert repr(backend) == f"HDF5Storage('{path}', mode='r')"
    assert repr(backend) == f"HDF5Storage('{path}', mode='r', closed)"


def _stored_elsewhere(backend: HDF5Storage, directory: Path) -> str:
    with backend:
        return backend.store_object(simulation(), directory)


def test_a_backend_is_sent_to_another_process_and_opens_the_container_there(tmp_path: Path) -> None:
    options = {"codec": "raw", "durability": "close", "lock_timeout_s": 7.0, "scratch_max_bytes": 1 << 30}
    with HDF5Storage(tmp_path / "a.h5", "a", tmp_path / "scratch", **options) as backend:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            key = pool.submit(_stored_elsewhere, backend, write_files(tmp_path / "run")).result()
        assert key in backend
        text = pickle.dumps(backend)
        with backend.transaction(), pytest.raises(ConflictError, match="open transaction"):
            pickle.dumps(backend)
    with pickle.loads(text) as copy:
        assert copy.__reduce__()[1] == (HDF5Storage, str(copy.path), "a", tmp_path / "scratch", options)
    with pytest.raises(ClosedError):
        pickle.dumps(backend)
    with (
        HDF5Storage(tmp_path / "a.h5", log_directory=tmp_path / "scratch") as backend,
        pytest.raises(ConflictError, match="log elsewhere"),
    ):
        pickle.dumps(backend)

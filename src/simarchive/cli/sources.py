"""What objects can be copied from: a container, or a directory that OpenFF Evaluator wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simarchive.storage.backend import StorageBackend


@contextlib.contextmanager
def opened_source(path: Path) -> Iterator[StorageBackend]:
    """Give the backend at a path, open for reading."""
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.hdf5.storage import HDF5Storage

    with LocalFileStorage(path, mode="r") if path.is_dir() else HDF5Storage(path, mode="r") as backend:
        yield backend

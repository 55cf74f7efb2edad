"""Containers as commands open them: for reading unless they change something, and never made by accident."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from simarchive.cli.new_container import new_container
from simarchive.errors import NotFoundError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@contextlib.contextmanager
def for_reading(path: Path) -> Iterator[HDF5Storage]:
    """Give a container that the command does not change."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    with HDF5Storage(path, mode="r") as backend:
        yield backend


@contextlib.contextmanager
def for_changes(path: Path, *, wait_s: float, tmp_dir: Path | None = None) -> Iterator[HDF5Storage]:
    """Give a container that exists, to change it; its log lies in `tmp_dir` if that is given."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    if not path.exists():
        raise NotFoundError(f"there is no container '{path}'")
    with HDF5Storage(path, lock_timeout_s=wait_s, log_directory=tmp_dir) as backend:
        yield backend


@contextlib.contextmanager
def existing_or_new(path: Path, *, codec: str, wait_s: float) -> Iterator[HDF5Storage]:
    """Give a container to add to; one that is missing is made, and is there if nothing fails."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    if not os.path.lexists(path):
        with new_container(path, codec=codec) as backend:
            yield backend
        return
    with HDF5Storage(path, codec=codec, lock_timeout_s=wait_s) as backend:
        yield backend

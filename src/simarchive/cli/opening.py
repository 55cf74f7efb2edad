"""Containers as commands open them: for reading unless they change something; none is created by accident."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from simarchive.cli.progress_bars import received_bar
from simarchive.errors import NotFoundError, ReadOnlyError
from simarchive.remote.address import is_url

if TYPE_CHECKING:
    from simarchive.storage.backend import StorageBackend
    from simarchive.storage.hdf5.storage import HDF5Storage


@contextlib.contextmanager
def for_reading(path: Path) -> Iterator[HDF5Storage]:
    """Yield a container that the command does not change."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    with HDF5Storage(path, mode="r") as backend, received_bar(backend):
        yield backend


@contextlib.contextmanager
def for_reading_if_there(path: Path) -> Iterator[HDF5Storage | None]:
    """Yield a container that the command does not change, or ``None`` if there is none yet."""
    if not os.path.lexists(path):
        yield None
        return
    with for_reading(path) as backend:
        yield backend


@contextlib.contextmanager
def for_changes(
    path: Path, *, wait_s: float, tmp_dir: Path | None = None, codec: str = "deflate"
) -> Iterator[HDF5Storage]:
    """Yield an existing container to change; its log is in `tmp_dir` if that is given."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    if is_url(path):
        raise ReadOnlyError(
            f"container '{path}' lies elsewhere and can only be read: download it to change it"
        )
    if not path.exists():
        raise NotFoundError(f"there is no container '{path}'")
    with HDF5Storage(path, codec=codec, lock_timeout_s=wait_s, log_directory=tmp_dir) as backend:
        yield backend


@contextlib.contextmanager
def existing_or_new(path: Path, *, codec: str, wait_s: float) -> Iterator[HDF5Storage]:
    """Yield a container to add to; one that is missing is created, and kept only if nothing fails."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    if not os.path.lexists(path):
        with new_container(path, codec=codec) as backend:
            yield backend
        return
    with HDF5Storage(path, codec=codec, lock_timeout_s=wait_s) as backend:
        yield backend


@contextlib.contextmanager
def new_container(path: Path, *, codec: str) -> Iterator[HDF5Storage]:
    """Yield an empty container that is at `path` after the block, unless the block raises an error.

    Raises
    ------
    ConflictError
        If something is at `path` already: before the block, or when the container gets its name.
    DetachedLogError
        If the log of a container that was removed lies there.
    """
    from simarchive.container.new_file import completed_at
    from simarchive.storage.hdf5.storage import HDF5Storage

    # Synced once at the end, not at each step: half a container is of no use.
    with (
        completed_at(path) as unfinished,
        HDF5Storage(unfinished, codec=codec, durability="close") as backend,
    ):
        yield backend


@contextlib.contextmanager
def source(path: Path) -> Iterator[StorageBackend]:
    """Yield a container or a directory of OpenFF Evaluator from which objects are copied."""
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.hdf5.storage import HDF5Storage

    with LocalFileStorage(path, mode="r") if path.is_dir() else HDF5Storage(path, mode="r") as backend:
        yield backend

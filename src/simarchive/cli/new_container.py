"""A new container that gets its name when it is complete: a command that fails leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from simarchive.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from simarchive.storage.hdf5 import HDF5Storage


@contextlib.contextmanager
def new_container(path: Path, *, codec: str) -> Iterator[HDF5Storage]:
    """Give an empty container that is at `path` after the block, unless an error leaves it.

    Raises
    ------
    ConflictError
        If something is at `path` already: before the block, or when the container is to get its name.
    """
    from simarchive.storage.hdf5 import HDF5Storage

    check_is_free(path)
    if not path.absolute().parent.is_dir():
        raise NotFoundError(f"there is no directory '{path.absolute().parent}' for container '{path.name}'")
    # Beside the target, for a rename works within one file system only.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as directory:
        unfinished = Path(directory) / path.name
        # Synced once at the end, not at each step: nobody needs half of it.
        with HDF5Storage(unfinished, codec=codec, durability="close") as backend:
            yield backend
        try:
            # A link, unlike a rename, never takes the place of a file that came in the meantime.
            os.link(unfinished, path)
        except FileExistsError as error:
            raise ConflictError(f"'{path}' exists already: name a file that does not") from error
    _sync_directory(path.absolute().parent)


def check_is_free(path: Path) -> None:
    """Raise ConflictError if something is at `path`."""
    if os.path.lexists(path):
        raise ConflictError(f"'{path}' exists already: name a file that does not")


def _sync_directory(directory: Path) -> None:
    """Sync the new name, else it may be lost."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

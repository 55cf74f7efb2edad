"""A new container that gets its name when it is complete: a command that fails leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@contextlib.contextmanager
def new_container(path: Path, *, codec: str) -> Iterator[HDF5Storage]:
    """Give an empty container that is at `path` after the block, unless an error leaves it.

    Raises
    ------
    ConflictError
        If something is at `path` already: before the block, or when the container is to get its name.
    DetachedLogError
        If the log of a container that was removed lies there.
    """
    from simarchive.container.new_file import completed_at
    from simarchive.storage.hdf5.storage import HDF5Storage

    # Synced once at the end, not at each step: nobody needs half of it.
    with (
        completed_at(path) as unfinished,
        HDF5Storage(unfinished, codec=codec, durability="close") as backend,
    ):
        yield backend

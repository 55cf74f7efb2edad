"""A new container file: what is in it at first, and how it gets its name when it is complete."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import h5py

from simarchive.container import layout, nodes
from simarchive.errors import ConflictError, NotFoundError
from simarchive.ground.version import __version__
from simarchive.journal.creation import workplace
from simarchive.journal.filepair import check_for_stray_log
from simarchive.journal.files import SYSTEM, storage_error, sync_name

# Readable by every HDF5 since 1.10, attributes above 64 KiB, and superblock 3, whose
# "open for writing" flag the journal sets while it copies pages.
LIBVER = ("v110", "v110")


def skeleton() -> bytes:
    """Return the bytes of an empty container."""
    memory = io.BytesIO()
    with create_empty(memory) as handle:
        root = handle.id
        nodes.create_integer(root, layout.FORMAT, layout.FORMAT_NUMBER, "<i8")
        nodes.create_text(root, layout.CONTAINER_ID, uuid.uuid4().hex)
        nodes.create_text(root, layout.CREATED_BY, f"simarchive {__version__}")
        nodes.create_text(root, layout.CREATED_AT, datetime.now(UTC).isoformat(timespec="seconds"))
        nodes.create_text(root, layout.README, layout.README_TEXT)
    return memory.getvalue()


def create_empty(place: Path | io.BytesIO) -> h5py.File:
    """Return a new HDF5 file with the groups of a container and nothing in them."""
    handle = h5py.File(
        place,
        "w",
        libver=LIBVER,
        track_order=True,
        # Free space is kept in the file, so that later sessions use it. The "page" strategy hung HDF5
        # 2.0 when files with dimension scales were replaced in many sessions.
        fs_strategy="fsm",
        fs_persist=True,
        fs_threshold=1,
    )
    nodes.create_group(handle.id, layout.OBJECTS)
    nodes.create_group(handle.id, layout.INDEX)
    return handle


@contextlib.contextmanager
def completed_at(path: Path) -> Iterator[Path]:
    """Give a hidden place; what the block makes there is at `path` afterwards, unless an error leaves it.

    What a killed process leaves in such a place is removed by the next one that makes the same name.

    Raises
    ------
    ConflictError
        If something is at `path` already: before the block, or when the container is to get its name.
    DetachedLogError
        If the log of a container that was removed lies beside `path`.
    NotFoundError
        If there is no such directory.
    """
    place = path.absolute()
    check_is_free(path)
    if not place.parent.is_dir():
        raise NotFoundError(f"there is no directory '{place.parent}' for container '{path.name}'")
    check_for_stray_log(str(place))
    with workplace(place) as folder:
        unfinished = folder / place.name
        yield unfinished
        try:
            # A link, unlike a rename, never takes the place of a file that came in the meantime.
            os.link(unfinished, place)
        except FileExistsError as error:
            raise ConflictError(f"'{path}' exists already: name a file that does not") from error
        except OSError as error:
            raise storage_error(error, "create", str(path)) from error
    sync_name(SYSTEM, str(place))


def check_is_free(path: Path) -> None:
    """Raise ConflictError if something is at `path`."""
    if os.path.lexists(path):
        raise ConflictError(f"'{path}' exists already: name a file that does not")

"""A container that gets its name when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from simarchive.errors import ConflictError, NotFoundError
from simarchive.journal.creation import workplace
from simarchive.journal.filepair import check_for_stray_log
from simarchive.journal.files import SYSTEM, storage_error, sync_name


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

"""Writing a container anew, without the room that removed objects left."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.storage.hdf5 import indexing


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did."""

    path: str
    n_objects: int
    bytes_before: int
    bytes_after: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def repack(
    path: str | os.PathLike[str],
    *,
    lock_timeout_s: float = 10.0,
    tmp_directory: str | os.PathLike[str] | None = None,
) -> RepackReport:
    """Rewrite a container compactly: keys, documents, members, digests and order stay as they are.

    The new file is made beside the old one, synced, and takes its name in one step, so that a failure
    leaves the old one. It needs as much free room as the container has live data. Links are followed, and
    permissions, owner and group stay.

    Parameters
    ----------
    tmp_directory
        Where the new file is made, if there is no room beside the old one. It is then written over the old
        one; if that is broken off, the container is refused until the new file, which stays in this directory
        with ``.repacked`` added to its name, is put in its place.

    Raises
    ------
    ConflictError
        If the container has several names (hard links).
    LockedError
        If another process writes to the container, or reads it, all the time.
    StorageFullError
        If there is no room for the new file.
    """
    place = Path(path).absolute()
    tmp = None if tmp_directory is None else Path(tmp_directory).absolute()
    log_directory = None if tmp is None else str(tmp)
    with contextlib.closing(
        Container(place, writable=True, lock_timeout_s=lock_timeout_s, log_directory=log_directory)
    ) as container:
        container.checkpoint()
        before = place.stat().st_size
        with container.transaction() as contents:
            n_objects = container.rewrite(functools.partial(_complete, source=contents), tmp_directory=tmp)
    return RepackReport(str(place), n_objects, before, place.stat().st_size)


def _complete(path: Path, source: Contents | None = None) -> None:
    """Give a copy of `source` its index: made anew, or taken along where the class is not known here."""
    with contextlib.closing(Container(path, writable=True)) as container, container.transaction() as contents:
        if source is not None:
            indexing.carry_over(source, contents)
        indexing.rebuild_all(contents)

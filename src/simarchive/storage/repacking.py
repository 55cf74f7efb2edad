"""Writing a container anew, without the room that removed objects left."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simarchive.container import compaction


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


def repack(path: str | os.PathLike[str], *, lock_timeout_s: float = 10.0) -> RepackReport:
    """Rewrite a container compactly: keys, documents, members, digests and order stay as they are.

    The new file is made beside the old one, synced, and takes its name in one step, so that a failure
    leaves the old one. It needs as much free room as the container has live data.

    Raises
    ------
    LockedError
        If another process writes to the container, or reads it, all the time.
    StorageFullError
        If there is no room for the new file.
    """
    place = Path(path).absolute()
    before = place.stat().st_size if place.exists() else 0
    n_objects = compaction.compact(place, lock_timeout_s=lock_timeout_s)
    return RepackReport(str(place), n_objects, before, place.stat().st_size)

"""The three things that every backend must do."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import Any

from simarchive.data import BaseStoredData
from simarchive.ground.thread_lock import ThreadLock

PathLike = str | os.PathLike[str]


class Essentials(abc.ABC):
    """What everything else that a backend does is built on; all are called under its reentrant lock."""

    def __init__(self, lock: ThreadLock | None = None) -> None:
        self._lock = lock or ThreadLock(f"this {type(self).__name__}", can_fork=True)

    @abc.abstractmethod
    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        """Keep an object, and a copy of its ancillary directory, under a key; replace what is there.

        The object and the key have been checked. If it fails, what was stored before must still be.
        """

    @abc.abstractmethod
    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        """Return the object and the path of its ancillary data, or ``(None, None)``."""

    @abc.abstractmethod
    def _object_exists(self, storage_key: str) -> bool:
        """Return whether an object is stored under the key."""

"""`LocalFileStorage` keeps what every backend promises."""

from __future__ import annotations

from pathlib import Path

from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.testing import BackendContract


class TestLocalFileStorage(BackendContract):
    def open_backend(self, root: Path) -> LocalFileStorage:
        return LocalFileStorage(root)

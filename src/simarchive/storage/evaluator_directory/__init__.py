"""Directories as OpenFF Evaluator keeps them: a storage backend over one, and the repair of its registry."""

from simarchive.storage.evaluator_directory.rebuilding import rebuild_registry
from simarchive.storage.evaluator_directory.storage import LocalFileStorage

__all__ = ["LocalFileStorage", "rebuild_registry"]

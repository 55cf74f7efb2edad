"""The registry that a backend without a better one keeps among its objects."""

from __future__ import annotations

from simarchive.data import BaseStoredData


class StoredObjectKeys(BaseStoredData):
    """The registry that a backend without a better one keeps among its objects, in stored order."""

    object_keys: list[str] | None = None
    object_classes: list[str] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return False: the registry is a document only."""
        return False

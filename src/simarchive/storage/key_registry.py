"""The registry that a backend without a better one keeps: which objects there are, in stored order."""

from __future__ import annotations

from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError
from simarchive.ground.keys import check_key
from simarchive.storage.essentials import Essentials

REGISTRY_KEY = "object_keys"


class StoredObjectKeys(BaseStoredData):
    """The registry that a backend without a better one keeps among its objects, in stored order."""

    object_keys: list[str] | None = None
    object_classes: list[str] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return False: the registry is a document only."""
        return False


class KeyRegistry(Essentials):
    """Hooks about the keys of all objects, with defaults that keep a registry among the objects."""

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        """Return the keys of all objects, or of the classes named, in stored order."""
        return [
            key
            for key, class_name in self._registry().items()
            if (class_names is None or class_name in class_names) and self._object_exists(key)
        ]

    def _is_stored(self, storage_key: str) -> bool:
        """Return whether a key is that of an object which was stored and not removed."""
        return storage_key in self._registry() and self._object_exists(storage_key)

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        """Note that an object was stored under a key."""
        registry = self._registry()
        if registry.get(storage_key) != type(stored).data_class_name:
            self._write_registry({**registry, storage_key: type(stored).data_class_name})

    def _remove_object(self, storage_key: str) -> None:
        """Forget an object; a backend that can also frees its room."""
        registry = self._registry()
        del registry[storage_key]
        self._write_registry(registry)

    def _registry(self) -> dict[str, str]:
        """Return the data class by key."""
        registry, _ = self._retrieve_object(REGISTRY_KEY)
        if not isinstance(registry, StoredObjectKeys):
            return {}
        return dict(zip(registry.object_keys or (), registry.object_classes or (), strict=True))

    def _write_registry(self, registry: dict[str, str]) -> None:
        stored = StoredObjectKeys(object_keys=list(registry), object_classes=list(registry.values()))
        self._store_object(stored, REGISTRY_KEY, None)

    @staticmethod
    def _is_user_key(storage_key: object) -> bool:
        try:
            return check_key(storage_key) != REGISTRY_KEY
        except InvalidDataError:
            return False

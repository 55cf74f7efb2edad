"""The registry of a directory of objects: which keys there are, by the class they are filed under.

OpenFF Evaluator opens a directory only if it can read every object that ``object_keys.json`` names. So
objects of classes that it does not know are named in a registry of their own, which it does not look at.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simarchive.errors import CorruptError, InvalidDataError, StorageFullError, StorageIOError
from simarchive.keys import check_key
from simarchive.storage.evaluator_json import parse_typed
from simarchive.storage.evaluator_types import TYPE, TYPE_STRINGS

EVALUATOR_REGISTRY = "object_keys.json"
OWN_REGISTRY = "simarchive_keys.json"

_Signature = tuple[int, int, int]


class DirectoryRegistry:
    """One registry file: keys by class name, read again whenever the file was replaced.

    Changes are in memory until `flush`, so that storing many objects writes it once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: _Signature | None = None
        self._keys: dict[str, list[str]] = {}
        self._is_changed = False

    def read(self) -> dict[str, list[str]]:
        """Return the keys by class name; do not change the result.

        Raises
        ------
        CorruptError
            If the file is no registry.
        """
        signature = self._current_signature()
        if not self._is_changed and signature != self._signature:
            self._keys = {} if signature is None else _parse(self.path)
            self._signature = signature
        return self._keys

    def add(self, name: str, key: str) -> None:
        """File a key under a name, unless it is there."""
        keys = self.read()
        if key not in keys.get(name, ()):
            self._change({**keys, name: [*keys.get(name, ()), key]})

    def discard(self, key: str) -> None:
        """Remove a key, if it is there."""
        keys = self.read()
        if any(key in listed for listed in keys.values()):
            self._change({name: [other for other in listed if other != key] for name, listed in keys.items()})

    def replace(self, keys: Mapping[str, list[str]]) -> None:
        """Make these all the keys."""
        self._change(dict(keys))

    def flush(self) -> None:
        """Write what was changed, as a whole; on the disk when it returns. If it fails, the old stays."""
        if not self._is_changed:
            return
        typed = {"object_keys": self._keys, TYPE: TYPE_STRINGS["ObjectKeys"]}
        self._is_changed, self._signature = False, None
        write_text(self.path, json.dumps(typed))

    def _change(self, keys: dict[str, list[str]]) -> None:
        self._keys, self._is_changed = keys, True

    def _current_signature(self) -> _Signature | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _parse(path: Path) -> dict[str, list[str]]:
    try:
        typed: Any = parse_typed(path.read_bytes())
        by_class = typed["object_keys"]
        keys = {str(name): [str(key) for key in listed] for name, listed in by_class.items()}
    except OSError as error:
        raise StorageIOError(f"registry {str(path)!r} cannot be read: {error.strerror}") from error
    except (InvalidDataError, TypeError, KeyError, AttributeError) as error:
        raise CorruptError(
            f"{str(path)!r} is no registry of keys: nothing was changed; restore it from a copy,"
            " or let rebuild_registry() make a new one from the objects"
        ) from error
    return keys


def write_text(path: Path, text: str) -> None:
    """Write a whole file under a temporary name, sync it and rename it: the old or the new, never a part."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", suffix=".new", delete=False, encoding="utf-8"
        ) as file:
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                temporary.chmod(0o666 & ~_umask())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        sync_directory(path.parent)
    except OSError as error:
        raise io_error(error, path) from error


def sync_directory(directory: Path) -> None:
    """Sync the names in a directory, without which a rename may be lost."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def io_error(error: OSError, path: Path) -> StorageIOError | StorageFullError:
    """Return our error for a write that the system refused."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StorageFullError(f"no room to write {str(path)!r}: what was stored before is unchanged")
    return StorageIOError(
        f"{str(path)!r} cannot be written: {error.strerror or error}; what was stored before is unchanged"
    )


class DirectoryRegistries:
    """Both registries of a directory as one: the class by key, without keys that cannot be.

    Parameters
    ----------
    root
        The directory.
    problems
        Where to note, by key, what is wrong with a key that is left out.
    """

    def __init__(self, root: Path, problems: dict[str, str]) -> None:
        self.evaluator = DirectoryRegistry(root / EVALUATOR_REGISTRY)
        self.own = DirectoryRegistry(root / OWN_REGISTRY)
        self._problems = problems
        self._listed: tuple[object, dict[str, str]] = (None, {})

    def listed(self) -> dict[str, str]:
        """Return the name under which each key is filed; do not change the result."""
        keys = (self.evaluator.read(), self.own.read())
        if self._listed[0] != keys:
            self._listed = (keys, self._merged(keys))
        return self._listed[1]

    def flush(self) -> None:
        """Write what was changed."""
        self.evaluator.flush()
        self.own.flush()

    def discard(self, key: str) -> None:
        """Remove a key, if it is there."""
        self.evaluator.discard(key)
        self.own.discard(key)

    def _merged(self, registries: Iterable[Mapping[str, list[str]]]) -> dict[str, str]:
        merged: dict[str, str] = {}
        for registry in registries:
            for name, keys in registry.items():
                for key in keys:
                    try:
                        check_key(key)
                    except InvalidDataError as error:
                        self._problems.setdefault(key, str(error))
                        continue
                    if key in merged:
                        self._problems.setdefault(key, "the registry names this key twice")
                    merged.setdefault(key, name)
        return merged


def rebuild_registry(directory: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Make the registries of a directory anew from the objects in it; return the keys by class name.

    A registry that is there is kept under the same name with ``.old`` added.

    Raises
    ------
    CorruptError
        If an object's file is no JSON: it is named, and nothing is written.
    """
    root = Path(directory).absolute()
    found: dict[str, dict[str, list[str]]] = {EVALUATOR_REGISTRY: {}, OWN_REGISTRY: {}}
    for path in sorted(root.glob("*.json")):
        if path.name in found or path.name.startswith("."):
            continue
        try:
            typed = parse_typed(path.read_bytes())
        except InvalidDataError as error:
            raise CorruptError(f"{str(path)!r} is no JSON: move it away, then try again") from error
        type_string = typed.get(TYPE) if isinstance(typed, dict) else None
        if not isinstance(type_string, str):
            continue
        own = type_string.startswith("simarchive.")
        name = str(typed.get("data_class")) if own else type_string.rpartition(".")[2]
        found[OWN_REGISTRY if own else EVALUATOR_REGISTRY].setdefault(name, []).append(path.stem)
    for file_name, keys in found.items():
        path = root / file_name
        if path.exists():
            path.replace(path.with_name(f"{file_name}.old"))
        if keys or file_name == EVALUATOR_REGISTRY:
            registry = DirectoryRegistry(path)
            registry.replace(keys)
            registry.flush()
    return {**found[EVALUATOR_REGISTRY], **found[OWN_REGISTRY]}


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

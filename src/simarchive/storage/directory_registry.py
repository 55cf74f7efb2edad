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
    """One registry file: keys by class name, read again whenever the file was replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: _Signature | None = None
        self._keys: dict[str, list[str]] = {}

    def read(self) -> dict[str, list[str]]:
        """Return the keys by class name; the result is the caller's own.

        Raises
        ------
        CorruptError
            If the file is no registry.
        """
        signature = self._current_signature()
        if signature != self._signature:
            self._keys = {} if signature is None else _parse(self.path)
            self._signature = signature
        return {name: list(keys) for name, keys in self._keys.items()}

    def write(self, keys: Mapping[str, list[str]]) -> None:
        """Replace the file as a whole; on the disk when it returns."""
        typed = {"object_keys": dict(keys), TYPE: TYPE_STRINGS["ObjectKeys"]}
        write_text(self.path, json.dumps(typed))

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


def usable_keys(keys: Iterable[tuple[str, str]], root: Path, problems: dict[str, str]) -> dict[str, str]:
    """Return the class by key of the keys that name an object; others go into `problems`, with what is wrong.

    Parameters
    ----------
    keys
        Class names and keys as the registries list them.
    """
    usable: dict[str, str] = {}
    for name, key in keys:
        try:
            check_key(key)
        except InvalidDataError as error:
            problems.setdefault(key, str(error))
            continue
        if key in usable:
            problems.setdefault(key, "the registry names this key twice")
        elif not (root / f"{key}.json").is_file():
            problems.setdefault(key, f"the registry names this key, but there is no file {key}.json")
        else:
            usable[key] = name
    return usable


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
            DirectoryRegistry(path).write(keys)
    return {**found[EVALUATOR_REGISTRY], **found[OWN_REGISTRY]}


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

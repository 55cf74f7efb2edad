"""Rebuilding the registries of a directory from the objects in it."""

from __future__ import annotations

from pathlib import Path

from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.files_below import read_file_below
from simarchive.ground.filesystem import PathLike, sync_directory
from simarchive.storage.evaluator_directory.changes import recover
from simarchive.storage.evaluator_directory.documents import filing_in
from simarchive.storage.evaluator_directory.files import Access, io_error, unused_name, write_text
from simarchive.storage.evaluator_directory.lock import DirectoryLock
from simarchive.storage.evaluator_directory.registry import (
    EVALUATOR_REGISTRY,
    OWN_REGISTRY,
    registry_text,
)
from simarchive.storage.evaluator_json import MAX_JSON_BYTES, parse_typed


def rebuild_registry(
    directory: PathLike, *, lock_timeout_s: float = 10.0, max_json_bytes: int = MAX_JSON_BYTES
) -> dict[str, list[str]]:
    """Rebuild the registries of a directory from the objects in it; return the keys by class name.

    A registry that is there is kept under the same name with ``.old`` added.

    Parameters
    ----------
    lock_timeout_s
        How long to wait for a process that is writing to the directory.
    max_json_bytes
        How long the text of an object may be.

    Raises
    ------
    CorruptError
        If an object's file is not JSON, or a link that leads out of the directory: it is named, and nothing
        is written.
    LockedError
        If another process is writing to the directory all the time.
    """
    root = Path(directory).absolute()
    lock = DirectoryLock(root)
    try:
        lock.acquire(lock_timeout_s)
        recover(root)
        found = _keys_of_objects(root.resolve(), max_json_bytes)
        access = Access.like(root / EVALUATOR_REGISTRY, root / OWN_REGISTRY)
        for file_name, keys in found.items():
            path = root / file_name
            new = unused_name(root, f".{file_name}.", ".new")
            try:
                if keys or file_name == EVALUATOR_REGISTRY:
                    write_text(new, registry_text(keys), access)
                if path.exists():
                    path.replace(path.with_name(f"{file_name}.old"))
                if keys or file_name == EVALUATOR_REGISTRY:
                    new.replace(path)
                sync_directory(root)
            except OSError as error:
                raise io_error(error, path) from error
            finally:
                new.unlink(missing_ok=True)
    finally:
        lock.release()
    return {**found[EVALUATOR_REGISTRY], **found[OWN_REGISTRY]}


def _keys_of_objects(root: Path, max_bytes: int) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {EVALUATOR_REGISTRY: {}, OWN_REGISTRY: {}}
    for path in sorted(root.glob("*.json")):
        if path.name in found or path.name.startswith("."):
            continue
        try:
            typed = parse_typed(read_file_below(root, path.name, max_bytes), max_bytes=max_bytes)
        except FileNotFoundError:
            continue
        except InvalidDataError as error:
            raise CorruptError(
                f"{str(path)!r} is not the JSON of an object: move it away, then try again: {error}"
            ) from error
        filing = filing_in(typed)
        if filing is not None:
            registry = OWN_REGISTRY if filing.is_own else EVALUATOR_REGISTRY
            found[registry].setdefault(filing.name, []).append(path.stem)
    return found

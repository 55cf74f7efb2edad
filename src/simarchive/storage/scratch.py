"""Scratch: real directories with the files of objects, extracted once, kept while they are valid.

Below the scratch directory, each object has ``<key>-<generation>/<key>/``. The generation is a digest of the
names, sizes and digests of its files, so that an object that was replaced gets another directory and is never
served the old files; the last component is the key alone, as programs that take a path apart expect. Beside
them, ``.simarchive/`` holds a manifest for each (``.json``) and the files that stand for locks. All may be
deleted while no program uses it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from blake3 import blake3

from simarchive.errors import ClosedError, InvalidDataError, StorageFullError, StorageIOError
from simarchive.keys import check_key, check_member_name
from simarchive.storage.scratch_slot import (
    STATE_FOLDER,
    ScratchFile,
    ScratchSlot,
    UseLocks,
    hold_lock,
    stamp_of,
)

__all__ = ["Scratch", "ScratchDirectory", "ScratchFile"]

_GENERATION_DIGITS = 16
# Left free on the device, for everyone else.
_SPARE_BYTES = 16 << 20

Extract = Callable[[str, Path], object]


class ScratchDirectory(os.PathLike[str]):
    """The directory of one object in scratch, which stays as long as this is neither released nor forgotten.

    Use it wherever a path is taken, but keep it: a bare string of it does not stop an eviction.
    """

    def __init__(self, path: Path, release: Callable[[], None]) -> None:
        self.path = path
        self._release = weakref.finalize(self, release)

    def release(self) -> None:
        """Allow the eviction of the directory; later calls do nothing."""
        self._release()

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"ScratchDirectory({str(self.path)!r})"

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Scratch:
    """A directory for extracted files, shared by as many processes as like.

    Parameters
    ----------
    directory
        Where to keep them; a temporary directory if None.
    max_bytes
        Limit for all extracted files together. Directories that are not in use give way, the oldest first.
    keep
        Whether the files stay when this is closed; by default those in a given directory do.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int | None = None,
        keep: bool | None = None,
    ) -> None:
        self._temporary = directory is None
        self._keep = not self._temporary if keep is None else keep
        self._max_bytes = max_bytes
        with _errors_named("scratch directory"):
            # Resolved now: it must stay the same place when the program changes its directory.
            self.directory = Path(directory or tempfile.mkdtemp(prefix="simarchive-")).resolve()
            self._state = self.directory / STATE_FOLDER
            self._state.mkdir(parents=True, exist_ok=True)
            self._locks = UseLocks(self._state)
        self._closed = False
        self._removal = weakref.finalize(self, _remove_own, self.directory, os.getpid())
        if not self._temporary or self._keep:
            self._removal.detach()

    def extract(
        self,
        key: str,
        files: Iterable[ScratchFile],
        extract: Extract,
        *,
        names: Iterable[str] | None = None,
        folders: Iterable[str] = (),
    ) -> ScratchDirectory:
        """Return the directory of an object, with its files in it.

        Files that are there and unchanged since they were extracted stay as they are.

        Parameters
        ----------
        key
            Key of the object.
        files
            All files of the object.
        extract
            Called as ``extract(name, destination)`` for each missing file; must create it whole or not at
            all.
        names
            The files wanted; all if None.
        folders
            Empty folders of the object.

        Raises
        ------
        StorageFullError
            If the device, or `max_bytes` less what is in use, has no room. Nothing was extracted.
        InvalidDataError
            If the key or a name could lead out of scratch.
        """
        if self._closed:
            raise ClosedError("scratch was closed: open it again")
        by_name = {check_member_name(file.name): file for file in files}
        wanted = sorted(by_name) if names is None else sorted(set(names))
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise InvalidDataError(f"object {key!r} has no file {unknown[0]!r}")
        folders = sorted(check_member_name(folder) for folder in folders)
        slot = ScratchSlot(self.directory, f"{check_key(key)}-{_generation(by_name.values(), folders)}")
        with _errors_named(f"scratch directory of object {key!r}"):
            self._locks.share(slot.name)
            # From now on it is released when this is forgotten, after an error too.
            directory = ScratchDirectory(slot.path, partial(self._locks.release, slot.name))
            with slot.extracting():
                self._fill(slot, [by_name[name] for name in wanted], folders, extract)
            slot.touch()
        return directory

    def used_bytes(self) -> int:
        """Return the size of all extracted files, by their manifests."""
        return sum(slot.planned_bytes() for slot in self._slots())

    def clear(self) -> None:
        """Remove every directory that is not in use."""
        for slot in self._slots():
            self._evict(slot)

    def close(self) -> None:
        """Remove what is not to be kept; later calls do nothing.

        A temporary scratch vanishes, in use or not; of a given directory, what others use stays.
        """
        if self._closed:
            return
        self._closed = True
        if self._removal.alive:
            self._removal()
        elif not self._keep:
            self.clear()
        self._locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _slots(self) -> list[ScratchSlot]:
        """Return the directories, the one that was unused for longest first."""
        found = [ScratchSlot(self.directory, path.stem) for path in self._state.glob("*.json")]
        return sorted(found, key=ScratchSlot.last_use)

    def _fill(
        self, slot: ScratchSlot, wanted: list[ScratchFile], folders: list[str], extract: Extract
    ) -> None:
        known = slot.manifest()
        missing = [file for file in wanted if not slot.is_valid(file, known.get(file.name))]
        if missing:
            self._make_room(slot, known, missing)
        for folder in folders:
            slot.destination(folder).mkdir(parents=True, exist_ok=True)
        slot.path.mkdir(parents=True, exist_ok=True)
        for file in missing:
            destination = slot.destination(file.name)
            destination.parent.mkdir(parents=True, exist_ok=True)
            extract(file.name, destination)
            known[file.name] = stamp_of(file, destination)
        if missing or not known:
            slot.write_manifest(known, slot.planned_bytes())

    def _evict(self, slot: ScratchSlot) -> bool:
        """Remove a directory and return True, unless it is in use."""
        with self._locks.alone(slot.name) as alone:
            if alone:
                slot.remove()
            return alone

    def _make_room(self, slot: ScratchSlot, known: dict[str, Any], missing: list[ScratchFile]) -> None:
        """Evict until the files fit, and note their size beforehand, so that others count it."""
        needed = sum(file.size for file in missing)
        kept = {name: stamp for name, stamp in known.items() if name not in {file.name for file in missing}}
        planned = needed + sum(stamp["size"] for stamp in kept.values())
        with hold_lock(self._state / "space.lock"):
            if self._max_bytes is None and self._free_bytes() >= needed + _SPARE_BYTES:
                slot.write_manifest(kept, planned)
                return
            others = [other for other in self._slots() if other.name != slot.name]
            sizes = {other.name: other.planned_bytes() for other in others}
            excess = 0 if self._max_bytes is None else planned + sum(sizes.values()) - self._max_bytes
            for other in others:
                if excess <= 0 and self._free_bytes() >= needed + _SPARE_BYTES:
                    break
                if self._evict(other):
                    excess -= sizes[other.name]
            if excess > 0:
                raise StorageFullError(
                    f"scratch {str(self.directory)!r} may hold {self._max_bytes} bytes, "
                    f"and {excess} more are needed: release directories, or raise max_bytes"
                )
            if self._free_bytes() < needed + _SPARE_BYTES:
                raise StorageFullError(
                    f"scratch {str(self.directory)!r} has {self._free_bytes()} bytes free, {needed} "
                    "are needed: choose another scratch directory, or extract fewer files"
                )
            slot.write_manifest(kept, planned)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.directory).free


def _generation(files: Iterable[ScratchFile], folders: list[str]) -> str:
    content = json.dumps([[[file.name, file.size, file.digest] for file in sorted(files)], folders])
    digest: str = blake3(content.encode()).hexdigest()
    return digest[:_GENERATION_DIGITS]


def _remove_own(directory: Path, process: int) -> None:
    # A forked child must not remove what its parent works with.
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _errors_named(what: str) -> Iterator[None]:
    try:
        yield
    except (StorageFullError, StorageIOError):
        raise
    except OSError as error:
        raise StorageIOError(f"{what} cannot be used: {error}") from error

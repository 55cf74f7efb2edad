"""One object's place in scratch: its directory, the manifest of its files, and the locks on both."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simarchive.errors import ConflictError

STATE_FOLDER = ".simarchive"


@dataclass(frozen=True, order=True)
class ScratchFile:
    """A file that can be extracted: its member name, its size in bytes and the digest of its content."""

    name: str
    size: int
    digest: str


class ScratchSlot:
    """The place of one object of one generation in scratch."""

    def __init__(self, scratch: Path, name: str) -> None:
        self.name = name
        self._place = scratch / name
        # A generation has no hyphen, a key may.
        self.path = self._place / name.rpartition("-")[0]
        self._state = scratch / STATE_FOLDER
        self._manifest = self._state / f"{name}.json"
        self._use = self._state / f"{name}.use"

    def share(self) -> int:
        """Return a descriptor whose shared lock keeps the directory from being evicted."""
        while True:
            fd = os.open(self._use, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(fd, fcntl.LOCK_SH)
            # An eviction may have removed the file between the two calls: then this lock protects nothing.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), self._use.stat()):
                    os.utime(fd)
                    return fd
            os.close(fd)

    def extracting(self) -> Any:
        """Give the lock under which one process at a time extracts; a killed one gives it up."""
        return hold_lock(self._state / f"{self.name}.extract")

    def last_use(self) -> float:
        """Return when the directory was last handed out, in seconds since the epoch."""
        with suppress(FileNotFoundError):
            return self._use.stat().st_mtime
        return 0.0

    def evict(self) -> bool:
        """Remove the directory and return True, unless it is in use."""
        try:
            fd = os.open(self._use, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            trash = self._state / f"trash-{secrets.token_hex(8)}"
            # Renamed first: a kill in between must not leave half a directory with a manifest.
            self._manifest.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self._place.rename(trash)
                shutil.rmtree(trash, ignore_errors=True)
            (self._state / f"{self.name}.extract").unlink(missing_ok=True)
            self._use.unlink(missing_ok=True)
        finally:
            os.close(fd)
        return True

    def destination(self, name: str) -> Path:
        """Return where a file goes; raise ConflictError if a link on the way would lead elsewhere."""
        path = self.path / name
        for parent in path.parents:
            if parent == self._place.parent:
                break
            if parent.is_symlink():
                raise ConflictError(f"{str(parent)!r} became a link: remove it")
        return path

    def manifest(self) -> dict[str, Any]:
        """Return the stamps of the extracted files, by name; empty if there is no manifest to be trusted."""
        files = self._read().get("files")
        if not isinstance(files, dict):
            return {}
        return {
            name: stamp
            for name, stamp in files.items()
            if isinstance(stamp, dict) and isinstance(stamp.get("size"), int)
        }

    def planned_bytes(self) -> int:
        """Return the size of the files that are, or are being, extracted."""
        planned = self._read().get("bytes")
        return planned if isinstance(planned, int) else 0

    def write_manifest(self, files: dict[str, Any], planned_bytes: int) -> None:
        """Replace the manifest in one step."""
        temporary = self._state / f"{secrets.token_hex(8)}.tmp"
        temporary.write_text(json.dumps({"bytes": planned_bytes, "files": files}), encoding="utf-8")
        temporary.replace(self._manifest)

    def is_valid(self, file: ScratchFile, stamp: Any) -> bool:
        """Return whether the file is as it was extracted: same content wanted, not written to since."""
        try:
            return bool(stamp == stamp_of(file, self.path / file.name))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def stamp_of(file: ScratchFile, path: Path) -> dict[str, Any]:
    """Return what changes when someone writes to the file, even if the modification time is set back."""
    now = path.lstat()
    return {
        "digest": file.digest,
        "size": now.st_size,
        "inode": now.st_ino,
        "modified_ns": now.st_mtime_ns,
        "changed_ns": now.st_ctime_ns,
    }


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock that a file stands for, alone; a killed process gives it up."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

"""One object's place in scratch: its directory, the manifest of its files, and the locks on both."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from simarchive.errors import ConflictError

STATE_FOLDER = ".simarchive"

# struct flock of Linux on 64 bits: type, whence, start, length, process (0 for locks of an open file).
_FLOCK = struct.Struct("@hhqqi0q")


@dataclass(frozen=True, order=True)
class ScratchFile:
    """A file that can be extracted: its member name, its size in bytes and the digest of its content."""

    name: str
    size: int
    digest: str


class UseLocks:
    """Says which directories of a scratch are in use, to all processes that share it.

    Each directory has one byte of one file, locked for sharing by its users. One descriptor holds them all,
    however many directories are in use; a killed process gives them up.
    """

    def __init__(self, state: Path) -> None:
        self._fd = os.open(state / "use.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._released: deque[str] = deque()

    def share(self, name: str) -> None:
        """Keep a directory from being evicted, until `release` was called as often as this."""
        with self._lock:
            self._settle()
            if not self._counts[name]:
                lock_byte(self._fd, name, fcntl.F_RDLCK, wait=True)
            self._counts[name] += 1

    def release(self, name: str) -> None:
        """Undo one `share`; later than `close`, do nothing."""
        # The garbage collector may call this in the midst of any other method, on the thread that holds the
        # lock: so it never waits, and what it leaves is done by the next call.
        self._released.append(name)
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Give True while nobody uses the directory nor can begin to, or False if somebody does."""
        with self._lock:
            self._settle()
            if self._counts[name]:
                yield False
                return
            try:
                lock_byte(self._fd, name, fcntl.F_WRLCK, wait=False)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                lock_byte(self._fd, name, fcntl.F_UNLCK, wait=False)

    def close(self) -> None:
        """Release everything; later calls do nothing."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _settle(self) -> None:
        while self._released:
            name = self._released.popleft()
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
                if self._fd >= 0:
                    lock_byte(self._fd, name, fcntl.F_UNLCK, wait=False)


class ScratchSlot:
    """The place of one object of one generation in scratch."""

    def __init__(self, scratch: Path, name: str) -> None:
        self.name = name
        self._place = scratch / name
        # A generation has no hyphen, a key may.
        self.path = self._place / name.rpartition("-")[0]
        self._state = scratch / STATE_FOLDER
        self._manifest = self._state / f"{name}.json"

    @contextmanager
    def extracting(self) -> Iterator[None]:
        """Hold the lock under which one thread of one process at a time extracts."""
        # A descriptor of its own, because locks of one open file do not exclude each other.
        with _opened(self._state / "extract.lock") as fd:
            lock_byte(fd, self.name, fcntl.F_WRLCK, wait=True)
            yield

    def touch(self) -> None:
        """Note that the directory is used now."""
        os.utime(self._manifest)

    def last_use(self) -> float:
        """Return when the directory was last handed out, in seconds since the epoch."""
        with suppress(FileNotFoundError):
            return self._manifest.stat().st_mtime
        return 0.0

    def remove(self) -> None:
        """Remove the directory, which nobody may use."""
        trash = self._state / f"trash-{secrets.token_hex(8)}"
        # Renamed first: a kill in between must not leave half a directory that is taken for a whole one. The
        # manifest goes last, so that what was left is found.
        with suppress(FileNotFoundError):
            self._place.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)
        self._manifest.unlink(missing_ok=True)

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
    with _opened(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield


def lock_byte(fd: int, name: str, kind: int, *, wait: bool) -> None:
    """Lock or unlock the byte that stands for `name`; raise BlockingIOError if not to wait for it."""
    place = int.from_bytes(blake3(name.encode()).digest()[:7], "little")
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)

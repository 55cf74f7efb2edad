"""One object's place in scratch: its directory, what is known of its files, and the lock to extract them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from simarchive.errors import ConflictError, LockedError
from simarchive.ground.files_below import open_folder
from simarchive.storage.scratch.locks import EXCLUSIVE, LockFile
from simarchive.storage.scratch.stamps import ScratchFile, StampTable, remove_table, stamp_of
from simarchive.storage.scratch.temporary_folder import STATE_FOLDER
from simarchive.storage.scratch.trust import are_ours_alone, is_one_file

_MANIFEST_BYTES = 256
_MOST_BYTES = 1 << 60
# An open folder as a path.
_OPEN_FILES = Path("/proc/self/fd")

Extract = Callable[[str, Path], object]


class ScratchSlot:
    """The place of one object of one generation in scratch."""

    def __init__(self, scratch: Path, name: str) -> None:
        self.name = name
        self._scratch = scratch
        self._place = scratch / name
        # A generation has no hyphen, a key may.
        self.path = self._place / name.rpartition("-")[0]
        self._state = scratch / STATE_FOLDER
        self._manifest = self._state / f"{name}.json"
        self._stamps = self._state / f"{name}.stamps"
        self._staging = self._state / f"{name}.part"

    @contextmanager
    def extracting(self, timeout_s: float) -> Iterator[StampTable]:
        """Hold the lock under which one thread of one process at a time extracts; give the stamps.

        Others wait as long as its files grow, however large they are.

        Raises
        ------
        LockedError
            If nothing moved for `timeout_s`.
        """
        lock = self._locked(timeout_s)
        try:
            with StampTable(self._stamps) as stamps:
                yield stamps
        finally:
            lock.close()

    def _locked(self, timeout_s: float) -> LockFile:
        while True:
            lock = LockFile(self._state / "extract.lock")
            with contextlib.ExitStack() as stack:
                stack.callback(lock.close)
                if not lock.wait(self.name, EXCLUSIVE, timeout_s, self._signs_of_progress):
                    break
                # If somebody removed the file, the next process makes another one and locks that.
                if lock.is_in_place():
                    stack.pop_all()
                    return lock
        raise LockedError(
            f"the files of {self.path.name!r} are being extracted to scratch '{self._scratch}' by"
            f" {self._holder()}, and nothing moved for {timeout_s:g} s: wait for it, end it, or name another"
            " scratch directory"
        )

    def remove_leftovers(self) -> None:
        """Remove what a killed program left when it extracted, unless another one extracts now."""
        with suppress(OSError), os.scandir(self._staging) as listing:
            if not any(listing):
                return
        lock = LockFile(self._state / "extract.lock")
        try:
            if lock.attempt(self.name, EXCLUSIVE):
                shutil.rmtree(self._staging, ignore_errors=True)
        finally:
            lock.close()

    def _clear_staging(self) -> None:
        """Make the folder of the file that is being extracted, without what a killed process left there."""
        if self._staging.is_symlink():
            raise ConflictError(f"{str(self._staging)!r} became a link: remove it")
        self._staging.mkdir(exist_ok=True)
        with os.scandir(self._staging) as listing:
            left = list(listing)
        if left:
            shutil.rmtree(self._staging)
            self._staging.mkdir()

    def _signs_of_progress(self) -> object:
        with suppress(OSError):
            growing = sorted(self._staging.iterdir())
            return [_state_of(path) for path in (self._stamps, self._manifest, *growing)]
        return None

    def _holder(self) -> str:
        by = self._read().get("by")
        return str(by) if by else "another thread or process"

    @contextmanager
    def putting(self, extract: Extract, stamps: StampTable) -> Iterator[Callable[[ScratchFile], bytes]]:
        """Give what extracts a file, which appears when it is complete, and returns its stamp."""
        with contextlib.ExitStack() as stack:
            staging, path = stack.enter_context(self._open_staging())
            opened: list[tuple[str, int]] = []

            def put(file: ScratchFile) -> bytes:
                place, _, name = file.name.rpartition("/")
                if not opened or opened[-1][0] != place:
                    folders.close()
                    opened.append((place, folders.enter_context(self._open_folder(place))))
                extract(file.name, path / "file")
                return self._put_in_place(file, name, staging, opened[-1][1], stamps)

            folders = stack.enter_context(contextlib.ExitStack())
            yield put

    def _put_in_place(
        self, file: ScratchFile, name: str, staging: int, folder: int, stamps: StampTable
    ) -> bytes:
        try:
            os.replace("file", name, src_dir_fd=staging, dst_dir_fd=folder)
        except IsADirectoryError as error:
            raise ConflictError(
                f"{str(self.path / file.name)!r} cannot be written: a directory is there: remove it"
            ) from error
        stamp = stamp_of(file, os.stat(name, dir_fd=folder, follow_symlinks=False))
        stamps.put(file, stamp)
        return stamp

    def make_folder(self, name: str) -> None:
        """Make an empty folder of the object."""
        with self._open_folder(name):
            pass

    def is_ours_alone(self, names: Iterable[str]) -> bool:
        """Return whether nobody else can have put files of these names there, or what is known of them.

        Raises
        ------
        ConflictError
            If a link is in the place of a folder.
        """
        inner = {parent for name in names if "/" in name for parent in PurePosixPath(name).parents}
        return are_ours_alone(
            (self._scratch, self._state, self._place, self.path, *(self.path / name for name in inner))
        )

    @contextmanager
    def _open_folder(self, name: str) -> Iterator[int]:
        """Give the descriptor of a folder of the object, made if it is not there; no link is followed."""
        folder = open_folder(self._scratch)
        try:
            for part in (self.name, self.path.name, *(name.split("/") if name else ())):
                try:
                    inner = open_folder(part, within=folder)
                except FileNotFoundError:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                    inner = open_folder(part, within=folder)
                os.close(folder)
                folder = inner
            yield folder
        except NotADirectoryError as error:
            raise ConflictError(
                f"a folder of {str(self.path / name)!r} became a link, or a file: remove it"
            ) from error
        finally:
            os.close(folder)

    @contextmanager
    def _open_staging(self) -> Iterator[tuple[int, Path]]:
        """Give the descriptor of the folder for the file that is being extracted, and a path of it."""
        staging = open_folder(self._staging)
        try:
            if are_ours_alone((self._scratch, self._state, self._staging)) or not _OPEN_FILES.is_dir():
                yield staging, self._staging
            else:
                # Others can exchange the folder, but not what is open.
                yield staging, _OPEN_FILES / str(staging)
        finally:
            os.close(staging)

    def last_use(self) -> float:
        """Return when the directory was last handed out, in seconds since the epoch."""
        with suppress(FileNotFoundError):
            return self._manifest.stat().st_mtime
        return 0.0

    def put_aside(self) -> list[Path]:
        """Take the directory, which nobody may use, out of scratch; return what is to be removed."""
        trash = self._state / f"trash-{secrets.token_hex(8)}"
        # Renamed, not removed: a kill must not leave half a directory that is taken for a whole one. The
        # manifest goes last, so that what was left is found.
        found = []
        with suppress(FileNotFoundError):
            self._place.rename(trash)
            found = [trash]
        shutil.rmtree(self._staging, ignore_errors=True)
        remove_table(self._stamps)
        self._manifest.unlink(missing_ok=True)
        return found

    def note_use(self) -> bool:
        """Note that the directory is used now; return whether there is something to note it in."""
        with suppress(FileNotFoundError):
            os.utime(self._manifest, follow_symlinks=False)
            return True
        return False

    def planned_bytes(self) -> int:
        """Return the size of the files that are, or are being, extracted."""
        planned = self._read().get("bytes")
        return min(max(planned, 0), _MOST_BYTES) if isinstance(planned, int) else 0

    def begin(self, planned_bytes: int) -> None:
        """Note, before files are extracted, what they will take, and who extracts them."""
        self._clear_staging()
        by = f"process {os.getpid()} on host {socket.gethostname()}"
        self._write(_text_of({"bytes": planned_bytes, "by": by}))

    def finish(self, bytes_here: int) -> None:
        """Note what the files take, and that the directory is used now."""
        text = _text_of({"bytes": bytes_here})
        if self._stored_text() == text:
            self.note_use()
        else:
            self._write(text)

    def _write(self, text: bytes) -> None:
        # In place, by one system call, and of one length: a new file that is renamed over the old one makes
        # the file system write it out, which takes longer than all else where files are small.
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._manifest, flags, 0o666)
        try:
            if not is_one_file(os.fstat(fd)):
                raise ConflictError(f"{str(self._manifest)!r} is another file, too: remove it")
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))
        finally:
            os.close(fd)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._stored_text())
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _stored_text(self) -> bytes:
        # O_NONBLOCK, should somebody have put a FIFO there.
        try:
            fd = os.open(self._manifest, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            return os.read(fd, 2 * _MANIFEST_BYTES)
        except OSError:
            return b""
        finally:
            os.close(fd)


def _text_of(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode().ljust(_MANIFEST_BYTES)


def _state_of(path: Path) -> object:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return path.name
    return path.name, status.st_size, status.st_blocks, status.st_mtime_ns, status.st_ino

"""Scratch: real directories with the files of objects, extracted once, kept while they are valid.

Below the scratch directory, each object has ``<key>-<generation>/<key>/``. The generation is another one for
other content, so that an object that was replaced gets another directory and is never served the old files;
the last component is the bare key, as programs that take a path apart expect. Beside them, ``.simarchive/``
holds for each a manifest (``.json``), the stamps of its files (``.stamps``), a folder for the file that is
being extracted (``.part``), and the files that stand for locks. All may be deleted at any time; what
is then asked for is extracted again.

A file is handed out if it is as it was when this `Scratch` extracted it or read all of it, or if its stamp
says that it is as another program of this user extracted it. Where anybody else can write to one of the
folders, or to the stamps, a stamp proves nothing, and the file is read and compared with its digest first.
So it is once after each start of the system: nothing here is synced, and a power loss may have taken bytes.
Links are never followed.

Two containers may say the same of their objects, by chance or by malice, and hold other files. What one has
extracted is never replaced by what the other has: that gets a directory of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from simarchive.container.members import member_digest
from simarchive.errors import (
    ClosedError,
    InvalidDataError,
    LockedError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.ground.files_below import FileBelow
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import check_key, check_member_name
from simarchive.storage.scratch.locks import EXCLUSIVE, LockFile, UseLocks
from simarchive.storage.scratch.slot import Extract, ScratchSlot
from simarchive.storage.scratch.stamps import ScratchFile, StampTable, stamp_of
from simarchive.storage.scratch.temporary_folder import STATE_FOLDER, TemporaryFolder
from simarchive.storage.scratch.trust import are_ours_alone, is_one_file

_GENERATION_DIGITS = 32
# Left free on the device for everyone else.
_SPARE_BYTES = 16 << 20
# What somebody removes while a program makes something is made again, but not for ever.
_ATTEMPTS = 3
_ABANDONED_S = 600
_MOST_KNOWN = 1 << 17
_MOST_LOOKS = 1000
# Earlier versions gave a generation 16 digits.
_SLOT = re.compile(rf".+-([0-9a-f]{{16}}|[0-9a-f]{{{_GENERATION_DIGITS}}})", re.DOTALL)


class _OtherFilesError(Exception):
    """A directory holds a file with another digest than the one of this name that is asked for."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be in a directory; where others may have the same one, their files are left alone."""

    files: list[ScratchFile]
    folders: list[str]
    extract: Extract
    may_be_others: bool


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
    """A directory for extracted files, which any number of processes may share.

    Parameters
    ----------
    directory
        Where to keep them; a temporary directory if None.
    max_bytes
        Limit for all extracted files together. Directories that are not in use give way, the oldest first.
    keep
        Whether the files stay when this is closed; by default those in a given directory do.
    timeout_s
        How long to wait for another program that uses the same directory.
    """

    def __init__(
        self,
        directory: PathLike | None = None,
        *,
        max_bytes: int | None = None,
        keep: bool | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._keep = directory is not None if keep is None else keep
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        with _errors_named("scratch directory"):
            self._temporary = TemporaryFolder() if directory is None else None
            if self._temporary is not None and self._keep:
                self._temporary.keep()
            # Resolved now: it must stay the same place when the program changes its directory.
            self.directory = Path(directory).resolve() if directory is not None else self._temporary_path()
            self._state = self.directory / STATE_FOLDER
            self._state.mkdir(parents=True, exist_ok=True)
            self._locks = UseLocks(self._state / "use.lock", timeout_s)
            are_ours_alone([self._state])
        # Stamps of files that this extracted or proved, by directory and name.
        self._known: dict[tuple[str, str], bytes] = {}
        self._closed = False
        self._sweep()

    def extract(
        self,
        key: str,
        files: Iterable[ScratchFile],
        extract: Extract,
        *,
        names: Iterable[str] | None = None,
        folders: Iterable[str] = (),
        generation: str | None = None,
        content: Callable[[], str] | None = None,
    ) -> ScratchDirectory:
        """Return the directory of an object, with its files in it.

        Files that are there and unchanged since they were extracted stay as they are.

        Parameters
        ----------
        key
            Key of the object.
        files
            All files of the object; with `generation` those that are wanted are enough.
        extract
            Called as ``extract(name, destination)`` for each missing file; must create it whole or not at
            all.
        names
            The files wanted; all if None.
        folders
            Empty folders of the object to be made.
        generation
            A text that is another one for other content of the object, and other names of files; by default
            made from all files.
        content
            Returns a text that is another one for files of other digests, whoever stored them; called where
            files of other digests were extracted for the same generation.

        Raises
        ------
        LockedError
            If another program uses the directory for longer than `timeout_s` and makes no progress.
        StorageFullError
            If the device, or `max_bytes` less what is in use, has no room. Nothing was extracted.
        InvalidDataError
            If the key or a name could lead out of scratch.
        """
        if self._closed or self._locks.closed:
            raise ClosedError("scratch was closed, or opened by another process: open it again")
        by_name = {check_member_name(file.name): file for file in files}
        wanted = sorted(by_name) if names is None else sorted(set(names))
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise InvalidDataError(f"object {key!r} has no file {unknown[0]!r}")
        folders = sorted(check_member_name(folder) for folder in folders)
        if generation is None:
            generation = json.dumps(
                [[[file.name, file.size, file.digest] for file in sorted(by_name.values())], folders]
            )
        asked = _Asked([by_name[name] for name in wanted], folders, extract, content is not None)
        with _errors_named(f"scratch directory of object {key!r}"):
            try:
                return self._extracted(self._slot(key, generation), asked)
            except _OtherFilesError:
                assert content is not None
                alone = replace(asked, may_be_others=False)
                return self._extracted(self._slot(key, f"{generation} {content()}"), alone)

    def _slot(self, key: str, generation: str) -> ScratchSlot:
        return ScratchSlot(self.directory, f"{check_key(key)}-{_short_digest(generation)}")

    def _extracted(self, slot: ScratchSlot, asked: _Asked) -> ScratchDirectory:
        for _ in range(_ATTEMPTS - 1):
            # Somebody may remove the folder, or parts of it, meanwhile.
            with contextlib.suppress(FileNotFoundError):
                return self._extracted_once(slot, asked)
        return self._extracted_once(slot, asked)

    def _extracted_once(self, slot: ScratchSlot, asked: _Asked) -> ScratchDirectory:
        wanted, folders = asked.files, asked.folders
        if self._temporary is not None:
            self._temporary.restore()
        self._locks.restore()
        self._locks.share(slot.name)
        # From now on it is released when this is forgotten, after an error too.
        directory = ScratchDirectory(slot.path, partial(self._locks.release, slot.name))
        if wanted and not folders and self._are_known(slot, wanted) and slot.note_use():
            return directory
        with slot.extracting(self._timeout_s) as stamps:
            if asked.may_be_others and any(_is_of_others(stamps, file) for file in wanted):
                raise _OtherFilesError
            missing = self._missing(slot, wanted, stamps)
            if missing:
                self._make_room(slot, stamps, missing)
            for folder in folders:
                slot.make_folder(folder)
            if not wanted:
                slot.make_folder("")
            if missing:
                with slot.putting(asked.extract, stamps) as put:
                    for file in missing:
                        self._known[slot.name, file.name] = put(file)
            slot.finish(stamps.total_bytes)
            if missing and not slot.is_ours_alone(file.name for file in missing):
                # Somebody may have exchanged them since.
                for file in missing:
                    self._known.pop((slot.name, file.name), None)
        return directory

    def _are_known(self, slot: ScratchSlot, wanted: list[ScratchFile]) -> bool:
        """Return whether files are as they were when this extracted or proved them."""
        if any((slot.name, file.name) not in self._known for file in wanted):
            return False
        slot.is_ours_alone(file.name for file in wanted)
        return all(self._known[slot.name, file.name] == _stamp(slot, file) for file in wanted)

    def _missing(self, slot: ScratchSlot, wanted: list[ScratchFile], stamps: StampTable) -> list[ScratchFile]:
        """Return the files that are not there, or are not what was extracted."""
        is_trusted = slot.is_ours_alone(file.name for file in wanted) and stamps.is_ours_alone
        return [file for file in wanted if not self._is_valid(slot, file, stamps, is_trusted=is_trusted)]

    def _is_valid(
        self, slot: ScratchSlot, file: ScratchFile, stamps: StampTable, *, is_trusted: bool
    ) -> bool:
        stamp, place = _stamp(slot, file), (slot.name, file.name)
        if stamp is None:
            return False
        if self._known.get(place) == stamp:
            return True
        noted = stamps.noted(file.name)
        if noted is None or noted.stamp != stamp:
            return False
        # Where others can write, they can have written the stamps, too; and a power loss may take bytes of a
        # file that has a stamp. Only the content is proof then.
        is_recent = stamps.is_of_this_boot(file.name)
        if not (is_trusted and is_recent) and not _is_proved(slot, file):
            return False
        if _stamp(slot, file) != stamp:
            return False
        if not is_recent:
            stamps.put(file, stamp)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[place] = stamp
        return True

    def used_bytes(self) -> int:
        """Return the size of all extracted files, by their manifests."""
        return sum(slot.planned_bytes() for slot in self._slots())

    def clear(self) -> None:
        """Remove every directory that is not in use."""
        if not self._locks.closed:
            trash: list[Path] = []
            for slot in self._slots():
                self._evict(slot, trash)
            self._discard(trash)

    def close(self) -> None:
        """Remove what is not to be kept; later calls do nothing.

        A temporary scratch vanishes, in use or not; of a given directory, what others use stays.
        """
        if self._closed:
            return
        self._closed = True
        if self._temporary is not None and not self._keep:
            self._temporary.remove()
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
        names = [path.stem for path in self._state.glob("*.json")]
        found = [ScratchSlot(self.directory, name) for name in names if _SLOT.fullmatch(name)]
        return sorted(found, key=ScratchSlot.last_use)

    def _temporary_path(self) -> Path:
        assert self._temporary is not None
        return self._temporary.path

    def _evict(self, slot: ScratchSlot, trash: list[Path]) -> bool:
        """Take a directory out of scratch and return True, unless it is in use; `trash` is to be removed."""
        with self._locks.exclusive(slot.name) as is_exclusive:
            if is_exclusive:
                trash += slot.put_aside()
            return is_exclusive

    @staticmethod
    def _discard(trash: Iterable[Path]) -> None:
        """Remove what was taken out of scratch, which may take long and is done without a lock."""
        for path in trash:
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed programs left; what others still work on stays."""
        n_looks = 0
        with contextlib.suppress(OSError), os.scandir(self._state) as listing:
            for entry in listing:
                path = self._state / entry.name
                if entry.name.startswith("trash-"):
                    shutil.rmtree(path, ignore_errors=True)
                elif entry.name.endswith(".part") and n_looks < _MOST_LOOKS:
                    # Of very many objects, the last ones wait to be asked for, or to give way.
                    n_looks += 1
                    ScratchSlot(self.directory, path.stem).remove_leftovers()
                elif entry.name.endswith(".tmp") and time.time() - entry.stat().st_mtime > _ABANDONED_S:
                    path.unlink(missing_ok=True)

    def _make_room(self, slot: ScratchSlot, stamps: StampTable, missing: list[ScratchFile]) -> None:
        """Evict until the files fit, and note their size beforehand, so that others count it."""
        needed = sum(file.size for file in missing)
        planned = stamps.total_bytes + needed - sum(stamps.size_of(file.name) for file in missing)
        while True:
            with self._space_lock():
                trash = self._made_room(slot, planned, needed)
                if not trash:
                    slot.begin(planned)
                    return
            self._discard(trash)

    @contextmanager
    def _space_lock(self) -> Iterator[None]:
        """Hold the lock under which one program at a time counts what is in scratch, and adds to it."""
        lock = LockFile(self._state / "space.lock")
        try:
            if not lock.wait("space", EXCLUSIVE, self._timeout_s):
                raise LockedError(
                    f"another program makes room in scratch '{self.directory}', and did for"
                    f" {self._timeout_s:g} s: try again, or name another scratch directory"
                )
            yield
        finally:
            lock.close()

    def _made_room(self, slot: ScratchSlot, planned: int, needed: int) -> list[Path]:
        """Return what has to be removed for the files to fit, taken out of scratch; nothing if they do."""
        short_of_space = self._free_bytes() < needed + _SPARE_BYTES
        if self._max_bytes is None and not short_of_space:
            return []
        others = [other for other in self._slots() if other.name != slot.name]
        sizes = {other.name: other.planned_bytes() for other in others}
        excess = 0 if self._max_bytes is None else planned + sum(sizes.values()) - self._max_bytes
        trash: list[Path] = []
        for other in others:
            if excess <= 0 and (trash or not short_of_space):
                break
            if self._evict(other, trash):
                excess -= sizes[other.name]
        if excess > 0:
            self._discard(trash)
            raise StorageFullError(
                f"scratch {str(self.directory)!r} may hold {self._max_bytes} bytes, "
                f"and {excess} more are needed: release directories, or raise max_bytes"
            )
        if short_of_space and not trash:
            raise StorageFullError(
                f"scratch {str(self.directory)!r} has {self._free_bytes()} bytes free, {needed} "
                "are needed: choose another scratch directory, or extract fewer files"
            )
        return trash

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.directory).free


def _stamp(slot: ScratchSlot, file: ScratchFile) -> bytes | None:
    """Return the stamp of a file as it is now; ``None`` if it is not there, or has another name, too."""
    try:
        status = (slot.path / file.name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stamp_of(file, status) if is_one_file(status) else None


def _is_of_others(stamps: StampTable, file: ScratchFile) -> bool:
    noted = stamps.noted(file.name)
    return noted is not None and not noted.is_of(file)


def _is_proved(slot: ScratchSlot, file: ScratchFile) -> bool:
    """Return whether a file has the content that it should have."""
    place = FileBelow.of(slot.path.parents[1], f"{slot.name}/{slot.path.name}/{file.name}")
    try:
        return member_digest(place) == (file.size, file.digest)
    except StorageError:
        return False


def _short_digest(text: str) -> str:
    digest: str = blake3(text.encode()).hexdigest()
    return digest[:_GENERATION_DIGITS]


@contextmanager
def _errors_named(what: str) -> Iterator[None]:
    try:
        yield
    except (StorageFullError, StorageIOError):
        raise
    except OSError as error:
        raise StorageIOError(f"{what} cannot be used: {error}") from error

"""Folders that vanish with their process, however it ends: what a killed one left is swept by the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

from simarchive.errors import StorageIOError
from simarchive.storage.scratch.locks import EXCLUSIVE, LockFile

PREFIX = "simarchive-"
STATE_FOLDER = ".simarchive"
"""In scratch and in temporary folders: what the programs know of them that use them."""

_OWNER = "owner.lock"


class TemporaryFolder:
    """A new folder of this process only, which a forked child neither owns nor removes.

    A file in it is locked as long as the process lives. One that is not belongs to a process that was killed.

    Parameters
    ----------
    parent
        Where the folder is made; the system's folder for temporary files by default.
    prefix
        How its name begins, and those of the folders that are swept.
    name
        Its whole name, if that has to be known before; by default one that is free. Other users can read it
        as the umask says.
    """

    def __init__(self, parent: Path | None = None, *, prefix: str = PREFIX, name: str | None = None) -> None:
        place = Path(parent or tempfile.gettempdir()).resolve()
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place, prefix)
        if name is None:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        else:
            self.path = place / name
            self.path.mkdir(exist_ok=True)
        # Before anything else: what follows may be interrupted.
        self._removal = weakref.finalize(self, _remove_own, self.path, os.getpid())
        self._owner = self._locked()

    def restore(self) -> None:
        """Make the folder again if somebody removed it.

        Raises
        ------
        StorageIOError
            If another user made one of this name.
        """
        if self._owner.closed or self._owner.is_in_place():
            return
        try:
            self.path.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not _is_own(self.path):
                raise StorageIOError(
                    f"the temporary folder '{self.path}' was taken by another user: open the backend again"
                ) from None
        self._owner.close()
        self._owner = self._locked()

    def keep(self) -> None:
        """Let the folder stay when the process ends."""
        self._removal.detach()
        self._owner.path.unlink(missing_ok=True)
        self._owner.close()

    def remove(self) -> None:
        """Remove the folder with all that is in it; later calls, and calls in a forked child, do nothing."""
        self._removal()
        self._owner.close()

    def _locked(self) -> LockFile:
        state = self.path / STATE_FOLDER
        state.mkdir(exist_ok=True)
        # It gets its name once it is locked: before, others would take it for one of a dead process.
        owner = LockFile(state / f"{_OWNER}.new")
        owner.attempt(_OWNER, EXCLUSIVE)
        owner.path = owner.path.rename(state / _OWNER)
        return owner


def _remove_own(folder: Path, process: int) -> None:
    # A forked child must not remove what its parent works with.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and folder.lstat().st_uid == os.geteuid()


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the folders that processes of this user left when they were killed, once in this process."""
    with _SWEEPING:
        if (parent, prefix) in _SWEPT:
            return
        _SWEPT.add((parent, prefix))
    with contextlib.suppress(OSError), os.scandir(parent) as listing:
        for entry in listing:
            if entry.name.startswith(prefix):
                _remove_if_left(parent / entry.name)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if not _is_own(folder):
            return
        owner = LockFile(folder / STATE_FOLDER / _OWNER, must_exist=True)
        try:
            if owner.attempt(_OWNER, EXCLUSIVE):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            owner.close()


_SWEEPING = threading.Lock()
_SWEPT: set[tuple[Path, str]] = set()

"""Changes to a directory of objects that become all of them, or none.

While changes are made, what they replace and remove lies in ``.simarchive-changes/``:

- ``old/<name>`` is what was under a name in the directory before;
- ``added/<name>`` says that nothing was;
- ``new/`` holds what is being prepared, and what is not needed any more.

The changes are finished by renaming that folder, in one step, to ``.simarchive-changes.<token>.done``, which
is then deleted. Until then they can be taken back: by the process that made them, or, if that was killed, by
the next one that writes. Every step can be repeated, so it does not matter where it was interrupted before.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from simarchive.errors import CommitInDoubtError, StorageIOError
from simarchive.ground.filesystem import sync_directory
from simarchive.storage.evaluator_directory.files import (
    Access,
    make_directory,
    move,
    remove_tree,
    unused_name,
)

CHANGES = ".simarchive-changes"

# What earlier versions called the files of an object, and a JSON file, while they replaced them.
_OLD_OR_NEW = re.compile(r"\.(?P<key>.+)\.[0-9a-f]{32}\.(?P<word>old|new)")
_NEW_FILE = re.compile(r"\..+\.json\.[A-Za-z0-9_]{8}\.new")


class Changes:
    """The changes of one turn of one process.

    Parameters
    ----------
    root
        The directory of objects.
    models
        Files whose permissions new files get, if there are such files.

    Attributes
    ----------
    count
        How many names were changed so far.
    spoiled
        What left a part of the changes half done: they can only be taken back.
    """

    def __init__(self, root: Path, *models: Path) -> None:
        self.root = root
        self.process = os.getpid()
        self.is_open = True
        self.count = 0
        self.spoiled: BaseException | None = None
        self.has_begun = False
        self._place = root / CHANGES
        self._models = models
        self._noted: set[str] = set()

    @cached_property
    def access(self) -> Access:
        """The permissions of new files."""
        return Access.like(*self._models)

    # --- making changes ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Spoil the whole if an error leaves the block after something was changed in it."""
        before = self.count
        try:
            yield
        except BaseException as error:
            if self.count != before:
                self.spoiled = self.spoiled or error
            raise

    def new_place(self) -> Path:
        """Return a new name, for what is to be put in place when it is complete."""
        if not self.has_begun:
            for folder in (self._place, *(self._place / name for name in ("old", "added", "new"))):
                # What is there already was made by this turn, unless it is a link.
                if folder.is_symlink() or not folder.is_dir():
                    make_directory(folder, self.access)
            self.has_begun = True
        return unused_name(self._place / "new")

    def adopt(self, directory: Path) -> None:
        """Give a directory that was copied the permissions of one that is made here."""
        status = (self._place / "new").stat()
        if directory.stat().st_gid != status.st_gid:
            os.chown(directory, -1, status.st_gid)
        directory.chmod(stat.S_IMODE(status.st_mode))

    def put(self, name: str, new: Path) -> None:
        """Put a file or directory that was prepared under a name, in place of what is there."""
        self._set_aside(name, stays=new.is_file())
        new.rename(self.root / name)

    def take(self, name: str) -> None:
        """Take away what is under a name, if anything is."""
        self._set_aside(name, stays=False)

    def _set_aside(self, name: str, *, stays: bool) -> None:
        """Keep what is under a name; a file that `stays` is there until another takes its place."""
        path, garbage = self.root / name, self.new_place()
        self.count += 1
        is_file = path.is_file() and not path.is_symlink()
        if name in self._noted:
            if os.path.lexists(path) and not (stays and is_file):
                move(path, garbage)
            return
        if not os.path.lexists(path):
            (self._place / "added" / name).touch(exist_ok=False)
        elif not (stays and is_file and _linked(path, self._place / "old" / name)):
            move(path, self._place / "old" / name)
        self._noted.add(name)

    # --- ending them ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Make the changes final, on the disk when it returns.

        Raises
        ------
        CommitInDoubtError
            If the last sync fails: everything is in place, but a power cut may take it back.
        """
        sync_directory(self.root)
        done = self._retired()
        try:
            sync_directory(self.root)
        except OSError as error:
            raise CommitInDoubtError(
                f"the changes to {str(self.root)!r} are made, but the device did not confirm them:"
                f" {error.strerror}; check what is there"
            ) from error
        remove_tree(done)

    def undo(self) -> bool:
        """Take back what was changed, by this process or by one that was killed; return whether any was."""
        if not os.path.lexists(self._place):
            return False
        if self._place.is_symlink() or not self._place.is_dir():
            remove_tree(self._retired())
            return False
        for name in _names_in(self._place / "added"):
            self._discard(name)
        for name in _names_in(self._place / "old"):
            old, path = self._place / "old" / name, self.root / name
            if not (old.is_file() and path.is_file() and not path.is_symlink()):
                self._discard(name)
            # Where both are names of one file, the system leaves both.
            move(old, path)
        sync_directory(self.root)
        remove_tree(self._retired())
        return True

    def _discard(self, name: str) -> None:
        path, new = self.root / name, self._place / "new"
        if os.path.lexists(path):
            new.mkdir(exist_ok=True)
            move(path, unused_name(new))

    def _retired(self) -> Path:
        done = unused_name(self.root, f"{CHANGES}.", ".done")
        move(self._place, done)
        return done


def recover(root: Path) -> bool:
    """Take back what a killed process left half done; return whether there was anything.

    Raises
    ------
    StorageIOError
        If the system refuses it.
    """
    try:
        return Changes(root).undo()
    except OSError as error:
        raise StorageIOError(
            f"what a killed process left half done in {str(root)!r} cannot be taken back:"
            f" {error.strerror or error}; nothing was changed"
        ) from error


def sweep(root: Path) -> None:
    """Remove what killed processes left over, or put it back; by one look at all names of the directory."""
    with os.scandir(root) as listing:
        hidden = [entry for entry in listing if entry.name.startswith(".")]
    for entry in hidden:
        path = root / entry.name
        if entry.is_file(follow_symlinks=False):
            if _NEW_FILE.fullmatch(entry.name):
                remove_tree(path)
        elif entry.is_dir(follow_symlinks=False):
            found = _OLD_OR_NEW.fullmatch(entry.name)
            if found is not None and found["word"] == "old" and not os.path.lexists(root / found["key"]):
                with contextlib.suppress(OSError):
                    path.rename(root / found["key"])
            elif found is not None or (entry.name.startswith(f"{CHANGES}.") and path.suffix == ".done"):
                remove_tree(path)


def _linked(path: Path, name: Path) -> bool:
    """Return whether a file has a second name now; not all file systems give it one."""
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError:
        return False
    return True


def _names_in(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208
    except FileNotFoundError:
        return []

"""Files of a directory of objects: new ones, never written through a link, with permissions of the others."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from simarchive.errors import StorageFullError, StorageIOError
from simarchive.ground.filesystem import error_of, give_access, is_full, set_access
from simarchive.storage.ancillary import DirectoryFiles

_PIECE_BYTES = 8 << 20

Signature = tuple[int, int, int]
"""Inode, time of the last change in nanoseconds, and size: another one is another content."""


@dataclass(frozen=True)
class Access:
    """The permissions and the group that new files get.

    Attributes
    ----------
    mode
        Permission bits of a file; ``None`` for those that the umask leaves.
    group
        The group; ``None`` for that of the process, or of the directory where it hands its group down.
    """

    mode: int | None = None
    group: int | None = None

    @classmethod
    def like(cls, *models: Path) -> Access:
        """Return the access of the first file that is there, or what the umask leaves."""
        for model in models:
            with contextlib.suppress(FileNotFoundError):
                status = model.lstat()
                if stat.S_ISREG(status.st_mode):
                    return cls(stat.S_IMODE(status.st_mode) & 0o666, status.st_gid)
        return cls()

    def give(self, place: int | Path) -> None:
        """Give an open file, or a directory, these permissions."""
        if self.mode is None:
            return
        status = os.stat(place)  # noqa: PTH116 - of a descriptor, too
        mode = self.mode
        if stat.S_ISDIR(status.st_mode):
            mode |= (mode & 0o444) >> 2 | 0o700 | (status.st_mode & stat.S_ISGID)
        group = -1 if self.group is None or self.group == status.st_gid else self.group
        give_access(partial(set_access, place), mode, -1, group)


def write_text(path: Path, text: str, access: Access) -> None:
    """Write a new file and sync it; nothing may be under its name yet, not even a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:  # noqa: PTH123
        access.give(file.fileno())
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def copy_files(source: DirectoryFiles, destination: Path) -> None:
    """Make a directory with copies of files, their permissions and times, and no link in it."""
    destination.mkdir()
    folders = {parent for name in source.names for parent in PurePosixPath(name).parents}
    folders |= {place for name in source.empty_folders for place in _with_parents(name)}
    for folder in sorted(folders):
        (destination / folder).mkdir(exist_ok=True)
    for name, path in source.paths.items():
        file = path.open_file()
        try:
            _copy_file(file, destination / name)
        finally:
            os.close(file)
    # Last, and the innermost first: a folder may forbid to write in it, and changes with what it holds.
    for folder in sorted(folders, reverse=True):
        shutil.copystat(source.path / folder, destination / folder, follow_symlinks=False)
        _keep_plain(destination / folder)


def _with_parents(name: str) -> Iterator[PurePosixPath]:
    yield PurePosixPath(name)
    yield from PurePosixPath(name).parents


def _copy_file(source: int, destination: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(destination, flags, 0o666)
    try:
        while os.sendfile(target, source, None, _PIECE_BYTES):
            pass
        shutil.copystat(source, target)  # type: ignore[arg-type]
        _keep_plain(target)
    finally:
        os.close(target)


def _keep_plain(place: int | Path) -> None:
    """Take from a file or folder what lets it act as its owner or group, or keeps others from removing it."""
    mode = os.stat(place).st_mode  # noqa: PTH116 - of a descriptor, too
    if stat.S_IMODE(mode) & ~0o777:
        os.chmod(place, mode & 0o777)  # noqa: PTH101


def make_directory(path: Path, access: Access) -> None:
    """Make a new directory."""
    path.mkdir()
    access.give(path)


def unused_name(directory: Path, prefix: str = "", suffix: str = "") -> Path:
    """Return a path that nobody can guess."""
    return directory / f"{prefix}{secrets.token_hex(16)}{suffix}"


def move(path: Path, destination: Path) -> None:
    """Rename a file or directory, also a directory that its owner may not write to."""
    try:
        path.rename(destination)
    except PermissionError:
        # Its entry ".." changes, for which the system asks the permission to write.
        if path.is_symlink() or not path.is_dir():
            raise
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)
        path.rename(destination)


def remove_tree(path: Path) -> None:
    """Remove whatever is under a name, as far as that is possible."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # Folders that were stored without the permission to write in them.
        for folder, names, _ in os.walk(path):
            for name in names:
                if not Path(folder, name).is_symlink():
                    with contextlib.suppress(OSError):
                        Path(folder, name).chmod(stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)


def signature_of(path: Path) -> Signature | None:
    """Return what changes with a file's content; ``None`` if there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def io_error(error: OSError, path: Path) -> StorageIOError | StorageFullError:
    """Return our error for a write that the system refused."""
    if is_full(error):
        message = f"no room to write {str(path)!r}: what was stored before is unchanged"
    else:
        reason = error.strerror or error
        message = f"{str(path)!r} cannot be written: {reason}; what was stored before is unchanged"
    return error_of(error, message)

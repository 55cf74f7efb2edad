"""The files of an ancillary directory: which members an object gets when it is stored with one."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.keys import check_member_name


@dataclass(frozen=True, order=True)
class AncillaryFile:
    """One file below a directory, or one empty folder.

    Attributes
    ----------
    name
        Path relative to the directory, with "/" between its components: the name of the member.
    path
        Where the file is, or None for an empty folder.
    """

    name: str
    path: Path | None


def ancillary_files(directory: str | os.PathLike[str]) -> list[AncillaryFile]:
    """Return every file and every empty folder below `directory`, in the order of their names.

    A symbolic link to a file inside the directory counts as that file.

    Raises
    ------
    NotFoundError
        If there is no such directory.
    InvalidDataError
        If it is no directory, or holds what cannot be stored: a link that leads out of it, to a folder or
        nowhere, a FIFO, socket or device, or a name that is not Unicode.
    StorageIOError
        If a folder or file in it cannot be read.
    """
    root = Path(directory)
    if not root.exists():
        raise NotFoundError(f"ancillary directory {str(root)!r} does not exist")
    if not root.is_dir():
        raise InvalidDataError(f"{str(root)!r} is a file: give the directory that holds the ancillary files")
    return sorted(_walk(root, root.resolve(), ""))


def _walk(folder: Path, root: Path, prefix: str) -> Iterator[AncillaryFile]:
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        raise StorageIOError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error
    if not entries and prefix:
        yield AncillaryFile(prefix, None)
    for entry in entries:
        name = check_member_name(f"{prefix}/{entry.name}" if prefix else entry.name)
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, name)
        else:
            _check_file(path, root, is_link=entry.is_symlink())
            yield AncillaryFile(name, path)


def _check_file(path: Path, root: Path, *, is_link: bool) -> None:
    if is_link:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise InvalidDataError(f"link {str(path)!r} leads nowhere: remove it") from error
        if not target.is_relative_to(root):
            raise InvalidDataError(
                f"link {str(path)!r} leads out of the directory, to {str(target)!r}: put a copy in its place"
            )
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InvalidDataError(f"link {str(path)!r} leads to a folder: put a copy in its place")
    if not stat.S_ISREG(mode):
        raise InvalidDataError(f"{str(path)!r} is no regular file: only files can be stored")
    if not os.access(path, os.R_OK):
        raise StorageIOError(f"file {str(path)!r} cannot be read: permission denied")


def members_of(files: list[AncillaryFile]) -> dict[str, Path]:
    """Return the files by member name."""
    return {file.name: file.path for file in files if file.path is not None}


def empty_folders_of(files: list[AncillaryFile]) -> tuple[str, ...]:
    """Return the names of the folders that hold no file."""
    return tuple(file.name for file in files if file.path is None)


def same_files(first: Path, second: Path) -> bool:
    """Return whether two directories hold the same files, byte for byte, and the same empty folders."""
    one, other = ancillary_files(first), ancillary_files(second)
    return [file.name for file in one] == [file.name for file in other] and all(
        (a.path is None) == (b.path is None)
        and (a.path is None or b.path is None or filecmp.cmp(a.path, b.path, shallow=False))
        for a, b in zip(one, other, strict=True)
    )


def checked_files(stored: BaseStoredData, path: str | os.PathLike[str] | None) -> list[AncillaryFile] | None:
    """Return what `ancillary_files` says of an object's directory, or ``None`` for a class that has none.

    Raises
    ------
    InvalidDataError
        If the directory is missing, unexpected, no directory, or lacks a file that the object names; or as
        `ancillary_files`.
    """
    class_name = type(stored).__name__
    if not type(stored).has_ancillary_data():
        if path is not None:
            raise InvalidDataError(
                f"a {class_name} has no ancillary data: store it without {os.fspath(path)!r}"
            )
        return None
    if path is None:
        raise InvalidDataError(f"a {class_name} needs the directory of its ancillary data: give its path")
    directory = Path(path).absolute()
    files = ancillary_files(directory)
    names = {file.name for file in files if file.path is not None}
    for name in stored.member_names():
        if name not in names:
            raise InvalidDataError(
                f"this {class_name} names the file {name!r}, which is not in '{directory}'"
            )
    return files

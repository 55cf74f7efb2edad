"""The files of an ancillary directory: which members an object gets when it is stored with one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.keys import check_member_name


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

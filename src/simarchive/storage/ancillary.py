"""Ancillary data as a directory: which files it holds, and what is refused."""

from __future__ import annotations

import filecmp
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.keys import check_member_name


@dataclass(frozen=True, slots=True)
class AncillaryFiles:
    """The files of a directory by member name, and the folders that hold none."""

    members: dict[str, Path] = field(default_factory=dict)
    empty_folders: tuple[str, ...] = ()


def ancillary_files(directory: Path) -> AncillaryFiles:
    """Return what a directory holds, sorted by name.

    A link to a file inside the directory stands for the file's content.

    Raises
    ------
    InvalidDataError
        If a link leads out of the directory or to a folder, something is neither file nor folder, or a
        name is no valid Unicode.
    """
    root = Path(os.path.realpath(directory))
    members: dict[str, Path] = {}
    empty: list[str] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        here = Path(folder)
        linked = [name for name in folders if (here / name).is_symlink()]
        if not files and not folders and here != root:
            empty.append(check_member_name(here.relative_to(root).as_posix()))
        for name in sorted([*files, *linked]):
            path = here / name
            members[check_member_name(path.relative_to(root).as_posix())] = _regular_file(path, root)
    return AncillaryFiles(dict(sorted(members.items())), tuple(sorted(empty)))


def check_ancillary_directory(stored: BaseStoredData, path: str | os.PathLike[str] | None) -> Path | None:
    """Return the directory of an object's ancillary data, or ``None`` for a class that has none.

    Raises
    ------
    InvalidDataError
        If it is missing, unexpected, no directory, or lacks a file that the object names.
    """
    class_name = type(stored).__name__
    if not type(stored).has_ancillary_data():
        if path is not None:
            raise InvalidDataError(f"a {class_name} has no ancillary data: store it without {os.fspath(path)!r}")
        return None
    if path is None:
        raise InvalidDataError(f"a {class_name} needs the directory of its ancillary data: give its path")
    directory = Path(path).absolute()
    if not directory.is_dir():
        problem = "is not a directory" if directory.exists() else "does not exist"
        raise InvalidDataError(f"the ancillary data of a {class_name} must be a directory: '{directory}' {problem}")
    for name in stored.member_names():
        if not (directory / name).is_file():
            raise InvalidDataError(f"this {class_name} names the file {name!r}, which is not in '{directory}'")
    ancillary_files(directory)
    return directory


def same_files(first: Path, second: Path) -> bool:
    """Return whether two directories hold the same files, byte for byte, and the same empty folders."""
    one, other = ancillary_files(first), ancillary_files(second)
    return (
        one.members.keys() == other.members.keys()
        and one.empty_folders == other.empty_folders
        and all(filecmp.cmp(path, other.members[name], shallow=False) for name, path in one.members.items())
    )


def _regular_file(path: Path, root: Path) -> Path:
    if path.is_symlink():
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(root):
            raise InvalidDataError(f"'{path}' is a link that leads out of '{root}': replace it by a copy")
        if target.is_dir():
            raise InvalidDataError(f"'{path}' is a link to a folder: replace it by a copy")
        path = target
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise NotFoundError(f"'{path}' does not exist: a link that leads nowhere?") from error
    if not stat.S_ISREG(mode):
        raise InvalidDataError(f"'{path}' is neither a file nor a folder: only these can be stored")
    return path

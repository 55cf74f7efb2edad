"""Ancillary data: the files of one object, wherever they lie, and how a directory of them is read."""

from __future__ import annotations

import abc
import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from simarchive.container.members import member_digest
from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import check_member_name


class AncillaryData(abc.ABC):
    """The files of one object, wherever they lie: in a directory, or in a container.

    What `StorageBackend.members` returns, and `StorageBackend.put` takes.
    """

    @property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of the files, in the order of their names; "/" stands between the parts of one."""

    @property
    @abc.abstractmethod
    def empty_folders(self) -> tuple[str, ...]:
        """The names of the folders that hold no file, in the order of their names."""

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""

    @abc.abstractmethod
    def digest(self, name: str) -> str:
        """Return the BLAKE3 digest of a file: 64 hexadecimal digits, as `b3sum` prints them."""

    @abc.abstractmethod
    def directory(self) -> AbstractContextManager[Path]:
        """Give a directory that holds all of it. It may vanish after the block; nobody may change it."""

    def digests(self) -> dict[str, str]:
        """Return the BLAKE3 digest of each file, by name; empty folders have an empty one."""
        return {
            **{name: self.digest(name) for name in self.names},
            **dict.fromkeys(self.empty_folders, ""),
        }

    def is_same_as(self, other: AncillaryData) -> bool:
        """Return whether both have the same files and empty folders; digests are compared at last."""
        return (
            self.names == other.names
            and self.empty_folders == other.empty_folders
            and all(self.size(name) == other.size(name) for name in self.names)
            and all(self.digest(name) == other.digest(name) for name in self.names)
        )


class DirectoryFiles(AncillaryData):
    """The files of a directory, which is read once; nobody may change it meanwhile.

    Raises
    ------
    NotFoundError, InvalidDataError, StorageIOError
        As `ancillary_files`, when something is asked for.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path).absolute()

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Where each file is, by name."""
        return {file.name: file.path for file in self._files if file.path is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(self.paths)

    @property
    def empty_folders(self) -> tuple[str, ...]:
        """The names of the folders that hold no file."""
        return tuple(file.name for file in self._files if file.path is None)

    @cached_property
    def _files(self) -> list[AncillaryFile]:
        return ancillary_files(self.path)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return self.paths[name].stat().st_size

    def digest(self, name: str) -> str:
        """Return the BLAKE3 digest of a file."""
        return member_digest(self.paths[name])[1]

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Give the directory itself."""
        yield self.path


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


def ancillary_files(directory: PathLike) -> list[AncillaryFile]:
    """Return every file and every empty folder below `directory`, in the order of their names.

    A symbolic link to a file inside the directory counts as that file.

    Raises
    ------
    NotFoundError
        If there is no such directory.
    InvalidDataError
        If it is not a directory, or holds what cannot be stored: a link that leads out of it, to a folder or
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
        raise InvalidDataError(f"{str(path)!r} is not a regular file: only files can be stored")
    if not os.access(path, os.R_OK):
        raise StorageIOError(f"file {str(path)!r} cannot be read: permission denied")


def check_fits(stored: BaseStoredData, ancillary: AncillaryData | None) -> None:
    """Check that an object has the ancillary data that it needs.

    Raises
    ------
    InvalidDataError
        If it is missing or unexpected, or lacks a file that the object names; or as `ancillary_files`.
    """
    class_name = type(stored).__name__
    if not type(stored).has_ancillary_data():
        if ancillary is not None:
            raise InvalidDataError(
                f"a {class_name} has no ancillary data: store it without {_place(ancillary)}"
            )
        return
    if ancillary is None:
        raise InvalidDataError(f"a {class_name} needs the directory of its ancillary data: give its path")
    names = frozenset(ancillary.names)
    for name in stored.member_names():
        if name not in names:
            raise InvalidDataError(
                f"this {class_name} names the file {name!r}, which is not in {_place(ancillary)}"
            )


def _place(ancillary: AncillaryData) -> str:
    return f"'{ancillary.path}'" if isinstance(ancillary, DirectoryFiles) else "its ancillary data"

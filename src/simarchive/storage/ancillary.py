"""Ancillary data: the files of one object, wherever they lie, and how a directory of them is read."""

from __future__ import annotations

import abc
import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from simarchive.container.members import member_digest
from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.files_below import FileBelow, file_below, open_folder, open_folder_below
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import check_member_name

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData

_DEEPEST = 100
_LARGEST_HOLE = 4 << 30
_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def is_executable(status: os.stat_result) -> bool:
    """Return whether anybody may execute a file."""
    return bool(status.st_mode & _EXECUTABLE)


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

    @property
    def executables(self) -> tuple[str, ...]:
        """The names of the files that are executable."""
        return ()

    @property
    def times(self) -> Mapping[str, int]:
        """When each file was changed last, in nanoseconds since 1970, as far as it is known."""
        return {}

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

    Parameters
    ----------
    within
        A directory that the files have to lie in, an absolute path that was resolved: a link in the place of
        `path` must not lead out of it. Without it, `path` may be any link.
    follow_links
        A link to a file outside of the directory counts as that file, as git-annex and DataLad have them.

    Raises
    ------
    NotFoundError, InvalidDataError, StorageIOError
        As `ancillary_files`, when something is asked for.
    """

    def __init__(self, path: PathLike, *, within: Path | None = None, follow_links: bool = False) -> None:
        self.path = Path(path).absolute()
        self._within = within
        self._follow_links = follow_links

    @cached_property
    def paths(self) -> dict[str, FileBelow]:
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

    @property
    def executables(self) -> tuple[str, ...]:
        """The names of the files that somebody may execute."""
        return tuple(file.name for file in self._files if file.is_executable)

    @property
    def times(self) -> dict[str, int]:
        """When each file was changed last, in nanoseconds since 1970."""
        return {file.name: file.modified_ns for file in self._files if file.modified_ns is not None}

    @cached_property
    def _files(self) -> list[AncillaryFile]:
        return ancillary_files(self.path, within=self._within, follow_links=self._follow_links)

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
        Where the file is, or None for an empty folder. Whoever stores it opens it without following a link.
    is_executable
        Whether somebody may execute it.
    modified_ns
        When it was changed last, in nanoseconds since 1970; ``None`` for a folder.
    """

    name: str
    path: FileBelow | None
    is_executable: bool = False
    modified_ns: int | None = None


def ancillary_files(
    directory: PathLike, *, within: Path | None = None, follow_links: bool = False
) -> list[AncillaryFile]:
    """Return every file and every empty folder below `directory`, in the order of their names.

    A symbolic link to a file inside the directory counts as that file.

    Parameters
    ----------
    within
        A directory out of which no link in the place of `directory` may lead.
    follow_links
        A link to a file outside of the directory counts as that file, too.

    Raises
    ------
    NotFoundError
        If there is no such directory.
    InvalidDataError
        If it is not a directory, or holds what cannot be stored: a link that leads out of it, to a folder or
        nowhere, a FIFO, socket or device, a name that is not Unicode, more than 100 folders one in another,
        or a file of gigabytes that has next to no bytes on the device.
    StorageIOError
        If a folder or file in it cannot be read.
    """
    path = Path(directory)
    try:
        root = path.resolve(strict=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"ancillary directory {str(path)!r} does not exist") from error
    except PermissionError as error:
        raise StorageIOError(f"folder {str(path)!r} cannot be read: {error.strerror}") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidDataError(f"{str(path)!r} cannot be a directory: it leads nowhere") from error
    if within is not None and not root.is_relative_to(within):
        raise InvalidDataError(
            f"{str(path)!r} is a link that leads out of {str(within)!r}, to {str(root)!r}:"
            " put a copy in its place"
        )
    base = within or root
    place = root.relative_to(base)
    try:
        folder = open_folder_below(base, "" if place == Path() else place.as_posix())
    except NotADirectoryError as error:
        raise InvalidDataError(
            f"{str(path)!r} is a file: give the directory that holds the ancillary files"
        ) from error
    except OSError as error:
        raise StorageIOError(f"folder {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        return sorted(_Walk(path, root, base, follow_links).below(folder, ""))
    finally:
        os.close(folder)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk through the folders of a directory by their descriptors, so that none can be exchanged."""

    path: Path  # as the user calls it
    root: Path  # without a link
    base: Path  # what files are opened from
    follow_links: bool

    def below(self, folder: int, prefix: str) -> Iterator[AncillaryFile]:
        """Yield the files and empty folders below an open folder."""
        if prefix.count("/") >= _DEEPEST:
            raise InvalidDataError(
                f"{str(self.path)!r} has more than {_DEEPEST} folders one in another: store fewer levels"
            )
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            raise self._unreadable(prefix, error) from error
        if not entries and prefix:
            yield AncillaryFile(prefix, None)
        for entry in entries:
            name = check_member_name(f"{prefix}/{entry.name}" if prefix else entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield self._file(entry, folder, name)
                continue
            try:
                inner = open_folder(entry.name, within=folder)
            except OSError as error:
                raise self._unreadable(name, error) from error
            try:
                yield from self.below(inner, name)
            finally:
                os.close(inner)

    def _file(self, entry: os.DirEntry[str], folder: int, name: str) -> AncillaryFile:
        path = self.path / name
        status = entry.stat(follow_symlinks=False)
        found = FileBelow.of(self.base, self._name_in_base(name))
        if stat.S_ISLNK(status.st_mode):
            target = self._target_of(name)
            status = target.stat()
            if stat.S_ISDIR(status.st_mode):
                raise InvalidDataError(f"link {str(path)!r} leads to a folder: put a copy in its place")
            if target.is_relative_to(self.base):
                found = FileBelow.of(self.base, target.relative_to(self.base).as_posix())
            else:
                found = FileBelow.of(target.parent, target.name)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidDataError(f"{str(path)!r} is not a regular file: only files can be stored")
        if _is_hollow(status):
            raise InvalidDataError(
                f"{str(path)!r} claims {status.st_size} bytes and has next to none: store what is in it"
            )
        if not os.access(entry.name, os.R_OK, dir_fd=folder):
            raise StorageIOError(f"file {str(path)!r} cannot be read: permission denied")
        return AncillaryFile(name, found, is_executable(status), status.st_mtime_ns)

    def _target_of(self, name: str) -> Path:
        if not self.follow_links:
            return file_below(self.root, name)
        try:
            return (self.root / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidDataError(
                f"link {str(self.path / name)!r} leads nowhere: fetch what it stands for, or remove it"
            ) from error

    def _name_in_base(self, name: str) -> str:
        place = self.root.relative_to(self.base)
        return name if place == Path() else f"{place.as_posix()}/{name}"

    def _unreadable(self, name: str, error: OSError) -> StorageIOError:
        return StorageIOError(f"folder {str(self.path / name)!r} cannot be read: {error.strerror}")


def _is_hollow(status: os.stat_result) -> bool:
    """Return whether reading a file would take for ever, for nothing but zeros."""
    return status.st_size > _LARGEST_HOLE and status.st_size > 1000 * 512 * status.st_blocks


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

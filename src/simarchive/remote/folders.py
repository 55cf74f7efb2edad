"""Folders in which a name is given once: what has one is never replaced. Those of a file system are here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from simarchive.errors import NotFoundError
from simarchive.ground.filesystem import error_of, make_folder, whole_file, write_all
from simarchive.remote.address import Address

_PIECE_BYTES = 8 << 20


class Folder(Protocol):
    """A place with files in folders, on this machine or elsewhere. Threads may use it at once.

    Attributes
    ----------
    name
        How messages name it: its path or URL.
    """

    name: str

    def exists(self) -> bool:
        """Return whether anything is there; an object store has no folders, so that it always says yes."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; hidden ones are left out."""
        ...

    def tail(self, name: str, size: int) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size.

        Raises
        ------
        NotFoundError
            If it is not there.
        """
        ...

    def create(self, name: str, content: Path | bytes) -> None:
        """Give bytes, or those of a file of this machine, a name that nothing has: whole or not at all.

        Raises
        ------
        FileExistsError
            If something has the name.
        StorageIOError
            If it failed, or if nobody knows whether it did.
        """
        ...

    def place_of(self, name: str) -> str:
        """Return the path or URL of a file."""
        ...

    def check_conditions(self) -> None:
        """Find out whether `create` never replaces anything, with names of no consequence.

        Raises
        ------
        StorageIOError
            If it does.
        """
        ...


class LocalFolder:
    """A folder of a file system, also one that several machines share."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.name = str(self._path)

    def exists(self) -> bool:
        """Return whether the folder is there."""
        return self._path.is_dir()

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none if there is no such folder."""
        try:
            found = os.listdir(self._path / folder)  # noqa: PTH208 - a Path of each would be made in vain
        except FileNotFoundError:
            return []
        except OSError as error:
            raise error_of(error, f"'{self._path / folder}' cannot be listed: {error.strerror}") from error
        return sorted(name for name in found if not name.startswith("."))

    def tail(self, name: str, size: int) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size."""
        try:
            with (self._path / name).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                return file.read(size), end
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no '{self.place_of(name)}'") from error
        except OSError as error:
            raise error_of(error, f"'{self.place_of(name)}' cannot be read: {error.strerror}") from error

    def create(self, name: str, content: Path | bytes) -> None:
        """Write a file beside its name, sync it, and link it to the name: a link never replaces anything."""
        target = self._path / name
        try:
            make_folder(target.parent, sync=True)
            with whole_file(target, overwrite=False, sync=True) as fd:
                if isinstance(content, bytes):
                    write_all(fd, memoryview(content), 0)
                else:
                    _copy(content, fd)
        except FileExistsError:
            raise
        except OSError as error:
            raise error_of(
                error, f"'{target}' cannot be written: {error.strerror or error}: nothing was published"
            ) from error

    def place_of(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def check_conditions(self) -> None:
        """Do nothing: a link to a name that is taken is an error on every file system."""


def _copy(source: Path, fd: int) -> None:
    offset = 0
    with source.open("rb") as file:
        while data := file.read(_PIECE_BYTES):
            write_all(fd, memoryview(data), offset)
            offset += len(data)


def folder_at(place: Path) -> Folder:
    """Return the folder at a path, or at the URL that an `Address` stands for.

    Raises
    ------
    InvalidDataError
        If there can be none at the URL, or obstore is not installed.
    """
    if not isinstance(place, Address):
        return LocalFolder(place)
    from simarchive.remote.bucket import BucketFolder

    return BucketFolder(str(place))

"""What lies below a directory of somebody else, opened so that no link leads out of it.

Names may be changed at any time, also between a look and the next. So folders are opened one in another, by
their descriptors, and a link in the place of one is an error of the system, never followed. Nothing is waited
for: a FIFO is opened at once, and refused.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PosixPath
from typing import Self

from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# What the system says where something else took the place of a folder or file.
_REPLACED = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)


def open_folder(path: str | os.PathLike[str], *, within: int | None = None) -> int:
    """Return the descriptor of a folder that is not a link, given by path or by name within an open one."""
    return os.open(path, _FOLDER, dir_fd=within)


def open_folder_below(root: Path, name: str) -> int:
    """Return the descriptor of a folder below `root`; no part of its name may be a link."""
    folder = open_folder(root)
    for part in name.split("/") if name else ():
        try:
            inner = open_folder(part, within=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


class FileBelow(PosixPath):
    """The path of a regular file below a directory, which `open_file` opens without following a link.

    Paths that are made from it are like any others.
    """

    _directory: Path | None = None
    _place = ""

    @classmethod
    def of(cls, root: Path, name: str) -> Self:
        """Return the path of a file; its name has no link in it, and no part that leads upwards."""
        made = cls(root, name)
        made._directory, made._place = root, name
        return made

    def open_file(self) -> int:
        """Return a descriptor for reading.

        Raises
        ------
        NotFoundError
            If there is no such file.
        InvalidDataError
            If it is not a regular file, or a link has taken the place of it or of a folder on the way.
        StorageIOError
            If it cannot be read.
        """
        try:
            return self._opened()
        except FileNotFoundError as error:
            raise NotFoundError(f"file {str(self)!r} does not exist: it was moved or deleted") from error
        except OSError as error:
            if error.errno in _REPLACED:
                raise InvalidDataError(
                    f"{str(self)!r} is not a regular file, or a link is on the way to it:"
                    " put the file itself in its place"
                ) from error
            raise StorageIOError(f"file {str(self)!r} cannot be read: {error.strerror}") from error

    def _opened(self) -> int:
        if self._directory is None:
            return os.open(self, _FILE)
        place, _, name = self._place.rpartition("/")
        folder = open_folder_below(self._directory, place)
        try:
            file = os.open(name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.ENXIO, "not a regular file")
        return file


def file_below(root: Path, name: str) -> FileBelow:
    """Return the path of a file below `root`, a link to a file below it counting as that file.

    Parameters
    ----------
    root
        An absolute path that was resolved.
    name
        Its name, with "/" between the parts.

    Raises
    ------
    InvalidDataError
        If it is a link that leads out of the directory, or nowhere.
    """
    path = root / name
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError as error:
        if not path.is_symlink():
            return FileBelow.of(root, name)
        raise InvalidDataError(f"link {str(path)!r} leads nowhere: remove it") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidDataError(f"link {str(path)!r} leads nowhere: remove it") from error
    if not target.is_relative_to(root):
        raise InvalidDataError(
            f"link {str(path)!r} leads out of the directory, to {str(target)!r}: put a copy in its place,"
            " or follow links (--follow-links, follow_links=True) if it is yours"
        )
    return FileBelow.of(root, target.relative_to(root).as_posix())


def read_file_below(root: Path, name: str, max_bytes: int) -> bytes:
    """Return the bytes of a file below a directory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidDataError
        If it is larger, not a regular file, or behind a link that leads out of the directory.
    StorageIOError
        If it cannot be read.
    """
    path = FileBelow.of(root, name)
    if path.is_symlink():
        path = file_below(root, name)
    try:
        file = path.open_file()
    except NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, str(error)) from error
    with open(file, "rb") as stream:  # noqa: PTH123 - of a descriptor
        try:
            size = os.fstat(file).st_size
            data = stream.read(max_bytes + 1) if size <= max_bytes else b""
        except OSError as error:
            raise StorageIOError(f"file {str(path)!r} cannot be read: {error.strerror}") from error
    if size > max_bytes or len(data) > max_bytes:
        raise InvalidDataError(
            f"{str(path)!r} has more than {max_bytes} bytes: raise max_json_bytes if you trust it"
        )
    return data

"""Where `EvaluatorStorage` keeps its container, and where it extracts files to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import NamedTuple

from simarchive.container.contents import Contents
from simarchive.container.members import MemberInfo, member_digest
from simarchive.container.objects import ObjectHeader
from simarchive.errors import InvalidDataError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.hdf5.storage import HDF5Storage

CONTAINER_NAME = "stored_data.h5"


def container_path(path: PathLike | None, *, make: bool) -> Path:
    """Return the absolute path of the container that a path given to `EvaluatorStorage` stands for.

    Parameters
    ----------
    make
        Whether to make a missing directory.

    Raises
    ------
    InvalidDataError
        If it is a directory with an Evaluator store in it, or no path.
    """
    try:
        place = Path(CONTAINER_NAME if path is None else path).absolute()
    except TypeError as error:
        raise InvalidDataError(f"{path!r} is no path: give a str or a Path") from error
    if place.is_dir():
        container = place / CONTAINER_NAME
        if not container.exists() and (place / "object_keys.json").exists():
            raise InvalidDataError(
                f"{str(place)!r} holds the files of a LocalFileStorage: import them with"
                f" 'simarchive import {place} {place.with_suffix('.h5')}' and open that, or open an empty"
                " place and call update() with this directory"
            )
        return container
    if place.suffix or place.exists():
        return place
    if make:
        place.mkdir(parents=True)
    return place / CONTAINER_NAME


class EvaluatorScratch:
    """The extracted files of objects, as real directories that stay as long as the storage.

    Each lies in ``<scratch>/<generation>/<key>/``: Evaluator takes the last part of a path for the key, and
    an object that was replaced gets another directory, so that no path ever shows other files than before.
    Nothing is made before the first file is extracted.

    Parameters
    ----------
    archive
        The container.
    named
        A directory that stays when the storage is closed, and whose files are used again; by default one of
        this process beside the container, or in the temporary directory if that place cannot be written.
    """

    def __init__(self, archive: HDF5Storage, named: PathLike | None) -> None:
        self._archive = archive
        self._stamps: dict[Path, dict[str, _Stamp]] = {}
        self._finalizer = None
        if named is not None:
            self.directory = Path(named).absolute()
            return
        parent = archive.path.parent
        if not os.access(parent, os.W_OK):
            parent = Path(tempfile.gettempdir())
        name = f"{archive.path.name}.scratch-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.directory = parent / name
        self._finalizer = weakref.finalize(self, _remove, self.directory, os.getpid())

    def holds(self, path: Path) -> bool:
        """Return whether a path lies in the directory."""
        return path.absolute().is_relative_to(self.directory)

    def remove(self) -> None:
        """Remove the directory, unless it was named."""
        if self._finalizer is not None:
            self._finalizer()

    def directory_of(self, header: ObjectHeader) -> str:
        """Return the directory with the files of an object, each as it was stored.

        Files that someone has changed, moved or deleted since are extracted again. The directory counts as
        changed just now: Evaluator takes that for the age of the data where it prefers the newest
        (`ReweightingLayer`), so ask for the oldest first.
        """
        # One read: all members are of one committed state.
        with self._archive._container.reading() as contents:
            infos = contents.members(header.key)
            place = self.directory / _generation(header, infos) / header.key
            if not self._is_valid(place, infos):
                self._extract(contents, header, infos, place)
                self._stamps[place] = _stamps(place)
            os.utime(place)
        return str(place)

    def _is_valid(self, place: Path, members: list[MemberInfo]) -> bool:
        if not place.is_dir():
            return False
        now = _stamps(place)
        known = self._stamps.get(place)
        if known is not None:
            return now == known
        # Left by an earlier storage over a named directory: only the content can tell.
        infos = {info.name: info for info in members}
        good = now.keys() == infos.keys() and all(
            now[name].size == info.size and member_digest(place / name)[1] == info.digest
            for name, info in infos.items()
        )
        if good:
            self._stamps[place] = now
        return good

    @staticmethod
    def _extract(contents: Contents, header: ObjectHeader, members: list[MemberInfo], place: Path) -> None:
        new, old = (place.with_name(f".{what}-{uuid.uuid4().hex}") for what in ("new", "old"))
        try:
            for folder in ("", *header.empty_folders):
                (new / folder).mkdir(parents=True, exist_ok=True)
            for info in members:
                contents.extract_member(header.key, info.name, new / info.name)
            with contextlib.suppress(FileNotFoundError):
                place.rename(old)
            new.rename(place)
        except OSError as error:
            # Another storage over the same named directory was first: what it renamed is complete.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            for left in (new, old):
                if left.exists():
                    shutil.rmtree(left, ignore_errors=True)


def _generation(header: ObjectHeader, members: list[MemberInfo]) -> str:
    content = json.dumps([header.empty_folders, *([info.name, info.size, info.digest] for info in members)])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


class _Stamp(NamedTuple):
    size: int
    inode: int
    modified_ns: int


def _stamps(directory: Path) -> dict[str, _Stamp]:
    stamps = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            now = path.lstat()
            stamps[path.relative_to(directory).as_posix()] = _Stamp(now.st_size, now.st_ino, now.st_mtime_ns)
    return stamps


def _remove(directory: Path, owner: int) -> None:
    # A forked child must not take away what its parent still reads.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)

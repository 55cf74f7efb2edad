"""The files of objects in a container: listed, opened where they lie, extracted."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from simarchive.container.container import Container
from simarchive.container.contents import Contents, ReadDocument
from simarchive.container.members import MemberInfo
from simarchive.container.members.streams import MemberStream
from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.storage.essentials import PathLike
from simarchive.storage.scratch import AncillaryPath, ReplacedError, Scratch, ScratchDirectory, ScratchFile

Progress = Callable[[int], None]


class MemberAccess:
    """What `HDF5Storage` does with single files."""

    _container: Container
    _scratch: Scratch | None
    _scratch_directory: Path | None
    _scratch_max_bytes: int | None

    def list_members(self, storage_key: str, patterns: Sequence[str] | None = None) -> list[MemberInfo]:
        """Return name, size, stored size, digest (BLAKE3) and codec of each file of an object.

        Parameters
        ----------
        patterns
            As for `extract`; files that fit none are not looked at.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        with self._container.reading() as contents:
            return _members(contents, storage_key, patterns)

    def file_digests(self, storage_key: str) -> dict[str, str]:
        """Return the BLAKE3 digest of each file of an object, by name; empty folders have an empty one."""
        with self._container.reading() as contents:
            return {
                **{info.name: info.digest for info in contents.members(storage_key)},
                **dict.fromkeys(contents.empty_folders(storage_key), ""),
            }

    def open_member(self, storage_key: str, name: str) -> BinaryIO:
        """Return a seekable, buffered, read-only binary file over a member, without extracting it.

        Every chunk is checked when it is read. The file stays good when other objects change; if this
        object is replaced or removed, reading on raises `ConflictError`.

        Raises
        ------
        NotFoundError
            If there is no such object or member.
        """
        return cast("BinaryIO", io.BufferedReader(MemberStream(self._container, storage_key, name)))

    def extract(
        self,
        storage_key: str,
        destination: PathLike,
        patterns: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        sync: bool = False,
    ) -> list[Path]:
        """Write an object's files below a directory; return their paths.

        Each file gets its name when it is complete and its digest is right.

        Parameters
        ----------
        patterns
            Shell patterns such as ``"*.pdb"``, matched against the member's name and its last component.
            All files by default. Files that fit none are not looked at.
        progress
            Called with the number of bytes that were done since the last call.
        sync
            Whether the files are on the disk, not only in the system's memory, when this returns.
        """
        directory = Path(destination)
        with self._container.reading() as contents:
            chosen = [info.name for info in _members(contents, storage_key, patterns)]
            directory.mkdir(parents=True, exist_ok=True)
            if patterns is None:
                for folder in contents.empty_folders(storage_key):
                    (directory / folder).mkdir(parents=True, exist_ok=True)
            for name in chosen:
                contents.extract_member(storage_key, name, directory / name, progress, sync=sync)
        return [directory / name for name in chosen]

    def _ancillary_path(self, key: str, document: ReadDocument) -> AncillaryPath | None:
        if not document.has_ancillary_data:
            return None
        return AncillaryPath(key, functools.partial(self._extract_to_scratch, key, document.stored_at))

    def _extract_to_scratch(self, key: str, stored_at: str, name: str | None) -> ScratchDirectory:
        """Extract a member, the members below a folder, or all of them; return the object's directory.

        Raises
        ------
        ReplacedError
            If the object is not the one that was stored at `stored_at` any more.
        """
        with self._container.reading() as contents:
            if key not in contents or contents.stored_at(key) != stored_at:
                raise ReplacedError(
                    f"object {key!r} was replaced or removed before its files were asked for:"
                    " retrieve it again"
                )
            infos, folders = _asked_for(contents, key, name)
            if self._scratch is None:
                self._scratch = Scratch(
                    self._scratch_directory,
                    max_bytes=self._scratch_max_bytes,
                    timeout_s=self._container.lock_timeout_s,
                )
            return self._scratch.extract(
                key,
                [ScratchFile(info.name, info.size, info.digest) for info in infos],
                lambda wanted, destination: contents.extract_member(key, wanted, destination),
                folders=folders,
                generation=contents.generation(key),
            )


def _members(contents: Contents, key: str, patterns: Sequence[str] | None) -> list[MemberInfo]:
    return contents.members(key) if patterns is None else contents.members_chosen(key, patterns)


def _asked_for(contents: Contents, key: str, name: str | None) -> tuple[list[MemberInfo], list[str]]:
    """Return the files and the empty folders that a path below an object's directory stands for."""
    path = "." if name is None else PurePosixPath(name).as_posix()
    if path == ".":
        return contents.members(key), list(contents.empty_folders(key))
    try:
        return [contents.member(key, path)], []
    except InvalidDataError:
        return [], []  # it leads out of the directory
    except NotFoundError:
        folders = [folder for folder in contents.empty_folders(key) if f"{folder}/".startswith(f"{path}/")]
        return contents.members_below(key, path), folders

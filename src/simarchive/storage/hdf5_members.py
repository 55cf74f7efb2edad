"""The files of objects in a container: listed, opened where they lie, extracted."""

from __future__ import annotations

import fnmatch
import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from simarchive.container.container import Container
from simarchive.container.contents import ReadDocument
from simarchive.container.members import MemberInfo
from simarchive.container.members.streams import MemberStream
from simarchive.storage.ancillary_path import AncillaryPath
from simarchive.storage.essentials import PathLike
from simarchive.storage.scratch import Scratch, ScratchDirectory, ScratchFile

Progress = Callable[[int], None]


class MemberAccess:
    """What `HDF5Storage` does with single files."""

    _container: Container
    _scratch: Scratch | None
    _scratch_directory: Path | None
    _scratch_max_bytes: int | None

    def list_members(self, storage_key: str) -> list[MemberInfo]:
        """Return name, size, stored size, digest (BLAKE3) and codec of each file of an object.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        with self._container.reading() as contents:
            return contents.members(storage_key)

    def file_digests(self, storage_key: str) -> dict[str, str]:
        """Return the BLAKE3 digest of each file of an object, by name; empty folders have an empty one."""
        with self._container.reading() as contents:
            folders = contents.header(storage_key).empty_folders
            return {
                **{info.name: info.digest for info in contents.members(storage_key)},
                **dict.fromkeys(folders, ""),
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
            All files by default.
        progress
            Called with the number of bytes that were done since the last call.
        sync
            Whether the files are on the disk, not only in the system's memory, when this returns.
        """
        directory = Path(destination)
        with self._container.reading() as contents:
            header = contents.header(storage_key)
            chosen = [info.name for info in contents.members(storage_key) if _is_chosen(info.name, patterns)]
            directory.mkdir(parents=True, exist_ok=True)
            if patterns is None:
                for folder in header.empty_folders:
                    (directory / folder).mkdir(parents=True, exist_ok=True)
            for name in chosen:
                contents.extract_member(storage_key, name, directory / name, progress, sync=sync)
        return [directory / name for name in chosen]

    def _ancillary_path(self, key: str, document: ReadDocument) -> AncillaryPath | None:
        if not document.has_ancillary_data:
            return None
        return AncillaryPath(key, functools.partial(self._extract_to_scratch, key))

    def _extract_to_scratch(self, key: str, name: str | None) -> ScratchDirectory:
        """Extract a member, the members below a folder, or all of them; return the object's directory."""
        with self._container.reading() as contents:
            header, infos = contents.header(key), contents.members(key)
            names = None
            if name is not None:
                names = [i.name for i in infos if i.name == name or i.name.startswith(f"{name}/")]
            if self._scratch is None:
                self._scratch = Scratch(self._scratch_directory, max_bytes=self._scratch_max_bytes)
            return self._scratch.extract(
                key,
                [ScratchFile(info.name, info.size, info.digest) for info in infos],
                lambda wanted, destination: contents.extract_member(key, wanted, destination),
                names=names,
                folders=header.empty_folders,
            )


def _is_chosen(name: str, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
        for pattern in patterns
    )

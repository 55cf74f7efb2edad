"""The files of the objects in a container: listed, opened where they lie, extracted, or copied."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn, cast

from blake3 import blake3

from simarchive.container.container import Container
from simarchive.container.contents import NOT_FOUND, Contents
from simarchive.container.members import MemberInfo, StoredMember
from simarchive.container.members.pipeline import Progress
from simarchive.container.objects import ReadDocument
from simarchive.container.open_members.stream import MemberStream
from simarchive.errors import ConflictError, CorruptError, CorruptMemberError, InvalidDataError, NotFoundError
from simarchive.ground.filesystem import PathLike, make_folder
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.scratch import (
    AncillaryPath,
    ReplacedError,
    Scratch,
    ScratchDirectory,
    ScratchFile,
    SharedFiles,
    TemporaryFolder,
)

_MOST_GENERATIONS = 1 << 15


class Members:
    """What `HDF5Storage` does with files.

    Parameters
    ----------
    scratch_directory
        Where files are extracted to; by default a temporary one is made, which vanishes with this.
    scratch_max_bytes
        Bound on its size.
    """

    def __init__(
        self, container: Container, scratch_directory: Path | None, scratch_max_bytes: int | None
    ) -> None:
        self._container = container
        self._scratch_directory = scratch_directory
        self._scratch_max_bytes = scratch_max_bytes
        self._scratch: Scratch | None = None
        self._generations: dict[str, tuple[str, str]] = {}  # by key, with what they were made for

    def close(self) -> None:
        """Remove the scratch directory, unless it was named."""
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.close()

    def infos(self, storage_key: str, patterns: Sequence[str] | None) -> list[MemberInfo]:
        """Return what is known of the files of an object, or of those that fit a pattern."""
        with self._container.reading() as contents:
            return _members(contents, storage_key, patterns)

    def open(self, storage_key: str, name: str) -> BinaryIO:
        """Return a seekable, buffered, read-only binary file over a member."""
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
        """Write an object's files below a directory; return their paths."""
        directory = Path(destination)
        with self._container.reading() as contents:
            chosen = [info.name for info in _members(contents, storage_key, patterns)]
            folders = contents.empty_folders(storage_key) if patterns is None else ()
            make_folder(directory, sync=sync)
            _check_has_no_link(directory, [*chosen, *(f"{folder}/." for folder in folders)])
            _make_folders(directory, folders, sync=sync)
            damaged = []
            for name in chosen:
                try:
                    contents.extract_member(storage_key, name, directory / name, progress, sync=sync)
                except CorruptMemberError as error:
                    damaged.append(error)
                except NotFoundError:
                    damaged.append(
                        CorruptMemberError(f"member {name!r} of object {storage_key!r}: {NOT_FOUND}")
                    )
            if damaged:
                _say_what_is_missing(damaged, len(chosen), directory)
        return [directory / name for name in chosen]

    @staticmethod
    def expect(contents: Contents, keys: Sequence[str], patterns: Sequence[str]) -> None:
        """Say that these objects, and those of their files that fit a pattern, will be read."""
        contents.expect(keys)
        if not patterns:
            return
        wanted = []
        for key in keys:
            with contextlib.suppress(CorruptError, NotFoundError):
                wanted += [(key, info.name) for info in contents.members_chosen(key, patterns)]
        contents.expect_members(wanted)

    def of(self, storage_key: str, shared: SharedFiles | None) -> ContainerFiles | None:
        """Return the files of an object as it is now, or ``None`` if it has no ancillary data."""
        with self._container.reading() as contents:
            if not contents.has_ancillary_data(storage_key):
                return None
            stored_at = _stored_at(contents, storage_key)
        return ContainerFiles(self._container, storage_key, stored_at, self._scratch_directory, shared)

    def path(self, key: str, document: ReadDocument) -> AncillaryPath | None:
        """Return the path of an object's files, which are extracted when someone uses it."""
        return self._path(key, document.stored_at) if document.has_ancillary_data else None

    def path_of(self, key: str) -> AncillaryPath | None:
        """Return the path of an object's files as it is now, which are extracted when someone uses it."""
        with self._container.reading() as contents:
            return self._path(key, _stored_at(contents, key)) if contents.has_ancillary_data(key) else None

    def _path(self, key: str, stored_at: str) -> AncillaryPath:
        return AncillaryPath(key, functools.partial(self._extract_to_scratch, key, stored_at))

    def _extract_to_scratch(self, key: str, stored_at: str, name: str | None) -> ScratchDirectory:
        """Extract a member, the members below a folder, or all of them; return the object's directory.

        Raises
        ------
        ReplacedError
            If the object is not the one that was stored at `stored_at` any more.
        """
        with self._container.reading() as contents:
            if key not in contents or contents.stored_at(key) != stored_at:
                raise _replaced(key)
            infos, folders = _asked_for(contents, key, name)
            for info in infos:
                _check_is_described(key, info)
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
                generation=self._generation(contents, key),
                content=lambda: contents.content_of_files(key),
            )

    def _generation(self, contents: Contents, key: str) -> str:
        """Return a text that is another one for other content under a key, and for other names of files."""
        here = contents.generation(key)
        known = self._generations.get(key)
        if known is None or known[0] != here:
            if len(self._generations) >= _MOST_GENERATIONS:
                self._generations.clear()
            text = json.dumps([here, contents.names_of_parts(key)])
            known = self._generations[key] = here, blake3(text.encode()).hexdigest()
        return known[1]


class ContainerFiles(AncillaryData):
    """The files of an object in a container, as it was when this was made.

    Raises
    ------
    ReplacedError
        From whatever is asked, if the object was replaced or removed.
    """

    def __init__(
        self,
        container: Container,
        key: str,
        stored_at: str,
        scratch_directory: Path | None,
        shared: SharedFiles | None,
    ) -> None:
        self.key = key
        self._container = container
        self._stored_at = stored_at
        self._scratch_directory = scratch_directory
        self._shared = shared

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(self._infos)

    @cached_property
    def empty_folders(self) -> tuple[str, ...]:
        """The names of the folders that hold no file."""
        with self._reading() as contents:
            return contents.empty_folders(self.key)

    @cached_property
    def executables(self) -> tuple[str, ...]:
        """The names of the files that are executable."""
        with self._reading() as contents:
            return tuple(sorted(contents.executables(self.key)))

    @cached_property
    def times(self) -> dict[str, int]:
        """When each file was changed last, in nanoseconds since 1970, as far as it is known."""
        with self._reading() as contents:
            return contents.times(self.key, self._infos)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; nothing is read."""
        return self._infos[name].size

    def digest(self, name: str) -> str:
        """Return the BLAKE3 digest of a file as it is kept; nothing is read."""
        return self._infos[name].digest

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Give a new directory with all of it, which vanishes after the block."""
        folder = TemporaryFolder(self._scratch_directory)
        try:
            directory = folder.path / self.key
            with self._reading() as contents:
                _make_folders(directory, contents.empty_folders(self.key))
                extract = functools.partial(contents.extract_member, self.key)
                if self._shared is not None:
                    executables = contents.executables(self.key)
                    members = contents.shared_members(self.key)
                    # A second name of a file has the permissions of the first, and its time.
                    shared = [member for member in members if member[0].name not in executables]
                    self._shared.extract(directory, shared, extract, self.times)
                    for info, _ in members:
                        if info.name in executables:
                            extract(info.name, directory / info.name)
                else:
                    for name in self._infos:
                        extract(name, directory / name)
            yield directory
        finally:
            folder.remove()

    @contextlib.contextmanager
    def stored(self) -> Iterator[dict[str, StoredMember]]:
        """Give the files as another container can copy them, by name."""
        with self._reading() as contents:
            found = contents.stored_members(self.key)
            yield {name: found[name] for name in sorted(found)}

    @property
    def damaged(self) -> frozenset[str]:
        """The names of the files whose description cannot be read."""
        return frozenset(name for name, info in self._infos.items() if info.fault)

    def is_same_as(self, other: AncillaryData) -> bool:
        """Return whether both have the same files, as far as it is known what they were."""
        if not self.damaged:
            return super().is_same_as(other)
        known = [name for name in self.names if name not in self.damaged]
        return (
            self.names == other.names
            and self.empty_folders == other.empty_folders
            and all(self.size(name) == other.size(name) for name in known)
            and all(self.digest(name) == other.digest(name) for name in known)
        )

    @cached_property
    def _infos(self) -> dict[str, MemberInfo]:
        with self._reading() as contents:
            return {
                info.name: info for info in sorted(contents.members(self.key), key=lambda info: info.name)
            }

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Contents]:
        with self._container.reading() as contents:
            if self.key not in contents or _stored_at(contents, self.key) != self._stored_at:
                raise _replaced(self.key)
            yield contents


@contextlib.contextmanager
def to_store(files: AncillaryData | None) -> Iterator[Mapping[str, Path | StoredMember]]:
    """Give what a container can store of some files, by name: paths, or members of another container."""
    if files is None:
        yield {}
    elif isinstance(files, ContainerFiles):
        with files.stored() as members:
            yield members
    elif isinstance(files, DirectoryFiles):
        yield files.paths
    else:
        with files.directory() as directory:
            yield DirectoryFiles(directory).paths


def _check_is_described(key: str, info: MemberInfo) -> None:
    if info.fault:
        raise CorruptMemberError(
            f"member {info.name!r} of object {key!r}: its description cannot be read ({info.fault}):"
            " ask for the others one by one, restore the container from a copy, or store the object again"
        )


def _say_what_is_missing(damaged: list[CorruptMemberError], n_chosen: int, directory: Path) -> NoReturn:
    error = damaged[0]
    for other in damaged[1:]:
        error.add_note(str(other))
    error.add_note(f"the other {n_chosen - len(damaged)} of {n_chosen} files are in '{directory}'")
    raise error


def _check_has_no_link(directory: Path, names: Sequence[str]) -> None:
    """Check that no folder that files go to is a link: who made it could have the files written elsewhere."""
    last = {name.rpartition("/")[0] for name in names} - {""}
    for folder in sorted({*last, *(parent for place in last for parent in _parents(place))}):
        if (directory / folder).is_symlink():
            raise ConflictError(
                f"'{directory / folder}' is a link, and files would be written to where it leads: remove it,"
                " or name another directory"
            )


def _parents(place: str) -> Iterator[str]:
    return (str(parent) for parent in PurePosixPath(place).parents if parent.name)


def _make_folders(directory: Path, names: Sequence[str], *, sync: bool = False) -> None:
    make_folder(directory, sync=sync)
    for name in names:
        make_folder(directory / name, sync=sync)


def _stored_at(contents: Contents, key: str) -> str:
    """Return what `Contents.stored_at` does; an empty text if it cannot be read."""
    try:
        return contents.stored_at(key)
    except CorruptError:
        return ""


def _replaced(key: str) -> ReplacedError:
    return ReplacedError(
        f"object {key!r} was replaced or removed before its files were asked for: retrieve it again"
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

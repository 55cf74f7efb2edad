"""Saving what can be saved of a damaged container into a new one; the damaged file is only read.

Each object is proved before it is copied: its document and arrays by the identity digest, each file by
decoding it and comparing its digest. What cannot be proved is left out and named, and costs nothing else: an
object whose files are damaged in part is kept with the others, and the lost ones are noted with it; the sound
files of an object whose document or arrays are damaged are written to a folder beside the new container.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simarchive.container import rescue
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.new_file import check_is_free, completed_at
from simarchive.container.objects import ObjectHeader, StoredDocument
from simarchive.container.rescue import LinkKind
from simarchive.errors import (
    CorruptError,
    FormatError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import check_key, new_key
from simarchive.journal import Durability
from simarchive.storage.hdf5 import classes, indexing, verification
from simarchive.storage.publication import attributes
from simarchive.storage.publication.metadata import FIELDS

PARTS_SUFFIX = "-parts"
"""Follows the name of the new container in that of the folder with files of objects that are not in it."""

DAMAGE = (CorruptError, FormatError, InvalidDataError, NotFoundError, StorageIOError)
"""What reading something damaged raises; an unreadable place of the device is damage, too."""


@dataclass(slots=True)
class SalvageReport:
    """What a salvage saved, and what not."""

    path: str
    new_path: str
    saved: list[str] = field(default_factory=list)  #: keys of objects that are whole
    incomplete: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key -> member -> what is wrong with it: objects that are saved without these members."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Key -> what is wrong with the object, which is not saved as one."""
    lost: list[str] = field(default_factory=list)  #: keys of the index of which nothing was found
    new_keys: dict[str, str] = field(default_factory=dict)  #: old key, or empty if it is lost -> key
    remarks: list[str] = field(default_factory=list)  #: what else is wrong with the file, or was not copied
    parts: str | None = None  #: folder with the sound files of damaged objects
    parts_of: dict[str, list[str]] = field(default_factory=dict)  #: key -> members in that folder

    @property
    def ok(self) -> bool:
        """Whether every object was saved whole, under its key."""
        return not (self.incomplete or self.damaged or self.lost or self.new_keys)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "ok": self.ok}


def salvage(
    path: PathLike, new_path: PathLike, *, progress: Callable[[str], None] | None = None
) -> SalvageReport:
    """Copy all that can be proved of a container into a new one; return what was saved and what not.

    The container is opened for reading, and nothing is written to it or made beside it. Where it cannot be
    opened, or its objects cannot be listed, they are searched for. The new one gets its name when it is
    complete. Beside it there is a folder with its name and ``-parts`` behind it if objects had to be left out
    that have sound files: ``<key>/files`` holds these, ``<key>/document.json`` the document as far as it can
    be read.

    Parameters
    ----------
    progress
        Called with the key of each object after it was looked at.

    Raises
    ------
    ConflictError
        If something is at `new_path` already, or where the folder would be.
    FormatError
        If nothing says that the file ever was a container.
    CorruptError
        If no object can be found in it.
    """
    source, target = Path(path), Path(new_path)
    parts = target.with_name(target.name + PARTS_SUFFIX)
    check_is_free(parts)
    report = SalvageReport(str(source.absolute()), str(target.absolute()))
    with _opened(source, report) as opened, completed_at(target) as unfinished:
        made = unfinished.parent / parts.name
        with contextlib.closing(
            Container(unfinished, writable=True, durability=Durability.CLOSE)
        ) as container:
            saving = _Saving(opened, container, report, made)
            for key in opened.keys:
                saving.save(key)
                if progress is not None:
                    progress(key)
            saving.complete()
        if made.exists():
            made.rename(parts)
            report.parts = str(parts.absolute())
    return report


@dataclass(slots=True)
class _Opened:
    """The damaged container: a way to read it, and the keys that are known of it."""

    reading: Callable[[], AbstractContextManager[Contents]]
    keys: list[str]
    has_index: bool


@contextlib.contextmanager
def _opened(path: Path, report: SalvageReport) -> Iterator[_Opened]:
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(contextlib.closing(Container(path, writable=False)))
            report.remarks += rescue.extent_of_open(container).faults()
            with container.reading() as contents, verification.as_damage():
                keys = contents.keys()
            opened = _Opened(container.reading, keys, has_index=True)
        except (NotFoundError, LockedError, ReadOnlyError):
            raise
        except StorageError as error:
            stack.close()
            for fault in verification.faults_of_unopened(path, error):
                if fault not in report.remarks:
                    report.remarks.append(fault)
            found = stack.enter_context(rescue.searched(path))
            report.remarks.append(
                "the objects were searched for, because they cannot be listed; some may have been removed"
            )
            report.lost += found.missing
            report.new_keys.update({f"(lost) {number}": key for number, key in enumerate(found.loose, 1)})
            report.remarks += [
                f"object {key!r} is saved, and the index does not have it: it may have been removed before"
                for key in found.unlisted
            ]
            contents = found.contents
            opened = _Opened(lambda: contextlib.nullcontext(contents), contents.keys(), has_index=False)
        yield opened


@dataclass(frozen=True, slots=True)
class Proved:
    """An object whose document and arrays match its digest.

    Attributes
    ----------
    sound
        Names of the members that match theirs.
    lost
        Name of each other member, and what is wrong with it.
    unexplained
        Links of its group that neither the document nor a member explains.
    """

    header: ObjectHeader
    tree: Any
    sound: tuple[str, ...]
    lost: dict[str, str]
    unexplained: tuple[str, ...]

    def stored(self, contents: Contents) -> StoredDocument:
        """Return what is sound of it as it can be written again, while `contents` are good."""
        return StoredDocument(
            data_class=self.header.data_class,
            data_class_version=self.header.data_class_version,
            tree=self.tree,
            has_ancillary_data=self.header.has_ancillary_data,
            empty_folders=self.header.empty_folders,
            executables=tuple(contents.executables(self.header.key)),
            times=contents.times(self.header.key, self.sound),
            history=self._history(contents),
            members={name: contents.stored_member(self.header.key, name) for name in self.sound},
        )

    def _history(self, contents: Contents) -> str:
        try:
            return contents.history_lines(self.header.key)
        except CorruptError as error:
            indexing.LOGGER.warning("object %r: %s: it is not saved", self.header.key, error)
            return ""

    def codec(self, contents: Contents) -> str:
        """Return the codec with which its members are stored as they are."""
        names = {contents.member(self.header.key, name).codec for name in self.sound}
        if "trajectory" in names:
            return "trajectory"
        return "zstd" if any(name.startswith("zstd") for name in names) else "deflate"


def prove(contents: Contents, key: str) -> Proved:
    """Return what is sound of an object.

    Raises
    ------
    StorageError
        If its document or an array cannot be read, or they do not match its digest: one of `DAMAGE`.
    """
    with verification.as_damage():
        header = contents.header(key)
        tree = verification.checked_tree(contents, header)
        arrays = rescue.declared_arrays(contents, key)
    for array in arrays:
        fault = rescue.array_fault(contents, key, array)
        if fault is not None:
            raise CorruptError(f"the array {array.name!r}: {fault}")
    sound, lost, unexplained = sound_members(contents, key, {array.name for array in arrays})
    with verification.as_damage():
        missing = contents.n_members_stored(key) or 0
    missing -= len(sound) + len(lost)
    named = [name for name in _named_files(contents, header, tree) if name not in lost and name not in sound]
    lost |= dict.fromkeys(named, "it is not there any more")
    for number in range(missing - len(named)):
        lost[f"(lost name {number + 1})"] = "the object was stored with more files than it has"
    return Proved(header, tree, tuple(sound), lost, tuple(unexplained))


def _named_files(contents: Contents, header: ObjectHeader, tree: Any) -> tuple[str, ...]:
    """Return the files that a document names, if its class is known here."""
    data_class = classes.class_of(contents, header.data_class)
    if data_class is None:
        return ()
    try:
        return data_class.from_document(tree, header.data_class_version).member_names()
    except (FormatError, InvalidDataError):
        return ()


def sound_members(
    contents: Contents, key: str, arrays: set[str] | None
) -> tuple[list[str], dict[str, str], list[str]]:
    """Return the members of an object that are sound, what is wrong with the others, and other links.

    Parameters
    ----------
    arrays
        Names of its arrays, if they are known.
    """
    sound: list[str] = []
    lost: dict[str, str] = {}
    unexplained: list[str] = []
    with verification.as_damage():
        links = rescue.survey(contents, key)
    for link in links:
        if link.info is None:
            if link.kind is LinkKind.UNREADABLE and not link.is_one_of(arrays or ()):
                lost[link.name] = link.fault
            elif link.kind is LinkKind.OTHER or (
                link.kind is not LinkKind.DIMENSION and arrays is not None and not link.is_one_of(arrays)
            ):
                unexplained.append(link.link)
            continue
        try:
            with verification.as_damage():
                faults = contents.verify_member(key, link.name, full=True)
        except DAMAGE as error:
            lost[link.name] = str(error)
            continue
        if faults:
            lost[link.name] = faults[0].message
        else:
            sound.append(link.name)
    lost.update((name, "it was lost before") for name in rescue.lost_members(contents, key))
    return sound, lost, unexplained


class _Saving:
    """One walk over the objects of a damaged container."""

    def __init__(self, opened: _Opened, target: Container, report: SalvageReport, parts: Path) -> None:
        self._opened, self._target, self._report, self._parts = opened, target, report, parts

    def save(self, key: str) -> None:
        """Save an object, or what is sound of it."""
        try:
            with self._opened.reading() as contents:
                proved = prove(contents, key)
            self._write(key, proved)
        except StorageFullError:
            raise
        except DAMAGE as error:
            self._report.damaged[key] = str(error)
            self._save_parts(key)

    def _write(self, key: str, proved: Proved) -> None:
        new = self._new_key(key)
        with self._opened.reading() as contents, self._target.transaction() as target:
            target.write(
                new,
                proved.stored(contents),
                codec=proved.codec(contents),
                identity=proved.header.identity,
            )
            if proved.lost:
                rescue.note_lost_members(target, new, proved.lost)
        if proved.lost:
            self._report.incomplete[new] = proved.lost
        else:
            self._report.saved.append(new)
        self._report.remarks += [
            f"object {key!r}: {link!r} was not copied, neither its document nor a file explains it"
            for link in proved.unexplained
        ]

    def _new_key(self, key: str) -> str:
        try:
            return check_key(key)
        except InvalidDataError:
            self._report.new_keys[verification.printable(key)] = new = new_key()
            return new

    def _save_parts(self, key: str) -> None:
        """Write the sound files of an object that is none any more, and its document, to the folder."""
        try:
            folder = self._parts / check_key(key)
            with self._opened.reading() as contents:
                with contextlib.suppress(*DAMAGE):
                    with verification.as_damage():
                        text = rescue.document_text(contents, key)
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / "document.json").write_text(text, "utf-8", "surrogateescape")
                sound, lost, _ = sound_members(contents, key, None)
                for name in sound:
                    contents.extract_member(key, name, folder / "files" / name)
                    self._report.parts_of.setdefault(key, []).append(name)
                if lost:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / "lost.json").write_text(json.dumps(lost, indent=2), "utf-8")
        except StorageFullError:
            raise
        except DAMAGE:
            # What is wrong with the object is in the report already.
            return

    def complete(self) -> None:
        """Make the index; metadata, and tables of unknown classes, are taken along if they can be read."""
        with self._target.transaction() as target:
            self._take_metadata(target)
            if not self._opened.has_index:
                with (
                    contextlib.suppress(*DAMAGE),
                    self._opened.reading() as contents,
                    verification.as_damage(),
                ):
                    classes.copy_schemas(contents, target)
            else:
                try:
                    with self._opened.reading() as contents, verification.as_damage():
                        indexing.carry_over(contents, target)
                        self._note_what_stays(contents)
                except DAMAGE as error:
                    self._report.remarks.append(f"the index of unknown classes was not taken along: {error}")
            indexing.rebuild_all(target)

    def _take_metadata(self, target: Contents) -> None:
        try:
            with self._opened.reading() as contents, verification.as_damage():
                found = attributes.read(contents)
        except DAMAGE as error:
            self._report.remarks.append(f"the metadata of the archive were not taken along: {error}")
            return
        if not found.metadata.is_empty:
            attributes.write(target, found.metadata, set(FIELDS))
        self._report.remarks += [
            f"{name} in the metadata of the archive: {fault}" for name, fault in found.faults.items()
        ]

    def _note_what_stays(self, contents: Contents) -> None:
        aside = rescue.names_set_aside(contents)
        if aside:
            self._report.remarks.append(
                f"{len(aside)} objects that an earlier repair set aside were not copied: {', '.join(aside)}"
            )


def refuse_in_place(path: Path, faults: list[str]) -> CorruptError:
    """Return the error for a file that must not be written to."""
    name = os.fspath(path)
    return CorruptError(
        f"container '{name}' is not changed in place, because its own bookkeeping is damaged, and sound data"
        f" might be overwritten ({'; '.join(faults)}): 'simarchive repair {name} -o NEW' saves what is sound"
        " into a new file"
    )

"""Amending an object: some of its files, or its document, are changed, and the rest stays as it is.

What an object says of itself is written again as a whole, once, when all changes are made: its summary with
the new time, the checks of its members, the lists of their permissions and times, its history.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from simarchive.container import arrays, documents, layout, members, nodes, objects
from simarchive.container.changing import history
from simarchive.container.changing.history import Event
from simarchive.container.contents import Contents
from simarchive.container.documents import DeclaredVariable, Tree
from simarchive.container.members import MemberInfo, MemberTimes
from simarchive.container.members.names import link_name, long_name_attribute
from simarchive.container.members.pipeline import Progress
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import ConflictError, CorruptError, CorruptMemberError, NotFoundError
from simarchive.ground.keys import check_member_name

_REWRITTEN = frozenset(
    {
        layout.STORED_AT,
        layout.IDENTITY,
        layout.DATA_CLASS_VERSION,
        layout.OBJECT_SUMMARY,
        layout.DOCUMENT,
        layout.OBJECT_HISTORY,
        layout.MEMBER_CHECKS,
        layout.MEMBER_EXECUTABLES,
        layout.MEMBER_EMPTY_FOLDERS,
        layout.MEMBER_TIMES,
        layout.LOST_MEMBERS,
    }
)

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to become a member.

    Attributes
    ----------
    modified_ns
        When it was changed last, in nanoseconds since 1970, if that is known.
    """

    path: Path
    is_executable: bool = False
    modified_ns: int | None = None


class Amendment:
    """Changes to one object, within a transaction; nothing counts before `finish`.

    Each method checks first and changes then. An error of one that has begun to change something spoils the
    transaction.

    Parameters
    ----------
    codec
        How new members are stored.
    progress
        Called with the number of bytes that were done since the last call.

    Raises
    ------
    NotFoundError
        If there is no such object.
    CorruptError
        If its document, its history or the list of its members cannot be read.
    """

    def __init__(
        self, contents: Contents, key: str, *, codec: str, by: str, progress: Progress | None = None
    ) -> None:
        self.key = key
        self.events: list[Event] = []
        self._contents, self._codec, self._by, self._progress = contents, codec, by, progress
        node = contents.node(key)
        self._group = h5py.Group(node)
        self._summary, self._document = objects.read_proved(node, key)
        self._lines = contents.history_lines(key)
        try:
            self._lost = set(members.lost_members(self._group))
            self._checks = _Checks(self._group, key, self._summary.stored_whole_at)
        except UNREADABLE as error:
            raise CorruptError(f"the members of object {key!r} cannot be listed: {error}") from error
        self._executables = set(members.executables(self._group))
        self._empty_folders = set(members.empty_folders(self._group))
        try:
            self._times = members.read_times(self._group)
        except CorruptError:
            self._times = MemberTimes()  # `verify` says so; the new ones are right
        self._gone: set[str] = set()  # attributes that keep names which no member has any more
        self._at = history.now()
        self._changes_content = False

    # --- files -------------------------------------------------------------------------------------------

    def add_file(self, name: str, file: NewFile) -> None:
        """Add a file.

        Raises
        ------
        ConflictError
            If the object has a file or folder of this name, or a file where the name has a folder.
        InvalidDataError, NotFoundError, StorageIOError
            If the name will not do, or the file cannot be read.
        """
        self._check_is_free(name)
        info = self._store(name, file)
        self._note(history.FILE_ADDED, file=name, size=info.size, digest=info.digest)

    def replace_file(self, name: str, file: NewFile) -> None:
        """Put a file in the place of another one, which may be damaged.

        Raises
        ------
        NotFoundError
            If the object has no file of this name.
        InvalidDataError, StorageIOError
            If the new one cannot be read.
        """
        old = self._digest_of(name)
        info = self._store(name, file)
        self._note(history.FILE_REPLACED, file=name, size=info.size, digest=info.digest, was=old)

    def rename_file(self, name: str, new_name: str) -> None:
        """Give a file another name; errors as for `add_file` and `replace_file`."""
        dataset = self._find(name)
        self._check_is_free(new_name)
        info = members.member_info(dataset, name)
        self._check_is_own(info)
        with self._contents.in_one_piece():
            members.link_member(self._place, new_name, dataset)
            self._unlink(name, info)
            self._link(replace(info, name=new_name), has_proof=members.has_proof(self._group, new_name))
            if name in self._executables:
                self._executables.add(new_name)
            self._times.put(new_name, self._times.of(name))
            self._forget(name)
        self._note(history.FILE_RENAMED, file=name, new_name=new_name)

    def remove_file(self, name: str) -> None:
        """Remove a file, which may be damaged.

        Raises
        ------
        NotFoundError
            If the object has no file of this name.
        """
        old = self._digest_of(name)
        with self._contents.in_one_piece():
            self._unlink(name, self._info_of(name))
            self._forget(name)
        self._note(history.FILE_REMOVED, file=name, was=old)

    def append_to_file(self, name: str, file: NewFile) -> int:
        """Add what is new at the end of a file that was stored before; return the number of bytes.

        Raises
        ------
        NotFoundError
            If the object has no file of this name.
        ConflictError
            If the file does not begin with what is stored.
        InvalidDataError, StorageIOError
            If it cannot be read.
        """
        dataset = self._find(name)
        old = members.member_info(dataset, name)
        self._check_is_own(old)
        file_of_all = self._contents.file
        with members.growth_of(
            dataset, file_of_all, name, file.path, codec=self._codec, progress=self._progress
        ) as growth:
            if not growth.has_news:
                return 0
            with self._contents.staging() as staged, self._contents.in_one_piece():
                grown, info = growth.write(staged, self._progress)
                if grown is dataset:
                    self._contents.shared.remove(self.key, [old])
                    self._checks.remove(old)
                else:
                    self._unlink(name, old)
                    members.link_member(self._place, name, grown)
                self._link(info, has_proof=members.has_proof(self._group, name))
                self._times.put(name, file.modified_ns)
        self._note(history.FILE_APPENDED, file=name, size=info.size, digest=info.digest, was=old.digest)
        return info.size - old.size

    # --- the document ------------------------------------------------------------------------------------

    def replace_document(self, tree: Tree, version: int, identity: str) -> None:
        """Put another document in the place of the object's; arrays that it has already stay where they are.

        Raises
        ------
        InvalidDataError
            If it cannot be stored.
        """
        declared = _declared(self._document)
        taken = {*nodes.child_names(self._group.id)} - declared.keys()
        encoded = documents.encode(tree, taken=taken | {layout.MEMBERS, layout.FRAME_DIMENSION})
        new = _declared(encoded.text)
        kept = {name for name, array in new.items() if array.digest and declared.get(name) == array}
        dimensions = arrays.Dimensions(
            self._group, objects.forms_of(encoded.variables), self._contents.shared_scales
        )
        with self._contents.in_one_piece():
            if not dimensions.has_scale_of_frames():
                # All others refer to the scale, which has another length, or are of an early version.
                kept = set()
                dimensions.remove_scales()
            for name in declared.keys() - kept:
                nodes.unlink(self._group.id, name)
            for name in encoded.variables.keys() - kept:
                arrays.write_variable(self._group, name, encoded.variables[name], dimensions)
        self._document = encoded.text
        # From now on it has all digests, also if it was of an early version.
        digest = self._summary.digest or "new"
        self._summary = replace(
            self._summary, data_class_version=version, identity=identity, key=self.key, digest=digest
        )
        self._changes_content = True

    # --- history -----------------------------------------------------------------------------------------

    def note(self, action: str, **said: Any) -> None:
        """Add an event that changes nothing else."""
        self.events.append(Event(self._at, action, self._by, **said))

    def finish(self) -> None:
        """Write what the object says of itself, and its history, if anything was changed."""
        if not self.events:
            return
        summary = self._summary
        lines = history.begun(self._lines, summary.stored_at)
        for event in self.events:
            lines = history.with_event(lines, event)
        if self._changes_content:
            summary = replace(summary, stored_at=self._at, amended_from=summary.stored_whole_at)
        with self._contents.staging() as staged, self._contents.in_one_piece():
            if not self._changes_content:
                nodes.replace_attributes(self._group, staged, without={layout.OBJECT_HISTORY})
            else:
                nodes.replace_attributes(self._group, staged, without=_REWRITTEN | self._gone)
                self._write_state(staged, summary)
            history.write_lines(staged.id, summary.stored_at, lines)
            nodes.replace_attributes(staged, self._group)
        self._contents.note_change()

    def _write_state(self, group: h5py.Group, summary: objects.Summary) -> None:
        node = group.id
        nodes.create_text(node, layout.STORED_AT, summary.stored_at, is_ascii=True)
        nodes.create_text(node, layout.IDENTITY, summary.identity, is_ascii=True)
        nodes.create_integer(node, layout.DATA_CLASS_VERSION, summary.data_class_version, "<i8")
        nodes.create_text(node, layout.DOCUMENT, self._document)
        if summary.digest is not None:
            line = objects.summary_line(summary, self._document)
            nodes.create_text(node, layout.OBJECT_SUMMARY, line)
        self._checks.write(group)
        members.keep_executables(group, self._executables)
        if self._empty_folders:
            members.keep_empty_folders(group, self._empty_folders)
        self._times.write(group)
        if self._lost:
            nodes.create_text(node, layout.LOST_MEMBERS, json.dumps(sorted(self._lost)))

    # --- the parts of the above --------------------------------------------------------------------------

    @property
    def _place(self) -> h5py.Group:
        """Where the members that there are stand."""
        return members.place_of_members(self._group)

    def _note(self, action: str, **said: Any) -> None:
        self._changes_content = True
        self.note(action, **said)

    def _store(self, name: str, file: NewFile) -> MemberInfo:
        """Store a file under a name, in place of what is there."""
        shared = self._contents.shared
        with self._contents.staging() as staged:
            info = shared.store(staged, name, file.path, self._codec, self._progress)
            with self._contents.in_one_piece():
                dataset = members.find_member(staged, name)
                if name in self._lost or members.has_link(self._group, name):
                    self._unlink(name, self._info_of(name))
                    self._forget(name)
                members.link_member(members.place_for_members(self._group), name, dataset)
                self._link(info, has_proof=members.has_proof(self._group, name))
                if file.is_executable:
                    self._executables.add(name)
                self._times.put(name, file.modified_ns)
                self._empty_folders -= set(_parents(name))
        return info

    def _link(self, info: MemberInfo, *, has_proof: bool) -> None:
        """Note a member that stands in the group now."""
        self._gone.discard(long_name_attribute(info.name))
        self._checks.add(info, has_proof=has_proof)
        self._contents.shared.add(self.key, [info])

    def _unlink(self, name: str, info: MemberInfo) -> None:
        """Take a member out of the group, and out of what is known of all of them."""
        self._contents.shared.remove(self.key, [info])
        self._checks.remove(info, others=lambda: self._others(name))
        if name in self._lost:
            return
        link, place = link_name(name), self._place
        if not objects.part_can_be_read(place.id, link):
            raise CorruptMemberError(
                f"HDF5 cannot take the member {name!r} of object {self.key!r} apart, it is damaged:"
                " 'simarchive repair' keeps the object without it"
            )
        nodes.unlink(place.id, link)
        if place is self._group:
            self._gone.add(long_name_attribute(name))
        else:
            nodes.delete_attribute(place.id, long_name_attribute(name))

    def _forget(self, name: str) -> None:
        self._executables.discard(name)
        self._times.put(name, None)
        self._lost.discard(name)

    def _find(self, name: str) -> h5py.Dataset:
        """Return the dataset of a member whose description can be read."""
        info = self._info_of(name)
        if info.fault:
            raise CorruptMemberError(info.fault)
        return members.find_member(self._group, name)

    def _info_of(self, name: str) -> MemberInfo:
        """Return what is known of a member, as far as it can be read."""
        try:
            return self._contents.member(self.key, name)
        except CorruptMemberError as error:
            return members.faulty(name, str(error))
        except NotFoundError as error:
            names = self._names()
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise NotFoundError(
                f"object {self.key!r} has no file {name!r}: it has {shown or 'none'}"
            ) from error

    def _digest_of(self, name: str) -> str:
        """Return the digest of a member that has to be there; an empty text if it cannot be read."""
        return self._info_of(name).digest

    def _check_is_own(self, info: MemberInfo) -> None:
        """Check that a member is the one that was stored: it will count as stored whatever it is."""
        if not self._checks.know(info):
            raise CorruptMemberError(
                f"member {info.name!r} of object {self.key!r} is not what was stored with the object:"
                " replace it"
            )

    def _others(self, name: str) -> list[MemberInfo]:
        """Return what is known of all other members: only asked for where one is damaged."""
        return [info for info in self._contents.members(self.key) if info.name != name and not info.fault]

    def _check_is_free(self, name: str) -> None:
        check_member_name(name)
        what = f"object {self.key!r}"
        if members.has_link(self._group, name):
            is_file = name in self._names()
            raise ConflictError(
                f"{what} has a file {name!r} already: replace it, or give the new one another name"
                if is_file
                else f"{what} keeps something of its document as {name!r}: give the file another name"
            )
        for folder in _parents(name):
            if members.has_link(self._group, folder) and folder in self._names():
                raise ConflictError(f"{what} has a file {folder!r}, so it cannot have a file {name!r}")
        if name in self._empty_folders or any(other.startswith(f"{name}/") for other in self._names()):
            raise ConflictError(f"{what} has a folder {name!r}: give the file another name")

    def _names(self) -> list[str]:
        return members.listed_names_without(self._group, frozenset(_declared(self._document)))


def take_history(contents: Contents, key: str, lines: str, *, only_notes: bool) -> None:
    """Add events of another history, of the same object elsewhere, to that of an object.

    Parameters
    ----------
    only_notes
        Take only the notes: the object was there already.
    """
    mine, stored_at = contents.history_lines(key), contents.stored_at(key)
    if only_notes:
        mine = history.begun(mine, stored_at)
    together = history.united(mine, lines, only_notes=only_notes)
    if together == mine:
        return
    group = h5py.Group(contents.node(key))
    with contents.staging() as staged, contents.in_one_piece():
        nodes.replace_attributes(group, staged, without={layout.OBJECT_HISTORY})
        history.write_lines(staged.id, stored_at, together)
        nodes.replace_attributes(staged, group)
    contents.note_change()


class _Checks:
    """The checks of an object's members, of which some change."""

    def __init__(self, group: h5py.Group, key: str, base: str) -> None:
        self._base = base
        self._numbers: list[int] | None = []
        if nodes.has_attribute(group.id, layout.MEMBER_CHECKS):
            self._numbers = nodes.read_numbers(group.id, layout.MEMBER_CHECKS).tolist()
        elif any(True for _ in members.list_members(group)):
            self._numbers = None  # an object of an early version, which has none

    def add(self, info: MemberInfo, *, has_proof: bool) -> None:
        if not has_proof:
            self._numbers = None
        elif self._numbers is not None:
            self._numbers.append(self._check(info))

    def know(self, info: MemberInfo) -> bool:
        return self._numbers is None or self._check(info) in self._numbers

    def remove(self, info: MemberInfo, others: Callable[[], list[MemberInfo]] = list) -> None:
        if self._numbers is None:
            return
        check = self._check(info)
        if check in self._numbers:
            self._numbers.remove(check)
            return
        # Of one that is damaged nobody knows the check: it is the one that belongs to no other.
        known = {self._check(other) for other in others()}
        self._numbers = [number for number in self._numbers if number in known]

    def write(self, group: h5py.Group) -> None:
        if self._numbers:
            nodes.create_numbers(group.id, layout.MEMBER_CHECKS, np.array(self._numbers, "<u8"))

    def _check(self, info: MemberInfo) -> int:
        return objects.member_check(self._base, info.name, info.digest)


def _declared(text: str) -> dict[str, DeclaredVariable]:
    found: dict[str, DeclaredVariable] = {}

    def note(array: DeclaredVariable) -> None:
        found[array.name] = array

    documents.decode(text, note)
    return found


def _parents(name: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(name).parents if parent.name]

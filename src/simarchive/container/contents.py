"""What is inside an open container: objects with their documents, arrays and members, and the index.

A `Contents` is a view of one HDF5 handle, so it is good for one read or one transaction only;
`simarchive.container.container.Container` hands it out.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from blake3 import blake3
from h5py import h5g, h5r

from simarchive.container import arrays, documents, layout, members, nodes, objects
from simarchive.container.changing import history
from simarchive.container.changing.history import Event
from simarchive.container.changing.removed import RemovedObject, RemovedObjects
from simarchive.container.documents import Tree
from simarchive.container.index import IndexTables
from simarchive.container.members import (
    ChunkFile,
    FrameLengths,
    MemberFault,
    MemberInfo,
    MemberNames,
    MemberReader,
    MemberTable,
    MemberTimes,
    StoredMember,
)
from simarchive.container.members.pipeline import Progress
from simarchive.container.members.shared import MIN_SHARED_BYTES, SharedMembers
from simarchive.container.nodes import UNREADABLE
from simarchive.container.objects import (
    Loader,
    MemberChecks,
    ObjectHeader,
    ReadDocument,
    StoredDocument,
)
from simarchive.errors import ConflictError, CorruptError, CorruptMemberError, NotFoundError, StorageError
from simarchive.ground import attention, json_text
from simarchive.ground.keys import are_keys, check_key, is_key
from simarchive.ground.signals import SIGNALS
from simarchive.journal import PagedFile

LOGGER = logging.getLogger("simarchive")
NOT_FOUND = "it is listed, but cannot be found by its name"


class Contents:
    """The objects of an open container, and its index tables.

    Attributes
    ----------
    tables
        The index tables.
    shared
        The members that are found by their digest.
    removed
        What was removed or replaced, and can be restored.
    """

    def __init__(self, handle: h5py.File, file: PagedFile, distrusted: set[str] | None = None) -> None:
        self._handle = handle
        self._file = file
        self._objects = nodes.open_group(handle.id, layout.OBJECTS)
        self.removed = RemovedObjects(handle.id)
        self.tables = IndexTables(handle, set() if distrusted is None else distrusted)
        self.shared = SharedMembers(self.tables, self._own_member, file)
        self._data_classes: list[str] | None = None
        self._schemas: dict[str, str | None] = {}
        self._scales: dict[int, h5r.Reference] = {}  # of the dimensions that objects share, by length
        self._names: tuple[str, MemberNames] | None = None  # of the members of one object
        self._checks: tuple[str, MemberChecks] | None = None  # of them
        self._times: tuple[str, MemberTimes] | None = None  # of them, too
        self._freed = False
        self.changes = 0  #: how many changes were made and not undone
        self.spoiled: BaseException | None = None  #: what left a change half done: nothing may be committed

    @property
    def freed(self) -> bool:
        """Whether this handle removed anything whose space can be used again."""
        return self._freed or self.tables.freed

    def in_one_piece(self) -> AbstractContextManager[None]:
        """Never commit half of what the block changes: an error in it spoils the transaction."""
        return _OnePiece(self)

    @contextlib.contextmanager
    def staging(self) -> Iterator[h5py.Group]:
        """Give a new group for what has no place in an object yet; it vanishes after the block."""
        if nodes.link_exists(self._handle.id, layout.STAGING):
            nodes.put_aside(self._handle.id, layout.STAGING, layout.STAGING)  # no program of ours left it
        group = h5py.Group(nodes.create_small_group(self._handle.id, layout.STAGING))
        try:
            yield group
        finally:
            with self.in_one_piece():
                nodes.unlink(self._handle.id, layout.STAGING)

    def note_change(self) -> None:
        """Note that another module of this floor changed an object, and that it freed room."""
        self._forget()
        self._freed = True
        self.changes += 1

    @property
    def shared_scales(self) -> dict[int, h5r.Reference]:
        """The scales of dimensions that objects share, as far as they were looked up, by length."""
        return self._scales

    @property
    def file(self) -> PagedFile:
        """The container's file, by offset, for the other modules of this floor."""
        return self._file

    def _forget(self) -> None:
        """Forget what is kept of the object that was looked at last."""
        self._names = self._checks = self._times = None

    def spoil(self, error: BaseException) -> None:
        """Refuse to commit the transaction, because an error left a change half done."""
        if self.spoiled is None:
            self.spoiled = error

    # --- objects -----------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Return what the container says about itself: format, container_id, created_by, created_at."""
        texts = (layout.CONTAINER_ID, layout.CREATED_BY, layout.CREATED_AT)
        return {
            "format": nodes.read_integer(self._handle.id, layout.FORMAT),
            **{name: self._text_of_container(name) for name in texts},
        }

    def _text_of_container(self, name: str) -> str:
        try:
            return nodes.find_text(self._handle.id, name) or ""
        except UNREADABLE as error:
            LOGGER.warning("what the container says of itself cannot be read: %s: %s", name, error)
            return ""

    def keys(self) -> list[str]:
        """Return the keys of all objects in the order in which they were first stored.

        Raises
        ------
        CorruptError
            If the objects cannot be listed.
        """
        names = self.names()
        # The names of a file that somebody else made go to shells and file systems as keys.
        return names if are_keys(names) else [name for name in names if is_key(name)]

    def names(self) -> list[str]:
        """Return the names of all objects, in the same order: also those that are not keys.

        Raises
        ------
        CorruptError
            If the objects cannot be listed.
        """
        lost = self._lost
        try:
            names = nodes.child_names(self._objects)
        except UNREADABLE as error:
            raise _unlisted(error) from error
        return [name for name in names if name not in lost] if lost else names

    def misnamed(self) -> list[str]:
        """Return the names of objects that are not keys, so that nobody can ask for them."""
        return [name for name in self.names() if not is_key(name)]

    def rename(self, name: str, key: str) -> None:
        """Give an object a key in the place of its name; it comes last then."""
        self._forget()
        with self.in_one_piece():
            nodes.rename(self._objects, name, check_key(key))
            objects.write_key(self._node(key), name, key)
        self.changes += 1

    def __len__(self) -> int:
        """Return the number of names, without reading them."""
        try:
            return nodes.n_children(self._objects) - len(self._lost)
        except UNREADABLE as error:
            raise _unlisted(error) from error

    def __contains__(self, key: str) -> bool:
        # A key is one path component; HDF5 would take "a/b" for a path and "." for /objects itself.
        if not is_key(key):
            return False
        try:
            return nodes.link_exists(self._objects, key) and key not in self._lost
        except UnicodeEncodeError:
            return False
        except UNREADABLE as error:
            raise _unlisted(error) from error

    @functools.cached_property
    def _lost(self) -> frozenset[str]:
        """Return the links that are named as no objects; an object that can be opened is one all the same."""
        return frozenset(name for name in self._names_in(layout.LOST_LINKS) or () if self._is_lost(name))

    def _is_lost(self, name: str) -> bool:
        try:
            if not nodes.link_exists(self._objects, name):
                return False
            nodes.open_group(self._objects, name)
        except UNREADABLE:
            return True
        return False

    def _names_in(self, attribute: str) -> list[str] | None:
        """Return the list of texts in an attribute of the objects; ``None`` if it is none, or not there."""
        try:
            text = nodes.find_text(self._objects, attribute)
            return None if text is None else list(_texts_of(text))
        except UNREADABLE as error:
            LOGGER.warning("the attribute %s of /%s cannot be read: %s", attribute, layout.OBJECTS, error)
            return None

    @property
    def failure(self) -> BaseException | None:
        """The first failure of the device; HDF5 may have taken it for something that is not there."""
        return self._file.failure

    def address(self, key: str) -> int:
        """Return where the group of an object is in the file: equal for two keys of one group."""
        return nodes.address(self._node(key))

    def data_classes(self) -> list[str]:
        """Return the names of the data classes that have objects, or had."""
        if self._data_classes is None:
            names = self._names_in(layout.DATA_CLASSES)
            self._data_classes = self._classes_of_objects() if names is None else names
        return list(self._data_classes)

    def schema(self, class_name: str) -> str | None:
        """Return the JSON text of what is kept of a data class, ``None`` if there is none.

        Raises
        ------
        CorruptError
            If it cannot be read, or does not match its digest.
        """
        if class_name not in self._schemas:
            try:
                found = nodes.find_text(self._objects, layout.SCHEMA_PREFIX + class_name)
            except UNREADABLE as error:
                raise CorruptError(f"the schema of {class_name!r} cannot be read: {error}") from error
            digest, _, text = ("", "", None) if found is None else found.partition(" ")
            if text is not None and digest != _schema_digest(class_name, text):
                raise CorruptError(f"the schema of {class_name!r} does not match its digest")
            self._schemas[class_name] = text
        return self._schemas[class_name]

    def keep_schema(self, class_name: str, text: str) -> None:
        """Keep the JSON text of the schema of a data class, in place of any that is there."""
        with self.in_one_piece():
            kept = f"{_schema_digest(class_name, text)} {text}"
            nodes.write_text(self._objects, layout.SCHEMA_PREFIX + class_name, kept)
            self._schemas[class_name] = text
        self.changes += 1

    def _classes_of_objects(self) -> list[str]:
        """Return the names of the data classes by looking at each object: no list of them can be read."""
        found: dict[str, None] = {}
        for key in self.keys():
            with contextlib.suppress(CorruptError, NotFoundError):
                found.setdefault(self.class_name(key))
        return list(found)

    def header(self, key: str) -> ObjectHeader:
        """Return what is known of an object without reading its document.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If an attribute is missing or cannot be read.
        """
        return objects.read_header(self._node(key), key)

    def attribute_faults(self, key: str) -> list[str]:
        """Return which attributes, which other programs read, are not what the object was stored with."""
        return objects.attribute_faults(self._node(key), key)

    def restore_attributes(self, key: str) -> None:
        """Write the attributes again that other programs read, as they were stored; errors as `header`."""
        with self.in_one_piece():
            objects.restore_attributes(self._node(key), key)
        self.changes += 1

    def class_name(self, key: str) -> str:
        """Return the name of an object's data class: the least that `header` reads.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        return objects.read_summary(self._node(key), key).data_class

    def identity(self, key: str) -> str:
        """Return the identity digest of an object.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        return objects.read_summary(self._node(key), key).identity

    def mark(self, key: str) -> str:
        """Return what tells the document of an object from one that takes its place; errors as `identity`."""
        return objects.read_summary(self._node(key), key).mark

    def document(self, key: str, load: Loader | None = None) -> ReadDocument:
        """Return the document of an object and its class, opening the object once.

        Parameters
        ----------
        load
            Called when the values of an array are used; by default all arrays are read now.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        return objects.read_document(self._node(key), key, load)

    def text_of_document(self, key: str) -> str:
        """Return the JSON text of the document of an object; errors as `document`."""
        return objects.read_text_of_document(self._node(key), key)

    def tree(self, key: str, load: Loader | None = None) -> Tree:
        """Return the document of an object as a tree; `load` as for `document`."""
        return objects.read_tree(self._node(key), key, load)

    def loader(self, key: str) -> Loader:
        """Return what reads the values of an array of an object's document, good as long as this view is."""
        return lambda _mark, name: self.variable(key, name)

    def variable(self, key: str, name: str) -> np.ndarray[Any, Any]:
        """Return the values of one array of a document."""
        return arrays.read_variable(self._node(key), name)

    def write(
        self,
        key: str,
        stored: StoredDocument,
        *,
        codec: str,
        identity: str | None = None,
        is_new: bool = False,
        progress: Progress | None = None,
        by: str = "",
        keeps_codecs: bool = False,
    ) -> str:
        """Write an object under a key, in place of what is there; return its identity digest.

        An object that replaces another keeps its place in the order of keys, and the history goes on.

        Parameters
        ----------
        identity
            The identity digest of the document, if it is known.
        is_new
            The caller knows that no object has the key, and saves the search for it.
        by
            Who does it: it stands in the history of an object that replaces another.
        keeps_codecs
            Members of another container keep the codecs that they have.
        """
        if identity is None:
            identity = documents.identity_digest(stored.data_class, stored.tree)
        self._forget()
        check_key(key)
        with self.in_one_piece():
            # No change that counts: a store that fails after it takes nothing with it but this.
            self._freed |= self.removed.make_room()
        if key in self._lost:
            raise ConflictError(
                f"the key {key!r} is that of an object that cannot be read: take another, or repack first"
            )
        if not is_new and key in self:
            with self.staging() as staged:
                stored = self._with_history(key, stored, by)
                infos = self._fill(staged, key, stored, identity, codec, progress, keeps_codecs)
                with self.in_one_piece():
                    self._exchange(key, staged)
        else:
            group = h5py.Group(nodes.create_small_group(self._objects, key))
            try:
                infos = self._fill(group, key, stored, identity, codec, progress, keeps_codecs)
            except BaseException:
                with self.in_one_piece():
                    nodes.unlink(self._objects, key)
                    self._freed = True
                raise
        with self.in_one_piece():
            self.shared.add(key, infos)
            classes = self.data_classes()
            if stored.data_class not in classes:
                text = json.dumps([*classes, stored.data_class])
                nodes.write_text(self._objects, layout.DATA_CLASSES, text)
                self._data_classes = None
        self.changes += 1
        return identity

    def remove(self, key: str) -> None:
        """Remove an object with its arrays and members: `restore` brings it back until the room is needed.

        What is so damaged that HDF5 cannot take it apart is set aside.

        Raises
        ------
        CorruptError
            If HDF5 cannot remove it after all. Then the transaction cannot be committed.
        """
        self._forget()
        if not self.can_be_replaced(key):
            with self.in_one_piece():
                self.set_aside(key)
            return
        with self.in_one_piece():
            n_bytes = self._forget_members(key)
            try:
                if is_key(key):
                    self.removed.keep(self._objects, key, n_bytes)
                else:
                    nodes.unlink(self._objects, key)
            except UNREADABLE as error:
                raise CorruptError(f"object {key!r} cannot be removed: {error}") from error
            self._freed = True
        self.changes += 1

    def restore(self, one: RemovedObject, key: str) -> None:
        """Make an object again of what was removed or replaced, under a key that is free; it is the last one.

        Raises
        ------
        CorruptError
            If it cannot be read.
        """
        self._forget()
        with self.in_one_piece():
            try:
                self.removed.take_back(one, self._objects, check_key(key))
            except UNREADABLE as error:
                raise CorruptError(f"removed object {one.key!r} cannot be restored: {error}") from error
            if key != one.key:
                objects.write_key(self._node(key), one.key, key)
            self.shared.add(key, self._listed(key, self._group(key)))
        self.changes += 1

    def purge(self, one: RemovedObject) -> None:
        """Delete what was removed or replaced for good."""
        with self.in_one_piece():
            self.removed.delete(one)
            self._freed = True
        self.changes += 1

    def of_removed(self) -> Contents:
        """Return a view in which what was removed stands for the objects, each under its name there.

        Only for reading. Errors as `RemovedObjects.group`.
        """
        view = copy.copy(self)
        view._objects = self.removed.group()
        view._forget()
        view.__dict__["_lost"] = frozenset()
        return view

    def can_be_replaced(self, key: str) -> bool:
        """Return whether HDF5 can take an object apart: all that describes its parts can be read."""
        try:
            node = self._node(key)
        except CorruptError:
            return False
        return objects.can_be_taken_apart(node)

    def set_aside(self, key: str) -> str:
        """Move what is under a key out of the objects, unread and undeleted; return where it is now."""
        self._forget()
        if not nodes.link_exists(self._objects, key) or key in self._lost:
            raise NotFoundError(f"the container has no object with the key {key!r}")
        self.shared.forget(key)
        try:
            place = nodes.put_aside(self._objects, key, key)
        except UNREADABLE:
            # Where not even the header of a group can be read, HDF5 cannot move it: it is named instead.
            names = sorted({*self._lost, key})
            nodes.write_text(self._objects, layout.LOST_LINKS, json.dumps(names))
            del self._lost
            place = f"/{layout.OBJECTS}/{key}"
        self._freed = True
        self.changes += 1
        return place

    # --- members -----------------------------------------------------------------------------------------

    def members(self, key: str) -> list[MemberInfo]:
        """Return name, size, stored size, digest and codec of each member of an object.

        A member whose description cannot be read has a `fault`.
        """
        return self._listed(key, self._group(key))

    def member(self, key: str, name: str) -> MemberInfo:
        """Return what `members` says about one member; no other is read.

        Raises
        ------
        NotFoundError
            If there is no such object or member.
        CorruptMemberError
            If its description cannot be read.
        """
        dataset = self._member(key, name)
        try:
            return members.member_info(dataset, name)
        except UNREADABLE as error:
            raise _unreadable(key, name, error) from error

    def members_chosen(self, key: str, patterns: Sequence[str]) -> list[MemberInfo]:
        """Return what `members` says about those whose name fits a pattern; no other is read."""
        return self._members_of(key, self._member_names(key).chosen(patterns))

    def members_below(self, key: str, folder: str) -> list[MemberInfo]:
        """Return what `members` says about those below a folder; no other is read."""
        return self._members_of(key, self._member_names(key).below(folder))

    def member_places(self, key: str) -> list[tuple[int, MemberInfo]]:
        """Return each member that can be read, with the address of its dataset, which equal ones share."""
        return [(address, info) for address, _, info in self._nodes(key) if not info.fault]

    def shared_members(self, key: str) -> list[tuple[MemberInfo, int]]:
        """Return each member with the number of names that its dataset has in all objects together."""
        return [(info, names if info.size >= MIN_SHARED_BYTES else 1) for _, names, info in self._nodes(key)]

    def _nodes(self, key: str) -> list[tuple[int, int, MemberInfo]]:
        group = self._group(key)
        try:
            return list(members.list_nodes(group, functools.partial(self._arrays_of, key, group)))
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def has_ancillary_data(self, key: str) -> bool:
        """Return whether an object came with a directory of files, which may have been empty."""
        return objects.read_summary(self._node(key), key).has_ancillary_data

    def empty_folders(self, key: str) -> tuple[str, ...]:
        """Return the folders of an object that hold no file; none if that cannot be read."""
        return members.empty_folders(self._group(key))

    def executables(self, key: str) -> frozenset[str]:
        """Return the names of an object's members that are executable files."""
        return members.executables(self._group(key))

    def modified_ns(self, key: str, name: str) -> int | None:
        """Return when a member was changed last, before it was stored; ``None`` if that is not known."""
        if self._times is None or self._times[0] != key:
            group = self._group(key)
            try:
                times = members.read_times(group)
            except CorruptError as error:
                LOGGER.warning("object %r: %s", key, error)
                times = MemberTimes()
            self._times = key, times
        return self._times[1].of(name)

    def times(self, key: str, names: Iterable[str]) -> dict[str, int]:
        """Return what `modified_ns` does for those of some members of which it is known."""
        found = {name: self.modified_ns(key, name) for name in names}
        return {name: time for name, time in found.items() if time is not None}

    def history_lines(self, key: str) -> str:
        """Return the history of an object as it is kept: see `simarchive.container.changing.history`.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        node = self._node(key)
        try:
            return history.read_lines(node, objects.read_summary(node, key).stored_at)
        except CorruptError as error:
            error.add_note(f"object {key!r}")
            raise

    def history(self, key: str) -> list[Event]:
        """Return what became of an object since it was stored, the oldest first.

        Errors are those of `history_lines`.
        """
        lines = self.history_lines(key)
        if lines:
            return history.events_of(lines)
        return [Event(self.stored_at(key), history.STORED)]

    def stored_at(self, key: str) -> str:
        """Return when the present document and files were stored under a key, to the microsecond.

        So it is another text whenever they are others, and costs the same however many files there are.
        """
        return objects.read_summary(self._node(key), key).stored_at

    def generation(self, key: str) -> str:
        """Return a text that tells an object's document and files from any others of this container."""
        summary = objects.read_summary(self._node(key), key)
        return f"{summary.identity} {summary.stored_at}"

    def names_of_parts(self, key: str) -> list[list[str]]:
        """Return the names of an object's members and arrays, its empty folders and its executable members.

        None of them is opened.
        """
        group = self._group(key)
        try:
            parts = members.listed_names(group)
            if members.has_own_place(group):
                parts += nodes.child_names(group.id)
            return [sorted(parts), [*self.empty_folders(key)], sorted(members.executables(group))]
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def digests_of_files(self, key: str) -> dict[str, str]:
        """Return the digest of each member of an object by name; an empty one if it cannot be read.

        Each member is opened for it.
        """
        group = self._group(key)
        try:
            return {**dict.fromkeys(members.lost_members(group), ""), **dict(members.listed_digests(group))}
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def content_of_files(self, key: str) -> str:
        """Return a text that tells an object's files and empty folders from any others, also elsewhere.

        Each member is opened for it.
        """
        group = self._group(key)
        try:
            files = sorted(members.listed_digests(group))
        except UNREADABLE as error:
            raise _unlistable(key, error) from error
        return json.dumps(files)

    def extract_member(
        self,
        key: str,
        name: str,
        destination: Path,
        progress: Progress | None = None,
        *,
        sync: bool = False,
    ) -> None:
        """Write one member to a file, checked against its digest before it gets its name."""
        members.extract_member(
            self._as_whole(self._member(key, name)),
            self._file,
            destination,
            progress=progress,
            sync=sync,
            executable=name in self.executables(key),
            modified_ns=self.modified_ns(key, name),
        )

    # --- what will be read: of a container that lies elsewhere, it is brought along -----------------------

    @property
    def is_far(self) -> bool:
        """Whether the container lies elsewhere, so that each read may take a request."""
        return self._file.far is not None

    def expect(self, keys: Iterable[str]) -> None:
        """Say that these objects will be read; the first that is brings the others along."""
        far = self._file.far
        if far is not None:
            far.expect_nodes(nodes.link_places(self._objects, keys))

    def expect_members(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Say that these members (key and name) will be read as wholes; those that cannot be are left out."""
        far = self._file.far
        if far is None:
            return
        chosen = list(wanted)
        self.expect(dict.fromkeys(key for key, _ in chosen))
        ranges: list[tuple[int, int]] = []
        for key, name in chosen:
            with contextlib.suppress(CorruptError, NotFoundError):
                ranges += members.read_table(self._member(key, name)).ranges()
        far.expect_chunks(dict.fromkeys(ranges))

    def expect_ranges(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Say that these bytes of the file (offset and size) will be read, each range as a whole."""
        if self._file.far is not None:
            self._file.far.expect_chunks(dict.fromkeys(ranges))

    def _as_whole(self, dataset: h5py.Dataset) -> h5py.Dataset | MemberTable:
        """Return a member that is about to be read from its beginning to its end."""
        far = self._file.far
        if far is None:
            return dataset
        table = members.read_table(dataset)
        ranges = table.ranges()
        if ranges and not far.is_expecting(ranges[0]):
            far.expect_chunks(ranges)
        return table

    def _expect_also(self, table: MemberTable) -> None:
        """Say that a member will be read as a whole, beside all that is expected."""
        far, ranges = self._file.far, table.ranges()
        if far is not None and ranges and not far.is_expecting(ranges[0]):
            far.expect_chunks(ranges, also=True)

    def _in_order(self, dataset: h5py.Dataset) -> MemberTable:
        """Return where the chunks of a member lie, which may be read one after the other."""
        table = members.read_table(dataset)
        if self._file.far is not None:
            self._file.far.expect_in_order(table.ranges())
        return table

    def stored_members(self, key: str) -> dict[str, StoredMember]:
        """Return the members of an object as another container can copy them, while this view is good.

        Raises
        ------
        CorruptError
            If one of them cannot be copied.
        """
        found = {}
        for info in self.members(key):
            if info.fault:
                raise _unreadable(key, info.name, info.fault)
            found[info.name] = self._stored(info, self._own_member(key, info.name))
        return found

    def stored_member(self, key: str, name: str) -> StoredMember:
        """Return one member as another container can copy it; errors as for `member`."""
        info = self.member(key, name)
        return self._stored(info, self._own_member(key, name))

    def _stored(self, info: MemberInfo, dataset: h5py.Dataset) -> StoredMember:
        table = members.read_table(dataset)
        lengths = (
            members.read_frame_lengths(dataset, table.size, table.digest) if table.n_chunks > 1 else None
        )
        expect = None if self._file.far is None else functools.partial(self._expect_also, table)
        return StoredMember(info, table, self._file, lengths, expect)

    def member_chunks(self, key: str, name: str) -> tuple[MemberTable, ChunkFile]:
        """Return where the chunks of a member lie, and what reads them as long as this view is good."""
        return self._in_order(self._member(key, name)), self._file

    def frame_lengths(self, key: str, name: str) -> FrameLengths | None:
        """Return the lengths in bytes of a member's frames, if they were found when it was stored."""
        dataset = self._member(key, name)
        table = members.read_table(dataset)
        return members.read_frame_lengths(dataset, table.size, table.digest)

    def node(self, key: str) -> h5g.GroupID:
        """Return the group of an object, for the other modules of this floor."""
        return self._node(key)

    @property
    def objects(self) -> h5g.GroupID:
        """The group of all objects, for the other modules of this floor."""
        return self._objects

    @property
    def root(self) -> h5py.File:
        """The root of the file, for the other modules of this floor."""
        return self._handle

    def member_reader(self, key: str, name: str) -> MemberReader:
        """Return a seekable binary file over one member, good as long as this view is."""
        return MemberReader(self._in_order(self._member(key, name)), self._file)

    def verify_member(self, key: str, name: str, *, full: bool) -> tuple[MemberFault, ...]:
        """Check every stored byte of a member, with `full` also what it decodes to; return what is wrong."""
        return members.verify_member(self._as_whole(self._own_member(key, name)), self._file, full=full)

    def rebuild_shared(self) -> None:
        """Rebuild the table of shared members, without members that cannot be read."""
        self.shared.clear()
        for key in self.keys():
            with contextlib.suppress(CorruptError):
                self.shared.add(key, self._listed(key, self._group(key)))

    # --- the parts of the above ----------------------------------------------------------------------

    def _node(self, key: str) -> h5g.GroupID:
        """Return the group of an object, as h5py's lower half knows it."""
        # Long operations go from object to object: here they can be interrupted.
        SIGNALS.deliver()
        attention.note(key)
        try:
            if not key.isascii():
                key.encode()  # h5py gives a link that is no UTF-8 as surrogates, which nobody can write
            return nodes.open_group(self._objects, key)
        except UNREADABLE as error:
            if key not in self:
                raise NotFoundError(f"the container has no object with the key {key!r}") from error
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error

    def _group(self, key: str) -> h5py.Group:
        return h5py.Group(self._node(key))

    def _listed(self, key: str, group: h5py.Group) -> list[MemberInfo]:
        try:
            return list(members.list_members(group, functools.partial(self._arrays_of, key, group)))
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    @staticmethod
    def _arrays_of(key: str, group: h5py.Group) -> frozenset[str]:
        """Return the links of an object that are arrays of its document, as far as that can be read."""
        try:
            return objects.variable_names(group.id, key)
        except CorruptError:
            return frozenset()

    def has_intact_members(self, key: str, *, read: bool) -> bool:
        """Return whether the members of an object can be read.

        Parameters
        ----------
        read
            Compare every stored byte with its check, too; each dataset is read once.
        """
        group = self._group(key)
        try:
            for dataset, info in members.list_datasets(group, functools.partial(self._arrays_of, key, group)):
                if dataset is None:
                    return False
                if read:
                    self._checks_of(key).check(info.name, dataset)
                    if not self.shared.is_intact(dataset):
                        return False
        except (CorruptError, *UNREADABLE):
            return False
        return True

    def _member(self, key: str, name: str) -> h5py.Dataset:
        group = self._group(key)
        attention.note(key, name)
        try:
            return members.find_member(group, name)
        except NotFoundError as error:
            raise _missing(key, name, group) from error
        except StorageError:
            raise
        except UNREADABLE as error:
            raise _unreadable(key, name, error) from error

    def _own_member(self, key: str, name: str) -> h5py.Dataset:
        """Return what `_member` does, if it is what was stored with the object.

        For whoever looks at all of it or copies it: to look it up takes as long as to open a small member.
        """
        dataset = self._member(key, name)
        try:
            self._checks_of(key).check(name, dataset)
        except UNREADABLE as error:
            raise _unreadable(key, name, error) from error
        return dataset

    def _member_names(self, key: str) -> MemberNames:
        """Return the names that members may have, those of arrays among them; the last ones are kept."""
        if self._names is None or self._names[0] != key:
            group = self._group(key)
            try:
                self._names = key, MemberNames(members.listed_names(group))
            except UNREADABLE as error:
                raise _unlistable(key, error) from error
        return self._names[1]

    def _checks_of(self, key: str) -> MemberChecks:
        """Return what the group of an object says of its members; the last one is kept."""
        if self._checks is None or self._checks[0] != key:
            self._checks = key, MemberChecks(self._node(key), key)
        return self._checks[1]

    def n_members_stored(self, key: str) -> int | None:
        """Return how many members an object was stored with; ``None`` if that is not known.

        Raises
        ------
        CorruptError
            If it cannot be read.
        """
        try:
            return self._checks_of(key).n_members
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def _members_of(self, key: str, names: list[str]) -> list[MemberInfo]:
        found = []
        for name in names:
            try:
                found.append(self.member(key, name))
            except NotFoundError:
                # HDF5 lists links in one tree and finds them in another. Else it is an array of an early
                # object.
                if not members.has_link(self._group(key), name):
                    found.append(members.faulty(name, NOT_FOUND))
            except CorruptMemberError as error:
                group = self._group(key)
                if members.has_own_place(group) or name not in self._arrays_of(key, group):
                    found.append(members.faulty(name, str(error)))
        return found

    def _fill(
        self,
        group: h5py.Group,
        key: str,
        stored: StoredDocument,
        identity: str,
        codec: str,
        progress: Progress | None,
        keeps_codecs: bool,
    ) -> list[MemberInfo]:
        """Write an object into an empty group; return what is known of its members."""
        stored_at = objects.write_object(group, key, stored, identity, self._scales)
        if not stored.members:
            return []
        place = members.create_place(group)
        infos = [
            self.shared.store(place, name, path, codec, progress, keeps_codecs=keeps_codecs)
            for name, path in stored.members.items()
        ]
        # What was written from a file just now has its proof; what was linked or copied may have none.
        doubtful = [
            info.name
            for info in infos
            if info.size >= MIN_SHARED_BYTES or isinstance(stored.members[info.name], StoredMember)
        ]
        if all(members.has_proof(group, name) for name in doubtful):
            objects.write_member_checks(group, stored_at, infos)
        return infos

    def _forget_members(self, key: str) -> int:
        """Remove an object's members from the table; return about how many bytes the object alone takes."""
        group = self._group(key)
        found = self._nodes(key)
        self.shared.remove(key, [info for _, _, info in found])
        seen: set[int] = set()
        n_bytes = 0
        with contextlib.suppress(CorruptError):
            n_bytes += len(objects.read_text_of_document(group.id, key).encode())
        for address, n_names, info in found:
            is_shared = n_names > 1 and info.size >= MIN_SHARED_BYTES and self.shared.is_used(info)
            if address not in seen and not is_shared:
                n_bytes += info.stored_size
            seen.add(address)
        for name in self._arrays_of(key, group):
            with contextlib.suppress(*UNREADABLE):
                dataset = nodes.open_dataset(group.id, name)
                n_bytes += 0 if dataset is None else nodes.stored_bytes(dataset)
        return n_bytes

    def _with_history(self, key: str, stored: StoredDocument, by: str) -> StoredDocument:
        """Return what replaces an object, with the history of what it replaces."""
        try:
            before = history.begun(self.history_lines(key), self.stored_at(key))
            again = Event("", history.STORED, by=by, was=self.stored_at(key))
        except CorruptError as error:
            LOGGER.warning("object %r is replaced, and its history is lost: %s", key, error)
            before, again = "", Event("", history.STORED, by=by)
        return replace(stored, history=history.united(before, stored.history), event=again)

    def _exchange(self, key: str, staged: h5py.Group) -> None:
        """Put a finished object in the place of the one under `key`, which keeps its place in the order."""
        group = self._group(key)
        self.removed.keep_content(group, key, self._forget_members(key))
        objects.replace_content(group, staged)
        self._checks = self._times = None
        self._freed = True


@functools.lru_cache(maxsize=8)
def _texts_of(text: str) -> tuple[str, ...]:
    """Return the list of texts that a JSON text is: the classes, which every query looks at."""
    names = json_text.parse(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("it is not a list of texts")
    return tuple(names)


def _schema_digest(class_name: str, text: str) -> str:
    return blake3(f"{class_name}\0{text}".encode()).hexdigest()


def _unlisted(error: Exception) -> CorruptError:
    return CorruptError(f"the objects of the container cannot be listed: {error}")


class _OnePiece(AbstractContextManager[None]):
    """What `Contents.in_one_piece` returns; made for each object, for which a generator is slow."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._contents.spoil(error)


def _unlistable(key: str, error: Exception) -> CorruptError:
    return CorruptError(f"the members of object {key!r} cannot be listed: {error}")


def _unreadable(key: str, name: str, error: Exception | str) -> CorruptMemberError:
    return CorruptMemberError(
        f"member {name!r} of object {key!r}: its description cannot be read ({error}):"
        " restore the container from a copy, or store the object again"
    )


def _missing(key: str, name: str, group: h5py.Group) -> StorageError:
    """Return the error for a member that cannot be found: damage, if the object says that it was lost."""
    try:
        if name in members.lost_members(group):
            return _unreadable(key, name, "it could not be read when the container was repacked")
    except UNREADABLE as error:
        return _unreadable(key, name, error)
    return NotFoundError(f"object {key!r} has no member {name!r}: see list_members({key!r})")

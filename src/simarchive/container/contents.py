"""What is inside an open container: objects with their documents, arrays and members, and the index.

A `Contents` is a view of one HDF5 handle, so it is good for one read or one transaction only;
`simarchive.container.container.Container` hands it out.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5g

from simarchive.container import arrays, documents, layout, members, node_attributes
from simarchive.container.documents import Tree
from simarchive.container.groups import create_group, put_aside
from simarchive.container.index import IndexTables
from simarchive.container.links import unlink
from simarchive.container.members import MemberFault, MemberInfo, MemberNames, MemberReader, StoredMember
from simarchive.container.members.shared import MIN_SHARED_BYTES, Progress, SharedMembers
from simarchive.container.node_attributes import UNREADABLE, write_text
from simarchive.container.object_writing import StoredDocument, exchange, fill
from simarchive.errors import ConflictError, CorruptError, CorruptMemberError, NotFoundError, StorageError
from simarchive.ground.signals import SIGNALS
from simarchive.journal import PagedFile

Loader = Callable[[str, str], np.ndarray[Any, Any]]
"""Called with an object's identity digest and the name of an array, when someone looks at its values."""


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """What is known of an object without reading its document."""

    key: str
    data_class: str
    data_class_version: int
    identity: str  #: SHA-256 of class name and canonical document
    stored_at: str  #: ISO 8601, UTC
    has_ancillary_data: bool
    empty_folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What is needed to make the object of a document."""

    data_class: str
    data_class_version: int
    has_ancillary_data: bool
    tree: Tree
    stored_at: str = ""  #: of an object with ancillary data, as `Contents.stored_at`; empty if unreadable


class Contents:
    """The objects of an open container, and its index tables.

    Attributes
    ----------
    tables
        The index tables.
    shared
        The members that are found by their digest.
    """

    def __init__(self, handle: h5py.File, file: PagedFile, distrusted: set[str] | None = None) -> None:
        self._handle = handle
        self._file = file
        self._objects = handle[layout.OBJECTS]
        self.tables = IndexTables(handle, set() if distrusted is None else distrusted)
        self.shared = SharedMembers(self.tables, self._member)
        self._data_classes: list[str] | None = None
        self._dimensions: dict[int, int] = {}
        self._names: tuple[str, MemberNames] | None = None  # of the members of one object
        self._freed = False
        self.changes = 0  #: how many changes were made and not undone
        self.spoiled: BaseException | None = None  #: what left a change half done: nothing may be committed

    @property
    def freed(self) -> bool:
        """Whether this handle removed anything whose room can be used again."""
        return self._freed or self.tables.freed

    def in_one_piece(self) -> AbstractContextManager[None]:
        """Never commit what the block changes by half: an error in it spoils the transaction."""
        return _OnePiece(self)

    def spoil(self, error: BaseException) -> None:
        """Have the transaction refused, because an error left a change half done."""
        if self.spoiled is None:
            self.spoiled = error

    # --- objects -----------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Return what the container says of itself: format, container_id, created_by, created_at."""
        attributes = self._handle.attrs
        return {
            "format": int(attributes[layout.FORMAT]),
            "container_id": _text(attributes.get(layout.CONTAINER_ID, "")),
            "created_by": _text(attributes.get(layout.CREATED_BY, "")),
            "created_at": _text(attributes.get(layout.CREATED_AT, "")),
        }

    def keys(self) -> list[str]:
        """Return the keys of all objects in the order in which they were first stored."""
        lost = self._lost
        return [key for key in self._objects if key not in lost] if lost else list(self._objects)

    def __len__(self) -> int:
        return len(self._objects) - len(self._lost)

    def __contains__(self, key: str) -> bool:
        # A key is one path component; HDF5 would take "a/b" for a path and "." for /objects itself.
        if not key or key.startswith(".") or "/" in key:
            return False
        try:
            return bool(self._objects.id.links.exists(key.encode())) and key not in self._lost
        except UnicodeEncodeError:
            return False

    @functools.cached_property
    def _lost(self) -> frozenset[str]:
        value = self._objects.attrs.get(layout.LOST_LINKS)
        return frozenset() if value is None else frozenset(json.loads(_text(value)))

    @property
    def failure(self) -> BaseException | None:
        """What made the device fail so far; HDF5 may have taken it for something that is not there."""
        return self._file.failure

    def address(self, key: str) -> int:
        """Return where the group of an object is in the file: equal for two keys of one group."""
        return int(h5g.get_objinfo(self._node(key)).objno[0])

    def data_classes(self) -> list[str]:
        """Return the names of the data classes that have objects, or had."""
        if self._data_classes is None:
            value = self._objects.attrs.get(layout.DATA_CLASSES)
            self._data_classes = [] if value is None else [str(name) for name in json.loads(_text(value))]
        return list(self._data_classes)

    def header(self, key: str) -> ObjectHeader:
        """Return what is known of an object without reading its document.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If an attribute is missing or cannot be read.
        """
        node = self._node(key)
        try:
            folders: tuple[str, ...] = ()
            if node_attributes.has_attribute(node, layout.MEMBER_EMPTY_FOLDERS):
                folders = members.empty_folders(h5py.Group(node))
            return ObjectHeader(
                key=key,
                data_class=node_attributes.read_text(node, layout.DATA_CLASS),
                data_class_version=node_attributes.read_integer(node, layout.DATA_CLASS_VERSION),
                identity=node_attributes.read_text(node, layout.IDENTITY),
                stored_at=node_attributes.read_text(node, layout.STORED_AT),
                has_ancillary_data=bool(node_attributes.read_integer(node, layout.ANCILLARY)),
                empty_folders=folders,
            )
        except UNREADABLE as error:
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error

    def class_name(self, key: str) -> str:
        """Return the name of an object's data class: the least that `header` reads.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        return self._text_of(self._node(key), key, layout.DATA_CLASS)

    def identity(self, key: str) -> str:
        """Return the identity digest of an object.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        return self._text_of(self._node(key), key, layout.IDENTITY)

    def document(self, key: str, load: Loader | None = None) -> ReadDocument:
        """Return the document of an object and its class, in one look at the object.

        Parameters
        ----------
        load
            Called when someone looks at the values of an array; by default all arrays are read now.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        node = self._node(key)
        try:
            name = node_attributes.read_text(node, layout.DATA_CLASS)
            version = node_attributes.read_integer(node, layout.DATA_CLASS_VERSION)
            has_ancillary_data = bool(node_attributes.read_integer(node, layout.ANCILLARY))
        except UNREADABLE as error:
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error
        stored_at = ""
        if has_ancillary_data:
            with contextlib.suppress(CorruptError):  # It counts when someone asks for the files.
                stored_at = self._text_of(node, key, layout.STORED_AT)
        return ReadDocument(name, version, has_ancillary_data, self._tree(node, key, load), stored_at)

    def tree(self, key: str, load: Loader | None = None) -> Tree:
        """Return the document of an object as a tree; `load` as for `document`."""
        return self._tree(self._node(key), key, load)

    def _tree(self, node: h5g.GroupID, key: str, load: Loader | None) -> Tree:
        text = self._text_of(node, key, layout.DOCUMENT)

        def variable(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
            if load is None:
                return arrays.read_variable(h5py.Group(node), name)
            identity = self._text_of(node, key, layout.IDENTITY)
            return arrays.LazyArray(shape, dtype, lambda: load(identity, name))

        try:
            return documents.decode(text, variable)
        except CorruptError as error:
            error.add_note(f"object {key!r}")
            raise

    @staticmethod
    def _text_of(node: h5g.GroupID, key: str, name: str) -> str:
        try:
            return node_attributes.read_text(node, name)
        except UNREADABLE as error:
            raise CorruptError(f"object {key!r} cannot be read: its {name}: {error}") from error

    def variable(self, key: str, name: str) -> np.ndarray[Any, Any]:
        """Return the values of one array of a document."""
        return arrays.read_variable(self._group(key), name)

    def write(
        self,
        key: str,
        stored: StoredDocument,
        *,
        codec: str,
        identity: str | None = None,
        is_new: bool = False,
        progress: Progress | None = None,
    ) -> str:
        """Write an object under a key, in place of what is there; return its identity digest.

        An object that replaces another keeps its place in the order of keys.

        Parameters
        ----------
        identity
            The identity digest of the document, if it is known.
        is_new
            The caller knows that no object has the key, and saves the search for it.
        """
        if identity is None:
            identity = documents.identity_digest(stored.data_class, stored.tree)
        self._names = None
        if key in self._lost:
            raise ConflictError(
                f"the key {key!r} is that of an object that cannot be read: take another, or repack first"
            )
        if not is_new and key in self:
            staged = create_group(self._handle, layout.STAGING)
            try:
                infos = self._fill(staged, stored, identity, codec, progress)
            except BaseException:
                with self.in_one_piece():
                    unlink(self._handle.id, layout.STAGING)
                raise
            with self.in_one_piece():
                self._exchange(key, staged)
        else:
            group = create_group(self._objects, key)
            try:
                infos = self._fill(group, stored, identity, codec, progress)
            except BaseException:
                with self.in_one_piece():
                    unlink(self._objects.id, key)
                    self._freed = True
                raise
        with self.in_one_piece():
            self.shared.note(key, infos)
            classes = self.data_classes()
            if stored.data_class not in classes:
                write_text(self._objects, layout.DATA_CLASSES, json.dumps([*classes, stored.data_class]))
                self._data_classes = None
        self.changes += 1
        return identity

    def remove(self, key: str) -> None:
        """Remove an object with its arrays and members; its room is used again."""
        self._names = None
        infos = self._listed(key, self._group(key))
        with self.in_one_piece():
            self.shared.forget(key, infos)
            unlink(self._objects.id, key)
            self._freed = True
        self.changes += 1

    def set_aside(self, key: str) -> str:
        """Move what is under a key out of the objects, unread and undeleted; return where it is now."""
        self._names = None
        try:
            place = put_aside(self._handle, f"/{layout.OBJECTS}/{key}", key)
        except UNREADABLE:
            # Where not even the header of a group can be read, HDF5 cannot move it: it is named instead.
            write_text(self._objects, layout.LOST_LINKS, json.dumps(sorted({*self._lost, key})))
            del self._lost
            place = f"/{layout.OBJECTS}/{key}"
        self._freed = True
        self.changes += 1
        return place

    # --- members -----------------------------------------------------------------------------------------

    def members(self, key: str) -> list[MemberInfo]:
        """Return name, size, stored size, digest and codec of each member of an object."""
        return self._listed(key, self._group(key))

    def member(self, key: str, name: str) -> MemberInfo:
        """Return what `members` says of one member; no other is looked at.

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
        """Return what `members` says of those whose name fits a pattern; no other is looked at."""
        return self._members_of(key, self._member_names(key).chosen(patterns))

    def members_below(self, key: str, folder: str) -> list[MemberInfo]:
        """Return what `members` says of those below a folder; no other is looked at."""
        return self._members_of(key, self._member_names(key).below(folder))

    def member_places(self, key: str) -> list[tuple[int, MemberInfo]]:
        """Return each member with the address of its dataset, which equal members share."""
        return [(address, info) for address, _, info in self._nodes(key)]

    def shared_members(self, key: str) -> list[tuple[MemberInfo, int]]:
        """Return each member with the number of names that its dataset has in all objects together."""
        return [(info, names if info.size >= MIN_SHARED_BYTES else 1) for _, names, info in self._nodes(key)]

    def _nodes(self, key: str) -> list[tuple[int, int, MemberInfo]]:
        group = self._group(key)
        try:
            return list(members.list_nodes(group))
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def has_ancillary_data(self, key: str) -> bool:
        """Return whether an object came with a directory of files, which may have been empty."""
        try:
            return bool(node_attributes.read_integer(self._node(key), layout.ANCILLARY))
        except UNREADABLE as error:
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error

    def empty_folders(self, key: str) -> tuple[str, ...]:
        """Return the folders of an object that hold no file."""
        node = self._node(key)
        if not node_attributes.has_attribute(node, layout.MEMBER_EMPTY_FOLDERS):
            return ()
        return members.empty_folders(h5py.Group(node))

    def stored_at(self, key: str) -> str:
        """Return when the present document and files were stored under a key, to the microsecond.

        So it is another text whenever they are others, and costs the same however many files there are.
        """
        return self._text_of(self._node(key), key, layout.STORED_AT)

    def generation(self, key: str) -> str:
        """Return a text that tells an object's document and files from any others, also elsewhere."""
        return f"{self.identity(key)} {self.stored_at(key)}"

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
        members.extract_member(self._member(key, name), self._file, destination, progress=progress, sync=sync)

    def stored_members(self, key: str) -> dict[str, StoredMember]:
        """Return the members of an object as another container can copy them, while this view is good.

        Raises
        ------
        CorruptError
            If one of them cannot be copied.
        """
        found = {}
        for info in self.members(key):
            table = members.read_table(self._member(key, info.name))
            found[info.name] = StoredMember(info, table, self._file)
        return found

    def member_reader(self, key: str, name: str) -> MemberReader:
        """Return a seekable binary file over one member, good as long as this view is."""
        return MemberReader(self._member(key, name), self._file)

    def verify_member(self, key: str, name: str, *, full: bool) -> tuple[MemberFault, ...]:
        """Check every stored byte of a member, with `full` also what it decodes to; return what is wrong."""
        return members.verify_member(self._member(key, name), self._file, full=full)

    def rebuild_shared(self) -> None:
        """Make the table of shared members anew, without members that cannot be read."""
        self.shared.clear()
        for key in self.keys():
            with contextlib.suppress(CorruptError):
                self.shared.note(key, self._listed(key, self._group(key)))

    # --- the parts of the above ----------------------------------------------------------------------

    def _node(self, key: str) -> h5g.GroupID:
        """Return the group of an object, as h5py's lower half knows it."""
        # Long work goes from object to object: here it can be given up.
        SIGNALS.deliver()
        try:
            return h5g.open(self._objects.id, key.encode())
        except UNREADABLE as error:
            if key not in self:
                raise NotFoundError(f"the container has no object with the key {key!r}") from error
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error

    def _group(self, key: str) -> h5py.Group:
        return h5py.Group(self._node(key))

    @staticmethod
    def _listed(key: str, group: h5py.Group) -> list[MemberInfo]:
        try:
            return list(members.list_members(group))
        except UNREADABLE as error:
            raise _unlistable(key, error) from error

    def _member(self, key: str, name: str) -> h5py.Dataset:
        group = self._group(key)
        try:
            return members.find_member(group, name)
        except NotFoundError as error:
            raise NotFoundError(
                f"object {key!r} has no member {name!r}: see list_members({key!r})"
            ) from error
        except StorageError:
            raise
        except UNREADABLE as error:
            raise _unreadable(key, name, error) from error

    def _member_names(self, key: str) -> MemberNames:
        """Return the names that members may have, those of arrays among them; the last ones are kept."""
        if self._names is None or self._names[0] != key:
            group = self._group(key)
            try:
                self._names = key, MemberNames(members.listed_names(group))
            except UNREADABLE as error:
                raise _unlistable(key, error) from error
        return self._names[1]

    def _members_of(self, key: str, names: list[str]) -> list[MemberInfo]:
        found = []
        for name in names:
            with contextlib.suppress(NotFoundError):  # an array of the document
                found.append(self.member(key, name))
        return found

    def _fill(
        self, group: h5py.Group, stored: StoredDocument, identity: str, codec: str, progress: Progress | None
    ) -> list[MemberInfo]:
        """Write an object into an empty group; return what is known of its members."""
        fill(group, stored, identity, self._dimensions)
        return [
            self.shared.store(group, name, path, codec, progress) for name, path in stored.members.items()
        ]

    def _exchange(self, key: str, staged: h5py.Group) -> None:
        """Put a finished object in the place of the one under `key`, which keeps its place in the order."""
        group = self._group(key)
        self.shared.forget(key, self._listed(key, group))
        exchange(group, staged)
        unlink(self._handle.id, layout.STAGING)
        self._freed = True


class _OnePiece(AbstractContextManager[None]):
    """What `Contents.in_one_piece` returns; made for each object, for which a generator is slow."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._contents.spoil(error)


def _unlistable(key: str, error: Exception) -> CorruptError:
    return CorruptError(f"the members of object {key!r} cannot be listed: {error}")


def _unreadable(key: str, name: str, error: Exception) -> CorruptMemberError:
    return CorruptMemberError(
        f"member {name!r} of object {key!r}: its description cannot be read ({error}):"
        " restore the container from a copy, or store the object again"
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

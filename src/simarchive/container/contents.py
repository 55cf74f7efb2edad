"""What is inside an open container: objects with their documents, arrays and members, and the index.

A `Contents` is a view of one HDF5 handle, so it is good for one read or one transaction only;
`simarchive.container.container.Container` hands it out.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5g, h5p

from simarchive.conditions import Column, ColumnKind, Equals
from simarchive.container import arrays, documents, layout, members, node_attributes
from simarchive.container.documents import Tree
from simarchive.container.index import IndexTable
from simarchive.container.links import unlink
from simarchive.container.members import MemberFault, MemberInfo, MemberReader
from simarchive.container.node_attributes import UNREADABLE
from simarchive.errors import ConflictError, CorruptError, NotFoundError, StorageError
from simarchive.journal import PagedFile

Progress = Callable[[int], None]

Loader = Callable[[str, str], np.ndarray[Any, Any]]
"""Called with an object's identity digest and the name of an array, when someone looks at its values."""

MIN_SHARED_BYTES = 64 << 10
"""Members of this size and more are looked up by digest, and stored once if they are equal."""

MEMBER_COLUMNS = (Column("size", ColumnKind.INTEGER), Column("digest", ColumnKind.IDENTIFIER))


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


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept: its class, its tree, and what belongs to it."""

    data_class: str
    data_class_version: int
    tree: Tree
    has_ancillary_data: bool = False
    empty_folders: tuple[str, ...] = ()
    members: dict[str, Path] = field(default_factory=dict)  #: member name -> file to store


class Contents:
    """The objects and index tables of an open container.

    Attributes
    ----------
    distrusted
        Names of index tables that turned out to be unusable. It is shared by all views of one container, and
        creating a table anew takes its name out.
    """

    def __init__(self, handle: h5py.File, file: PagedFile, distrusted: set[str] | None = None) -> None:
        self._handle = handle
        self._file = file
        self.distrusted: set[str] = set() if distrusted is None else distrusted
        self._objects = handle[layout.OBJECTS]
        try:
            self._index = handle.get(layout.INDEX)
        except UNREADABLE:
            self._index = None
        self._tables: dict[str, IndexTable] = {}
        self._data_classes: list[str] | None = None
        self._dimensions: dict[int, int] = {}
        self.freed = False  #: whether this handle removed anything whose room can be used again
        self.spoiled: BaseException | None = None  #: what left a change half done: nothing may be committed

    @contextlib.contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Never commit what the block changes by half: an error in it spoils the transaction."""
        try:
            yield
        except BaseException as error:
            self.spoiled = error
            raise

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
        return ReadDocument(name, version, has_ancillary_data, self._tree(node, key, load))

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

    def write(self, key: str, stored: StoredDocument, *, codec: str, progress: Progress | None = None) -> str:
        """Write an object under a key, in place of what is there; return its identity digest.

        An object that replaces another keeps its place in the order of keys.
        """
        identity = documents.identity_digest(stored.data_class, stored.tree)
        if key in self._lost:
            raise ConflictError(
                f"the key {key!r} is that of an object that cannot be read: take another, or repack first"
            )
        if key in self:
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
                    self.freed = True
                raise
        with self.in_one_piece():
            self._note_members(key, infos)
            classes = self.data_classes()
            if stored.data_class not in classes:
                write_text(self._objects, layout.DATA_CLASSES, json.dumps([*classes, stored.data_class]))
                self._data_classes = None
        return identity

    def remove(self, key: str) -> None:
        """Remove an object with its arrays and members; its room is used again."""
        infos = self._listed(key, self._group(key))
        with self.in_one_piece():
            self._forget_members(key, infos)
            unlink(self._objects.id, key)
            self.freed = True

    def set_aside(self, key: str) -> str:
        """Move what is under a key out of the objects, unread and undeleted; return where it is now."""
        try:
            place = self._put_aside(f"/{layout.OBJECTS}/{key}", key)
        except UNREADABLE:
            # Where not even the header of a group can be read, HDF5 cannot move it: it is named instead.
            write_text(self._objects, layout.LOST_LINKS, json.dumps(sorted({*self._lost, key})))
            del self._lost
            place = f"/{layout.OBJECTS}/{key}"
        self.freed = True
        return place

    # --- members -----------------------------------------------------------------------------------------

    def members(self, key: str) -> list[MemberInfo]:
        """Return name, size, stored size, digest and codec of each member of an object."""
        return self._listed(key, self._group(key))

    def member_places(self, key: str) -> list[tuple[int, MemberInfo]]:
        """Return each member with the address of its dataset, which equal members share."""
        group = self._group(key)
        return [(members.address_of(group, info.name), info) for info in self._listed(key, group)]

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

    def member_reader(self, key: str, name: str) -> MemberReader:
        """Return a seekable binary file over one member, good as long as this view is."""
        return MemberReader(self._member(key, name), self._file)

    def verify_member(self, key: str, name: str, *, full: bool) -> tuple[MemberFault, ...]:
        """Check every stored byte of a member, with `full` also what it decodes to; return what is wrong."""
        return members.verify_member(self._member(key, name), self._file, full=full)

    # --- index -------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Return the names of all index tables."""
        return [] if self._index is None else [name for name in self._index if name != layout.MEMBER_TABLE]

    def table(self, name: str) -> IndexTable | None:
        """Return an index table, or ``None`` if there is none of that name."""
        if name not in self._tables:
            if self._index is None or name not in self._index:
                return None
            self._tables[name] = IndexTable.open(self._index[name])
        return self._tables[name]

    def create_table(self, name: str, columns: Iterable[Column]) -> IndexTable:
        """Return a new, empty index table in place of any of that name."""
        self.drop_table(name)
        if self._index is None:
            if layout.INDEX in self._handle:
                self._put_aside(f"/{layout.INDEX}", layout.INDEX)
            self._index = create_group(self._handle, layout.INDEX)
        self._tables[name] = IndexTable.create(self._index, name, tuple(columns))
        self.distrusted.discard(name)
        return self._tables[name]

    def drop_table(self, name: str) -> None:
        """Remove an index table if it is there."""
        self._tables.pop(name, None)
        if self._index is None or name not in self._index:
            return
        try:
            unlink(self._index.id, name)
        except UNREADABLE:
            # What HDF5 cannot read it cannot take apart either.
            self._put_aside(f"{self._index.name}/{name}", f"{layout.INDEX} {name}")
        self.freed = True

    @property
    def has_index(self) -> bool:
        """Whether there is a group of index tables at all."""
        return self._index is not None

    def member_table_works(self) -> bool:
        """Return whether the table of members is there and opens, or is not needed yet."""
        try:
            self.table(layout.MEMBER_TABLE)
        except StorageError:
            return False
        return self.has_index and layout.MEMBER_TABLE not in self.distrusted

    def rebuild_member_table(self) -> None:
        """Make the table of members by digest anew, without members that cannot be read."""
        self.drop_table(layout.MEMBER_TABLE)
        self.distrusted.discard(layout.MEMBER_TABLE)
        for key in self.keys():
            with contextlib.suppress(CorruptError):
                self._note_members(key, self._listed(key, self._group(key)))

    # --- the parts of the above ----------------------------------------------------------------------

    def _node(self, key: str) -> h5g.GroupID:
        """Return the group of an object, as h5py's lower half knows it."""
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
            raise CorruptError(f"the members of object {key!r} cannot be listed: {error}") from error

    def _put_aside(self, path: str, name: str) -> str:
        if layout.SET_ASIDE not in self._handle:
            create_group(self._handle, layout.SET_ASIDE)
        taken = self._handle[layout.SET_ASIDE]
        free = next(
            choice
            for choice in itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
            if choice not in taken
        )
        place = f"/{layout.SET_ASIDE}/{free}"
        self._handle.move(path, place)
        return place

    def _member(self, key: str, name: str) -> h5py.Dataset:
        try:
            return members.find_member(self._group(key), name)
        except NotFoundError as error:
            raise NotFoundError(
                f"object {key!r} has no member {name!r}: see list_members({key!r})"
            ) from error

    def _fill(
        self, group: h5py.Group, stored: StoredDocument, identity: str, codec: str, progress: Progress | None
    ) -> list[MemberInfo]:
        """Write an object into an empty group; return what is known of its members."""
        encoded = documents.encode(stored.tree, taken=stored.members)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        node_attributes.create_text(group.id, layout.DATA_CLASS, stored.data_class, is_ascii=True)
        node_attributes.create_integer(
            group.id, layout.DATA_CLASS_VERSION, stored.data_class_version, size_bytes=8
        )
        node_attributes.create_text(group.id, layout.IDENTITY, identity, is_ascii=True)
        node_attributes.create_text(group.id, layout.STORED_AT, now, is_ascii=True)
        node_attributes.create_integer(
            group.id, layout.ANCILLARY, int(stored.has_ancillary_data), size_bytes=1
        )
        if stored.empty_folders:
            members.keep_empty_folders(group, stored.empty_folders)
        node_attributes.create_text(group.id, layout.DOCUMENT, encoded.text)
        for name, variable in encoded.variables.items():
            arrays.write_variable(group, name, variable, self._dimensions)
        return [
            self._write_member(group, name, path, codec, progress) for name, path in stored.members.items()
        ]

    def _exchange(self, key: str, staged: h5py.Group) -> None:
        """Put a finished object in the place of the one under `key`, which keeps its place in the order.

        A new link would be the last in the order, so the group stays and all in it is exchanged. Its
        attributes must all be gone before the first new one comes: in a reopened file, HDF5 2.0 cannot close
        (or crashes) when some of more than eight were removed and others created.
        """
        group = self._group(key)
        self._forget_members(key, self._listed(key, group))
        for link in list(group):
            unlink(group.id, link)
        for name in list(group.attrs):
            del group.attrs[name]
        for link in list(staged):
            self._handle.move(f"{staged.name}/{link}", f"{group.name}/{link}")
        for name in staged.attrs:
            attribute = staged.attrs.get_id(name)
            group.attrs.create(name, staged.attrs[name], dtype=attribute.dtype)
        unlink(self._handle.id, layout.STAGING)
        self.freed = True

    def _write_member(
        self, group: h5py.Group, name: str, path: Path, codec: str, progress: Progress | None
    ) -> MemberInfo:
        size = members.size_of(path)
        twin = self._equal_member(path, size) if size >= MIN_SHARED_BYTES else None
        if twin is None:
            return members.store_member(group, name, path, codec=codec, progress=progress)
        members.link_member(group, name, twin)
        if progress is not None:
            progress(size)
        return members.member_info(twin, name)

    def _note_members(self, key: str, infos: Iterable[MemberInfo]) -> None:
        for info in infos:
            if info.size >= MIN_SHARED_BYTES:
                self._member_table().insert(f"{key}/{info.name}", {"size": info.size, "digest": info.digest})

    def _equal_member(self, path: Path, size: int) -> h5py.Dataset | None:
        table = self._member_table()
        if not table.count([Equals("size", size)]):
            return None
        _, digest = members.member_digest(path)
        for place in table.select([Equals("size", size), Equals("digest", digest)]):
            key, _, name = place.partition("/")
            try:
                dataset = self._member(key, name)
            except (NotFoundError, CorruptError):
                continue  # The index is only an accelerator: what it says is checked on the object.
            if members.member_info(dataset, name).digest == digest:
                return dataset
        return None

    def _member_table(self) -> IndexTable:
        return self.table(layout.MEMBER_TABLE) or self.create_table(layout.MEMBER_TABLE, MEMBER_COLUMNS)

    def _forget_members(self, key: str, infos: Iterable[MemberInfo]) -> None:
        table = self.table(layout.MEMBER_TABLE)
        if table is not None:
            for info in infos:
                place = f"{key}/{info.name}"
                if info.size >= MIN_SHARED_BYTES and place in table:
                    table.remove(place)


def create_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return a new group that netCDF-4 can append to and whose attributes may be rewritten for ever.

    Links keep their creation order, which netCDF-4 asks for; attributes do not, because an object
    whose attribute creation order is tracked can create only 65,535 attributes in its life.
    """
    properties = h5p.create(h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    return h5py.Group(h5g.create(parent.id, name.encode(), gcpl=properties))


def write_text(node: h5py.HLObject, name: str, text: str) -> None:
    """Write a text attribute: scalar, fixed length, UTF-8.

    A variable-length string would leak its bytes at every rewrite.
    """
    encoded = text.encode() or b"\0"
    node.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

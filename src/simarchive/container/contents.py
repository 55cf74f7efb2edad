"""What is inside an open container: objects with their documents, arrays and members, and the index.

A `Contents` is a view of one HDF5 handle, so it is good for one read or one transaction only;
`simarchive.container.container.Container` hands it out.
"""

from __future__ import annotations

import contextlib
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
from simarchive.container import arrays, documents, layout, members
from simarchive.container.attributes import create_attribute
from simarchive.container.documents import Tree
from simarchive.container.index import IndexTable
from simarchive.errors import CorruptError, NotFoundError
from simarchive.journal import PagedFile

Progress = Callable[[int], None]

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
class StoredDocument:
    """A document as it is kept: its class, its tree, and what belongs to it."""

    data_class: str
    data_class_version: int
    tree: Tree
    has_ancillary_data: bool = False
    empty_folders: tuple[str, ...] = ()
    members: dict[str, Path] = field(default_factory=dict)  #: member name -> file to store


class Contents:
    """The objects and index tables of an open container."""

    def __init__(self, handle: h5py.File, file: PagedFile) -> None:
        self._handle = handle
        self._file = file
        self._objects = handle[layout.OBJECTS]
        self._index = handle.get(layout.INDEX)
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
        return list(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def data_classes(self) -> list[str]:
        """Return the names of the data classes that have objects, or had."""
        if self._data_classes is None:
            value = self._objects.attrs.get(layout.DATA_CLASSES)
            self._data_classes = [] if value is None else json.loads(_text(value))
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
        group = self._group(key)
        attributes = group.attrs
        try:
            return ObjectHeader(
                key=key,
                data_class=_text(attributes[layout.DATA_CLASS]),
                data_class_version=int(attributes[layout.DATA_CLASS_VERSION]),
                identity=_text(attributes[layout.IDENTITY]),
                stored_at=_text(attributes[layout.STORED_AT]),
                has_ancillary_data=bool(attributes[layout.ANCILLARY]),
                empty_folders=members.empty_folders(group),
            )
        except (KeyError, OSError, ValueError) as error:
            raise CorruptError(f"object {key!r} cannot be read: {error}") from error

    def tree(self, key: str, load: Callable[[str], np.ndarray[Any, Any]] | None = None) -> Tree:
        """Return the document of an object.

        Parameters
        ----------
        load
            Called with the name of an array when someone looks at its values; by default all arrays
            are read now.
        """
        group = self._group(key)
        try:
            text = _text(group.attrs[layout.DOCUMENT])
        except (KeyError, OSError, ValueError) as error:
            raise CorruptError(f"the document of object {key!r} cannot be read: {error}") from error

        def variable(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
            if load is None:
                return arrays.read_variable(group, name)
            return arrays.LazyArray(shape, dtype, lambda: load(name))

        try:
            return documents.decode(text, variable)
        except CorruptError as error:
            error.add_note(f"object {key!r}")
            raise

    def variable(self, key: str, name: str) -> np.ndarray[Any, Any]:
        """Return the values of one array of a document."""
        return arrays.read_variable(self._group(key), name)

    def write(self, key: str, stored: StoredDocument, *, codec: str, progress: Progress | None = None) -> str:
        """Write an object under a key, in place of what is there; return its identity digest.

        An object that replaces another keeps its place in the order of keys.
        """
        identity = documents.identity_digest(stored.data_class, stored.tree)
        if key in self._objects:
            staged = create_group(self._handle, layout.STAGING)
            try:
                infos = self._fill(staged, stored, identity, codec, progress)
            except BaseException:
                with self.in_one_piece():
                    del self._handle[layout.STAGING]
                raise
            with self.in_one_piece():
                self._exchange(key, staged)
        else:
            group = create_group(self._objects, key)
            try:
                infos = self._fill(group, stored, identity, codec, progress)
            except BaseException:
                with self.in_one_piece():
                    del self._objects[key]
                    self.freed = True
                raise
        with self.in_one_piece():
            self._note_members(key, infos)
            classes = self.data_classes()
            if stored.data_class not in classes:
                self._data_classes = [*classes, stored.data_class]
                write_text(self._objects, layout.DATA_CLASSES, json.dumps(self._data_classes))
        return identity

    def remove(self, key: str) -> None:
        """Remove an object with its arrays and members; its room is used again."""
        infos = list(members.list_members(self._group(key)))
        with self.in_one_piece():
            self._forget_members(key, infos)
            del self._objects[key]
            self.freed = True

    # --- members -----------------------------------------------------------------------------------------

    def members(self, key: str) -> list[members.MemberInfo]:
        """Return name, size, stored size, digest and codec of each member of an object."""
        return list(members.list_members(self._group(key)))

    def member_places(self, key: str) -> list[tuple[int, members.MemberInfo]]:
        """Return each member with the address of its dataset, which equal members share."""
        group = self._group(key)
        return [(members.address_of(group, info.name), info) for info in members.list_members(group)]

    def extract_member(
        self, key: str, name: str, destination: Path, progress: Progress | None = None
    ) -> None:
        """Write one member to a file, checked against its digest before it gets its name."""
        members.extract_member(self._member(key, name), self._file, destination, progress=progress)

    def member_reader(self, key: str, name: str) -> members.MemberReader:
        """Return a seekable binary file over one member, good as long as this view is."""
        return members.MemberReader(self._member(key, name), self._file)

    def verify_member(self, key: str, name: str, *, full: bool) -> tuple[members.MemberFault, ...]:
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
            self._index = create_group(self._handle, layout.INDEX)
        self._tables[name] = IndexTable.create(self._index, name, tuple(columns))
        return self._tables[name]

    def drop_table(self, name: str) -> None:
        """Remove an index table if it is there."""
        self._tables.pop(name, None)
        if self._index is not None and name in self._index:
            del self._index[name]
            self.freed = True

    def rebuild_member_table(self) -> None:
        """Make the table of members by digest anew."""
        self.drop_table(layout.MEMBER_TABLE)
        for key in self.keys():
            self._note_members(key, members.list_members(self._group(key)))

    # --- the parts of the above ----------------------------------------------------------------------

    def _group(self, key: str) -> h5py.Group:
        try:
            return self._objects[key]
        except (KeyError, ValueError) as error:
            raise NotFoundError(f"the container has no object with the key {key!r}") from error

    def _member(self, key: str, name: str) -> h5py.Dataset:
        try:
            return members.find_member(self._group(key), name)
        except NotFoundError as error:
            raise NotFoundError(
                f"object {key!r} has no member {name!r}: see list_members({key!r})"
            ) from error

    def _fill(
        self, group: h5py.Group, stored: StoredDocument, identity: str, codec: str, progress: Progress | None
    ) -> list[members.MemberInfo]:
        """Write an object into an empty group; return what is known of its members."""
        encoded = documents.encode(stored.tree, taken=stored.members)
        attributes = {
            layout.DATA_CLASS: np.array(stored.data_class.encode()),
            layout.DATA_CLASS_VERSION: np.array(stored.data_class_version, np.int64),
            layout.IDENTITY: np.array(identity.encode()),
            layout.STORED_AT: np.array(datetime.now(UTC).isoformat(timespec="seconds").encode()),
            layout.ANCILLARY: np.array(stored.has_ancillary_data, np.int8),
        }
        for name, value in attributes.items():
            create_attribute(group, name, value)
        if stored.empty_folders:
            members.keep_empty_folders(group, stored.empty_folders)
        create_attribute(group, layout.DOCUMENT, *_encoded(encoded.text))
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
        self._forget_members(key, members.list_members(group))
        for link in list(group):
            del group[link]
        for name in list(group.attrs):
            del group.attrs[name]
        for link in list(staged):
            self._handle.move(f"{staged.name}/{link}", f"{group.name}/{link}")
        for name in staged.attrs:
            attribute = staged.attrs.get_id(name)
            group.attrs.create(name, staged.attrs[name], dtype=attribute.dtype)
        del self._handle[layout.STAGING]
        self.freed = True

    def _write_member(
        self, group: h5py.Group, name: str, path: Path, codec: str, progress: Progress | None
    ) -> members.MemberInfo:
        size = members.size_of(path)
        twin = self._equal_member(path, size) if size >= MIN_SHARED_BYTES else None
        if twin is None:
            return members.store_member(group, name, path, codec=codec, progress=progress)
        members.link_member(group, name, twin)
        if progress is not None:
            progress(size)
        return members.member_info(twin, name)

    def _note_members(self, key: str, infos: Iterable[members.MemberInfo]) -> None:
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
            except NotFoundError:
                continue  # The index is only an accelerator: what it says is checked on the object.
            if members.member_info(dataset, name).digest == digest:
                return dataset
        return None

    def _member_table(self) -> IndexTable:
        return self.table(layout.MEMBER_TABLE) or self.create_table(layout.MEMBER_TABLE, MEMBER_COLUMNS)

    def _forget_members(self, key: str, infos: Iterable[members.MemberInfo]) -> None:
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
    value, dtype = _encoded(text)
    node.attrs.create(name, value, dtype=dtype)


def _encoded(text: str) -> tuple[np.ndarray[Any, Any], np.dtype[Any]]:
    """Return a text as the value and the type of an attribute."""
    encoded = text.encode() or b"\0"
    dtype = h5py.string_dtype("utf-8", len(encoded))
    return np.array(encoded, dtype), dtype


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""One object in the file: a group with attributes, arrays and members, as it is written and read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from blake3 import blake3
from h5py import h5g

from simarchive.container import arrays, documents, layout, members, nodes
from simarchive.container.documents import DeclaredVariable, Tree, VariableSource
from simarchive.container.members import StoredMember
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError

Loader = Callable[[str, str], np.ndarray[Any, Any]]
"""Called with an object's identity digest and the name of an array, when its values are used."""


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


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept: its class, its tree, and what belongs to it."""

    data_class: str
    data_class_version: int
    tree: Tree
    has_ancillary_data: bool = False
    empty_folders: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()  #: names of the members that are executable
    members: Mapping[str, Path | StoredMember] = field(default_factory=dict)  #: by name, what to store


# --- reading -----------------------------------------------------------------------------------------
# `key` is how messages name the object whose group is `node`. All raise `CorruptError` if it cannot be read.


def read_header(node: h5g.GroupID, key: str) -> ObjectHeader:
    """Return what is known of an object without reading its document."""
    try:
        return ObjectHeader(
            key=key,
            empty_folders=empty_folders(node),
            data_class=nodes.read_text(node, layout.DATA_CLASS),
            data_class_version=nodes.read_integer(node, layout.DATA_CLASS_VERSION),
            identity=nodes.read_text(node, layout.IDENTITY),
            stored_at=nodes.read_text(node, layout.STORED_AT),
            has_ancillary_data=bool(nodes.read_integer(node, layout.ANCILLARY)),
        )
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: {error}") from error


def read_text(node: h5g.GroupID, key: str, name: str) -> str:
    """Return one of the texts that every object has."""
    try:
        return nodes.read_text(node, name)
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: its {name}: {error}") from error


def read_document(node: h5g.GroupID, key: str, load: Loader | None) -> ReadDocument:
    """Return the document of an object and its class, as they were stored.

    Parameters
    ----------
    load
        Called when the values of an array are used; by default all arrays are read now.

    Raises
    ------
    CorruptError
        If something cannot be read, or does not match its digest. The values of an array that are read later
        are compared when they are read.
    """
    header = _read_proved(node, key)
    return ReadDocument(
        header.data_class,
        header.data_class_version,
        header.has_ancillary_data,
        _tree(node, key, header, load),
        header.stored_at if header.has_ancillary_data else "",
    )


def read_tree(node: h5g.GroupID, key: str, load: Loader | None) -> Tree:
    """Return the document of an object as a tree; `load` and errors as for `read_document`."""
    return _tree(node, key, _read_proved(node, key), load)


def variable_names(node: h5g.GroupID, key: str) -> frozenset[str]:
    """Return the names of the datasets that are arrays of an object's document.

    Raises
    ------
    CorruptError
        If its document cannot be read.
    """
    names = set()
    documents.decode(read_text(node, key, layout.DOCUMENT), lambda declared: names.add(declared.name))
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class _Header:
    """The attributes of an object that its digest covers."""

    data_class: str
    data_class_version: int
    identity: str
    stored_at: str
    has_ancillary_data: bool
    text: str  #: the document
    is_proved: bool  #: False for one of an early version, which has no digest


def _read_proved(node: h5g.GroupID, key: str) -> _Header:
    try:
        digest = nodes.find_text(node, layout.OBJECT_DIGEST)
        data_class = nodes.read_text(node, layout.DATA_CLASS)
        version = nodes.read_integer(node, layout.DATA_CLASS_VERSION)
        ancillary = nodes.read_integer(node, layout.ANCILLARY)
        identity = nodes.read_text(node, layout.IDENTITY)
        stored_at = nodes.find_text(node, layout.STORED_AT) or ""
        text = nodes.read_text(node, layout.DOCUMENT)
        if digest is not None:
            has_folders = nodes.has_attribute(node, layout.MEMBER_EMPTY_FOLDERS)
            folders = nodes.read_text(node, layout.MEMBER_EMPTY_FOLDERS) if has_folders else ""
            has_executables = ancillary and nodes.has_attribute(node, layout.MEMBER_EXECUTABLES)
            executables = [nodes.read_text(node, layout.MEMBER_EXECUTABLES)] if has_executables else []
            found = _digest(data_class, version, identity, stored_at, ancillary, folders, text, *executables)
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: {error}") from error
    if digest is not None and found != digest:
        raise CorruptError(
            f"object {key!r} is not what was stored: its document and attributes do not match their digest;"
            f" {arrays.REMEDY}"
        )
    return _Header(data_class, version, identity, stored_at, bool(ancillary), text, digest is not None)


def _digest(*parts: str | int) -> str:
    return blake3("\0".join(map(str, parts)).encode()).hexdigest()


def _tree(node: h5g.GroupID, key: str, header: _Header, load: Loader | None) -> Tree:
    late = load is not None

    def now(declared: DeclaredVariable) -> np.ndarray[Any, Any]:
        return arrays.proved(arrays.read_variable(node, declared.name), declared, key)

    def later(declared: DeclaredVariable) -> arrays.LazyArray:
        assert load is not None
        name, identity = declared.name, header.identity
        return arrays.LazyArray(
            declared.shape, declared.dtype, lambda: arrays.proved(load(identity, name), declared, key)
        )

    try:
        if header.is_proved:
            return documents.decode(header.text, later if late else now)
        return _tree_without_digests(node, key, header, load, now)
    except CorruptError as error:
        error.add_note(f"object {key!r}")
        raise


def _tree_without_digests(
    node: h5g.GroupID, key: str, header: _Header, load: Loader | None, now: VariableSource
) -> Tree:
    """Return the document of an early version: only the identity digest of all of it says what was stored."""
    if load is None or layout.TAG_VARIABLE not in header.text:
        tree = documents.decode(header.text, now)
        _check_identity(key, header, tree)
        return tree
    unproved = _Unproved(key, header, load)

    def later(declared: DeclaredVariable) -> arrays.LazyArray:
        arrays.check_declared(node, declared, key)
        return arrays.LazyArray(declared.shape, declared.dtype, lambda: unproved.values(declared.name))

    return documents.decode(header.text, later)


class _Unproved:
    """The arrays of a document of an early version: all are loaded and proved when one is wanted."""

    def __init__(self, key: str, header: _Header, load: Loader) -> None:
        self._key, self._header, self._load = key, header, load
        self._found: dict[str, np.ndarray[Any, Any]] | None = None

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """Return the values of one array."""
        if self._found is None:
            found: dict[str, np.ndarray[Any, Any]] = {}

            def loaded(declared: DeclaredVariable) -> np.ndarray[Any, Any]:
                values = self._load(self._header.identity, declared.name)
                found[declared.name] = arrays.proved(values, declared, self._key)
                return values

            _check_identity(self._key, self._header, documents.decode(self._header.text, loaded))
            self._found = found
        return self._found[name]


def _check_identity(key: str, header: _Header, tree: Tree) -> None:
    try:
        matches = documents.identity_digest(header.data_class, tree) == header.identity
    except (InvalidDataError, RecursionError, ValueError, TypeError) as error:
        raise CorruptError(f"the document of object {key!r} cannot be read: {error}") from error
    if not matches:
        raise CorruptError(
            f"object {key!r} is not what was stored: its document or one of its arrays does not match the"
            f" identity digest; {arrays.REMEDY}"
        )


def empty_folders(node: h5g.GroupID) -> tuple[str, ...]:
    """Return the folders of an object that hold no file."""
    if not nodes.has_attribute(node, layout.MEMBER_EMPTY_FOLDERS):
        return ()
    return members.empty_folders(h5py.Group(node))


def can_be_taken_apart(node: h5g.GroupID) -> bool:
    """Return whether HDF5 can remove an object: it reads whatever describes the parts to free their space."""
    try:
        _touch(node, _ATTRIBUTES)
        links = list(h5py.Group(node))
    except _HDF5_FAILURES:
        return False
    return all(part_can_be_read(node, link) for link in links)


def part_can_be_read(node: h5g.GroupID, link: str) -> bool:
    """Return whether HDF5 can read all that describes a dataset of an object."""
    try:
        dataset = nodes.open_dataset(node, link)
        if dataset is not None:
            _touch(dataset, _MEMBER_ATTRIBUTES)
            if h5py.Dataset(dataset).chunks is not None:
                nodes.visit_chunks(dataset, lambda _: None)
    except _HDF5_FAILURES:
        return False
    return True


_ATTRIBUTES = (layout.DOCUMENT, layout.MEMBER_EMPTY_FOLDERS, layout.MEMBER_EXECUTABLES)
_MEMBER_ATTRIBUTES = (layout.MEMBER_CHUNK_CRC32,)
_HDF5_FAILURES = (KeyError, OSError, RuntimeError)


def _touch(node: nodes.Node, names: Iterable[str]) -> None:
    """Have HDF5 read attributes, whatever they hold, if they are there."""
    for name in names:
        if nodes.has_attribute(node, name):
            with contextlib.suppress(TypeError, ValueError):  # Not as we write it, which does not matter.
                if name in _ATTRIBUTES:
                    nodes.read_text(node, name)
                else:
                    nodes.read_numbers(node, name)


# --- writing -----------------------------------------------------------------------------------------


def write_object(
    group: h5py.Group, stored: StoredDocument, identity: str, dimensions: dict[int, int]
) -> None:
    """Write all but the members of an object into an empty group.

    Parameters
    ----------
    dimensions
        As for `arrays.write_variable`.
    """
    encoded = documents.encode(stored.tree, taken=stored.members)
    # So fine that it tells apart what was stored under one key, one after the other (`Contents.stored_at`).
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    node = group.id
    nodes.create_text(node, layout.DATA_CLASS, stored.data_class, is_ascii=True)
    nodes.create_integer(node, layout.DATA_CLASS_VERSION, stored.data_class_version, "<i8")
    nodes.create_text(node, layout.IDENTITY, identity, is_ascii=True)
    nodes.create_text(node, layout.STORED_AT, now, is_ascii=True)
    nodes.create_integer(node, layout.ANCILLARY, int(stored.has_ancillary_data), "|i1")
    folders = members.keep_empty_folders(group, stored.empty_folders) if stored.empty_folders else ""
    executables = members.keep_executables(group, {*stored.executables} & {*stored.members})
    nodes.create_text(node, layout.DOCUMENT, encoded.text)
    digest = _digest(
        stored.data_class,
        stored.data_class_version,
        identity,
        now,
        int(stored.has_ancillary_data),
        folders,
        encoded.text,
        *([executables] if executables else []),
    )
    nodes.create_text(node, layout.OBJECT_DIGEST, digest, is_ascii=True)
    for name, variable in encoded.variables.items():
        arrays.write_variable(group, name, variable, dimensions)


def replace_content(group: h5py.Group, staged: h5py.Group) -> None:
    """Move all that is in `staged` into `group`, in place of what was there.

    A new link would be the last in the order, so the group stays and all in it is replaced.
    """
    for link in list(group):
        nodes.unlink(group.id, link)
    for link in list(staged):
        group.file.move(f"{staged.name}/{link}", f"{group.name}/{link}")
    nodes.replace_attributes(staged, group)

"""One object in the file: a group with attributes, arrays and members, as it is written and read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5g

from simarchive.container import arrays, documents, layout, members, nodes
from simarchive.container.documents import Tree
from simarchive.container.members import StoredMember
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError

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
    """Return the document of an object and its class; `load` as for `read_tree`."""
    try:
        name = nodes.read_text(node, layout.DATA_CLASS)
        version = nodes.read_integer(node, layout.DATA_CLASS_VERSION)
        has_ancillary_data = bool(nodes.read_integer(node, layout.ANCILLARY))
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: {error}") from error
    stored_at = ""
    if has_ancillary_data:
        with contextlib.suppress(CorruptError):  # It matters when someone asks for the files.
            stored_at = read_text(node, key, layout.STORED_AT)
    return ReadDocument(name, version, has_ancillary_data, read_tree(node, key, load), stored_at)


def read_tree(node: h5g.GroupID, key: str, load: Loader | None) -> Tree:
    """Return the document of an object as a tree.

    Parameters
    ----------
    load
        Called when the values of an array are used; by default all arrays are read now.
    """
    text = read_text(node, key, layout.DOCUMENT)

    def variable(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        if load is None:
            return arrays.read_variable(node, name)
        identity = read_text(node, key, layout.IDENTITY)
        return arrays.LazyArray(shape, dtype, lambda: load(identity, name))

    try:
        return documents.decode(text, variable)
    except CorruptError as error:
        error.add_note(f"object {key!r}")
        raise


def empty_folders(node: h5g.GroupID) -> tuple[str, ...]:
    """Return the folders of an object that hold no file."""
    if not nodes.has_attribute(node, layout.MEMBER_EMPTY_FOLDERS):
        return ()
    return members.empty_folders(h5py.Group(node))


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
    if stored.empty_folders:
        members.keep_empty_folders(group, stored.empty_folders)
    nodes.create_text(node, layout.DOCUMENT, encoded.text)
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

"""What an object becomes in the file: one group with attributes, arrays and members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import h5py

from simarchive.container import arrays, documents, layout, members, node_attributes
from simarchive.container.documents import Tree
from simarchive.container.links import unlink
from simarchive.container.members import StoredMember


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept: its class, its tree, and what belongs to it."""

    data_class: str
    data_class_version: int
    tree: Tree
    has_ancillary_data: bool = False
    empty_folders: tuple[str, ...] = ()
    members: Mapping[str, Path | StoredMember] = field(default_factory=dict)  #: by name, what to store


def fill(group: h5py.Group, stored: StoredDocument, identity: str, dimensions: dict[int, int]) -> None:
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
    node_attributes.create_text(node, layout.DATA_CLASS, stored.data_class, is_ascii=True)
    node_attributes.create_integer(node, layout.DATA_CLASS_VERSION, stored.data_class_version, size_bytes=8)
    node_attributes.create_text(node, layout.IDENTITY, identity, is_ascii=True)
    node_attributes.create_text(node, layout.STORED_AT, now, is_ascii=True)
    node_attributes.create_integer(node, layout.ANCILLARY, int(stored.has_ancillary_data), size_bytes=1)
    if stored.empty_folders:
        members.keep_empty_folders(group, stored.empty_folders)
    node_attributes.create_text(node, layout.DOCUMENT, encoded.text)
    for name, variable in encoded.variables.items():
        arrays.write_variable(group, name, variable, dimensions)


def exchange(group: h5py.Group, staged: h5py.Group) -> None:
    """Move all that is in `staged` into `group`, in place of what was there.

    A new link would be the last in the order, so the group stays and all in it is exchanged. Its
    attributes must all be gone before the first new one comes: in a reopened file, HDF5 2.0 cannot close
    (or crashes) when some of more than eight were removed and others created.
    """
    for link in list(group):
        unlink(group.id, link)
    for name in list(group.attrs):
        del group.attrs[name]
    for link in list(staged):
        group.file.move(f"{staged.name}/{link}", f"{group.name}/{link}")
    for name in staged.attrs:
        attribute = staged.attrs.get_id(name)
        group.attrs.create(name, staged.attrs[name], dtype=attribute.dtype)

"""What stands in the group of an object, link by link: one that cannot be read hides none of the others."""

from __future__ import annotations

import functools
import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5l

from simarchive.container import documents, layout, members, nodes
from simarchive.container.arrays import LazyArray, is_scale, proved
from simarchive.container.contents import Contents
from simarchive.container.documents import DeclaredVariable
from simarchive.container.members import MemberInfo
from simarchive.container.members.names import member_name
from simarchive.container.nodes import UNREADABLE
from simarchive.container.objects import read_text_of_document
from simarchive.errors import CorruptError, StorageError


class LinkKind(Enum):
    """What a link of an object's group leads to."""

    MEMBER = "a file"
    ARRAY = "a dataset that is no file"
    DIMENSION = "a dimension of arrays"
    OTHER = "something that is neither a file nor an array"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Link:
    """One link of an object's group, or of the group of its members.

    Attributes
    ----------
    name
        The name of the member; of anything else the name of the link.
    info
        Of a member.
    fault
        Why it cannot be read.
    is_in_place
        Whether it stands in the group of members.
    """

    link: str
    name: str
    kind: LinkKind
    info: MemberInfo | None = None
    fault: str = ""
    is_in_place: bool = False

    def is_one_of(self, arrays: Container[str]) -> bool:
        """Return whether it is one of the arrays of the object, by its name."""
        return not self.is_in_place and self.link in arrays


def survey(contents: Contents, key: str) -> list[Link]:
    """Return what stands in the group of an object, in its order.

    Raises
    ------
    NotFoundError
        If there is no such object.
    CorruptError
        If its links cannot be listed.
    """
    group = h5py.Group(contents.node(key))
    try:
        links = list(group)
    except UNREADABLE as error:
        raise CorruptError(f"what stands in object {key!r} cannot be listed: {error}") from error
    try:
        own = nodes.find_group(group.id, layout.MEMBERS)
        links_in_place = [] if own is None else nodes.child_names(own)
    except UNREADABLE as error:
        fault = f"the group of its files: {error}"
        found = [_look_at(group, link) for link in links if link != layout.MEMBERS]
        return [*found, Link(layout.MEMBERS, layout.MEMBERS, LinkKind.UNREADABLE, None, fault, True)]
    if own is None:
        return [_look_at(group, link, is_early=True) for link in links]
    found = [_look_at(group, link) for link in links if link != layout.MEMBERS]
    place = h5py.Group(own)
    return found + [_look_at(place, link, is_in_place=True) for link in links_in_place]


def document_text(contents: Contents, key: str) -> str:
    """Return the document of an object as it is written, whatever it says.

    Raises
    ------
    CorruptError
        If it cannot be read.
    """
    return read_text_of_document(contents.node(key), key)


def declared_arrays(contents: Contents, key: str) -> list[DeclaredVariable]:
    """Return the arrays that the document of an object names.

    Raises
    ------
    CorruptError
        If it cannot be read.
    """
    found: list[DeclaredVariable] = []

    def note(declared: DeclaredVariable) -> Any:
        found.append(declared)
        return LazyArray(declared.shape, declared.dtype, lambda: np.zeros(0))

    documents.decode(document_text(contents, key), note)
    return found


def array_fault(contents: Contents, key: str, declared: DeclaredVariable) -> str | None:
    """Return how the dataset of an array differs from what its document says; ``None`` if it does not."""
    try:
        node = nodes.open_dataset(contents.node(key), declared.name)
        if node is None:
            return "the document names it, but what has its name is no dataset"
        dataset = h5py.Dataset(node)
        shape, dtype = dataset.shape, dataset.dtype
    except KeyError:
        return "the document names it, but it is missing"
    except (*UNREADABLE, StorageError) as error:
        return f"it cannot be read: {error}"
    if (shape, dtype) != (declared.shape, declared.dtype):
        return f"the document says {declared.shape} of {declared.dtype}, and it is {shape} of {dtype}"
    return None


def check_array(contents: Contents, key: str, declared: DeclaredVariable) -> None:
    """Read an array of a document, and compare it with what the document says of it.

    Raises
    ------
    CorruptError
        If it cannot be read, or is another one.
    """
    proved(contents.variable(key, declared.name), declared, key)


def lost_members(contents: Contents, key: str) -> tuple[str, ...]:
    """Return the names of members that are noted as lost."""
    try:
        return tuple(members.lost_members(h5py.Group(contents.node(key))))
    except (*UNREADABLE, StorageError):
        return ()


def note_lost_members(contents: Contents, key: str, names: Iterable[str]) -> None:
    """Note with an object which members were lost."""
    nodes.write_text(contents.node(key), layout.LOST_MEMBERS, json.dumps(sorted(names)), is_ascii=True)


def names_set_aside(contents: Contents) -> list[str]:
    """Return the names of what `repair` set aside."""
    try:
        return nodes.child_names(nodes.open_group(contents.root.id, layout.SET_ASIDE))
    except UNREADABLE:
        return []


def root_faults(contents: Contents) -> Iterator[str]:
    """Yield in words what is wrong beside the objects and the index: in the root and its dimensions."""
    root = contents.root
    try:
        links = nodes.child_names(root.id)
        nodes.check_attributes(root.id)
    except (*UNREADABLE, SystemError) as error:
        yield f"the root of the file cannot be read: {error}"
        return
    if layout.STAGING in links:
        yield f"/{layout.STAGING} is left of a transaction that was never committed"
    for link in links:
        if link.startswith(layout.DIMENSION_PREFIX):
            try:
                nodes.check_attributes(nodes.open_dataset(root.id, link))
            except (*UNREADABLE, SystemError) as error:
                yield f"the dimension {link!r} cannot be read, which netCDF programs need: {error}"
    try:
        list(contents.data_classes())
    except (*UNREADABLE, StorageError) as error:
        yield f"the list of data classes cannot be read: {error}"


def _look_at(group: h5py.Group, link: str, *, is_early: bool = False, is_in_place: bool = False) -> Link:
    """Look at a link of an object, or of the group of its members.

    Parameters
    ----------
    is_early
        Whether members may stand beside arrays.
    is_in_place
        Whether `group` is that of the members.
    """
    found = functools.partial(Link, link, is_in_place=is_in_place)
    try:
        kind = group.id.links.get_info(link.encode("utf-8", "surrogateescape")).type
        if kind != h5l.TYPE_HARD:
            return found(link, LinkKind.OTHER, fault="it is a link to another place")
        node = nodes.open_dataset(group.id, link)
        if not isinstance(node, h5d.DatasetID):
            return found(link, LinkKind.OTHER, fault="it is no dataset")
        dataset = h5py.Dataset(node)
        if not members.is_member(dataset):
            if is_in_place:
                return found(link, LinkKind.OTHER, fault="it is no file")
            return found(link, LinkKind.DIMENSION if is_scale(node) else LinkKind.ARRAY)
        if not is_early and not is_in_place:
            return found(link, LinkKind.OTHER, fault="it is a file that is not among the others")
        name = member_name(group, link)
        return found(name, LinkKind.MEMBER, members.member_info(dataset, name))
    except (*UNREADABLE, StorageError) as error:
        return found(_name_if_readable(group, link), LinkKind.UNREADABLE, fault=str(error))


def _name_if_readable(group: h5py.Group, link: str) -> str:
    try:
        return member_name(group, link)
    except (*UNREADABLE, StorageError):
        return link

"""The members of one object, and its folders that hold none.

`group` is the group of the object. Its members stand in a group of their own, so that its arrays stand alone;
those of early versions stand beside the arrays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator

import h5py

from simarchive.container import nodes
from simarchive.container.layout import (
    LOST_MEMBERS,
    MEMBER_CODEC,
    MEMBER_DESCRIPTION_DIGEST,
    MEMBER_DIGEST,
    MEMBER_EMPTY_FOLDERS,
    MEMBER_EXECUTABLES,
    MEMBER_SIZE,
    MEMBER_TIMES,
    MEMBERS,
)
from simarchive.container.members.names import link_name, member_name
from simarchive.container.members.table import MemberInfo, is_member
from simarchive.container.members.times import read_times
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError, NotFoundError
from simarchive.ground import json_text
from simarchive.ground.keys import check_member_name

LOGGER = logging.getLogger("simarchive")

Arrays = Callable[[], frozenset[str]]
"""Gives the links of an object that are arrays of its document.

Called only if something is damaged that stands beside the arrays.
"""


def place_of_members(group: h5py.Group) -> h5py.Group:
    """Return the group in which the members of the object `group` stand: that itself in early objects."""
    own = nodes.find_group(group.id, MEMBERS)
    return group if own is None else h5py.Group(own)


def has_own_place(group: h5py.Group) -> bool:
    """Return whether the members of the object `group` stand in a group of their own."""
    return nodes.find_group(group.id, MEMBERS) is not None


def place_for_members(group: h5py.Group) -> h5py.Group:
    """Return where a new member of the object `group` has to stand, which is created if it has none yet."""
    own = nodes.find_group(group.id, MEMBERS)
    if own is not None:
        return h5py.Group(own)
    is_taken = nodes.link_exists(group.id, MEMBERS)  # by an array, or a member of that name
    if is_taken or any(is_member(group[link]) for link in nodes.child_names(group.id)):
        return group
    return create_place(group)


def create_place(group: h5py.Group) -> h5py.Group:
    """Return a new group for the members of the object `group`, which has none yet."""
    return h5py.Group(nodes.create_small_group(group.id, MEMBERS))


def list_members(group: h5py.Group, arrays: Arrays = frozenset) -> Iterator[MemberInfo]:
    """Yield what is known about each member of `group`, in their order.

    One whose description cannot be read has a `fault`, and costs no other.
    """
    for _, info in list_datasets(group, arrays):
        yield info


def list_nodes(group: h5py.Group, arrays: Arrays = frozenset) -> Iterator[tuple[int, int, MemberInfo]]:
    """Yield the address of each member's dataset, how many names that has, and the member.

    Address and number are 0 for one with a `fault`.
    """
    for dataset, info in list_datasets(group, arrays):
        address, n_names = (0, 0) if dataset is None else nodes.address_and_names(dataset.id)
        yield address, n_names, info


def listed_digests(group: h5py.Group) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of each member of `group`, and nothing else that is known of it.

    One whose digest cannot be read has an empty one.
    """
    place = place_of_members(group)
    for link in nodes.child_names(place.id):
        try:
            dataset = _dataset(place, link)
            if dataset is not None:
                yield member_name(place, link), nodes.read_text(dataset.id, MEMBER_DIGEST)
        except (*UNREADABLE, CorruptError):
            yield _name_or_link(place, link), ""


def listed_names(group: h5py.Group) -> list[str]:
    """Return the names that members of `group` have, in their order, without opening any.

    The arrays of an early object are among them: which is a member, only `find_member` can say.
    """
    place = place_of_members(group)
    return [_name_or_link(place, link) for link in nodes.child_names(place.id)] + lost_members(group)


def lost_members(group: h5py.Group) -> list[str]:
    """Return the names of the members that could not be taken along into this copy of the container."""
    text = nodes.find_text(group.id, LOST_MEMBERS) if nodes.has_attribute(group.id, LOST_MEMBERS) else None
    return [] if text is None else _texts(text)


def list_datasets(
    group: h5py.Group, arrays: Arrays = frozenset
) -> Iterator[tuple[h5py.Dataset | None, MemberInfo]]:
    """Yield the dataset of each member, ``None`` for one with a `fault`, and the member."""
    place = place_of_members(group)
    for link in nodes.child_names(place.id):
        try:
            dataset = _dataset(place, link)
            if dataset is None:
                continue
            found = dataset, member_info(dataset, member_name(place, link))
        except (*UNREADABLE, CorruptError) as error:
            if place is not group or link not in arrays():
                yield None, faulty(_name_or_link(place, link), str(error))
        else:
            yield found
    for name in lost_members(group):
        yield None, faulty(name, "it could not be read when the container was repacked")


def faulty(name: str, reason: str) -> MemberInfo:
    """Return what is known about a member whose description cannot be read."""
    return MemberInfo(name, 0, 0, "", "", reason or "it cannot be read")


def _name_or_link(group: h5py.Group, link: str) -> str:
    try:
        return member_name(group, link)
    except (*UNREADABLE, CorruptError):
        return link


def _dataset(group: h5py.Group, link: str) -> h5py.Dataset | None:
    """Return the member that stands under a link, if it is one."""
    node = nodes.open_dataset(group.id, link)
    if node is None:
        return None
    dataset = h5py.Dataset(node)
    return dataset if is_member(dataset) else None


def member_info(dataset: h5py.Dataset, name: str) -> MemberInfo:
    """Return what is known about the member that `dataset` holds under `name`."""
    node = dataset.id
    return MemberInfo(
        name,
        nodes.read_integer(node, MEMBER_SIZE),
        nodes.stored_bytes(node),
        nodes.read_text(node, MEMBER_DIGEST),
        nodes.read_text(node, MEMBER_CODEC),
    )


def find_member(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset of a member.

    Raises
    ------
    NotFoundError
        If `group` has no member of this name.
    """
    link, place = link_name(name), place_of_members(group)
    dataset = _dataset(place, link) if nodes.link_exists(place.id, link) else None
    if dataset is None:
        raise NotFoundError(f"{group.name} has no member {name!r}")
    return dataset


def has_link(group: h5py.Group, name: str) -> bool:
    """Return whether anything stands where a member of this name would."""
    return nodes.link_exists(place_of_members(group).id, link_name(name))


def has_proof(group: h5py.Group, name: str) -> bool:
    """Return whether what a member of `group` says of itself can be compared with a digest."""
    return nodes.has_attribute(find_member(group, name).id, MEMBER_DESCRIPTION_DIGEST)


def listed_names_without(group: h5py.Group, arrays: frozenset[str]) -> list[str]:
    """Return the names of the members of `group`, given the links that are arrays; none is opened."""
    place = place_of_members(group)
    but = arrays if place is group else frozenset()
    return [_name_or_link(place, link) for link in nodes.child_names(place.id) if link not in but]


def keep_empty_folders(group: h5py.Group, folders: Iterable[str]) -> None:
    """Record in `group` the folders that hold no files, replacing those recorded before."""
    names = sorted(check_member_name(folder) for folder in folders)
    if names:
        nodes.write_text(group.id, MEMBER_EMPTY_FOLDERS, json.dumps(names), is_ascii=True)
    else:
        nodes.delete_attribute(group.id, MEMBER_EMPTY_FOLDERS)


def empty_folders(group: h5py.Group) -> tuple[str, ...]:
    """Return the folders that `keep_empty_folders` recorded; none if that cannot be read."""
    return _kept_names(group, MEMBER_EMPTY_FOLDERS)


def keep_executables(group: h5py.Group, names: Iterable[str]) -> None:
    """Record in a new `group` the members that are executable."""
    chosen = sorted(names)
    if chosen:
        nodes.create_text(group.id, MEMBER_EXECUTABLES, json.dumps(chosen), is_ascii=True)


def executables(group: h5py.Group) -> frozenset[str]:
    """Return the members that `keep_executables` recorded; none if that cannot be read."""
    return frozenset(_kept_names(group, MEMBER_EXECUTABLES))


def faults_of_lists(group: h5py.Group) -> dict[str, str]:
    """Return what is wrong with the lists of empty folders, executables and times, by attribute."""
    faults = {}
    for attribute in (MEMBER_EMPTY_FOLDERS, MEMBER_EXECUTABLES):
        try:
            _names(group, attribute)
        except CorruptError as error:
            faults[attribute] = str(error)
    try:
        read_times(group)
    except CorruptError as error:
        faults[MEMBER_TIMES] = str(error)
    return faults


def _kept_names(group: h5py.Group, attribute: str) -> tuple[str, ...]:
    try:
        return _names(group, attribute)
    except CorruptError as error:
        # The files are worth more than their permissions and the folders beside them.
        LOGGER.warning("%s: %s", group.name, error)
        return ()


def _names(group: h5py.Group, attribute: str) -> tuple[str, ...]:
    try:
        if not nodes.has_attribute(group.id, attribute):
            return ()
        names = _texts(nodes.read_text(group.id, attribute))
        return tuple(check_member_name(name) for name in names)
    except (*UNREADABLE, InvalidDataError) as error:
        raise CorruptError(f"its attribute {attribute!r} cannot be read: {error}") from error


def _texts(text: str) -> list[str]:
    names = json_text.parse(text)
    if not isinstance(names, list):
        raise TypeError("they are not a list")
    return names

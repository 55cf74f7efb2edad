"""The members of one object, and its folders that hold none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import h5py

from simarchive.container import nodes
from simarchive.container.layout import MEMBER_CODEC, MEMBER_DIGEST, MEMBER_EMPTY_FOLDERS, MEMBER_SIZE
from simarchive.container.members.names import link_name, member_name
from simarchive.container.members.table import MemberInfo, is_member
from simarchive.errors import CorruptError, NotFoundError
from simarchive.ground import json_text
from simarchive.ground.keys import check_member_name


def list_members(group: h5py.Group) -> Iterator[MemberInfo]:
    """Yield what is known about each member of `group`, in the group's order."""
    for name, dataset in _datasets(group):
        yield member_info(dataset, name)


def list_nodes(group: h5py.Group) -> Iterator[tuple[int, int, MemberInfo]]:
    """Yield the address of each member's dataset, how many names that has, and the member."""
    for name, dataset in _datasets(group):
        address, n_names = nodes.address_and_names(dataset.id)
        yield address, n_names, member_info(dataset, name)


def listed_names(group: h5py.Group) -> list[str]:
    """Return the names that members of `group` have, in the group's order, without opening any.

    The arrays of the object are among them: which of the names is a member, only `find_member` can say.
    """
    return [member_name(group, link) for link in nodes.child_names(group.id)]


def _datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    for link in nodes.child_names(group.id):
        dataset = _dataset(group, link)
        if dataset is not None:
            yield member_name(group, link), dataset


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
    link = link_name(name)
    dataset = _dataset(group, link) if nodes.link_exists(group.id, link) else None
    if dataset is None:
        raise NotFoundError(f"{group.name} has no member {name!r}")
    return dataset


def keep_empty_folders(group: h5py.Group, folders: Iterable[str]) -> None:
    """Record in `group` the folders that hold no files, replacing those recorded before."""
    names = sorted(check_member_name(folder) for folder in folders)
    if names:
        nodes.write_text(group.id, MEMBER_EMPTY_FOLDERS, json.dumps(names), is_ascii=True)
    else:
        nodes.delete_attribute(group.id, MEMBER_EMPTY_FOLDERS)


def empty_folders(group: h5py.Group) -> tuple[str, ...]:
    """Return the folders that `keep_empty_folders` recorded.

    Raises
    ------
    CorruptError
        If they cannot be read.
    """
    try:
        text = nodes.find_text(group.id, MEMBER_EMPTY_FOLDERS)
        return () if text is None else tuple(check_member_name(name) for name in _texts(text))
    except nodes.UNREADABLE as error:
        raise CorruptError(f"the empty folders of {group.name} cannot be read: {error}") from error


def _texts(text: str) -> list[str]:
    names = json_text.parse(text)
    if not isinstance(names, list):
        raise TypeError("they are not a list")
    return names

"""The members of one object: which there are, and the folders that hold none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import h5py
import numpy as np

from simarchive.container.layout import MEMBER_CODEC, MEMBER_DIGEST, MEMBER_EMPTY_FOLDERS, MEMBER_SIZE
from simarchive.container.members.names import link_name, member_name
from simarchive.container.members.table import MemberInfo, is_member, text_attribute
from simarchive.errors import CorruptError, NotFoundError
from simarchive.keys import check_member_name


def list_members(group: h5py.Group) -> Iterator[MemberInfo]:
    """Yield what is known about each member of `group`, in the group's order."""
    for link in group:
        if group.get(link, getclass=True) is h5py.Dataset and is_member(dataset := group[link]):
            yield member_info(dataset, member_name(group, link))


def member_info(dataset: h5py.Dataset, name: str) -> MemberInfo:
    """Return what is known about the member that `dataset` holds under `name`."""
    return MemberInfo(
        name,
        int(dataset.attrs[MEMBER_SIZE]),
        dataset.id.get_storage_size(),
        text_attribute(dataset, MEMBER_DIGEST),
        text_attribute(dataset, MEMBER_CODEC),
    )


def find_member(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset of a member.

    Raises
    ------
    NotFoundError
        If `group` has no member of this name.
    """
    dataset = group.get(link_name(name))
    if dataset is None or not is_member(dataset):
        raise NotFoundError(f"{group.name} has no member {name!r}")
    return dataset


def address_of(group: h5py.Group, name: str) -> int:
    """Return the address of a member's dataset: equal for two names of one dataset."""
    return int(h5py.h5o.get_info(find_member(group, name).id).addr)


def link_count(group: h5py.Group, name: str) -> int:
    """Return how many names a member's dataset has, in all objects together."""
    return int(h5py.h5o.get_info(find_member(group, name).id).rc)


def keep_empty_folders(group: h5py.Group, folders: Iterable[str]) -> None:
    """Note in `group` the folders that hold no files, in place of those noted before."""
    names = sorted(check_member_name(folder) for folder in folders)
    group.attrs.pop(MEMBER_EMPTY_FOLDERS, None)
    if names:
        text = json.dumps(names).encode()
        group.attrs.create(MEMBER_EMPTY_FOLDERS, np.bytes_(text))


def empty_folders(group: h5py.Group) -> tuple[str, ...]:
    """Return the folders that `keep_empty_folders` noted.

    Raises
    ------
    CorruptError
        If they cannot be read.
    """
    text = group.attrs.get(MEMBER_EMPTY_FOLDERS)
    if text is None:
        return ()
    try:
        return tuple(check_member_name(name) for name in json.loads(text))
    except (ValueError, TypeError) as error:
        raise CorruptError(f"the empty folders of {group.name} cannot be read: {error}") from error

"""What has to be moved to copy an object: the bytes of its files and arrays, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import h5py
from h5py import h5d

from simarchive.container import members, nodes
from simarchive.container.contents import Contents
from simarchive.container.members import MemberInfo
from simarchive.errors import StorageError
from simarchive.remote.fetching import Range


@dataclass(frozen=True, slots=True)
class Part:
    """A file or an array of an object.

    Attributes
    ----------
    address
        Of its dataset: equal for all names that it has.
    ranges
        Where its bytes lie: offset and size.
    file
        What is known of a file; ``None`` for an array.
    """

    address: int
    ranges: tuple[Range, ...]
    file: MemberInfo | None = None

    @property
    def n_bytes(self) -> int:
        """How many bytes are stored."""
        return sum(size for _, size in self.ranges)


def parts_of(contents: Contents, key: str) -> Iterator[Part]:
    """Yield the files and arrays of an object, as far as their descriptions can be read.

    Whoever copies the others finds out what is wrong with them.

    Raises
    ------
    NotFoundError
        If there is no such object.
    CorruptError
        If it cannot be read.
    """
    group = h5py.Group(contents.node(key))
    place = members.place_of_members(group)
    for parent in (group,) if place is group else (group, place):
        try:
            links = nodes.child_names(parent.id)
        except nodes.UNREADABLE:
            continue
        for link in links:
            try:
                dataset = nodes.open_dataset(parent.id, link)
                if dataset is not None:
                    yield _part(parent, link, dataset)
            except (*nodes.UNREADABLE, StorageError) as error:
                if nodes.error_of_system(error):
                    raise
                continue


def _part(parent: h5py.Group, link: str, dataset: h5d.DatasetID) -> Part:
    address, _ = nodes.address_and_names(dataset)
    opened = h5py.Dataset(dataset)
    if members.is_member(opened):
        info = members.member_info(opened, members.member_name(parent, link))
        return Part(address, tuple(members.read_table(opened).ranges()), info)
    return Part(address, tuple(nodes.stored_ranges(dataset)))

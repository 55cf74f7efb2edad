"""A compact copy of a container: the same objects, without the space that others left."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator

import h5py
from h5py import h5g

from simarchive.container import arrays, layout, members, metadata, nodes, objects
from simarchive.container.documents import Variable
from simarchive.errors import CorruptError
from simarchive.ground import attention

LOGGER = logging.getLogger("simarchive")


def copy_objects(
    source: h5py.File, target: h5py.File, keys: Iterable[str], *, members_last: bool = False
) -> int:
    """Copy everything but the index from one open container into an empty one; return the number of objects.

    Chunks of members are copied as they are stored, and members that are one dataset under several
    names stay one. Objects keep their order.

    Parameters
    ----------
    members_last
        Whether the members of all objects come behind all else, so that what describes objects lies together.

    Raises
    ------
    CorruptError
        If an object cannot be read. `repair` sets such objects aside.
    """
    metadata.copy_attributes(source, target)
    objects = target[layout.OBJECTS]
    nodes.replace_attributes(h5py.Group(nodes.open_group(source.id, layout.OBJECTS)), objects)
    # Whatever HDF5 could not even move is not in the copy.
    nodes.delete_attribute(objects.id, layout.LOST_LINKS)
    copied: dict[int, h5py.Dataset] = {}
    dimensions: dict[int, int] = {}
    count = 0
    later: dict[str, list[str]] = {}
    for key in keys:
        attention.note(key)
        with _naming(key):
            group = h5py.Group(nodes.create_group(objects.id, key))
            node = nodes.open_group(nodes.open_group(source.id, layout.OBJECTS), key)
            nodes.replace_attributes(h5py.Group(node), group)
            links = nodes.child_names(node)
            if members_last:
                later[key] = [link for link in links if _is_member(node, link)]
                links = [link for link in links if link not in later[key]]
            _copy_parts(node, group, key, links, copied, dimensions)
        count += 1
    for key, links in later.items():
        attention.note(key)
        with _naming(key):
            group = h5py.Group(nodes.open_group(objects.id, key))
            node = nodes.open_group(nodes.open_group(source.id, layout.OBJECTS), key)
            _copy_parts(node, group, key, links, copied, dimensions)
    if nodes.link_exists(source.id, layout.SET_ASIDE):
        _copy_set_aside(source.id, target.id)
    return count


def _copy_set_aside(source: nodes.Node, target: nodes.Node) -> None:
    """Copy what `repair` set aside as far as HDF5 can read it; the rest is logged, and is not in the copy."""
    try:
        aside = nodes.open_group(source, layout.SET_ASIDE)
        names = nodes.child_names(aside)
    except nodes.UNREADABLE as error:
        LOGGER.warning("what was set aside cannot be copied: %s", error)
        return
    place = nodes.create_group(target, layout.SET_ASIDE)
    for name in names:
        try:
            nodes.copy_node(aside, place, name)
        except nodes.UNREADABLE as error:
            LOGGER.warning("what was set aside as %r cannot be copied: %s", name, error)


@contextlib.contextmanager
def _naming(key: str) -> Iterator[None]:
    try:
        yield
    except nodes.UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be copied: {error}") from error


def _is_member(source: h5g.GroupID, link: str) -> bool:
    try:
        dataset = nodes.open_dataset(source, link)
        return dataset is not None and members.is_member(h5py.Dataset(dataset))
    except nodes.UNREADABLE:
        return False


def _copy_parts(
    source: h5g.GroupID,
    target: h5py.Group,
    key: str,
    links: Iterable[str],
    copied: dict[int, h5py.Dataset],
    dimensions: dict[int, int],
) -> None:
    """Copy parts of an object with all their digests as they are: what does not match them never will.

    A part that HDF5 cannot read is logged. The copy of the object lacks it, and says so: an array by its
    document, a member by the list of those that were lost.
    """
    lost = []
    for link in links:
        try:
            _copy_part(source, target, link, copied, dimensions)
        except nodes.UNREADABLE as error:
            if objects.part_can_be_read(source, link):
                raise  # The copy cannot be written, or it is no part of an object.
            LOGGER.warning("%r of object %r cannot be read, and is not in the copy: %s", link, key, error)
            lost.append(link)
    if lost:
        names = sorted({*_lost_members(source, key, lost), *members.lost_members(target)})
        if names:
            nodes.write_text(target.id, layout.LOST_MEMBERS, json.dumps(names))


def _copy_part(
    source: h5g.GroupID,
    target: h5py.Group,
    link: str,
    copied: dict[int, h5py.Dataset],
    dimensions: dict[int, int],
) -> None:
    dataset = nodes.open_dataset(source, link)
    if dataset is None:
        raise TypeError(f"{link!r} is not a dataset of this container")
    if not members.is_member(h5py.Dataset(dataset)):
        try:
            variable = Variable(nodes.read_array(dataset), nodes.find_text(dataset, layout.UNITS))
        except (TypeError, ValueError):
            # Not as we write it, or more than is believed, which may be a matter of the limits.
            nodes.copy_node(source, target.id, link)
        else:
            arrays.write_variable(target, link, variable, dimensions)
        return
    address, _ = nodes.address_and_names(dataset)
    if address in copied:
        nodes.add_link(copied[address].id, target.id, link)
    else:
        nodes.copy_node(source, target.id, link)
        copied[address] = target[link]


def _lost_members(source: h5g.GroupID, key: str, links: Iterable[str]) -> list[str]:
    try:
        declared = objects.variable_names(source, key)
    except CorruptError:
        declared = frozenset()
    names = set(members.lost_members(h5py.Group(source)))
    for link in links:
        if link not in declared:
            try:
                names.add(members.member_name(h5py.Group(source), link))
            except CorruptError:
                names.add(link)
    return sorted(names)

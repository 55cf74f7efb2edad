"""A compact copy of a container: the same objects, without the space that others left."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import h5py
from h5py import h5g

from simarchive.container import arrays, layout, members, nodes
from simarchive.container.documents import Variable
from simarchive.errors import CorruptError

LOGGER = logging.getLogger("simarchive")


def copy_objects(source: h5py.File, target: h5py.File, keys: Iterable[str]) -> int:
    """Copy everything but the index from one open container into an empty one; return the number of objects.

    Chunks of members are copied as they are stored, and members that are one dataset under several
    names stay one. Objects keep their order.

    Raises
    ------
    CorruptError
        If an object cannot be read. `repair` sets such objects aside.
    """
    nodes.replace_attributes(source, target)
    objects = target[layout.OBJECTS]
    nodes.replace_attributes(h5py.Group(nodes.open_group(source.id, layout.OBJECTS)), objects)
    # Whatever HDF5 could not even move is not in the copy.
    nodes.delete_attribute(objects.id, layout.LOST_LINKS)
    copied: dict[int, h5py.Dataset] = {}
    dimensions: dict[int, int] = {}
    count = 0
    for key in keys:
        try:
            group = h5py.Group(nodes.create_group(objects.id, key))
            node = nodes.open_group(nodes.open_group(source.id, layout.OBJECTS), key)
            _copy_object(node, group, copied, dimensions)
        except nodes.UNREADABLE as error:
            raise CorruptError(f"object {key!r} cannot be copied: {error}") from error
        count += 1
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


def _copy_object(
    source: h5g.GroupID, target: h5py.Group, copied: dict[int, h5py.Dataset], dimensions: dict[int, int]
) -> None:
    nodes.replace_attributes(h5py.Group(source), target)
    for link in nodes.child_names(source):
        dataset = nodes.open_dataset(source, link)
        if dataset is None:
            raise TypeError(f"{link!r} is not a dataset")
        if members.is_member(h5py.Dataset(dataset)):
            address, _ = nodes.address_and_names(dataset)
            if address in copied:
                nodes.add_link(copied[address].id, target.id, link)
            else:
                nodes.copy_node(source, target.id, link)
                copied[address] = target[link]
        else:
            variable = Variable(nodes.read_array(dataset), nodes.find_text(dataset, layout.UNITS))
            arrays.write_variable(target, link, variable, dimensions)

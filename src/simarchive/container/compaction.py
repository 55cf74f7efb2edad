"""A compact copy of a container: the same objects, without the space that others left."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import h5py

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
    nodes.replace_attributes(source[layout.OBJECTS], objects)
    # Whatever HDF5 could not even move is not in the copy.
    nodes.delete_attribute(objects.id, layout.LOST_LINKS)
    copied: dict[int, h5py.Dataset] = {}
    dimensions: dict[int, int] = {}
    count = 0
    for key in keys:
        try:
            group = h5py.Group(nodes.create_group(objects.id, key))
            _copy_object(source[layout.OBJECTS][key], group, copied, dimensions)
        except (OSError, KeyError, RuntimeError) as error:
            raise CorruptError(f"object {key!r} cannot be copied: {error}") from error
        count += 1
    if layout.SET_ASIDE in source:
        group = h5py.Group(nodes.create_group(target.id, layout.SET_ASIDE))
        _copy_set_aside(source[layout.SET_ASIDE], group)
    return count


def _copy_set_aside(source: h5py.Group, target: h5py.Group) -> None:
    """Copy what `repair` set aside as far as HDF5 can read it; the rest is logged, and is not in the copy."""
    for name in source:
        try:
            nodes.copy_node(source.id, target.id, name)
        except (OSError, KeyError, RuntimeError) as error:
            LOGGER.warning("what was set aside as %r cannot be copied: %s", name, error)


def _copy_object(
    source: h5py.Group, target: h5py.Group, copied: dict[int, h5py.Dataset], dimensions: dict[int, int]
) -> None:
    nodes.replace_attributes(source, target)
    for link, dataset in source.items():
        if members.is_member(dataset):
            address, _ = nodes.address_and_names(dataset.id)
            if address in copied:
                nodes.add_link(copied[address].id, target.id, link)
            else:
                nodes.copy_node(source.id, target.id, link)
                copied[address] = target[link]
        else:
            variable = Variable(nodes.read_array(dataset.id), nodes.find_text(dataset.id, layout.UNITS))
            arrays.write_variable(target, link, variable, dimensions)

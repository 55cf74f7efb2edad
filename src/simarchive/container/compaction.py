"""A compact copy of a container: the same objects, without the room that others left."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import h5py
from h5py import h5o

from simarchive.container import arrays, layout, members
from simarchive.container.documents import Variable
from simarchive.container.groups import create_group
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
    _copy_attributes(source, target)
    objects = target[layout.OBJECTS]
    _copy_attributes(source[layout.OBJECTS], objects)
    # Whatever HDF5 could not even move is not in the copy.
    objects.attrs.pop(layout.LOST_LINKS, None)
    copied: dict[int, h5py.Dataset] = {}
    dimensions: dict[int, int] = {}
    count = 0
    for key in keys:
        try:
            _copy_object(source[layout.OBJECTS][key], create_group(objects, key), copied, dimensions)
        except (OSError, KeyError, RuntimeError) as error:
            raise CorruptError(f"object {key!r} cannot be copied: {error}") from error
        count += 1
    if layout.SET_ASIDE in source:
        _copy_set_aside(source[layout.SET_ASIDE], create_group(target, layout.SET_ASIDE))
    return count


def _copy_set_aside(source: h5py.Group, target: h5py.Group) -> None:
    """Copy what `repair` set aside as far as HDF5 can read it; the rest is named, and not in the copy."""
    for name in source:
        try:
            h5o.copy(source.id, name.encode(), target.id, name.encode())
        except (OSError, KeyError, RuntimeError) as error:
            LOGGER.warning("what was set aside as %r cannot be copied: %s", name, error)


def _copy_object(
    source: h5py.Group, target: h5py.Group, copied: dict[int, h5py.Dataset], dimensions: dict[int, int]
) -> None:
    _copy_attributes(source, target)
    for link, dataset in source.items():
        if members.is_member(dataset):
            address = h5o.get_info(dataset.id).addr
            if address in copied:
                h5o.link(copied[address].id, target.id, link.encode())
            else:
                h5o.copy(source.id, link.encode(), target.id, link.encode())
                copied[address] = target[link]
        else:
            units = dataset.attrs.get(layout.UNITS)
            text = None if units is None else units.decode() if isinstance(units, bytes) else str(units)
            arrays.write_variable(target, link, Variable(dataset[()], text), dimensions)


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    for name in source.attrs:
        attribute = source.attrs.get_id(name)
        target.attrs.create(name, source.attrs[name], dtype=attribute.dtype)

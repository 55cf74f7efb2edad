"""Groups as a container makes them, and how one is put out of the way that cannot be taken apart."""

from __future__ import annotations

import itertools

import h5py
from h5py import h5g, h5p

from simarchive.container import layout

_ORDERED_LINKS = h5p.create(h5p.GROUP_CREATE)
_ORDERED_LINKS.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)


def create_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return a new group that netCDF-4 can append to and whose attributes may be rewritten for ever.

    Links keep their creation order, which netCDF-4 asks for; attributes do not, because an object
    whose attribute creation order is tracked can create only 65,535 attributes in its life.
    """
    return h5py.Group(h5g.create(parent.id, name.encode(), gcpl=_ORDERED_LINKS))


def put_aside(handle: h5py.File, path: str, name: str) -> str:
    """Move what is at `path`, unread, among what is set aside, under `name` or one like it; return where."""
    if layout.SET_ASIDE not in handle:
        create_group(handle, layout.SET_ASIDE)
    taken = handle[layout.SET_ASIDE]
    free = next(
        choice
        for choice in itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
        if choice not in taken
    )
    place = f"/{layout.SET_ASIDE}/{free}"
    handle.move(path, place)
    return place

"""Where the members of an object stand: in a group of their own, so that its arrays stand alone.

Objects of early versions have them beside their arrays.
"""

from __future__ import annotations

import h5py

from simarchive.container import nodes
from simarchive.container.layout import MEMBERS


def place_of_members(group: h5py.Group) -> h5py.Group:
    """Return the group in which the members of the object `group` stand: that itself in early objects."""
    own = nodes.find_group(group.id, MEMBERS)
    return group if own is None else h5py.Group(own)


def has_own_place(group: h5py.Group) -> bool:
    """Return whether the members of the object `group` stand in a group of their own."""
    return nodes.find_group(group.id, MEMBERS) is not None


def create_place(group: h5py.Group) -> h5py.Group:
    """Return a new group for the members of the object `group`, which has none yet."""
    return h5py.Group(nodes.create_small_group(group.id, MEMBERS))

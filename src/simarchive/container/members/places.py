"""Where the members of an object stand: in a group of their own, so that its arrays stand alone.

Objects of early versions have them beside their arrays.
"""

from __future__ import annotations

import h5py

from simarchive.container import nodes
from simarchive.container.layout import MEMBERS
from simarchive.container.members.table import is_member


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

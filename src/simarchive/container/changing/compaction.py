"""A compact copy of a container: the same objects, without the space that others left."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
from h5py import h5g, h5r

from simarchive.container import arrays, layout, members, metadata, nodes, objects
from simarchive.container.documents import Variable
from simarchive.container.new_file import create_empty
from simarchive.errors import CorruptError
from simarchive.ground import attention
from simarchive.journal.files import storage_error

LOGGER = logging.getLogger("simarchive")


def copy_objects(
    source: h5py.File,
    target: h5py.File,
    keys: Iterable[str],
    *,
    members_last: bool = False,
    set_aside: bool = True,
) -> int:
    """Copy everything but the index from one open container into an empty one; return the number of objects.

    Chunks of members are copied as they are stored, and members that are one dataset under several
    names stay one. Objects keep their order.

    Parameters
    ----------
    members_last
        Whether the members of all objects come behind all else, so that what describes objects lies together.
    set_aside
        Whether what `repair` set aside is copied, too.

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
    scales: dict[int, h5r.Reference] = {}
    count = 0
    later: dict[str, _Members] = {}
    for key in keys:
        with _copying(key):
            group = h5py.Group(nodes.create_small_group(objects.id, key))
            node = nodes.open_group(nodes.open_group(source.id, layout.OBJECTS), key)
            found = _copy_description(node, group, key, scales)
            if members_last:
                later[key] = found
            else:
                _copy_members(node, group, key, found, copied)
        count += 1
    for key, found in later.items():
        with _copying(key):
            group = h5py.Group(nodes.open_group(objects.id, key))
            node = nodes.open_group(nodes.open_group(source.id, layout.OBJECTS), key)
            _copy_members(node, group, key, found, copied)
    if set_aside and nodes.link_exists(source.id, layout.SET_ASIDE):
        _copy_set_aside(source.id, target.id)
    return count


def copy_part(source: h5py.File, path: Path, keys: Iterable[str]) -> None:
    """Make a new container at `path` with some objects of an open one, but without an index.

    Raises
    ------
    CorruptError
        If an object cannot be read.
    StorageFullError, StorageIOError
        If the copy cannot be written.
    """
    try:
        with create_empty(path) as target:
            copy_objects(source, target, keys, members_last=True, set_aside=False)
            nodes.write_text(target.id, layout.CONTAINER_ID, uuid.uuid4().hex)  # it is another container
    except nodes.UNREADABLE as error:
        of_system = nodes.error_of_system(error)
        if of_system is None:
            raise
        raise storage_error(of_system, "write", str(path)) from error


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
            if nodes.error_of_system(error):
                raise
            LOGGER.warning("what was set aside as %r cannot be copied: %s", name, error)


@contextlib.contextmanager
def _copying(key: str) -> Iterator[None]:
    attention.note(key)
    try:
        yield
    except nodes.UNREADABLE as error:
        if nodes.error_of_system(error):
            raise  # It is the copy that cannot be written.
        raise CorruptError(f"object {key!r} cannot be copied: {error}") from error


@dataclass(frozen=True, slots=True)
class _Members:
    """The members of an object that are still to be copied.

    Attributes
    ----------
    links
        Of the members.
    lost_here
        Links of the object's own group that could not be copied.
    has_array_of_name
        Whether an array of an early object has the name of the group of members.
    """

    links: list[str]
    lost_here: list[str]
    has_array_of_name: bool


def _copy_description(
    source: h5g.GroupID, target: h5py.Group, key: str, scales: dict[int, h5r.Reference]
) -> _Members:
    """Copy an object, but for its members, with all its digests as they are; return what is left to do.

    So what does not match its digest never will. A part that HDF5 cannot read is logged. The copy of the
    object lacks it, and says so: an array by its document, a member by the list of those that were lost.
    """
    nodes.replace_attributes(h5py.Group(source), target)
    own = nodes.find_group(source, layout.MEMBERS)
    forms: dict[str, tuple[tuple[int, ...], str | None]] = {}
    links: list[str] = [] if own is None else nodes.child_names(own)
    lost_here: list[str] = []
    for link in nodes.child_names(source):
        if own is not None and link == layout.MEMBERS:
            continue
        with _noting(source, link, key, lost_here):
            dataset = nodes.open_dataset(source, link)
            if dataset is None:
                raise TypeError(f"{link!r} is not a dataset of this container")
            if own is None and members.is_member(h5py.Dataset(dataset)):
                links.append(link)
            elif not arrays.is_scale(dataset):
                forms[link] = dataset.shape, arrays.kept_units(dataset)
    dimensions = arrays.Dimensions(target, forms, scales)
    for link in forms:
        with _noting(source, link, key, lost_here):
            _copy_array(source, target, link, dimensions)
    return _Members(links, lost_here, layout.MEMBERS in forms)


def _copy_members(
    source: h5g.GroupID,
    target: h5py.Group,
    key: str,
    found: _Members,
    copied: dict[int, h5py.Dataset],
) -> None:
    """Copy the members of an object, which get a group of their own, also those of an early object."""
    own = nodes.find_group(source, layout.MEMBERS)
    place = source if own is None else own
    lost: list[str] = []
    if found.links:
        target_place = target if found.has_array_of_name else members.create_place(target)
        for link in found.links:
            with _noting(place, link, key, lost):
                _copy_member(place, target_place, link, copied)
                members.move_long_name(h5py.Group(place), target, target_place, link)
    names = {*_names_of(h5py.Group(place), lost), *_lost_members(source, key, found.lost_here)}
    if names:
        names.update(members.lost_members(h5py.Group(source)))
        nodes.write_text(target.id, layout.LOST_MEMBERS, json.dumps(sorted(names)))


@contextlib.contextmanager
def _noting(place: h5g.GroupID, link: str, key: str, lost: list[str]) -> Iterator[None]:
    """Note a part of an object that cannot be copied because HDF5 cannot read it."""
    try:
        yield
    except nodes.UNREADABLE as error:
        if objects.part_can_be_read(place, link):
            raise  # The copy cannot be written, or it is no part of an object.
        LOGGER.warning("%r of object %r cannot be read, and is not in the copy: %s", link, key, error)
        lost.append(link)


def _copy_array(source: h5g.GroupID, target: h5py.Group, link: str, dimensions: arrays.Dimensions) -> None:
    dataset = nodes.open_dataset(source, link)
    assert dataset is not None
    try:
        variable = Variable(nodes.read_array(dataset), arrays.kept_units(dataset))
    except (TypeError, ValueError):
        # Not as we write it, or more than is believed, which may be a matter of the limits.
        nodes.copy_node(source, target.id, link)
        # The copy would refer to nothing.
        nodes.delete_attribute(target[link].id, layout.DIMENSION_SCALES)
    else:
        arrays.write_variable(target, link, variable, dimensions)


def _copy_member(source: h5g.GroupID, target: h5py.Group, link: str, copied: dict[int, h5py.Dataset]) -> None:
    dataset = nodes.open_dataset(source, link)
    if dataset is None:
        raise TypeError(f"{link!r} is not a dataset of this container")
    address, _ = nodes.address_and_names(dataset)
    if address in copied:
        nodes.add_link(copied[address].id, target.id, link)
    else:
        nodes.copy_node(source, target.id, link)
        copied[address] = target[link]


def _lost_members(source: h5g.GroupID, key: str, links: Iterable[str]) -> Iterator[str]:
    """Yield the names of members among links of an object that cannot be read."""
    try:
        declared = objects.variable_names(source, key)
    except CorruptError:
        declared = frozenset()
    return _names_of(h5py.Group(source), [link for link in links if link not in declared])


def _names_of(place: h5py.Group, links: Iterable[str]) -> Iterator[str]:
    for link in links:
        try:
            yield members.member_name(place, link)
        except CorruptError:
            yield link

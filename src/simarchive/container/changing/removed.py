"""What was removed or replaced: kept below /removed until the room is needed, so that it can be restored.

An object is removed by giving its group another name: nothing of it is read or copied, and the file does not
grow. The new name says all that is known of the removal, so that a list of the names is the log. What is kept
is bounded when the next object is stored: then the oldest are deleted, and their space is used.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import h5py
import numpy as np
from h5py import h5f, h5g

from simarchive.container import layout, nodes, objects
from simarchive.container.changing import authors
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError
from simarchive.ground.keys import is_key

KEPT_BYTES = 16 << 20
"""So much is kept of what was removed, whatever the size of the file."""

KEPT_SHARE = 0.1
"""This share of the file is kept, if it is more."""

KEPT_OBJECTS = 10_000
"""So many removed objects are kept: each is one link, and all are listed by whoever asks for the log."""

REMOVED, REPLACED = "removed", "replaced"

_NAME = re.compile(
    rf"(?P<number>[0-9]{{8,18}}) (?P<action>{REMOVED}|{REPLACED}) (?P<at>[0-9T:.+-]{{20,40}})"
    r" (?P<size>[0-9]{1,18}) (?P<by>[A-Za-z0-9._~%-]{1,192}) (?P<key>[^ ]+)"
)


@dataclass(frozen=True, slots=True)
class RemovedObject:
    """One object that was removed or replaced, and can be restored."""

    number: int  #: counts up in the container
    key: str
    action: str  #: ``"removed"`` or ``"replaced"``
    at: str  #: ISO 8601, UTC
    by: str  #: who did it
    n_bytes: int  #: about what it takes in the file, without what other objects have, too
    link: str  #: its name below ``/removed``


class RemovedObjects:
    """The removed objects of an open container.

    Parameters
    ----------
    root
        The root of the file.
    """

    def __init__(self, root: h5f.FileID) -> None:
        self._root = root

    @property
    def are_there(self) -> bool:
        """Whether anything is kept."""
        return nodes.link_exists(self._root, layout.REMOVED)

    def group(self) -> h5g.GroupID:
        """Return the group of what was removed.

        Raises
        ------
        CorruptError
            If it cannot be read.
        """
        try:
            return nodes.open_own_group(self._root, layout.REMOVED)
        except UNREADABLE as error:
            raise CorruptError(f"what was removed cannot be read: /{layout.REMOVED}: {error}") from error

    def listed(self) -> list[RemovedObject]:
        """Return what can be restored, the oldest first; only names are read.

        Raises
        ------
        CorruptError
            If it cannot be listed.
        """
        if not self.are_there:
            return []
        group = self.group()
        try:
            names = nodes.child_names(group)
        except UNREADABLE as error:
            raise CorruptError(f"what was removed cannot be listed: {error}") from error
        return sorted(filter(None, map(_parsed, names)), key=lambda one: one.number)

    def strange_names(self) -> list[str]:
        """Return the names below ``/removed`` that no program of ours wrote; errors as `listed`."""
        if not self.are_there:
            return []
        return [name for name in nodes.child_names(self.group()) if _parsed(name) is None]

    def keep(self, parent: h5g.GroupID, key: str, n_bytes: int) -> None:
        """Move an object from `parent` to what was removed: it gets another name."""
        place, link = self._place_for(key, REMOVED, n_bytes)
        nodes.move(parent, key, place, link)
        self._bound_number(place)

    def keep_content(self, group: h5py.Group, key: str, n_bytes: int) -> None:
        """Move all that is in the group of an object to what was removed; its attributes are copied."""
        place, link = self._place_for(key, REPLACED, n_bytes)
        kept = nodes.create_small_group(place, link)
        for name in nodes.child_names(group.id):
            nodes.move(group.id, name, kept, name)
        nodes.replace_attributes(group, h5py.Group(kept))
        self._bound_number(place)

    def take_back(self, one: RemovedObject, parent: h5g.GroupID, key: str) -> None:
        """Move a removed object to `parent`, under a key that is free there."""
        place = self.group()
        nodes.move(place, one.link, parent, key)
        self._add_to_totals(place, -one.n_bytes)

    def make_room(self) -> bool:
        """Delete the oldest until no more is kept than there may be; return whether anything was deleted."""
        if not self.are_there:
            return False
        _, held = self._totals(self.group())
        if held <= KEPT_BYTES or held <= (share := int(KEPT_SHARE * nodes.file_size(self._root))):
            return False
        bound = max(KEPT_BYTES, share)
        for one in self.listed():
            if held <= bound:
                break
            self.delete(one)
            held -= one.n_bytes
        return True

    def delete(self, one: RemovedObject) -> None:
        """Delete one for good: its space is used again. What HDF5 cannot take apart is set aside."""
        place = self.group()
        try:
            is_whole = objects.can_be_taken_apart(nodes.open_group(place, one.link))
        except UNREADABLE:
            is_whole = False
        if is_whole:
            nodes.unlink(place, one.link)
        else:
            nodes.put_aside(place, one.link, one.key)
        self._add_to_totals(place, -one.n_bytes)

    # --- the parts of the above --------------------------------------------------------------------------

    def _place_for(self, key: str, action: str, n_bytes: int) -> tuple[h5g.GroupID, str]:
        if not self.are_there:
            nodes.create_group(self._root, layout.REMOVED)
        try:
            place = self.group()
        except CorruptError:
            # Of another program, or damaged: it is kept, under another name.
            nodes.put_aside(self._root, layout.REMOVED, layout.REMOVED)
            place = nodes.create_group(self._root, layout.REMOVED)
        number, held = self._totals(place)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        link = f"{number:08d} {action} {now} {n_bytes} {authors.as_word(authors.author())} {key}"
        nodes.write_numbers(place, layout.REMOVED_TOTALS, np.array([number + 1, held + n_bytes], "<u8"))
        return place, link

    def _totals(self, place: h5g.GroupID) -> tuple[int, int]:
        """Return the next number, and how many bytes are held; counted again if that cannot be read."""
        with contextlib.suppress(*UNREADABLE):
            number, held = nodes.read_numbers(place, layout.REMOVED_TOTALS, size=2).tolist()
            if max(number, held) < 10**18:
                return int(number), int(held)
        known = self.listed()
        return max((one.number for one in known), default=0) + 1, sum(one.n_bytes for one in known)

    def _add_to_totals(self, place: h5g.GroupID, n_bytes: int) -> None:
        number, held = self._totals(place)
        nodes.write_numbers(place, layout.REMOVED_TOTALS, np.array([number, max(held + n_bytes, 0)], "<u8"))

    def _bound_number(self, place: h5g.GroupID) -> None:
        if nodes.n_children(place) > KEPT_OBJECTS:
            for one in self.listed()[:-KEPT_OBJECTS]:
                self.delete(one)


def _parsed(name: str) -> RemovedObject | None:
    found = _NAME.fullmatch(name)
    if found is None or not is_key(found["key"]):
        return None
    by = authors.of_word(found["by"])
    if by is None:
        return None
    number, size = int(found["number"]), int(found["size"])
    return RemovedObject(number, found["key"], found["action"], found["at"], by, size, name)

"""How much a container holds of each kind of file, data class or substance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from simarchive.container.container import Container
from simarchive.container.members import MemberInfo
from simarchive.errors import CorruptError, InvalidDataError

GROUPINGS = ("extension", "class", "substance")


@dataclass(slots=True)
class GroupStatistics:
    """Numbers about one group."""

    name: str  #: an extension with its dot, a data class, or a substance; empty for those that have none
    n_objects: int = 0  #: that are in the group, or have a file in it
    n_files: int = 0
    logical_bytes: int = 0  #: the files as they were
    stored_bytes: int = 0  #: what they take in the container; a shared file counts where it is met first
    shared_bytes: int = 0  #: of `logical_bytes`, files that are stored with an equal one

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return asdict(self)

    def add_file(self, address: int, info: MemberInfo, seen: set[int]) -> None:
        """Count a file whose bytes are at an address of the container; `seen` has those met before."""
        self.n_files += 1
        self.logical_bytes += info.size
        if address in seen:
            self.shared_bytes += info.size
        else:
            self.stored_bytes += info.stored_size
            seen.add(address)


def statistics_by(
    container: Container, by: str, substances: Mapping[str, str], keys: Sequence[str] | None = None
) -> tuple[list[GroupStatistics], int]:
    """Return numbers about the groups of a container, those that take most room first, and what is left out.

    Parameters
    ----------
    by
        One of `GROUPINGS`.
    substances
        The substance of each object that has one, by key.
    keys
        The objects that are counted; all by default.

    Returns
    -------
    groups
        The groups; no document is read.
    n_damaged
        How many objects cannot be looked at, and are in no group.
    """
    if by not in GROUPINGS:
        raise InvalidDataError(f"nothing can be grouped by {by!r}: use one of {', '.join(GROUPINGS)}")
    groups: dict[str, GroupStatistics] = {}
    seen: set[int] = set()
    n_damaged = 0

    def group_of(name: str) -> GroupStatistics:
        return groups.setdefault(name, GroupStatistics(name))

    with container.reading() as contents:
        for key in contents.keys() if keys is None else keys:
            try:
                class_name = contents.class_name(key)
                places = list(contents.member_places(key))
            except CorruptError:
                n_damaged += 1
                continue
            own = {"class": class_name, "substance": substances.get(key, "")}
            names = {own[by]} if by in own else set()
            for address, info in places:
                name = own[by] if by in own else PurePosixPath(info.name).suffix.lower()
                names.add(name)
                group_of(name).add_file(address, info, seen)
            for name in names:
                group_of(name).n_objects += 1
    in_order = sorted(groups.values(), key=lambda group: (-group.stored_bytes, -group.n_objects, group.name))
    return in_order, n_damaged

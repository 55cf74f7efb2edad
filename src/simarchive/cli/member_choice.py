"""Which files of which objects a command means, and what to say if there are none."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simarchive.errors import NotFoundError
from simarchive.keys import check_member_name

if TYPE_CHECKING:
    from simarchive.container.members import MemberInfo
    from simarchive.storage.hdf5 import HDF5Storage

_SHOWN = 8


def is_chosen(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a file's name, or its last part, fits a pattern; no pattern means every file."""
    last = name.rpartition("/")[2]
    return not patterns or any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(last, pattern) for pattern in patterns
    )


def member_named(backend: HDF5Storage, key: str, name: str) -> MemberInfo:
    """Return what is known of one file of an object.

    Raises
    ------
    InvalidDataError
        If the name leads out of the object.
    NotFoundError
        If there is no such file: the message names those that there are.
    """
    check_member_name(name)
    infos = {info.name: info for info in backend.list_members(key)}
    if name not in infos:
        names = list(infos)
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise NotFoundError(f"object {key!r} has no file {name!r}: it has {shown or 'none'}")
    return infos[name]

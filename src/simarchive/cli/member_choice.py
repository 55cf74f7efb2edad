"""The file of an object that a command means, and what to say if there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from simarchive.errors import NotFoundError
from simarchive.ground.keys import check_member_name

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage

_SHOWN = 8


def opened_member(backend: HDF5Storage, key: str, name: str) -> BinaryIO:
    """Return one file of an object, open; no other is looked at.

    Raises
    ------
    InvalidDataError
        If the name leads out of the object.
    NotFoundError
        If there is no such file: the message names those that there are.
    """
    check_member_name(name)
    try:
        return backend.open_member(key, name)
    except NotFoundError as error:
        names = [info.name for info in backend.list_members(key)]
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise NotFoundError(f"object {key!r} has no file {name!r}: it has {shown or 'none'}") from error

"""Removing links, and what they lead to, now and not when Python gets round to it."""

from __future__ import annotations

from h5py import h5f, h5g, h5i

_OBJECTS = h5f.OBJ_GROUP | h5f.OBJ_DATASET | h5f.OBJ_ATTR


def unlink(parent: h5g.GroupID, name: str) -> None:
    """Remove a link; what it leads to goes with the last link, whatever this process has open of it.

    HDF5 keeps an object until it is closed everywhere. One that stands in a reference cycle, or in the
    traceback of an error, is closed when the garbage collector comes across it, which may be in another
    transaction.
    """
    encoded = name.encode()
    path = b"/".join([(h5i.get_name(parent) or b"").rstrip(b"/"), encoded])
    for identifier in h5f.get_obj_ids(h5i.get_file_id(parent), _OBJECTS):
        place = h5i.get_name(identifier)
        if place is not None and (place == path or place.startswith(path + b"/")):
            while identifier.valid:
                h5i.dec_ref(identifier)
    parent.unlink(encoded)

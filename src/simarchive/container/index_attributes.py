"""Arrays and texts in the attributes of one HDF5 group: the only index module that calls h5py.

Attributes are written so that every HDF5 and netCDF-4 reader understands them: one-dimensional
arrays of plain numbers, and ASCII texts of fixed length. None has zero elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5a, h5g, h5p, h5s, h5t

from simarchive.errors import ConflictError, CorruptError, StorageError

Array = npt.NDArray[Any]

_NUMBER_TYPES = {
    "|i1": h5t.STD_I8LE,
    "|u1": h5t.STD_U8LE,
    "<i2": h5t.STD_I16LE,
    "<u2": h5t.STD_U16LE,
    "<i4": h5t.STD_I32LE,
    "<u4": h5t.STD_U32LE,
    "<i8": h5t.STD_I64LE,
    "<u8": h5t.STD_U64LE,
    "<f8": h5t.IEEE_F64LE,
}
_SCALAR = h5s.create(h5s.SCALAR)


def create_table_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return a new group for one table.

    netCDF-4 demands that the creation order of links is tracked. That of attributes is not: an object that
    tracks it can create 65,535 attributes in its life and no more.
    """
    properties = h5p.create(h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    if name in parent:
        raise ConflictError(f"index table {name!r} exists already: remove it first, or open it")
    return h5py.Group(h5g.create(parent.id, name.encode(), gcpl=properties))


class Attributes:
    """The attributes of one group, read and written as arrays and texts."""

    def __init__(self, group: h5py.Group) -> None:
        self._id = group.id
        self.path = str(group.name)

    def corrupt(self, what: str) -> CorruptError:
        """Return the error that says what is damaged and what to do about it."""
        return CorruptError(
            f"index table {self.path!r} is damaged: {what}: rebuild the index, which loses nothing"
        )

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the device failed; what it holds may be sound
            raise self.corrupt(f"attribute {name!r} cannot be read ({error})") from error

    def read(self, name: str, size: int | None = None) -> Array:
        """Return the array of an attribute.

        Raises
        ------
        CorruptError
            If it is not there, is no one-dimensional array of numbers, or has not `size` elements.
        """
        with self._reading(name):
            attribute = h5a.open(self._id, name.encode())
            values = np.empty(attribute.shape, attribute.dtype)
            if values.ndim != 1 or values.dtype.str not in _NUMBER_TYPES:
                raise self.corrupt(f"attribute {name!r} is no array of numbers")
            if size is not None and values.size != size:
                raise self.corrupt(f"attribute {name!r} has {values.size} elements instead of {size}")
            attribute.read(values)
        return values

    def create(self, name: str, values: Array) -> None:
        """Write an array as a new attribute."""
        kind = _NUMBER_TYPES[values.dtype.str]
        attribute = h5a.create(self._id, name.encode(), kind, h5s.create_simple(values.shape))
        attribute.write(np.ascontiguousarray(values), kind)

    def write(self, name: str, values: Array) -> None:
        """Write an array: in place if the attribute has this size and type already."""
        encoded = name.encode()
        if h5a.exists(self._id, encoded):
            attribute = h5a.open(self._id, encoded)
            if attribute.shape == values.shape and attribute.dtype == values.dtype:
                attribute.write(np.ascontiguousarray(values), _NUMBER_TYPES[values.dtype.str])
                return
            del attribute
            h5a.delete(self._id, encoded)
        self.create(name, values)

    def delete(self, name: str) -> None:
        """Remove an attribute."""
        with self._reading(name):
            h5a.delete(self._id, name.encode())

    def delete_if_there(self, name: str) -> None:
        """Remove an attribute that need not exist."""
        if h5a.exists(self._id, name.encode()):
            self.delete(name)

    def names(self) -> list[str]:
        """Return the names of all attributes."""
        found: list[bytes] = []
        h5a.iterate(self._id, lambda name, *_: found.append(name))
        return [name.decode() for name in found]

    def text(self, name: str) -> FixedText:
        """Return the text attribute of this name, for reading and for writing in place."""
        with self._reading(name):
            attribute = h5a.open(self._id, name.encode())
            kind = attribute.get_type()
            if not isinstance(kind, h5t.TypeStringID) or kind.is_variable_str() or attribute.shape != ():
                raise self.corrupt(f"attribute {name!r} is no text of fixed length")
        return FixedText(attribute, kind, kind.get_size())

    def create_text(self, name: str, content: bytes, size: int | None = None) -> FixedText:
        """Write ASCII text as a new attribute with room for `size` bytes (default: exactly its own)."""
        kind = h5t.C_S1.copy()
        kind.set_size(len(content) if size is None else size)
        kind.set_strpad(h5t.STR_NULLPAD)
        text = FixedText(h5a.create(self._id, name.encode(), kind, _SCALAR), kind, kind.get_size())
        text.write(content)
        return text

    def read_text(self, name: str) -> bytes:
        """Return the text of an attribute."""
        with self._reading(name):
            return self.text(name).read()

    def replace_text(self, name: str, content: bytes) -> None:
        """Write ASCII text, in place of the attribute that has this name."""
        if h5a.exists(self._id, name.encode()):
            h5a.delete(self._id, name.encode())
        self.create_text(name, content)


class FixedText:
    """One text attribute of fixed length, kept open because it is written at every change."""

    def __init__(self, attribute: h5a.AttrID, kind: h5t.TypeStringID, size: int) -> None:
        self._attribute = attribute
        self._kind = kind
        self._dtype = np.dtype(f"S{size}")
        self.size = size

    def read(self) -> bytes:
        """Return the text without its padding."""
        value = np.empty((), self._dtype)
        self._attribute.read(value, self._kind)
        return bytes(value[()])

    def write(self, content: bytes) -> None:
        """Write the text in place, padded to the length of the attribute."""
        self._attribute.write(np.array(content, self._dtype), self._kind)

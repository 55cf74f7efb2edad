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

from simarchive.container.links import unlink
from simarchive.errors import CorruptError, StorageError

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
_DTYPES = {
    (kind.get_class(), kind.get_size(), kind.get_class() == h5t.INTEGER and kind.get_sign()): np.dtype(name)
    for name, kind in _NUMBER_TYPES.items()
}
_SCALAR = h5s.create(h5s.SCALAR)


LARGE_BYTES = 4104
"""The least size of an attribute of a table's own group.

HDF5 keeps an attribute above 4 KiB by itself: writing it in place writes nothing else. And it is not
part of the heap of the smaller ones, in which HDF5 2.0 leaks a reference when attributes of a reopened file
are removed and others created, so that the file cannot be closed ("Pinned entry count not decreasing").
"""


def _number_dtype(kind: h5t.TypeID) -> np.dtype[Any] | None:
    """Return the little-endian type of numbers of an HDF5 type; ``None`` if it is another one."""
    sign = kind.get_class() == h5t.INTEGER and kind.get_sign()
    return _DTYPES.get((kind.get_class(), kind.get_size(), sign))


class Attributes:
    """The attributes of one group, read and written as arrays and texts."""

    def __init__(self, group: h5g.GroupID, path: str) -> None:
        self._id = group
        self.path = path

    @classmethod
    def of(cls, group: h5py.Group) -> Attributes:
        """Return the attributes of an h5py group."""
        return cls(group.id, str(group.name))

    def create_child(self, name: str, *, dense: bool) -> Attributes:
        """Return the attributes of a new group in this one.

        netCDF-4 demands that the creation order of links is tracked. That of attributes is not: an object
        that tracks it can create 65,535 attributes in its life and no more.

        Parameters
        ----------
        dense
            Each attribute can be read without the others; else they lie together in the header of the group,
            which is smaller and faster for small ones.
        """
        properties = h5p.create(h5p.GROUP_CREATE)
        properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
        properties.set_attr_phase_change(*((0, 0) if dense else (65535, 0)))
        path = f"{self.path.rstrip('/')}/{name}"
        return Attributes(h5g.create(self._id, name.encode(), gcpl=properties), path)

    def child(self, name: str) -> Attributes:
        """Return the attributes of a group in this one.

        Raises
        ------
        CorruptError
            If it is not there.
        """
        with self._reading(name):
            return Attributes(h5g.open(self._id, name.encode()), f"{self.path}/{name}")

    def has_child(self, name: str) -> bool:
        """Return whether this group has anything of this name."""
        return bool(self._id.links.exists(name.encode()))

    def delete_child(self, name: str) -> None:
        """Remove a group and its attributes; every `Attributes` of it must be gone already."""
        with self._reading(name):
            unlink(self._id, name)

    def corrupt(self, what: str) -> CorruptError:
        """Return the error that says what is damaged and what to do about it."""
        return CorruptError(
            f"the index at {self.path!r} is damaged: {what}: rebuild the index, which loses nothing"
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
            raise self.corrupt(f"{name!r} cannot be read ({error})") from error

    def read(self, name: str, size: int | None = None) -> Array:
        """Return the array of an attribute.

        Raises
        ------
        CorruptError
            If it is not there, is not a one-dimensional array of numbers, or does not have `size` elements.
        """
        with self._reading(name):
            attribute = h5a.open(self._id, name.encode())
            dimensions = attribute.get_space().get_simple_extent_dims()
            dtype = _number_dtype(attribute.get_type())
            if len(dimensions) != 1 or dtype is None:
                raise self.corrupt(f"attribute {name!r} is not an array of numbers")
            if size is not None and dimensions[0] != size:
                raise self.corrupt(f"attribute {name!r} has {dimensions[0]} elements instead of {size}")
            values = np.empty(dimensions, dtype)
            attribute.read(values, _NUMBER_TYPES[dtype.str])  # naming the type spares h5py 10 us
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
            dimensions = attribute.get_space().get_simple_extent_dims()
            if dimensions == values.shape and _number_dtype(attribute.get_type()) == values.dtype:
                attribute.write(np.ascontiguousarray(values), _NUMBER_TYPES[values.dtype.str])
                return
            del attribute
            h5a.delete(self._id, encoded)
        self.create(name, values)

    def text(self, name: str) -> FixedText:
        """Return the text attribute of this name, for reading and for writing in place."""
        with self._reading(name):
            attribute = h5a.open(self._id, name.encode())
            kind = attribute.get_type()
            if not isinstance(kind, h5t.TypeStringID) or kind.is_variable_str() or attribute.shape != ():
                raise self.corrupt(f"attribute {name!r} is not a text of fixed length")
        return FixedText(attribute, kind, kind.get_size())

    def read_text(self, name: str) -> bytes:
        """Return the text of an attribute."""
        return self.text(name).read()

    def create_text(self, name: str, content: bytes, size: int) -> FixedText:
        """Write ASCII text as a new attribute with room for `size` bytes."""
        kind = h5t.C_S1.copy()
        kind.set_size(size)
        kind.set_strpad(h5t.STR_NULLPAD)
        text = FixedText(h5a.create(self._id, name.encode(), kind, _SCALAR), kind, size)
        text.write(content)
        return text

    def write_text(self, name: str, content: bytes) -> None:
        """Write ASCII text: in place if there is room, else with twice the room that it takes now."""
        if h5a.exists(self._id, name.encode()):
            text = self.text(name)
            if len(content) <= text.size:
                text.write(content)
                return
            del text
            h5a.delete(self._id, name.encode())
        self.create_text(name, content, max(LARGE_BYTES, 2 * len(content)))


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

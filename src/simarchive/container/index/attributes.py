"""Arrays and texts in the attributes of one HDF5 group: all that the index keeps in a file.

Attributes are written so that every HDF5 and netCDF-4 reader understands them: one-dimensional
arrays of plain numbers, and ASCII texts of fixed length. None has zero elements.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5g
from isal import isal_zlib

from simarchive.container import nodes
from simarchive.container.layout import INDEX_CHECKS
from simarchive.container.nodes import UNREADABLE, FixedText
from simarchive.errors import CorruptError, StorageError

Array = npt.NDArray[Any]

LARGE_BYTES = 4104
"""The least size of an attribute of a table's own group.

HDF5 keeps an attribute above 4 KiB by itself: writing it in place writes nothing else. And it is not
part of the heap of the smaller ones, in which HDF5 2.0 leaks a reference when attributes of a reopened file
are removed and others created, so that the file cannot be closed ("Pinned entry count not decreasing").
"""


def check_of(content: bytes | Array, start: int = 0) -> int:
    """Return the CRC-32 of bytes, or of the bytes of an array; `start` is that of what stands before."""
    data = content if isinstance(content, bytes) else np.ascontiguousarray(content).view(np.uint8).data
    crc: int = isal_zlib.crc32(data, start)
    return crc


@functools.lru_cache(maxsize=256)
def _check_of_name(name: str) -> int:
    return check_of(name.encode())


class Attributes:
    """The attributes of one group, read and written as arrays and texts.

    HDF5 has no check of what stands in attributes that it keeps in a heap. So a group whose arrays never
    change has theirs, from `seal` on, and each array is compared when it is read.
    """

    def __init__(self, group: h5g.GroupID, path: str) -> None:
        self._id = group
        self.path = path
        self._created: dict[int, int] = {}
        self._checks: dict[int, int] | None = None  # None: not read yet

    @classmethod
    def of(cls, group: h5py.Group) -> Attributes:
        """Return the attributes of an h5py group."""
        return cls(group.id, str(group.name))

    def create_child(self, name: str, *, dense: bool) -> Attributes:
        """Return the attributes of a new group in this one.

        Parameters
        ----------
        dense
            As for `nodes.create_group`.
        """
        path = f"{self.path.rstrip('/')}/{name}"
        return Attributes(nodes.create_group(self._id, name, dense=dense), path)

    def child(self, name: str) -> Attributes:
        """Return the attributes of a group in this one.

        Raises
        ------
        CorruptError
            If it is not there.
        """
        with self._reading(name):
            return Attributes(nodes.open_group(self._id, name), f"{self.path}/{name}")

    def has_child(self, name: str) -> bool:
        """Return whether this group has anything of this name."""
        return nodes.link_exists(self._id, name)

    def delete_child(self, name: str) -> None:
        """Remove a group and its attributes; every `Attributes` of it must be gone already."""
        with self._reading(name):
            nodes.unlink(self._id, name)

    def corrupt(self, what: str) -> CorruptError:
        """Return the error that says what is damaged and what to do about it."""
        return CorruptError(
            f"the index at {self.path!r} is damaged: {what}: rebuild the index, which loses nothing"
        )

    def check_room(self, what: str, number: int, least_bytes: int) -> None:
        """Refuse a number of things that the file has no room for.

        Raises
        ------
        CorruptError
            If so many times `least_bytes` are more than the file has.
        """
        if nodes.exceeds_file(self._id, number * least_bytes):
            raise self.corrupt(f"it claims {number:,} {what}, for which the file has no room")

    def making_sense(self) -> AbstractContextManager[None]:
        """Say that the index is damaged where its numbers lead numpy or this package astray."""
        return _AsDamage(self, None)

    def _reading(self, name: str) -> AbstractContextManager[None]:
        return _AsDamage(self, name)

    def read(self, name: str, size: int | None = None) -> Array:
        """Return the array of an attribute.

        Raises
        ------
        CorruptError
            If it is not there, is not a one-dimensional array of numbers, or does not have `size` elements.
        """
        with self._reading(name):
            return nodes.read_numbers(self._id, name, size=size)

    def read_sealed(self, name: str, size: int | None = None) -> Array:
        """Return the array of an attribute that was there when the group was sealed.

        Raises
        ------
        CorruptError
            As `read`, and if it does not match its check. Groups of early versions have none.
        """
        values = self.read(name, size)
        if self._checks is None:
            with self._reading(INDEX_CHECKS):
                self._checks = self._read_checks()
        if self._checks and self._checks.get(_check_of_name(name)) != check_of(values):
            raise self.corrupt(f"{name!r} does not match its check")
        return values

    def _read_checks(self) -> dict[int, int]:
        try:
            pairs = nodes.read_numbers(self._id, INDEX_CHECKS)
        except KeyError:
            if nodes.has_attribute(self._id, INDEX_CHECKS):
                raise  # damaged
            return {}
        if pairs.dtype != np.uint32 or pairs.size % 2 or not pairs.size:
            raise TypeError("they are not pairs of numbers")
        return dict(pairs.reshape(-1, 2).tolist())

    def create(self, name: str, values: Array) -> None:
        """Write an array as a new attribute, which never changes."""
        nodes.create_numbers(self._id, name, values)
        self._created[_check_of_name(name)] = check_of(values)

    def seal(self) -> None:
        """Write the checks of all arrays that `create` wrote."""
        self._checks = dict(self._created)
        nodes.create_numbers(self._id, INDEX_CHECKS, np.array([*self._created.items()], "<u4").reshape(-1))

    def write(self, name: str, values: Array) -> None:
        """Write an array that may change: in place if the attribute has this size and type already."""
        nodes.write_numbers(self._id, name, values)

    def text(self, name: str) -> FixedText:
        """Return the text attribute of this name, for reading and for writing in place."""
        with self._reading(name):
            return nodes.open_fixed_text(self._id, name)

    def read_text(self, name: str) -> bytes:
        """Return the text of an attribute."""
        text = self.text(name)
        with self._reading(name):
            return text.read()

    def create_text(self, name: str, content: bytes, size: int) -> FixedText:
        """Write ASCII text as a new attribute with room for `size` bytes."""
        return nodes.create_fixed_text(self._id, name, content, size)

    def write_text(self, name: str, content: bytes) -> None:
        """Write ASCII text: in place if there is room, else with twice the room that it takes now."""
        if nodes.has_attribute(self._id, name):
            text = self.text(name)
            if len(content) <= text.size:
                text.write(content)
                return
            del text
            nodes.delete_attribute(self._id, name)
        self.create_text(name, content, max(LARGE_BYTES, 2 * len(content)))


class _AsDamage(AbstractContextManager[None]):
    """A block in which what HDF5 or numpy raise means that the index is damaged.

    Not a generator, which takes as long as to read a small attribute.
    """

    __slots__ = ("_attributes", "_name")

    def __init__(self, attributes: Attributes, name: str | None) -> None:
        self._attributes, self._name = attributes, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, UNREADABLE) or isinstance(error, StorageError):
            return
        if isinstance(error, OSError) and error.errno is not None:
            return  # the device failed; what it holds may be sound
        if self._name is None:
            raise self._attributes.corrupt(f"it makes no sense ({type(error).__name__}: {error})") from error
        raise self._attributes.corrupt(f"{self._name!r} cannot be read ({error})") from error

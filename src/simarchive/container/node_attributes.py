"""Texts and integers in the attributes of an object's group, with as few calls of HDF5 as they need.

`h5py.AttributeManager` asks for type, space and existence of each attribute, and writes each under a
temporary name first: several times the work, which counts where thousands of objects are read or written.
"""

from __future__ import annotations

import functools
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5g, h5s, h5t

_INTEGER_TYPES: dict[int, tuple[h5t.TypeID, np.dtype[Any]]] = {
    1: (h5t.STD_I8LE, np.dtype("<i1")),
    8: (h5t.STD_I64LE, np.dtype("<i8")),
}
_SCALAR = h5s.create(h5s.SCALAR)

UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What HDF5 and numpy raise for an attribute that is missing or damaged."""


def read_text(node: h5g.GroupID, name: str) -> str:
    """Return a text attribute.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute = h5a.open(node, name.encode())
    kind = attribute.get_type()
    if not isinstance(kind, h5t.TypeStringID):
        raise TypeError(f"attribute {name!r} is no text")
    if kind.is_variable_str():  # Not ours: edited by another program.
        value = h5py.Group(node).attrs[name]
        return value.decode() if isinstance(value, bytes) else str(value)
    content = np.empty((), f"S{kind.get_size()}")
    attribute.read(content, kind)
    return bytes(content[()]).decode()


def read_integer(node: h5g.GroupID, name: str) -> int:
    """Return an integer attribute, of whatever size it is stored in.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    value = np.empty((), np.int64)
    h5a.open(node, name.encode()).read(value, h5t.NATIVE_INT64)
    return int(value)


def has_attribute(node: h5g.GroupID, name: str) -> bool:
    """Return whether there is an attribute of this name."""
    return bool(h5a.exists(node, name.encode()))


def create_text(node: h5g.GroupID, name: str, text: str, *, is_ascii: bool = False) -> None:
    """Write a new text attribute: scalar, of fixed length, UTF-8 unless it is ASCII."""
    encoded = text.encode() or b"\0"
    kind = _text_type(len(encoded), is_ascii)
    _create(node, name, kind, np.array(encoded, f"S{len(encoded)}"))


@functools.lru_cache(maxsize=256)
def _text_type(size_bytes: int, is_ascii: bool) -> h5t.TypeID:
    kind = h5t.C_S1.copy()
    kind.set_size(size_bytes)
    kind.set_strpad(h5t.STR_NULLPAD)
    if not is_ascii:
        kind.set_cset(h5t.CSET_UTF8)
    return kind


def write_text(node: h5py.HLObject, name: str, text: str) -> None:
    """Write a text attribute in place of any of its name: scalar, of fixed length, UTF-8.

    A variable-length string would leak its bytes at every rewrite.
    """
    encoded = text.encode() or b"\0"
    node.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))


def create_integer(node: h5g.GroupID, name: str, value: int, *, size_bytes: int) -> None:
    """Write a new attribute: a signed integer of 1 or 8 bytes."""
    kind, dtype = _INTEGER_TYPES[size_bytes]
    _create(node, name, kind, np.array(value, dtype))


def create_numbers(node: h5g.GroupID, name: str, values: np.ndarray[Any, Any]) -> None:
    """Write a new attribute: an array of numbers of their own type."""
    kind = h5t.py_create(values.dtype)
    h5a.create(node, name.encode(), kind, h5s.create_simple(values.shape)).write(values, kind)


def _create(node: h5g.GroupID, name: str, kind: h5t.TypeID, value: np.ndarray[Any, Any]) -> None:
    h5a.create(node, name.encode(), kind, _SCALAR).write(value, kind)

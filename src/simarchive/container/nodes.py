"""The nodes of an HDF5 file and their attributes: the one place where HDF5's low-level calls are made.

A node is a group or a dataset, by the identifier that h5py's lower half gives it (``group.id``). Whatever
comes out of a file is checked here before it is read: a file may be damaged, or made to do damage. Of an
attribute, type and size are compared with the room for it; of a dataset, also where its bytes are. A link is
followed only if it is a hard one, and nothing is read from another file.

`h5py.AttributeManager` asks for type, space and existence of each attribute, and writes each under a
temporary name first: several times the work, which counts where thousands of objects are read or written.
"""

from __future__ import annotations

import functools
import io
import itertools
import logging
import math
import os
import re
import struct
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5a, h5d, h5ds, h5f, h5g, h5i, h5l, h5o, h5p, h5r, h5s, h5t, h5z
from h5py._objects import phil

from simarchive.container import layout
from simarchive.ground.limits import LIMITS, in_bytes
from simarchive.journal.superblock import lookup3

LOGGER = logging.getLogger("simarchive")

Node: TypeAlias = h5g.GroupID | h5d.DatasetID | h5f.FileID
Array: TypeAlias = np.ndarray[Any, Any]

UNREADABLE = (LookupError, OSError, RuntimeError, TypeError, ValueError, OverflowError)
"""What HDF5, numpy, json and this module raise for what is missing, damaged or made to do damage.

Not `MemoryError`: what a file claims is compared with limits before it is believed, so memory that does not
suffice is no damage. Whoever took it for some would leave a sound object out of a copy.
"""


def is_of_hdf5(error: BaseException) -> bool:
    """Return whether it was HDF5 that raised an error, not our own code or that of a program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # h5py's compiled functions stand in tracebacks under the names of their sources.
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith("h5py")


def error_of_system(error: BaseException) -> OSError | None:
    """Return the error of the system that HDF5 met, which it puts into the text of its own; None if none."""
    found = _ERRNO.search(str(error))
    return None if found is None else OSError(int(found[1]), os.strerror(int(found[1])))


_ERRNO = re.compile(r"\berrno = (\d{1,4}),")  # As in H5FD__sec2_write of HDF5

_NUMBER_TYPES: dict[str, h5t.TypeID] = {
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
# As some programs copy them.
_BIG_ENDIAN: dict[str, h5t.TypeID] = {
    "|i1": h5t.STD_I8BE,
    "|u1": h5t.STD_U8BE,
    "<i2": h5t.STD_I16BE,
    "<u2": h5t.STD_U16BE,
    "<i4": h5t.STD_I32BE,
    "<u4": h5t.STD_U32BE,
    "<i8": h5t.STD_I64BE,
    "<u8": h5t.STD_U64BE,
    "<f8": h5t.IEEE_F64BE,
    "<f4": h5t.IEEE_F32BE,
}
_ARRAY_TYPES: dict[str, h5t.TypeID] = {**_NUMBER_TYPES, "<f4": h5t.IEEE_F32LE}
_SCALAR = h5s.create(h5s.SCALAR)
_LARGEST_INTEGER = (1 << 63) - 1
_PLAIN_CLASSES = (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.BITFIELD, h5t.OPAQUE, h5t.ENUM)
_LINK_KINDS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link into another file"}

_LONG_TEXTS = frozenset(
    {
        layout.DOCUMENT,
        layout.DATA_CLASSES,
        layout.LOST_LINKS,
        layout.MEMBER_EMPTY_FOLDERS,
        layout.LOST_MEMBERS,
        layout.OBJECT_HISTORY,
        layout.INDEX_TABLE,
    }
)
_LARGEST_SHORT_TEXT_BYTES = 1 << 20
_DIGEST_BYTES = 64
# From how many attributes on HDF5 sets them apart, and to how many it takes them back.
_ATTRIBUTES_APART = {None: (24, 16), True: (0, 0), False: (65535, 0)}
_LARGEST_FIXED_TEXT_BYTES = 16 << 20
# So many bytes are read without asking for the size of the file.
_FEW_BYTES = 1 << 16
# No program of ours makes an array of chunks, h5repack and others do. These filters are part of HDF5, and no
# plug-in is loaded for them.
_ARRAY_FILTERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32})
_LARGEST_CHUNK_BYTES = 64 << 20
_DEFLATE_RATIO = 1032  # the greatest of zlib, by its technical details


def _encoded(name: str) -> bytes:
    """Return a name as it stands in the file; h5py gives bytes that are no UTF-8 as surrogates."""
    return name.encode("utf-8", "surrogateescape")


def _check_size(node: Node, size_bytes: int, limit_bytes: int) -> None:
    """Refuse what claims more bytes than it may have, or than the file."""
    if size_bytes > _FEW_BYTES:
        if size_bytes > limit_bytes:
            raise ValueError(f"it claims {in_bytes(size_bytes)}; {LIMITS.hint(limit_bytes)}")
        check_room(node, size_bytes)


def check_room(node: Node, size_bytes: int) -> None:
    """Raise ValueError if something claims more bytes than its file has."""
    if exceeds_file(node, size_bytes):
        raise ValueError(f"it claims {in_bytes(size_bytes)} of a file of {in_bytes(file_size(node))}")


def exceeds_file(node: Node, size_bytes: int) -> bool:
    """Return whether something claims more bytes than its file has; for a few, nobody asks."""
    return size_bytes > _FEW_BYTES and size_bytes > file_size(node)


def file_size(node: Node) -> int:
    """Return the size in bytes of the file that a node is in."""
    return int(h5i.get_file_id(node).get_filesize())


# --- attributes: reading -----------------------------------------------------------------------------


def has_attribute(node: Node, name: str) -> bool:
    """Return whether there is an attribute of this name."""
    return bool(h5a.exists(node, name.encode()))


def read_text(node: Node, name: str) -> str:
    """Return a text attribute.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute, kind = _open_text(node, name)
    if kind.is_variable_str():  # Not ours: edited by another program.
        return _variable_text(attribute, name)
    size = _checked_size(attribute, kind)
    _check_size(node, size, _most_bytes(name))
    return _fixed_text(attribute, kind, size).decode()


def find_text(node: Node, name: str) -> str | None:
    """Return a text attribute, or ``None`` if there is none of this name. Errors as in `read_text`."""
    try:
        return read_text(node, name)
    except KeyError:
        return None


def read_digest(node: Node, name: str) -> str:
    """Return a text attribute that is a digest, in less time than `read_text`. Errors as there.

    A text of another size is returned, too: that it is no digest shows when it is compared.
    """
    attribute = h5a.open(node, name.encode())
    if attribute.get_storage_size() != _DIGEST_BYTES:
        return read_text(node, name)
    # To ask for its type and number would take as long as to read it. HDF5 takes nothing but text for text,
    # and there is room for as many texts as so many bytes can be.
    texts = np.empty(_DIGEST_BYTES, f"S{_DIGEST_BYTES}")
    attribute.read(texts, _text_type(_DIGEST_BYTES, True))
    first: bytes = texts[0]
    return first.decode()


def find_digest(node: Node, name: str) -> str | None:
    """Return what `read_digest` does, or ``None`` if there is none of this name."""
    try:
        return read_digest(node, name)
    except KeyError:
        return None


def open_fixed_text(node: Node, name: str) -> FixedText:
    """Return a text attribute of fixed length, for reading and for writing in place.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute, kind = _open_text(node, name)
    if kind.is_variable_str():
        raise TypeError(f"attribute {name!r} is not text of fixed length")
    _check_size(node, kind.get_size(), _LARGEST_FIXED_TEXT_BYTES)
    return FixedText(attribute, kind)


def read_integer(node: Node, name: str) -> int:
    """Return an integer attribute, of whatever size up to 64 bits it is stored in.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute = h5a.open(node, name.encode())
    kind = attribute.get_type()
    size = attribute.get_storage_size()
    # One of them has the size of its type: to ask for the dataspace would take as long as the rest.
    if not isinstance(kind, h5t.TypeIntegerID) or size != kind.get_size() or _number_dtype(kind) is None:
        raise TypeError(f"attribute {name!r} is not one integer of up to 64 bits")
    value = np.empty((), np.int64)
    attribute.read(value, h5t.NATIVE_INT64)
    result: int = value.item()
    # HDF5 gives the nearest number for one that does not fit.
    if result == _LARGEST_INTEGER and kind.get_sign() == h5t.SGN_NONE:
        raise ValueError(f"attribute {name!r} is out of range")
    return result


def read_numbers(node: Node, name: str, *, n_axes: int = 1, size: int | None = None) -> Array:
    """Return an attribute that is an array of integers or of floats of double precision.

    Parameters
    ----------
    n_axes
        How many axes it must have.
    size
        How many elements it must have, if that is known.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute = h5a.open(node, name.encode())
    shape = attribute.get_space().get_simple_extent_dims()
    dtype = _number_dtype(attribute.get_type())
    if shape is None or len(shape) != n_axes or dtype is None:
        raise TypeError(f"attribute {name!r} is not an array of numbers")
    if size is not None and shape[0] != size:
        raise ValueError(f"attribute {name!r} has {shape[0]} elements instead of {size}")
    values_bytes = dtype.itemsize * math.prod(shape)
    if not values_bytes:
        return np.empty(shape, dtype)
    if attribute.get_storage_size() != values_bytes:
        raise ValueError(f"attribute {name!r} has another size than its shape")
    _check_size(node, values_bytes, LIMITS.array_bytes)
    values = np.empty(shape, dtype)
    attribute.read(values, _NUMBER_TYPES[dtype.str])  # naming the type spares h5py 10 us
    return values


def read_all_attributes(node: Node) -> None:
    """Have HDF5 read every attribute of a node; what it cannot read is left out."""
    if not h5o.get_info(node).meta_size.attr.index_size:
        return  # They are in its header, which is read with it.
    for index in range(h5a.get_num_attrs(node)):
        try:
            attribute = h5a.open(node, index=index)
            size = attribute.get_storage_size()
            _check_size(node, size, LIMITS.document_bytes)
            kind = attribute.get_type()
            if kind.get_class() in _PLAIN_CLASSES and kind.get_size() and not size % kind.get_size():
                attribute.read(np.empty(size, np.uint8), kind)  # as it is: nothing is converted
        except UNREADABLE:
            continue


class FixedText:
    """One text attribute of fixed length, which can be kept open if it is written at every change."""

    __slots__ = ("_attribute", "_kind", "size")

    def __init__(self, attribute: h5a.AttrID, kind: h5t.TypeStringID) -> None:
        self._attribute = attribute
        self._kind = kind
        self.size = _checked_size(attribute, kind)  #: room in bytes

    def read(self) -> bytes:
        """Return the text without its padding."""
        return _fixed_text(self._attribute, self._kind, self.size)

    def write(self, content: bytes) -> None:
        """Write the text in place, padded to the length of the attribute."""
        self._attribute.write(np.array(content, f"S{self.size}"), self._kind)


def _open_text(node: Node, name: str) -> tuple[h5a.AttrID, h5t.TypeStringID]:
    attribute = h5a.open(node, name.encode())
    kind = attribute.get_type()
    if not isinstance(kind, h5t.TypeStringID):
        raise TypeError(f"attribute {name!r} is not text")
    return attribute, kind


def _checked_size(attribute: h5a.AttrID, kind: h5t.TypeStringID) -> int:
    size: int = kind.get_size()
    if attribute.get_storage_size() != size:
        raise TypeError("a text attribute holds several texts, or none")
    return size


def _fixed_text(attribute: h5a.AttrID, kind: h5t.TypeStringID, size: int) -> bytes:
    value = np.empty((), f"S{size}")
    attribute.read(value, kind)
    text: bytes = value.item()
    return text


def _variable_text(attribute: h5a.AttrID, name: str) -> str:
    if attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
        raise TypeError(f"attribute {name!r} holds several texts, or none")
    value = np.empty((), attribute.dtype)
    attribute.read(value)
    text = bytes(value[()])
    if len(text) > (most_bytes := _most_bytes(name)):
        raise ValueError(f"attribute {name!r} claims {in_bytes(len(text))}; {LIMITS.hint(most_bytes)}")
    return text.decode()


def _most_bytes(name: str) -> int:
    """Return how long a text of this name can be: most are digests, names, times."""
    return (
        LIMITS.document_bytes
        if name in _LONG_TEXTS
        else min(_LARGEST_SHORT_TEXT_BYTES, LIMITS.document_bytes)
    )


def _number_dtype(kind: h5t.TypeID) -> np.dtype[Any] | None:
    """Return the type of numpy, little-endian, of an HDF5 type of numbers; ``None`` if it is another one.

    Class and size are not enough: where the parts of a float are said to lie beyond its end, HDF5 2.0 writes
    behind its buffers when it converts one.
    """
    sign = kind.get_class() == h5t.INTEGER and kind.get_sign()
    dtype = _DTYPES.get((kind.get_class(), kind.get_size(), sign))
    return dtype if dtype is not None and _is_usual(kind, dtype) else None


def _is_usual(kind: h5t.TypeID, dtype: np.dtype[Any]) -> bool:
    """Return whether an HDF5 type is that of a type of numpy, in either order of bytes."""
    return bool(kind.equal(_ARRAY_TYPES[dtype.str]) or kind.equal(_BIG_ENDIAN[dtype.str]))


# --- attributes: writing -----------------------------------------------------------------------------


def create_text(node: Node, name: str, text: str, *, is_ascii: bool = False) -> None:
    """Write a new text attribute: scalar, of fixed length, UTF-8 unless it is ASCII."""
    encoded = text.encode() or b"\0"
    kind = _text_type(len(encoded), is_ascii)
    h5a.create(node, name.encode(), kind, _SCALAR).write(np.array(encoded, f"S{len(encoded)}"), kind)


def write_text(node: Node, name: str, text: str, *, is_ascii: bool = False) -> None:
    """Write a text attribute in place of any of its name; as `create_text`.

    A variable-length string would leak its bytes at every rewrite.
    """
    delete_attribute(node, name)
    create_text(node, name, text, is_ascii=is_ascii)


def create_fixed_text(node: Node, name: str, content: bytes, size: int) -> FixedText:
    """Write ASCII text as a new attribute with room for `size` bytes."""
    kind = _text_type(size, True)
    text = FixedText(h5a.create(node, name.encode(), kind, _SCALAR), kind)
    text.write(content)
    return text


def create_integer(node: Node, name: str, value: int, dtype: str) -> None:
    """Write a new attribute: an integer of a type such as ``"<i8"``."""
    kind = _NUMBER_TYPES[dtype]
    h5a.create(node, name.encode(), kind, _SCALAR).write(np.array(value, dtype), kind)


def create_numbers(node: Node, name: str, values: Array) -> None:
    """Write a new attribute: a one-dimensional array of numbers of their own type."""
    kind = _NUMBER_TYPES[values.dtype.str]
    attribute = h5a.create(node, name.encode(), kind, h5s.create_simple(values.shape))
    attribute.write(np.ascontiguousarray(values), kind)


def write_numbers(node: Node, name: str, values: Array) -> None:
    """Write an array of numbers: in place if the attribute has this size and type already."""
    encoded = name.encode()
    if h5a.exists(node, encoded):
        attribute = h5a.open(node, encoded)
        shape, kind = attribute.get_space().get_simple_extent_dims(), _NUMBER_TYPES[values.dtype.str]
        if shape == values.shape and attribute.get_type().equal(kind):
            attribute.write(np.ascontiguousarray(values), kind)
            return
        del attribute
        h5a.delete(node, encoded)
    create_numbers(node, name, values)


def delete_attribute(node: Node, name: str) -> None:
    """Remove an attribute if it is there."""
    encoded = name.encode()
    if h5a.exists(node, encoded):
        h5a.delete(node, encoded)


def replace_attributes(
    source: h5py.HLObject,
    target: h5py.HLObject,
    *,
    optional: Container[str] = (),
    without: Container[str] = (),
) -> dict[str, str]:
    """Give `target` the attributes of `source`, in place of all that it has.

    Numbers, texts and other plain bytes are copied as they are; what would need more than its own bytes (a
    reference, a list of varying length) is no attribute of ours, and is left out with a warning.

    Those must all be gone before the first new one comes: in a reopened file, HDF5 2.0 cannot close (or
    crashes) when some of more than eight were removed and others created.

    Parameters
    ----------
    optional
        Names of attributes that are left out if they cannot be read; the names and why are returned.
    without
        Names of attributes of `source` that are left out.
    """
    for index in reversed(range(h5a.get_num_attrs(target.id))):
        h5a.delete(target.id, index=index)
    left_out = {}
    for index in range(h5a.get_num_attrs(source.id)):
        attribute = h5a.open(source.id, index=index)
        encoded = attribute.name if isinstance(attribute.name, bytes) else _encoded(attribute.name)
        name = encoded.decode("utf-8", "surrogateescape")
        if name in without:
            continue
        try:
            _copy_attribute(source.id, target.id, attribute, encoded)
        except UNREADABLE as error:
            if name not in optional:
                raise
            if h5a.exists(target.id, encoded):
                h5a.delete(target.id, encoded)
            left_out[name] = str(error)
    return left_out


def _copy_attribute(source: Node, target: Node, attribute: h5a.AttrID, name: bytes) -> None:
    kind, space = attribute.get_type(), attribute.get_space()
    size = kind.get_size() * space.get_simple_extent_npoints()
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        text = name.decode("utf-8", "surrogateescape")
        if space.get_simple_extent_type() == h5s.SCALAR:
            value = np.array(_variable_text(attribute, text).encode(), attribute.dtype)
            h5a.create(target, name, kind, space).write(value)
            return
    elif _is_plain(kind):
        _check_size(source, size, LIMITS.document_bytes)
        values = np.zeros(max(size, 1), np.uint8)
        copy = h5a.create(target, name, kind, space)
        if size:
            attribute.read(values, kind)
            copy.write(values, kind)
        return
    LOGGER.warning("the attribute %r of %r is not copied: its kind is not known", name, h5i.get_name(source))


def check_attributes(node: Node | None) -> None:
    """Have HDF5 read each attribute of a node whose values are all in its own bytes.

    Raises
    ------
    TypeError
        If there is no node. Damage raises one of `UNREADABLE`.
    """
    if node is None:
        raise TypeError("it is not a dataset")
    for index in range(h5a.get_num_attrs(node)):
        attribute = h5a.open(node, index=index)
        kind = attribute.get_type()
        size = kind.get_size() * attribute.get_space().get_simple_extent_npoints()
        if size and _is_plain(kind):
            _check_size(node, size, LIMITS.document_bytes)
            attribute.read(np.empty(size, np.uint8), kind)


def _is_plain(kind: h5t.TypeID) -> bool:
    """Return whether the values of a type are all in its own bytes."""
    if isinstance(kind, h5t.TypeCompoundID):
        return all(_is_plain(kind.get_member_type(place)) for place in range(kind.get_nmembers()))
    if isinstance(kind, h5t.TypeArrayID):
        return _is_plain(kind.get_super())
    return kind.get_class() in _PLAIN_CLASSES and not (
        isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
    )


@functools.lru_cache(maxsize=256)
def _text_type(size_bytes: int, is_ascii: bool) -> h5t.TypeStringID:
    kind = h5t.C_S1.copy()
    kind.set_size(size_bytes)
    kind.set_strpad(h5t.STR_NULLPAD)
    if not is_ascii:
        kind.set_cset(h5t.CSET_UTF8)
    return kind


# --- groups ------------------------------------------------------------------------------------------


def create_group(parent: Node, name: str, *, dense: bool | None = None) -> h5g.GroupID:
    """Return a new group that netCDF-4 can append to and whose attributes may be rewritten for ever.

    Links keep their creation order, which netCDF-4 asks for; attributes do not, because an object
    whose attribute creation order is tracked can create only 65,535 attributes in its life.

    Parameters
    ----------
    dense
        Whether each attribute can be read without the others; if false, they lie together in the header of
        the group, which is smaller and faster for small ones. By default, they do up to a number of them that
        no object has; by itself HDF5 sets them apart from nine on, which takes three times the room.
    """
    return h5g.create(parent, name.encode(), gcpl=_group_properties(dense))


def create_small_group(parent: Node, name: str) -> h5g.GroupID:
    """Return a new group as `create_group` does that is made for a few tens of links.

    Up to `_MOST_COMPACT_LINKS` of them stand in its header. By default, the ninth one makes HDF5 move all to
    a heap and a tree, which take 1.3 kB.
    """
    return h5g.create(parent, name.encode(), gcpl=_small_group_properties())


def open_group(parent: Node, name: str) -> h5g.GroupID:
    """Return a group in `parent`.

    Raises
    ------
    KeyError
        If there is none of this name. Damage, and a link of another kind than a hard one, raises one of
        `UNREADABLE`.
    """
    encoded = _encoded(name)
    _check_link(parent, encoded)
    return h5g.open(parent, encoded)


def find_group(parent: Node, name: str) -> h5g.GroupID | None:
    """Return a group in `parent`, or ``None`` if there is nothing of this name, or something else.

    Damage raises one of `UNREADABLE`.
    """
    encoded = _encoded(name)
    if not parent.links.exists(encoded) or _link_kind(parent, encoded) != h5l.TYPE_HARD:
        return None
    node = h5o.open(parent, encoded)
    return node if isinstance(node, h5g.GroupID) else None


def open_own_group(parent: Node, name: str) -> h5g.GroupID:
    """Return a group in `parent` that stands nowhere else: what is in it can be removed.

    Raises
    ------
    KeyError
        If there is none of this name. Damage, and a group with another name, raises one of `UNREADABLE`.
    """
    group = open_group(parent, name)
    info = h5o.get_info(group)
    if info.rc != 1 or info.addr == h5o.get_info(h5i.get_file_id(parent)).addr:
        raise TypeError("it is another group, too, under a name of its own")
    return group


def child_names(group: h5g.GroupID) -> list[str]:
    """Return the names of the links of a group in its order; bytes that are no UTF-8 become surrogates."""
    # h5py gives those as bytes.
    return [
        name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        for name in h5py.Group(group)
    ]


def n_children(group: h5g.GroupID) -> int:
    """Return how many links a group has."""
    return int(group.get_num_objs())


def _check_link(parent: Node, encoded: bytes) -> None:
    """Refuse a link that may lead anywhere, into other files too."""
    kind = _link_kind(parent, encoded)
    if kind != h5l.TYPE_HARD:
        raise TypeError(f"it is {_LINK_KINDS.get(kind, 'a link of an unknown kind')}, which is not followed")


def _link_kind(parent: Node, encoded: bytes) -> int:
    # HDF5 takes any name for a path, and follows what links it meets on the way.
    if b"/" in encoded or encoded in (b"", b"."):
        raise ValueError("it is a path, not the name of a link")
    kind: int = parent.links.get_info(encoded).type
    return kind


@functools.cache
def _group_properties(dense: bool | None) -> h5p.PropGCID:
    properties = h5p.create(h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    properties.set_attr_phase_change(*_ATTRIBUTES_APART[dense])
    return properties


_MOST_COMPACT_LINKS, _FEWEST_DENSE_LINKS = 32, 24
_EXPECTED_LINKS, _EXPECTED_NAME_BYTES = 2, 20


@functools.cache
def _small_group_properties() -> h5p.PropGCID:
    # h5py has no call for this property (H5Pset_link_phase_change): it is read from a group that has it. That
    # is the root of a file in memory, which is a superblock and a header of two messages (HDF5 File Format
    # Specification 3.0, II.A.3, IV.A.1.b, IV.A.2.c and IV.A.2.k).
    nowhere = (1 << 64) - 1
    link_info = struct.pack("<BBqQQQ", 0, 0b11, 0, nowhere, nowhere, nowhere)
    sizes = _MOST_COMPACT_LINKS, _FEWEST_DENSE_LINKS, _EXPECTED_LINKS, _EXPECTED_NAME_BYTES
    group_info = struct.pack("<BB4H", 0, 0b11, *sizes)
    messages = b"".join(
        struct.pack("<BHB", kind, len(body), 0) + body
        for kind, body in ((0x02, link_info), (0x0A, group_info))
    )
    header = b"OHDR" + bytes([2, 0, len(messages)]) + messages
    header += struct.pack("<I", lookup3(header))
    start = b"\x89HDF\r\n\x1a\n" + bytes([3, 8, 8, 0])
    start += struct.pack("<QQQQ", 0, nowhere, len(start) + 36 + len(header), len(start) + 36)
    start += struct.pack("<I", lookup3(start))
    with h5py.File(io.BytesIO(start + header), "r") as file:
        properties = h5g.open(file.id, b"/").get_create_plist()
    properties.set_attr_phase_change(*_ATTRIBUTES_APART[None])
    return properties


# --- datasets ----------------------------------------------------------------------------------------


def open_dataset(parent: Node, link: str) -> h5d.DatasetID | None:
    """Return the dataset that stands under a link, or ``None`` if something else does.

    Raises
    ------
    KeyError
        If there is no such link. Damage raises one of `UNREADABLE`.
    """
    node = open_node(parent, link)
    return node if isinstance(node, h5d.DatasetID) else None


def open_node(parent: Node, link: str) -> h5g.GroupID | h5d.DatasetID | None:
    """Return what stands under a link, ``None`` if it is a link of another kind; errors as `open_dataset`."""
    encoded = _encoded(link)
    # A link of another kind may lead anywhere, into other files too.
    return h5o.open(parent, encoded) if _link_kind(parent, encoded) == h5l.TYPE_HARD else None


def read_array(dataset: h5d.DatasetID) -> Array:
    """Return the values of a dataset of numbers, in the byte order of this machine.

    Raises
    ------
    TypeError
        If they are no plain numbers, or are kept outside of this file.
    ValueError
        If they claim more room than they can have. Damage raises one of `UNREADABLE`.
    """
    shape, dtype = array_form(dataset)
    values = np.empty(shape, dtype)
    if values.size:
        dataset.read(h5s.ALL, h5s.ALL, values, _ARRAY_TYPES[dtype.str])
    return values


def array_form(dataset: h5d.DatasetID) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of a dataset that can be read as an array; none of its values are read.

    Raises
    ------
    TypeError, ValueError
        As `read_array`.
    """
    properties = dataset.get_create_plist()
    _check_is_inside(properties)
    shape, kind = dataset.get_space().get_simple_extent_dims(), dataset.get_type()
    if shape is None:
        raise TypeError("it has no values")
    dtype = _array_dtype(kind)
    if dtype is None:
        raise TypeError("its values are not integers or floats of 32 or 64 bits")
    size = dtype.itemsize * math.prod(shape)
    if size > LIMITS.array_bytes:
        raise ValueError(f"it claims {in_bytes(size)}; {LIMITS.hint(LIMITS.array_bytes)}")
    if size:
        _check_storage(dataset, properties, size, dtype.itemsize)
    return shape, dtype


def _array_dtype(kind: h5t.TypeID) -> np.dtype[Any] | None:
    single = np.dtype("<f4")
    return single if _is_usual(kind, single) else _number_dtype(kind)


def _check_is_inside(properties: h5p.PropDCID) -> None:
    """Refuse a dataset whose values are in other files or datasets."""
    if properties.get_external_count():
        raise TypeError("its values are in another file (external storage), which is not followed")
    if properties.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
        raise TypeError("its values are those of other datasets (a virtual dataset), which are not followed")


def _check_storage(dataset: h5d.DatasetID, properties: h5p.PropDCID, size: int, item_bytes: int) -> None:
    """Refuse a dataset of `size` bytes that are not all in the file."""
    stored, ratio = int(dataset.get_storage_size()), 1
    if properties.get_layout() == h5d.CHUNKED:
        filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
        if len(set(filters)) < len(filters) or not _ARRAY_FILTERS.issuperset(filters):
            raise TypeError(f"its chunks pass the filters {filters}, which are not all read")
        if item_bytes * math.prod(properties.get_chunk()) > _LARGEST_CHUNK_BYTES:
            raise ValueError(f"its chunks are larger than {in_bytes(_LARGEST_CHUNK_BYTES)}")
        ratio = _DEFLATE_RATIO if h5z.FILTER_DEFLATE in filters else 1
    elif stored != size:
        raise ValueError(f"it has {in_bytes(stored)} instead of {in_bytes(size)} in the file")
    _check_size(dataset, stored, LIMITS.array_bytes)
    if size > stored * ratio:
        raise ValueError(f"it claims {in_bytes(size)} and has {in_bytes(stored)} in the file")


def create_array(parent: Node, name: str, values: Array) -> h5d.DatasetID:
    """Return a new dataset with the values of an array of numbers, little-endian."""
    ordered = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    kind = _ARRAY_TYPES[ordered.dtype.str]
    dataset = h5d.create(parent, name.encode(), kind, h5s.create_simple(ordered.shape), _array_properties())
    if ordered.size:
        dataset.write(h5s.ALL, h5s.ALL, ordered, kind)
    return dataset


@functools.cache
def _array_properties() -> h5p.PropDCID:
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    # All of it is written at once.
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    return properties


def create_chunked(
    parent: Node,
    dtype: str,
    length: int,
    chunk: int,
    filters: Sequence[tuple[int, tuple[int, ...]]],
    *,
    can_grow: bool,
) -> h5d.DatasetID:
    """Return a new dataset of one axis that has no name yet: `add_link` gives it one.

    Parameters
    ----------
    dtype
        Type of its elements, such as ``"<u4"``.
    length, chunk
        How many elements it has, and a chunk of it.
    filters
        Number and options of each filter that its chunks pass.
    can_grow
        Whether `grow` can make it longer, which costs some hundred bytes.
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    properties.set_chunk((chunk,))
    for number, options in filters:
        # Optional, so that a filter this HDF5 lacks does not forbid writing; reading needs it all the same.
        properties.set_filter(number, h5z.FLAG_OPTIONAL, options)
    space = h5s.create_simple((length,), (h5s.UNLIMITED,) if can_grow else None)
    return h5d.create(parent, None, _NUMBER_TYPES[dtype], space, properties)


def can_grow(dataset: h5d.DatasetID) -> bool:
    """Return whether a dataset of one axis can be made longer."""
    return bool(dataset.get_space().get_simple_extent_dims(maxdims=True)[0] == h5s.UNLIMITED)


def grow(dataset: h5d.DatasetID, length: int) -> None:
    """Give a dataset of one axis as many elements; its chunks stay as they are."""
    dataset.set_extent((length,))


def write_chunk(dataset: h5d.DatasetID, start: int, stored: Any, filter_mask: int) -> None:
    """Write the stored bytes of the chunk that begins with element `start`."""
    with phil:  # h5py before 3.16 does not take its own lock here
        dataset.write_direct_chunk((start,), stored, filter_mask)


def visit_chunks(dataset: h5d.DatasetID, visit: Callable[[h5d.StoreInfo], None]) -> None:
    """Call `visit` for each written chunk of a dataset."""
    dataset.chunk_iter(visit)


def chunked_form(dataset: h5d.DatasetID) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return the shape of a dataset, that of its chunks, and how many bytes each element has.

    Raises
    ------
    TypeError
        If it has no chunks. Damage raises one of `UNREADABLE`.
    """
    properties = dataset.get_create_plist()
    shape = dataset.get_space().get_simple_extent_dims()
    if shape is None or properties.get_layout() != h5d.CHUNKED:
        raise TypeError("its values are not in chunks")
    return shape, properties.get_chunk(), dataset.get_type().get_size()


def stored_bytes(dataset: h5d.DatasetID) -> int:
    """Return how many bytes the chunks of a dataset take in the file."""
    return int(dataset.get_storage_size())


def stored_ranges(dataset: h5d.DatasetID) -> list[tuple[int, int]]:
    """Return offset and size of each piece of the file that has values of a dataset."""
    if dataset.get_create_plist().get_layout() == h5d.CHUNKED:
        found: list[tuple[int, int]] = []
        visit_chunks(dataset, lambda chunk: found.append((chunk.byte_offset, chunk.size)))
        return found
    offset = dataset.get_offset()  # none if they are in the header of the dataset, or nowhere
    return [] if offset is None else [(offset, int(dataset.get_storage_size()))]


# --- dimension scales ----------------------------------------------------------------------------------

_REFERENCES = h5py.vlen_dtype(h5py.ref_dtype)
_REFERENCES_TYPE = h5t.vlen_create(h5t.STD_REF_OBJ)


def create_scale(parent: Node, name: str, length: int, title: str) -> h5d.DatasetID:
    """Return a new dimension scale of a length, of big-endian floats none of which is written."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    dataset = h5d.create(parent, name.encode(), h5t.IEEE_F32BE, h5s.create_simple((length,)), properties)
    h5ds.set_scale(dataset, title.encode())
    return dataset


def reference(node: h5d.DatasetID) -> h5r.Reference:
    """Return an HDF5 reference to a dataset."""
    return h5r.create(node, b".", h5r.OBJECT)


def attach_scales(dataset: h5d.DatasetID, scales: Sequence[h5r.Reference]) -> None:
    """Give each axis of a dataset its dimension scale.

    The scales do not get lists of what they are attached to (``REFERENCE_LIST``), as they would from
    ``H5DSattach_scale``: one that serves a whole file would be written again for every array of it. Nobody
    needs them to find the scales of a dataset.
    """
    lists = np.empty(len(scales), _REFERENCES)
    for axis, scale in enumerate(scales):
        lists[axis] = np.array([scale], h5py.ref_dtype)
    space = h5s.create_simple((len(scales),))
    h5a.create(dataset, layout.DIMENSION_SCALES.encode(), _REFERENCES_TYPE, space).write(lists)


# --- links -------------------------------------------------------------------------------------------

_OPEN_NODES = h5f.OBJ_GROUP | h5f.OBJ_DATASET | h5f.OBJ_ATTR


def link_exists(parent: Node, name: str) -> bool:
    """Return whether `parent` has a link of this name, wherever it leads."""
    return bool(parent.links.exists(_encoded(name)))


def add_link(node: Node, parent: Node, name: str) -> None:
    """Give a node a name, or one more."""
    h5o.link(node, parent, name.encode(), lcpl=_link_properties())


def link_places(parent: h5g.GroupID, names: Iterable[str]) -> list[int]:
    """Return the offsets in the file of what stands under some names; nothing of it is read.

    Names that lead nowhere are left out.
    """
    places = []
    for name in names:
        try:
            found = parent.links.get_info(_encoded(name))
        except UNREADABLE:
            continue
        if found.type == h5l.TYPE_HARD:
            places.append(int(found.u))
    return places


def copy_node(source: Node, target: Node, name: str) -> None:
    """Copy what stands in the group `source` under a name to the group `target`, as it is stored.

    Raises
    ------
    TypeError
        If values of it are kept outside of this file: HDF5 would read them, and copy them too.
    """
    encoded = _encoded(name)
    _check_link(source, encoded)
    node = h5o.open(source, encoded)
    if isinstance(node, h5d.DatasetID):
        _check_is_inside(node.get_create_plist())
    elif isinstance(node, h5g.GroupID):
        _check_all_inside(node)
    h5o.copy(source, encoded, target, encoded, lcpl=_link_properties())


def _check_all_inside(group: h5g.GroupID) -> None:
    def check(name: bytes) -> None:
        node = h5o.open(group, name)
        if isinstance(node, h5d.DatasetID):
            _check_is_inside(node.get_create_plist())

    h5o.visit(group, check)


def address(group: h5g.GroupID) -> int:
    """Return where a group is in the file."""
    return int(h5g.get_objinfo(group).objno[0])


def address_and_names(dataset: h5d.DatasetID) -> tuple[int, int]:
    """Return where a dataset is in the file, and how many names it has."""
    info = h5o.get_info(dataset)
    return int(info.addr), int(info.rc)


def rename(parent: Node, name: str, new_name: str) -> None:
    """Give a link another name, which must be free."""
    parent.move(name.encode(), new_name.encode())


def move(parent: Node, name: str, target: Node, new_name: str) -> None:
    """Give a link of `parent` a name in another group, where it is free; what it leads to is not read."""
    parent.links.move(_encoded(name), target, _encoded(new_name), lcpl=_link_properties())


def unlink(parent: Node, name: str) -> None:
    """Remove a link; what it leads to goes with the last link, whatever this process has open of it.

    HDF5 keeps an object until it is closed everywhere. One that stands in a reference cycle, or in the
    traceback of an error, is closed when the garbage collector comes across it, which may be in another
    transaction.
    """
    encoded = _encoded(name)
    path = b"/".join([(h5i.get_name(parent) or b"").rstrip(b"/"), encoded])
    for identifier in h5f.get_obj_ids(h5i.get_file_id(parent), _OPEN_NODES):
        place = h5i.get_name(identifier)
        if place is not None and (place == path or place.startswith(path + b"/")):
            while identifier.valid:
                h5i.dec_ref(identifier)
    parent.unlink(encoded)


def put_aside(parent: Node, link: str, name: str) -> str:
    """Move what is under a link of `parent`, unread, among what is set aside; return where it is now.

    Parameters
    ----------
    name
        What it is called there; a number follows if that is taken.
    """
    place = _set_aside(h5i.get_file_id(parent))
    free = _free_name(place, _encoded(name).decode("utf-8", "backslashreplace"))
    parent.links.move(_encoded(link), place, _encoded(free), lcpl=_link_properties())
    return f"/{layout.SET_ASIDE}/{free}"


def _set_aside(root: h5f.FileID) -> h5g.GroupID:
    """Return the group of what is set aside; what has its name and is no group gets another one."""
    name = layout.SET_ASIDE
    if link_exists(root, name):
        try:
            return open_own_group(root, name)
        except UNREADABLE:
            root.links.move(_encoded(name), root, _encoded(_free_name(root, name)), lcpl=_link_properties())
    return create_group(root, name)


def _free_name(parent: Node, name: str) -> str:
    names = itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
    return next(choice for choice in names if not link_exists(parent, choice))


@functools.cache
def _link_properties() -> h5p.PropLCID:
    properties = h5p.create(h5p.LINK_CREATE)
    properties.set_char_encoding(h5t.CSET_UTF8)
    return properties

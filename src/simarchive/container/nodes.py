"""The nodes of an HDF5 file and their attributes: the one place where HDF5's low-level calls are made.

A node is a group or a dataset, by the identifier that h5py's lower half gives it (``group.id``). Whatever
comes out of a file is checked here before it is read: a file may be damaged, or made to do damage.

`h5py.AttributeManager` asks for type, space and existence of each attribute, and writes each under a
temporary name first: several times the work, which counts where thousands of objects are read or written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5i, h5l, h5o, h5p, h5s, h5t, h5z
from h5py._objects import phil

from simarchive.container import layout

Node: TypeAlias = h5g.GroupID | h5d.DatasetID | h5f.FileID
Array: TypeAlias = np.ndarray[Any, Any]

UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What HDF5, numpy and this module raise for what is missing or damaged."""

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
_SCALAR = h5s.create(h5s.SCALAR)
_LARGEST_INTEGER_BYTES = 8


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
    return _fixed_text(attribute, kind, _checked_size(attribute, kind)).decode()


def find_text(node: Node, name: str) -> str | None:
    """Return a text attribute, or ``None`` if there is none of this name. Errors as in `read_text`."""
    try:
        return read_text(node, name)
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
    return FixedText(attribute, kind)


def read_integer(node: Node, name: str) -> int:
    """Return an integer attribute, of whatever size it is stored in.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    attribute = h5a.open(node, name.encode())
    # So few bytes are so few elements at most: each has its place in `values`, whatever the shape is. To ask
    # for type and space would take a third of the time again.
    if not 0 < attribute.get_storage_size() <= _LARGEST_INTEGER_BYTES:
        raise TypeError(f"attribute {name!r} is not an integer")
    values = np.empty(_LARGEST_INTEGER_BYTES, np.int64)
    attribute.read(values, h5t.NATIVE_INT64)
    result: int = values.item(0)
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
    values = np.empty(shape, dtype)
    attribute.read(values, _NUMBER_TYPES[dtype.str])  # naming the type spares h5py 10 us
    return values


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
    if attribute.shape != ():
        raise TypeError(f"attribute {name!r} holds several texts, or none")
    value = np.empty((), attribute.dtype)
    attribute.read(value)
    return bytes(value[()]).decode()


def _number_dtype(kind: h5t.TypeID) -> np.dtype[Any] | None:
    """Return the little-endian type of numbers of an HDF5 type; ``None`` if it is another one."""
    sign = kind.get_class() == h5t.INTEGER and kind.get_sign()
    return _DTYPES.get((kind.get_class(), kind.get_size(), sign))


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
        shape = attribute.get_space().get_simple_extent_dims()
        if shape == values.shape and _number_dtype(attribute.get_type()) == values.dtype:
            attribute.write(np.ascontiguousarray(values), _NUMBER_TYPES[values.dtype.str])
            return
        del attribute
        h5a.delete(node, encoded)
    create_numbers(node, name, values)


def delete_attribute(node: Node, name: str) -> None:
    """Remove an attribute if it is there."""
    encoded = name.encode()
    if h5a.exists(node, encoded):
        h5a.delete(node, encoded)


def replace_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    """Give `target` the attributes of `source`, of whatever kind, in place of all that it has.

    Those must all be gone before the first new one comes: in a reopened file, HDF5 2.0 cannot close (or
    crashes) when some of more than eight were removed and others created.
    """
    for name in list(target.attrs):
        del target.attrs[name]
    for name in source.attrs:
        attribute = source.attrs.get_id(name)
        target.attrs.create(name, source.attrs[name], dtype=attribute.dtype)


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
        the group, which is smaller and faster for small ones. By default, HDF5 decides by their number.
    """
    return h5g.create(parent, name.encode(), gcpl=_group_properties(dense))


def open_group(parent: Node, name: str) -> h5g.GroupID:
    """Return a group in `parent`.

    Raises
    ------
    KeyError
        If there is none of this name. Damage raises one of `UNREADABLE`.
    """
    return h5g.open(parent, name.encode())


@functools.cache
def _group_properties(dense: bool | None) -> h5p.PropGCID:
    properties = h5p.create(h5p.GROUP_CREATE)
    properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    if dense is not None:
        properties.set_attr_phase_change(*((0, 0) if dense else (65535, 0)))
    return properties


# --- datasets ----------------------------------------------------------------------------------------


def open_dataset(parent: Node, link: str) -> h5d.DatasetID | None:
    """Return the dataset that stands under a link, or ``None`` if something else does.

    Raises
    ------
    KeyError
        If there is no such link. Damage raises one of `UNREADABLE`.
    """
    encoded = link.encode("utf-8", "surrogateescape")
    # A link of another kind may lead anywhere, into other files too.
    if parent.links.get_info(encoded).type != h5l.TYPE_HARD:
        return None
    node = h5o.open(parent, encoded)
    return node if isinstance(node, h5d.DatasetID) else None


def read_array(dataset: h5d.DatasetID) -> Array:
    """Return the values of a dataset, in the byte order of this machine."""
    return np.asarray(h5py.Dataset(dataset)[()])


def create_chunked(
    parent: Node, dtype: str, length: int, chunk: int, filters: Sequence[tuple[int, tuple[int, ...]]]
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
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    properties.set_chunk((chunk,))
    for number, options in filters:
        # Optional, so that a filter this HDF5 lacks does not forbid writing; reading needs it all the same.
        properties.set_filter(number, h5z.FLAG_OPTIONAL, options)
    return h5d.create(parent, None, _NUMBER_TYPES[dtype], h5s.create_simple((length,)), properties)


def write_chunk(dataset: h5d.DatasetID, start: int, stored: Any, filter_mask: int) -> None:
    """Write the stored bytes of the chunk that begins with element `start`."""
    with phil:  # h5py before 3.16 does not take its own lock here
        dataset.write_direct_chunk((start,), stored, filter_mask)


def visit_chunks(dataset: h5d.DatasetID, visit: Callable[[h5d.StoreInfo], None]) -> None:
    """Call `visit` for each written chunk of a dataset."""
    dataset.chunk_iter(visit)


def stored_bytes(dataset: h5d.DatasetID) -> int:
    """Return how many bytes the chunks of a dataset take in the file."""
    return int(dataset.get_storage_size())


# --- links -------------------------------------------------------------------------------------------

_OPEN_NODES = h5f.OBJ_GROUP | h5f.OBJ_DATASET | h5f.OBJ_ATTR


def link_exists(parent: Node, name: str) -> bool:
    """Return whether `parent` has a link of this name, wherever it leads."""
    return bool(parent.links.exists(name.encode()))


def add_link(node: Node, parent: Node, name: str) -> None:
    """Give a node a name, or one more."""
    h5o.link(node, parent, name.encode(), lcpl=_link_properties())


def copy_node(source: Node, target: Node, name: str) -> None:
    """Copy what stands in the group `source` under a name to the group `target`, as it is stored."""
    encoded = name.encode()
    h5o.copy(source, encoded, target, encoded, lcpl=_link_properties())


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


def unlink(parent: Node, name: str) -> None:
    """Remove a link; what it leads to goes with the last link, whatever this process has open of it.

    HDF5 keeps an object until it is closed everywhere. One that stands in a reference cycle, or in the
    traceback of an error, is closed when the garbage collector comes across it, which may be in another
    transaction.
    """
    encoded = name.encode()
    path = b"/".join([(h5i.get_name(parent) or b"").rstrip(b"/"), encoded])
    for identifier in h5f.get_obj_ids(h5i.get_file_id(parent), _OPEN_NODES):
        place = h5i.get_name(identifier)
        if place is not None and (place == path or place.startswith(path + b"/")):
            while identifier.valid:
                h5i.dec_ref(identifier)
    parent.unlink(encoded)


def put_aside(handle: h5py.File, path: str, name: str) -> str:
    """Move what is at `path`, unread, among what is set aside, under `name` or one like it; return where."""
    if layout.SET_ASIDE not in handle:
        create_group(handle.id, layout.SET_ASIDE)
    taken = handle[layout.SET_ASIDE]
    free = next(
        choice
        for choice in itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
        if choice not in taken
    )
    place = f"/{layout.SET_ASIDE}/{free}"
    handle.move(path, place)
    return place


@functools.cache
def _link_properties() -> h5p.PropLCID:
    properties = h5p.create(h5p.LINK_CREATE)
    properties.set_char_encoding(h5t.CSET_UTF8)
    return properties

"""Numbers whose HDF5 type is not the usual one of their size are refused before HDF5 converts them.

HDF5 2.0 writes behind its buffers when it converts floats of which a part is said to lie beyond their end.
One bit in the type of an attribute is enough, and attributes in a heap have no checksum.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from campaign import container
from h5py import h5a, h5d, h5s, h5t

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.container import nodes
from simarchive.errors import CorruptError
from simarchive.storage.hdf5.verification import verify_file

DOUBLE = {"spos": 63, "epos": 52, "esize": 11, "mpos": 0, "msize": 52}


def double(**parts: int) -> h5t.TypeID:
    kind = h5t.IEEE_F64LE.copy()
    kind.set_fields(*{**DOUBLE, **parts}.values())
    return kind


def integer(usual: h5t.TypeID, precision: int, offset: int = 0) -> h5t.TypeID:
    kind = usual.copy()
    kind.set_precision(precision)
    kind.set_offset(offset)
    return kind


def biased() -> h5t.TypeID:
    kind = h5t.IEEE_F64LE.copy()
    kind.set_ebias(511)
    return kind


UNUSUAL = {
    "a float with a small exponent": double(esize=8),
    "a float with a small mantissa": double(msize=20),
    "a float with another bias": biased(),
    "an integer in the middle": integer(h5t.STD_I64LE, 40, 12),
    "an unsigned integer with few bits": integer(h5t.STD_U32LE, 20),
}
each_unusual = pytest.mark.parametrize("kind", UNUSUAL.values(), ids=UNUSUAL)


@pytest.fixture
def root(tmp_path: Path) -> h5py.Group:
    return h5py.File(tmp_path / "a.h5", "w")


@each_unusual
def test_an_attribute_is_refused_and_written_anew(root: h5py.Group, kind: h5t.TypeID) -> None:
    h5a.create(root.id, b"numbers", kind, h5s.create_simple((3,)))
    h5a.create(root.id, b"number", kind, h5s.create(h5s.SCALAR))
    with pytest.raises(TypeError, match="not an array of numbers"):
        nodes.read_numbers(root.id, "numbers")
    with pytest.raises(TypeError, match="not one integer"):
        nodes.read_integer(root.id, "number")
    nodes.read_all_attributes(root.id)
    for values in (np.arange(3.0), np.arange(3)):
        nodes.write_numbers(root.id, "numbers", values)
        assert nodes.read_numbers(root.id, "numbers").tolist() == [0, 1, 2]


@each_unusual
def test_an_array_is_refused(root: h5py.Group, kind: h5t.TypeID) -> None:
    dataset = h5d.create(root.id, b"values", kind, h5s.create_simple((3,)))
    with pytest.raises(TypeError, match="not integers or floats"):
        nodes.read_array(dataset)


def test_numbers_of_the_other_byte_order_are_read(root: h5py.Group) -> None:
    for number, dtype in enumerate((">f8", ">i8", ">u4", ">i2")):
        name, values = f"numbers-{number}", np.arange(3, dtype=dtype)
        root.attrs[name] = values
        assert nodes.read_numbers(root.id, name).tolist() == [0, 1, 2]
        nodes.write_numbers(root.id, name, values.astype(values.dtype.newbyteorder("<")) + 1)
        assert nodes.read_numbers(root.id, name).tolist() == [1, 2, 3]
    root["values"] = np.arange(3, dtype=">f4")
    assert nodes.read_array(root["values"].id).tolist() == [0, 1, 2]


def test_bits_of_the_type_of_an_index_attribute_is_named_and_harms_nothing(tmp_path: Path) -> None:
    sound = container(tmp_path)
    data = bytearray(sound.read_bytes())
    # Name, and class, size and parts of an IEEE double (HDF5 File Format Specification 3.0, IV.A.2.d).
    kind = bytes.fromhex("11203f00 08000000 0000 4000 34 0b 00 34 ff030000")
    end = b"summaries\0" + kind
    path = tmp_path / "flipped.h5"
    n_named = 0
    for found in re.finditer(re.escape(end), data):
        # Where a table was written before, there are old ones, which nothing reads.
        named, changed = set(), set()
        for bit in range(0, 12 * 8, 3):
            place = found.end() - 12 + bit // 8
            data[place] ^= 1 << bit % 8
            path.write_bytes(data)
            data[place] ^= 1 << bit % 8
            named.add(not verify_file(path).ok)
            # Where HDF5 cannot take an index apart, a change is refused.
            with contextlib.suppress(CorruptError), HDF5Storage(path) as backend:
                backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF></SMIRNOFF>"))
                backend.remove_object(backend.keys()[0])
                changed.add(True)
        assert len(named) == 1
        assert changed
        n_named += named == {True}
    assert n_named

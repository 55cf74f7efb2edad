"""Attributes are checked before they are read: HDF5 itself would write past the end of a buffer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from simarchive import HDF5Storage
from simarchive.container import nodes
from simarchive.testing.sample_objects import simulation, write_files


@pytest.fixture
def group(tmp_path: Path) -> Iterator[h5py.Group]:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file.create_group("object")


@pytest.mark.parametrize(
    "value",
    [
        np.array([b"one", b"two"]),
        np.array(["one", "two"], h5py.string_dtype()),
        np.array([], "S3"),
        h5py.Empty("S3"),
        7,
        b"\xff",
    ],
    ids=repr,
)
def test_text_is_one_text(group: h5py.Group, value: object) -> None:
    group.attrs["text"] = value
    with pytest.raises(nodes.UNREADABLE):
        nodes.read_text(group.id, "text")
    with pytest.raises(nodes.UNREADABLE):
        nodes.find_text(group.id, "text")


@pytest.mark.parametrize("value", ["é", b"e", "é" * 20_000, np.bytes_(b"fixed")])
def test_text_of_other_programs_is_read(group: h5py.Group, value: str | bytes) -> None:
    group.attrs.create("text", value)
    assert nodes.read_text(group.id, "text") == (value if isinstance(value, str) else value.decode())
    assert nodes.find_text(group.id, "other") is None


DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("value", [DIGEST, np.bytes_(DIGEST), "short", "é" * 32])
def test_a_digest_is_read_like_any_text(group: h5py.Group, value: str | bytes) -> None:
    group.attrs.create("digest", value)
    assert nodes.read_digest(group.id, "digest") == (value if isinstance(value, str) else value.decode())
    assert nodes.find_digest(group.id, "other") is None


@pytest.mark.parametrize("one", [b"a", b"ab", b"abcd"])
def test_many_texts_in_the_room_of_a_digest_are_no_digest(group: h5py.Group, one: bytes) -> None:
    # Read into the room for one digest, HDF5 would write each of them at the length of a digest.
    group.attrs["digest"] = np.array([one] * (64 // len(one)))
    for _ in range(100):
        assert nodes.read_digest(group.id, "digest") == one.decode()


@pytest.mark.parametrize("value", [np.arange(8), np.arange(8.0), h5py.Empty("S64"), 7], ids=repr)
def test_numbers_are_no_digest(group: h5py.Group, value: object) -> None:
    group.attrs["digest"] = value
    with pytest.raises(nodes.UNREADABLE):
        nodes.read_digest(group.id, "digest")


def test_the_attributes_of_an_object_are_read_with_its_header(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_object(simulation("first"), write_files(tmp_path / "files"))
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["objects"][key]
        assert len(group.attrs) > 8  # from where on HDF5 by itself sets them apart
        assert h5py.h5o.get_info(group.id).meta_size.attr.heap_size == 0


@pytest.mark.parametrize(
    "value",
    [np.arange(3), np.arange(5000), np.ones(64, np.int8), np.array([], np.int64), h5py.Empty("i8"), "7"],
    ids=repr,
)
def test_an_integer_is_one_integer(group: h5py.Group, value: object) -> None:
    group.attrs["number"] = value
    with pytest.raises(nodes.UNREADABLE):
        nodes.read_integer(group.id, "number")


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "<u4", ">i8", "<i8"])
def test_an_integer_is_read_of_whatever_size(group: h5py.Group, kind: str) -> None:
    group.attrs["number"] = np.array(7, kind)
    assert nodes.read_integer(group.id, "number") == 7


@pytest.mark.parametrize(
    "value", [7, np.ones((2, 2)), h5py.Empty("f8"), np.array([b"a"]), np.ones(2, complex)]
)
def test_an_array_of_numbers_is_one(group: h5py.Group, value: object) -> None:
    group.attrs["numbers"] = value
    with pytest.raises(nodes.UNREADABLE):
        nodes.read_numbers(group.id, "numbers")
    group.attrs["numbers"] = np.ones(3)
    with pytest.raises(nodes.UNREADABLE, match="has 3 elements instead of 4"):
        nodes.read_numbers(group.id, "numbers", size=4)


def test_only_what_stands_under_a_hard_link_is_a_dataset_of_a_group(group: h5py.Group) -> None:
    group["kept"] = np.arange(3)
    group["soft"] = h5py.SoftLink("/object/kept")
    group["external"] = h5py.ExternalLink("other.h5", "/secret")
    group.create_group("group")
    kept = nodes.open_dataset(group.id, "kept")
    assert nodes.read_array(kept).tolist() == [0, 1, 2]
    assert [nodes.open_dataset(group.id, link) for link in ("soft", "external", "group")] == [None] * 3
    with pytest.raises(nodes.UNREADABLE):
        nodes.open_dataset(group.id, "missing")


@pytest.mark.parametrize("n_attributes", [0, 20])
def test_replaced_attributes_are_those_of_the_other_node(group: h5py.Group, n_attributes: int) -> None:
    other = group.create_group("other")
    for number in range(n_attributes):
        other.attrs[f"a{number}"] = number
    group.attrs["text"], other.attrs["text"] = "old", "new"
    group.attrs["gone"] = np.arange(3)
    nodes.replace_attributes(other, group)
    assert dict(group.attrs) == {"text": "new"} | {f"a{number}": number for number in range(n_attributes)}


def test_what_is_removed_is_closed_and_nothing_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        removed, other = file.create_group("one/inner"), file.create_group("one more")
        above = file["one"]
        nodes.unlink(file.id, "one")
        assert not removed.id.valid
        assert not above.id.valid
        assert other.id.valid
        assert list(file) == ["one more"]

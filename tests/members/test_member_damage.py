"""One flipped bit anywhere is found, by whoever reads it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import flip
from member_material import Box, floats, noise, text

from simarchive.codecs import CHUNK_BYTES
from simarchive.codecs.raw import Raw
from simarchive.container.members import extract_member, find_member, open_member, store_member, verify_member
from simarchive.errors import CorruptMemberError, FormatError, InvalidDataError, StorageIOError

# Chunks that are raw, encoded, unwritten, and padded at the end.
MEMBERS = {
    "deflate": (floats(CHUNK_BYTES) + noise(CHUNK_BYTES) + bytes(CHUNK_BYTES) + floats(5000), "deflate"),
    "raw": (noise(2 * CHUNK_BYTES + 5), "raw"),
    "text": (text(CHUNK_BYTES + 10), "deflate"),
    "zstd": (floats(CHUNK_BYTES + 10), "zstd"),
}


def places(box: Box, name: str) -> list[tuple[int, int]]:
    """The chunk and offset of some bytes of every stored chunk: its ends, and some between."""
    with box.reading() as (group, _):
        dataset = group[name]
        random = np.random.default_rng(0)
        found = []
        for number in range(dataset.id.get_num_chunks()):
            info = dataset.id.get_chunk_info(number)
            within = {0, 1, info.size // 2, info.size - 1, *random.integers(0, info.size, 3).tolist()}
            index = info.chunk_offset[0] // dataset.chunks[0]
            found += [(index, info.byte_offset + at) for at in within]
        return found


@pytest.mark.parametrize("name", MEMBERS)
def test_every_flipped_bit_of_the_stored_bytes_is_found_and_placed(
    box: Box, tmp_path: Path, name: str
) -> None:
    data, codec = MEMBERS[name]
    with box.writing() as group:
        store_member(group, name, io.BytesIO(data), codec=codec)
    found = places(box, name)
    assert len(found) > 8
    for number, (chunk, offset) in enumerate(found):
        flip(box.path, offset, number % 8)
        with box.reading() as (group, file):
            dataset = find_member(group, name)
            for full in (False, True):
                (fault,) = verify_member(dataset, file, full=full)
                assert fault.chunk == chunk
            with pytest.raises(CorruptMemberError, match=rf"member '{name}' of object 'k1': chunk {chunk} "):
                extract_member(dataset, file, tmp_path / "out")
            with pytest.raises(CorruptMemberError, match=f"chunk {chunk} "):
                open_member(dataset, file).read()
        flip(box.path, offset, number % 8)
    assert list(tmp_path.iterdir()) == [box.path]
    with box.reading() as (group, file):
        assert verify_member(find_member(group, name), file, full=True) == ()


def test_undamaged_chunks_can_be_read_beside_a_damaged_one(box: Box) -> None:
    data = floats(3 * CHUNK_BYTES)
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(data))
    flip(box.path, next(offset for chunk, offset in places(box, "a") if chunk == 1), 0)
    with box.reading() as (group, file):
        reader = open_member(find_member(group, "a"), file)
        assert reader.read(1000) == data[:1000]
        reader.seek(2 * CHUNK_BYTES)
        assert reader.read(1000) == data[2 * CHUNK_BYTES :][:1000]


def test_verify_names_every_damaged_chunk(box: Box) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(4 * CHUNK_BYTES)))
    first = dict(places(box, "a"))
    flip(box.path, first[0], 3)
    flip(box.path, first[3], 3)
    with box.reading() as (group, file):
        for full in (False, True):
            faults = verify_member(find_member(group, "a"), file, full=full)
            assert [fault.chunk for fault in faults] == [0, 3]


def rewrite_attribute(box: Box, name: str, value: object) -> None:
    with box.writing() as group:
        group["a"].attrs.create(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("member_size", 5),
        ("member_size", 2**63),
        ("member_chunk_crc32", np.zeros(7, "u4")),
        ("member_chunk_crc32", np.zeros(2, "u4")),
        ("member_codec", np.bytes_(b"zstd-text")),
        ("member_blake3", np.bytes_(b"0" * 64)),
    ],
)
def test_a_wrong_description_is_found(box: Box, tmp_path: Path, name: str, value: object) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(CHUNK_BYTES + 100)))
    rewrite_attribute(box, name, value)
    with box.reading() as (group, file):
        assert verify_member(group["a"], file, full=True)
        with pytest.raises(CorruptMemberError, match="member 'a' of object 'k1'"):
            extract_member(group["a"], file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [box.path]


def test_a_codec_of_a_later_version_is_no_damage(box: Box, tmp_path: Path) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(b"abc"))
    rewrite_attribute(box, "member_codec", np.bytes_(b"neural"))
    with box.reading() as (group, file), pytest.raises(FormatError, match="upgrade simarchive"):
        extract_member(group["a"], file, tmp_path / "out")


def test_a_missing_zstandard_is_no_damage(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(100_000)), codec="zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with box.reading() as (group, file), pytest.raises(InvalidDataError, match=r"simarchive\[zstd\]"):
        extract_member(group["a"], file, tmp_path / "out")


def test_a_disk_that_fails_is_no_damage(box: Box, tmp_path: Path) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(3 * CHUNK_BYTES)))

    class Failing:
        def read_at(self, buffer: memoryview, offset: int) -> None:
            raise OSError(5, "Input/output error")

    with box.reading() as (group, _):
        for act in (
            lambda: extract_member(group["a"], Failing(), tmp_path / "out"),
            lambda: verify_member(group["a"], Failing(), full=True),
            lambda: open_member(group["a"], Failing()).read(),
        ):
            with pytest.raises(StorageIOError, match="member 'a' of object 'k1': chunk 0 cannot be read"):
                act()


def test_a_lost_chunk_is_no_chunk_of_zeros(box: Box) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(noise(3 * CHUNK_BYTES)), codec="raw")
        attributes = dict(group["a"].attrs)
        del group["a"]
        lost = group.create_dataset("a", (3 * CHUNK_BYTES,), "u1", chunks=(Raw.chunk_bytes,))
        lost.attrs.update(attributes)
    all_chunks = list(range(3 * CHUNK_BYTES // Raw.chunk_bytes))
    with box.reading() as (group, file):
        assert [fault.chunk for fault in verify_member(group["a"], file, full=False)] == all_chunks


def test_a_container_that_was_cut_is_reported(box: Box) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(noise(2 * CHUNK_BYTES)), codec="raw")

    class Cut:
        def read_at(self, buffer: memoryview, offset: int) -> None:
            raise EOFError("gone")

    with h5py.File(box.path) as file:
        faults = verify_member(file["objects/k1/a"], Cut(), full=True)
    assert [fault.chunk for fault in faults] == list(range(2 * CHUNK_BYTES // Raw.chunk_bytes))

"""What a member says of itself, at its bounds and beyond them, with every check in order."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from blake3 import blake3
from isal import isal_zlib
from member_material import Box, floats, frames, noise

from simarchive.codecs import CHUNK_BYTES
from simarchive.codecs import trajectory as stream
from simarchive.codecs.trajectory import Trajectory
from simarchive.codecs.trajectory_files.repetition import Repetition
from simarchive.container import nodes
from simarchive.container.members import (
    StoredMember,
    copy_member,
    extract_member,
    find_member,
    member_info,
    store_member,
    verify_member,
)
from simarchive.container.members.table import MAX_CHUNK_BYTES, description_digest, read_table
from simarchive.errors import CorruptMemberError


def set_chunk(group: h5py.Group, name: str, stored: bytes, *, mask: int = 0) -> None:
    """Put other stored bytes in the place of the first chunk; every check but the digest fits them."""
    dataset = group[name]
    dataset.id.write_direct_chunk((0,), stored, mask)
    crcs = dataset.attrs["member_chunk_crc32"]
    crcs[0] = isal_zlib.crc32(stored)
    dataset.attrs["member_chunk_crc32"] = crcs
    described = description_digest(
        int(dataset.attrs["member_size"]),
        text_of(dataset, "member_blake3"),
        text_of(dataset, "member_codec"),
        dataset.chunks[0] * dataset.dtype.itemsize,
        crcs,
        np.array([mask] + [0] * (len(crcs) - 1), np.uint32),
    )
    dataset.attrs.modify("member_description_blake3", np.bytes_(described.encode()))


def text_of(dataset: h5py.Dataset, name: str) -> str:
    value = dataset.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def proved(box: Box, name: str = "a") -> bool:
    with box.reading() as (group, _):
        try:
            return read_table(group[name]).is_proved
        except CorruptMemberError as error:
            assert "too large" in str(error) or "claim" in str(error) or "checks for" in str(error)
            return False


@pytest.mark.parametrize(("more", "is_read"), [(0, True), (1, False)])
def test_a_chunk_is_stored_in_twice_its_size_and_a_little_at_most(box: Box, more: int, is_read: bool) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(8192)), codec="deflate")
        set_chunk(group, "a", noise(2 * 8192 + 4096 + more))
    assert proved(box) is is_read


@pytest.mark.parametrize(("less", "is_read"), [(0, True), (1, False)])
def test_chunks_take_no_more_than_the_file_has(
    box: Box, monkeypatch: pytest.MonkeyPatch, less: int, is_read: bool
) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(noise(CHUNK_BYTES + 100)), codec="raw")
        stored = nodes.stored_bytes(group["a"].id)
    monkeypatch.setattr(nodes, "file_size", lambda node: stored - less)
    assert proved(box) is is_read


@pytest.mark.parametrize(("chunk", "is_read"), [(MAX_CHUNK_BYTES, True), (MAX_CHUNK_BYTES + 1, False)])
def test_a_chunk_that_would_fill_the_memory_is_refused(box: Box, chunk: int, is_read: bool) -> None:
    content = bytes(5)
    with box.writing() as group:
        store_member(group, "model", io.BytesIO(content), codec="raw")
        made = group.create_dataset("a", (5,), "u1", chunks=(chunk,), maxshape=(None,))
        made.attrs.update(dict(group["model"].attrs))
        digest = blake3(content).hexdigest()
        zeros = np.zeros(1, np.uint32)
        described = description_digest(5, digest, "raw", chunk, zeros, zeros)
        made.attrs.modify("member_chunk_crc32", zeros)
        made.attrs.modify("member_description_blake3", np.bytes_(described.encode()))
    assert proved(box) is is_read


@pytest.mark.parametrize("place", [0, 15, 16, CHUNK_BYTES // 2, CHUNK_BYTES - 1])
@pytest.mark.parametrize("codec", ["raw", "deflate"])
def test_one_byte_makes_a_chunk_that_is_not_zero(box: Box, tmp_path: Path, place: int, codec: str) -> None:
    content = bytearray(CHUNK_BYTES)
    content[place] = 1
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(content), codec=codec)
        assert group["a"].id.get_num_chunks() == 1
    with box.reading() as (group, file):
        extract_member(group["a"], file, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content


def test_what_does_not_have_its_digest_gets_no_new_one_by_being_encoded_again(
    box: Box, tmp_path: Path
) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(9000)), codec="raw")
        set_chunk(group, "a", floats(9000, seed=1), mask=0)
    target = Box(tmp_path / "target.h5")
    with box.reading() as (group, file), target.writing() as other:
        dataset = find_member(group, "a")
        table = read_table(dataset)
        assert table.is_proved
        assert [fault.chunk for fault in verify_member(table, file, full=False)] == []
        assert [fault.chunk for fault in verify_member(table, file, full=True)] == [None]
        source = StoredMember(member_info(dataset, "a"), table, file)
        with pytest.raises(CorruptMemberError, match="BLAKE3"):
            copy_member(other, "b", source, codec="deflate")
        assert list(other) == []
        with pytest.raises(CorruptMemberError, match="BLAKE3"):
            extract_member(dataset, file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the stream of a trajectory --------------------------------------------------------------------


LAYOUT = Repetition(300, 3, False)
N_WORDS = 3000


def encoded_stream() -> bytearray:
    words = np.full(N_WORDS, 1.25, "<f4")
    stored = Trajectory(LAYOUT).encode(memoryview(words.tobytes())).stored
    return bytearray(stored)


def decoded(stored: bytes) -> np.ndarray:
    out = bytearray(4 * N_WORDS)
    Trajectory().decode(memoryview(stored), 0, memoryview(out))
    return np.frombuffer(out, "<f4")


def with_exception(place: int) -> bytes:
    """Return a stream whose one exception lies at a place of its own."""
    whole = encoded_stream()
    version, kind, order, grid, frame, atom, n_exceptions, body = stream._HEADER.unpack_from(whole)
    assert (kind, n_exceptions) == (2, 0)
    head = stream._HEADER.pack(version, kind, order, grid, frame, atom, 1, body)
    value = np.array([7.5], "<f4").view(np.uint32)[0]
    extra = stream._packed(np.array([place, value], np.uint32))
    return head + bytes(whole[stream._HEADER.size :]) + extra


def test_an_exception_lies_inside_its_chunk() -> None:
    expected = np.full(N_WORDS, 1.25, "<f4")
    expected[-1] = 7.5
    assert np.array_equal(decoded(with_exception(N_WORDS - 1)), expected)
    for place in (N_WORDS, N_WORDS + 1, 2**32 - 1):
        with pytest.raises(ValueError, match="outside the chunk"):
            decoded(with_exception(place))


@pytest.mark.parametrize(
    ("frame", "atom", "is_known"),
    [(300, 3, True), (4, 3, True), (3, 3, False), (300, 0, False), (0, 0, False)],
)
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_frame_is_longer_than_an_atom_and_an_atom_has_words(
    frame: int, atom: int, is_known: bool, kind: int
) -> None:
    whole = encoded_stream()
    version, _, order, grid, _, _, n_exceptions, body = stream._HEADER.unpack_from(whole)
    stream._HEADER.pack_into(whole, 0, version, kind, order, grid, frame, atom, n_exceptions, body)
    if is_known:
        assert len(decoded(whole)) == N_WORDS
    else:
        with pytest.raises(ValueError, match="not one of a known kind"):
            decoded(whole)


@pytest.mark.parametrize(("count", "is_known"), [(N_WORDS, True), (N_WORDS + 1, False)])
def test_a_chunk_has_no_more_exceptions_than_words(count: int, is_known: bool) -> None:
    whole = encoded_stream()
    version, kind, order, grid, frame, atom, _, body = stream._HEADER.unpack_from(whole)
    head = stream._HEADER.pack(version, kind, order, grid, frame, atom, count, body)
    places = np.ones(count, np.uint32)
    places[0] = 0
    values = np.full(count, np.array([2.5], "<f4").view(np.uint32)[0], np.uint32)
    extra = stream._packed(np.concatenate([places, values]))
    changed = head + bytes(whole[stream._HEADER.size :]) + extra
    if is_known:
        assert np.array_equal(decoded(changed), np.full(N_WORDS, 2.5, "<f4"))
    else:
        with pytest.raises(ValueError, match="not one of a known kind"):
            decoded(changed)


def test_the_layout_of_a_trajectory_is_one_of_many_atoms() -> None:
    # Without a likeness from frame to frame there is nothing to gain, whatever the numbers are.
    coordinates = frames(8, 33, grid=True).astype("<f4").tobytes()
    encoded = Trajectory(Repetition(99, 3, False)).encode(memoryview(coordinates))
    out = bytearray(len(coordinates))
    Trajectory().decode(memoryview(encoded.stored), encoded.filter_mask, memoryview(out))
    assert out == coordinates
    assert len(encoded.stored) < len(coordinates) // 2

"""Bytes of a member from chunks that are decoded ahead, whole or in part: always those of the file."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from member_material import floats, frames, noise, text

from simarchive.codecs import Codec, codec_named
from simarchive.codecs.trajectory import Trajectory
from simarchive.codecs.trajectory_files.repetition import Repetition
from simarchive.container.members import ChunkWindow, MemberTable, window
from simarchive.errors import CorruptMemberError, StorageIOError

CODECS: dict[str, Codec] = {
    name: codec_named(name) for name in ("deflate", "deflate-text", "zstd", "zstd-text", "raw")
} | {"trajectory": Trajectory(Repetition(300, 3, big_endian=False))}
MATERIAL = {
    "floats": floats(40_000),
    "noise": noise(40_000),
    "text": text(40_000),
    "frames": frames(40, 100).astype("<f4").tobytes()[:40_000],
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("material", MATERIAL)
@settings(max_examples=12, deadline=None)
@given(start=st.integers(0, 39_999), length=st.integers(1, 40_000))
def test_a_part_of_a_chunk_is_that_of_the_whole(codec: str, material: str, start: int, length: int) -> None:
    chunk = MATERIAL[material]
    length = min(length, len(chunk) - start)
    encoded = CODECS[codec].encode(memoryview(chunk))
    out = memoryview(bytearray(length))
    CODECS[codec].decode_part(memoryview(encoded.stored), encoded.filter_mask, len(chunk), start, out)
    assert bytes(out) == chunk[start : start + length]


@pytest.mark.parametrize("codec", CODECS)
def test_a_part_of_a_chunk_of_another_length_is_refused(codec: str) -> None:
    encoded = CODECS[codec].encode(memoryview(MATERIAL["text"]))
    for wrong in (39_996, 40_004):
        with pytest.raises(ValueError, match=r"chunk|length"):
            CODECS[codec].decode_part(
                memoryview(encoded.stored), encoded.filter_mask, wrong, 0, memoryview(bytearray(8))
            )


class Stored:
    """A member in memory, which counts what is read."""

    def __init__(self, content: bytes, chunk_bytes: int, codec: str = "deflate") -> None:
        kind = CODECS[codec]
        n_chunks = -(-len(content) // chunk_bytes)
        padded = content + bytes(n_chunks * chunk_bytes - len(content))
        pieces = [padded[at : at + chunk_bytes] for at in range(0, len(padded), chunk_bytes)]
        encoded = [kind.encode(memoryview(piece)) for piece in pieces]
        self.pieces = [bytes(one.stored) for one in encoded]
        self.table = MemberTable(
            label="member 'x' of object 'k'",
            size=len(content),
            digest="",
            codec=kind,
            chunk_bytes=chunk_bytes,
            offsets=np.zeros(n_chunks, np.uint64),
            stored_sizes=np.array([len(piece) for piece in self.pieces], np.uint64),
            filter_masks=np.array([one.filter_mask for one in encoded], np.uint32),
            crcs=np.array([isal_zlib.crc32(piece) for piece in self.pieces], np.uint32),
            is_proved=True,
        )
        self.reads: list[int] = []
        self.n_looks = 0
        self.unreadable: set[int] = set()

    def read(self, chunks: Sequence[int], buffers: Sequence[bytearray | memoryview]) -> list[memoryview]:
        found = []
        self.n_looks += 1
        for chunk, buffer in zip(chunks, buffers, strict=True):
            if chunk in self.unreadable:
                raise StorageIOError(f"chunk {chunk} cannot be read")
            self.reads.append(chunk)
            piece = self.pieces[chunk]
            if isinstance(buffer, bytearray) and len(buffer) < len(piece):
                buffer.extend(bytes(len(piece) - len(buffer)))
            buffer[: len(piece)] = piece
            found.append(memoryview(buffer)[: len(piece)])
        return found


CONTENT = floats(500_001)


@pytest.fixture(params=[4096, 8192, 262_144], ids=lambda size: f"{size}-byte-chunks")
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setattr(window, "_AHEAD_BYTES", 3 * request.param)
    monkeypatch.setattr(window, "_BEHIND_BYTES", request.param)
    return Stored(CONTENT, request.param)


@pytest.mark.parametrize("length", [1, 100, 4096, 10_000, 70_000])
def test_any_order_gives_the_bytes_of_the_file(stored: Stored, length: int) -> None:
    view = ChunkWindow(stored)
    places = list(range(0, len(CONTENT) - length, max(length, 3000)))
    orders = {
        "forwards": places,
        "backwards": places[::-1],
        "each third": places[::3],
        "each third backwards": places[::-3],
        "at random": random.Random(1).sample(places, len(places)),
        "twice each": [place for place in places for _ in range(2)],
    }
    for order, starts in orders.items():
        for start in starts:
            assert view.view(start, start + length) == CONTENT[start : start + length], (order, start)
    view.close()


@settings(max_examples=30, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 500_001), st.integers(0, 30_000)), max_size=40))
def test_whatever_is_asked_for(data: list[tuple[int, int]]) -> None:
    view = ChunkWindow(Stored(CONTENT, 8192, "raw"))
    for start, length in data:
        stop = min(len(CONTENT), start + length)
        assert view.view(start, stop) == CONTENT[start:stop]
        assert view.read(start, length) == CONTENT[start:stop]
    view.close()


def test_who_reads_on_reads_each_chunk_once(stored: Stored) -> None:
    view = ChunkWindow(stored)
    for start in range(0, len(CONTENT) - 1000, 1000):
        view.view(start, start + 1000)
    assert sorted(stored.reads) == list(range(stored.table.n_chunks))


@pytest.mark.parametrize("codec", ["raw", "deflate"])
def test_small_chunks_are_read_several_at_a_look(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_AHEAD_BYTES", 8 * 4096)
    stored = Stored(CONTENT, 4096, codec)
    view = ChunkWindow(stored)
    for start in range(0, len(CONTENT) - 1000, 1000):
        assert view.view(start, start + 1000) == CONTENT[start : start + 1000]
    assert sorted(stored.reads) == list(range(stored.table.n_chunks))
    assert stored.n_looks <= stored.table.n_chunks // 4 + 2
    view.close()


def test_what_is_stored_as_it_is_is_not_copied(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "decode_stored", None)
    noisy = Stored(noise(100_000), 4096)
    view = ChunkWindow(noisy)
    whole = [bytes(view.view(start, start + 1000)) for start in range(0, 95_000, 1000)]  # less the padded end
    assert b"".join(whole) == noise(100_000)[:95_000]
    with pytest.raises(TypeError):
        ChunkWindow(stored).view(0, 1000)
    view.close()


def test_memory_is_bounded_however_much_is_read(stored: Stored) -> None:
    view = ChunkWindow(stored)
    made = 0
    space = view._space

    def counted() -> memoryview:
        nonlocal made
        made += not view._free
        return space()

    view._space = counted  # type: ignore[method-assign]
    for start in range(0, len(CONTENT) - 1000, 1000):
        view.view(start, start + 1000)
    assert made <= 6


def test_nothing_is_read_ahead_of_who_jumps() -> None:
    stored = Stored(CONTENT, 4096)
    view = ChunkWindow(stored)
    for number in (90, 11, 57, 30, 79):
        view.view(number * 4096 + 10, number * 4096 + 20)
    assert stored.reads == [90, 11, 57, 30, 79]


def test_what_is_wrong_ahead_is_said_when_it_is_wanted() -> None:
    stored = Stored(CONTENT, 4096)
    stored.unreadable = {3}
    stored.pieces[5] = stored.pieces[5][:-1] + b"\0"
    view = ChunkWindow(stored)

    def outcome(number: int) -> Any:
        try:
            return bytes(view.view(number * 4096, number * 4096 + 4096)) == CONTENT[number * 4096 :][:4096]
        except (StorageIOError, CorruptMemberError) as error:
            return type(error)

    expected = [True, True, True, StorageIOError, True, CorruptMemberError, True, True]
    assert [outcome(number) for number in range(8)] == expected
    stored.unreadable = set()
    assert outcome(3) is True


# From Python 3.12 on, of any process that has threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_reads_on_by_itself() -> None:
    view = ChunkWindow(Stored(CONTENT, 4096))
    assert view.view(0, 9000) == CONTENT[:9000]
    child = os.fork()
    if not child:
        try:
            again, further = bytes(view.view(0, 9000)), bytes(view.view(90_000, 99_000))
            os._exit(0 if (again, further) == (CONTENT[:9000], CONTENT[90_000:99_000]) else 1)
        finally:
            os._exit(2)
    assert view.view(9000, 20_000) == CONTENT[9000:20_000]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 500_002)])
def test_bytes_outside_are_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="of 500001"):
        ChunkWindow(Stored(CONTENT, 65_536)).view(start, stop)

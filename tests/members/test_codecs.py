from __future__ import annotations

import builtins
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from member_material import floats, frames, noise, text

from simarchive.codecs import CODEC_CHOICES, Sample, choose_codec, codec_named
from simarchive.codecs.deflate import PlainDeflate, ShuffledDeflate
from simarchive.codecs.trajectory import _GRIDS, Trajectory
from simarchive.codecs.trajectory_files.repetition import Repetition
from simarchive.errors import FormatError, InvalidDataError

WORDS = st.binary(min_size=1, max_size=600).map(lambda data: data + bytes(-len(data) % 4))
LAYOUTS = st.builds(
    lambda atom, more, order: Repetition(atom + more, atom, order),
    st.sampled_from([1, 3]),
    st.integers(1, 40),
    st.booleans(),
)
FIXED = [codec_named(name) for name in ("deflate", "deflate-text", "zstd", "zstd-text", "raw")]


def round_trip(codec: Any, chunk: bytes) -> bytes:
    stored, mask = codec.encode(memoryview(chunk))
    out = bytearray(len(chunk))
    codec.decode(memoryview(bytes(stored)), mask, memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("codec", FIXED, ids=lambda codec: codec.name)
@given(chunk=WORDS)
@settings(deadline=None)
def test_any_chunk_comes_back(codec: Any, chunk: bytes) -> None:
    assert round_trip(codec, chunk) == chunk


@given(chunk=WORDS, layout=LAYOUTS)
@settings(deadline=None, max_examples=300)
def test_any_chunk_comes_back_whatever_layout_the_trajectory_codec_was_told(
    chunk: bytes, layout: Repetition
) -> None:
    assert round_trip(Trajectory(layout), chunk) == chunk


@pytest.mark.parametrize("codec", FIXED, ids=lambda codec: codec.name)
@pytest.mark.parametrize("make", [floats, noise, text], ids=["floats", "noise", "text"])
def test_large_chunks_of_every_kind_come_back(codec: Any, make: Any) -> None:
    chunk = make(1 << 20)
    assert round_trip(codec, chunk) == chunk


@pytest.mark.parametrize("make", [floats, noise, text], ids=["floats", "noise", "text"])
def test_a_deflate_chunk_is_one_zlib_stream_of_the_byte_planes(make: Any) -> None:
    chunk = make(300_000)
    stored, mask = ShuffledDeflate().encode(memoryview(chunk))
    if mask == 0:
        planes = np.frombuffer(chunk, np.uint8).reshape(-1, 4).T.tobytes()
        assert zlib.decompress(stored) == planes
    else:
        assert bytes(stored) == chunk
        assert make is noise


def test_noise_is_stored_as_it_is_and_the_rest_shrinks() -> None:
    assert ShuffledDeflate().encode(memoryview(noise(1 << 20))).filter_mask == 0b11
    assert PlainDeflate().encode(memoryview(noise(1 << 20))).filter_mask == 0b1
    assert len(ShuffledDeflate().encode(memoryview(floats(1 << 20))).stored) < 0.9 * (1 << 20)


@pytest.mark.parametrize("codec", FIXED, ids=lambda codec: codec.name)
@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_cut_chunk_is_refused(codec: Any, cut: int) -> None:
    stored, mask = codec.encode(memoryview(text(40_000)))
    out = bytearray(40_000)
    with pytest.raises(ValueError):
        codec.decode(memoryview(bytes(stored)[:cut]), mask, memoryview(out))


@pytest.mark.parametrize("codec", FIXED, ids=lambda codec: codec.name)
def test_a_chunk_of_another_length_is_refused(codec: Any) -> None:
    stored, mask = codec.encode(memoryview(text(40_000)))
    for length in (39_996, 40_004):
        with pytest.raises(ValueError):
            codec.decode(memoryview(bytes(stored)), mask, memoryview(bytearray(length)))


@given(damage=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=200)
def test_a_damaged_trajectory_chunk_never_does_worse_than_value_error(damage: list[tuple[int, int]]) -> None:
    data = frames(12, 50, grid=True).tobytes()
    stored, mask = Trajectory(Repetition(150, 3, False)).encode(memoryview(data))
    broken = bytearray(stored)
    for place, value in damage:
        broken[place] = value
    with suppress(ValueError):
        Trajectory().decode(memoryview(broken), mask, memoryview(bytearray(len(data))))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("grid", sorted(_GRIDS))
def test_the_trajectory_codec_stores_grid_coordinates_as_integers(grid: int, big_endian: bool) -> None:
    steps = np.rint(frames(30, 3000) / np.float32(_GRIDS[grid][0])).astype(np.int32)
    chunk = _GRIDS[grid][1](steps).astype(">f4" if big_endian else "<f4").tobytes()
    codec = Trajectory(Repetition(9000, 3, big_endian))
    assert round_trip(codec, chunk) == chunk
    shrunk = len(codec.encode(memoryview(chunk)).stored)
    assert shrunk < 0.6 * len(ShuffledDeflate().encode(memoryview(chunk)).stored)


def test_grid_coordinates_with_exceptions_come_back_bit_for_bit() -> None:
    values = frames(20, 500, grid=True).reshape(-1).copy()
    values[[0, 7, 1234, -1]] = [np.nan, -0.0, np.inf, 1e-40]
    values[5000] = 3.14159
    chunk = values.tobytes()
    codec = Trajectory(Repetition(1500, 3, False))
    assert codec.encode(memoryview(chunk)).stored[1] == 2
    assert round_trip(codec, chunk) == chunk


def test_the_documented_stream_decodes_without_our_decoder() -> None:
    for data, kind in ((frames(12, 400), 1), (frames(12, 400, grid=True), 2)):
        chunk = bytearray(data.tobytes())
        chunk[:4] = b"CORD"
        stored = bytes(Trajectory(Repetition(1200, 3, False)).encode(memoryview(chunk)).stored)
        assert (stored[0], stored[1]) == (1, kind)
        frame, atom, n_exceptions, body = (
            int.from_bytes(stored[at : at + 4], "little") for at in (4, 8, 12, 16)
        )

        def numbers(stream: bytes) -> list[int]:
            planes = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(4, -1)
            return planes.T.copy().view("<u4")[:, 0].tolist()

        values: list[int] = []
        for i, r in enumerate(numbers(stored[20 : 20 + body])):
            d = (r >> 1) ^ -(r & 1)
            before = 0 if i < atom else values[i - atom] if i < frame else values[i - frame]
            values.append((d + before) % 2**32)
        if kind == 1:
            words = np.array([v if v < 2**31 else v ^ 0x7FFFFFFF for v in values], np.uint32)
        else:
            grid = np.array(values, np.uint32).view(np.int32)
            words = (grid.astype(np.float32) * np.float32(0.001) * np.float32(10)).view(np.uint32)
            pairs = numbers(stored[20 + body :])
            words[np.cumsum(pairs[:n_exceptions])] = pairs[n_exceptions:]
        assert words.tobytes() == bytes(chunk)


def test_every_choice_finds_a_codec_for_every_sample() -> None:
    for choice in CODEC_CHOICES:
        for data in (b"", b"x", text(70_000), noise(70_000), floats(70_000)):
            sample = Sample(data[: 1 << 16], len(data), lambda at, n, data=data: data[at : at + n])
            chosen = choose_codec(choice, sample)
            assert codec_named(chosen.name).filters == chosen.filters


def test_text_is_not_shuffled_and_floats_are() -> None:
    for choice in ("deflate", "zstd"):
        assert choose_codec(choice, Sample(text(60_000), 60_000, None)).name == f"{choice}-text"
        assert choose_codec(choice, Sample(floats(60_000), 60_000, None)).name == choice


def test_unknown_names_are_refused_with_what_to_do() -> None:
    with pytest.raises(FormatError, match="upgrade simarchive"):
        codec_named("lzma9")
    with pytest.raises(InvalidDataError, match="choose one of deflate, zstd"):
        choose_codec("deflate-text", Sample(b"x", 1, None))


def test_without_zstandard_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InvalidDataError, match=r"simarchive\[zstd\]"):
        codec_named("zstd")

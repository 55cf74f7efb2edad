"""Where the frames of XTC and TRR members begin is found while they are stored, and looked at before use."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from blake3 import blake3
from material import CODECS, DATA, TRAJECTORIES, small_chunks, store

from simarchive import FrameReadError, HDF5Storage, repack
from simarchive.codecs.trajectory_files.xdr import HEADER_BYTES, FrameScanner, frame_size, xdr_layout
from simarchive.container.members import window

NAME = "member_frame_lengths"
XDR = [name for name in TRAJECTORIES if name.endswith(("xtc", "trr"))]


def lengths_of(path: Path) -> list[int]:
    """Return what the frames of a file say, one after the other."""
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        _, length = frame_size(content[at : at + HEADER_BYTES])
        found.append(length)
        at += length
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lengths")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 4096)
        names = [name for name in XDR if TRAJECTORIES[name].stat().st_size < 2 << 20]
        store(place / "a.h5", {name: TRAJECTORIES[name] for name in names}, place / "files")
    return place / "a.h5"


def attribute(container: Path, name: str, key: str = "k1") -> np.ndarray | None:
    with h5py.File(container) as file:
        link = name.replace("/", "%2F")
        found = file[f"objects/{key}/files/{link}"].attrs.get(NAME)
    return None if found is None else np.asarray(found)


@pytest.mark.parametrize("name", XDR)
def test_they_are_kept_as_the_format_says(name: str, stored: Path) -> None:
    path = TRAJECTORIES[name]
    if path.stat().st_size > 2 << 20:
        return
    words = attribute(stored, name)
    if path.stat().st_size <= 4096:
        assert words is None  # one chunk
        return
    assert words is not None
    assert words.dtype == np.dtype("<u4")
    assert words[2:].tolist() == lengths_of(path)
    digest = blake3(path.read_bytes()).hexdigest()
    assert words[:2].tobytes() == blake3(f"{digest}\n".encode() + words[2:].tobytes()).digest(8)


@pytest.mark.parametrize("piece_bytes", [1, 7, 119, 120, 121, 4096, 1 << 20])
@pytest.mark.parametrize("name", ["coordinates/test.trr", "coordinates/test.xtc", "xyz_random_walk.xtc"])
@pytest.mark.parametrize("rest", [b"", b"\0\0", b"junk" * 100, b"\0\0\7\xcb"])
def test_pieces_of_any_size_and_what_follows_do_not_matter(piece_bytes: int, name: str, rest: bytes) -> None:
    content = TRAJECTORIES[name].read_bytes()[:20_000]
    lengths, at = [], 0
    for length in lengths_of(TRAJECTORIES[name]):
        at += length
        if at <= len(content):
            lengths.append(length)
    scanner = FrameScanner()
    stream = io.BytesIO(content[: sum(lengths)] + rest)
    while piece := stream.read(piece_bytes):
        scanner.feed(memoryview(piece))
    assert scanner.finish() == lengths


@pytest.mark.parametrize("content", [b"", b"\0", b"text" * 100, b"\0\0\7\xcb" * 100, b"\0\0\7\xc9" * 100])
def test_other_files_have_none(content: bytes) -> None:
    scanner = FrameScanner()
    scanner.feed(memoryview(content))
    assert scanner.finish() == []


def large_frame(n_bytes: int) -> bytes:
    """Return a header of an XTC frame in the form for 2^31 bytes and more, and so many bytes."""
    head = struct.pack(">iiif9fi", 2023, 100, 0, 0.0, *[0.0] * 9, 100)
    return head + struct.pack(">f7iq", 1000.0, *[0] * 6, 10, n_bytes) + bytes(-(-n_bytes // 4) * 4)


def test_frames_of_the_form_for_large_ones_are_known() -> None:
    frame = large_frame(1001)
    assert frame_size(frame) == (100, len(frame))
    scanner = FrameScanner()
    scanner.feed(memoryview(frame * 3))
    assert scanner.finish() == [len(frame)] * 3


def looked_at_while(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> int:
    """Return how many chunks are read and checked, whole or in part."""
    count = 0
    plain = window.check_stored

    def counted(*given: object) -> None:
        nonlocal count
        count += 1
        plain(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(window, "check_stored", counted)
        action()
    return count


def without(container: Path, name: str, place: Path) -> Path:
    """Return a copy of a container, as an early version left it."""
    shutil.copyfile(container, place)
    with h5py.File(place, "r+") as file:
        del file[f"objects/k1/files/{name}"].attrs[NAME]
    return place


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["adk_oplsaa.xtc", "cobrotoxin.trr"])
def test_members_without_them_are_scanned(
    name: str, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, 64 << 10)
    store(tmp_path / "a.h5", {name: TRAJECTORIES[name]}, tmp_path / "files", codec=codec)
    bare = without(tmp_path / "a.h5", name, tmp_path / "b.h5")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as one, HDF5Storage(bare, mode="r") as other:
        assert looked_at_while(monkeypatch, lambda: one.frames("k1")) == 1
        scanned = looked_at_while(monkeypatch, lambda: other.frames("k1"))
        if name.endswith("xtc"):
            assert scanned == 0  # chunks that lie there as they are need not be decoded for a header
        assert np.array_equal(one.frames("k1")[:].positions, other.frames("k1")[:].positions)


def test_frames_of_one_length_are_found_by_looking_at_some(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (DATA / "trr_test_only_10_frame_10_atoms.trr").read_bytes()
    asked: list[int] = []

    def read(at: int, n_bytes: int) -> bytes:
        asked.append(at)
        return content[at : at + n_bytes]

    assert xdr_layout(read, len(content), "TRR").n_frames == 10
    assert len(asked) <= 10
    many = content * 1000
    asked.clear()
    assert xdr_layout(lambda at, n: read(at % len(content), n), len(many), "TRR").n_frames == 10_000
    assert len(asked) <= 12


@pytest.mark.parametrize("codec", ["deflate", "raw"])
def test_copies_keep_them(codec: str, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_chunks(monkeypatch, 64 << 10)
    name = "adk_oplsaa.xtc"
    with HDF5Storage(tmp_path / "b.h5", codec=codec) as backend, HDF5Storage(stored, mode="r") as source:
        backend.update(source)
    expected = attribute(stored, name)
    assert np.array_equal(attribute(tmp_path / "b.h5", name), expected)
    repack(tmp_path / "b.h5")
    assert np.array_equal(attribute(tmp_path / "b.h5", name), expected)


WRONG = {
    "another check": lambda words: words + np.array([1] + [0] * (len(words) - 1), "<u4"),
    "a length that was flipped": lambda words: words ^ (np.arange(len(words)) == 5).astype("<u4"),
    "a frame less": lambda words: words[:-1],
    "nothing": lambda words: words[:0],
    "a check alone": lambda words: words[:2],
    "floats": lambda words: words.astype("<f8"),
    "a matrix": lambda words: words[2:].reshape(2, -1),
    "text": lambda words: "no numbers",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_damaged_ones_are_ignored(wrong: str, stored: Path, tmp_path: Path) -> None:
    name = "adk_oplsaa.xtc"
    shutil.copyfile(stored, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        attributes = file[f"objects/k1/files/{name}"].attrs
        attributes[NAME] = WRONG[wrong](attributes[NAME])
    with HDF5Storage(stored, mode="r") as backend, HDF5Storage(tmp_path / "a.h5", mode="r") as damaged:
        whole = backend.frames("k1", name)[:].positions
        assert np.array_equal(damaged.frames("k1", name)[:].positions, whole)


HOSTILE = {
    "two frames as one": lambda lengths: np.array([lengths[0] + lengths[1], *lengths[2:]], "<u4"),
    "a frame that begins later": lambda lengths: np.append(lengths[:1] + np.uint32(4), lengths[1:-1]),
    "many of no length": lambda lengths: np.zeros(1000, "<u4"),
    "many of one byte": lambda lengths: np.ones(1000, "<u4"),
}


@pytest.mark.filterwarnings("ignore:member 'adk_oplsaa.xtc' of object 'k1'. [0-9]+ bytes:UserWarning")
@pytest.mark.parametrize("hostile", HOSTILE)
def test_lies_with_a_right_check_give_errors_and_no_other_frames(
    hostile: str, stored: Path, tmp_path: Path
) -> None:
    name = "adk_oplsaa.xtc"
    shutil.copyfile(stored, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        member = file[f"objects/k1/files/{name}"]
        lengths = HOSTILE[hostile](member.attrs[NAME][2:])
        text = member.attrs["member_blake3"]
        digest = text.decode() if isinstance(text, bytes) else str(text)
        check = np.frombuffer(blake3(f"{digest}\n".encode() + lengths.tobytes()).digest(8), "<u4")
        member.attrs[NAME] = np.concatenate([check, lengths])
    with (
        HDF5Storage(tmp_path / "a.h5", mode="r") as backend,
        backend.frames("k1", name) as frames,
        pytest.raises(FrameReadError, match="frame 0 cannot be read"),
    ):
        frames[0]

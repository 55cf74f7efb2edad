"""What is cut off, followed by junk, damaged or cannot be read: whole frames and a warning, or an error."""

from __future__ import annotations

import errno
import random
import shutil
from pathlib import Path
from typing import Any

import MDAnalysis
import numpy as np
import pytest
from material import CODECS, DATA, TRAJECTORIES, open_reader, small_chunks, store
from MDAnalysis.analysis.rms import RMSF

import simarchive.interop.mdanalysis  # noqa: F401
from simarchive import (
    ConflictError,
    CorruptMemberError,
    FrameReadError,
    HDF5Storage,
    StorageError,
)
from simarchive.container.members import extraction, window
from simarchive.container.open_members import chunks
from simarchive.errors import StorageIOError

pytestmark = pytest.mark.filterwarnings("ignore:DCDReader currently makes:DeprecationWarning")

SMALL = {
    "dcd": DATA / "tip125_tric_C36.dcd",
    "xtc": DATA / "xtc_test_only_10_frame_10_atoms.xtc",
    "trr": DATA / "trr_test_only_10_frame_10_atoms.trr",
    "ncdf": DATA / "Amber" / "posfor.ncdf",
}
ONE_OF_EACH = ("adk_dims.dcd", "adk_oplsaa.xtc", "cobrotoxin.trr", "Amber/bala.ncdf")


def all_positions(reader: Any) -> list[np.ndarray]:
    return [ts.positions.copy() for ts in reader]


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("rest", [1, 3, 57])
def test_of_a_file_that_is_cut_off_the_whole_frames_are_read(kind: str, rest: int, tmp_path: Path) -> None:
    content = SMALL[kind].read_bytes()
    files = {f"whole.{kind}": content, f"cut.{kind}": content[:-rest]}
    store(tmp_path / "a.h5", files, tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        whole = backend.frames("k1", f"whole.{kind}")[:].positions
        with pytest.warns(UserWarning, match=rf"cut\.{kind}' of object 'k1': .* whole frames can be read"):
            frames = backend.frames("k1", f"cut.{kind}")
        assert np.array_equal(frames[:].positions, whole[:-1])
    with pytest.warns(UserWarning, match="whole frames can be read"):
        reader = MDAnalysis.coordinates.core.reader(f"{tmp_path / 'a.h5'}::k1/cut.{kind}")
    assert np.array_equal(all_positions(reader), whole[:-1])


@pytest.mark.parametrize("kind", ["dcd", "xtc", "trr"])
@pytest.mark.parametrize("junk", [b"\0" * 5, b"\xff" * 3_000, b"\0" * 100_000, b"\0\0\7\xcb" * 9])
@pytest.mark.parametrize("chunk_bytes", [4096, 2 << 20])
def test_of_a_file_that_ends_in_junk_the_whole_frames_are_read(
    kind: str, junk: bytes, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, chunk_bytes)
    content = SMALL[kind].read_bytes()
    store(tmp_path / "a.h5", {f"a.{kind}": content, f"b.{kind}": content + junk}, tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        whole = backend.frames("k1", f"a.{kind}")[:].positions
        with pytest.warns(UserWarning, match=f"{len(junk)} bytes after the last whole frame are none"):
            frames = backend.frames("k1", f"b.{kind}")
        assert np.array_equal(frames[:].positions, whole)


@pytest.mark.parametrize("kind", SMALL)
def test_a_file_without_a_whole_frame_has_none(kind: str, tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "w.h5") as backend:
        assert len(backend) == 0
    store(tmp_path / "a.h5", {f"a.{kind}": SMALL[kind]}, tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        frames = backend.frames("k1")
        end = int(frames._source.layout.starts[1]) - 1
    store(tmp_path / "b.h5", {f"a.{kind}": SMALL[kind].read_bytes()[:end]}, tmp_path / "cut")
    with HDF5Storage(tmp_path / "b.h5", mode="r") as backend, pytest.warns(UserWarning, match="its 0 whole"):
        none = backend.frames("k1")
        assert (len(none), none[:].positions.shape, none.dt is None or kind == "dcd") == (
            0,
            (0, frames.n_atoms, 3),
            True,
        )
        with pytest.raises(FrameReadError, match="has no whole frame"):
            MDAnalysis.coordinates.core.reader(f"{tmp_path / 'b.h5'}::k1/a.{kind}")


@pytest.fixture(scope="module")
def in_pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pieces")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 64 << 10)
        store(place / "a.h5", {name: TRAJECTORIES[name] for name in ONE_OF_EACH}, place / "files")
    return place / "a.h5"


class FailsInTheMiddle:
    """Has the container's file fail after so many reads of chunks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> None:
        self._left, self._error, self._plain = after, error, extraction.read_unchecked
        monkeypatch.setattr(window, "_AHEAD_BYTES", 128 << 10)
        monkeypatch.setattr(chunks, "read_unchecked", self)

    def __call__(self, *given: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error
        self._plain(*given)


ERRORS = {
    "of the disk": OSError(errno.EIO, "Input/output error"),
    "of ours that is one of the system": StorageIOError("the disk is gone"),
    "of the end of the file": EOFError("the container ends"),
    "of a file on a server": TimeoutError("no answer"),
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_the_midst_of_an_iteration_is_not_its_end(
    error: str, name: str, in_pieces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_chunks = TRAJECTORIES[name].stat().st_size // (64 << 10)
    FailsInTheMiddle(monkeypatch, ERRORS[error], after=n_chunks * 4 // 5)
    reader = open_reader(f"{in_pieces}::k1/{name}")
    read = 0
    with pytest.raises(FrameReadError) as raised:
        for _ in reader:
            read += 1
    assert 0 < read < len(reader)
    assert not isinstance(raised.value, OSError | EOFError)
    assert name in str(raised.value)
    assert raised.value.__cause__ is ERRORS[error]


def test_an_analysis_fails_as_a_whole(in_pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FailsInTheMiddle(monkeypatch, OSError(errno.EIO, "Input/output error"), after=20)
    universe = MDAnalysis.Universe(DATA / "adk.psf", f"{in_pieces}::k1/adk_dims.dcd")
    with pytest.raises(FrameReadError, match=r"frame \d+ cannot be read"):
        RMSF(universe.atoms).run()


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_chunk_costs_its_frames_and_no_others(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, 256 << 10)
    name = "adk_dims.dcd"
    store(tmp_path / "a.h5", {name: TRAJECTORIES[name]}, tmp_path / "files", codec=codec)
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        frames = backend.frames("k1")
        offset = int(frames._source.chunks.table.offsets[7])
        whole = frames[:].positions
    with (tmp_path / "a.h5").open("r+b") as file:
        file.seek(offset + 1000)
        file.write(b"damage")
    reader = open_reader(f"{tmp_path / 'a.h5'}::k1/{name}")
    read, failed = [], []
    for number in range(len(reader)):
        try:
            read.append((number, reader[number].positions.copy()))
        except CorruptMemberError as error:
            failed.append(number)
            assert "chunk 7" in str(error)
    assert 5 <= len(failed) <= 9
    assert failed == list(range(failed[0], failed[-1] + 1))
    assert all(np.array_equal(positions, whole[number]) for number, positions in read)
    with pytest.raises(CorruptMemberError):
        all_positions(reader)


def test_a_trajectory_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one(
    in_pieces: Path, tmp_path: Path
) -> None:
    shutil.copyfile(in_pieces, tmp_path / "a.h5")
    reader = open_reader(f"{tmp_path / 'a.h5'}::k1/adk_dims.dcd")
    first = reader[0].positions.copy()
    store(tmp_path / "a.h5", {"x.dcd": DATA / "adk_dims2.dcd"}, tmp_path / "more", key="k2")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        # Another object was stored: the reader goes on.
        assert np.array_equal(reader[0].positions, first)
        assert reader[60].frame == 60
        backend.remove_object("k1")
    with pytest.raises(ConflictError, match="was replaced or removed"):
        for _ in reader:
            pass


@pytest.mark.filterwarnings("ignore:member 'x:UserWarning")
@pytest.mark.parametrize("kind", SMALL)
def test_headers_with_damage_give_errors_of_our_tree(kind: str, tmp_path: Path) -> None:
    """The file is stored with its damage, so no check of the container finds it."""
    content, dice = SMALL[kind].read_bytes(), random.Random(kind)
    files = {}
    for number in range(30):
        damaged = bytearray(content)
        for _ in range(dice.choice((1, 1, 4))):
            at = dice.randrange(min(len(content), 600 if kind == "ncdf" else 300))
            damaged[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\1"))
        files[f"x{number}.{kind}"] = bytes(damaged)
    store(tmp_path / "a.h5", files, tmp_path / "files", codec="raw")
    outcomes = set()
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        for name in files:
            try:
                with backend.frames("k1", name) as frames:
                    # What MDAnalysis' C code makes of a damaged XTC frame is its own affair.
                    for number in range(len(frames) if kind != "xtc" else 0):
                        frames[number]
                    outcomes.add("read")
            except StorageError as error:
                outcomes.add(type(error).__name__)
    assert outcomes <= {"read", "InvalidDataError", "FrameReadError"}
    assert len(outcomes) >= 2

"""Frames as arrays, with numpy alone: coordinates and boxes in angstroms, times in picoseconds."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from material import DATA, TRAJECTORIES, native, small_chunks, store

from simarchive import ClosedError, HDF5Storage, InvalidDataError, LocalFileStorage, NotFoundError
from simarchive.codecs import deflate
from simarchive.container.members import MemberTable, window

LARGE = "adk_dims.dcd"
CHUNK = 64 << 10
# What MDAnalysis says of a file that says nothing.
UNTIMED = {"Amber/cpptraj_traj.nc"}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("frames")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, CHUNK)
        store(place / "all.h5", {**TRAJECTORIES, "notes.txt": b"no trajectory"}, place / "files")
    return place / "all.h5"


@pytest.mark.filterwarnings("ignore:Reader has no dt information:UserWarning")
@pytest.mark.parametrize("name", TRAJECTORIES)
def test_they_are_those_of_mdanalysis(name: str, everything: Path, tmp_path: Path) -> None:
    theirs = native(TRAJECTORIES[name], tmp_path)
    with HDF5Storage(everything, mode="r") as backend, backend.frames("k1", name) as frames:
        assert (len(frames), frames.n_atoms) == (len(theirs), theirs.n_atoms)
        if len(frames) > 1 and name not in UNTIMED:
            assert frames.dt == pytest.approx(theirs.dt, rel=1e-6)
        numbers = [n for n in range(len(theirs))[::3] if theirs[n].has_positions]
        block = frames[numbers]
        assert (block.positions.dtype, block.positions.flags.c_contiguous) == (np.dtype("f4"), True)
        assert len(block) == len(block.numbers) == len(numbers)
        for place, number in enumerate(numbers):
            ts = theirs[number]
            assert np.array_equal(block.positions[place], ts.positions)
            if name not in UNTIMED:
                assert block.time is not None
                assert block.time[place] == ts.time
            box = np.zeros(6) if block.box is None else block.box[place]
            expected = np.zeros(6) if ts.dimensions is None else ts.dimensions
            assert np.allclose(box, expected, rtol=1e-6, atol=1e-4)
        if name in UNTIMED:
            assert block.time is None
            assert frames.dt is None


def test_frames_are_named_as_items_of_an_array(everything: Path) -> None:
    with HDF5Storage(everything, mode="r") as backend, backend.frames("k1", LARGE) as frames:
        whole = frames[:].positions
        assert whole.shape == (98, 3341, 3)
        assert np.array_equal(frames[10:90:10].positions, whole[10:90:10])
        assert np.array_equal(frames[::-1].positions, whole[::-1])
        assert np.array_equal(frames[[5, 3, -1, 3]].positions, whole[[5, 3, -1, 3]])
        assert np.array_equal(frames[np.arange(98) % 40 == 0].positions, whole[::40])
        one = frames[-1]
        assert one.positions.shape == (3341, 3)
        assert (int(one.numbers), one.time) == (97, frames[97:98].time[0])
        assert frames[5:5].positions.shape == (0, 3341, 3)
        assert [len(block) for block in frames.blocks(40)] == [40, 40, 18]
        assert sum(1 for _ in frames) == 98
        for outside in (98, -99, [1, 98]):
            with pytest.raises(IndexError, match="98 frames"):
                frames[outside]
        for nonsense in ("1", 1.0, [[1]], None, [1.5]):
            with pytest.raises(InvalidDataError, match="frames are named by"):
                frames[nonsense]
        with pytest.raises(InvalidDataError, match="one frame or more"):
            next(frames.blocks(0))
        kept = frames[3].positions
        frames[4:40]
        assert np.array_equal(kept, whole[3])
    with pytest.raises(ClosedError):
        frames[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:MDAnalysis")
def test_the_trajectory_is_the_one_that_the_document_names(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples" / "stored_data"
    with HDF5Storage(tmp_path / "a.h5") as backend, LocalFileStorage(examples, mode="r") as directory:
        backend.update(directory)
        several = "ed3c43fdc7ed421a9217cdb3af675f35"  # DCD, NetCDF and XTC
        assert backend.frames(several).format == "DCD"
        assert backend.frames(several, "trajectory.nc").format == "NCDF"
        assert len(backend.universe(several).trajectory) == len(backend.frames(several))
        with pytest.raises(InvalidDataError, match=r"name one of start_state\.dcd, end_state\.dcd"):
            backend.frames("0f996c1c27dd4cf7960325cafbd16113")
        with pytest.raises(NotFoundError, match="no file that is a trajectory"):
            backend.frames("927139cf31034b88a5652bbd414aa85f")
        with pytest.raises(NotFoundError):
            backend.frames("0" * 32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"text", "its name ends in none of .dcd, "),
        ("x.dcd", b"", "does not begin as a DCD file"),
        ("x.dcd", b"T\0\0\0CORD" + bytes(8), "header"),
        ("x.nc", b"\x89HDF\r\n\x1a\n" + bytes(100), "NetCDF-4"),
        ("x.nc", b"CDF\1" + bytes(8), "header"),
        ("x.nc", b"CDF\1" + b"\xff" * 100, "x.nc"),
        ("x.nc", b"CDF\1" + bytes(100), "no trajectory by the AMBER convention"),
        ("x.xtc", b"no frames of anything" * 10, "does not begin as an XTC file"),
        ("x.xtc", b"", "does not begin as an XTC file"),
        ("x.xtc", b"\0\0\7\xcb" + bytes(8), "ends in the header"),
        ("x.trr", b"\0\0\7\xcb" + bytes(200), "does not begin as a TRR file"),
        ("x.trr", b"\0\0\7\xc9" + b"\xff" * 200, "in the header of a TRR frame"),
        ("x.xtc", b"\0\0\7\xcb\x7f\xff\xff\xff" + bytes(200), "has coordinates of"),
    ],
)
def test_what_is_no_trajectory_is_named_with_the_reason(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    store(tmp_path / "a.h5", {name: content}, tmp_path / "files")
    with (
        HDF5Storage(tmp_path / "a.h5", mode="r") as backend,
        pytest.raises(InvalidDataError, match=message),
    ):
        backend.frames("k1", name)


def test_a_frame_that_claims_more_atoms_than_there_are_bytes_is_not_believed(tmp_path: Path) -> None:
    frame = bytearray((DATA / "xyz_random_walk.xtc").read_bytes())
    frame[4:8] = frame[52:56] = (2**31 - 1).to_bytes(4, "big")
    store(tmp_path / "a.h5", {"x.xtc": bytes(frame)}, tmp_path / "files")
    with (
        HDF5Storage(tmp_path / "a.h5", mode="r") as backend,
        pytest.raises(InvalidDataError, match="claims 2147483647 atoms"),
    ):
        backend.frames("k1", "x.xtc")


@pytest.mark.parametrize("name", [LARGE, "adk_oplsaa.xtc", "Amber/bala.ncdf", "adk_oplsaa.trr"])
def test_length_atoms_and_dt_decode_no_more_than_the_start(
    name: str, everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: set[int] = set()
    plain = window.decode_stored

    def counted(table: MemberTable, chunk: int, *given: memoryview) -> None:
        decoded.add(chunk)
        plain(table, chunk, *given)

    monkeypatch.setattr(window, "decode_stored", counted)
    with HDF5Storage(everything, mode="r") as backend, backend.frames("k1", name) as frames:
        assert len(frames) > 9
        n_chunks = -(-TRAJECTORIES[name].stat().st_size // CHUNK)
        # The first, and of a DCD file the last frame, which tells whether there is anything else.
        assert decoded <= {0, n_chunks - 2, n_chunks - 1}
        assert frames.dt is not None
        frame_chunks = -(-2 * TRAJECTORIES[name].stat().st_size // len(frames) // CHUNK)
        assert len(decoded) <= 3 + frame_chunks + (4 << 20) // CHUNK


def test_a_frame_at_random_is_put_together_alone(everything: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = [], []
    decode, decode_part = deflate.ShuffledDeflate.decode, deflate.ShuffledDeflate.decode_part
    monkeypatch.setattr(
        deflate.ShuffledDeflate, "decode", lambda *given: (whole.append(len(given[3])), decode(*given))[1]
    )
    monkeypatch.setattr(
        deflate.ShuffledDeflate,
        "decode_part",
        lambda *given: (parts.append(len(given[5])), decode_part(*given))[1],
    )
    with HDF5Storage(everything, mode="r") as backend, backend.frames("k1", LARGE) as frames:
        expected = frames[:].positions
        whole.clear()
        for number in (90, 11, 57, 30, 79):
            assert np.array_equal(frames[number].positions, expected[number])
        assert whole == []
        # The frame and its markers, and no more: 40 kB of the two chunks of 64 KiB that it may lie in.
        assert sum(parts) <= 5 * (3 * (4 * 3341 + 8))


def test_xtc_needs_one_of_two_libraries_and_both_give_the_same(everything: Path) -> None:
    program = f"""
        import sys
        sys.modules[sys.argv[1]] = None
        if len(sys.argv) > 2:
            sys.modules[sys.argv[2]] = None
        from simarchive import HDF5Storage, StorageError
        with HDF5Storage("{everything}", mode="r") as backend:
            frames = backend.frames("k1", "adk_oplsaa.xtc")
            try:
                print(len(frames), frames[7].positions.sum(dtype=float), frames[7].box.tolist())
            except StorageError as error:
                print(error)
    """

    def run(*missing: str) -> str:
        command = [sys.executable, "-c", textwrap.dedent(program), *missing]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("mdtraj") == run("MDAnalysis") != ""
    assert "pip install 'simarchive[trajectories]'" in run("MDAnalysis", "mdtraj")


def test_libraries_are_loaded_when_they_are_needed(everything: Path) -> None:
    program = f"""
        import sys
        from simarchive import HDF5Storage
        with HDF5Storage("{everything}", mode="r") as backend:
            with backend.frames("k1", "{LARGE}") as frames:
                frames[50]
        print(sorted({{"MDAnalysis", "mdtraj", "pandas"}} & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"

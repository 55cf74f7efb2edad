"""Readers of members give, bit for bit, what MDAnalysis' own readers give of the files, in any order."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest
from material import CODECS, TRAJECTORIES, all_of, native, open_reader, small_chunks, store

import simarchive.interop.mdanalysis  # noqa: F401

# MDAnalysis says it of any NetCDF file without times.
pytestmark = pytest.mark.filterwarnings("ignore:Reader has no dt information:UserWarning")


def orders(n_frames: int) -> dict[str, list[int]]:
    shuffled = random.Random(n_frames).sample(range(n_frames), min(n_frames, 20))
    return {
        "backwards": list(range(n_frames))[::-1],
        "at random": shuffled,
        "sliced": list(range(n_frames))[1::3],
    }


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with all trajectories, in chunks of the usual size."""
    place = tmp_path_factory.mktemp("everything")
    store(place / "all.h5", TRAJECTORIES, place / "files")
    return place / "all.h5"


@pytest.fixture(scope="module")
def in_pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in chunks of 64 KiB."""
    place = tmp_path_factory.mktemp("pieces")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 64 << 10)
        store(place / "all.h5", TRAJECTORIES, place / "files")
    return place / "all.h5"


@pytest.mark.parametrize("name", TRAJECTORIES)
@pytest.mark.parametrize("container", ["everything", "in_pieces"])
def test_every_frame_in_every_order_is_that_of_the_file(
    name: str, container: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    theirs = native(TRAJECTORIES[name], tmp_path)
    ours = open_reader(f"{request.getfixturevalue(container)}::k1/{name}")
    assert (ours.n_frames, ours.n_atoms, ours.dt) == (theirs.n_frames, theirs.n_atoms, theirs.dt)
    assert ours.units == theirs.units
    assert all_of(ours) == all_of(theirs)
    for order, numbers in orders(len(theirs)).items():
        assert all_of(ours, numbers) == all_of(theirs, numbers), order
    ours.close()


# One of each format, of more than one chunk of 64 KiB; all files where SIMARCHIVE_ALL_TRAJECTORIES is set.
LARGE = ("adk_dims.dcd", "adk_oplsaa.xtc", "cobrotoxin.trr", "Amber/bala.ncdf")
NAMES = tuple(TRAJECTORIES) if os.environ.get("SIMARCHIVE_ALL_TRAJECTORIES") else LARGE


@pytest.mark.parametrize("chunk_kib", [64, 2048])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_codec(
    codec: str, name: str, chunk_kib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, chunk_kib << 10)
    store(tmp_path / "a.h5", {name: TRAJECTORIES[name]}, tmp_path / "files", codec=codec)
    theirs, ours = native(TRAJECTORIES[name], tmp_path), open_reader(f"{tmp_path / 'a.h5'}::k1/{name}")
    numbers = [*range(0, len(theirs), 7), *orders(len(theirs))["at random"]]
    if NAMES is not LARGE:
        numbers = [*range(len(theirs)), *itertools.chain(*orders(len(theirs)).values())]
    assert (ours.n_frames, ours.n_atoms, ours.dt) == (theirs.n_frames, theirs.n_atoms, theirs.dt)
    assert all_of(ours, numbers) == all_of(theirs, numbers)
    ours.close()


def test_every_file_of_the_test_suite_is_there() -> None:
    assert len(TRAJECTORIES) >= 26
    assert {name.rpartition(".")[2] for name in TRAJECTORIES} == {"dcd", "xtc", "trr", "nc", "ncdf"}

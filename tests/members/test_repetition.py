"""Layouts of the files that MDAnalysis writes, from a real XTC trajectory."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from member_material import Box, noise, text

from simarchive.codecs.trajectory_files.repetition import find_repetition
from simarchive.container.members import store_member


def convert(source: Path, target: Path, n_frames: int) -> bytes:
    """Write the first frames of a trajectory, over and over, in the format of `target`."""
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = MDAnalysis.coordinates.XTC.XTCReader(str(source))
        universe = MDAnalysis.Universe.empty(reader.n_atoms, trajectory=True)
        with MDAnalysis.Writer(str(target), reader.n_atoms, dt=1.0) as writer:
            for number in range(n_frames):
                frame = reader[number % reader.n_frames]
                universe.atoms.positions = frame.positions
                universe.dimensions = frame.dimensions
                writer.write(universe.atoms)
        reader.close()
    return target.read_bytes()


@pytest.mark.parametrize(
    ("name", "atom_words", "big_endian"), [("t.dcd", 1, False), ("t.nc", 3, True), ("t.trr", 3, True)]
)
def test_the_layout_of_a_file_is_that_of_its_frames(
    tmp_path: Path, example: Callable[[str], Path], name: str, atom_words: int, big_endian: bool
) -> None:
    source = example("trajectory.xtc")
    three = convert(source, tmp_path / f"3{name}", 3)
    four = convert(source, tmp_path / f"4{name}", 4)
    layout = find_repetition(three[:65536])
    assert layout is not None
    assert 4 * layout.frame_words == len(four) - len(three)
    assert (layout.atom_words, layout.big_endian) == (atom_words, big_endian)


@pytest.mark.parametrize("name", ["t.dcd", "t.nc", "t.trr"])
def test_converted_xtc_lies_on_a_grid_whatever_the_format(
    box: Box, tmp_path: Path, example: Callable[[str], Path], name: str
) -> None:
    data = convert(example("trajectory.xtc"), tmp_path / name, 12)
    with box.writing() as group:
        small = store_member(group, "small", io.BytesIO(data), codec="trajectory")
        default = store_member(group, "default", io.BytesIO(data))
    assert small.codec == "trajectory"
    assert small.stored_size < default.stored_size / 1.5


@pytest.mark.parametrize("length", [0, 3, 4, 8, 100, 101, 200])
def test_headers_that_end_early_have_no_layout(
    tmp_path: Path, example: Callable[[str], Path], length: int
) -> None:
    for name in ("t.dcd", "t.nc", "t.trr"):
        head = convert(example("trajectory.xtc"), tmp_path / name, 2)[:length]
        if length < 84:
            assert find_repetition(head) is None
        else:
            find_repetition(head)


def test_other_files_have_no_layout() -> None:
    for head in (text(1000), noise(1000), b"CDF\x01" + noise(300), b"\x54\0\0\0CORD" + noise(300)):
        assert find_repetition(head) is None

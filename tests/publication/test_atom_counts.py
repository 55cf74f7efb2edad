"""Numbers of atoms and frames are those that MDAnalysis finds in real files; what is broken gives none."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import MDAnalysisTests.datafiles as files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from MDAnalysis.core._get_readers import get_parser_for, get_reader_for

from simarchive.storage.publication import atom_counts
from simarchive.storage.publication.atom_counts import Counts

PATHS = sorted(
    {
        Path(value)
        for name, value in vars(files).items()
        if isinstance(value, str | Path) and not name.startswith("_") and Path(value).is_file()
    }
)
TRAJECTORIES = [path for path in PATHS if path.suffix in (".dcd", ".xtc", ".trr", ".nc", ".ncdf")]
TOPOLOGIES = [path for path in PATHS if path.suffix in (".gro", ".psf", ".prmtop", ".parm7", ".pdb")]
LARGEST_BYTES = 300_000  # to parse a large topology takes MDAnalysis seconds


def counts_of(path: Path) -> Counts:
    with path.open("rb") as stream:
        return atom_counts.of_trajectory(path.name, stream, size=path.stat().st_size, frames=True)


def test_trajectories_have_the_atoms_and_frames_that_a_reader_finds(tmp_path: Path) -> None:
    for path in TRAJECTORIES:
        # In a directory of its own: readers write an index of the frames beside an XTC file.
        place = tmp_path / path.name
        place.symlink_to(path)
        if not path.stat().st_size:
            assert counts_of(path) == Counts(None, None)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = get_reader_for(str(place))(str(place))
        counts = counts_of(path)
        assert counts == Counts(reader.n_atoms, reader.n_frames), path
        reader.close()
    assert len(TRAJECTORIES) > 25


def test_topologies_have_the_atoms_that_a_parser_finds() -> None:
    n_equal = 0
    for path in TOPOLOGIES:
        if path.stat().st_size > LARGEST_BYTES:
            continue
        with path.open("rb") as stream:
            found = atom_counts.of_topology(path.name, stream)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = get_parser_for(str(path))(str(path)).parse().n_atoms
        except (OSError, ValueError, IndexError):
            continue
        assert found in (expected, None), path
        n_equal += found == expected
    assert n_equal > 30


@pytest.mark.parametrize(
    "path", [files.DCD, files.XTC, files.TRR, files.NCDF], ids=lambda path: Path(path).suffix
)
def test_of_a_file_that_ends_early_the_whole_frames_count(path: str) -> None:
    content = Path(path).read_bytes()
    whole = atom_counts.of_trajectory(path, io.BytesIO(content), size=len(content), frames=True)
    assert whole.frames
    for length in (0, 1, 8, 80, 100, len(content) // 2, len(content) - 1):
        part = atom_counts.of_trajectory(path, io.BytesIO(content[:length]), size=length, frames=True)
        assert part in (Counts(None, None), Counts(whole.atoms, part.frames))
        assert part.frames is None or part.frames < whole.frames
    assert part.frames == whole.frames - 1


@given(
    st.sampled_from([".dcd", ".xtc", ".trr", ".nc", ".pdb", ".gro", ".psf", ".prmtop"]),
    st.binary(max_size=400),
)
@settings(max_examples=150, deadline=None)
def test_whatever_stands_in_a_file_there_is_an_answer(suffix: str, content: bytes) -> None:
    heads = {
        ".dcd": b"T\0\0\0CORD",
        ".xtc": b"\0\0\7\xcb",
        ".trr": b"\0\0\7\xc9\0\0\0\r\0\0\0\x0c",
        ".nc": b"CDF\1",
    }
    content = heads.get(suffix, b"") + content
    name = "file" + suffix
    counts = atom_counts.of_trajectory(name, io.BytesIO(content), size=len(content), frames=True)
    assert counts.frames is None or counts.frames >= 0
    atom_counts.of_topology(name, io.BytesIO(content))


def test_only_headers_are_read() -> None:
    class Counting(io.BytesIO):
        n_read = 0

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.n_read += len(content)
            return content

    for path in (files.DCD, files.XTC, files.TRR):
        content = Path(path).read_bytes()
        stream = Counting(content)
        counts = atom_counts.of_trajectory(path, stream, size=len(content), frames=True)
        assert counts.frames
        assert stream.n_read < 1000 + 200 * counts.frames

"""Each kind of broken trajectory means the same to all who look at it, and each says what it does about it.

Frames where they lie, an account of a run, counts for publishing, and the choice of a codec read one header.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import MDAnalysisTests.datafiles as files
import numpy as np
import pytest
from material import store

from simarchive import HDF5Storage, InvalidDataError
from simarchive.codecs.trajectory_files.formats import FORMATS, LAYOUTS
from simarchive.codecs.trajectory_files.layout import LayoutError, reads_of_head
from simarchive.codecs.trajectory_files.repetition import find_repetition
from simarchive.storage.publication import atom_counts
from simarchive.storage.publication.atom_counts import Counts
from simarchive.storage.runs.file_reading import RunFile, UnreadableError
from simarchive.storage.runs.formats import reader_of

SOUND = {"x.dcd": files.DCD, "x.xtc": files.XTC, "x.trr": files.TRR, "x.nc": files.NCDF}
WITHOUT_FRAMES = {
    "the header cut short": lambda content: content[:80],
    "text": lambda _: b"no trajectory at all\n" * 500,
    "zeros": lambda _: bytes(5000),
    "one byte": lambda content: content[:1],
}
WITH_AN_END_THAT_IS_NONE = {
    "a byte less": lambda content: content[:-1],
    "a third of it": lambda content: content[: len(content) // 3],
    "zeros after it": lambda content: content + bytes(100),
}


def frames_of(name: str, content: bytes, place: Path) -> tuple[int, list[str]]:
    """Return how many frames can be read where they lie, and what is warned of."""
    store(place / "a.h5", {name: content}, place / "files")
    with HDF5Storage(place / "a.h5", mode="r") as backend, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with backend.frames("k1", name) as frames:
            return len(frames), [str(warning.message) for warning in caught]


def run_of(name: str, content: bytes, place: Path) -> tuple[int | None, list[str]]:
    """Return how many frames an account of a run has, and its notes."""
    (place / name).write_bytes(content)
    file = RunFile(name, place / name)
    reader = reader_of(file)
    assert reader is not None
    reading = reader(file)
    return reading.n_frames, reading.notes


def counts_of(name: str, content: bytes) -> Counts:
    return atom_counts.of_trajectory(name, io.BytesIO(content), size=len(content), frames=True)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_has_the_same_frames_for_all(name: str, tmp_path: Path) -> None:
    content = Path(SOUND[name]).read_bytes()
    n_frames, warned = frames_of(name, content, tmp_path)
    assert n_frames > 1
    assert not warned
    assert run_of(name, content, tmp_path) == (n_frames, [])
    assert counts_of(name, content).frames == n_frames


@pytest.mark.parametrize("broken", WITHOUT_FRAMES)
@pytest.mark.parametrize("name", SOUND)
def test_a_file_without_a_header_has_no_frames_for_anyone(name: str, broken: str, tmp_path: Path) -> None:
    content = WITHOUT_FRAMES[broken](Path(SOUND[name]).read_bytes())
    with pytest.raises(LayoutError):
        LAYOUTS[FORMATS[Path(name).suffix]](reads_of_head(content), len(content))
    with pytest.raises(InvalidDataError, match=f"member '{name}' of object 'k1' is no .* trajectory"):
        frames_of(name, content, tmp_path)
    if name != "x.nc" or content[:3] == b"CDF":  # the first bytes alone make a NetCDF file
        with pytest.raises(UnreadableError):
            run_of(name, content, tmp_path)
    assert counts_of(name, content) == Counts(None, None)
    assert find_repetition(content) is None


@pytest.mark.parametrize("other", SOUND)
@pytest.mark.parametrize("name", SOUND)
def test_a_file_of_another_format_has_none_either(name: str, other: str, tmp_path: Path) -> None:
    content = Path(SOUND[other]).read_bytes()[:200_000]
    if name == other:
        return
    with pytest.raises(InvalidDataError, match="does not begin as a"):
        frames_of(name, content, tmp_path)
    assert counts_of(name, content) == Counts(None, None)
    if name != "x.nc":
        with pytest.raises(UnreadableError, match="does not begin as a"):
            run_of(name, content, tmp_path)


@pytest.mark.parametrize("broken", WITH_AN_END_THAT_IS_NONE)
@pytest.mark.parametrize("name", SOUND)
def test_before_an_end_that_is_none_the_whole_frames_count(name: str, broken: str, tmp_path: Path) -> None:
    content = Path(SOUND[name]).read_bytes()
    whole = counts_of(name, content).frames
    assert whole is not None
    content = WITH_AN_END_THAT_IS_NONE[broken](content)
    n_frames, warned = frames_of(name, content, tmp_path)
    if broken == "a third of it":
        assert n_frames == pytest.approx(whole / 3, abs=1)
    else:
        assert n_frames == whole - (broken == "a byte less")
    assert run_of(name, content, tmp_path)[0] == counts_of(name, content).frames == n_frames
    if name == "x.nc" and broken == "zeros after it":
        return  # its header says how many there are, and more may follow
    [warning], [note] = warned, run_of(name, content, tmp_path)[1]
    assert f"its {n_frames} whole frames can be read" in warning
    assert note == f"broken off after {n_frames:,} whole frames"


def velocities() -> bytes:
    """Return a DCD file of velocities, as X-PLOR writes it: as one of coordinates but for a word."""
    return Path(files.DCD).read_bytes().replace(b"CORD", b"VELD", 1)


def test_velocities_are_no_coordinates_but_have_atoms(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="its frames are velocities"):
        frames_of("x.dcd", velocities(), tmp_path)
    with pytest.raises(UnreadableError, match="its frames are velocities"):
        run_of("x.dcd", velocities(), tmp_path)
    assert counts_of("x.dcd", velocities()) == counts_of("x.dcd", Path(files.DCD).read_bytes())
    assert find_repetition(velocities()[:65536]) == find_repetition(Path(files.DCD).read_bytes()[:65536])


def test_frames_of_the_other_kind_are_an_end(tmp_path: Path) -> None:
    mixed = Path(files.XTC_sub_sol).read_bytes() + Path(files.TRR_sub_sol).read_bytes()
    alone = counts_of("x.xtc", Path(files.XTC_sub_sol).read_bytes())
    assert counts_of("x.xtc", mixed) == alone
    assert frames_of("x.xtc", mixed, tmp_path)[0] == run_of("x.xtc", mixed, tmp_path)[0] == alone.frames


def restart(n_atoms: int) -> bytes:
    """Return an AMBER restart file with a box, in NetCDF with 64-bit offsets."""
    from scipy.io import netcdf_file

    stream = io.BytesIO()
    with netcdf_file(stream, "w", version=2) as file:
        file.Conventions, file.ConventionVersion, file.program = "AMBERRESTART", "1.0", "sander"
        for name, length in (("atom", n_atoms), ("spatial", 3), ("cell_spatial", 3), ("cell_angular", 3)):
            file.createDimension(name, length)
        file.createVariable("time", "d", ())[...] = 10.0
        file.createVariable("coordinates", "d", ("atom", "spatial"))[:] = np.ones((n_atoms, 3))
        file.createVariable("cell_lengths", "d", ("cell_spatial",))[:] = [30.0, 31.0, 32.0]
        file.createVariable("cell_angles", "d", ("cell_angular",))[:] = [90.0, 90.0, 90.0]
        file.flush()
        return stream.getvalue()


def test_a_restart_file_has_atoms_and_a_box_but_no_frames(tmp_path: Path) -> None:
    (tmp_path / "x.nc").write_bytes(restart(7))
    file = RunFile("x.nc", tmp_path / "x.nc")
    reader = reader_of(file)
    assert reader is not None
    reading = reader(file)
    assert (reading.format, reading.engine, reading.n_frames) == ("AMBER NetCDF restart", "amber", None)
    assert reading.facts == {"n_atoms": 7, "box": [30.0, 31.0, 32.0, 90.0, 90.0, 90.0]}
    assert counts_of("x.nc", restart(7)) == Counts(7, None)
    with pytest.raises(InvalidDataError, match="no trajectory by the AMBER convention"):
        frames_of("x.nc", restart(7), tmp_path)


def test_of_a_large_netcdf_file_a_run_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(files.NCDF).read_bytes()
    place = tmp_path / "x.nc"
    place.write_bytes(content)
    file, n_read = RunFile("x.nc", place), 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal n_read
            found = super().read(size)
            n_read += len(found)
            return found

    reader = reader_of(file)
    monkeypatch.setattr(RunFile, "open", lambda _: Counting(content))
    assert reader is not None
    assert reader(file).n_frames
    assert n_read < 20_000 < len(content)


@pytest.mark.parametrize("title_bytes", [164, 100])
def test_a_title_of_a_wrong_length_is_known_by_its_lines(title_bytes: int) -> None:
    """As old MDAnalysis wrote it."""
    control = [0] * 20
    control[0], control[19] = 1, 24
    head = struct.pack("<i4s20ii", 84, b"CORD", *control, 84)
    title = struct.pack("<ii80s80si", title_bytes, 2, b"one", b"two", title_bytes)
    frame = b"".join(struct.pack("<i3fi", 12, 1.0, 2.0, 3.0, 12) for _ in range(3))
    content = head + title + struct.pack("<iii", 4, 3, 4) + frame * 2
    assert counts_of("x.dcd", content) == Counts(3, 2)

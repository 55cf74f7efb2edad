"""Whatever is wrong with a file of a run: it is named, the others are read, and nothing else is raised."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from real_runs import MAKERS, make_run

from simarchive import HDF5Storage, InvalidDataError, StorageError, read_run

# What is read without a heavy library in between, so that many variants cost little.
LIGHT = sorted(MAKERS.keys() - {"gromacs-tpr", "gromacs-protein", "lammps-protein"})


@pytest.mark.parametrize(
    ("name", "file", "n_bytes", "n_frames"),
    [
        ("gromacs-water", "md.xtc", 6000, 2),
        ("gromacs-water", "md.xtc", 13995, 5),
        ("openmm-water", "output.dcd", 40000, 4),
        ("lammps-argon", "argon.dcd", 22339, 6),
        ("lammps-lj", "lj.dump", 30000, 3),
        ("namd-protein", "adk_gbis_tmd-fast1_NAMD.dcd", 100000, 2),
        ("amber-mdcrd", "ache.mdcrd", 30000, 4),
    ],
)
def test_a_trajectory_that_is_broken_off_is_named_with_its_whole_frames(
    name: str, file: str, n_bytes: int, n_frames: int, tmp_path: Path
) -> None:
    place = make_run(name, tmp_path)
    os.truncate(place / file, n_bytes)
    reading = read_run(place)
    assert reading.run.n_frames == n_frames
    assert any(file == noted and "broken off" in text for noted, text in reading.notes)
    assert reading.run.n_atoms == read_run(make_run(name, tmp_path / "whole")).run.n_atoms


@pytest.mark.parametrize("name", LIGHT)
def test_files_that_end_anywhere_or_hold_nonsense_stop_nothing(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    place = make_run(name, tmp_path)
    for path in sorted(place.iterdir()):
        whole = path.read_bytes()
        cut = [whole[: chance.randrange(len(whole) + 1)] for _ in range(4)] if whole else []
        # The header, where counts and sizes stand.
        flipped = []
        for _ in range(6 if whole else 0):
            bytes_ = bytearray(whole)
            for _ in range(4):
                bytes_[chance.randrange(min(len(bytes_), 400))] = chance.randrange(256)
            flipped.append(bytes(bytes_))
        for number, data in enumerate([*cut, *flipped, b"\0" * 5000, b"\xff" * 5000, b"\n" * 5000, b""]):
            path.write_bytes(data)
            try:
                # With the others once, for what they say together.
                reading = read_run(place, files={path.name: path} if number else None)
            except StorageError:
                continue
            reading.run.validate()
            assert reading.run.check_readable()
            assert str(reading)
        path.write_bytes(whole)


def test_a_run_whose_trajectory_is_damaged_is_stored_with_all_of_its_files(tmp_path: Path) -> None:
    place = make_run("gromacs-water", tmp_path)
    (place / "md.xtc").write_bytes(b"no trajectory at all")
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        key = backend.add_run(place)
        assert backend.load(key).trajectory_file_names == ["em.trr"]
        assert {member.name for member in backend.list_members(key)} == {
            path.name for path in place.iterdir()
        }


def test_a_minimized_structure_alone_is_a_run(tmp_path: Path) -> None:
    place = tmp_path / "em"
    place.mkdir()
    for name in ("em.gro", "em.edr", "em.log", "em.mdp"):
        (place / name).write_bytes((make_run("gromacs-water", tmp_path / name) / name).read_bytes())
    run = read_run(place).run
    assert (run.engine, run.n_atoms, run.ensemble, run.time_step) == ("gromacs", 639, None, None)
    assert run.metadata["integrator"] == "steep"


@pytest.mark.parametrize("what", ["fifo", "link out"])
def test_what_cannot_be_stored_is_refused_and_nothing_waits(what: str, tmp_path: Path) -> None:
    place = make_run("lammps-lj", tmp_path)
    if what == "fifo":
        os.mkfifo(place / "pipe.log")
    else:
        (place / "out.dcd").symlink_to("/etc/hostname")
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        with pytest.raises(InvalidDataError):
            backend.add_run(place)
        assert len(backend) == 0
    read_run(place)


def without(library: str, place: Path) -> str:
    """Return the account of a run in a process that does not have a library."""
    script = (
        f"import sys; sys.modules[{library!r}] = None; sys.path.insert(0, sys.argv[2])\n"
        "from simarchive import read_run; print(read_run(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place), os.pathsep.join(sys.path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("library", "name", "file"),
    [
        ("pyedr", "gromacs-energies", "irregular.edr"),
        ("MDAnalysis", "gromacs-tpr", "2lyz_gmx_2024.tpr"),
    ],
)
def test_without_a_library_the_rest_is_read_and_the_extra_is_named(
    library: str, name: str, file: str, tmp_path: Path
) -> None:
    account = without(library, make_run(name, tmp_path))
    assert f"{file}: not read: reading it needs {library}: pip install 'simarchive[runs]'" in account
    assert "GROMACS" in account


def test_a_small_table_is_read_without_a_heavy_library(tmp_path: Path) -> None:
    script = (
        "import sys; from simarchive import read_run; read_run(sys.argv[1])\n"
        "heavy = {'MDAnalysis', 'pyedr', 'pandas', 'netCDF4', 'matplotlib'} & sys.modules.keys()\n"
        "print(*heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(make_run("openmm-water", tmp_path))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_nothing_is_written_beside_the_files(tmp_path: Path) -> None:
    for name in MAKERS:
        place = make_run(name, tmp_path)
        before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
        read_run(place)
        assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == before

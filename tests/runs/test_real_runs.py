"""What is filled in for runs of real programs: a table made by hand, from the files and MDAnalysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_runs import MAKERS, make_run

from simarchive import HDF5Storage, RunReading, parse_query, read_run

ADENYLATE_KINASE = {
    "n_atoms": 3341,
    "n_residues": 214,
    "engine": None,
    "ensemble": None,
    "temperature": None,
}
# A value of None: no file says it, and it must stay unset.
TABLE: dict[str, dict[str, Any]] = {
    "openmm-water": {
        "engine": "openmm",
        "engine_version": "8.6.1",
        "ensemble": "NPT",
        "temperature": (300.0, "kelvin"),
        "pressure": (1.01325, "bar"),
        "time_step": (2.0, "femtosecond"),
        "frame_interval": (0.1, "picosecond"),
        "length": (0.5, "picosecond"),
        "n_atoms": 774,
        "n_residues": 258,
        "n_frames": 5,
        "box": [19.9562, 19.9562, 19.9562, 90.0, 90.0, 90.0],
        "composition": {"HOH": 258},
        "topology_file_name": "start.pdb",
        "trajectory_file_names": ["output.dcd"],
        "observables": {
            "Potential Energy": (25, "kilojoule / mole", -10984.041688276096),
            "Temperature": (25, "kelvin", 45.16016538608103),
            "Box Volume": (25, "nanometer ** 3", 8.0),
            "Density": (25, "gram / milliliter", 0.9647635652408765),
        },
        "guesses": {"length"},
    },
    "gromacs-water": {
        "engine": "gromacs",
        "engine_version": "2022.5-Debian_2022.5_2",
        "ensemble": "NPT",
        "temperature": (300.0, "kelvin"),
        "pressure": (1.0, "bar"),
        "time_step": (2.0, "femtosecond"),
        "frame_interval": (0.04, "picosecond"),
        "length": (0.2, "picosecond"),
        "n_atoms": 639,
        "n_residues": 213,
        "number_of_molecules": 213,
        "n_frames": 6,
        "box": [19.0, 19.0, 19.0, 90.0, 90.0, 90.0],
        "composition": {"SOL": 213},
        "topology_file_name": "md.gro",
        "trajectory_file_names": ["md.xtc"],
        "observables": {
            "Potential": (6, "kilojoule / mole", None),
            "Temperature": (6, "kelvin", None),
            "Time": (6, "picosecond", 0.0),
        },
        "guesses": set(),
    },
    "gromacs-protein": {
        "engine": "gromacs",
        "ensemble": "NPT",
        "temperature": (301.86, "kelvin"),
        "pressure": None,
        "time_step": None,
        "frame_interval": (100.0, "picosecond"),
        "length": (900.0, "picosecond"),
        "n_atoms": 47681,
        "n_residues": 11302,
        "n_frames": 10,
        "box": [80.017, 80.017, 80.017, 60.0, 60.0, 90.0],
        "topology_file_name": "md.gro",
        "trajectory_file_names": ["md.xtc"],
        "observables": {
            "Pressure": (4, "bar", None),
            "Density": (4, "kilogram / meter ** 3", None),
            "Box-X": (4, "nanometer", None),
        },
        "guesses": {"length", "ensemble", "temperature"},
    },
    "gromacs-energies": {
        "engine": "gromacs",
        "temperature": (294.96, "kelvin"),
        "length": (11384000.0, "picosecond"),
        "n_atoms": None,
        "n_frames": None,
        "observables": {"Volume": (151, "nanometer ** 3", None)},
        "guesses": {"length", "ensemble", "temperature"},
    },
    "gromacs-tpr": {
        "engine": "gromacs",
        "n_atoms": 2263,
        "n_residues": 230,
        "number_of_molecules": 102,
        "topology_file_name": "2lyz_gmx_2024.tpr",
        "n_frames": None,
        "guesses": set(),
    },
    "amber-netcdf": {
        "engine": "amber",
        "frame_interval": (1.0, "picosecond"),
        "length": (9.0, "picosecond"),
        "n_atoms": 1398,
        "n_residues": 465,
        "number_of_molecules": 465,
        "n_frames": 10,
        "box": [28.8188, 28.2788, 27.7262, 90.0, 90.0, 90.0],
        "composition": {"ACE": 1, "WAT": 464},
        "topology_file_name": "ace_tip3p.parm7",
        "trajectory_file_names": ["ace_tip3p.nc"],
        "temperature": None,
        "guesses": {"length"},
    },
    "amber-mdcrd": {
        "engine": "amber",
        "n_atoms": 252,
        "n_residues": 14,
        "n_frames": 11,
        "box": None,
        "frame_interval": None,
        "trajectory_file_names": ["ache.mdcrd"],
        "guesses": set(),
    },
    "amber-restart": {
        "engine": "amber",
        "n_atoms": 3026,
        "n_residues": 1003,
        "number_of_molecules": 1002,
        "box": [37.1333, 35.4107, 34.4706, 90.0, 90.0, 90.0],
        "composition": {"ALA": 2, "WAT": 1001},
        "topology_file_name": "parmed_ala2_solv.parm7",
        "n_frames": None,
        "guesses": set(),
    },
    "amber-output": {
        "engine": "amber",
        "engine_version": "16 pmemd",
        "ensemble": "NPT",
        "temperature": (298.0, "kelvin"),
        "pressure": (1.01325, "bar"),
        "time_step": (2.0, "femtosecond"),
        # From 20 ps, where it began, to 122 ps.
        "length": (102.0, "picosecond"),
        "n_atoms": 5986,
        "n_residues": 1962,
        "box": [40.877, 43.011, 34.124, 90.0, 90.0, 90.0],
        "observables": {
            "Time": (6, "picosecond", 22.0),
            "TEMP": (6, "kelvin", 277.13),
            "EPtot": (6, "kilocalorie / mole", -19589.6604),
            "1-4 EEL": (6, "kilocalorie / mole", -645.1673),
            "VOLUME": (6, "angstrom ** 3", 60158.7471),
            "Density": (6, "gram / milliliter", 0.9861),
        },
        "guesses": set(),
    },
    "lammps-lj": {
        "engine": "lammps",
        "engine_version": "22 Jul 2025 - Update 4",
        "ensemble": "NVT",
        # In reduced units nothing is in kelvin, picoseconds or angstroms.
        "temperature": None,
        "time_step": None,
        "length": None,
        "box": None,
        "n_atoms": 256,
        "n_frames": 5,
        "topology_file_name": "lj.data",
        "trajectory_file_names": ["lj.dump"],
        "metadata": {"lammps_units": "lj", "reduced_temperature": 1.2, "reduced_time_step": 0.005},
        "observables": {"Temp": (11, "dimensionless", 1.44), "TotEng": (11, "dimensionless", -4.6218056)},
        "guesses": set(),
    },
    "lammps-argon": {
        "engine": "lammps",
        "ensemble": "NPT",
        "temperature": (90.0, "kelvin"),
        "pressure": (1.0, "standard_atmosphere"),
        "time_step": (2.0, "femtosecond"),
        "frame_interval": (0.1, "picosecond"),
        # Two runs of 200 and 100 steps.
        "length": (600.0, "femtosecond"),
        "n_atoms": 256,
        "n_frames": 7,
        "box": [21.6, 21.6, 21.6, 90.0, 90.0, 90.0],
        "observables": {
            "TotEng": (7, "kilocalorie / mole", -405.0638),
            "Temp": (7, "kelvin", 90.0),
            "Press": (7, "standard_atmosphere", -1047.0487),
            "Volume": (7, "angstrom ** 3", 10077.6960),
        },
        "guesses": set(),
    },
    "lammps-protein": {
        "engine": "lammps",
        "ensemble": "NPT",
        "temperature": (300.0, "kelvin"),
        "pressure": (1.0, "standard_atmosphere"),
        "time_step": (2.0, "femtosecond"),
        "frame_interval": (0.5, "picosecond"),
        "length": (2.0, "picosecond"),
        "n_atoms": 12421,
        "n_frames": 5,
        "box": [51.455, 47.927, 53.157, 90.0, 90.0, 90.0],
        "topology_file_name": "ifabp.data",
        "trajectory_file_names": ["ifabp.dcd"],
        "guesses": {"length"},
    },
    "lammps-triclinic": {
        "engine": "lammps",
        "n_atoms": 17,
        "n_frames": 1,
        "box": [17.1522, 26.1262, 14.4732, 93.0992, 115.656, 86.6938],
        "frame_interval": None,
        "guesses": set(),
    },
    "namd-protein": ADENYLATE_KINASE
    | {
        "engine": "namd",
        "n_frames": 100,
        "frame_interval": (0.01, "picosecond"),
        "length": (0.99, "picosecond"),
        "box": None,
        "topology_file_name": "adk_closed_NAMD.psf",
        "trajectory_file_names": ["adk_gbis_tmd-fast1_NAMD.dcd"],
        "guesses": {"length"},
    },
    "charmm-protein": ADENYLATE_KINASE
    | {
        "engine": "namd",
        "n_frames": 98,
        "frame_interval": (1.0, "picosecond"),
        "length": (97.0, "picosecond"),
        "guesses": {"engine", "length"},
    },
    "empty-log": ADENYLATE_KINASE | {"n_frames": None, "topology_file_name": "protein.pdb", "guesses": set()},
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunReading]:
    place = tmp_path_factory.mktemp("runs")
    return {name: read_run(make_run(name, place)) for name in MAKERS}


def test_the_table_is_about_all_runs() -> None:
    assert TABLE.keys() == MAKERS.keys()


@pytest.mark.parametrize("name", TABLE)
def test_what_is_filled_in_is_what_the_files_say(name: str, readings: dict[str, RunReading]) -> None:
    run, wanted = readings[name].run, dict(TABLE[name])
    assert run.name == name
    assert set(run.guesses or ()) == wanted.pop("guesses")
    for observable, (n_values, unit_name, first) in wanted.pop("observables", {}).items():
        values = run.observables[observable].value
        assert (values.shape, f"{values.units}") == ((n_values, 1), unit_name), observable
        assert first is None or values.magnitude[0, 0] == pytest.approx(first), observable
    for field, value in wanted.items():
        found = getattr(run, field)
        if isinstance(value, tuple):
            assert found is not None, field
            found = found.to(value[1]).magnitude
            assert found == pytest.approx(value[0]), field
        elif field == "box" and value is not None:
            assert found == pytest.approx(value, rel=1e-5)
        else:
            assert found == value, field


def test_an_empty_log_is_named(readings: dict[str, RunReading]) -> None:
    assert readings["empty-log"].notes == [("md.log", "empty, nothing was read from it")]


def test_a_minimization_in_the_same_directory_is_not_taken_for_the_run(
    readings: dict[str, RunReading],
) -> None:
    noted = {file for file, text in readings["gromacs-water"].notes if "not counted" in text}
    assert noted == {"em.edr", "em.log", "em.mdp", "em.trr", "mdout.mdp"}
    assert len(readings["gromacs-water"].run.observables["Time"]) == 6


def test_frames_are_those_that_mdanalysis_reads(tmp_path: Path) -> None:
    MDAnalysis = pytest.importorskip("MDAnalysis")
    place = make_run("namd-protein", tmp_path)
    run = read_run(place).run
    with pytest.warns(DeprecationWarning):
        universe = MDAnalysis.Universe(
            str(place / run.topology_file_name), *[str(place / name) for name in run.trajectory_file_names]
        )
    assert (len(universe.atoms), universe.trajectory.n_frames) == (run.n_atoms, run.n_frames)
    assert np.isclose(universe.trajectory.dt, run.frame_interval.to("picosecond").magnitude)


def test_each_is_stored_by_one_call_and_found_again(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        keys = {name: backend.add_run(make_run(name, tmp_path), tags=[name, "all"]) for name in MAKERS}
        names = {key: name for name, key in keys.items()}
        assert len(names) == len(MAKERS)

        def found(expression: str) -> set[str]:
            return {names[key] for key in backend.keys(parse_query(expression))}

        assert found("class=any tag=all") == set(MAKERS)
        assert found("class=run tag=lammps-lj") == {"lammps-lj"}
        assert found("class=run engine=lammps") == {name for name in MAKERS if name.startswith("lammps")}
        assert found("class=any atoms>10000") == {"gromacs-protein", "lammps-protein"}
        assert found("class=any temperature=290..299K") == {"amber-output", "gromacs-energies"}
        assert found("class=run ensemble=NPT pressure=1atm") == {
            "openmm-water",
            "amber-output",
            "lammps-argon",
            "lammps-protein",
        }
        assert found("class=run composition.WAT=464") == {"amber-netcdf"}
        assert found("class=run metadata.reduced_temperature=1..1.5") == {"lammps-lj"}
        for name, key in keys.items():
            assert backend.load(key).name == name
            assert backend.add_run(tmp_path / name, tags=[name, "all"]) == key
        assert backend.verify(full=True).problems == []

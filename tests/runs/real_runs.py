"""Directories of runs of real programs, from this folder's data and from packages that ship files."""

from __future__ import annotations

import bz2
import shutil
from collections.abc import Callable
from pathlib import Path

import MDAnalysisTests
import pyedr

OWN = Path(__file__).parents[1] / "data" / "runs"
MDA = Path(MDAnalysisTests.__file__).parent / "data"
EDR = Path(pyedr.__file__).parent / "tests" / "data"


AMBER = MDA / "Amber"
LAMMPS = MDA / "lammps"


def _copied(*sources: Path) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        for source in sources:
            shutil.copyfile(source, place / source.name)

    return make


def _own(name: str) -> Callable[[Path], None]:
    return _copied(*sorted((OWN / name).iterdir()))


def _gromacs(place: Path) -> None:
    for ending in ("gro", "xtc", "tpr"):
        shutil.copyfile(MDA / f"adk_oplsaa.{ending}", place / f"md.{ending}")
    shutil.copyfile(EDR / "cat_small.edr", place / "md.edr")


def _fatty_acid_binding_protein(place: Path) -> None:
    for ending in ("dcd", "in"):
        shutil.copyfile(LAMMPS / f"ifabp_apo_100mM.{ending}", place / f"ifabp.{ending}")
    (place / "ifabp.data").write_bytes(bz2.decompress((LAMMPS / "ifabp_apo_100mM.data.bz2").read_bytes()))


def _amber_output(place: Path) -> None:
    shutil.copyfile(OWN / "amber-output" / "mdout", place / "ti-0.25.out")


def _empty_log(place: Path) -> None:
    shutil.copyfile(MDA / "adk_closed.pdb", place / "protein.pdb")
    (place / "md.log").touch()


MAKERS: dict[str, Callable[[Path], None]] = {
    "openmm-water": _own("openmm-water"),
    "gromacs-water": _own("gromacs-water"),
    "gromacs-protein": _gromacs,
    "gromacs-energies": _copied(EDR / "irregular.edr"),
    "gromacs-tpr": _copied(MDA / "tprs" / "2lyz_gmx_2024.tpr"),
    "amber-netcdf": _copied(AMBER / "ace_tip3p.parm7", AMBER / "ace_tip3p.nc"),
    "amber-mdcrd": _copied(AMBER / "ache.prmtop", AMBER / "ache.mdcrd"),
    "amber-restart": _copied(AMBER / "parmed_ala2_solv.parm7", AMBER / "parmed_ala2_solv.rst7"),
    "amber-output": _amber_output,
    "lammps-lj": _own("lammps-lj"),
    "lammps-argon": _own("lammps-argon"),
    "lammps-protein": _fatty_acid_binding_protein,
    "lammps-triclinic": _copied(LAMMPS / "albite_triclinic.data", LAMMPS / "albite_triclinic.dump"),
    "namd-protein": _copied(MDA / "adk_closed_NAMD.psf", MDA / "adk_gbis_tmd-fast1_NAMD.dcd"),
    "charmm-protein": _copied(MDA / "adk.psf", MDA / "adk_dims.dcd"),
    "empty-log": _empty_log,
}


def make_run(name: str, place: Path) -> Path:
    """Return a new directory `name` below `place` with the files of a run."""
    directory = place / name
    directory.mkdir(parents=True)
    MAKERS[name](directory)
    return directory

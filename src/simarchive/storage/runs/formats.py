"""Which reader a file gets, by its name and its first bytes."""

from __future__ import annotations

from collections.abc import Callable

from simarchive.storage.runs import amber, gromacs, lammps, namd, openmm, structures, trajectories
from simarchive.storage.runs.file_reading import FileReading, RunFile

Reader = Callable[[RunFile], FileReading]

_BY_SUFFIX: dict[str, Reader] = {
    ".dcd": trajectories.read_dcd,
    ".xtc": trajectories.read_xtc,
    ".trr": trajectories.read_trr,
    ".pdb": structures.read_pdb,
    ".ent": structures.read_pdb,
    ".gro": gromacs.read_gro,
    ".mdp": gromacs.read_mdp,
    ".edr": gromacs.read_edr,
    ".psf": namd.read_psf,
    ".tpr": structures.read_topology,
    **dict.fromkeys((".mol2", ".pdbx", ".cif", ".pqr", ".pdbqt", ".gsd", ".dms"), structures.read_topology),
    **dict.fromkeys((".h5md", ".tng", ".trz", ".xyz", ".arc"), structures.read_trajectory),
}
# Names that several programs use, and names without a meaning: the first bytes decide.
_BY_CONTENT: tuple[tuple[Callable[[RunFile], bool], Reader], ...] = (
    (openmm.is_state_data, openmm.read_state_data),
    (lammps.is_log, lammps.read_log),
    (gromacs.is_log, gromacs.read_log),
    (amber.is_mdout, amber.read_mdout),
    (namd.is_log, namd.read_log),
    (amber.is_prmtop, amber.read_prmtop),
    (amber.is_netcdf, trajectories.read_netcdf),
    (structures.is_netcdf4, structures.read_netcdf4),
    (lammps.is_dump, lammps.read_dump),
    (lammps.is_data, lammps.read_data),
    (openmm.is_xml, openmm.read_xml),
    (amber.is_mdin, amber.read_mdin),
    (gromacs.is_top, gromacs.read_top),
    (lammps.is_script, lammps.read_script),
    (namd.is_configuration, namd.read_configuration),
)
_RESTARTS = {".rst7", ".inpcrd", ".rst", ".restrt"}
_TEXT_TRAJECTORIES = {".mdcrd", ".trj"}
_LOGS = {".log", ".out", ".mdout"}
# Nothing of a run is in pictures, archives and programs: these are not even opened.
_NEVER = {
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".svg",
    ".zip",
    ".gz",
    ".bz2",
    ".xz",
    ".tar",
    ".py",
    ".ipynb",
    ".chk",
}


def reader_of(file: RunFile) -> Reader | None:
    """Return the reader for a file; ``None`` if no simulation program is known to write such a one."""
    if file.suffix in _NEVER or not file.size:
        return None
    if file.suffix in _BY_SUFFIX:
        return _BY_SUFFIX[file.suffix]
    if file.suffix in _RESTARTS and not amber.is_netcdf(file):
        return amber.read_restart if amber.is_restart(file) else None
    return next((reader for fits, reader in _BY_CONTENT if fits(file)), None)


def is_text_trajectory(file: RunFile) -> bool:
    """Return whether a file is a trajectory as text, which only its topology can divide into frames."""
    return file.suffix in _TEXT_TRAJECTORIES and bool(file.head_text)


def is_empty_log(file: RunFile) -> bool:
    """Return whether a file is a log, a table or a trajectory with nothing in it."""
    return not file.size and (file.suffix in _LOGS or file.suffix in _BY_SUFFIX)

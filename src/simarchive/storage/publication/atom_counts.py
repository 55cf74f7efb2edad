"""How many atoms and frames a file has, by its headers: enough to see that two files do not belong together.

Nothing is decoded. A file that is not what its name says gives ``None`` where a number would be a guess; of
one whose end is missing, the whole frames count. What is read of a file is bounded: its first bytes; lines of
text up to the atoms of the first model; and where frames are counted, the header of each frame.

References
----------
PDB: format 3.3. GRO, PSF, prmtop: manuals of GROMACS, NAMD and AMBER. Trajectories:
:mod:`simarchive.codecs.trajectory_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from simarchive.codecs.trajectory_files.formats import FORMATS, LAYOUTS
from simarchive.codecs.trajectory_files.layout import LayoutError, reads_of
from simarchive.codecs.trajectory_files.netcdf import layout_of_header, netcdf_header
from simarchive.codecs.trajectory_files.xdr import first_frame

_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one trajectory; ``None`` is not known."""

    atoms: int | None
    frames: int | None


_NOTHING = Counts(None, None)


def is_trajectory(name: str) -> bool:
    """Return whether a file holds frames that only make sense with a topology, by its name."""
    return _suffix(name) in FORMATS or _suffix(name) in _UNCOUNTED_TRAJECTORIES


def is_topology(name: str) -> bool:
    """Return whether a file names the atoms of a system, by its name."""
    return _suffix(name) in _TOPOLOGIES


def of_trajectory(name: str, stream: BinaryIO, *, size: int, frames: bool) -> Counts:
    """Return the numbers of a trajectory.

    Parameters
    ----------
    stream
        The file, at its start; it can seek.
    size
        Of the file, in bytes.
    frames
        Whether they are counted where that takes a look at each of them.
    """
    kind = FORMATS.get(_suffix(name))
    if kind is None:
        return _NOTHING
    try:
        return _by_layout(stream, size, frames, kind)
    except LayoutError:
        return _NOTHING


def of_topology(name: str, stream: BinaryIO) -> int | None:
    """Return the number of atoms that a topology or coordinate file has, or ``None``."""
    count = _TOPOLOGIES.get(_suffix(name))
    if count is None:
        return None
    try:
        return count(stream)
    except (ValueError, IndexError):
        return None


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


# --- trajectories --------------------------------------------------------------------------------------


def _by_layout(stream: BinaryIO, size: int, count: bool, kind: str) -> Counts:
    read = reads_of(stream)
    if kind in ("TRR", "XTC") and not count:
        atoms, _ = first_frame(read, kind)
        return Counts(atoms, None)
    if kind == "NCDF":
        header = netcdf_header(read, size)
        if "coordinates" not in header.variables:  # of one moment, as a restart file is
            return Counts(header.dimensions.get("atom"), None)
        layout = layout_of_header(header, size)
    else:
        layout = LAYOUTS[kind](read, size)
    return Counts(layout.n_atoms, layout.n_frames)


# --- topologies ----------------------------------------------------------------------------------------


def _pdb(stream: BinaryIO) -> int | None:
    atoms = 0
    while line := stream.readline(_LONGEST_LINE):
        if line.startswith((b"ATOM  ", b"HETATM")):
            atoms += 1
        elif line.startswith((b"ENDMDL", b"END")) and atoms:
            break
    return atoms or None


def _gro(stream: BinaryIO) -> int | None:
    stream.readline(_LONGEST_LINE)
    return int(stream.readline(_LONGEST_LINE).split()[0])


def _psf(stream: BinaryIO) -> int | None:
    if not stream.readline(_LONGEST_LINE).startswith(b"PSF"):
        return None
    while line := stream.readline(_LONGEST_LINE):
        if b"!NATOM" in line:
            return int(line.split()[0])
    return None


def _prmtop(stream: BinaryIO) -> int | None:
    while line := stream.readline(_LONGEST_LINE):
        if line.startswith(b"%FLAG POINTERS"):
            while (line := stream.readline(_LONGEST_LINE)).startswith(b"%"):
                pass
            return int(line[:8])
    return None


def _uncounted(stream: BinaryIO) -> int | None:
    return None


_UNCOUNTED_TRAJECTORIES = {".mdcrd", ".h5md"}
_TOPOLOGIES: dict[str, Callable[[BinaryIO], int | None]] = {
    ".pdb": _pdb,
    ".gro": _gro,
    ".psf": _psf,
    ".prmtop": _prmtop,
    ".parm7": _prmtop,
    ".top": _prmtop,  # of AMBER; one of GROMACS has no such line
    ".tpr": _uncounted,
    ".cif": _uncounted,
    ".mmcif": _uncounted,
    ".pdbx": _uncounted,
    ".mol2": _uncounted,
    ".sdf": _uncounted,
    ".data": _uncounted,
    ".lmp": _uncounted,
}

"""Files of atoms that no one program owns: PDB by its columns, all others by MDAnalysis.

References
----------
wwPDB, "Atomic Coordinate Entry Format Description", version 3.3, of CRYST1, MODEL and ATOM.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from simarchive.storage.runs.file_reading import (
    FileReading,
    Part,
    RunFile,
    UnreadableError,
    foreign_reader,
    number_in,
)
from simarchive.storage.runs.trajectories import checked_box

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NETCDF_SUFFIXES = (".nc", ".ncdf", ".nc4")
_OPENMM = re.compile(r"CREATED WITH OPENMM ([\w.]+)")


def read_pdb(file: RunFile) -> FileReading:
    """Return atoms, residues and box of the first model of a PDB file."""
    reading = FileReading(file.name, Part.STRUCTURE, "PDB")
    n_atoms, n_models = 0, 0
    residues: list[str] = []
    last = ""
    with file.open_text() as lines:
        for line in lines:
            if line.startswith(("ATOM  ", "HETATM")):
                if n_models <= 1:
                    n_atoms += 1
                    # Name, chain, number and insertion code; the segment stands behind the coordinates.
                    residue = line[17:27] + line[72:76]
                    if residue != last:
                        residues.append(line[17:21].strip())
                        last = residue
            elif line.startswith("MODEL "):
                n_models += 1
            elif line.startswith("CRYST1"):
                numbers = [number_in(line[start:end]) for start, end in _CRYST1]
                box = checked_box([number or 0.0 for number in numbers])
                # What programs write that know no box.
                if box is not None and box[:3] != [1.0, 1.0, 1.0]:
                    reading.facts["box"] = box
            elif line.startswith("REMARK") and (match := _OPENMM.search(line)):
                reading.engine = "openmm"
                reading.facts["engine_version"] = match[1]
    if not n_atoms:
        raise UnreadableError("it has no atoms")
    reading.facts["n_atoms"] = n_atoms
    take_residues(reading, residues)
    if n_models > 1:
        reading.n_frames = n_models
    return reading


_CRYST1 = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))


def take_residues(reading: FileReading, names: Iterable[str]) -> None:
    """Note how many residues there are, and how many of each name."""
    counts = Counter(names)
    if counts:
        reading.facts["n_residues"] = sum(counts.values())
        reading.facts["composition"] = {name: counts[name] for name in sorted(counts) if name}


def read_topology(file: RunFile) -> FileReading:
    """Return atoms, residues and molecules of a topology that MDAnalysis reads."""
    reading = FileReading(file.name, Part.TOPOLOGY, file.suffix.removeprefix(".").upper())
    with foreign_reader("MDAnalysis"):
        from MDAnalysis import Universe

        universe: Any = Universe(str(file.path), to_guess=())
        reading.facts["n_atoms"] = len(universe.atoms)
        reading.has_bonds = hasattr(universe, "bonds") and len(universe.bonds) > 0
        if hasattr(universe.residues, "resnames"):
            take_residues(reading, map(str, universe.residues.resnames))
        if hasattr(universe.atoms, "molnums"):
            reading.facts["number_of_molecules"] = len(set(universe.atoms.molnums.tolist()))
    return reading


def read_trajectory(file: RunFile) -> FileReading:
    """Return frames and atoms of a trajectory that MDAnalysis reads."""
    reading = FileReading(file.name, Part.TRAJECTORY, file.suffix.removeprefix(".").upper())
    with foreign_reader("MDAnalysis"):
        from MDAnalysis.coordinates.core import reader

        with reader(str(file.path)) as trajectory:
            reading.n_frames = int(trajectory.n_frames)
            reading.facts["n_atoms"] = int(trajectory.n_atoms)
            if trajectory.n_frames > 1 and "dt" in trajectory.ts.data:
                reading.interval_ps = float(trajectory.dt)
            box = None if trajectory.ts.dimensions is None else checked_box(trajectory.ts.dimensions.tolist())
        if box is not None:
            reading.facts["box"] = box
    return reading


def is_netcdf4(file: RunFile) -> bool:
    """Return whether a file is netCDF-4, by its name and its first bytes."""
    return file.suffix in _NETCDF_SUFFIXES and file.head.startswith(_HDF5_SIGNATURE)


def read_netcdf4(file: RunFile) -> FileReading:
    """Return frames, atoms and times of a trajectory with the names of AMBER's convention in netCDF-4."""
    reading = FileReading(file.name, Part.TRAJECTORY, "netCDF-4")
    with foreign_reader("netCDF4"):
        from netCDF4 import Dataset

        with Dataset(str(file.path)) as found:
            if "AMBER" not in str(getattr(found, "Conventions", "")) or "coordinates" not in found.variables:
                raise UnreadableError("it is netCDF-4 without the names of AMBER's convention")
            reading.n_frames = len(found.dimensions["frame"])
            reading.facts["n_atoms"] = len(found.dimensions["atom"])
            times = found.variables["time"][:2] if "time" in found.variables else []
            if len(times) == 2 and times[1] > times[0]:
                reading.interval_ps = float(f"{float(times[1]) - float(times[0]):.6g}")
            box = None
            if reading.n_frames and "cell_lengths" in found.variables and "cell_angles" in found.variables:
                lengths, angles = found.variables["cell_lengths"][0], found.variables["cell_angles"][0]
                box = checked_box([float(number) for number in (*lengths, *angles)])
        if box is not None:
            reading.facts["box"] = box
    return reading

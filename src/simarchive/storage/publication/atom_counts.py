"""How many atoms and frames a file has, by its headers: enough to see that two files do not belong together.

Nothing is decoded. A file that is not what its name says, or whose end is missing, gives ``None`` where a
number would be a guess. What is read of a file is bounded: its first bytes; lines of text up to the atoms of
the first model; and where frames are counted, the header of each frame.

References
----------
DCD: `dcdplugin.c` of VMD. XTC and TRR: `xtcio.cpp`, `trrio.cpp` and XDR of GROMACS. NetCDF-3: "The NetCDF
Classic Format Specification" of Unidata; dimensions `atom` and `frame`: AMBER trajectory convention. PDB:
format 3.3. GRO, PSF, prmtop: manuals of GROMACS, NAMD and AMBER.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

_LONGEST_LINE = 1 << 16
_MOST_DIMENSIONS = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one trajectory; ``None`` is not known."""

    atoms: int | None
    frames: int | None


_NOTHING = Counts(None, None)
_NOT_AS_EXPECTED = (struct.error, ValueError, IndexError)


def is_trajectory(name: str) -> bool:
    """Return whether a file holds frames that only make sense with a topology, by its name."""
    return _suffix(name) in _TRAJECTORIES


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
    count = _TRAJECTORIES.get(_suffix(name))
    if count is None:
        return _NOTHING
    try:
        return count(stream, size, frames)
    except _NOT_AS_EXPECTED:
        return _NOTHING


def of_topology(name: str, stream: BinaryIO) -> int | None:
    """Return the number of atoms that a topology or coordinate file has, or ``None``."""
    count = _TOPOLOGIES.get(_suffix(name))
    if count is None:
        return None
    try:
        return count(stream)
    except _NOT_AS_EXPECTED:
        return None


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _read(stream: BinaryIO, n_bytes: int) -> bytes:
    content = stream.read(n_bytes)
    if len(content) < n_bytes:
        raise ValueError("the file ends")
    return content


# --- trajectories --------------------------------------------------------------------------------------


def _dcd(stream: BinaryIO, size: int, _: bool) -> Counts:
    head = _read(stream, 92)
    order = next((order for order in "<>" if struct.unpack(order + "i", head[:4])[0] == 84), None)
    if order is None or head[4:8] not in (b"CORD", b"VELD"):
        return _NOTHING
    control = struct.unpack(order + "20i", head[8:88])
    _skip_record(stream, order)
    if struct.unpack(order + "i", _read(stream, 4))[0] != 4:
        return _NOTHING
    atoms, end = struct.unpack(order + "2i", _read(stream, 8))
    if end != 4 or atoms <= 0:
        return _NOTHING
    n_fixed, is_charmm = control[8], control[19] != 0
    start = stream.tell()
    has_cell, has_fourth = is_charmm and control[10] == 1, is_charmm and control[11] == 1
    axes = 4 if has_fourth else 3

    def frame_bytes(n_atoms: int) -> int:
        return (56 if has_cell else 0) + axes * (4 * n_atoms + 8)

    if n_fixed:
        start += 4 * (atoms - n_fixed) + 8
        moving = (size - start - frame_bytes(atoms)) // frame_bytes(atoms - n_fixed)
        return Counts(atoms, max(moving + 1, 0))
    return Counts(atoms, max((size - start) // frame_bytes(atoms), 0))


def _skip_record(stream: BinaryIO, order: str) -> None:
    (length,) = struct.unpack(order + "i", _read(stream, 4))
    if not 0 <= length <= 1 << 20:
        raise ValueError("no record")
    stream.seek(length, 1)
    if struct.unpack(order + "i", _read(stream, 4))[0] != length:
        raise ValueError("no record")


def _xtc(stream: BinaryIO, size: int, count: bool) -> Counts:
    magic, atoms = struct.unpack(">2i", _read(stream, 8))
    if magic not in (1995, 2023) or atoms <= 0:
        return _NOTHING
    if not count:
        return Counts(atoms, None)
    place = frames = 0
    while place < size:
        stream.seek(place)
        magic, _, _, _, *_, again = struct.unpack(">3if9fi", _read(stream, 56))
        if magic not in (1995, 2023):
            return Counts(atoms, None)
        if again <= 9:
            place += 56 + 12 * again
        else:
            _read(stream, 32)
            (n_bytes,) = struct.unpack(
                ">q" if magic == 2023 else ">i", _read(stream, 8 if magic == 2023 else 4)
            )
            if n_bytes < 0:
                return Counts(atoms, None)
            place = stream.tell() + (n_bytes + 3) // 4 * 4
        frames += 1
    return Counts(atoms, frames if place == size else None)


def _trr(stream: BinaryIO, size: int, count: bool) -> Counts:
    atoms: int | None = None
    place = frames = 0
    while place < size:
        stream.seek(place)
        magic, _, length = struct.unpack(">3i", _read(stream, 12))
        if magic != 1993 or not 0 < length <= 64:
            return Counts(atoms, None)
        _read(stream, (length + 3) // 4 * 4)
        *parts, n_atoms, _, _ = struct.unpack(">13i", _read(stream, 52))
        _, _, box, _, _, _, _, positions, velocities, forces = parts
        if min(parts) < 0 or n_atoms <= 0:
            return Counts(atoms, None)
        atoms = n_atoms if atoms is None else atoms
        if not count:
            return Counts(atoms, None)
        each = max(positions, velocities, forces) // (3 * n_atoms) or box // 9 or 4
        place = stream.tell() + 2 * each + sum(parts)
        frames += 1
    return Counts(atoms, frames if place == size else None)


def _netcdf(stream: BinaryIO, _: int, __: bool) -> Counts:
    version = _read(stream, 4)
    if version[:3] != b"CDF" or version[3] not in (1, 2, 5):
        return _NOTHING
    number = ">q" if version[3] == 5 else ">I"
    width = struct.calcsize(number)

    def read_number() -> int:
        value: int = struct.unpack(number, _read(stream, width))[0]
        return value

    n_records = read_number()
    tag = struct.unpack(">I", _read(stream, 4))[0]
    n_dimensions = read_number()
    if tag != 10 or n_dimensions > _MOST_DIMENSIONS:
        return _NOTHING
    lengths: dict[bytes, int] = {}
    for _place in range(n_dimensions):
        length = read_number()
        if length > 256:
            return _NOTHING
        name = _read(stream, (length + 3) // 4 * 4)[:length]
        lengths[name] = read_number()
    frames = lengths.get(b"frame")
    if frames == 0:  # the unlimited dimension
        frames = n_records if n_records < 0xFFFFFFFF else None
    return Counts(lengths.get(b"atom"), frames)


def _unknown(stream: BinaryIO, size: int, count: bool) -> Counts:
    return _NOTHING


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


_TRAJECTORIES: dict[str, Callable[[BinaryIO, int, bool], Counts]] = {
    ".dcd": _dcd,
    ".xtc": _xtc,
    ".trr": _trr,
    ".nc": _netcdf,
    ".ncdf": _netcdf,
    ".mdcrd": _unknown,
    ".h5md": _unknown,
}
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

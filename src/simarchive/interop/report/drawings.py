"""Structures and frames as a page has them: packed, in few bytes, within the room that there is.

Whatever a file is, a page gets lines that are written here, of names and numbers that were understood: a
browser parses nothing of a stranger. Names and numbers are apart: structures whose atoms have the same names
have these once.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from simarchive.interop.report.structures import Atom, Structure

MOST_BYTES = 4_000_000
"""So many bytes do all structures of a page take."""

MOST_BYTES_OF_FRAMES = 3_000_000
"""So many bytes do the frames of all trajectories of a page take."""

MOST_FRAMES = 24
"""So many frames of a trajectory has a page."""

FEWEST_FRAMES = 4
"""Where there is no room for so many, there are none."""

# Angstroms. Half of it is what a coordinate may be off: a hundredth of a bond.
_STEP = 0.02
_RANGE = (-999.0, 9999.0)  # what a PDB file has columns for
_MOST_STEPS = (1 << 15) - 1  # so that a difference of two has 16 bits


class Drawings:
    """What a page draws: filled one after another, until there is no room.

    Attributes
    ----------
    names
        Each the names of the atoms of one or more structures, packed.
    lines
        Each one structure, or the frames of one: the place of its names, the number of its frames, the length
        of a step, the least x, y and z, and packed coordinates in steps.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lines: list[str] = []
        self.n_structures = 0
        self._places: dict[str, int] = {}  # of names
        self._n_bytes = 0
        self._n_bytes_of_frames = 0

    def add(self, structure: Structure) -> int | None:
        """Add a structure; return the place of its line, or ``None`` if there is no room for it."""
        names = _packed(
            "".join(map(_line, range(1, len(structure.atoms) + 1), structure.atoms)).encode("ascii")
        )
        place = self._places.get(names, len(self.names))
        positions = np.array([[(atom.x, atom.y, atom.z) for atom in structure.atoms]])
        line = f"{place} {_coordinates(positions)}"
        n_bytes = len(line) + (0 if names in self._places else len(names))
        if self._n_bytes + n_bytes > MOST_BYTES:
            return None
        if names not in self._places:
            self._places[names] = place
            self.names.append(names)
        self._n_bytes += n_bytes
        self.n_structures += 1
        self.lines.append(line)
        return len(self.lines) - 1

    def add_frames(self, place: int, positions: NDArray[np.floating]) -> int | None:
        """Add frames of a structure; return the place of their line, or ``None`` if there is no room.

        Parameters
        ----------
        place
            That of the line of the structure.
        positions
            Shape (n_frames, n_atoms, 3), in angstroms, of the atoms that are shown.
        """
        line = f"{self.lines[place].partition(' ')[0]} {_coordinates(positions)}"
        if self._n_bytes_of_frames + len(line) > MOST_BYTES_OF_FRAMES:
            return None
        self._n_bytes_of_frames += len(line)
        self.lines.append(line)
        return len(self.lines) - 1


def frames_within(n_bytes: float, n_atoms: int) -> int:
    """Return how many frames of so many atoms are shown, if they may take about so many bytes."""
    # Ten bits for a coordinate, in base 64.
    n_frames = int(n_bytes / (n_atoms * 3 * 10 / 6))
    return min(n_frames, MOST_FRAMES) if n_frames >= FEWEST_FRAMES else 0


def spread(n_frames: int, n_shown: int) -> list[int]:
    """Return the numbers of the frames that are shown of all: the first, the last, and some between them."""
    n_shown = min(n_frames, n_shown)
    return [round(place * (n_frames - 1) / (n_shown - 1)) for place in range(n_shown)]


def _coordinates(positions: NDArray[np.floating]) -> str:
    """Return what a line has after the place of the names.

    Each atom stands as its difference to the one before, in steps, as an unsigned number of 16 bits whose
    lowest is the sign; first the low bytes of a frame, then the high ones.
    """
    positions = np.clip(positions, *_RANGE)
    least = positions.min(axis=(0, 1))
    step = max(_STEP, float((positions.max(axis=(0, 1)) - least).max()) / _MOST_STEPS)
    steps = np.round((positions - least) / step).astype(np.int32)
    between = np.diff(steps, axis=1, prepend=0)
    unsigned = np.where(between < 0, -2 * between - 1, 2 * between).astype("<u2")
    planes = unsigned.reshape(len(unsigned), -1, 1).view(np.uint8).transpose(0, 2, 1)
    numbers = " ".join(f"{number:.6g}" for number in (step, *least))
    return f"{len(positions)} {numbers} {_packed(planes.tobytes())}"


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def _line(number: int, atom: Atom) -> str:
    """Return the line of an atom in a PDB file without its coordinates: 30 columns, and the element.

    References
    ----------
    "Protein Data Bank Contents Guide", format 3.3, records ATOM and HETATM.
    """
    record = "HETATM" if atom.is_hetero else "ATOM"
    # A name of fewer than four letters begins in the second column.
    name = atom.name[:4] if len(atom.name) > 3 else f" {atom.name}"
    residue = f"{atom.residue[:4]:4}{atom.chain[:1]:1}{atom.number % 10_000:4}"
    return f"{record:6}{number % 100_000:5} {name:4} {residue}    {atom.element[:2]:>2}\n"


def text_of(drawings: Drawings) -> tuple[str, str]:
    """Return what stands in the page: names, and lines."""
    return "\n".join(drawings.names), "\n".join(drawings.lines)

"""Structures of objects: the atoms of the first model of a PDB or GRO file, as far as a page can show them.
References
----------
"Protein Data Bank Contents Guide", format 3.3, records ATOM and HETATM; GROMACS manual, "gro file format".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, NamedTuple

from simarchive.ground.texts import count_text

SUFFIXES = (".pdb", ".ent", ".gro")
"""How the names of files end that have a structure."""

MOST_ATOMS = 5_000
"""So many atoms has a structure in a page; of more, water is left out, then hydrogen."""

LARGEST_FILE_BYTES = 50_000_000
"""Larger files are not read for a page."""

_LONGEST_LINE = 1 << 12
_ANGSTROMS = 10.0  # of a nanometre
_WATER = frozenset(("HOH", "WAT", "SOL", "TIP", "TIP3", "TIP4", "TP3", "TP4", "SPC", "H2O", "DOD"))
_TWO_LETTERS = frozenset(("CL", "BR", "NA", "MG", "ZN", "FE", "LI", "CU", "MN", "SI", "SE", "CO", "NI", "AR"))


class Atom(NamedTuple):
    """An atom; coordinates are in angstroms."""

    name: str
    residue: str
    chain: str
    number: int  #: of its residue
    element: str
    x: float
    y: float
    z: float
    is_hetero: bool


@dataclass(frozen=True, slots=True)
class Structure:
    """The atoms of a file that are shown."""

    atoms: tuple[Atom, ...]
    numbers: tuple[int, ...]  #: of each atom, counted from 0 in the file
    n_atoms: int  #: of the file
    note: str  #: how many atoms there are, and which are left out


def is_structure(name: str) -> bool:
    """Return whether a file may have a structure, by its name."""
    return name.lower().endswith(SUFFIXES)


def structure_of(name: str, stream: BinaryIO) -> Structure | None:
    """Return the structure of a file; None if there is none in it, or it has too many atoms to be shown."""
    atoms = list(_of_gro(stream) if name.lower().endswith(".gro") else _of_pdb(stream))
    if not atoms:
        return None
    shown, left_out = list(enumerate(atoms)), ""
    if len(shown) > MOST_ATOMS:
        shown = [(number, atom) for number, atom in shown if atom.residue.upper() not in _WATER]
        left_out = "water is left out"
    if len(shown) > MOST_ATOMS:
        shown = [(number, atom) for number, atom in shown if atom.element != "H"]
        left_out = "water and hydrogen are left out"
    if not 0 < len(shown) <= MOST_ATOMS:
        return None
    of = f"{len(shown):,} of {count_text(len(atoms), 'atom')}" if left_out else count_text(len(atoms), "atom")
    return Structure(
        tuple(atom for _, atom in shown),
        tuple(number for number, _ in shown),
        len(atoms),
        f"{of}{left_out and f': {left_out}'}",
    )


def _lines(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline(_LONGEST_LINE):
        yield line.decode("ascii", "replace").rstrip("\r\n")


def _of_pdb(stream: BinaryIO) -> Iterator[Atom]:
    """Yield the atoms of the first model of a PDB file; lines that are none are passed over."""
    has_atoms = False
    for line in _lines(stream):
        record = line[:6]
        if record in ("ATOM  ", "HETATM"):
            try:
                x, y, z = (float(line[at : at + 8]) for at in (30, 38, 46))
                number = _number(line[22:26])
            except ValueError:
                continue
            name, residue = _word(line[12:16]), _word(line[17:21])
            element = _word(line[76:78]) or _element(line[12:16], residue)
            atom = Atom(name, residue, _word(line[21:22]), number, element, x, y, z, record == "HETATM")
            if all(map(math.isfinite, (x, y, z))):
                has_atoms = True
                yield atom
        elif has_atoms and record.startswith("END"):
            return


def _of_gro(stream: BinaryIO) -> Iterator[Atom]:
    """Yield the atoms of the first frame of a GRO file; its numbers are as wide as their points are apart."""
    lines = _lines(stream)
    next(lines, "")
    try:
        n_atoms = int(next(lines, ""))
    except ValueError:
        return
    for line in islice(lines, max(0, n_atoms)):
        first = line.find(".", 20)
        width = line.find(".", first + 1) - first
        try:
            x, y, z = (float(line[20 + width * axis :][:width]) * _ANGSTROMS for axis in range(3))
            number = _number(line[:5])
        except ValueError:
            continue
        name, residue = _word(line[10:15]), _word(line[5:10])
        if all(map(math.isfinite, (x, y, z))):
            yield Atom(name, residue, "", number, _element(name, residue), x, y, z, is_hetero=False)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # in hexadecimal digits where there are more than 9,999
        return int(text, 36) if text.strip().isalnum() else 0


def _word(text: str) -> str:
    """Return a name without what stands in none."""
    word = text.strip()
    if word.isascii() and word.isprintable():
        return word
    return "".join(letter for letter in word if letter.isascii() and letter.isprintable())


def _element(name: str, residue: str) -> str:
    """Return the element of an atom by its name, as far as that says it."""
    letters = "".join(letter for letter in name if letter.isalpha()).upper()
    # An ion is called as its residue; CA in another one is a carbon.
    is_ion = letters[:2] in _TWO_LETTERS and residue.upper().startswith(letters[:2])
    return letters[:2] if is_ion else letters[:1]

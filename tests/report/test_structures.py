"""Structures in a page: of what files, with which atoms, in how many bytes; and what draws them."""

from __future__ import annotations

import hashlib
import io
import re
from importlib import resources
from pathlib import Path
from typing import Any

import MDAnalysis
import MDAnalysisTests.datafiles as files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_pages import Page, pdb_texts

from simarchive import HDF5Storage
from simarchive.interop.report import drawings, gather, page_of, structures
from simarchive.interop.report.drawings import Drawings
from simarchive.interop.report.structures import Structure, structure_of
from simarchive.testing.sample_objects import simulation

NAMES = ("PDB_small", "PDB_sub_sol", "GRO", "GRO_velocity", "PDB", "PDB_HOLE", "GRO_sameresid_diffresname")
REAL = [Path(getattr(files, name)) for name in NAMES]


def text_of(structure: Structure) -> str:
    drawn = Drawings()
    assert drawn.add(structure) == 0
    (text,) = pdb_texts(drawn.names, drawn.lines[0])
    return text


def structure_in(path: Path) -> Structure | None:
    with path.open("rb") as stream:
        return structure_of(path.name, stream)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_the_atoms_are_those_that_a_reader_finds(path: Path, tmp_path: Path) -> None:
    structure = structure_in(path)
    atoms = MDAnalysis.Universe(str(path)).atoms
    n_all = len(atoms)
    if n_all > structures.MOST_ATOMS:
        atoms = atoms.select_atoms("not resname HOH WAT SOL TIP3 TIP4")
    assert structure is not None
    if len(atoms) > structures.MOST_ATOMS:
        return
    (tmp_path / "page.pdb").write_text(text_of(structure))
    shown = MDAnalysis.Universe(str(tmp_path / "page.pdb")).atoms
    assert shown.names.tolist() == [name[:4] for name in atoms.names]
    assert shown.resids.tolist() == (atoms.resids % 10_000).tolist()
    assert np.abs(shown.positions - atoms.positions).max() < 0.0151  # a step of 0.02, and two digits
    assert set(shown.elements) <= {
        "",
        "H",
        "C",
        "N",
        "O",
        "P",
        "S",
        "NA",
        "CL",
        "MG",
        "K",
        "ZN",
        "Na",
        "Cl",
        "Mg",
        "M",
    }
    assert f"{len(shown):,}" in structure.note
    drawn = Drawings()
    drawn.add(structure)
    assert len(drawn.lines[0]) < 8 * len(shown) + 200


def line(record: str, number: int, name: str, residue: str) -> str:
    place = f"{number % 50:8.3f}{1.0:8.3f}{2.0:8.3f}"
    return f"{record:6}{number % 100_000:5}  {name:3} {residue} A{number % 10_000:4}    {place}\n"


def water(n_waters: int, n_others: int = 0) -> bytes:
    lines = [line("HETATM", number, "O", "HOH") for number in range(n_waters)]
    lines += [line("ATOM", number, "H" if number % 2 else "C", "ALA") for number in range(n_others)]
    return "".join(lines).encode()


@pytest.mark.parametrize(
    ("n_waters", "n_others", "note"),
    [
        (10, 0, "10 atoms"),
        (5000, 0, "5,000 atoms"),
        (5001, 0, None),
        (6000, 20, "20 of 6,020 atoms: water is left out"),
        (6000, 8000, "4,000 of 14,000 atoms: water and hydrogen are left out"),
        (0, 20_000, None),
        (0, 0, None),
    ],
)
def test_of_many_atoms_water_is_left_out_then_hydrogen(
    n_waters: int, n_others: int, note: str | None
) -> None:
    structure = structure_of("a.pdb", io.BytesIO(water(n_waters, n_others)))
    assert (structure.note if structure else None) == note


def test_the_first_model_counts() -> None:
    models = b"MODEL 1\n" + water(3) + b"ENDMDL\nMODEL 2\n" + water(4) + b"ENDMDL\nEND\n"
    structure = structure_of("a.pdb", io.BytesIO(models))
    assert structure is not None
    assert structure.note == "3 atoms"


@given(st.binary(max_size=300), st.sampled_from([b"", b"ATOM  ", b"HETATM", b"title\n2\n", water(2)]))
@settings(max_examples=100, deadline=None)
def test_whatever_stands_in_a_file_the_page_gets_lines_of_this_form(content: bytes, start: bytes) -> None:
    for name in ("a.pdb", "a.gro"):
        structure = structure_of(name, io.BytesIO(start + content))
        if structure is not None:
            for line in text_of(structure).splitlines():
                assert re.fullmatch(r"(ATOM  |HETATM)[ -~]{24}( *-?\d+\.\d\d){3}[ -~]{24}", line), line


def test_each_object_has_the_structure_that_its_document_names(page: Page, water: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        for row, details in zip(page.table["rows"], page.details, strict=True):
            names = [info.name for info in backend.list_members(row[0])]
            assert ("structure" in details) == any(name.endswith(".pdb") for name in names)
            if "structure" in details:
                place, name, note = details["structure"][:3]
                with backend.open_member(row[0], name) as stream:
                    structure = structure_of(name, stream)
                assert structure is not None
                assert structure.note == note
                assert page.pdb_texts(place) == [text_of(structure)]


def test_of_one_file_there_is_one_structure_and_of_too_many_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "MOST_BYTES", 2500)
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for number in range(6):
            folder = tmp_path / f"f{number}"
            folder.mkdir()
            # The first three have one file, and there is no room for all the others.
            (folder / "output.pdb").write_bytes(water(200 + max(0, number - 2)))
            (folder / "trajectory.dcd").write_bytes(b"none")
            stored = simulation(str(number))
            stored.coordinate_file_name, stored.trajectory_file_name = "output.pdb", "trajectory.dcd"
            backend.store_object(stored, folder)
        facts = gather(backend)
    n_structures = facts.drawings.n_structures
    assert 1 <= n_structures < 4
    assert sum(map(len, facts.drawings.lines + facts.drawings.names)) <= 2500
    assert facts.n_without_structures == 4 - n_structures
    assert f"the structures of {facts.n_without_structures} object" in page_of(facts)


def test_frames_are_those_of_the_trajectory(page: Page, water: Path) -> None:
    details = page.detail("8d13dbc120154cbaade23403d2d22a29")
    place, name, _, at_frames, numbers, n_frames, trajectory = details["structure"]
    assert (name, trajectory, n_frames) == ("output.pdb", "trajectory.dcd", 60)
    assert len(numbers) == drawings.MOST_FRAMES == len(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 59)
    shown = page.pdb_texts(at_frames)
    with HDF5Storage(water, mode="r") as backend, backend.frames(details_key(page, details)) as frames:
        for number, text in zip(numbers, shown, strict=True):
            positions = [[float(line[at : at + 8]) for at in (30, 38, 46)] for line in text.splitlines()]
            assert np.abs(frames[number].positions - positions).max() < 0.0151
    (first,) = page.pdb_texts(place)
    assert [line[:30] for line in first.splitlines()] == [line[:30] for line in shown[0].splitlines()]


def details_key(page: Page, details: dict[str, Any]) -> str:
    return str(page.table["rows"][page.details.index(details)][0])


def test_frames_are_left_out_where_there_is_no_room(water: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "MOST_BYTES_OF_FRAMES", 300_000)
    with HDF5Storage(water, mode="r") as backend:
        few = Page(page_of(gather(backend)))
    shown = [found["structure"][4] for found in few.details if len(found.get("structure", ())) > 3]
    assert shown
    for numbers in shown:
        assert drawings.FEWEST_FRAMES <= len(numbers) <= drawings.MOST_FRAMES
    of_water = few.detail("8d13dbc120154cbaade23403d2d22a29")["structure"]
    assert len(of_water[4]) < drawings.MOST_FRAMES  # a small molecule has all, a box of water fewer
    frames = [line for line in few.structures if line.split(" ")[1] != "1"]
    assert 0 < sum(map(len, frames)) <= 300_000
    monkeypatch.setattr(drawings, "MOST_BYTES_OF_FRAMES", 0)
    with HDF5Storage(water, mode="r") as backend:
        none = Page(page_of(gather(backend)))
    assert all(len(found.get("structure", ())) in (0, 3) for found in none.details)
    assert "structure" in none.detail("8d13dbc120154cbaade23403d2d22a29")


def test_once_there_is_no_room_no_other_file_of_this_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "MOST_BYTES", 1500)
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for number in range(12):
            folder = tmp_path / f"f{number}"
            folder.mkdir()
            (folder / "a.pdb").write_bytes(f"REMARK {number:2}\n".encode() + water(200))
            stored = simulation(str(number))
            stored.coordinate_file_name = stored.trajectory_file_name = "a.pdb"
            backend.store_object(stored, folder)
        read: list[str] = []
        monkeypatch.setattr(
            structures,
            "structure_of",
            lambda name, stream: (read.append(name), structure_of(name, stream))[1],
        )
        facts = gather(backend)
    assert facts.drawings.n_structures >= 1
    assert len(read) == facts.drawings.n_structures + 1
    assert facts.n_without_structures == 12 - facts.drawings.n_structures


def test_a_page_without_structures_has_no_viewer(tmp_path: Path, page: Page) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        without = Page(page_of(gather(backend)))
    assert len(without.text) < 60_000 < len(page.text)
    assert without.text.count("'sha256-") == 2
    assert page.text.count("'sha256-") == 3


def test_the_viewer_is_the_file_that_its_page_names() -> None:
    folder = resources.files("simarchive.interop.report").joinpath("viewer")
    said = folder.joinpath("README.md").read_text()
    digest = hashlib.sha256(folder.joinpath("3Dmol-min.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in said
    assert "University of Pittsburgh" in folder.joinpath("LICENSE").read_text()

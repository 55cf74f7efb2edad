"""Runs as objects: only a name is required, and no run ever takes the place of another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from real_runs import make_run

from simarchive import (
    HDF5Storage,
    InvalidDataError,
    LocalFileStorage,
    NotFoundError,
    ObservableArray,
    RunQuery,
    Searched,
    SimulationRun,
    StorageBackend,
    Substance,
    read_run,
    unit,
)
from simarchive.data.fields import fields_of_class


@pytest.fixture(params=["container", "directory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageBackend]:
    kinds = {"container": HDF5Storage, "directory": LocalFileStorage}
    with kinds[request.param](tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> Path:
    place = tmp_path / "files"
    place.mkdir()
    (place / "notes.txt").write_text("kept\n")
    return place


def full_run() -> SimulationRun:
    return SimulationRun(
        name="apo, replica 2",
        engine="openmm",
        temperature=300 * unit.kelvin,
        pressure="1 atm",
        time_step="2 fs",
        length="1 ns",
        n_atoms=774,
        box=[20.0, 20.0, 20.0, 90.0, 90.0, 90.0],
        substance=Substance.from_components("O"),
        composition={"HOH": 258},
        tags=["apo", "paper-2027"],
        metadata={
            "seed": 7,
            "coupling": 1 * unit.picosecond,
            "force field": "tip3p",
            "is final": True,
            "x": 0.5,
        },
        observables={"Temperature": ObservableArray(np.linspace(299.0, 301.0, 5) * unit.kelvin)},
    )


def test_only_a_name_is_required(backend: StorageBackend, files: Path) -> None:
    key = backend.store_object(SimulationRun(name="run 1"), files)
    assert backend.load(key) == SimulationRun(name="run 1")
    with pytest.raises(InvalidDataError, match="lacks name"):
        backend.store_object(SimulationRun(), files)
    with pytest.raises(InvalidDataError, match="must not be blank"):
        backend.store_object(SimulationRun(name="  "), files)


def test_what_is_stored_comes_back_equal(backend: StorageBackend, files: Path) -> None:
    key = backend.store_object(full_run(), files)
    assert backend.load(key) == full_run()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("tags", "apo", "a list of texts"),
        ("tags", [""], "not blank"),
        ("tags", ["two\nlines"], "one line"),
        ("metadata", {"": 1}, "one line"),
        ("metadata", {1: 1}, "one line"),
        ("metadata", {"x": [1, 2]}, "a number, a text"),
        ("metadata", {"x": None}, "a number, a text"),
        ("metadata", {"x": 2**70}, "64 bits"),
        ("metadata", {"x": np.ones(3) * unit.kelvin}, "one number"),
        ("composition", {"HOH": 1.5}, "an integer"),
        ("temperature", "2 fs", "convertible to kelvin"),
        ("trajectory_file_names", ["../out.dcd"], "out.dcd"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_set(field: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidDataError, match=reason):
        setattr(SimulationRun(name="x"), field, value)


@pytest.mark.parametrize(("field", "value"), [("n_atoms", -1), ("n_frames", -5), ("box", [1.0, 2.0, 3.0])])
def test_what_makes_no_sense_is_refused_before_it_is_stored(field: str, value: Any) -> None:
    with pytest.raises(InvalidDataError, match=field):
        SimulationRun(name="x", **{field: value}).validate()


def test_a_file_that_is_named_must_be_there(backend: StorageBackend, files: Path) -> None:
    run = SimulationRun(name="x", trajectory_file_names=["notes.txt", "missing.dcd"])
    with pytest.raises(InvalidDataError, match=r"missing\.dcd"):
        backend.store_object(run, files)
    assert len(backend) == 0


def test_replicas_and_continuations_never_replace_each_other(backend: StorageBackend, tmp_path: Path) -> None:
    first = make_run("openmm-water", tmp_path)
    key = backend.add_run(first, name="apo")
    replica = shutil.copytree(first, tmp_path / "replica")
    # Nothing but one sample differs; name, state, system and all else are the same.
    text = (replica / "output.csv").read_text()
    (replica / "output.csv").write_text(text.replace("-10984.041688276096", "-10984.041688276097"))
    assert backend.add_run(replica, name="apo") != key
    continued = shutil.copytree(first, tmp_path / "continued")
    with (continued / "output.csv").open("a") as table:
        table.write("260,0.52,-1,1,0,300,8.0,0.96\n")
    assert backend.add_run(continued, name="apo", parents=[key]) != key
    assert len(backend) == 3
    assert [backend.load(stored).parents for stored in backend] == [None, None, [key]]
    assert backend.add_run(first, name="apo") == key
    assert len(backend) == 3


def test_equal_files_under_two_names_are_two_runs_and_lie_there_once(tmp_path: Path) -> None:
    directory = make_run("amber-netcdf", tmp_path)
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        keys = {backend.add_run(directory, name=f"replica {number}") for number in range(3)}
        assert len(keys) == 3
        assert backend.statistics().shared_bytes >= 2 * (directory / "ace_tip3p.nc").stat().st_size


def test_what_a_person_knows_counts_more_than_what_files_say(tmp_path: Path) -> None:
    reading = read_run(
        make_run("gromacs-protein", tmp_path),
        name="adk",
        temperature="310 K",
        tags=["apo"],
        metadata={"seed": 1},
        substance="O",
        ensemble="NVT",
    )
    run = reading.run
    assert (run.name, run.tags, run.metadata, run.ensemble) == ("adk", ["apo"], {"seed": 1}, "NVT")
    assert run.temperature.magnitude == 310
    assert run.substance == Substance.from_components("O")
    assert set(run.guesses) == {"length"}
    with pytest.raises(InvalidDataError, match="has no field 'temprature'"):
        read_run(tmp_path / "gromacs-protein", temprature="310 K")


def test_an_account_fits_eighty_columns_and_names_what_was_guessed(tmp_path: Path) -> None:
    text = str(
        read_run(
            make_run("gromacs-water", tmp_path), tags=["apo"] * 40, metadata={"long name " * 5: "x" * 30}
        )
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "NPT 300 K 1 bar" in text
    assert "named like no trajectory" in text
    guessed = str(read_run(make_run("gromacs-protein", tmp_path)))
    assert "temperature, from md.edr: the mean of Temperature" in " ".join(guessed.split())


@pytest.mark.parametrize("place", ["missing", "a file", "empty", "text only"])
def test_what_is_no_run_is_refused_and_nothing_is_stored(
    place: str, backend: StorageBackend, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text only" / "inner").mkdir(parents=True)
    (tmp_path / "text only" / "inner" / "readme.txt").write_text("not a run\n")
    error = NotFoundError if place == "missing" else InvalidDataError
    with pytest.raises(error, match=place):
        backend.add_run(tmp_path / place)
    assert len(backend) == 0


def test_runs_are_merged_with_what_they_continue(tmp_path: Path, files: Path) -> None:
    with HDF5Storage(tmp_path / "mine.h5") as mine, HDF5Storage(tmp_path / "theirs.h5") as theirs:
        for backend in (mine, theirs):
            parent = backend.store_object(SimulationRun(name="parent"), files)
            backend.store_object(SimulationRun(name=f"child in {backend.path.name}", parents=[parent]), files)
        report = mine.update(theirs)
        assert (len(report.stored), len(report.kept)) == (1, 1)
        [child] = mine.keys(RunQuery(name="child in theirs.h5"))
        [parent] = mine.keys(RunQuery(name="parent"))
        assert mine.load(child).parents == [parent]


def test_lists_and_dicts_of_own_classes_are_searched_if_they_say_so() -> None:
    from simarchive.data import BaseStoredData

    class Wrong(BaseStoredData):
        numbers: Annotated[list[int], Searched()]

        @classmethod
        def has_ancillary_data(cls) -> bool:
            return False

    with pytest.raises(InvalidDataError, match="cannot be searched"):
        fields_of_class(Wrong)


def test_a_run_may_keep_its_files_in_folders(tmp_path: Path) -> None:
    flat = make_run("openmm-water", tmp_path / "flat")
    place = tmp_path / "in folders"
    for folder, names in {
        "input": ("start.pdb", "system.xml"),
        "output": ("output.dcd", "output.csv"),
    }.items():
        (place / folder).mkdir(parents=True)
        for name in names:
            shutil.copyfile(flat / name, place / folder / name)
    run = read_run(place).run
    assert (run.n_atoms, run.n_frames, run.engine) == (774, 5, "openmm")
    assert run.trajectory_file_names == ["output/output.dcd"]
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        assert backend.load(backend.add_run(place)).topology_file_name == "input/start.pdb"

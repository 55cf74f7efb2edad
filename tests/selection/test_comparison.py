"""`simarchive diff` says in what two objects differ: state, frames, observables, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simarchive import (
    HDF5Storage,
    LocalFileStorage,
    ObservableArray,
    ObservableFrame,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.errors import InvalidDataError
from simarchive.storage.finding.comparison import Comparison, Tolerance, compare
from simarchive.testing.sample_objects import simulation, write_files

ENERGIES = np.arange(40.0)


def energies(values: np.ndarray, units: object = unit.kilojoule / unit.mole) -> ObservableFrame:
    return ObservableFrame({"PotentialEnergy": ObservableArray(values * units)})


def with_changes(**fields: object) -> StoredSimulationData:
    stored = simulation("a")
    stored.observables = energies(ENERGIES)
    for name, value in fields.items():
        setattr(stored, name, value)
    return stored


def compared(tmp_path: Path, other: StoredSimulationData, tolerance: Tolerance | None = None) -> Comparison:
    """Compare an object with another one of its key; and what is said backwards."""
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as one, HDF5Storage(tmp_path / "b.h5") as two:
        one.store_object(with_changes(), files, storage_key="x")
        two.store_object(other, files, storage_key="x")
        found, back = compare(one, two, tolerance=tolerance), compare(two, one, tolerance=tolerance)
    assert found.none == back.none
    assert [change.name for change in found.changed.get("x", [])] == [
        change.name for change in back.changed.get("x", [])
    ]
    return found


def shifted(by: float) -> np.ndarray:
    values = ENERGIES.copy()
    values[7] += by
    return values


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"thermodynamic_state": ThermodynamicState(300 * unit.kelvin, 1 * unit.bar)},
            "state thermodynamic_state: 298.15 K, 1 atm against 300 K, 1 bar",
        ),
        ({"substance": Substance.from_components("CO")}, "substance: O against CO"),
        (
            {"observables": energies(shifted(0.25))},
            "observable PotentialEnergy: 1 of 40 values differ, by up to 0.25 kJ/mol",
        ),
        ({"observables": energies(ENERGIES[:30])}, "frames: 40 values against 30"),
        ({"number_of_molecules": 99}, "field number_of_molecules: 100 against 99"),
    ],
)
def test_what_differs_is_said_in_terms_of_the_science(
    tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    found = compared(tmp_path, with_changes(**fields))
    assert said in list(map(str, found.changed["x"]))
    assert not found.none


def test_tolerances_are_those_of_numbers_and_reach_no_further(tmp_path: Path) -> None:
    near = with_changes(observables=energies(shifted(1e-5)))
    assert compared(tmp_path, near).changed
    for tolerance in (Tolerance(rtol=1e-5), Tolerance(atol=1.01e-5)):
        with HDF5Storage(tmp_path / "a.h5") as one, HDF5Storage(tmp_path / "b.h5") as two:
            found = compare(one, two, tolerance=tolerance)
        assert (found.none, found.n_close, found.n_equal) == (True, 1, 0)
    with HDF5Storage(tmp_path / "a.h5") as one, HDF5Storage(tmp_path / "b.h5") as two:
        assert compare(one, two, tolerance=Tolerance(atol=0.9e-5)).changed


def test_the_same_in_another_unit_is_close_not_different(tmp_path: Path) -> None:
    in_calories = energies(ENERGIES / 4.184, unit.kilocalorie / unit.mole)
    found = compared(tmp_path, with_changes(observables=in_calories), Tolerance(rtol=1e-12, atol=1e-12))
    assert (found.none, found.n_close) == (True, 1)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_makes_no_sense_is_refused(value: float) -> None:
    with pytest.raises(InvalidDataError, match="rtol"):
        Tolerance(rtol=value)


def test_files_objects_and_keys_are_compared_with_a_directory(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend, LocalFileStorage(tmp_path / "directory") as directory:
        for key in ("same", "moved", "changed", "gone"):
            files = write_files(tmp_path / f"files-{key}")
            (files / "more.txt").write_text("more")
            backend.store_object(simulation(key), files, storage_key=key)
            if key == "changed":
                (files / "output.pdb").write_text("other")
                (files / "more.txt").rename(files / "less.txt")
            if key != "gone":
                other = "here" if key == "moved" else key
                directory.store_object(simulation(key), storage_key=other, ancillary_data_path=files)
        directory.store_object(
            simulation("new"), storage_key="new", ancillary_data_path=write_files(tmp_path / "files-new")
        )
        found = compare(backend, directory)
        assert found.n_equal == 1
        assert found.other_key == {"moved": "here"}
        assert (found.only_in_first, found.only_in_second) == (["gone"], ["new"])
        assert list(map(str, found.changed["changed"])) == [
            "file less.txt: only in the second",
            "file more.txt: only in the first",
            "file output.pdb: its bytes differ",
        ]
        only = compare(backend, directory, keys=(["same"], ["same"]))
        assert (only.none, only.n_equal) == (True, 1)


def test_equal_objects_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as one, HDF5Storage(tmp_path / "b.h5") as two:
        for backend in (one, two):
            backend.store_object(simulation("a"), files, storage_key="x")
        monkeypatch.setattr(HDF5Storage, "retrieve_document", None)
        monkeypatch.setattr(HDF5Storage, "load", None)
        monkeypatch.setattr(HDF5Storage, "open_member", None)
        assert compare(one, two).n_equal == 1

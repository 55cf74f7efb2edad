"""A container is a netCDF-4 file that other programs read: names, dimensions, units, and no warning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cf_units
import h5py
import numpy as np
import pytest
from netcdf_readers import READERS
from programs import path_of

from simarchive import (
    UNSET,
    BaseStoredData,
    ForceFieldData,
    HDF5Storage,
    ObservableArray,
    SimulationRun,
    TLeapForceFieldSource,
    register_data_class,
    unit,
)
from simarchive.ground.udunits import udunits_text
from simarchive.storage.hdf5.upkeep import repack

N_OBJECTS = 1000
KEYS = ["run-0", "run-9", "model"]
HERE = Path(__file__).parent


@register_data_class("WeightsForNetCDF", version=1)
class Weights(BaseStoredData):
    """Arrays without a unit, which are no series along a simulation."""

    layers: list[np.ndarray[Any, Any]] = UNSET

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container of 1,000 objects: runs with files and observables, a model, and many small ones."""
    folder = tmp_path_factory.mktemp("netcdf")
    files = folder / "files"
    (files / "nested").mkdir(parents=True)
    (files / "nested" / "out put.log").write_text("a log\n" * 100)
    (files / "frame").write_bytes(bytes(range(256)) * 30)
    path = folder / "a.h5"
    with HDF5Storage(path) as backend, backend.transaction():
        for number in range(10):
            backend.store_object(a_run(number), files, storage_key=f"run-{number}")
        backend.store_object(Weights(layers=[np.arange(96.0).reshape(12, 8)]), storage_key="model")
        for number in range(N_OBJECTS - 11):
            cutoff = (number + 1) * 0.01 * unit.angstrom
            source = TLeapForceFieldSource(cutoff=cutoff)
            backend.store_object(ForceFieldData(force_field_source=source), storage_key=f"field-{number}")
    return path


def a_run(number: int) -> SimulationRun:
    n_frames = 40 + number
    times = np.arange(float(n_frames))
    return SimulationRun(
        name=f"run {number}",
        observables={
            "Time": ObservableArray(times * unit.picosecond),
            "PotentialEnergy": ObservableArray((times - 500) * unit.kilojoule / unit.mole),
            "Box Volume": ObservableArray((times + 5) * unit.nanometer**3),
            "Density": ObservableArray((times + 1) * unit.gram / unit.milliliter),
            "Dielectric": ObservableArray((times + 70) * unit.dimensionless),
            "pressures": ObservableArray(np.ones((n_frames, 3)) * unit.bar),
            "short": ObservableArray(np.arange(33.0) * unit.kelvin),
        },
    )


EXPECTED: dict[str, dict[str, dict[str, Any]]] = {
    f"run-{number}": {
        f"observables.{name}": {
            "dimensions": dimensions or ["frame", "dim_1"],
            "shape": [40 + number, 1] if dimensions is None else [int(d[4:]) for d in dimensions],
            "units": units,
            "long_name": long_name,
            "first": first,
        }
        for name, dimensions, units, long_name, first in [
            ("Time", None, "ps", "Time", 0.0),
            ("PotentialEnergy", None, "kJ mol-1", "Potential Energy", -500.0),
            ("Box_Volume", None, "nm3", "Box Volume", 5.0),
            ("Density", None, "g mL-1", "Density", 1.0),
            ("Dielectric", None, "1", "Dielectric", 70.0),
            ("short", ["dim_33", "dim_1"], "K", "short", 0.0),
        ]
    }
    | {
        "observables.pressures": {
            "dimensions": ["frame", "dim_3"],
            "shape": [40 + number, 3],
            "units": "bar",
            "long_name": "pressures",
            "first": 1.0,
        }
    }
    for number in (0, 9)
} | {
    "model": {
        "layers.0": {
            "dimensions": ["dim_12", "dim_8"],
            "shape": [12, 8],
            "units": None,
            "long_name": "0",
            "first": 0.0,
        }
    }
}


@pytest.mark.parametrize("reader", READERS)
def test_names_dimensions_and_units_are_those_of_the_observables(container: Path, reader: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "netcdf_readers.py"), reader, str(container), *KEYS],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == EXPECTED


def test_units_mean_in_udunits_what_they_mean_in_pint(container: Path) -> None:
    with h5py.File(container, "r") as file:
        arrays = [node for node in file["objects/run-0"].values() if "pint_units" in node.attrs]
        assert len(arrays) == 7
        for array in arrays:
            _check_meaning(array.attrs["pint_units"].decode(), array.attrs["units"].decode())


@pytest.mark.parametrize(
    "text",
    [
        *("kilocalorie / mole", "kilocalorie / angstrom / mole", "debye", "debye ** 2", "elementary_charge"),
        *("bohr", "hartree", "dalton", "electron_volt", "standard_atmosphere", "torr", "centipoise", "poise"),
        *("meter ** 2 / second", "1 / picosecond", "joule / kelvin / mole", "femtosecond", "degree", "liter"),
        *("angstrom ** 3", "newton / meter", "kilogram / meter ** 3", "millipascal * second", "percent"),
        *(
            "mole / liter",
            "hour",
            "minute",
            "day",
            "microsecond",
            "volt / nanometer",
            "watt / kelvin / meter",
        ),
        *("coulomb * meter", "radian", "unified_atomic_mass_unit", "kilocalorie ** 2 / mole ** 2"),
    ],
)
def test_other_units_of_simulations_keep_their_meaning(text: str) -> None:
    spelled = udunits_text(text)
    assert spelled is not None
    _check_meaning(text, spelled)


def _check_meaning(of_pint: str, of_udunits: str) -> None:
    quantity = (1.0 * unit(of_pint)).to_base_units()
    base = udunits_text(str(quantity.units))
    assert base is not None
    assert cf_units.Unit(of_udunits).convert(1.0, cf_units.Unit(base)) == pytest.approx(
        float(quantity.magnitude), rel=1e-9
    )


@pytest.mark.parametrize("text", ["furlong", "kilojoule ** 0.5", "meter ** x", "", "decibelmilliwatt"])
def test_what_udunits_cannot_say_is_left_out(text: str) -> None:
    assert udunits_text(text) is None


def test_ncdump_shows_series_apart_from_files(container: Path) -> None:
    done = subprocess.run(
        [path_of("ncdump"), "-h", str(container)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.partition("group: run-0 {")[2].partition("group: run-1 {")[0]
    assert "phony_dim" not in shown.partition("group: files {")[0]
    assert "double observables.Box_Volume(frame, dim_1) ;" in shown
    assert 'nested%2Fout\\ put.log:long_name = "bytes of a file" ;' in shown.partition("group: files {")[2]


def test_scales_are_those_of_hdf5(container: Path) -> None:
    with h5py.File(container, "r") as file:
        group = file["objects/run-9"]
        frame, one = (dimension[0] for dimension in group["observables.Density"].dims)
        assert (frame.name, one.name) == ("/objects/run-9/frame", "/dim_1")
        assert h5py.h5ds.is_scale(frame.id)
        assert h5py.h5ds.get_scale_name(frame.id).split() == [
            *(b"This is a netCDF dimension but not a netCDF variable.".split()),
            b"49",
        ]


def test_times_are_a_coordinate_of_the_other_series(container: Path) -> None:
    with h5py.File(container, "r") as file:
        group = file["objects/run-0"]
        assert group["observables.Time"].attrs["standard_name"] == b"time"
        of_time = {name for name, node in group.items() if "coordinates" in node.attrs}
        assert of_time == {name for name in group if name.startswith("obs")} - {
            "observables.Time",
            "observables.short",
        }


def test_an_object_without_files_and_arrays_has_neither_group_nor_dimension(container: Path) -> None:
    with h5py.File(container, "r") as file:
        assert list(file["objects/field-0"]) == []
        assert sorted(file["objects/run-0"]) == sorted(
            ["files", "frame", *(f"observables.{name}" for name in _names())]
        )


def test_an_array_that_another_program_made_a_scale_of_is_kept(container: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes(container.read_bytes())
    with h5py.File(copy, "r+") as file:
        times = file["objects/run-0/observables.Time"]
        del times.attrs["DIMENSION_LIST"]
        times.make_scale("time")
    repack(copy)
    with HDF5Storage(copy, mode="r") as backend:
        assert backend.verify(full=True).problems == []
        assert len(backend.load("run-0").observables["Time"].value) == 40


def _names() -> list[str]:
    return ["Time", "PotentialEnergy", "Box_Volume", "Density", "Dielectric", "pressures", "short"]


def test_nothing_is_wrong_and_repack_keeps_it_so(container: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes(container.read_bytes())
    report = repack(copy)
    assert report.n_objects == N_OBJECTS
    with HDF5Storage(copy, mode="r") as backend:
        assert backend.verify(full=True).problems == []
    with h5py.File(container, "r") as before, h5py.File(copy, "r") as after:
        for key in KEYS:
            one, other = before["objects"][key], after["objects"][key]
            assert sorted(one) == sorted(other)
            for name in set(one) - {"files", "frame"}:
                assert [d[0].name for d in one[name].dims] == [d[0].name for d in other[name].dims]
                texts = ("units", "pint_units", "long_name", "coordinates", "standard_name")
                assert {t: one[name].attrs.get(t) for t in texts} == {
                    t: other[name].attrs.get(t) for t in texts
                }
        assert sorted(after["objects/run-0/files"]) == ["frame", "nested%2Fout put.log"]

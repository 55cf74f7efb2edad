"""The arrays of an object as a dataset of xarray: named, with units, and not read before they are used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from simarchive import CorruptError, HDF5Storage, NotFoundError, ObservableArray, SimulationRun, unit
from simarchive.container import arrays

CORPUS = Path(__file__).parents[1] / "data"
N_FRAMES = 50
TIMES = np.arange(N_FRAMES) * 0.5


def a_run(**more: ObservableArray) -> SimulationRun:
    observables = {
        "Time": ObservableArray(TIMES * unit.picosecond),
        "Density": ObservableArray((TIMES + 1) * unit.gram / unit.milliliter),
        "Box Vectors": ObservableArray(np.arange(N_FRAMES * 3.0).reshape(-1, 3) * unit.nanometer),
        "few": ObservableArray(np.arange(4.0) * unit.kelvin),
    }
    return SimulationRun(name="a run", observables={**observables, **more})


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[HDF5Storage]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.log").write_text("a log\n")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(a_run(), tmp_path / "files", storage_key="run-0")
        yield backend


def test_observables_have_frames_times_and_units(backend: HDF5Storage) -> None:
    dataset = backend.dataset("run")
    assert {name: variable.dims for name, variable in dataset.variables.items()} == {
        "time": ("frame",),
        "Density": ("frame",),
        "Box Vectors": ("frame", "dim_3"),
        "few": ("dim_4", "dim_1"),
    }
    assert list(dataset.coords) == ["time"]
    assert dataset.attrs == {"key": "run-0", "data_class": "SimulationRun"}
    assert dataset["Density"].attrs == {
        "long_name": "Density",
        "units": "g mL-1",
        "pint_units": "gram / milliliter",
    }
    assert dataset["time"].attrs["units"] == "ps"
    late = dataset.set_xindex("time").sel(time=slice(20.0, None))
    assert late["Density"].values.tolist() == (TIMES[TIMES >= 20] + 1).tolist()
    assert float(dataset["Density"].mean("frame")) == pytest.approx(float(TIMES.mean()) + 1)
    assert dataset["Box Vectors"].isel(dim_3=1, frame=[3, 1]).values.tolist() == [10.0, 4.0]


def test_nothing_is_read_before_it_is_used(backend: HDF5Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = arrays.read_variable

    def noting(node: object, name: str) -> np.ndarray:
        read.append(name)
        return real(node, name)

    monkeypatch.setattr(arrays, "read_variable", noting)
    dataset = backend.dataset("run-0")
    repr(dataset)
    assert read == []
    assert dataset["Density"][3] == TIMES[3] + 1
    assert read == ["observables.Density"]


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_a_dataset_is_what_xarray_reads_from_the_file(backend: HDF5Storage, engine: str) -> None:
    ours = backend.dataset("run-0").load()
    backend.close()
    with xarray.open_dataset(backend.path, group="objects/run-0", engine=engine) as theirs:
        for name in ("Density", "Box Vectors"):
            stored = theirs["observables." + name.replace(" ", "_")]
            assert stored.dims[0] == "frame"
            assert stored.values.reshape(ours[name].shape).tobytes() == ours[name].values.tobytes()
            for text in ("units", "pint_units", "long_name"):
                assert stored.attrs[text] == ours[name].attrs[text]
        assert "observables.Time" in theirs.coords


def test_a_damaged_array_is_refused_when_it_is_used(backend: HDF5Storage) -> None:
    backend.close()
    with h5py.File(backend.path, "r+") as file:
        file["objects/run-0/observables.Density"][3] += 1
    with HDF5Storage(backend.path, mode="r") as damaged:
        dataset = damaged.dataset("run-0")
        assert dataset["time"].values.tolist() == TIMES.tolist()
        with pytest.raises(CorruptError, match=r"observables\.Density.*digest"):
            dataset["Density"].load()


def test_an_object_that_is_not_there_is_not_found(backend: HDF5Storage) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        backend.dataset("nothing")


@pytest.mark.parametrize("folder", ["format-v1", "format-v1-runs", "format-v1-netcdf"])
def test_objects_of_all_versions_have_datasets(folder: str, tmp_path: Path) -> None:
    path = shutil.copy(CORPUS / folder / "container.h5", tmp_path / "a.h5")
    with HDF5Storage(path, mode="r") as backend:
        dataset = backend.dataset("StoredSimulationData-3")
        assert set(dataset) == {"Density", "Temperature"}
        assert dataset["Temperature"].dims == ("frame",)
        assert dataset["Temperature"].dtype == np.float32
        assert len(backend.dataset("tleap")) == 0


def test_without_xarray_it_is_said_how_to_get_it(backend: HDF5Storage) -> None:
    backend.close()
    script = (
        "import sys\n"
        "sys.modules['xarray'] = None\n"
        "from simarchive import HDF5Storage, InvalidDataError\n"
        "try:\n"
        "    HDF5Storage(sys.argv[1], mode='r').dataset('run-0')\n"
        "except InvalidDataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(backend.path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (
        "datasets need xarray: pip install 'simarchive[trajectories]' installs it\n",
        "",
    )

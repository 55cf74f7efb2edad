"""Faults of other stores that only a container can show, each under its number."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

import simarchive
from simarchive import HDF5Storage, SimulationDataQuery, SmirnoffForceFieldSource
from simarchive.container import layout
from simarchive.testing.sample_objects import simulation, write_files

SOURCE = Path(simarchive.__file__).parents[1]


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path / "files")


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_b04_another_process_with_another_hash_seed_finds_the_same(tmp_path, hash_seed):
    source = "<SMIRNOFF version='0.3'/>"
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_force_field(SmirnoffForceFieldSource(source))
    script = (
        "import sys; from simarchive import HDF5Storage, SmirnoffForceFieldSource\n"
        "with HDF5Storage(sys.argv[1]) as backend:\n"
        "    print(backend.has_force_field(SmirnoffForceFieldSource(sys.argv[2])))\n"
        "    print(backend.store_force_field(SmirnoffForceFieldSource(sys.argv[2])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.h5"), source],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [key, key]


def test_b20_a_relative_container_stays_when_the_program_changes_its_directory(tmp_path, files, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with HDF5Storage("a.h5", scratch_directory="scratch") as backend:
        key = backend.store_object(simulation(), files)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        _, path = backend.retrieve_object(key)
        assert Path(path).is_relative_to(tmp_path / "scratch")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("mode", ["a", "r"])
def test_b23_opening_and_reading_a_container_write_nothing(tmp_path, files, mode):
    container = tmp_path / "a.h5"
    with HDF5Storage(container) as backend:
        key = backend.store_object(simulation(), files)
    before = container.read_bytes(), container.stat().st_mtime_ns
    with HDF5Storage(container, mode=mode) as backend:
        backend.retrieve_object(key)
        backend.query(SimulationDataQuery())
    assert (container.read_bytes(), container.stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.glob("a.h5*")] == ["a.h5"]


@pytest.mark.parametrize("damage", ["document", "class"])
def test_b24_one_bad_object_costs_only_itself(tmp_path, files, damage, caplog):
    container = tmp_path / "a.h5"
    with HDF5Storage(container) as backend:
        good, bad = (backend.store_object(simulation(name), files) for name in ("good", "bad"))
    with h5py.File(container, "r+") as file:
        group = file[layout.OBJECTS][bad]
        if damage == "document":
            group.attrs[layout.DOCUMENT] = "{ this is no JSON"
        else:
            del group.attrs[layout.OBJECT_SUMMARY]
            del group.attrs[layout.DATA_CLASS]
    with HDF5Storage(container) as backend:
        found = backend.query(SimulationDataQuery())
        assert [match[0] for match in found[()]] == [good]
        assert bad in caplog.text
        assert backend.retrieve_object(good)[0] == simulation("good")
        backend.store_object(simulation("new"), files)
        report = backend.verify()
        assert not report.ok
        assert {problem.key for problem in report.problems if problem.is_error} == {bad}
        backend.repair()
        assert bad not in backend
        assert len(backend) == 2
        assert backend.verify().ok

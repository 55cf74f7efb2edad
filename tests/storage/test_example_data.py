"""Real simulations, written by OpenFF Evaluator, with the right answers beside them."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
from programs import path_of

from simarchive import (
    Between,
    Component,
    EquilibrationDataQuery,
    ExactAmount,
    ForceFieldQuery,
    FreeEnergyDataQuery,
    HDF5Storage,
    LocalFileStorage,
    MoleFraction,
    PropertyPhase,
    SimulationDataQuery,
    Substance,
    SubstanceQuery,
    ThermodynamicState,
    unit,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFEST = json.loads((EXAMPLES / "MANIFEST.json").read_text())
EXPECTED = json.loads((EXAMPLES / "EXPECTED.json").read_text())
SIMULATIONS = [key for key, about in MANIFEST["objects"].items() if about["type"] == "StoredSimulationData"]
N_FILES = 25

QUERY_CLASSES = {
    query_class.__name__: query_class
    for query_class in (SimulationDataQuery, EquilibrationDataQuery, FreeEnergyDataQuery, ForceFieldQuery)
}


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("example") / "example.h5"
    with HDF5Storage(path) as backend, LocalFileStorage(EXAMPLES / "stored_data", mode="r") as directory:
        report = backend.update(directory)
    assert len(report.stored) == 13
    assert not report.unreadable
    assert not report.new_keys
    return path


def stored_observables(key: str) -> dict[str, np.ndarray]:
    """Return the numbers of an object's observables as its JSON has them, read without simarchive."""
    document = json.loads((EXAMPLES / "stored_data" / f"{key}.json").read_text())
    found = {}
    for name, array in document["observables"]["observables"].items():
        found[name] = np.array(array["value"]["value"]["value"], np.float64)
    return found


def substance_of(typed: dict) -> Substance:
    substance = Substance()
    amounts = {"MoleFraction": MoleFraction, "ExactAmount": ExactAmount}
    for component in typed["components"]:
        ours = Component(component["smiles"], Component.Role(component["role"]["value"]))
        for amount in typed["amounts"][f"{component['smiles']}{{{component['role']['value']}}}"]:
            substance.add_component(ours, amounts[amount["@type"].rpartition(".")[2]](amount["value"]))
    return substance


def query_of(expected: dict):
    query = QUERY_CLASSES[expected["query_class"]]()
    for name, value in expected["query"].items():
        if name == "substance":
            query.substance = substance_of(value)
        elif name == "substance_query":
            query.substance_query = SubstanceQuery(components_only=value["components_only"])
        elif name == "thermodynamic_state":
            quantities = {k: v["value"] * unit(v["unit"]) for k, v in value.items() if k != "@type"}
            query.thermodynamic_state = ThermodynamicState(**quantities)
        elif name == "property_phase":
            query.property_phase = PropertyPhase(value)
        elif name != "@type":
            setattr(query, name, value)
    return query


def groups_of(found: dict) -> list[list[str]]:
    return sorted(sorted(match[0] for match in matches) for matches in found.values())


@pytest.mark.parametrize("expected", EXPECTED["queries"], ids=lambda expected: expected["name"])
@pytest.mark.parametrize("kind", ["container", "directory"])
def test_queries_give_the_expected_groups(container, expected, kind):
    query = query_of(expected)
    with (
        HDF5Storage(container, mode="r")
        if kind == "container"
        else LocalFileStorage(EXAMPLES / "stored_data", mode="r")
    ) as backend:
        found = backend.query(query)
        keys = backend.keys(query)
        number = backend.count(query)
    if expected["name"] == "empty_simulation_query":
        # B12: there it matches nothing; here an empty query matches every object of its class.
        assert list(found) == [()]
        groups, n_objects = [sorted(SIMULATIONS)], 8
    else:
        groups = sorted(sorted(group) for group in expected["matches"].values())
        n_objects = expected["n_objects"]
    assert groups_of(found) == groups
    assert sorted(keys) == sorted(key for group in groups for key in group)
    assert number == n_objects == len(keys)


@pytest.mark.parametrize(
    "expected", EXPECTED["range_queries"], ids=lambda expected: str(expected["temperature_K"])
)
def test_ranges_give_the_expected_keys(container, expected):
    query = SimulationDataQuery()
    if expected["substance"] is not None:
        assert expected["substance"] == "O{solv}{x=1.000000}"
        query.substance = Substance.from_components("O")
    if expected["phase"] is not None:
        query.property_phase = PropertyPhase[expected["phase"]]
    for name, units, bounds in (
        ("temperature", unit.kelvin, expected["temperature_K"]),
        ("pressure", unit.pascal, expected["pressure_Pa"]),
    ):
        if bounds != [None, None]:
            low, high = (None if bound is None else bound * units for bound in bounds)
            setattr(query, name, Between(low, high))
    with HDF5Storage(container, mode="r") as backend:
        assert sorted(backend.keys(query)) == expected["keys"]
        assert sorted(m[0] for ms in backend.query(query).values() for m in ms) == expected["keys"]
        assert backend.count(query) == expected["n_objects"]


def test_every_member_extracts_with_its_digest(container, tmp_path):
    checked = 0
    with HDF5Storage(container, mode="r") as backend:
        assert sorted(backend) == sorted(MANIFEST["objects"])
        for key, entry in MANIFEST["objects"].items():
            paths = backend.extract(key, tmp_path / key)
            assert {str(path.relative_to(tmp_path / key)) for path in paths} == set(entry["files"])
            for name, file in entry["files"].items():
                data = (tmp_path / key / name).read_bytes()
                assert len(data) == file["size"]
                assert sha256(data).hexdigest() == file["sha256"]
                with backend.open_member(key, name) as stream:
                    assert stream.read() == data
                checked += 1
    assert checked == N_FILES


def test_exporting_back_means_the_same(container, tmp_path):
    with HDF5Storage(container, mode="r") as backend, LocalFileStorage(tmp_path / "back") as directory:
        report = directory.update(backend)
        assert len(report.stored) == 13
    original = EXAMPLES / "stored_data"
    back = tmp_path / "back"
    assert {p.relative_to(back) for p in back.rglob("*")} == {
        p.relative_to(original) for p in original.rglob("*")
    }
    for path in sorted(p for p in original.rglob("*") if p.is_file()):
        other = back / path.relative_to(original)
        if path.parent == original:
            ours, theirs = json.loads(other.read_text()), json.loads(path.read_text())
            if path.name == "object_keys.json":
                assert {k: set(v) for k, v in ours["object_keys"].items()} == {
                    k: set(v) for k, v in theirs["object_keys"].items()
                }
            else:
                assert ours == theirs
        else:
            assert other.read_bytes() == path.read_bytes()


def test_importing_again_changes_nothing(container, tmp_path):
    before = container.read_bytes()
    with HDF5Storage(container) as backend, LocalFileStorage(EXAMPLES / "stored_data", mode="r") as directory:
        report = backend.update(directory)
    assert len(report.kept) == 13
    assert container.read_bytes() == before


def test_h5dump_ncdump_and_h5py_read_the_container(container):
    with h5py.File(container) as file:
        key = "8d13dbc120154cbaade23403d2d22a29"
        energies = file[f"objects/{key}/observables.PotentialEnergy"]
        assert energies.shape == (60, 1)
        assert energies.attrs["units"] == b"kJ mol-1"
        assert energies[0, 0] == -7170.884258549687
    for program, option in (("h5dump", "-A"), ("h5dump", "-H"), ("ncdump", "-h")):
        shown = subprocess.run(
            [path_of(program), option, str(container)], capture_output=True, text=True, check=True, timeout=60
        )
        assert "trajectory.dcd" in shown.stdout
        assert shown.stderr == ""


def test_netcdf4_reads_observables_with_units_and_dimensions(container):
    script = (
        "import netCDF4, sys\n"
        "with netCDF4.Dataset(sys.argv[1]) as file:\n"
        "    v = file['objects/8d13dbc120154cbaade23403d2d22a29/observables.PotentialEnergy']\n"
        "    print(v.dimensions, v.units, float(v[0, 0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(container)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "('frame', 'dim_1') kJ mol-1 -7170.884258549687\n"
    assert netCDF4.__version__


def test_verify_finds_nothing_wrong(container):
    with HDF5Storage(container, mode="r") as backend:
        report = backend.verify(full=True)
    assert report.problems == []
    assert report.ok
    assert report.n_objects == 13


def test_observables_come_back_bit_for_bit(container):
    with (
        HDF5Storage(container, mode="r") as backend,
        LocalFileStorage(EXAMPLES / "stored_data", mode="r") as directory,
    ):
        for key in backend.keys(SimulationDataQuery()):
            ours, theirs = backend.retrieve_object(key)[0], directory.retrieve_object(key)[0]
            assert ours == theirs
            assert {kind.value for kind in ours.observables} == set(stored_observables(key)) != set()
            for name, numbers in stored_observables(key).items():
                assert ours.observables[name].value.magnitude.tobytes() == numbers.tobytes()


def test_lazily_loaded_arrays_can_be_looked_at_after_closing(container):
    with HDF5Storage(container, mode="r") as backend:
        (match,) = backend.query(SimulationDataQuery(property_phase=PropertyPhase.Gas)).popitem()[1]
    numbers = stored_observables(match[0])["PotentialEnergy"]
    assert match[1].observables["PotentialEnergy"].value.magnitude.tobytes() == numbers.tobytes()

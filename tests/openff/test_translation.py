"""Evaluator's typed JSON to our trees and back, on the example data and on what it does not hold."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json import (
    TYPE_STRINGS,
    dump_typed,
    from_evaluator,
    has_evaluator_form,
    parse_typed,
    register_evaluator_type,
    to_evaluator,
)

STORED_DATA = Path(__file__).parents[2] / "examples" / "stored_data"
DOCUMENTS = sorted(path for path in STORED_DATA.glob("*.json") if path.stem != "object_keys")


def typed(name: str, **fields: Any) -> dict[str, Any]:
    return {**fields, "@type": TYPE_STRINGS[name]}


def kelvin(value: Any) -> dict[str, Any]:
    return typed("Quantity", value=value, unit="kelvin")


def free_energy_data(**fields: Any) -> dict[str, Any]:
    return typed("StoredFreeEnergyData", **fields)


def round_trip(value: dict[str, Any]) -> dict[str, Any]:
    name, tree = from_evaluator(value)
    return json.loads(dump_typed(to_evaluator(name, tree)))  # type: ignore[no-any-return]


def test_the_example_data_is_here() -> None:
    assert len(DOCUMENTS) == 13


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem[:8])
def test_a_document_goes_through_our_tree_and_comes_back_as_the_same_text(path: Path) -> None:
    text = path.read_text()
    name, tree = from_evaluator(parse_typed(text))
    assert json.loads(text)["@type"].endswith(name)
    assert "@type" not in repr(tree)
    assert dump_typed(to_evaluator(name, tree)) == text


def test_a_simulation_reads_as_the_tree_of_its_data_class() -> None:
    path = next(path for path in DOCUMENTS if '"trajectory_file_name"' in path.read_text())
    name, tree = from_evaluator(parse_typed(path.read_text()))
    assert name == "StoredSimulationData"
    assert tree["substance"]["components"][0] == {"smiles": "O", "role": "solv"}
    assert tree["substance"]["amounts"] == {"O{solv}": [{"type": "MoleFraction", "value": 1.0}]}
    assert tree["thermodynamic_state"]["temperature"] == {"value": 280.0, "unit": "kelvin"}
    assert tree["property_phase"] == 2
    energies = tree["observables"]["PotentialEnergy"]
    assert energies["value"]["unit"] == "kilojoule / mole"
    assert energies["value"]["value"].dtype == np.float64
    assert energies["value"]["value"].shape == (40, 1)
    assert energies["gradients"] == []


FORCE_FIELDS = {
    "Smirnoff": {"inner_xml": "<SMIRNOFF/>"},
    "TLeap": {"leap_source": "leaprc.gaff", "cutoff": typed("Quantity", value=9, unit="angstrom")},
    "LigParGen": {
        "preferred_charge_model": typed("ChargeModel", value="1.14*CM1A"),
        "cutoff": typed("Quantity", value=9.0, unit="angstrom"),
        "request_url": "",
        "download_url": "https://example.org",
    },
    "Foyer": {"foyer_source": "oplsaa", "cutoff": typed("Quantity", value=0.9, unit="nanometer")},
}


@pytest.mark.parametrize("source", FORCE_FIELDS)
def test_every_force_field_source_survives(source: str) -> None:
    original = typed("ForceFieldData", force_field_source=typed(source, **FORCE_FIELDS[source]))
    _, tree = from_evaluator(original)
    assert tree["force_field_source"]["type"] == source
    assert round_trip(original) == original
    assert isinstance(tree["force_field_source"].get("cutoff", {"value": 9})["value"], int | float)


def test_a_whole_number_stays_one() -> None:
    _, tree = from_evaluator(
        free_energy_data(thermodynamic_state=typed("ThermodynamicState", temperature=kelvin(300)))
    )
    assert type(tree["thermodynamic_state"]["temperature"]["value"]) is int


def test_beta_type_strings_are_read() -> None:
    text = json.dumps(parse_typed(DOCUMENTS[0].read_text())).replace('"openff.evaluator.', '"evaluator.')
    assert '"evaluator.unit.Quantity"' in text
    name, tree = from_evaluator(parse_typed(text))
    assert dump_typed(to_evaluator(name, tree)) == DOCUMENTS[0].read_text()


def test_classes_are_also_found_under_the_modules_that_export_them() -> None:
    source = {"inner_xml": "<x/>", "@type": "evaluator.forcefield.SmirnoffForceFieldSource"}
    _, tree = from_evaluator(typed("ForceFieldData", force_field_source=source))
    assert tree["force_field_source"] == {"type": "Smirnoff", "inner_xml": "<x/>"}


def test_a_gradient_from_before_virtual_sites_reads_with_them_unset() -> None:
    key = typed("ParameterGradientKey", tag="vdW", smirks="[#1:1]", attribute="epsilon")
    gradient = typed("ParameterGradient", key=key, value=kelvin(1.5))
    value = typed("Measurement", value=kelvin(1.0), error=kelvin(0.5))
    data = free_energy_data(free_energy_difference=typed("Observable", value=value, gradients=[gradient]))
    _, tree = from_evaluator(data)
    assert tree["free_energy_difference"]["error"] == {"value": 0.5, "unit": "kelvin"}
    assert tree["free_energy_difference"]["gradients"][0]["key"] == {
        "tag": "vdW",
        "smirks": "[#1:1]",
        "attribute": "epsilon",
        "virtual_site_type": None,
        "virtual_site_name": None,
        "virtual_site_match": None,
    }


def test_an_observable_without_an_error_has_a_zero_error_in_its_unit() -> None:
    data = free_energy_data(free_energy_difference=typed("Observable", value=kelvin(1.0), gradients=None))
    _, tree = from_evaluator(data)
    assert tree["free_energy_difference"] == {
        "value": {"value": 1.0, "unit": "kelvin"},
        "error": {"value": 0.0, "unit": "kelvin"},
        "gradients": [],
    }


@pytest.mark.parametrize("absent", [None, {"@type": TYPE_STRINGS["Undefined"]}])
def test_an_undefined_attribute_is_absent_from_the_tree(absent: Any) -> None:
    name, tree = from_evaluator(
        typed("StoredEquilibrationData", calculation_layer=absent, number_of_molecules=3)
    )
    assert (name, tree) == ("StoredEquilibrationData", {"number_of_molecules": 3})


def test_a_state_without_a_pressure_has_none() -> None:
    state = typed("ThermodynamicState", temperature=kelvin(298.15))
    assert round_trip(free_energy_data(thermodynamic_state=state))["thermodynamic_state"] == state


def frame(values: Any) -> dict[str, Any]:
    array = typed("ObservableArray", value=kelvin(typed("ndarray", value=values)), gradients=[])
    return typed(
        "StoredSimulationData", observables=typed("ObservableFrame", observables={"Temperature": array})
    )


def test_b15_nan_infinity_and_signed_zero_survive_bit_by_bit() -> None:
    text = json.dumps(frame([[math.nan], [math.inf], [-math.inf], [-0.0], [5e-324]]))
    assert "NaN" in text
    name, tree = from_evaluator(parse_typed(text))
    values = tree["observables"]["Temperature"]["value"]["value"]
    assert values.tobytes() == np.array([[math.nan], [math.inf], [-math.inf], [-0.0], [5e-324]]).tobytes()
    assert dump_typed(to_evaluator(name, tree)) == text


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "int32", "uint8", "bool", "int64", "float64"])
@pytest.mark.parametrize("length", [0, 3])
def test_b15_arrays_keep_dtype_and_shape_through_the_text(dtype: str, length: int) -> None:
    values = np.arange(length).reshape(-1, 1).astype(dtype)
    name, tree = from_evaluator(frame(values))
    _, back = from_evaluator(parse_typed(dump_typed(to_evaluator(name, tree))))
    array = back["observables"]["Temperature"]["value"]["value"]
    assert array.dtype == values.dtype.newbyteorder("=")
    assert array.shape == values.shape
    assert array.tolist() == values.tolist()


def test_plain_float64_arrays_are_written_with_nothing_added() -> None:
    name, tree = from_evaluator(frame(np.array([[1.0]])))
    assert dump_typed(to_evaluator(name, tree)) == json.dumps(frame([[1.0]]))


def test_a_flat_or_single_observable_value_becomes_a_column() -> None:
    for values, expected in (([1.0, 2.0], [[1.0], [2.0]]), (3.0, [[3.0]])):
        _, tree = from_evaluator(frame(values))
        assert tree["observables"]["Temperature"]["value"]["value"].tolist() == expected


def test_numpy_scalars_are_read_as_numbers() -> None:
    data = typed("StoredEquilibrationData", statistical_inefficiency=typed("float32", value=1.5))
    assert from_evaluator(data)[1] == {"statistical_inefficiency": 1.5}


def test_b16_a_temperature_in_degrees_celsius_is_written_so_that_evaluator_can_read_it() -> None:
    state = typed("ThermodynamicState", temperature=typed("Quantity", value=25, unit="degree_Celsius"))
    name, tree = from_evaluator(free_energy_data(thermodynamic_state=state))
    assert tree["thermodynamic_state"]["temperature"] == {"value": 25, "unit": "degree_Celsius"}
    written = json.loads(dump_typed(to_evaluator(name, tree)))
    assert written["thermodynamic_state"]["temperature"] == kelvin(298.15)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ([1], "no @type"),
        ({"some_attribute": 1, "@type": "my.module.SimpleData"}, "my.module.SimpleData"),
        (free_energy_data(substance={"@type": "os.system"}), "substance has the type 'os.system'"),
        (free_energy_data(colour="red"), "no field 'colour'"),
        (free_energy_data(substance=typed("Substance", components=[])), "lacks 'amounts'"),
        (
            free_energy_data(thermodynamic_state=typed("ThermodynamicState", temperature=kelvin("hot"))),
            "a number",
        ),
        (frame([[1.0], [2.0, 3.0]]), "regular array"),
        (frame([["a"]]), "array of numbers"),
        (frame([[[1.0]]]), "one or two dimensions"),
        ({"@type": 7}, "must be a string"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(broken: Any, named: str) -> None:
    with pytest.raises(InvalidDataError, match=named):
        from_evaluator(broken)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="not JSON"):
        parse_typed('{"a": ')


def test_b26_a_type_string_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidDataError, match="planted_module"):
        from_evaluator({"@type": "planted_module.Anything"})
    assert "planted_module" not in sys.modules


def test_a_registered_type_of_a_user_is_translated_both_ways() -> None:
    register_evaluator_type(
        "my_project.storage.HydrationData",
        "HydrationData",
        field_types={"when": "datetime.datetime", "tags": "builtins.set", "kind": "my_project.Kind"},
    )
    assert has_evaluator_form("HydrationData")
    substance = json.loads(DOCUMENTS[0].read_text())["substance"]
    original = {
        "substance": substance,
        "state": typed("ThermodynamicState", temperature=kelvin(300.0)),
        "profile": kelvin(typed("ndarray", value=[1.0, 2.0])),
        "raw": typed("ndarray", value=[[1, 2]]),
        "frame": frame([[1.0]])["observables"],
        "energy": typed("Measurement", value=kelvin(1.0), error=kelvin(0.1)),
        "source": typed("Smirnoff", inner_xml="<x/>"),
        "names": ["a", {"b": 1}],
        "when": typed("datetime", value="2024-01-02T03:04:05"),
        "tags": typed("set", value=["a", "b"]),
        "@type": "my_project.storage.HydrationData",
    }
    name, tree = from_evaluator({**original, "tags": typed("set", value=["b", "a"])})
    assert name == "HydrationData"
    assert tree["when"] == "2024-01-02T03:04:05"
    assert tree["tags"] == ["a", "b"]
    assert round_trip(original) == original


def test_a_type_or_class_with_another_partner_is_refused() -> None:
    register_evaluator_type("my_project.One", "One")
    register_evaluator_type("my_project.One", "One")
    for pair in (("my_project.One", "Two"), ("my_project.Two", "One")):
        with pytest.raises(InvalidDataError, match="another partner"):
            register_evaluator_type(*pair)
    with pytest.raises(InvalidDataError, match="need no registration"):
        register_evaluator_type(TYPE_STRINGS["ForceFieldData"], "Three")


def test_a_class_without_a_form_there_is_refused() -> None:
    assert not has_evaluator_form("TrainedModelData")
    with pytest.raises(InvalidDataError, match="TrainedModelData has no form"):
        to_evaluator("TrainedModelData", {})

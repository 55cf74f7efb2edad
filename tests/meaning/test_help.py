"""`help` of a data class says what its fields are and mean, and nothing of how the class is made."""

import pydoc

import pytest

from simarchive import SimulationRun, StoredSimulationData


@pytest.mark.parametrize("data_class", [SimulationRun, StoredSimulationData])
def test_help_names_fields_with_meaning_and_unit_and_no_machinery(data_class: type) -> None:
    text = pydoc.plain(pydoc.render_doc(data_class))
    for machinery in ("model_dump", "__pydantic", "model_config", "parse_obj", "_abc_impl"):
        assert machinery not in text
    assert text.count("\n |  Fields\n |  ------\n") == 1
    for method in ("validate", "to_document", "has_ancillary_data"):
        assert f" {method}(" in text


def test_a_field_has_its_unit_its_meaning_and_whether_it_may_stay_unset() -> None:
    lines = (SimulationRun.__doc__ or "").splitlines()
    place = lines.index("time_step : a quantity convertible to femtosecond, may stay unset")
    assert lines[place + 1] == "    The time from one step of the integrator to the next."
    assert (
        lines[0]
        == "One run of a simulation program; only a name is required, and its files are the ancillary data."
    )


def test_a_class_of_a_program_without_sources_has_its_fields_all_the_same() -> None:
    made = type("Made", (StoredSimulationData,), {"__doc__": "Made up.", "__annotations__": {"n": int}})
    assert "n : an integer of at most 64 bits" in (made.__doc__ or "")
    assert "The observables along the simulation." in (made.__doc__ or "")

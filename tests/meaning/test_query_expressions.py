"""Query expressions: what they mean, and where their errors point."""

from __future__ import annotations

from typing import Any

import pytest

from simarchive.chemistry import Component, PropertyPhase, Substance, ThermodynamicState, unit
from simarchive.errors import QuerySyntaxError
from simarchive.queries import (
    AnyOf,
    BaseDataQuery,
    Between,
    EquilibrationDataQuery,
    ForceFieldQuery,
    FreeEnergyDataQuery,
    Not,
    SimulationDataQuery,
    SubstanceQuery,
    TrainedModelQuery,
    parse_query,
)

WATER, MIXTURE = Substance.from_components("O"), Substance.from_components("O", "CO")
KELVIN = unit.kelvin


@pytest.mark.parametrize(
    ("expression", "query"),
    [
        ("", SimulationDataQuery()),
        (
            "substance=O phase=liquid temperature=290..310K pressure=1atm",
            SimulationDataQuery(
                substance=WATER,
                property_phase=PropertyPhase.Liquid,
                temperature=Between(290 * KELVIN, 310 * KELVIN),
                pressure=1 * unit.atm,
            ),
        ),
        ("T=290K..", SimulationDataQuery(temperature=Between(290 * KELVIN, None))),
        ("T=..310.5K", SimulationDataQuery(temperature=Between(None, 310.5 * KELVIN))),
        ("T>=290K", SimulationDataQuery(temperature=Between(290 * KELVIN, None))),
        ("P=none", SimulationDataQuery(pressure=Not(Between()))),
        ("T=25degC", SimulationDataQuery(temperature=unit.Quantity(25, "degC"))),
        ("T='290 K'..", None),
        ("substance=O|CO", SimulationDataQuery(substance=MIXTURE)),
        ("substance=O,O|CO", SimulationDataQuery(substance=AnyOf(WATER, MIXTURE))),
        ("substance!=O", SimulationDataQuery(substance=Not(WATER))),
        ("substance=!O", SimulationDataQuery(substance=Not(WATER))),
        ("substance=O{solv}{x=0.5}|CO", SimulationDataQuery(substance=MIXTURE)),
        (
            "components_of=O|CO",
            SimulationDataQuery(substance=MIXTURE, substance_query=SubstanceQuery(components_only=True)),
        ),
        (
            "contains=CCO,[H]O[H] excludes=C{sol}",
            SimulationDataQuery(
                contains_components=["CCO", "O"],
                excludes_components=[Component("C", Component.Role.Solute)],
            ),
        ),
        ("phase=liquid+gas", SimulationDataQuery(property_phase=PropertyPhase.Liquid | PropertyPhase.Gas)),
        ("molecules>100", SimulationDataQuery(number_of_molecules=Between(101, None))),
        ("molecules<100", SimulationDataQuery(number_of_molecules=Between(None, 99))),
        ("molecules<=100", SimulationDataQuery(number_of_molecules=Between(None, 100))),
        ("molecules=1,5..7", SimulationDataQuery(number_of_molecules=AnyOf(1, Between(5, 7)))),
        ("molecules=-1", SimulationDataQuery(number_of_molecules=-1)),
        ("inefficiency=1e0..2.5", SimulationDataQuery(statistical_inefficiency=Between(1.0, 2.5))),
        ("force_field='a b',!\"!c\"", SimulationDataQuery(force_field_id=AnyOf("a b", Not("!c")))),
        ("state=298.15K", SimulationDataQuery(thermodynamic_state=ThermodynamicState("298.15 K"))),
        (
            "state=298.15K@1atm",
            SimulationDataQuery(thermodynamic_state=ThermodynamicState("298.15 K", "1 atm")),
        ),
        ("class=equilibration layer=x", EquilibrationDataQuery(calculation_layer="x")),
        ("class=StoredFreeEnergyData", FreeEnergyDataQuery()),
        ("class=force-field", ForceFieldQuery()),
        (
            "class=model model=m target_property=density",
            TrainedModelQuery(name="m", target_property="density"),
        ),
        ("limit=5  order-by=-T", SimulationDataQuery(limit=5, order_by="-temperature")),
    ],
)
def test_an_expression_means_a_query(expression: str, query: BaseDataQuery | None) -> None:
    if query is None:
        with pytest.raises(QuerySyntaxError):
            parse_query(expression)
    else:
        assert parse_query(expression) == query


@pytest.mark.parametrize(
    ("expression", "words", "marked"),
    [
        ("substance=O temprature=3", "do you mean temperature", "temprature"),
        ("substance=O hello", "a criterion such as", "hello"),
        ("T=290..310", "needs a unit, such as 310K", "310"),
        ("T=290..310Kk", "'Kk' is not a unit", "310Kk"),
        ("T=29x0..310K", "not a unit", "29x0"),
        ("T=5m", "convertible to kelvin", "5m"),
        ("T=310..290K", "is empty", "310..290K"),
        ("T=..", "at least one end", ".."),
        ("T>290K", "write >= instead of >", "290K"),
        ("T>=1K,2K", "takes one value", "2K"),
        ("phase=liquid phase=gas", "given twice", "phase"),
        ("phase=plasma", "not a phase", "plasma"),
        ("phase>=liquid", "has no order", "liquid"),
        ("substance=O,Cx", "'Cx' is not a SMILES", "Cx"),
        ("substance=O|CO{x=0.7}|C{x=0.7}", "mole fraction", "O|CO{x=0.7}|C{x=0.7}"),
        ("substance=O{x=0.7}", "add up to", "O{x=0.7}"),
        ("contains=O,Cx", "'Cx' is not a SMILES", "Cx"),
        ("contains=O,!C", "use the other one", "C"),
        ("contains>=O", "takes =", ">="),
        ("class=foo", "no data class 'foo'", "foo"),
        ("class=simulation class=force_field", "given twice", "class"),
        ("class=force_field phase=gas", "has no criterion 'phase'", "phase"),
        ("molecules=1.5", "an integer", "1.5"),
        ("molecules=1 , 2", "a criterion such as", ","),
        ("limit=many", "a number of objects", "many"),
        ("limit=1,2", "takes one value", "2"),
        ("order_by=colour", "one of the columns", "colour"),
        ("layer=a", "has no criterion 'layer'", "layer"),
        ("force_field='a", "not closed", "'"),
        ("force_field='a'b", "after a quote", "b"),
        ("phase=", "a value is expected", ""),
        ("phase=liquid,", "a value is expected", ""),
    ],
)
def test_errors_point_at_the_place(expression: str, words: str, marked: str) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse_query(expression)
    problem, shown, marks = str(caught.value).rsplit("\n", 2)
    assert words in problem
    assert shown == f"  {expression}"
    start, end = marks.index("^") - 2, marks.rindex("^") - 1
    assert expression[start:end] == marked
    assert not marked or start == expression.rindex(marked)


@pytest.mark.parametrize("expression", [None, 3, b"T=3K"])
def test_an_expression_must_be_text(expression: Any) -> None:
    with pytest.raises(QuerySyntaxError, match="must be a text"):
        parse_query(expression)

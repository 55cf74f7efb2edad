"""Queries: what matches, what the key holds, and what an index is asked."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from simarchive.chemistry import (
    Component,
    ExactAmount,
    MoleFraction,
    PropertyPhase,
    SmirnoffForceFieldSource,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.data import (
    ForceFieldData,
    StoredEquilibrationData,
    StoredSimulationData,
    TrainedModelData,
)
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Equals, Negated, OneOf, Or, Satisfies, Within
from simarchive.queries import (
    AnyOf,
    BaseSimulationDataQuery,
    Between,
    EquilibrationDataQuery,
    ForceFieldQuery,
    Not,
    SimulationDataQuery,
    SubstanceQuery,
    TrainedModelQuery,
)

WATER, METHANOL = Substance.from_components("O"), Substance.from_components("CO")
MIXTURE = Substance.from_components("O", "CO")
ROOM = ThermodynamicState("298.15 K", "1 atm")


def with_amount(smiles: str, role: Component.Role, amount: Any) -> Substance:
    substance = Substance()
    substance.add_component(Component(smiles, role), amount)
    return substance


def simulation(substance: Substance = WATER, state: ThermodynamicState = ROOM, **values: Any) -> Any:
    return StoredSimulationData(substance=substance, thermodynamic_state=state, **values)


@pytest.mark.parametrize(
    ("query", "stored"),
    [(SimulationDataQuery(), simulation()), (ForceFieldQuery(), ForceFieldData())],
)
def test_B12_an_empty_query_matches_every_object_under_the_empty_key(query: Any, stored: Any) -> None:
    assert query.apply(stored) == ()
    assert query.conditions() == ()
    assert query.apply(StoredEquilibrationData()) is None


def test_B12_a_force_field_is_found_by_its_source() -> None:
    stored = ForceFieldData(force_field_source=SmirnoffForceFieldSource("<SMIRNOFF/>"))
    query = ForceFieldQuery(force_field_source=SmirnoffForceFieldSource("<SMIRNOFF/>"))
    assert query.apply(stored) == (stored.force_field_source,)
    assert query.conditions() == (Equals("force_field_source", stored.force_field_source.digest),)
    assert stored.to_storage_query() == query
    query.force_field_source = Not(query.force_field_source)
    assert query.apply(stored) is None


def test_B12_queries_are_validated() -> None:
    query = SimulationDataQuery(substance_query=SubstanceQuery(components_only=True))
    for use in (query.validate, query.conditions, query.explain, lambda: query.apply(simulation())):
        with pytest.raises(InvalidDataError, match="substance is set to a Substance"):
            use()
    query.substance = AnyOf(WATER)
    with pytest.raises(InvalidDataError):
        query.validate()
    query.substance = WATER
    assert query.apply(simulation()) == (WATER,)


def test_matched_values_stand_in_declared_order_substance_first() -> None:
    stored = simulation(property_phase=PropertyPhase.Liquid, force_field_id="ff", number_of_molecules=5)
    query = SimulationDataQuery()
    query.number_of_molecules = 5
    query.force_field_id = "ff"
    query.property_phase = PropertyPhase.Liquid
    query.thermodynamic_state = ThermodynamicState("25 degC", "101.325 kPa")
    query.substance = WATER
    assert query.apply(stored) == (WATER, ROOM, PropertyPhase.Liquid, "ff", 5)
    hash(query.apply(stored))


@pytest.mark.parametrize(
    ("found", "wanted", "matches"),
    [
        (WATER, MIXTURE, True),
        (METHANOL, MIXTURE, True),
        (MIXTURE, MIXTURE, False),
        (Substance.from_components("CCO"), MIXTURE, False),
        (with_amount("O", Component.Role.Solute, MoleFraction(1.0)), MIXTURE, False),
        (with_amount("O", Component.Role.Solvent, ExactAmount(1)), MIXTURE, False),
        (
            with_amount("C", Component.Role.Solute, ExactAmount(1)),
            with_amount("C", Component.Role.Solute, ExactAmount(1)),
            True,
        ),
        (
            with_amount("C", Component.Role.Solute, ExactAmount(2)),
            with_amount("C", Component.Role.Solute, ExactAmount(1)),
            False,
        ),
    ],
)
def test_B11_components_only_asks_for_pure_data_in_the_same_role(
    found: Substance, wanted: Substance, matches: bool
) -> None:
    query = SimulationDataQuery(substance=wanted, substance_query=SubstanceQuery(components_only=True))
    assert query.apply(simulation(found)) == ((found,) if matches else None)
    (condition,) = query.conditions()
    assert isinstance(condition, Satisfies)
    assert condition.matches(found.identifier) == matches


def test_a_substance_query_without_wishes_asks_for_the_whole_substance() -> None:
    query = SimulationDataQuery(substance=MIXTURE, substance_query=SubstanceQuery())
    assert query.apply(simulation(MIXTURE)) == (MIXTURE,)
    assert query.apply(simulation(WATER)) is None


def test_components_are_contained_or_excluded_in_any_role_or_in_one() -> None:
    dilution = with_amount("C", Component.Role.Solute, ExactAmount(1))
    dilution.add_component(Component("O"), MoleFraction(1.0))
    stored = simulation(dilution)
    assert SimulationDataQuery(contains_components=["C", "[H]O[H]"]).apply(stored) == (dilution,)
    assert SimulationDataQuery(contains_components=["C{sol}"]).apply(stored) == (dilution,)
    assert SimulationDataQuery(contains_components=[Component("C")]).apply(stored) is None
    assert SimulationDataQuery(contains_components=["C", "CO"]).apply(stored) is None
    assert SimulationDataQuery(excludes_components=["CO", "CCO"]).apply(stored) == (dilution,)
    assert SimulationDataQuery(excludes_components=["CO", "C"]).apply(stored) is None
    assert SimulationDataQuery(contains_components=[]).apply(stored) == ()
    both = SimulationDataQuery(contains_components=["C"], excludes_components=["O"])
    assert both.apply(stored) is None
    with pytest.raises(InvalidDataError, match="a list of components"):
        both.contains_components = "O"
    with pytest.raises(InvalidDataError, match="not a SMILES"):
        both.contains_components = ["Xx"]


def test_ranges_include_their_ends_within_the_documented_tolerance() -> None:
    query = SimulationDataQuery(temperature=Between(290 * unit.kelvin, "25 degC"))
    assert query.apply(simulation()) == (ROOM.temperature,)
    assert query.conditions() == (Within("temperature", 290 - 1e-6, 298.15 + 1e-6),)
    assert query.apply(simulation(state=ThermodynamicState("298.1500009 K"))) is not None
    assert query.apply(simulation(state=ThermodynamicState("298.150002 K"))) is None
    query = SimulationDataQuery(pressure=Between(high="1 atm"))
    assert query.conditions() == (Within("pressure", None, 101325.0 + 1e-3),)
    assert query.apply(simulation()) == (ROOM.pressure,)
    assert query.apply(simulation(state=ThermodynamicState("298.15 K"))) is None


def test_a_temperature_alone_is_a_range_of_its_tolerance() -> None:
    query = SimulationDataQuery(temperature=25 * unit.kelvin + 273.15 * unit.kelvin)
    assert query.apply(simulation()) is not None
    assert query.apply(simulation(state=ThermodynamicState("298.1500009 K"))) is not None
    assert query.apply(simulation(state=ThermodynamicState("298.1500015 K"))) is None


def test_one_quantity_in_two_units_is_a_range() -> None:
    ends = unit.Quantity(101325.01, "pascal").to("bar"), unit.Quantity(101325.01, "pascal")
    for low, high in (ends, ends[::-1]):
        query = SimulationDataQuery(pressure=Between(low, high))
        assert query.apply(simulation(state=ThermodynamicState("298.15 K", "101325.01 Pa"))) is not None


def test_unset_values_match_no_criterion_but_not() -> None:
    stored = simulation()
    assert SimulationDataQuery(number_of_molecules=Between()).apply(stored) is None
    assert SimulationDataQuery(number_of_molecules=Not(Between())).apply(stored) == (None,)
    assert SimulationDataQuery(force_field_id=Not("a")).apply(stored) == (None,)
    assert SimulationDataQuery(substance=Not(WATER)).apply(StoredSimulationData()) == (None,)
    assert SimulationDataQuery(excludes_components=["O"]).apply(StoredSimulationData()) == (None,)


@pytest.mark.parametrize(
    ("criterion", "conditions"),
    [
        (5, (Equals("number_of_molecules", 5),)),
        (AnyOf(5), (Equals("number_of_molecules", 5),)),
        (AnyOf(5, 7), (OneOf.of("number_of_molecules", [5, 7]),)),
        (Not(5), (Negated(Equals("number_of_molecules", 5)),)),
        (Not(Not(5)), (Equals("number_of_molecules", 5),)),
        (
            Not(AnyOf(5, 7)),
            (Negated(Equals("number_of_molecules", 5)), Negated(Equals("number_of_molecules", 7))),
        ),
        (Between(5), (Within("number_of_molecules", 5, None),)),
        (
            AnyOf(Between(1, 3), 7),
            (Or((Within("number_of_molecules", 1, 3), Equals("number_of_molecules", 7))),),
        ),
        (
            AnyOf(Between(1, 3), Between(5)),
            (Or((Within("number_of_molecules", 1, 3), Within("number_of_molecules", 5, None))),),
        ),
        (
            AnyOf(1, AnyOf(2, Between(5)), 3),
            (Or((Within("number_of_molecules", 5, None), OneOf.of("number_of_molecules", [1, 2, 3]))),),
        ),
        (
            Not(AnyOf(Between(1, 3), 7)),
            (Negated(Within("number_of_molecules", 1, 3)), Negated(Equals("number_of_molecules", 7))),
        ),
        (
            AnyOf(1, Not(5)),
            (Or((Negated(Equals("number_of_molecules", 5)), Equals("number_of_molecules", 1))),),
        ),
        (
            Not(AnyOf(Not(AnyOf(1, Between(3))), 7)),
            (
                Or((Within("number_of_molecules", 3, None), Equals("number_of_molecules", 1))),
                Negated(Equals("number_of_molecules", 7)),
            ),
        ),
    ],
)
def test_criteria_become_conditions(criterion: Any, conditions: tuple[Any, ...]) -> None:
    query = SimulationDataQuery(number_of_molecules=criterion)
    assert query.conditions() == conditions


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temprature", 1, "do you mean temperature"),
        ("substance", 3, "a Substance is expected"),
        ("substance", "no substance", "no substance"),
        ("temperature", 298.15, "must be a quantity"),
        ("temperature", "3 m", "convertible to kelvin"),
        ("temperature", Between(300 * unit.kelvin, 290 * unit.kelvin), "is empty"),
        ("substance", Between(WATER, None), "has no order"),
        ("number_of_molecules", Between("1"), "an integer"),
        ("number_of_molecules", Between(float("nan")), "an integer"),
        ("number_of_molecules", AnyOf(1, "x"), "an integer"),
        ("property_phase", 2, "a PropertyPhase is expected"),
        ("limit", -1, "a number of objects"),
        ("order_by", "colour", "one of the columns"),
        ("substance_query", True, "a SubstanceQuery is expected"),
    ],
)
def test_wrong_criteria_are_refused_at_assignment(name: str, value: object, words: str) -> None:
    query = SimulationDataQuery()
    with pytest.raises(InvalidDataError, match=words):
        setattr(query, name, value)
    assert query == SimulationDataQuery()


def test_criteria_without_content_are_refused() -> None:
    with pytest.raises(InvalidDataError):
        AnyOf()
    with pytest.raises(InvalidDataError):
        Not(None)


def test_a_query_follows_a_substance_that_grows() -> None:
    substance = Substance()
    substance.add_component(Component("O"), MoleFraction(0.5))
    query = SimulationDataQuery(substance=substance)
    assert query.apply(simulation(MIXTURE)) is None
    substance.add_component(Component("CO"), MoleFraction(0.5))
    assert query.apply(simulation(MIXTURE)) == (MIXTURE,)


def test_the_query_of_an_object_holds_what_tells_measurements_apart() -> None:
    stored = simulation(number_of_molecules=5, statistical_inefficiency=2.0)
    query = stored.to_storage_query()
    assert type(query) is SimulationDataQuery
    assert query.apply(stored) == (WATER, ROOM, 5)
    assert query.statistical_inefficiency is None
    with pytest.raises(InvalidDataError, match="finds StoredEquilibrationData"):
        EquilibrationDataQuery.from_data_object(stored)


@pytest.mark.parametrize(
    "first",
    [
        "from simarchive import StoredSimulationData",
        "from simarchive.data import StoredSimulationData",
        "from simarchive.data.simulation import StoredSimulationData",
        "import simarchive.queries; from simarchive import StoredSimulationData",
        "import simarchive.queries.criteria; from simarchive import StoredSimulationData",
    ],
)
def test_an_object_has_its_query_whatever_was_imported_first(first: str) -> None:
    program = f"{first}; print(type(StoredSimulationData().to_storage_query()).__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "SimulationDataQuery\n"


def test_a_query_on_a_base_class_finds_all_kinds_of_simulations() -> None:
    query = BaseSimulationDataQuery(substance=WATER)
    assert query.apply(simulation()) == (WATER,)
    assert query.apply(StoredEquilibrationData(substance=WATER)) == (WATER,)


def test_trained_models_are_found_by_what_they_are_for() -> None:
    model = TrainedModelData(name="m", framework="torch", substances=[WATER, METHANOL])
    query = TrainedModelQuery(framework="torch", contains_components=["O", "CO"])
    assert query.apply(model) == ("torch", (WATER, METHANOL))
    hash(query.apply(model))
    assert TrainedModelQuery(contains_components=["CCO"]).apply(model) is None
    assert TrainedModelQuery(substances=[METHANOL, WATER]).apply(model) == ((WATER, METHANOL),)


def test_explain_says_what_the_index_does() -> None:
    query = SimulationDataQuery(
        substance=WATER, temperature=AnyOf(Between("290 K"), "280 K"), order_by="-temperature", limit=2
    )
    text = query.explain()
    assert "index: substance is 'O{solv}{x=1.000000}'" in text
    assert "index: temperature is at least 289.999999 or is from 279.999999 to 280.000001" in text
    assert "ordered by temperature, descending" in text
    assert "at most 2 objects" in text
    assert "every object matches" in SimulationDataQuery().explain()


def test_queries_are_values() -> None:
    query = SimulationDataQuery(substance=WATER, temperature=Between("290 K", None), limit=3)
    assert pickle.loads(pickle.dumps(query)) == query
    assert repr(query) == (
        "SimulationDataQuery(substance=<Substance O{solv}{x=1.000000}>, "
        "temperature=Between('290 K', None), limit=3)"
    )
    del query.limit
    assert query.limit is None
    with pytest.raises(AttributeError):
        _ = query.colour

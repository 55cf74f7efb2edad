"""Random objects and queries: what the index is asked agrees with the last word on the object."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simarchive.chemistry import (
    Component,
    ExactAmount,
    MoleFraction,
    PropertyPhase,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.chemistry.trees import same_tree
from simarchive.data import StoredEquilibrationData
from simarchive.queries import AnyOf, Between, EquilibrationDataQuery, Not, SubstanceQuery

COMPONENTS = [Component(smiles, role) for smiles in ("O", "CO", "C") for role in list(Component.Role)[:2]]
TEMPERATURES = [290.0, 298.15, 298.1500009, 298.150002, 298.1504, 310.0]
PRESSURES = [101325.0, 101325.0005, 101325.01, 2e5]


@st.composite
def substances(draw: Any) -> Substance:
    substance = Substance()
    chosen = draw(st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=3, unique=True))
    for component in chosen:
        if draw(st.booleans()):
            substance.add_component(component, MoleFraction(draw(st.sampled_from([0.25, 1 / 3]))))
        if component not in substance or draw(st.integers(0, 4)) == 0:
            substance.add_component(component, ExactAmount(draw(st.integers(1, 2))))
    return substance


def quantities(numbers: list[float], *units: str) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda number, name: unit.Quantity(number, units[0]).to(name),
        st.sampled_from(numbers),
        st.sampled_from(units),
    )


temperatures = quantities(TEMPERATURES, "kelvin", "degC", "millikelvin")
pressures = quantities(PRESSURES, "pascal", "atm", "bar")
states = st.builds(ThermodynamicState, temperatures, st.none() | pressures)
phases = st.sampled_from([PropertyPhase.Liquid, PropertyPhase.Gas, PropertyPhase.Liquid | PropertyPhase.Gas])
numbers = st.integers(-1, 4)
inefficiencies = st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")])
names = st.sampled_from(["a", "b", "c"])

objects = st.builds(
    StoredEquilibrationData,
    substance=st.none() | substances(),
    thermodynamic_state=st.none() | states,
    property_phase=st.none() | phases,
    force_field_id=st.none() | names,
    statistical_inefficiency=st.none() | inefficiencies,
    number_of_molecules=st.none() | numbers,
    calculation_layer=st.none() | names,
)


def criteria(values: st.SearchStrategy[Any], *, ordered: bool = False) -> st.SearchStrategy[Any]:
    plain = values
    if ordered:
        plain = plain | st.tuples(st.none() | values, st.none() | values).map(_between)
    return st.recursive(
        plain,
        lambda inner: inner.map(Not) | st.lists(inner, min_size=1, max_size=3).map(lambda some: AnyOf(*some)),
        max_leaves=4,
    )


def _between(ends: tuple[Any, Any]) -> Between:
    low, high = ends
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Between(low, high)


finite = st.sampled_from([0.0, -0.0, 1.5, float("inf")])
patterns = st.lists(st.sampled_from([*COMPONENTS, "O", "CO"]), min_size=1, max_size=2)
queries = st.builds(
    lambda **chosen: EquilibrationDataQuery(**chosen),
    substance=st.none() | criteria(substances()),
    thermodynamic_state=st.none() | criteria(states),
    temperature=st.none() | criteria(temperatures, ordered=True),
    pressure=st.none() | criteria(pressures, ordered=True),
    property_phase=st.none() | criteria(phases),
    force_field_id=st.none() | criteria(names),
    statistical_inefficiency=st.none() | criteria(finite, ordered=True),
    number_of_molecules=st.none() | criteria(numbers, ordered=True),
    calculation_layer=st.none() | criteria(names),
    contains_components=st.none() | patterns,
    excludes_components=st.none() | patterns,
)
single = st.sampled_from(
    ["substance", "thermodynamic_state", "temperature", "pressure", "property_phase", "number_of_molecules"]
)


def agree(query: EquilibrationDataQuery, stored: StoredEquilibrationData) -> bool:
    values = stored.index_values()
    by_index = all(condition.matches(values[condition.column]) for condition in query.conditions())
    return by_index == (query.apply(stored) is not None)


@settings(max_examples=150, deadline=None)
@given(queries, objects)
def test_conditions_agree_with_apply(query: EquilibrationDataQuery, stored: StoredEquilibrationData) -> None:
    assert agree(query, stored)
    # One criterion at a time, so that a match is not too rare to show a fault.
    for name in query.criterion_names():
        value = getattr(query, name)
        if value is not None:
            assert agree(EquilibrationDataQuery(**{name: value}), stored)


@settings(max_examples=100, deadline=None)
@given(substances(), substances())
def test_conditions_agree_with_apply_for_components_only(wanted: Substance, found: Substance) -> None:
    query = EquilibrationDataQuery(substance=wanted, substance_query=SubstanceQuery(components_only=True))
    for substance in (found, wanted, *(only(wanted, component) for component in wanted)):
        assert agree(query, StoredEquilibrationData(substance=substance))


def only(substance: Substance, component: Component) -> Substance:
    pure = Substance()
    for amount in substance.get_amounts(component):
        pure.add_component(component, amount)
    return pure


@settings(max_examples=100, deadline=None)
@given(objects)
def test_an_object_matches_its_own_query(stored: StoredEquilibrationData) -> None:
    query = stored.to_storage_query()
    assert query.apply(stored) is not None
    assert stored.is_same_measurement(stored)


@settings(max_examples=100, deadline=None)
@given(objects, objects)
def test_being_the_same_measurement_is_symmetric(
    first: StoredEquilibrationData, second: StoredEquilibrationData
) -> None:
    assert first.is_same_measurement(second) == second.is_same_measurement(first)
    assert (first == second) == (second == first)
    if first.is_same_measurement(second):
        assert first.to_storage_query().apply(second) is not None


@settings(max_examples=100, deadline=None)
@given(substances(), states)
def test_substances_and_states_come_back(substance: Substance, state: ThermodynamicState) -> None:
    copy = Substance.from_tree(substance.to_tree())
    assert (copy, copy.identifier, hash(copy)) == (substance, substance.identifier, hash(substance))
    assert same_tree(copy.to_tree(), substance.to_tree())
    assert Substance.from_identifier(substance.identifier) == substance
    again = ThermodynamicState.from_tree(state.to_tree())
    assert (again, again.kelvin, again.pascal) == (state, state.kelvin, state.pascal)
    assert same_tree(again.to_tree(), state.to_tree())


@given(st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_same_tree_sees_every_bit_of_a_number(first: float, second: float) -> None:
    assert same_tree({"a": [first]}, {"a": [first]})
    same_bits = np.float64(first).tobytes() == np.float64(second).tobytes()
    assert same_tree([first], [second]) == same_bits
    assert not same_tree([1], [1.0])
    assert not same_tree([True], [1])

"""Substances, amounts, states, phases, units and force field sources as values."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simarchive.chemistry import (
    Component,
    ExactAmount,
    ForceFieldSource,
    FoyerForceFieldSource,
    LigParGenForceFieldSource,
    MoleFraction,
    ObservableArray,
    PropertyPhase,
    SmirnoffForceFieldSource,
    Substance,
    ThermodynamicState,
    TLeapForceFieldSource,
    unit,
)
from simarchive.chemistry.units import (
    as_quantity,
    magnitude_in,
    quantity_from_tree,
    quantity_to_tree,
    same_quantity,
)
from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.ground.conditions import Within
from simarchive.queries import Between, SimulationDataQuery


@pytest.mark.parametrize(
    ("smiles", "canonical"),
    [
        ("[H]O[H]", "O"),
        ("OC", "CO"),
        ("[OH2:1]", "O"),
        ("C1=CC=CC=C1", "c1ccccc1"),
        ("C1=CC=CO1", "c1ccoc1"),
        ("O[C@@H](C)F", "C[C@H](O)F"),
        ("F/C=C/F", "F/C=C/F"),
        ("[Na+].[Cl-]", "[Cl-].[Na+]"),
        ("[2H]O[2H]", "[2H]O[2H]"),
    ],
)
def test_smiles_are_canonical_isomeric_and_without_maps(smiles: str, canonical: str) -> None:
    assert Component(smiles).smiles == canonical


@pytest.mark.parametrize("smiles", ["Cx", "", " ", "C(", "C1CC", "F(C)(C)C"])
def test_unknown_smiles_is_refused_by_its_name(smiles: str) -> None:
    with pytest.raises(InvalidDataError, match="is not a SMILES"):
        Component(smiles)


def test_component_is_a_frozen_value() -> None:
    water = Component("O", Component.Role.Solvent)
    assert water == Component("[H]O[H]") == Component("O", "solv")  # type: ignore[arg-type]
    assert hash(water) == hash(Component("O"))
    assert water != Component("O", Component.Role.Solute)
    assert (water.identifier, repr(water)) == ("O{solv}", "<Component O{solv}>")
    assert pickle.loads(pickle.dumps(water)) == water
    with pytest.raises(AttributeError):
        water.smiles = "C"  # type: ignore[misc]
    with pytest.raises(InvalidDataError, match="use one of solv, sol, lig, rec"):
        Component("O", "water")  # type: ignore[arg-type]


def test_stored_smiles_is_kept_and_rdkit_not_asked() -> None:
    assert Component.from_tree({"smiles": "OC", "role": "sol"}).identifier == "OC{sol}"


def test_B14_mole_fractions_equal_by_six_decimals_have_equal_hashes() -> None:
    first, second = MoleFraction(0.3333333), MoleFraction(0.33333334)
    assert first == second
    assert hash(first) == hash(second)
    near, other = MoleFraction(0.5), MoleFraction(0.500001)  # within numpy's isclose, not the same identifier
    assert near != other
    assert MoleFraction(1.0) != ExactAmount(1)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, 1e-7, float("nan"), "1", True])
def test_bad_mole_fractions_are_refused(value: object) -> None:
    with pytest.raises(InvalidDataError, match="mole fraction"):
        MoleFraction(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True])
def test_bad_exact_amounts_are_refused(value: object) -> None:
    with pytest.raises(InvalidDataError, match="exact amount"):
        ExactAmount(value)  # type: ignore[arg-type]


def test_substance_is_told_by_its_sorted_identifier() -> None:
    mixture = Substance.from_components("O", "CO")
    assert mixture.identifier == "CO{solv}{x=0.500000}|O{solv}{x=0.500000}"
    assert mixture == Substance.from_components("CO", "O")
    assert hash(mixture) == hash(Substance.from_components("CO", "O"))
    assert [component.smiles for component in mixture] == ["O", "CO"]
    assert (len(mixture), mixture.number_of_components) == (2, 2)
    assert repr(Substance.from_components("O")) == "<Substance O{solv}{x=1.000000}>"
    assert Substance.from_identifier(mixture.identifier) == mixture
    assert Substance.from_tree(mixture.to_tree()).to_tree() == mixture.to_tree()


def test_amounts_of_one_type_add_up() -> None:
    substance = Substance()
    substance.add_component(Component("O"), MoleFraction(0.25))
    substance.add_component(Component("O"), MoleFraction(0.25))
    substance.add_component(Component("O"), ExactAmount(2))
    substance.add_component(Component("O"), ExactAmount(3))
    assert substance.identifier == "O{solv}{n=5,x=0.500000}"
    assert substance.get_amounts("O{solv}") == substance.get_amounts(Component("O"))
    with pytest.raises(NotFoundError, match="no component CO"):
        substance.get_amounts("CO{solv}")


def test_fractions_beyond_one_leave_the_substance_as_it_was() -> None:
    substance = Substance.from_components("O")
    with pytest.raises(InvalidDataError, match="more than 1"):
        substance.add_component(Component("CO"), MoleFraction(0.1))
    assert substance == Substance.from_components("O")


def test_partial_substance_exists_but_is_not_valid() -> None:
    substance = Substance()
    with pytest.raises(InvalidDataError, match="at least one component"):
        substance.validate()
    substance.add_component(Component("O"), MoleFraction(0.4))
    with pytest.raises(InvalidDataError, match=r"add up to 0\.4"):
        substance.validate()
    substance.add_component(Component("CO"), MoleFraction(0.6))
    substance.validate()


def test_thirds_add_up_to_one() -> None:
    Substance.from_components("O", "CO", "CCO").validate()


def test_numbers_of_molecules_follow_the_fractions() -> None:
    dilution = Substance()
    dilution.add_component(Component("C", Component.Role.Solute), ExactAmount(1))
    dilution.add_component(Component("O"), MoleFraction(0.75))
    dilution.add_component(Component("CO"), MoleFraction(0.25))
    assert dilution.get_molecules_per_component(101) == {"C{sol}": 1, "O{solv}": 75, "CO{solv}": 25}
    assert dilution.get_molecules_per_component(100, count_exact_amount=False)["O{solv}"] == 75
    assert dilution.to_substance_n_molecules(11).identifier == (
        "CO{solv}{x=0.222222}|C{sol}{n=1}|O{solv}{x=0.777778}"  # halves are rounded down
    )
    with pytest.raises(InvalidDataError, match="too few"):
        dilution.get_molecules_per_component(2)
    with pytest.raises(InvalidDataError, match="tolerance"):
        dilution.get_molecules_per_component(4, tolerance=0.01)


def test_too_many_molecules_by_rounding_are_truncated() -> None:
    substance = Substance()
    for smiles, fraction in (("O", 0.59), ("CO", 0.16), ("C", 0.25)):
        substance.add_component(Component(smiles), MoleFraction(fraction))
    numbers = substance.get_molecules_per_component(10)
    assert sum(numbers.values()) <= 10
    with pytest.raises(InvalidDataError, match="exceeds"):
        Substance.from_components("O", "CO", "C").get_molecules_per_component(2, truncate_n_molecules=False)


def test_B16_celsius_equals_kelvin_and_comes_back() -> None:
    state = ThermodynamicState("25 degC", "1 atm")
    assert state == ThermodynamicState(298.15 * unit.kelvin, 101.325 * unit.kilopascal)
    copy = ThermodynamicState.from_tree(state.to_tree())
    assert copy == state
    assert copy.to_tree() == state.to_tree()
    assert copy.to_tree()["temperature"] == {"value": 25, "unit": "degree_Celsius"}
    assert state.kelvin == 298.15


def test_B13_states_are_equal_by_three_decimals() -> None:
    state = ThermodynamicState("298.15 K", "1 bar")
    assert state == ThermodynamicState("298.1504 K", "1 bar")
    assert hash(state) == hash(ThermodynamicState("298.1504 K", "1 bar"))
    assert state != ThermodynamicState("298.151 K", "1 bar")
    assert state != ThermodynamicState("298.15 K")
    assert state.identifier == "T=298.150 K|P=100000.000 Pa"
    assert repr(ThermodynamicState("298.15 K", "1.0 atm")) == "<ThermodynamicState T=298.15 K P=1.0 atm>"


@pytest.mark.parametrize(
    "temperature", ["3 m", "-1 K", "0 K", "-300 degC", "nan K", "298.15", 298.15, "5 delta_degC", None]
)
def test_bad_temperatures_are_refused(temperature: object) -> None:
    with pytest.raises(InvalidDataError):
        ThermodynamicState(temperature)  # type: ignore[arg-type]


@pytest.mark.parametrize("pressure", ["-1 atm", "0 Pa", "1 K", 1.0])
def test_bad_pressures_are_refused(pressure: object) -> None:
    with pytest.raises(InvalidDataError):
        ThermodynamicState("298.15 K", pressure)  # type: ignore[arg-type]


def test_beta_is_the_inverse_of_gas_constant_times_temperature() -> None:
    state = ThermodynamicState("25 degC")
    assert state.inverse_beta.to("kJ/mol").magnitude == pytest.approx(2.4789570, rel=1e-6)
    assert (state.beta * state.inverse_beta).to("").magnitude == pytest.approx(1.0)


def test_state_cannot_be_changed() -> None:
    with pytest.raises(InvalidDataError, match="cannot be changed"):
        ThermodynamicState("298.15 K").temperature = 3  # type: ignore[misc]


def test_quantities_of_another_registry_are_taken_by_the_text_of_their_unit() -> None:
    foreign = pint.UnitRegistry()
    state = ThermodynamicState(foreign.Quantity(25, "degC"), 1.0 * foreign.atmosphere)
    assert state == ThermodynamicState("298.15 K", "1 atm")
    assert state.temperature == 298.15 * unit.kelvin
    assert pickle.loads(pickle.dumps(state)) == state


def test_integers_in_quantities_stay_integers() -> None:
    quantity = as_quantity("298 K", "it")
    tree = quantity_to_tree(quantity)
    assert type(tree["value"]) is int
    assert same_quantity(quantity_from_tree(tree, "it"), quantity)


@pytest.mark.parametrize("tree", [{"value": 1}, {"value": 1, "unit": "blah"}, {"value": "1", "unit": "K"}, 3])
def test_a_bad_quantity_tree_is_refused(tree: object) -> None:
    with pytest.raises(InvalidDataError):
        quantity_from_tree(tree, "it")


def test_phases_read_and_write_as_text() -> None:
    both = PropertyPhase.Gas | PropertyPhase.Liquid
    assert (str(both), repr(PropertyPhase.Liquid)) == ("Liquid + Gas", "<PropertyPhase Liquid>")
    assert PropertyPhase.from_string(str(both)) == both
    assert PropertyPhase.from_string("") == PropertyPhase.Undefined
    with pytest.raises(InvalidDataError, match="not a phase"):
        PropertyPhase.from_string("Plasma")
    with pytest.raises(InvalidDataError):
        PropertyPhase.from_tree(8)


SOURCES = [
    SmirnoffForceFieldSource("<SMIRNOFF/>"),
    TLeapForceFieldSource("leaprc.gaff", 9.0 * unit.angstrom),
    LigParGenForceFieldSource(LigParGenForceFieldSource.ChargeModel.CM1A_1_14, request_url="http://a/"),
    FoyerForceFieldSource("oplsaa"),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.type_name)
def test_force_field_sources_come_back_equal(source: ForceFieldSource) -> None:
    copy = ForceFieldSource.from_tree(source.to_tree())
    assert type(copy) is type(source)
    assert copy == source
    assert hash(copy) == hash(source)
    assert copy.to_tree() == source.to_tree()
    assert all((source == other) == (source is other) for other in SOURCES)


def test_B26_only_known_force_field_types_are_built() -> None:
    with pytest.raises(InvalidDataError, match="not a type of force field"):
        ForceFieldSource.from_tree({"type": "os.system", "inner_xml": "x"})


def test_smirnoff_source_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ff.offxml").write_text("<SMIRNOFF/>")
    assert SmirnoffForceFieldSource.from_path(tmp_path / "ff.offxml") == SOURCES[0]
    with pytest.raises(NotFoundError, match="no force field file"):
        SmirnoffForceFieldSource.from_path(tmp_path / "other.offxml")


def test_bad_force_fields_are_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"leaprc\.gaff"):
        TLeapForceFieldSource("leaprc.ff14SB")
    with pytest.raises(InvalidDataError, match="cutoff"):
        TLeapForceFieldSource(cutoff="9 kelvin")
    with pytest.raises(InvalidDataError, match="must be a text"):
        SmirnoffForceFieldSource(None)  # type: ignore[arg-type]


def test_importing_queries_does_not_import_heavy_packages() -> None:
    program = (
        "import sys, simarchive.queries; "
        "print(sorted({'rdkit', 'pandas', 'MDAnalysis', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(
    st.floats(1e-3, 1e6),
    st.sampled_from([("standard_atmosphere", "pascal"), ("bar", "pascal"), ("degree_Celsius", "kelvin")]),
)
def test_conversion_gives_the_very_number_of_pint(number: float, units: tuple[str, str]) -> None:
    quantity = unit.Quantity(number, units[0])
    assert magnitude_in(quantity, units[1]) == quantity.to(units[1]).magnitude


def test_values_outlive_another_application_registry() -> None:
    before = ThermodynamicState("25 degC", "1 atm")
    array = ObservableArray(unit.Quantity(np.array([1.0, 2.0]), "kelvin"))
    previous = unit.get()
    other = pint.UnitRegistry()
    try:
        pint.set_application_registry(other)  # type: ignore[no-untyped-call]
        assert ThermodynamicState(298.15 * other.kelvin, 1 * other.atmosphere) == before
        assert ThermodynamicState(before.temperature, "1 atm") == before
        assert ObservableArray(array.value) == array
        assert ObservableArray.from_tree(array.to_tree()) == array
        query = SimulationDataQuery(temperature=Between(before.temperature, 300 * other.kelvin))
        assert query.conditions() == (Within("temperature", 298.15 - 1e-6, 300 + 1e-6),)
    finally:
        pint.set_application_registry(previous)  # type: ignore[no-untyped-call]

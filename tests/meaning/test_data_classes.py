"""Data classes: fields, validation, documents, index columns, duplicates, and classes of users."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pytest

from simarchive.chemistry import (
    Observable,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    Quantity,
    SmirnoffForceFieldSource,
    Substance,
    ThermodynamicState,
    TLeapForceFieldSource,
    unit,
)
from simarchive.data import (
    UNSET,
    BaseSimulationData,
    BaseStoredData,
    ForceFieldData,
    InUnit,
    NotIndexed,
    ReplaceableData,
    StoredEquilibrationData,
    StoredFreeEnergyData,
    StoredSimulationData,
    TrainedModelData,
    data_class_named,
    name_and_subclasses,
    register_data_class,
    registered_data_classes,
    registered_name,
)
from simarchive.data import registry as registry_module
from simarchive.errors import ConflictError, FormatError, InvalidDataError
from simarchive.ground.conditions import Column, ColumnKind
from simarchive.queries import Between, SimulationDataQuery, query_class_for


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry_module, "_classes", dict(registry_module._classes))
    yield


def shared_fields() -> dict[str, Any]:
    return {
        "substance": Substance.from_components("O"),
        "thermodynamic_state": ThermodynamicState("298.15 K", "1 atm"),
        "property_phase": PropertyPhase.Liquid,
        "source_calculation_id": "calculation",
        "force_field_id": "force-field",
    }


def simulation(**changes: Any) -> StoredSimulationData:
    values = shared_fields() | {
        "coordinate_file_name": "output.pdb",
        "trajectory_file_name": "run/trajectory.dcd",
        "observables": ObservableFrame(
            {"Temperature": ObservableArray(np.array([300.0, np.nan]) * unit.kelvin)}
        ),
        "statistical_inefficiency": 2.5,
        "number_of_molecules": 100,
    }
    return StoredSimulationData(**(values | changes))


def equilibration(**changes: Any) -> StoredEquilibrationData:
    values = shared_fields() | {
        "coordinate_file_name": "output.pdb",
        "statistical_inefficiency": 2.5,
        "number_of_molecules": 100,
        "max_number_of_molecules": 101,
    }
    return StoredEquilibrationData(**(values | changes))


def free_energy(**changes: Any) -> StoredFreeEnergyData:
    values = shared_fields() | {
        "free_energy_difference": Observable("1 kJ/mol", error="0.1 kJ/mol"),
        "topology_file_name": "topology.pdb",
        "start_state_trajectory": "start.dcd",
        "end_state_trajectory": "end.dcd",
    }
    return StoredFreeEnergyData(**(values | changes))


def model(**changes: Any) -> TrainedModelData:
    values = {
        "name": "density-1",
        "framework": "torch",
        "target_property": "density",
        "substances": [Substance.from_components("O"), Substance.from_components("CO", "O")],
        "training_data_keys": ["a", "b"],
        "metrics": {"rmse": 0.5, "mae": float("nan")},
    }
    return TrainedModelData(**(values | changes))


def force_field() -> ForceFieldData:
    return ForceFieldData(force_field_source=SmirnoffForceFieldSource("<SMIRNOFF/>"))


OBJECTS = [simulation, equilibration, free_energy, model, force_field]


@pytest.mark.parametrize("make", OBJECTS)
def test_B25_every_class_reads_back_equal(make: Any) -> None:
    stored = make()
    stored.validate()
    copy = type(stored).from_document(stored.check_readable(), 1)
    assert copy == stored
    assert copy is not stored


@pytest.mark.parametrize("make", OBJECTS)
def test_objects_built_empty_and_filled_equal_those_built_by_keywords(make: Any) -> None:
    filled, keywords = type(make())(), make()
    assert filled != keywords
    for name in type(keywords).model_fields:
        assert getattr(filled, name) is None
        setattr(filled, name, getattr(keywords, name))
    assert filled == keywords


@pytest.mark.parametrize("make", OBJECTS)
def test_missing_values_are_all_named(make: Any) -> None:
    empty = type(make())()
    with pytest.raises(InvalidDataError) as caught:
        empty.validate()
    required = [name for name in type(empty).model_fields if name in str(caught.value)]
    assert required
    for name in required[:1]:
        partial = make()
        setattr(partial, name, None)
        with pytest.raises(InvalidDataError, match=f"lacks {name}"):
            partial.validate()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("substance", "O", "StoredSimulationData.substance: a Substance is expected, not 'O' (str)"),
        ("thermodynamic_state", 298.15, "a ThermodynamicState is expected, not 298.15 (float)"),
        ("property_phase", 2, "a PropertyPhase is expected, not 2 (int)"),
        ("number_of_molecules", "180", "an integer of at most 64 bits is expected, not '180' (str)"),
        ("number_of_molecules", 180.0, "an integer"),
        ("number_of_molecules", True, "an integer"),
        ("number_of_molecules", 2**63, "64 bits"),
        ("statistical_inefficiency", "1", "a number is expected"),
        ("statistical_inefficiency", 2**60 + 1, "a number is expected"),
        ("source_calculation_id", 3, "a text is expected, not 3 (int)"),
        ("source_calculation_id", "\udc80", "not valid Unicode"),
        ("source_calculation_id", "a\0", "NUL"),
        ("coordinate_file_name", "/etc/passwd", "must be a relative path"),
        ("coordinate_file_name", "../x.pdb", "must be a relative path"),
        ("observables", {}, "a ObservableFrame is expected"),
    ],
)
def test_wrong_types_are_refused_at_assignment(name: str, value: object, words: str) -> None:
    stored = simulation()
    before = getattr(stored, name)
    with pytest.raises(InvalidDataError) as caught:
        setattr(stored, name, value)
    assert words in str(caught.value)
    assert getattr(stored, name) is before
    with pytest.raises(InvalidDataError):
        StoredSimulationData(**{name: value})


def test_unknown_fields_are_refused_with_a_hint() -> None:
    with pytest.raises(InvalidDataError, match="do you mean substance"):
        simulation().substanse = 1  # type: ignore[attr-defined]
    with pytest.raises(InvalidDataError, match="has no field 'colour'"):
        simulation(colour=1)


def test_numpy_numbers_are_taken_as_plain_ones() -> None:
    stored = simulation(number_of_molecules=np.int32(5), statistical_inefficiency=np.float32(0.5))
    assert type(stored.number_of_molecules) is int
    assert type(stored.statistical_inefficiency) is float
    assert type(simulation(statistical_inefficiency=1).statistical_inefficiency) is float


def test_incomplete_values_are_refused_by_validate() -> None:
    with pytest.raises(InvalidDataError, match=r"StoredSimulationData\.substance: a substance needs"):
        simulation(substance=Substance()).validate()
    with pytest.raises(InvalidDataError, match="without a value"):
        free_energy(free_energy_difference=Observable()).validate()
    changed = model()
    assert changed.metrics is not None
    changed.metrics["rmse"] = "good"  # type: ignore[assignment]
    with pytest.raises(InvalidDataError, match="metrics"):
        changed.validate()
    with pytest.raises(InvalidDataError, match="substances or domain"):
        model(substances=None).validate()
    model(substances=None, domain="alcohols").validate()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "unknown field.s. colour"),
        ({"substance": None}, "StoredSimulationData.substance: a substance"),
        ({"number_of_molecules": 5.0}, "number_of_molecules: an integer"),
        ({"coordinate_file_name": "../x"}, "relative path"),
        ({"property_phase": 9}, "not a phase"),
    ],
)
def test_documents_are_read_without_leniency(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidDataError, match=words):
        StoredSimulationData.from_document(simulation().to_document() | change)


def test_a_document_that_lacks_fields_is_refused_by_their_names() -> None:
    tree = simulation().to_document()
    del tree["substance"], tree["observables"]
    with pytest.raises(InvalidDataError, match=r"lacks the field.s. substance, observables"):
        StoredSimulationData.from_document(tree)
    with pytest.raises(InvalidDataError, match="mapping"):
        StoredSimulationData.from_document([1])


def test_a_document_of_a_later_version_is_refused() -> None:
    with pytest.raises(FormatError, match="version 2; this program reads up to 1"):
        StoredSimulationData.from_document(simulation().to_document(), 2)


def test_index_columns_follow_from_the_annotations() -> None:
    assert StoredEquilibrationData.index_columns() == (
        Column("substance", ColumnKind.CATEGORY),
        Column("thermodynamic_state", ColumnKind.CATEGORY),
        Column("temperature", ColumnKind.REAL),
        Column("pressure", ColumnKind.REAL),
        Column("property_phase", ColumnKind.INTEGER),
        Column("source_calculation_id", ColumnKind.IDENTIFIER),
        Column("force_field_id", ColumnKind.CATEGORY),
        Column("statistical_inefficiency", ColumnKind.REAL),
        Column("number_of_molecules", ColumnKind.INTEGER),
        Column("max_number_of_molecules", ColumnKind.INTEGER),
        Column("calculation_layer", ColumnKind.CATEGORY),
    )
    assert equilibration(thermodynamic_state=ThermodynamicState("25 degC")).index_values() == {
        "substance": "O{solv}{x=1.000000}",
        "thermodynamic_state": "T=298.150 K",
        "temperature": 298.15,
        "pressure": None,
        "property_phase": 2,
        "source_calculation_id": "calculation",
        "force_field_id": "force-field",
        "statistical_inefficiency": 2.5,
        "number_of_molecules": 100,
        "max_number_of_molecules": 101,
        "calculation_layer": None,
    }
    assert force_field().index_values() == {"force_field_source": force_field().force_field_source.digest}
    assert model().index_values()["substances"] == (
        "CO{solv}{x=0.500000}|O{solv}{x=0.500000}\nO{solv}{x=1.000000}"
    )


def test_member_names_are_those_of_the_file_fields() -> None:
    assert simulation().member_names() == ("output.pdb", "run/trajectory.dcd")
    assert simulation(trajectory_file_name="").member_names() == ("output.pdb",)
    assert force_field().member_names() == ()
    assert [cls.has_ancillary_data() for cls in (ForceFieldData, TrainedModelData)] == [False, True]


def test_force_fields_hash_by_their_canonical_json() -> None:
    assert hash(force_field()) == hash(force_field())
    assert force_field() != ForceFieldData(force_field_source=TLeapForceFieldSource())
    with pytest.raises(TypeError, match="unhashable"):
        hash(simulation())


def test_B01_B17_the_lower_inefficiency_wins_and_ties_go_to_the_new() -> None:
    for make in (simulation, equilibration):
        low, high = make(statistical_inefficiency=1.0), make(statistical_inefficiency=3.0)
        keep = type(low).most_information
        assert keep(low, high) is low
        assert keep(high, low) is low
        tie = make(statistical_inefficiency=1.0)
        assert keep(low, tie) is tie
        unknown = make(statistical_inefficiency=float("nan"))
        assert keep(high, unknown) is high
        assert keep(unknown, high) is high
        assert keep(low, make(force_field_id="other")) is None


def test_B02_both_free_energies_are_kept() -> None:
    first, second = free_energy(), free_energy(free_energy_difference=Observable("2 kJ/mol"))
    assert first.is_same_measurement(second)
    assert StoredFreeEnergyData.most_information(first, second) is None


def test_B29_data_with_and_without_a_layer_are_different_in_both_orders() -> None:
    with_layer, without = equilibration(calculation_layer="SimulationLayer"), equilibration()
    assert not with_layer.is_same_measurement(without)
    assert not without.is_same_measurement(with_layer)
    assert without.is_same_measurement(equilibration(statistical_inefficiency=9.0))
    assert StoredEquilibrationData.most_information(without, with_layer) is None


def test_B03_objects_with_colliding_hashes_are_not_equal() -> None:
    assert hash(-1) == hash(-2)
    assert simulation(number_of_molecules=-1) != simulation(number_of_molecules=-2)
    assert not simulation(number_of_molecules=-1).is_same_measurement(simulation(number_of_molecules=-2))
    assert not simulation().is_same_measurement(equilibration())


def test_registered_names_are_found_with_their_subclasses() -> None:
    assert data_class_named("StoredSimulationData") is StoredSimulationData
    assert data_class_named("os.system") is None
    assert registered_name(ForceFieldData) == "ForceFieldData"
    assert set(name_and_subclasses(BaseSimulationData)) == {
        "StoredSimulationData",
        "StoredEquilibrationData",
        "StoredFreeEnergyData",
    }
    assert name_and_subclasses(ForceFieldData) == ("ForceFieldData",)
    assert TrainedModelData in registered_data_classes()


class Method(enum.Enum):
    Einstein = "einstein"
    GreenKubo = "green-kubo"


def test_B22_a_class_of_a_user_is_found_by_a_query_on_its_parent() -> None:
    @register_data_class("DiffusionData", version=1)
    class DiffusionData(StoredSimulationData):
        coefficient: Annotated[Quantity, InUnit("nanometer ** 2 / nanosecond")]
        n_blocks: int
        fit_quality: float
        method: Method | None = None
        comment: Annotated[str, NotIndexed()] | None = None
        converged: bool = UNSET
        curve: np.ndarray[Any, Any] = UNSET

    values = {name: getattr(simulation(), name) for name in StoredSimulationData.model_fields}
    stored = DiffusionData(**values)
    with pytest.raises(InvalidDataError, match="lacks coefficient, n_blocks, fit_quality, converged, curve"):
        stored.validate()
    stored.coefficient = 2.3 * unit.angstrom**2 / unit.picosecond
    stored.n_blocks, stored.fit_quality, stored.converged = 5, 0.99, True
    stored.method, stored.comment, stored.curve = Method.Einstein, "a run", np.array([1.0, np.nan])
    stored.validate()
    document = stored.check_readable()
    assert DiffusionData.from_document(document, 1) == stored
    assert document["method"] == "einstein"
    own = DiffusionData.index_columns()[len(StoredSimulationData.index_columns()) :]
    assert [(column.name, column.kind.value) for column in own] == [
        ("coefficient", "real"),
        ("n_blocks", "integer"),
        ("fit_quality", "real"),
        ("method", "category"),
        ("converged", "integer"),
    ]
    assert stored.index_values()["coefficient"] == pytest.approx(23.0)

    assert name_and_subclasses(StoredSimulationData) == ("StoredSimulationData", "DiffusionData")
    parent_query = SimulationDataQuery(substance=Substance.from_components("O"))
    assert parent_query.apply(stored) == (stored.substance,)
    query = query_class_for(DiffusionData)()
    assert isinstance(query, SimulationDataQuery)
    assert query.apply(simulation()) is None
    query.coefficient = Between("20 nm**2/ns", "23 nm**2/ns")
    query.fit_quality = Between(low=0.9)
    query.n_blocks = Between(5, 5)
    query.method = Method.Einstein
    query.converged = True
    assert query.apply(stored) == (stored.coefficient, 5, 0.99, Method.Einstein, True)
    query.n_blocks = Between(6)
    assert query.apply(stored) is None
    with pytest.raises(InvalidDataError, match="has no criterion 'comment'"):
        query.comment = "a run"
    assert isinstance(stored.to_storage_query(), type(query))
    assert stored.to_storage_query().apply(stored) is not None


def test_a_class_that_stands_alone_needs_ten_lines() -> None:
    @register_data_class("Spectrum", version=2)
    class Spectrum(BaseStoredData):
        substance: Substance
        label: str
        peaks: list[float] | None = None

        @classmethod
        def has_ancillary_data(cls) -> bool:
            return False

        @classmethod
        def upgrade_document(cls, tree: Any, version: int) -> Any:
            return tree | {"label": f"from version {version}"}

    stored = Spectrum(substance=Substance.from_components("O"), label="IR", peaks=[1, 2.5])
    stored.validate()
    assert Spectrum.from_document(stored.check_readable(), 2) == stored
    assert stored.to_storage_query().apply(stored) == (stored.substance, "IR")
    assert Spectrum.query_class()(contains_components=["O"]).apply(stored) == (stored.substance,)
    old = {"substance": stored.substance.to_tree()}
    assert Spectrum.from_document(old, 1).label == "from version 1"


def test_registration_refuses_what_could_not_be_stored() -> None:
    class Plain(BaseStoredData):
        @classmethod
        def has_ancillary_data(cls) -> bool:
            return False

    with pytest.raises(InvalidDataError, match="needs a permanent name"):
        register_data_class(Plain)
    with pytest.raises(InvalidDataError, match="not registered"):
        registered_name(Plain)
    with pytest.raises(InvalidDataError, match="permanent name"):
        register_data_class("../x")(Plain)
    with pytest.raises(ConflictError, match="belongs to"):
        register_data_class("ForceFieldData")(Plain)
    with pytest.raises(InvalidDataError, match="positive integer"):
        register_data_class("Plain", version=0)(Plain)

    class Strange(Plain):
        value: complex

    with pytest.raises(InvalidDataError, match=r"Strange\.value: fields of type complex"):
        register_data_class("Strange")(Strange)

    class Twice(StoredSimulationData):
        temperature: float

    with pytest.raises(InvalidDataError, match="two fields that are searched as 'temperature'"):
        register_data_class("Twice")(Twice)

    class Loose(ReplaceableData):
        value: int

    with pytest.raises(InvalidDataError, match="identity_fields"):
        register_data_class("Loose")(Loose)

    class Unitless(Plain):
        value: Quantity

    with pytest.raises(InvalidDataError, match="InUnit"):
        register_data_class("Unitless")(Unitless)


def test_what_cannot_be_read_back_is_refused() -> None:
    class Forgetful(Substance):
        def to_tree(self) -> Any:
            return Substance.from_components("CO").to_tree()

    forgetful = Forgetful.from_components("O")
    with pytest.raises(InvalidDataError, match="would not be read back"):
        simulation(substance=forgetful).check_readable()

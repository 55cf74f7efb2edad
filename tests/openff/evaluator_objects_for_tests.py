"""Objects of OpenFF Evaluator's classes, and classes as its users write them, for the tests beside this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from openff.evaluator.attributes import UNDEFINED
from openff.evaluator.datasets import PropertyPhase
from openff.evaluator.storage.attributes import QueryAttribute, StorageAttribute
from openff.evaluator.storage.data import (
    BaseStoredData,
    HashableStoredData,
    StoredEquilibrationData,
    StoredFreeEnergyData,
    StoredSimulationData,
)
from openff.evaluator.storage.query import BaseDataQuery
from openff.evaluator.substances import Substance
from openff.evaluator.thermodynamics import ThermodynamicState
from openff.evaluator.utils.observables import Observable, ObservableArray, ObservableFrame
from openff.units import unit


class NoteData(BaseStoredData):
    """A user's class that is neither hashable nor replaceable."""

    text = StorageAttribute(docstring="", type_hint=str)
    values = StorageAttribute(docstring="", type_hint=dict, optional=True)

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False

    def to_storage_query(self) -> NoteQuery:
        return NoteQuery.from_data_object(self)  # type: ignore[no-any-return]


class NoteQuery(BaseDataQuery):
    @classmethod
    def data_class(cls) -> type[NoteData]:
        return NoteData

    text = QueryAttribute(docstring="", type_hint=str, optional=True)


class NamedData(HashableStoredData):
    """A user's class that is compared by hash."""

    name = StorageAttribute(docstring="", type_hint=object)

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(self.name)


class UmbrellaData(StoredSimulationData):
    """A user's class that derives from one of Evaluator's, with a field of its own."""

    window = StorageAttribute(docstring="", type_hint=int)
    bias = StorageAttribute(docstring="", type_hint=object, optional=True)


def make_files(directory: Path, **contents: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("output.pdb", "trajectory.dcd"):
        (directory / name).write_text(name)
    for name, content in contents.items():
        (directory / name).write_text(content)
    return str(directory)


def simulation(of: type[Any] = StoredSimulationData, **changes: Any) -> Any:
    data = of()
    _fill(data)
    data.trajectory_file_name = "trajectory.dcd"
    data.observables = ObservableFrame(
        {"Temperature": ObservableArray(np.array([[298.0], [299.5]]) * unit.kelvin)}
    )
    data.statistical_inefficiency = 2.0
    data.number_of_molecules = 10
    return _changed(data, changes)


def equilibration(**changes: Any) -> Any:
    data = StoredEquilibrationData()
    _fill(data)
    data.statistical_inefficiency = 2.0
    data.number_of_molecules = 10
    data.max_number_of_molecules = 11
    return _changed(data, changes)


def free_energy(**changes: Any) -> Any:
    data = StoredFreeEnergyData()
    _fill(data)
    data.free_energy_difference = Observable((1.5 * unit.kilojoule / unit.mole).plus_minus(0.5))
    data.topology_file_name = "output.pdb"
    data.start_state_trajectory = data.end_state_trajectory = "trajectory.dcd"
    return _changed(data, changes)


def _fill(data: Any) -> None:
    data.substance = Substance.from_components("O")
    data.thermodynamic_state = ThermodynamicState(298.15 * unit.kelvin, 1.0 * unit.atmosphere)
    data.property_phase = PropertyPhase.Liquid
    data.source_calculation_id = "calculation"
    data.force_field_id = "force_field"
    if hasattr(type(data), "coordinate_file_name"):
        data.coordinate_file_name = "output.pdb"


def _changed(data: Any, changes: dict[str, Any]) -> Any:
    for name, value in changes.items():
        setattr(data, name, UNDEFINED if value is None else value)
    return data

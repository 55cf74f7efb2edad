"""Data of simulations: what all kinds share, and stored simulations."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Protocol, Self, TypeVar

from simarchive.chemistry.frames import ObservableFrame
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.data.base import UNSET, ReplaceableData
from simarchive.data.kinds import FilePath
from simarchive.data.registry import register_data_class
from simarchive.ground.conditions import ColumnKind


class BaseSimulationData(ReplaceableData):
    """What all data of molecular simulations has."""

    identity_fields: ClassVar[tuple[str, ...]] = (
        "substance",
        "thermodynamic_state",
        "property_phase",
        "source_calculation_id",
        "force_field_id",
    )
    reference_fields: ClassVar[tuple[str, ...]] = ("force_field_id",)

    substance: Substance = UNSET
    """The composition of the system."""
    thermodynamic_state: ThermodynamicState = UNSET
    """The state at which the data was collected."""
    property_phase: PropertyPhase = UNSET
    """The phase of the system."""
    source_calculation_id: Annotated[str, ColumnKind.IDENTIFIER] = UNSET
    """The id of the calculation that gave the data."""
    force_field_id: str = UNSET
    """The key of the force field."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return True: coordinates and trajectories are files."""
        return True


class _WithInefficiency(Protocol):
    statistical_inefficiency: float


Sampled = TypeVar("Sampled", bound=_WithInefficiency)


def less_inefficient(existing: Sampled, new: Sampled) -> Sampled:
    """Return the object of the lower statistical inefficiency; ties go to the new, NaN never wins."""
    old_is_better = existing.statistical_inefficiency < new.statistical_inefficiency
    new_is_unknown = math.isnan(new.statistical_inefficiency)
    return existing if old_is_better or new_is_unknown else new


@register_data_class("StoredSimulationData", version=1)
class StoredSimulationData(BaseSimulationData):
    """One simulation: coordinates, a trajectory, and the observables along it."""

    identity_fields: ClassVar[tuple[str, ...]] = (*BaseSimulationData.identity_fields, "number_of_molecules")

    coordinate_file_name: FilePath = UNSET
    """The file with the topology of the system."""
    trajectory_file_name: FilePath = UNSET
    """The file with the configurations."""
    observables: ObservableFrame = UNSET
    """The observables along the simulation."""
    statistical_inefficiency: float = UNSET
    """The statistical inefficiency of the data."""
    number_of_molecules: int = UNSET
    """How many molecules the system has."""

    @classmethod
    def most_information(cls, existing: Self, new: Self) -> Self | None:
        """Return the object of the lower statistical inefficiency, ties to the new; None if unrelated."""
        return less_inefficient(existing, new) if existing.is_same_measurement(new) else None

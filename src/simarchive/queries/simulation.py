"""Queries for data of simulations: what all kinds share, and stored simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.data.simulation import BaseSimulationData, StoredSimulationData
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import Criterion
from simarchive.queries.registry import register_query_class
from simarchive.queries.substance import SubstanceQuery

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


@register_query_class
class BaseSimulationDataQuery(BaseDataQuery):
    """A query for data of simulations of any kind."""

    substance: Criterion[Substance]
    substance_query: SubstanceQuery | None
    thermodynamic_state: Criterion[ThermodynamicState]
    temperature: Criterion[Quantity | str]
    pressure: Criterion[Quantity | str]
    property_phase: Criterion[PropertyPhase]
    source_calculation_id: Criterion[str]
    force_field_id: Criterion[str]

    @classmethod
    def data_class(cls) -> type[BaseSimulationData]:
        """Return `BaseSimulationData`."""
        return BaseSimulationData


@register_query_class
class SimulationDataQuery(BaseSimulationDataQuery):
    """A query for stored simulations."""

    statistical_inefficiency: Criterion[float]
    number_of_molecules: Criterion[int]

    @classmethod
    def data_class(cls) -> type[StoredSimulationData]:
        """Return `StoredSimulationData`."""
        return StoredSimulationData

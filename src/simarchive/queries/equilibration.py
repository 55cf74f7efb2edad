"""Queries for stored equilibrations."""

from __future__ import annotations

from simarchive.data.equilibration import StoredEquilibrationData
from simarchive.queries.criteria import Criterion
from simarchive.queries.registry import register_query_class
from simarchive.queries.simulation import BaseSimulationDataQuery


@register_query_class
class EquilibrationDataQuery(BaseSimulationDataQuery):
    """A query for stored equilibrations."""

    statistical_inefficiency: Criterion[float]
    number_of_molecules: Criterion[int]
    max_number_of_molecules: Criterion[int]
    calculation_layer: Criterion[str]

    @classmethod
    def data_class(cls) -> type[StoredEquilibrationData]:
        """Return `StoredEquilibrationData`."""
        return StoredEquilibrationData

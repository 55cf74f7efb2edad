"""Queries for stored free energy calculations."""

from __future__ import annotations

from simarchive.data.free_energy import StoredFreeEnergyData
from simarchive.queries.registry import register_query_class
from simarchive.queries.simulation import BaseSimulationDataQuery


@register_query_class
class FreeEnergyDataQuery(BaseSimulationDataQuery):
    """A query for stored free energy calculations."""

    @classmethod
    def data_class(cls) -> type[StoredFreeEnergyData]:
        """Return `StoredFreeEnergyData`."""
        return StoredFreeEnergyData

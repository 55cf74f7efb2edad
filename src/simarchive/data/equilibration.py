"""Stored equilibrations."""

from __future__ import annotations

from typing import ClassVar, Self

from simarchive.data.base import UNSET
from simarchive.data.kinds import FilePath
from simarchive.data.registry import register_data_class
from simarchive.data.simulation import BaseSimulationData, less_inefficient


@register_data_class("StoredEquilibrationData", version=1)
class StoredEquilibrationData(BaseSimulationData):
    """The outcome of one equilibration: coordinates to start simulations from."""

    identity_fields: ClassVar[tuple[str, ...]] = (
        *BaseSimulationData.identity_fields,
        "number_of_molecules",
        "max_number_of_molecules",
        "calculation_layer",
    )

    coordinate_file_name: FilePath = UNSET
    """The file with the equilibrated coordinates and the topology."""
    statistical_inefficiency: float = UNSET
    """The statistical inefficiency of the data."""
    number_of_molecules: int = UNSET
    """How many molecules the system has."""
    max_number_of_molecules: int = UNSET
    """How many molecules the system was allowed to have."""
    calculation_layer: str | None = None
    """The calculation layer that gave the data; data with and without one are different data."""

    @classmethod
    def most_information(cls, existing: Self, new: Self) -> Self | None:
        """Return the object of the lower statistical inefficiency, ties to the new; None if unrelated."""
        return less_inefficient(existing, new) if existing.is_same_measurement(new) else None

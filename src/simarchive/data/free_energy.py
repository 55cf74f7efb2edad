"""Stored free energy calculations."""

from __future__ import annotations

from typing import Self

from simarchive.chemistry.observables import Observable
from simarchive.data.base import UNSET
from simarchive.data.kinds import FilePath
from simarchive.data.registry import register_data_class
from simarchive.data.simulation import BaseSimulationData


@register_data_class("StoredFreeEnergyData", version=1)
class StoredFreeEnergyData(BaseSimulationData):
    """A free energy difference between two states, and the configurations of both."""

    free_energy_difference: Observable = UNSET
    """The free energy of the end state minus that of the start state."""
    topology_file_name: FilePath = UNSET
    """The file with the topology of the system."""
    start_state_trajectory: FilePath = UNSET
    """The file with configurations of the start state."""
    end_state_trajectory: FilePath = UNSET
    """The file with configurations of the end state."""

    @classmethod
    def most_information(cls, existing: Self, new: Self) -> Self | None:
        """Return None: both are always kept, for repeated calculations are independent samples."""
        return None

"""Data classes: what can be stored, and their registry."""

from simarchive.data.base import UNSET, BaseStoredData, HashableStoredData, ReplaceableData
from simarchive.data.equilibration import StoredEquilibrationData
from simarchive.data.fields import InUnit, NotIndexed
from simarchive.data.force_field import ForceFieldData
from simarchive.data.free_energy import StoredFreeEnergyData
from simarchive.data.kinds import FilePath
from simarchive.data.registry import (
    data_class_named,
    is_class_name,
    name_and_subclasses,
    register_data_class,
    registered_data_classes,
    registered_name,
)
from simarchive.data.simulation import BaseSimulationData, StoredSimulationData
from simarchive.data.trained_model import TrainedModelData

__all__ = [
    "UNSET",
    "BaseSimulationData",
    "BaseStoredData",
    "FilePath",
    "ForceFieldData",
    "HashableStoredData",
    "InUnit",
    "NotIndexed",
    "ReplaceableData",
    "StoredEquilibrationData",
    "StoredFreeEnergyData",
    "StoredSimulationData",
    "TrainedModelData",
    "data_class_named",
    "is_class_name",
    "name_and_subclasses",
    "register_data_class",
    "registered_data_classes",
    "registered_name",
]

"""simarchive: a whole collection of simulation data in one HDF5 file.

Everything a user needs is importable from here; each name is loaded from its module when it is first
used, so that ``import simarchive`` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from simarchive.ground.version import __version__
from simarchive.ground.vocabulary import query_classes

_HOMES = {
    "simarchive.chemistry": (
        "Component",
        "ExactAmount",
        "ForceFieldSource",
        "FoyerForceFieldSource",
        "LigParGenForceFieldSource",
        "MoleFraction",
        "Observable",
        "ObservableArray",
        "ObservableFrame",
        "ObservableType",
        "ParameterGradient",
        "ParameterGradientKey",
        "PropertyPhase",
        "Quantity",
        "SmirnoffForceFieldSource",
        "Substance",
        "TLeapForceFieldSource",
        "ThermodynamicState",
        "unit",
    ),
    "simarchive.data": (
        "BaseSimulationData",
        "BaseStoredData",
        "FilePath",
        "ForceFieldData",
        "HashableStoredData",
        "InUnit",
        "NotIndexed",
        "ReplaceableData",
        "Searched",
        "SimulationRun",
        "StoredEquilibrationData",
        "StoredFreeEnergyData",
        "StoredSimulationData",
        "TrainedModelData",
        "UNSET",
        "register_data_class",
    ),
    "simarchive.errors": (
        "ClosedError",
        "CommitInDoubtError",
        "ConflictError",
        "CorruptError",
        "CorruptMemberError",
        "DetachedLogError",
        "ForeignChangeError",
        "FormatError",
        "FrameReadError",
        "IncompleteError",
        "InvalidDataError",
        "LockedError",
        "NotFoundError",
        "OutOfMemoryError",
        "QuerySyntaxError",
        "ReadOnlyError",
        "StorageError",
        "StorageFullError",
        "StorageIOError",
        "WrongTypeError",
    ),
    "simarchive.queries": (
        "AnyOf",
        "AnyDataQuery",
        "BaseDataQuery",
        "Between",
        "EquilibrationDataQuery",
        "ForceFieldQuery",
        "FreeEnergyDataQuery",
        "Not",
        "RunQuery",
        "SimulationDataQuery",
        "SubstanceQuery",
        "TrainedModelQuery",
        "parse_query",
        "register_query_class",
    ),
    "simarchive.storage.runs": ("RunReading", "read_run"),
    "simarchive.storage.backend": ("StorageBackend",),
    "simarchive.storage.evaluator_directory": ("LocalFileStorage", "rebuild_registry"),
    "simarchive.storage.evaluator_json": ("register_evaluator_type",),
    "simarchive.storage.hdf5.storage": ("HDF5Storage",),
    "simarchive.storage.hdf5.upkeep": ("repack",),
    "simarchive.storage.publication.check": ("publish_check",),
    "simarchive.storage.publication.metadata": ("ArchiveMetadata", "Author", "Funding"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def _query_class_for(data_class: type[Any]) -> type[Any]:
    from simarchive.queries.registry import query_class_for

    return query_class_for(data_class)


query_classes.find_missing_with(_query_class_for)

if TYPE_CHECKING:
    from simarchive.chemistry import *  # noqa: F403
    from simarchive.data import *  # noqa: F403
    from simarchive.errors import *  # noqa: F403
    from simarchive.queries import *  # noqa: F403
    from simarchive.storage.backend import StorageBackend as StorageBackend
    from simarchive.storage.evaluator_directory import LocalFileStorage as LocalFileStorage
    from simarchive.storage.evaluator_directory import rebuild_registry as rebuild_registry
    from simarchive.storage.evaluator_json import register_evaluator_type as register_evaluator_type
    from simarchive.storage.hdf5.storage import HDF5Storage as HDF5Storage
    from simarchive.storage.hdf5.upkeep import repack as repack
    from simarchive.storage.publication.check import publish_check as publish_check
    from simarchive.storage.publication.metadata import ArchiveMetadata as ArchiveMetadata
    from simarchive.storage.publication.metadata import Author as Author
    from simarchive.storage.publication.metadata import Funding as Funding
    from simarchive.storage.runs import RunReading as RunReading
    from simarchive.storage.runs import read_run as read_run


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'simarchive' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})

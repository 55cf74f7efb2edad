"""The short names of query expressions, and how a criterion begins."""

from __future__ import annotations

import re

ALIASES = {
    "phase": "property_phase",
    "molecules": "number_of_molecules",
    "max_molecules": "max_number_of_molecules",
    "force_field": "force_field_id",
    "calculation": "source_calculation_id",
    "layer": "calculation_layer",
    "inefficiency": "statistical_inefficiency",
    "state": "thermodynamic_state",
    "T": "temperature",
    "P": "pressure",
    "model": "name",
    "atoms": "n_atoms",
    "residues": "n_residues",
    "frames": "n_frames",
    "tag": "tags",
    "contains": "contains_components",
    "excludes": "excludes_components",
}
"""Short names of criteria."""

CLASS_ALIASES = {
    "simulation": "StoredSimulationData",
    "run": "SimulationRun",
    "equilibration": "StoredEquilibrationData",
    "free_energy": "StoredFreeEnergyData",
    "force_field": "ForceFieldData",
    "trained_model": "TrainedModelData",
    "model": "TrainedModelData",
}
"""Short names of data classes."""

ANY_CLASS = "any"
"""What stands for all data classes."""

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.(?:\"[^\"]*\"|[^\s\"'!<>=,]+))?"
CRITERION = re.compile(rf"(?P<name>{_NAME})(?P<operator>!=|>=|<=|=|>|<)")
"""How a criterion begins: with a name and an operator."""


def begins_as_criterion(text: str) -> bool:
    """Return whether a text begins as a criterion does: with a name and an operator."""
    return CRITERION.match(text) is not None

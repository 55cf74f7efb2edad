"""The data classes of this package as an index knows them: names, versions and columns.

The classes themselves say the same by their annotations; `tests/meaning` compares both.
"""

from __future__ import annotations

from dataclasses import dataclass

from simarchive.ground.conditions import Column, ColumnKind

_NUMBER, _COUNT = ColumnKind.REAL, ColumnKind.INTEGER
_CATEGORY, _IDENTIFIER = ColumnKind.CATEGORY, ColumnKind.IDENTIFIER


@dataclass(frozen=True, eq=False, slots=True)
class Declaration:
    """What an index has to know of a data class."""

    version: int
    columns: tuple[Column, ...]


def _declared(version: int, columns: dict[str, ColumnKind]) -> Declaration:
    return Declaration(version, tuple(Column(name, kind) for name, kind in columns.items()))


_OF_SIMULATIONS = {
    "substance": _CATEGORY,
    "thermodynamic_state": _CATEGORY,
    "temperature": _NUMBER,
    "pressure": _NUMBER,
    "property_phase": _COUNT,
    "source_calculation_id": _IDENTIFIER,
    "force_field_id": _CATEGORY,
}
_OF_SAMPLES = {**_OF_SIMULATIONS, "statistical_inefficiency": _NUMBER, "number_of_molecules": _COUNT}
_OF_RUNS = {
    "name": _IDENTIFIER,
    "engine": _CATEGORY,
    "engine_version": _CATEGORY,
    "ensemble": _CATEGORY,
    "temperature": _NUMBER,
    "pressure": _NUMBER,
    "time_step": _NUMBER,
    "frame_interval": _NUMBER,
    "length": _NUMBER,
    "n_atoms": _COUNT,
    "n_residues": _COUNT,
    "number_of_molecules": _COUNT,
    "n_frames": _COUNT,
    "substance": _CATEGORY,
    "composition": _IDENTIFIER,
    "tags": _CATEGORY,
    "metadata": _IDENTIFIER,
    "parents": _CATEGORY,
}
_OF_MODELS = {
    "name": _IDENTIFIER,
    "framework": _CATEGORY,
    "target_property": _CATEGORY,
    "substances": _CATEGORY,
    "domain": _CATEGORY,
}

DECLARED = {
    "StoredSimulationData": _declared(1, _OF_SAMPLES),
    "StoredEquilibrationData": _declared(
        1, {**_OF_SAMPLES, "max_number_of_molecules": _COUNT, "calculation_layer": _CATEGORY}
    ),
    "ForceFieldData": _declared(1, {"force_field_source": _IDENTIFIER}),
    "StoredFreeEnergyData": _declared(1, _OF_SIMULATIONS),
    "SimulationRun": _declared(1, _OF_RUNS),
    "TrainedModelData": _declared(1, _OF_MODELS),
    "EvaluatorObject": _declared(1, {"type_string": _CATEGORY}),
    "EvaluatorObjectWithFiles": _declared(1, {"type_string": _CATEGORY}),
}
"""By the permanent name of the class, which no other class can have."""

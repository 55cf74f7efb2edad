"""Small objects, and directories of files, for tests of backends."""

from pathlib import Path

import numpy as np

from simarchive import (
    FilePath,
    Observable,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    StoredEquilibrationData,
    StoredFreeEnergyData,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)


def write_files(directory: Path, trajectory: bytes = b"trajectory" * 1000) -> Path:
    """Return a new directory with a trajectory, a coordinate file, a nested file and an empty folder."""
    (directory / "nested" / "deep").mkdir(parents=True)
    (directory / "empty").mkdir()
    (directory / "output.pdb").write_text("ATOM      1  O   HOH\n" * 50)
    (directory / "trajectory.dcd").write_bytes(trajectory)
    (directory / "nested" / "deep" / "notes.txt").write_text("kept\n")
    return directory


def _state() -> ThermodynamicState:
    return ThermodynamicState(298.15 * unit.kelvin, 1.0 * unit.atmosphere)


def simulation(
    calculation: str = "calculation",
    inefficiency: float = 2.0,
    force_field: str = "f" * 32,
    n_frames: int = 40,
) -> StoredSimulationData:
    """Return a simulation of liquid water; objects with the same calculation are the same measurement."""
    random = np.random.default_rng(7)
    return StoredSimulationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=_state(),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=calculation,
        force_field_id=force_field,
        coordinate_file_name=FilePath("output.pdb"),
        trajectory_file_name=FilePath("trajectory.dcd"),
        observables=ObservableFrame(
            {"PotentialEnergy": ObservableArray(random.normal(size=n_frames) * unit.kilojoule / unit.mole)}
        ),
        statistical_inefficiency=inefficiency,
        number_of_molecules=100,
    )


def equilibration(layer: str | None, inefficiency: float = 2.0) -> StoredEquilibrationData:
    """Return an equilibration of liquid water, with or without the name of a calculation layer."""
    stored = StoredEquilibrationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=_state(),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id="calculation",
        force_field_id="f" * 32,
        coordinate_file_name=FilePath("output.pdb"),
        statistical_inefficiency=inefficiency,
        number_of_molecules=100,
        max_number_of_molecules=100,
    )
    if layer is not None:
        stored.calculation_layer = layer
    return stored


def free_energy(value: float) -> StoredFreeEnergyData:
    """Return a free energy difference in kJ/mol."""
    return StoredFreeEnergyData(
        substance=Substance.from_components("O"),
        thermodynamic_state=_state(),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id="calculation",
        force_field_id="f" * 32,
        free_energy_difference=Observable(value * unit.kilojoule / unit.mole),
        topology_file_name=FilePath("output.pdb"),
        start_state_trajectory=FilePath("trajectory.dcd"),
        end_state_trajectory=FilePath("trajectory.dcd"),
    )

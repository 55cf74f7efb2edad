"""An archive that lacks nothing, and metadata to try."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np

from simarchive import (
    FilePath,
    HDF5Storage,
    LocalFileStorage,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
METADATA: dict[str, Any] = {
    "title": "Liquid water at 298.15 K",
    "description": "Simulations of liquid water.\n\nMade to test force fields.",
    "readme": '# Water\n\nSee the *paper*, "quoted", with a \\ and µ.',
    "license": "CC-BY-4.0",
    "authors": [
        "Josiah Carberry <0000-0002-1825-0097> (Brown University)",
        "van der Berg, Anna (Institute (North), Oslo)",
        "{The Open Force Field Initiative}",
    ],
    "doi": "10.5281/zenodo.1234567",
    "version": "1.1",
    "keywords": ["water", "force fields"],
    "funding": ["Deutsche Forschungsgemeinschaft (123456)", "NIH"],
    "software": ["OpenMM 8.1.1", "OpenFF Evaluator 0.4.10"],
    "references": ["https://doi.org/10.1021/acs.jctc.1c00000", "https://example.org/code"],
    "publisher": "Zenodo",
    "published": "2027-03-01",
}


def complete_archive(path: Path) -> Path:
    """Make a container with the example data and all metadata."""
    with HDF5Storage(path) as backend, LocalFileStorage(EXAMPLES / "stored_data", mode="r") as source:
        backend.update(source)
        backend.set_metadata(**METADATA)
    return path


def simulation(force_field: str, n_frames: int, **changes: Any) -> StoredSimulationData:
    """Return a simulation of water with so many values of an observable."""
    values = ObservableArray(np.arange(float(n_frames)) * unit.kilojoule / unit.mole)
    fields = {
        "substance": Substance.from_components("O"),
        "thermodynamic_state": ThermodynamicState(298.15 * unit.kelvin, 1.0 * unit.atmosphere),
        "property_phase": PropertyPhase.Liquid,
        "source_calculation_id": uuid.uuid4().hex,
        "force_field_id": force_field,
        "coordinate_file_name": FilePath("output.pdb"),
        "trajectory_file_name": FilePath("trajectory.dcd"),
        "observables": ObservableFrame({"PotentialEnergy": values}),
        "statistical_inefficiency": 2.0,
        "number_of_molecules": 100,
    }
    return StoredSimulationData(**(fields | changes))

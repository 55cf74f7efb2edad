"""Write a folder of tests/data: a small container of format 1, and what is in it.

Each folder stays as it is, because it shows that later versions read what one version wrote. After an
addition to the format, a new folder is made.

    python tests/data/make_format_v1.py NAME

- format-v1: without digests of objects, arrays and descriptions of members
- format-v1-digests: with them
- format-v1-runs: with checks of the index, lengths of frames, and runs of any program
- format-v1-netcdf: with members in a group of their own, and dimension scales
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import MDAnalysis
import numpy as np

from simarchive import (
    BaseStoredData,
    ForceFieldData,
    HDF5Storage,
    LocalFileStorage,
    Observable,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    SimulationRun,
    StoredEquilibrationData,
    StoredFreeEnergyData,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    TLeapForceFieldSource,
    TrainedModelData,
    unit,
)

ROOT = Path(__file__).parents[2]
# A force field and the one simulation of the gas, which has small files.
FROM_EXAMPLES = ("1377ac1104d545dabe75d0f3fc830153", "19621c849b084fd4a4e71e96acf28a59")


def write_trajectory(path: Path) -> None:
    """Write a DCD whose coordinates lie on the grid of XTC, which the codec `trajectory` finds."""
    steps = np.random.default_rng(2).integers(-30, 30, (20, 30, 3)).cumsum(axis=0)
    positions = (steps.astype(np.float32) * np.float32(0.001)) * np.float32(10)
    universe = MDAnalysis.Universe.empty(30, trajectory=True)
    with MDAnalysis.Writer(str(path), 30) as writer:
        for frame in positions:
            universe.atoms.positions = frame
            writer.write(universe)


def write_files(directory: Path) -> Path:
    """Write files of every kind: words, frames, text, noise, zeros, nothing, folders, long names."""
    random = np.random.default_rng(1)
    (directory / "nested" / "empty folder").mkdir(parents=True)
    walk = random.normal(size=(20, 100)).cumsum(axis=0).astype("<f4")
    (directory / "coordinates.bin").write_bytes(walk.tobytes() + b"end")
    write_trajectory(directory / "trajectory.dcd")
    (directory / "topology.pdb").write_text("ATOM      1  O   HOH A   1\n" * 40)
    (directory / "nested" / "noise 100%.bin").write_bytes(random.bytes(5000))
    (directory / "zeros.bin").write_bytes(bytes(70_000))
    (directory / "nothing").touch()
    (directory / ("n" * 245 + "ü.txt")).write_text("a long name\n")
    return directory


def objects_made_here() -> list[BaseStoredData]:
    """Return one object of each class that the examples do not give."""
    common = {
        "substance": Substance.from_components("O", "CO"),
        "thermodynamic_state": ThermodynamicState("25 degC"),
        "property_phase": PropertyPhase.Liquid | PropertyPhase.Gas,
        "source_calculation_id": "calculation",
        "force_field_id": FROM_EXAMPLES[0],
    }
    equilibration = StoredEquilibrationData(
        **common,
        coordinate_file_name="topology.pdb",
        statistical_inefficiency=2.5,
        number_of_molecules=10,
        max_number_of_molecules=11,
    )
    free_energy = StoredFreeEnergyData(
        **common,
        free_energy_difference=Observable(
            -1.5 * unit.kilojoule / unit.mole, error=0.25 * unit.kilojoule / unit.mole
        ),
        topology_file_name="topology.pdb",
        start_state_trajectory="coordinates.bin",
        end_state_trajectory="nested/noise 100%.bin",
    )
    model = TrainedModelData(
        name="density",
        framework="torch",
        target_property="density",
        domain="alcohols",
        training_data_keys=[FROM_EXAMPLES[1]],
        metrics={"rmse": 0.5, "worst": float("inf"), "unknown": float("nan")},
    )
    density = np.linspace(0.9, 1.1, 40).reshape(-1, 1)
    density[:3, 0] = 0.0, -0.0, np.nan
    frame = ObservableFrame(
        {
            "Density": ObservableArray(density * unit.gram / unit.milliliter),
            "Temperature": ObservableArray(np.arange(40, dtype=np.float32).reshape(-1, 1) * unit.kelvin),
        }
    )
    del common["thermodynamic_state"]
    simulation = StoredSimulationData(
        **common,
        thermodynamic_state=ThermodynamicState("300 K", "1 bar"),
        coordinate_file_name="topology.pdb",
        trajectory_file_name="trajectory.dcd",
        observables=frame,
        statistical_inefficiency=1.0,
        number_of_molecules=3,
    )
    run = SimulationRun(
        name="water, replica 1",
        engine="openmm",
        ensemble="NPT",
        temperature=300.0 * unit.kelvin,
        time_step=2.0 * unit.femtosecond,
        n_atoms=30,
        n_frames=20,
        box=[30.0, 30.0, 30.0, 90.0, 90.0, 90.0],
        composition={"HOH": 10},
        tags=["apo", "µ"],
        metadata={"seed": 5, "cutoff": 9.0 * unit.angstrom, "note": "a text", "restarted": False},
        parents=[FROM_EXAMPLES[1]],
        topology_file_name="topology.pdb",
        trajectory_file_names=["trajectory.dcd"],
        observables={"Potential Energy": ObservableArray(np.arange(20.0) * unit.kilojoule / unit.mole)},
        guesses={"time_step": "made for this file"},
    )
    timed = SimulationRun(
        name="water, replica 2",
        observables={
            "Time": ObservableArray(np.arange(50.0) * 0.5 * unit.picosecond),
            "Box Volume": ObservableArray(np.linspace(1.0, 2.0, 50) * unit.nanometer**3),
        },
    )
    return [equilibration, free_energy, model, simulation, run, timed]


def main() -> None:
    """Write the container, and beside it what a reader has to find."""
    destination = Path(__file__).parent / sys.argv[1]
    destination.mkdir()
    path = destination / "container.h5"
    with (
        HDF5Storage(path) as backend,
        LocalFileStorage(ROOT / "examples" / "stored_data", mode="r") as source,
    ):
        for key in FROM_EXAMPLES:
            stored, directory = source.retrieve_object(key)
            backend.store_object(stored, directory, storage_key=key)
        backend.store_object(ForceFieldData(force_field_source=TLeapForceFieldSource()), storage_key="tleap")
        with tempfile.TemporaryDirectory() as temporary:
            files = write_files(Path(temporary))
            for number, stored in enumerate(objects_made_here()):
                # The names of codecs are permanent, so each has a member here.
                backend.codec = ("deflate", "zstd", "raw", "trajectory", "deflate", "deflate")[number]
                backend.store_object(stored, files, storage_key=f"{type(stored).data_class_name}-{number}")
        objects = {
            header.key: {
                "data_class": header.data_class,
                "version": header.data_class_version,
                "identity": header.identity,
                "empty_folders": list(header.empty_folders),
                "members": {
                    info.name: {"size": info.size, "blake3": info.digest, "codec": info.codec}
                    for info in backend.list_members(header.key)
                },
            }
            for header in backend.headers()
        }
    expected = {"format": 1, "objects": objects}
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (destination / "expected.json").write_text(text + "\n")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes, {len(objects)} objects")


if __name__ == "__main__":
    main()

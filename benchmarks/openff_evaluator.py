"""Open, query and store with OpenFF Evaluator's `LocalFileStorage` and with `EvaluatorStorage`, side by side.

Needs OpenFF Evaluator (docs/environments/openff-evaluator.yml). The directory is written file by file, since
Evaluator's own storage reads every object for each one that it stores.

    python benchmarks/openff_evaluator.py --objects 3000 --frames 1000 --work /tmp/bench
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from openff.evaluator.datasets import PropertyPhase
from openff.evaluator.forcefield import SmirnoffForceFieldSource
from openff.evaluator.storage import LocalFileStorage
from openff.evaluator.storage.data import ForceFieldData, StoredSimulationData
from openff.evaluator.storage.query import SimulationDataQuery
from openff.evaluator.substances import Substance
from openff.evaluator.thermodynamics import ThermodynamicState
from openff.evaluator.utils.observables import ObservableArray, ObservableFrame, ObservableType
from openff.units import unit

from simarchive.interop.openff import EvaluatorStorage

UNITS = {
    ObservableType.PotentialEnergy: unit.kilojoule / unit.mole,
    ObservableType.KineticEnergy: unit.kilojoule / unit.mole,
    ObservableType.TotalEnergy: unit.kilojoule / unit.mole,
    ObservableType.Temperature: unit.kelvin,
    ObservableType.Volume: unit.nanometer**3,
    ObservableType.Density: unit.gram / unit.milliliter,
    ObservableType.Enthalpy: unit.kilojoule / unit.mole,
    ObservableType.ReducedPotential: unit.dimensionless,
}
SUBSTANCES = ["O", "CO", "CCO", "c1ccccc1", "CC(=O)C", "C1CCCCC1", "CCN", "CC#N"]


def simulation(number: int, frames: int, force_field_id: str) -> StoredSimulationData:
    """Return a simulation of its own substance, state and calculation."""
    random = np.random.default_rng(number)
    data = StoredSimulationData()
    data.substance = Substance.from_components(SUBSTANCES[number % len(SUBSTANCES)])
    data.thermodynamic_state = ThermodynamicState(
        temperature=(280.0 + 0.1 * number) * unit.kelvin, pressure=1.0 * unit.atmosphere
    )
    data.property_phase = PropertyPhase.Liquid
    data.source_calculation_id = f"calculation-{number}"
    data.force_field_id = force_field_id
    data.coordinate_file_name = "output.pdb"
    data.trajectory_file_name = "trajectory.dcd"
    data.statistical_inefficiency = 1.5
    data.number_of_molecules = 500
    data.observables = ObservableFrame(
        {kind: ObservableArray(random.normal(-5e3, 40.0, (frames, 1)) * of) for kind, of in UNITS.items()}
    )
    return data


def write_files(directory: Path) -> Path:
    """Write small ancillary files: the sizes of trajectories are not what is compared here."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "output.pdb").write_bytes(b"REMARK\n" * 300)
    (directory / "trajectory.dcd").write_bytes(bytes(4096))
    return directory


def write_directory(directory: Path, objects: int, frames: int) -> str:
    """Write a directory as Evaluator's `LocalFileStorage` would; return the force field's key."""
    directory.mkdir(parents=True)
    force_field = ForceFieldData()
    force_field.force_field_source = SmirnoffForceFieldSource("<SMIRNOFF/>")
    force_field_id = uuid.uuid4().hex
    force_field.json(str(directory / f"{force_field_id}.json"))
    keys = [uuid.uuid4().hex for _ in range(objects)]
    for number, key in enumerate(keys):
        simulation(number, frames, force_field_id).json(str(directory / f"{key}.json"))
        write_files(directory / key)
    registry = {
        "object_keys": {"ForceFieldData": [force_field_id], "StoredSimulationData": keys},
        "@type": "openff.evaluator.storage.storage.StorageBackend._ObjectKeyData",
    }
    (directory / "object_keys.json").write_text(json.dumps(registry))
    return force_field_id


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(
    make: Callable[[], Any], objects: int, frames: int, force_field_id: str, work: Path, repeats: int
) -> dict[str, list[float]]:
    """Return the seconds of opening, of a query with one match, and of one more store, for each repeat."""
    seconds: dict[str, list[float]] = {"open": [], "one-hit query": [], "one more store": []}
    for repeat in range(repeats):
        spent, storage = timed(make)
        seconds["open"].append(spent)
        query = SimulationDataQuery()
        wanted = simulation((objects // 2 + repeat) % objects, 1, force_field_id)
        query.substance, query.thermodynamic_state = wanted.substance, wanted.thermodynamic_state
        spent, found = timed(lambda storage=storage, query=query: storage.query(query))
        seconds["one-hit query"].append(spent)
        assert sum(map(len, found.values())) == 1
        # Distinct for every run, or it would be found instead of stored.
        more = simulation(objects + repeat, frames, force_field_id)
        more.source_calculation_id = uuid.uuid4().hex
        files = write_files(work / "more" / uuid.uuid4().hex)
        spent, _ = timed(
            lambda storage=storage, more=more, files=files: storage.store_object(more, str(files))
        )
        seconds["one more store"].append(spent)
        close = getattr(storage, "close", None)
        if close is not None:
            close()
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each."""
    return {what: statistics.median(each) for what, each in seconds.items()}


def prepare(directory: Path, container: Path, objects: int, frames: int) -> str:
    """Write the directory and import it into the container; return the force field's key."""
    shutil.rmtree(directory.parent, ignore_errors=True)
    spent, force_field_id = timed(lambda: write_directory(directory, objects, frames))
    print(f"written file by file in {spent:.1f} s: {objects} objects", flush=True)
    with EvaluatorStorage(container) as storage:
        spent, report = timed(lambda: storage.update(directory))
    print(f"imported in {spent:.1f} s: {report}; {container.stat().st_size / 1e6:.0f} MB", flush=True)
    return str(force_field_id)


def main() -> int:
    """Run the comparison, print it, and return 1 if something is not 1,000 times faster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=3000)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7, help="of EvaluatorStorage; the median counts")
    parser.add_argument("--work", type=Path, required=True, help="a directory with a few GB of room")
    parser.add_argument("--reuse", action="store_true", help="use what an earlier run left in --work")
    parser.add_argument("--required", type=float, default=1000.0, help="how many times faster")
    options = parser.parse_args()
    directory, container = options.work / "stored_data", options.work / "stored_data.h5"
    if options.reuse:
        registry = json.loads((directory / "object_keys.json").read_text())
        force_field_id = registry["object_keys"]["ForceFieldData"][0]
    else:
        force_field_id = prepare(directory, container, options.objects, options.frames)

    def measure_ours() -> dict[str, list[float]]:
        return measure(lambda: EvaluatorStorage(container), *arguments, repeats=options.repeats)

    arguments = (options.objects, options.frames, force_field_id, options.work)
    # Before and after, so that a machine that is busy for a while is busy for both.
    before = measure_ours()
    theirs = medians(measure(lambda: LocalFileStorage(str(directory)), *arguments, repeats=1))
    after = measure_ours()
    ours = medians({what: before[what] + after[what] for what in before})
    print(f"{'':16} {'LocalFileStorage':>18} {'EvaluatorStorage':>18} {'times faster':>14}")
    for what, seconds in theirs.items():
        print(f"{what:16} {seconds:16.2f} s {ours[what] * 1e3:15.1f} ms {seconds / ours[what]:14.0f}")
    return int(any(seconds < options.required * ours[what] for what, seconds in theirs.items()))


if __name__ == "__main__":
    sys.exit(main())

"""The objects that `benchmarks/queries.py` stores: simulations with 2 KB of document and one member each.

Object `number` has its own pair of substance and state, so that a query for both finds it alone. Objects are
stored in shuffled order: neighbours in the container have nothing in common.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simarchive import (
    HDF5Storage,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.chemistry.amounts import MoleFraction

WORK = Path(__file__).parent / "work" / "queries"
SOLUTES = ["CO", "CCO", "CCCO", "CC(C)O", "CC#N", "CC(C)=O", "CCN", "CCOCC", "c1ccccc1", "C1CCCCC1"]
N_SUBSTANCES = 500
OBSERVABLES = {
    "PotentialEnergy": unit.kilojoule / unit.mole,
    "Temperature": unit.kelvin,
    "Volume": unit.nanometer**3,
    "Density": unit.gram / unit.milliliter,
}
TRANSACTION = 500
MEMBER = "output.pdb"


@functools.cache
def substance(index: int) -> Substance:
    """Return one of the mixtures of water and a solute."""
    fraction = (1 + index // len(SOLUTES)) / (2 + N_SUBSTANCES // len(SOLUTES))
    mixture = Substance()
    mixture.add_component("O", MoleFraction(1.0 - fraction))
    mixture.add_component(SOLUTES[index % len(SOLUTES)], MoleFraction(fraction))
    return mixture


@functools.cache
def state(index: int) -> ThermodynamicState:
    """Return one of the states, a tenth of a kelvin apart."""
    return ThermodynamicState(round(280.0 + 0.1 * index, 1) * unit.kelvin, 1.0 * unit.atmosphere)


def n_molecules(number: int) -> int:
    """Return one of ten numbers of molecules."""
    return 1000 + 100 * (number // 7 % 10)


def simulation(number: int) -> StoredSimulationData:
    """Return one of the objects; the same number gives the same object."""
    chance = np.random.default_rng(number)
    return StoredSimulationData(
        substance=substance(number % N_SUBSTANCES),
        thermodynamic_state=state(number // N_SUBSTANCES),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=f"{number:032x}",
        force_field_id=f"{number % 5:032x}",
        coordinate_file_name=MEMBER,
        trajectory_file_name=MEMBER,
        observables=ObservableFrame(
            {name: ObservableArray(chance.normal(size=12) * units) for name, units in OBSERVABLES.items()}
        ),
        statistical_inefficiency=float(chance.uniform(1, 50)),
        number_of_molecules=n_molecules(number),
    )


def member(number: int) -> bytes:
    """Return the file of an object."""
    return f"REMARK  simulation {number}\n".encode() + b"HETATM    1  O   HOH     1       0.000   0.000\n" * 8


def order(size: int) -> list[int]:
    """Return the numbers of the objects in the order in which they are stored."""
    numbers = list(range(size))
    random.Random(size).shuffle(numbers)
    return numbers


def key_of(number: int) -> str:
    """Return the key of an object."""
    return f"{random.Random(number).getrandbits(128):032x}"


def store(backend: HDF5Storage, numbers: list[int], directory: Path) -> Iterator[float]:
    """Store objects in one transaction; yield the seconds that each call took."""
    with backend.transaction():
        for number in numbers:
            stored = simulation(number)
            (directory / MEMBER).write_bytes(member(number))
            key = key_of(number)
            start = time.perf_counter()
            backend.store_object(stored, directory, storage_key=key)
            yield time.perf_counter() - start


def container(size: int) -> Path:
    """Return a container of so many objects, which is built if it is not there yet."""
    path = WORK / f"{size}.h5"
    if path.exists():
        return path
    WORK.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.h5")
    unfinished.unlink(missing_ok=True)
    start = time.perf_counter()
    numbers = order(size)
    with tempfile.TemporaryDirectory() as folder, HDF5Storage(unfinished, durability="close") as backend:
        for first in range(0, size, TRANSACTION):
            seconds = sum(store(backend, numbers[first : first + TRANSACTION], Path(folder)))
            if first % (20 * TRANSACTION) == 0:
                print(f"  {first:7} objects, {1e6 * seconds / TRANSACTION:.0f} us each", flush=True)
    unfinished.rename(path)
    print(f"built {path.name} in {time.perf_counter() - start:.0f} s: {path.stat().st_size / 1e6:.0f} MB")
    return path


def documents(size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and document of each object in stored order, as JSON can say them."""
    for number in order(size):
        yield key_of(number), json.loads(json.dumps(simulation(number).to_document(), default=_plain))


def _plain(value: object) -> Any:
    return np.asarray(value).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the containers of benchmarks/queries.py.")
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 10_000, 100_000])
    for size in parser.parse_args().sizes:
        container(size)


if __name__ == "__main__":
    main()

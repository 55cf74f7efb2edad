"""Containers that tests of reading from afar publish."""

import shutil
from pathlib import Path

import numpy as np

from simarchive import HDF5Storage
from simarchive.testing.sample_objects import simulation


def fill(path: Path, n_objects: int, member_bytes: int) -> None:
    """Make a container of simulations with a trajectory of so many bytes each."""
    random = np.random.default_rng(1)
    files = path.parent / "files"
    files.mkdir()
    (files / "output.pdb").write_text("ATOM      1  O   HOH\n" * 50)
    with HDF5Storage(path, codec="raw", durability="close") as backend, backend.transaction():
        for number in range(n_objects):
            (files / "trajectory.dcd").write_bytes(random.bytes(member_bytes))
            stored = simulation(calculation=str(number), inefficiency=1 + number / 1000, n_frames=40)
            backend.store_object(stored, files)
    shutil.rmtree(files)

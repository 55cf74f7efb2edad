"""What it costs to copy objects from one container into another, beside HDF5's own copy of the same groups.

    python benchmarks/copying.py [--objects 1000] [--member-mb 512] [--folder DIR]

CPU seconds, of this process and its threads; files in a folder that should lie in memory. HDF5's own copy
(`h5py.Group.copy`, as `h5copy` does) checks nothing, and makes no index.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from simarchive import HDF5Storage
from simarchive.storage.hdf5.upkeep import repack
from simarchive.testing.sample_objects import simulation

_PIECE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--member-mb", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        root = Path(folder)
        small = _filled(root, "small", chosen.objects, 1000)
        _compare(f"{chosen.objects} small objects, ms of each", small, root, 1000 / chosen.objects)
        large = _filled(root, "large", 1, chosen.member_mb << 20)
        _compare(f"one file of {chosen.member_mb} MB, s", large, root, 1.0)


def _filled(root: Path, name: str, n_objects: int, n_bytes: int) -> Path:
    """Return a new container of objects with one file each: a random walk of coordinates."""
    path, files = root / f"{name}.h5", root / name
    files.mkdir()
    random = np.random.default_rng(1)
    (files / "output.pdb").write_text("ATOM      1  O   HOH\n" * 50)
    with HDF5Storage(path, durability="close") as backend, backend.transaction():
        for number in range(n_objects):
            with (files / "trajectory.dcd").open("wb") as file:
                for start in range(0, n_bytes, _PIECE):
                    n_values = min(_PIECE, n_bytes - start) // 4
                    file.write(random.normal(0, 10, n_values).astype("<f4").tobytes())
            stored = simulation(calculation=str(number), inefficiency=1 + number / 1000, n_frames=40)
            backend.store_object(stored, files)
    (files / "trajectory.dcd").unlink()
    return path


def _compare(what: str, path: Path, root: Path, scale: float) -> None:
    print(what)
    own = _cpu_s(lambda: _by_hdf5(path, root / "own.h5"))
    print(f"  HDF5's own copy  {own * scale:8.3f}")
    for name, copy in (("merge", _merge), ("pull", _pull), ("repack", _repack)):
        spent = _cpu_s(lambda copy=copy: copy(path, root / "copy.h5"))  # type: ignore[misc]
        print(f"  {name:15}  {spent * scale:8.3f}  x {spent / own:.1f}")
        (root / "copy.h5").unlink()
    (root / "own.h5").unlink()


def _cpu_s(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _by_hdf5(path: Path, target: Path) -> None:
    with h5py.File(path, "r") as source, h5py.File(target, "w", libver=("v110", "v110")) as copy:
        source.copy("objects", copy)


def _merge(path: Path, target: Path) -> None:
    with HDF5Storage(target, durability="close") as copy, HDF5Storage(path, mode="r") as source:
        copy.update(source)


def _pull(path: Path, target: Path) -> None:
    with HDF5Storage(target, durability="close") as copy:
        copy.pull(path)


def _repack(path: Path, target: Path) -> None:
    target.write_bytes(path.read_bytes())
    repack(target)


if __name__ == "__main__":
    main()

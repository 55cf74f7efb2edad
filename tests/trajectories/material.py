"""Real trajectories, containers that hold them, and what a reader of MDAnalysis says of a frame."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import MDAnalysisTests
import numpy as np
import pytest
from MDAnalysis.core._get_readers import get_reader_for

from simarchive import HDF5Storage, TrainedModelData
from simarchive.codecs import deflate, raw, trajectory, zstd

DATA = Path(MDAnalysisTests.__file__).parent / "data"
ENDINGS = (".dcd", ".xtc", ".trr", ".nc", ".ncdf")
# What the readers of MDAnalysis do not open either.
UNREADABLE = {"empty.dcd"}

TRAJECTORIES = {
    path.relative_to(DATA).as_posix(): path
    for path in sorted(DATA.rglob("*"))
    if path.suffix in ENDINGS and path.name not in UNREADABLE
}
CODECS = ("deflate", "zstd", "trajectory", "raw")


def store(
    path: Path, files: Mapping[str, Path | bytes], place: Path, *, codec: str = "deflate", key: str = "k1"
) -> str:
    """Store files as one object of a container, and return its key."""
    place.mkdir(parents=True)
    for name, content in files.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content)
    described = TrainedModelData(name=key, framework="none", target_property="none", domain="tests")
    with HDF5Storage(path, codec=codec) as backend:
        return backend.store_object(described, place, storage_key=key)


def small_chunks(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    """Have members stored in chunks of this size."""
    for kind in (
        deflate.ShuffledDeflate,
        deflate.PlainDeflate,
        zstd.ShuffledZstd,
        zstd.PlainZstd,
        raw.Raw,
        trajectory.Trajectory,
    ):
        monkeypatch.setattr(kind, "chunk_bytes", chunk_bytes)


def said_of(ts: Any) -> dict[str, Any]:
    """Return all that a timestep says, as something that can be compared bit for bit."""
    return {
        "frame": ts.frame,
        "positions": ts.positions.tobytes() if ts.has_positions else None,
        "velocities": ts.velocities.tobytes() if ts.has_velocities else None,
        "forces": ts.forces.tobytes() if ts.has_forces else None,
        "dimensions": None if ts.dimensions is None else ts.dimensions.tobytes(),
        "time": np.float64(ts.time).tobytes(),
        "dt": np.float64(ts.dt).tobytes(),
        "data": {name: np.asarray(value).tobytes() for name, value in ts.data.items()},
    }


def native(path: Path, scratch: Path) -> Any:
    """Return MDAnalysis' own reader of a copy: it writes the offsets of frames beside XTC and TRR files."""
    copy = scratch / path.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return open_reader(str(copy))


def open_reader(name: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        # DCD readers warn everybody; NetCDF readers of files without times, or with fewer attributes.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        return get_reader_for(name)(name, **options)


def all_of(reader: Any, numbers: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """Return what a reader says of all frames in order, or of some, one after the other."""
    if numbers is None:
        return [said_of(ts) for ts in reader]
    return [said_of(reader[number]) for number in numbers]

"""A byte that changed in the midst of a trajectory, on a disk or a server, never makes it a shorter one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import pytest
from material import CODECS, TRAJECTORIES, open_reader, small_chunks, store

import simarchive.interop.mdanalysis  # noqa: F401
from simarchive import CorruptMemberError, FrameReadError, HDF5Storage
from simarchive.container.members import window

sys.path.append(str(Path(__file__).parents[1] / "remote"))
from range_server import RangeServer, serving

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:mdtraj")
NAMES = ("adk_dims.dcd", "adk_oplsaa.xtc", "cobrotoxin.trr", "Amber/bala.ncdf")


def topology_of(n_atoms: int) -> mdtraj.Topology:
    topology = mdtraj.Topology()
    residue = topology.add_residue("XXX", topology.add_chain())
    for _ in range(n_atoms):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    return topology


def with_mdanalysis(address: str, name: str) -> Iterator[object]:
    return iter(open_reader(f"{address}::k1/{name}"))


def with_frames(address: str, name: str) -> Iterator[object]:
    with HDF5Storage(address, mode="r") as backend, backend.frames("k1", name) as frames:
        yield from frames


def with_mdtraj(address: str, name: str) -> Iterator[object]:
    with HDF5Storage(address, mode="r") as backend:
        top = topology_of(backend.frames("k1", name).n_atoms)
        yield from backend.mdtraj_chunks("k1", name, top=top, chunk=1)


WAYS = {"MDAnalysis": with_mdanalysis, "frames": with_frames, "mdtraj": with_mdtraj}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    """A server of containers, one for each codec, in which a byte in the midst of each member changed."""
    place = tmp_path_factory.mktemp("flipped")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 64 << 10)
        for codec in CODECS:
            path = place / f"{codec}.h5"
            store(path, {name: TRAJECTORIES[name] for name in NAMES}, place / codec, codec=codec)
            shutil.copyfile(path, place / f"{codec}-sound.h5")
            with HDF5Storage(path, mode="r") as backend:
                tables = [backend.frames("k1", name)._source.chunks.table for name in NAMES]
            with path.open("r+b") as file:
                for table in tables:
                    chunk = table.n_chunks // 2
                    at = int(table.offsets[chunk]) + int(table.stored_sizes[chunk]) // 2
                    file.seek(at)
                    [byte] = file.read(1)
                    file.seek(at)
                    file.write(bytes([byte ^ 4]))
    with serving(place) as server:
        yield server


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("codec", "far"), [*((codec, False) for codec in CODECS), ("deflate", True)])
@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_byte_is_an_error_by_name(
    name: str, codec: str, way: str, far: bool, served: RangeServer
) -> None:
    served.forget()
    address = f"{served.url}/{codec}.h5" if far else str(served.directory / f"{codec}.h5")
    read = 0
    with pytest.raises(CorruptMemberError, match=rf"{Path(name).name}.*chunk \d+ .* is damaged"):
        for _ in WAYS[way](address, name):
            read += 1
    with HDF5Storage(served.directory / f"{codec}.h5", mode="r") as backend:
        assert read < len(backend.frames("k1", name)) // 2 + 2
    assert bool(served.requests) == far


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_fails_midway_is_an_error_too(
    name: str, way: str, served: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container is gone from the server after some frames, and more are wanted."""
    monkeypatch.setattr(window, "_AHEAD_BYTES", 64 << 10)
    own = served.directory / "own.h5"
    shutil.copyfile(served.directory / "deflate-sound.h5", own)
    frames = WAYS[way](f"{served.url}/own.h5", name)
    next(frames)
    own.unlink()
    monkeypatch.setattr("simarchive.remote.far_file.FarFile._fetch_chunks", _fails)
    with pytest.raises(FrameReadError, match=Path(name).name):
        list(frames)


def _fails(*_: object) -> bytes:
    raise TimeoutError("the server does not answer")

"""Trajectories of mdtraj from members are those that it loads from the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from material import DATA, TRAJECTORIES, small_chunks, store

from simarchive import HDF5Storage, InvalidDataError, LocalFileStorage
from simarchive.storage.trajectories import mdtraj as excerpts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:mdtraj")

PAIRS = {"adk_dims.dcd": "adk.psf", "Amber/bala.ncdf": "Amber/bala.prmtop"}


def topology_of(n_atoms: int) -> mdtraj.Topology:
    topology = mdtraj.Topology()
    residue = topology.add_residue("XXX", topology.add_chain())
    for _ in range(n_atoms):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    return topology


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mdtraj")
    files = TRAJECTORIES | {
        "adk.psf": DATA / "adk.psf",
        "Amber/bala.prmtop": DATA / "Amber" / "bala.prmtop",
        "notes.txt": b"notes",
        "broken.psf": b"PSF\n\n nonsense !NATOM\n",
        "topol.tpr": b"binary",
    }
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 64 << 10)
        store(place / "a.h5", files, place / "files")
    return place / "a.h5"


def check_same(ours: mdtraj.Trajectory, theirs: mdtraj.Trajectory) -> None:
    assert ours.xyz.tobytes() == theirs.xyz.tobytes()
    assert np.array_equal(ours.time, theirs.time)
    assert (ours.unitcell_lengths is None) == (theirs.unitcell_lengths is None)
    if theirs.unitcell_lengths is not None:
        assert np.array_equal(ours.unitcell_lengths, theirs.unitcell_lengths, equal_nan=True)
        assert np.array_equal(ours.unitcell_angles, theirs.unitcell_angles, equal_nan=True)


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_all_that_mdtraj_reads(name: str, container: Path, tmp_path: Path) -> None:
    suffix = TRAJECTORIES[name].suffix
    copy = shutil.copyfile(TRAJECTORIES[name], tmp_path / f"x{suffix}")
    with HDF5Storage(container, mode="r") as backend:
        topology = topology_of(backend.frames("k1", name).n_atoms)
        theirs = mdtraj.load(str(copy), top=topology)
        check_same(backend.mdtraj("k1", name, top=topology), theirs)
        if len(theirs) > 3:
            check_same(backend.mdtraj("k1", name, top=topology, stride=2), theirs[::2])
            picked = backend.mdtraj("k1", name, top=topology, frames=[3, 0, -1], atom_indices=[4, 1])
            assert np.array_equal(picked.xyz, theirs.xyz[[3, 0, -1]][:, [4, 1]])
            check_same(backend.mdtraj("k1", name, top=topology, frames=slice(None, None, -1)), theirs[::-1])
            pieces = list(backend.mdtraj_chunks("k1", name, top=topology, chunk=2, stride=2, skip=1))
            assert np.array_equal(np.concatenate([piece.xyz for piece in pieces]), theirs.xyz[1::2])
            assert {len(piece) for piece in pieces[:-1]} <= {2}


@pytest.mark.parametrize("name", ["adk_dims.dcd", "Amber/bala.ncdf"])
def test_topologies_of_the_object(name: str, container: Path) -> None:
    with HDF5Storage(container, mode="r") as backend:
        found = backend.mdtraj("k1", name, top=PAIRS[name], frames=5)
        assert found.topology == mdtraj.load_topology(str(DATA / PAIRS[name]))
        assert len(found) == 1


def test_an_object_of_evaluator_needs_no_names(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples" / "stored_data"
    key = "8d13dbc120154cbaade23403d2d22a29"
    with HDF5Storage(tmp_path / "a.h5") as backend, LocalFileStorage(examples, mode="r") as directory:
        backend.update(directory)
        copy = examples / key
        theirs = mdtraj.load(str(copy / "trajectory.dcd"), top=str(copy / "output.pdb"))
        ours = backend.mdtraj(key)
        check_same(ours, theirs)
        assert ours.topology == theirs.topology


def test_long_ones_are_read_in_several_excerpts(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excerpts, "_EXCERPT_BYTES", 100_000)
    for name in ("adk_dims.dcd", "Amber/bala.ncdf"):
        copy = shutil.copyfile(TRAJECTORIES[name], tmp_path / f"x{TRAJECTORIES[name].suffix}")
        top = str(DATA / PAIRS[name])
        with HDF5Storage(container, mode="r") as backend:
            check_same(backend.mdtraj("k1", name, top=PAIRS[name]), mdtraj.load(str(copy), top=top))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": "notes.txt"}, "mdtraj reads no topology from 'notes.txt': name a file that ends in .pdb"),
        ({"top": "topol.tpr"}, "mdtraj reads no topology from 'topol.tpr'"),
        ({"top": "broken.psf"}, "'broken.psf' of object 'k1' is no topology that mdtraj can read"),
        ({"top": "Amber/bala.prmtop"}, "has 3341 atoms, and the topology 2661"),
        ({"top": 5}, "top=5 is no topology that mdtraj can read"),
        ({}, "more than one topology"),
        ({"top": "adk.psf", "stride": 0}, "stride is 1 or more, not 0"),
        ({"top": "adk.psf", "atom_indices": [3341]}, "atom indices are from 0 to 3340"),
        ({"top": "adk.psf", "frames": "all"}, "frames are named by"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    options: dict[str, object], message: str, container: Path
) -> None:
    with HDF5Storage(container, mode="r") as backend, pytest.raises(InvalidDataError, match=message):
        backend.mdtraj("k1", "adk_dims.dcd", **options)  # type: ignore[arg-type]
    if "frames" in options:
        return
    with HDF5Storage(container, mode="r") as backend, pytest.raises(InvalidDataError, match=message):
        list(backend.mdtraj_chunks("k1", "adk_dims.dcd", **options))  # type: ignore[arg-type]

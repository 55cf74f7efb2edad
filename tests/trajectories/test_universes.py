"""Universes of members are used as any other: copied, sent to processes, chained, transformed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import MDAnalysis
import numpy as np
import pytest
from material import DATA, all_of, native, small_chunks, store
from MDAnalysis.analysis.rms import RMSD
from MDAnalysis.transformations import translate

import simarchive.interop.mdanalysis  # noqa: F401
from simarchive import HDF5Storage, InvalidDataError, NotFoundError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:MDAnalysis"),
    pytest.mark.filterwarnings("ignore::UserWarning:MDAnalysis"),
    pytest.mark.filterwarnings("ignore:Reader has no dt information:UserWarning"),
]

N_ATOMS, N_FRAMES = 400, 30
TOPOLOGIES = {
    "adk_dims.dcd": "adk.psf",
    "small.dcd": "small.pdb",
    "small.xtc": "small.gro",
    "small.trr": "small.pdb",
    "Amber/bala.ncdf": "Amber/bala.prmtop",
}
ONE_OF_EACH = ("small.dcd", "small.xtc", "small.trr", "Amber/bala.ncdf")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real files, and a part of one as GRO, PDB, XTC and TRR."""
    place = tmp_path_factory.mktemp("files")
    found = {name: DATA / name for pair in TOPOLOGIES.items() for name in pair}
    found["Linear_Angle.tpr"] = DATA / "tprs" / "Linear_Angle.tpr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms = MDAnalysis.Universe(found["adk.psf"], found["adk_dims.dcd"]).atoms[:N_ATOMS]
        for name in ("small.gro", "small.pdb", "small.dcd", "small.xtc", "small.trr"):
            found[name] = place / name
            frames = atoms.universe.trajectory[:N_FRAMES] if name.endswith(("dcd", "xtc", "trr")) else None
            atoms.write(place / name, frames=frames)
    return found


@pytest.fixture(scope="module")
def container(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("adk")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch, 16 << 10)
        store(place / "adk.h5", files, place / "files", key="adk-run")
    return place / "adk.h5"


def address(container: Path, name: str, key: str = "adk") -> str:
    return f"{container}::{key}/{name}"


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_topologies_and_trajectories_open_without_a_keyword(
    name: str, container: Path, files: dict[str, Path]
) -> None:
    ours = universe_of(container, name)
    theirs = MDAnalysis.Universe(files[TOPOLOGIES[name]], files[name])
    assert ours.atoms.names.tolist() == theirs.atoms.names.tolist()
    for attribute in ("charges", "bonds"):
        assert hasattr(ours.atoms, attribute) == hasattr(theirs.atoms, attribute)
    assert np.array_equal(ours.atoms.positions, theirs.atoms.positions)


def test_tpr_files_are_topologies(container: Path, files: dict[str, Path]) -> None:
    theirs = MDAnalysis.Universe(files["Linear_Angle.tpr"])
    ours = MDAnalysis.Universe(address(container, "Linear_Angle.tpr"))
    assert ours.atoms.names.tolist() == theirs.atoms.names.tolist()
    assert ours.atoms.charges.tolist() == theirs.atoms.charges.tolist()


def test_a_file_of_coordinates_alone_is_a_universe(container: Path, files: dict[str, Path]) -> None:
    universe = MDAnalysis.Universe(address(container, "small.gro"))
    assert np.array_equal(universe.atoms.positions, MDAnalysis.Universe(files["small.gro"]).atoms.positions)
    again = pickle.loads(pickle.dumps(universe))
    assert np.array_equal(universe.atoms.positions, again.atoms.positions)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_trajectory_alone_is_a_universe(name: str, container: Path, files: dict[str, Path]) -> None:
    universe = MDAnalysis.Universe(address(container, name))
    assert (
        universe.trajectory[3].positions.tobytes()
        == universe_of(container, name).trajectory[3].positions.tobytes()
    )


def test_a_topology_without_coordinates_is_a_universe(container: Path) -> None:
    universe = MDAnalysis.Universe(address(container, "adk.psf"))
    assert len(universe.atoms) == 3341
    assert not hasattr(universe, "trajectory")


def universe_of(container: Path, name: str) -> MDAnalysis.Universe:
    return MDAnalysis.Universe(address(container, TOPOLOGIES[name]), address(container, name))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_copies_and_pickles_stand_where_the_reader_stood_and_go_their_own_way(
    name: str, container: Path
) -> None:
    universe = universe_of(container, name)
    universe.trajectory[3]
    for other in (universe.copy(), pickle.loads(pickle.dumps(universe))):
        assert other.trajectory.frame == 3
        assert np.array_equal(other.atoms.positions, universe.atoms.positions)
        other.trajectory[6]
        assert universe.trajectory.frame == 3
        assert other.trajectory.next().frame == 7
        assert universe.trajectory.next().frame == 4
        universe.trajectory[3]


@pytest.mark.parametrize("backend", ["multiprocessing", "dask"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_analysis_runs_in_several_processes(name: str, backend: str, container: Path) -> None:
    universe = universe_of(container, name)
    alone = RMSD(universe).run(stop=8).results.rmsd
    shared = RMSD(universe_of(container, name)).run(
        stop=8, backend=backend, n_workers=2, unsupported_backend=True
    )
    assert np.array_equal(alone, shared.results.rmsd)


def positions_in_child(universe: MDAnalysis.Universe, sent: multiprocessing.connection.Connection) -> None:
    sent.send([ts.positions.sum(dtype=np.float64) for ts in universe.trajectory[2:9:3]])
    sent.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_other_processes_read_too(method: str, name: str, container: Path) -> None:
    if method == "spawn" and name != "small.xtc":
        return  # what is sent is what `test_copies_and_pickles` has; a new interpreter takes two seconds
    universe = universe_of(container, name)
    here = [ts.positions.sum(dtype=np.float64) for ts in universe.trajectory[2:9:3]]
    universe.trajectory[5]
    context = multiprocessing.get_context(method)
    received, sent = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
        child = context.Process(target=positions_in_child, args=(universe, sent))
        child.start()
    sent.close()
    there = received.recv()
    # The parent reads on meanwhile, from the same places.
    assert universe.trajectory.frame == 5
    assert here == there == [ts.positions.sum(dtype=np.float64) for ts in universe.trajectory[2:9:3]]
    child.join()
    assert child.exitcode == 0


def test_chains_of_members_and_files_are_one_trajectory(container: Path, tmp_path: Path) -> None:
    parts = [
        address(container, "adk_dims.dcd"),
        str(DATA / "adk_dims2.dcd"),
        address(container, "adk_dims.dcd"),
    ]
    chain = MDAnalysis.Universe(address(container, "adk.psf"), parts)
    theirs = MDAnalysis.Universe(
        DATA / "adk.psf", [DATA / "adk_dims.dcd", DATA / "adk_dims2.dcd", DATA / "adk_dims.dcd"]
    )
    chain.trajectory[190]
    again = pickle.loads(pickle.dumps(chain))
    assert again.trajectory.frame == 190
    for number in (0, 97, 98, 190, len(theirs.trajectory) - 1):
        assert np.array_equal(again.trajectory[number].positions, theirs.trajectory[number].positions)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_transformations_and_memory(
    name: str, container: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    universe = universe_of(container, name)
    plain = all_of(native(files[name], tmp_path))
    universe.trajectory.add_transformations(translate([1, 2, 3]))
    moved = universe.trajectory[4].positions - np.array([1, 2, 3], np.float32)
    first = np.frombuffer(plain[4]["positions"], np.float32).reshape(-1, 3)
    assert np.allclose(moved, first, atol=1e-4)
    universe = universe_of(container, name)
    universe.transfer_to_memory(step=3)
    kept = [said["positions"] for said in plain[::3]]
    assert [ts.positions.tobytes() for ts in universe.trajectory] == kept


def test_the_backend_opens_what_the_document_names_or_is_told(container: Path) -> None:
    with HDF5Storage(container, mode="r") as backend:
        with pytest.raises(InvalidDataError, match=r"more than one topology: name one of .*adk\.psf"):
            backend.universe("adk-run")
        with pytest.raises(InvalidDataError, match="more than one trajectory"):
            backend.universe("adk-run", "adk.psf")
        with pytest.raises(NotFoundError, match=r"nothing\.dcd"):
            backend.universe("adk-run", "adk.psf", "nothing.dcd")
        universe = backend.universe("adk-run", "adk.psf", "adk_dims.dcd")
        chain = backend.universe("adk", "adk.psf", ["adk_dims.dcd"] * 2)
        assert len(chain.trajectory) == 2 * len(universe.trajectory)
    # It reads on by itself when the backend is closed.
    assert universe.trajectory[50].frame == 50


def test_what_is_no_address_is_left_to_mdanalysis(
    container: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    odd = tmp_path / "a::b"
    odd.mkdir()
    shutil.copyfile(files["small.gro"], odd / "x.gro")
    assert len(MDAnalysis.Universe(odd / "x.gro").atoms) == N_ATOMS
    inside = odd / "adk.h5"
    inside.write_bytes(container.read_bytes())
    assert len(MDAnalysis.Universe(f"{inside}::adk/adk.psf").atoms) == 3341


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{}::adk/missing.dcd", NotFoundError, "missing.dcd"),
        ("{}::other/adk_dims.dcd", NotFoundError, "no object has a key that is or starts with 'other'"),
        ("{}.missing::adk/adk_dims.dcd", NotFoundError, "missing"),
        ("{}::adk/adk.psf/adk_dims.dcd", NotFoundError, "adk.psf/adk_dims.dcd"),
    ],
)
def test_addresses_of_nothing_say_so(
    text: str, error: type[Exception], message: str, container: Path
) -> None:
    with pytest.raises(error, match=message):
        MDAnalysis.Universe(address(container, "adk.psf"), text.format(container))


def test_a_start_that_several_keys_share_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    for key in ("run-1", "run-2"):
        store(tmp_path / "a.h5", {"x.gro": files["small.gro"]}, tmp_path / key, key=key)
    # MDAnalysis says it in its own words around ours.
    with pytest.raises(ValueError, match="2 keys start with 'run': run-1, run-2"):
        MDAnalysis.Universe(f"{tmp_path / 'a.h5'}::run/x.gro")


def test_nothing_is_written_and_no_offsets_are_left(container: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in container.parent.iterdir())
    program = f"""
        import os, warnings
        warnings.simplefilter("ignore")
        import MDAnalysis, simarchive.interop.mdanalysis
        def written():
            lines = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
            return int(lines["write_bytes"])
        before = written()
        for name in {list(ONE_OF_EACH)!r}:
            reader = MDAnalysis.coordinates.core.reader("{container}::adk/" + name)
            for ts in reader: pass
            reader[0]
            reader.close()
        print(written() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=container.parent,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": "/nonexistent"},
    )
    assert done.stdout == "0\n"
    assert sorted((path.name, path.stat().st_mtime_ns) for path in container.parent.iterdir()) == before


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield

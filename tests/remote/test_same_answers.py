"""What is read from afar is what a local reader of the same file gets, call by call."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from MDAnalysisTests.datafiles import DCD, GRO, PSF, XTC
from range_server import RangeServer

from simarchive import (
    Between,
    EquilibrationDataQuery,
    ForceFieldData,
    ForceFieldQuery,
    FreeEnergyDataQuery,
    HDF5Storage,
    SimulationDataQuery,
    SmirnoffForceFieldSource,
    Substance,
    SubstanceQuery,
)
from simarchive.queries import BaseDataQuery
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.merging import merge
from simarchive.testing.sample_objects import equilibration, free_energy, simulation, write_files


@pytest.fixture(scope="module")
def rich(served: RangeServer) -> Path:
    """A published container with objects of all kinds, shared files, large arrays and real trajectories."""
    path = served.directory / "rich.h5"
    folder = served.directory / "rich"
    files = write_files(folder)
    with HDF5Storage(path) as backend, backend.transaction():
        backend.store_object(ForceFieldData(force_field_source=SmirnoffForceFieldSource("<SMIRNOFF/>")))
        (files / "trajectory.dcd").write_bytes(Path(DCD).read_bytes())
        (files / "output.pdb").write_bytes(Path(PSF).read_bytes())
        (files / "system.psf").write_bytes(Path(PSF).read_bytes())
        backend.store_object(simulation("large", n_frames=20_000), files)
        (files / "system.psf").unlink()
        (files / "trajectory.dcd").write_bytes(bytes(3_000_000))
        for number in range(40):
            backend.store_object(simulation(str(number), inefficiency=1 + number / 10), files)
        (files / "run.xtc").write_bytes(Path(XTC).read_bytes())
        (files / "run.gro").write_bytes(Path(GRO).read_bytes())
        (files / "run.sh").write_text("#!/bin/sh\n")
        (files / "run.sh").chmod(0o755)
        backend.store_object(equilibration("layer"), files)
        backend.store_object(free_energy(3.0), files)
        backend.set_metadata(title="Water", authors=["Ada Lovelace"])
    repack(path, publish=True)
    return path


@pytest.fixture
def both(server: RangeServer, rich: Path) -> Iterator[tuple[HDF5Storage, HDF5Storage]]:
    with HDF5Storage(rich, mode="r") as local, HDF5Storage(f"{server.url}/rich.h5", mode="r") as far:
        yield local, far


Both = tuple[HDF5Storage, HDF5Storage]

QUERIES: list[BaseDataQuery | str] = [
    SimulationDataQuery(),
    SimulationDataQuery(statistical_inefficiency=Between(2, 3)),
    SimulationDataQuery(
        substance=Substance.from_components("O"), substance_query=SubstanceQuery(components_only=True)
    ),
    EquilibrationDataQuery(),
    FreeEnergyDataQuery(),
    ForceFieldQuery(),
    "T=290..310K",
    "phase=liquid substance=O",
]


def plain(found: Any) -> Any:
    return [(values, [(match[0], match[1]) for match in matches]) for values, matches in found.items()]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_query_finds_the_same(both: Both, query: Any) -> None:
    local, far = both
    assert plain(far.query(query)) == plain(local.query(query))
    assert far.keys(query) == local.keys(query)
    assert far.count(query) == local.count(query)
    assert repr(far.columns(query)) == repr(local.columns(query))


def test_every_object_header_and_file_is_the_same(both: Both, tmp_path: Path) -> None:
    local, far = both
    assert far.keys() == local.keys()
    assert list(far.headers()) == list(local.headers())
    for key in local.keys()[:4] + local.keys()[-3:]:
        assert far.load(key) == local.load(key)
        assert far.list_members(key) == local.list_members(key)
        written = local.extract(key, tmp_path / "a" / key), far.extract(key, tmp_path / "b" / key)
        for one, other in zip(*written, strict=True):
            assert one.read_bytes() == other.read_bytes()
            assert one.stat().st_mode == other.stat().st_mode


def test_what_the_container_says_of_itself_is_the_same(both: Both) -> None:
    local, far = both
    assert far.metadata == local.metadata
    mine, other = local.statistics().as_dict(), far.statistics().as_dict()
    assert other.pop("path") != mine.pop("path")
    assert other == mine
    assert far.verify(full=True).problems == local.verify(full=True).problems
    assert far.is_same_store(far)
    assert not far.is_same_store(local)


def test_large_arrays_are_fetched_when_they_are_used(server: RangeServer, both: Both) -> None:
    local, far = both
    key = next(iter(local.keys("phase=liquid")))
    server.forget()
    tree = far.retrieve_document(key)[2]
    said = server.n_bytes
    assert said < 100_000
    mine = local.retrieve_document(key)[2]
    for one, other in zip(arrays_of(mine), arrays_of(tree), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert server.n_bytes - said > 100_000


def arrays_of(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [array for value in tree.values() for array in arrays_of(value)]
    return [tree] if hasattr(tree, "__array__") else []


def test_files_are_read_by_range(both: Both) -> None:
    local, far = both
    key = far.keys("phase=liquid")[0]
    with far.open_member(key, "trajectory.dcd") as file, local.open_member(key, "trajectory.dcd") as mine:
        for offset in (0, 1_000_000, 5, 2_999_999, 123_456):
            assert file.seek(offset) == mine.seek(offset)
            assert file.read(1000) == mine.read(1000)


def test_a_part_of_a_file_costs_a_part(server: RangeServer, both: Both) -> None:
    _, far = both
    key = far.keys("phase=liquid")[0]
    size = next(info.stored_size for info in far.list_members(key) if info.name == "trajectory.dcd")
    server.forget()
    with far.open_member(key, "trajectory.dcd") as file:
        file.seek(1_500_000)
        file.read(10)
    assert server.n_bytes < 0.6 * size


@pytest.mark.filterwarnings("ignore:DCDReader currently:DeprecationWarning")
def test_frames_and_universes_are_the_same(both: Both) -> None:
    local, far = both
    key = far.keys("phase=liquid")[0]
    frames, mine = far.frames(key)[::20], local.frames(key)[::20]
    assert np.array_equal(frames.positions, mine.positions)
    universe, other = (b.universe(key, "system.psf", "trajectory.dcd") for b in (far, local))
    for one, two in zip(universe.trajectory[::30], other.trajectory[::30], strict=True):
        assert np.array_equal(one.positions, two.positions)
    again = pickle.loads(pickle.dumps(universe))
    assert np.array_equal(again.trajectory[7].positions, other.trajectory[7].positions)


def test_an_xtc_is_read_where_it_lies(both: Both) -> None:
    local, far = both
    [key] = far.keys("class=equilibration")
    assert np.array_equal(far.frames(key, "run.xtc")[3].positions, local.frames(key, "run.xtc")[3].positions)


def test_files_are_copied_into_a_container_of_ones_own(both: Both, tmp_path: Path) -> None:
    local, far = both
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        merge(mine, far)
        assert mine.keys() == local.keys()
        for key in local.keys()[:3]:
            assert mine.list_members(key) == local.list_members(key)

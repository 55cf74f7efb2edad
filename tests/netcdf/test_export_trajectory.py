"""A trajectory of an object as a file of another kind: other programs read in it what is in the original."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import MDAnalysis
import mdtraj
import netCDF4
import numpy as np
import pytest
from MDAnalysisTests import datafiles

from simarchive import (
    ConflictError,
    CorruptError,
    HDF5Storage,
    InvalidDataError,
    NotFoundError,
    SimulationRun,
    StorageIOError,
)
from simarchive.cli.application import main
from simarchive.storage.runs import structures
from simarchive.storage.runs.file_reading import RunFile, UnreadableError

TRR, XTC, GRO = map(Path, (datafiles.TRR, datafiles.XTC, datafiles.GRO))
PSF, DCD = Path(datafiles.PSF), Path(datafiles.DCD)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    for name, files in {"dcd": (PSF, DCD), "trr": (GRO, TRR), "bare": (DCD,)}.items():
        (folder / name).mkdir()
        for file in files:
            shutil.copy(file, folder / name / file.name)
    with HDF5Storage(folder / "a.h5") as backend:
        for name in ("dcd", "trr", "bare"):
            backend.store_object(SimulationRun(name=name), folder / name, storage_key=name)
    return folder / "a.h5"


@pytest.fixture
def backend(container: Path) -> Iterator[HDF5Storage]:
    with HDF5Storage(container, mode="r") as backend:
        yield backend


def test_netcdf4_has_what_the_original_has(backend: HDF5Storage, tmp_path: Path) -> None:
    path = tmp_path / "out.nc"
    assert backend.export_trajectory("dcd", path, frames=slice(3, 40, 5)) == 8
    original = MDAnalysis.Universe(str(PSF), str(DCD))
    with netCDF4.Dataset(path) as file:
        assert (file.Conventions, file.ConventionVersion, file.program) == ("AMBER", "1.0", "simarchive")
        assert file["coordinates"].dimensions == ("frame", "atom", "spatial")
        assert file["coordinates"].units == "angstrom"
        assert file["coordinates"].chunking() == [1, original.atoms.n_atoms, 3]
        assert file["coordinates"].filters()["zlib"]
        for place, frame in enumerate(original.trajectory[3:40:5]):
            assert file["coordinates"][place].data.tobytes() == frame.positions.tobytes()
            assert file["time"][place] == np.float32(frame.time)
    # mdtraj reads netCDF-4 of these names, in nanometres.
    with mdtraj.open(str(path)) as opened:
        positions, *_ = opened.read()
    assert np.array_equal(positions[1], original.trajectory[8].positions)
    assert path.stat().st_size < 8 * original.atoms.n_atoms * 12


def test_netcdf4_has_velocities_forces_and_boxes(backend: HDF5Storage, tmp_path: Path) -> None:
    backend.export_trajectory("trr", tmp_path / "out.nc", selection="name OW", frames=slice(0, 4))
    original = MDAnalysis.Universe(str(GRO), str(TRR))
    atoms = original.select_atoms("name OW")
    with netCDF4.Dataset(tmp_path / "out.nc") as file:
        for place, frame in enumerate(original.trajectory[:4]):
            assert np.array_equal(file["coordinates"][place], atoms.positions)
            assert np.array_equal(file["velocities"][place], atoms.velocities)
            assert np.array_equal(file["cell_lengths"][place], frame.dimensions[:3])
            assert np.array_equal(file["cell_angles"][place], frame.dimensions[3:])
        assert file["velocities"].units == "angstrom/picosecond"
        assert file["cell_angular"][:].tobytes() == b"alphabeta gamma"


def test_h5md_has_what_the_original_has(backend: HDF5Storage, tmp_path: Path) -> None:
    path = tmp_path / "out.h5md"
    assert backend.export_trajectory("trr", path, frames=slice(0, 5)) == 5
    original = MDAnalysis.Universe(str(GRO), str(TRR))
    exported = MDAnalysis.Universe(str(GRO), str(path))
    for ours, theirs in zip(original.trajectory[:5], exported.trajectory, strict=True):
        np.testing.assert_allclose(theirs.positions, ours.positions, rtol=1e-6)
        np.testing.assert_allclose(theirs.velocities, ours.velocities, rtol=1e-6)
        np.testing.assert_allclose(theirs.dimensions, ours.dimensions, rtol=1e-6)
        assert theirs.time == ours.time
    with h5py.File(path) as file:
        assert file["particles/trajectory/position/value"].chunks == (1, original.atoms.n_atoms, 3)
        assert file["h5md/creator"].attrs["name"] == "simarchive"
    exported.trajectory.close()


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "ncdf", "pdb"])
def test_others_are_written_as_mdanalysis_does(backend: HDF5Storage, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    assert (
        backend.export_trajectory("trr", path, selection="protein and name CA", frames=slice(-2, None)) == 2
    )
    original = MDAnalysis.Universe(str(GRO), str(TRR))
    atoms = original.select_atoms("protein and name CA")
    with MDAnalysis.coordinates.core.reader(str(path)) as exported:
        assert len(exported) == 2
        for frame, _ in zip(exported, original.trajectory[-2:], strict=True):
            assert np.abs(frame.positions - atoms.positions).max() < 0.02


def test_all_atoms_need_no_topology_and_a_selection_does(backend: HDF5Storage, tmp_path: Path) -> None:
    assert backend.export_trajectory("bare", tmp_path / "out.dcd") == 98
    with pytest.raises(NotFoundError, match="topology"):
        backend.export_trajectory("bare", tmp_path / "other.dcd", selection="name CA")
    assert [path.name for path in tmp_path.iterdir()] == ["out.dcd"]


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("out.foo", {}, InvalidDataError, "no trajectory can be written as 'out.foo'"),
        ("out.gro", {}, InvalidDataError, "no trajectory can be written"),
        ("out", {}, InvalidDataError, "no trajectory can be written"),
        ("there.nc", {}, ConflictError, "exists already"),
        (".", {}, ConflictError, "is a directory"),
        ("out.nc", {"selection": "nme CA"}, InvalidDataError, "'nme CA' is not understood"),
        ("out.nc", {"selection": "name XX"}, InvalidDataError, "chooses none of 3341 atoms"),
        ("out.nc", {"frames": slice(500, None)}, InvalidDataError, "no frame is chosen of 98"),
        ("out.nc", {"trajectory": "other.dcd"}, NotFoundError, r"other\.dcd"),
        ("none/out.nc", {}, StorageIOError, "cannot create a folder"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    backend: HDF5Storage, tmp_path: Path, name: str, options: dict, error: type, said: str
) -> None:
    (tmp_path / "there.nc").write_text("mine")
    with pytest.raises(error, match=said):
        backend.export_trajectory("dcd", tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nc"]
    assert (tmp_path / "there.nc").read_text() == "mine"


def test_a_damaged_chunk_leaves_no_file(container: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copy(container, tmp_path / "damaged.h5"))
    with h5py.File(damaged, "r") as file:
        dataset = file["objects/dcd/files"][DCD.name].id
        place = dataset.get_chunk_info(dataset.get_num_chunks() - 1).byte_offset + 100
    content = bytearray(damaged.read_bytes())
    content[place] ^= 4
    damaged.write_bytes(content)
    with HDF5Storage(damaged, mode="r") as backend, pytest.raises(CorruptError, match=r"chunk .* is damaged"):
        backend.export_trajectory("dcd", tmp_path / "out.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.h5"]


@pytest.mark.parametrize("ending", ["nc", "h5md"])
def test_what_is_exported_is_a_run_again(backend: HDF5Storage, tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    backend.export_trajectory("trr", folder / f"out.{ending}", frames=slice(0, 4))
    original = MDAnalysis.Universe(str(GRO), str(TRR))
    shutil.copy(GRO, folder / "a.gro")
    with HDF5Storage(tmp_path / "new.h5") as new:
        new.add_run(folder, storage_key="again")
        found = new.load("again")
    assert (found.n_frames, found.n_atoms) == (4, original.atoms.n_atoms)
    assert found.trajectory_file_names == [f"out.{ending}"]
    assert found.box == pytest.approx(original.dimensions.tolist(), rel=1e-5)
    if ending == "nc":
        assert found.frame_interval.m_as("picosecond") == pytest.approx(original.trajectory.dt)


def test_netcdf4_of_others_is_no_trajectory(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "other.nc", "w") as made:
        made.createDimension("x", 3)
    file = RunFile("other.nc", tmp_path / "other.nc")
    assert structures.is_netcdf4(file)
    with pytest.raises(UnreadableError, match="AMBER"):
        structures.read_netcdf4(file)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_the_command_writes_and_replaces_only_with_force(
    container: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.dcd"
    command = ("export", str(container), "dcd", "--to", str(target), "--start", "10", "--stop", "20")
    assert run(*command) == 0
    assert capsys.readouterr().out == f"{container} dcd -> {target}: 10 frames\n"
    size = target.stat().st_size
    assert run(*command) == ConflictError.exit_code
    assert "--force" in capsys.readouterr().err
    assert run(*command, "--step", "5", "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "path": str(container),
        "key": "dcd",
        "written": str(target),
        "n_frames": 2,
    }
    assert target.stat().st_size < size


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to", "x.nc"),
        ("dcd", "--to", "x.nc", "--citation", "y"),
        ("dcd", "--step", "2"),
        ("dcd", "--force"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    container: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", str(container), *arguments) == 2
    assert "--to" in capsys.readouterr().err

"""Cutting a container into volumes: below the size, each whole, together what was there."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from published_containers import fill

from simarchive import ConflictError, HDF5Storage, InvalidDataError
from simarchive.cli.application import application
from simarchive.storage.hdf5.copies.splitting import Volume

LIMIT = 600_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "all.h5"
    fill(path, 30, 40_000)
    with HDF5Storage(path) as backend:
        backend.set_metadata(title="Water", license="CC-BY-4.0")
        backend.add_note(backend.keys()[3], "looks odd")
        backend.remove_object(backend.keys()[5])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(application, list(map(str, arguments)))


def test_volumes_are_whole_below_the_size_and_together_the_source(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    with HDF5Storage(source, mode="r") as backend:
        volumes = backend.split(tmp_path / "part", LIMIT)
        keys, container_id = backend.keys(), backend.overview().container_id
        histories = {key: backend.history_lines(key) for key in keys}
    assert source.read_bytes() == before
    assert len(volumes) > 2
    assert [one.path.name for one in volumes] == [f"part-{n:03}.h5" for n in range(1, len(volumes) + 1)]
    assert [key for one in volumes for key in one.keys] == keys
    ids = {container_id}
    for one in volumes:
        assert one.path.stat().st_size == one.size_bytes <= LIMIT
        with HDF5Storage(one.path, mode="r") as volume:
            ids.add(volume.overview().container_id)
            assert volume.verify(full=True).exit_code == 0
            assert volume.keys() == volume.keys("class=any") == one.keys
            assert volume.metadata.title == "Water"
            assert {key: volume.history_lines(key) for key in one.keys} == {
                key: histories[key] for key in one.keys
            }
        assert one.path.read_bytes()[-112:].startswith(b"simmap01")
    assert len(ids) == len(volumes) + 1
    merged = tmp_path / "merged.h5"
    assert run("merge", *(one.path for one in volumes), "-o", merged).exit_code == 0
    assert json.loads(run("diff", source, merged, "--json").stdout)["equal"]


def test_a_dry_run_lists_the_volumes_and_makes_none(source: Path, tmp_path: Path) -> None:
    planned = json.loads(
        run("split", source, "--max-size", "600kB", "-o", tmp_path / "part", "-n", "--json").stdout
    )
    assert list(tmp_path.iterdir()) == []
    done = json.loads(run("split", source, "--max-size", "600kB", "-o", tmp_path / "part", "--json").stdout)
    names = [[one["path"], one["n_objects"]] for one in planned["volumes"]]
    assert names == [[one["path"], one["n_objects"]] for one in done["volumes"]]
    for before, after in zip(planned["volumes"], done["volumes"], strict=True):
        assert after["n_bytes"] <= before["n_bytes"] <= LIMIT


def test_an_object_that_does_not_fit_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    fill(path, 2, 200_000)
    with HDF5Storage(path, mode="r") as backend, pytest.raises(InvalidDataError) as caught:
        backend.split(tmp_path / "part", 150_000)
    with HDF5Storage(path, mode="r") as backend:
        assert all(key in str(caught.value) for key in backend)
    assert not list(tmp_path.glob("part*"))


def test_a_volume_never_takes_the_name_of_a_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "part-002.h5").write_text("mine")
    with HDF5Storage(source, mode="r") as backend, pytest.raises(ConflictError, match=r"part-002\.h5"):
        backend.split(tmp_path / "part", LIMIT)
    assert [path.name for path in tmp_path.iterdir()] == ["part-002.h5"]


def test_a_volume_that_came_out_too_large_is_cut_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HDF5Storage(source, mode="r") as backend:
        keys = backend.keys()
        whole = [Volume(tmp_path / "part-001.h5", keys, 0)]
        monkeypatch.setattr("simarchive.storage.hdf5.copies.splitting.planned", lambda *_: whole)
        volumes = backend.split(tmp_path / "part", LIMIT)
    assert len(volumes) > 2
    assert all(one.size_bytes <= LIMIT for one in volumes)
    assert [key for one in volumes for key in one.keys] == keys


@pytest.mark.parametrize("size", ["45", "0.5kB", "1KiB", "45 GB"])
def test_sizes_are_read(source: Path, tmp_path: Path, size: str) -> None:
    done = run("split", source, "--max-size", size, "-o", tmp_path / "part", "-n")
    assert isinstance(done.exception, InvalidDataError) == (size != "45 GB")


@pytest.mark.parametrize("size", ["much", "45iB", "-1GB", "1e3GB", ""])
def test_what_is_no_size_is_named(source: Path, size: str) -> None:
    done = run("split", source, "--max-size", size)
    assert done.exit_code == 2 or "is no size" in str(done.exception)

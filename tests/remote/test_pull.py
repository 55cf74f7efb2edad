"""Pulling objects from afar: few requests, chunks as they are, resumed, damage named."""

import io
import json
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result
from damage import flip
from range_server import RangeServer

from simarchive import HDF5Storage, NotFoundError, SmirnoffForceFieldSource, StorageIOError
from simarchive.cli.application import application
from simarchive.cli.failures import Findings
from simarchive.remote.map_format import Trailer
from simarchive.storage.hdf5.upkeep import repack
from simarchive.testing.sample_objects import simulation, write_files

N, FILE_BYTES = 60, 40_000
BATCH = 12 * FILE_BYTES  # some twelve objects


def run(*arguments: object) -> Result:
    return CliRunner().invoke(application, list(map(str, arguments)))


def committed(path: Path) -> list[str]:
    with HDF5Storage(path, mode="r") as backend:
        assert backend.verify(full=True).exit_code == 0
        return backend.keys()


def digests(path: Path | str) -> dict[str, dict[str, str]]:
    with HDF5Storage(path, mode="r") as backend:
        return {key: {info.name: info.digest for info in backend.list_members(key)} for key in backend}


class BreakingFile(io.FileIO):
    """A file that fails after so many bytes were read."""

    bytes_left = 1 << 60

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        data = super().read(size)
        self.bytes_left -= len(data)
        if self.bytes_left < 0:
            raise OSError("the line is dead")
        return data


def test_all_objects_come_in_a_request_for_each_batch_and_three(
    server: RangeServer, published: str, tmp_path: Path
) -> None:
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        report = mine.pull(published)
        stored = sum(info.stored_size for key in mine for info in mine.list_members(key))
    assert len(report.stored) == N
    assert len(server.requests) <= 4
    assert server.n_bytes < 1.2 * stored
    assert digests(tmp_path / "mine.h5") == digests(server.directory / "small.h5")


def test_batches_cost_a_request_each(server: RangeServer, published: str, tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        mine.pull(published, batch_bytes=BATCH)
    assert len(server.requests) <= 3 + N // 10


def test_large_arrays_come_with_the_files(server: RangeServer, tmp_path: Path) -> None:
    path = server.directory / "arrays.h5"
    with HDF5Storage(path) as backend, backend.transaction():
        files = write_files(tmp_path / "files")
        for number in range(20):
            backend.store_object(simulation(calculation=str(number), n_frames=3000), files)
    repack(path, publish=True)
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        assert len(mine.pull(f"{server.url}/arrays.h5").stored) == 20
    assert len(server.requests) <= 4
    assert len(committed(tmp_path / "mine.h5")) == 20


def test_a_container_without_a_map_is_pulled_with_a_warning(
    server: RangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        mine.pull(f"{server.url}/plain.h5")
    assert "--publish" in caplog.text
    assert len(server.requests) <= 20
    assert digests(tmp_path / "mine.h5") == digests(server.directory / "plain.h5")


def test_what_is_there_is_not_asked_for_again(server: RangeServer, published: str, tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        mine.pull(published)
        server.forget()
        report = mine.pull(published)
        assert (len(report.kept), report.stored, report.replaced) == (N, [], [])
    assert server.n_bytes < FILE_BYTES * 10  # documents only


def test_a_pull_goes_on_where_the_line_broke(server: RangeServer, tmp_path: Path) -> None:
    source, target = server.directory / "small.h5", tmp_path / "mine.h5"
    with BreakingFile(source) as file, HDF5Storage(target) as mine:
        file.bytes_left = 30 * FILE_BYTES
        with pytest.raises(StorageIOError, match="the line is dead"):
            mine.pull(file, batch_bytes=BATCH)
    first = committed(target)
    assert 11 <= len(first) < N
    with BreakingFile(source) as file, HDF5Storage(target) as mine:
        report = mine.pull(file, batch_bytes=BATCH)
        assert (1 << 60) - file.bytes_left < (N - len(first) + 8) * FILE_BYTES
    assert (sorted(report.kept), len(report.stored)) == (sorted(first), N - len(first))
    assert digests(target) == digests(source)


def test_an_interrupt_leaves_what_was_committed(published: str, tmp_path: Path) -> None:
    done: list[str] = []

    def count(key: str) -> None:
        done.append(key)
        if len(done) == 30:
            raise KeyboardInterrupt

    with HDF5Storage(tmp_path / "mine.h5") as mine, pytest.raises(KeyboardInterrupt):
        mine.pull(published, batch_bytes=BATCH, progress=count)
    there = committed(tmp_path / "mine.h5")
    assert 10 <= len(there) < 30
    assert there == done[: len(there)]


def test_chunks_are_copied_as_they_are(server: RangeServer, tmp_path: Path) -> None:
    source = server.directory / "zstd.h5"
    with HDF5Storage(source, codec="zstd") as backend:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "trajectory.dcd").write_bytes(bytes(range(256)) * 18000)
        (tmp_path / "files" / "output.pdb").write_text("ATOM\n" * 100)
        key = backend.store_object(simulation(), tmp_path / "files")
    with HDF5Storage(tmp_path / "mine.h5", codec="deflate") as mine:
        mine.pull(f"{server.url}/zstd.h5")
        assert mine.codec == "deflate"
    place = f"objects/{key}/files/trajectory.dcd"
    with h5py.File(source) as theirs, h5py.File(tmp_path / "mine.h5") as ours:
        assert ours[place].attrs["member_codec"] == theirs[place].attrs["member_codec"]
        chunks = range(0, ours[place].shape[0], ours[place].chunks[0])
        assert len(chunks) > 2
        for offset in chunks:
            assert ours[place].id.read_direct_chunk((offset,)) == theirs[place].id.read_direct_chunk(
                (offset,)
            )


def test_what_objects_refer_to_comes_along(server: RangeServer, tmp_path: Path) -> None:
    path = server.directory / "references.h5"
    with HDF5Storage(path) as backend:
        field = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
        stored = simulation()
        stored.force_field_id = field
        key = backend.store_object(stored, write_files(tmp_path / "files"))
        backend.store_object(simulation(calculation="another"), tmp_path / "files")
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        mine.pull(f"{server.url}/references.h5", keys=[key])
        assert set(mine.keys()) == {field, key}


def test_a_damaged_file_costs_its_object_only(server: RangeServer, own: Path, tmp_path: Path) -> None:
    with h5py.File(own) as file:
        names = list(file["objects"])
        chunk = file[f"objects/{names[7]}/files/trajectory.dcd"].id.get_chunk_info(0)
    flip(own, chunk.byte_offset + 100)
    done = run("pull", f"{server.url}/{own.name}", "-o", tmp_path / "mine.h5")
    assert isinstance(done.exception, Findings)
    assert done.exception.exit_code == 17
    assert f"  {names[7]}: member 'trajectory.dcd'" in done.stderr
    assert set(committed(tmp_path / "mine.h5")) == {*names} - {names[7]}


def test_a_damaged_block_of_the_map_costs_its_objects_only(
    server: RangeServer, own: Path, tmp_path: Path
) -> None:
    with HDF5Storage(own, mode="r") as backend:
        keys = set(backend)
    trailer = Trailer.at_end_of(own.read_bytes(), own.stat().st_size)
    assert trailer is not None
    flip(own, trailer.directory_offset - 100)  # in the last block
    with HDF5Storage(tmp_path / "mine.h5") as mine:
        report = mine.pull(f"{server.url}/{own.name}")
    assert {*report.stored, *report.unreadable} == keys
    assert 0 < len(report.unreadable) < N
    assert all("the map of" in reason for reason in report.unreadable.values())
    assert set(committed(tmp_path / "mine.h5")) == set(report.stored)


def test_a_dry_run_says_what_comes_and_writes_nothing(
    server: RangeServer, published: str, tmp_path: Path
) -> None:
    target = tmp_path / "mine.h5"
    with HDF5Storage(published, mode="r") as backend:
        keys = backend.keys()[:20]
        expected = sum(info.stored_size for key in keys for info in backend.list_members(key))
    done = run("pull", published, *keys, "-o", target, "-n", "--json")
    answer = json.loads(done.stdout)
    assert (answer["n_objects"], answer["n_files"], answer["dry_run"]) == (20, 40, True)
    assert expected <= answer["n_bytes"] < expected + 20 * 40 * 8 * 12
    assert not target.exists()
    server.forget()
    assert run("pull", published, *keys[:15], "-o", target).exit_code == 0
    assert run("pull", published, *keys, "-o", target, "-n").stdout.startswith("5 objects with 10 files, ")


def test_a_path_is_a_source_too(server: RangeServer, tmp_path: Path) -> None:
    source = server.directory / "small.h5"
    done = run("pull", source, "phase=liquid", "-o", tmp_path / "mine.h5")
    assert done.exit_code == 0, done.output
    assert f"{source} -> {tmp_path / 'mine.h5'}: 60 objects stored" in done.stdout
    assert digests(tmp_path / "mine.h5") == digests(source)


def test_nothing_is_made_if_there_is_no_source(server: RangeServer, tmp_path: Path) -> None:
    done = run("pull", f"{server.url}/none.h5", "-o", tmp_path / "mine.h5")
    assert isinstance(done.exception, NotFoundError)
    assert list(tmp_path.iterdir()) == []

"""Members go from one container into another as they are stored, with the checks that they have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from simarchive import CorruptMemberError, HDF5Storage
from simarchive.container.members import extraction, writing
from simarchive.testing.sample_objects import simulation, write_files

N_BYTES = 9 << 20  # five chunks
MANY = np.random.default_rng(3).integers(0, 50, N_BYTES // 4, np.uint32).tobytes()


@pytest.fixture
def source(tmp_path: Path):
    files = write_files(tmp_path / "files", trajectory=MANY)
    (files / "zeros.bin").write_bytes(bytes(5 << 20))
    (files / "nothing").write_bytes(b"")
    with HDF5Storage(tmp_path / "source.h5") as backend:
        backend.store_object(simulation(), files, storage_key="run")
        yield backend


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many chunks were decoded, by member."""
    counts: Counter[str] = Counter()
    real = extraction.decode_chunk

    def counting(table, *arguments):
        counts[table.label] += 1
        return real(table, *arguments)

    monkeypatch.setattr(extraction, "decode_chunk", counting)
    monkeypatch.setattr("simarchive.container.members.reader.decode_chunk", counting)
    return counts


def chunks_of(path: Path, key: str, name: str) -> list[tuple[int, bytes]]:
    with h5py.File(path) as file:
        dataset = file["objects"][key]["files"][name]
        n_chunks = dataset.id.get_num_chunks()
        places = [dataset.id.get_chunk_info(number).chunk_offset for number in range(n_chunks)]
        return [dataset.id.read_direct_chunk(place) for place in places]


def test_chunks_of_equal_codec_are_copied_as_they_are(
    source: HDF5Storage, tmp_path: Path, decoded: Counter[str]
) -> None:
    with HDF5Storage(tmp_path / "target.h5") as target:
        target.update(source)
    assert not decoded
    source.close()
    with HDF5Storage(tmp_path / "target.h5", mode="r") as target:
        assert target.verify(full=True).ok
        assert target.open_member("run", "trajectory.dcd").read() == MANY
        assert target.open_member("run", "zeros.bin").read() == bytes(5 << 20)
        assert target.open_member("run", "nothing").read() == b""
    for name in ("trajectory.dcd", "zeros.bin", "nothing", "output.pdb"):
        stored = chunks_of(tmp_path / "source.h5", "run", name)
        assert chunks_of(tmp_path / "target.h5", "run", name) == stored
    assert len(chunks_of(tmp_path / "target.h5", "run", "trajectory.dcd")) == 5
    assert chunks_of(tmp_path / "target.h5", "run", "zeros.bin") == []


@pytest.mark.parametrize("codec", ["raw", "zstd", "trajectory"])
def test_another_codec_is_the_one_that_the_target_asks_for(
    source: HDF5Storage, tmp_path: Path, codec: str
) -> None:
    files = tmp_path / "files"
    with HDF5Storage(tmp_path / "target.h5", codec=codec) as target:
        target.update(source)
        stored = {info.name: info for info in target.list_members("run")}
        target.store_object(simulation(calculation="again"), files, storage_key="from-files")
        assert [(info.name, info.codec) for info in target.list_members("from-files")] == [
            (name, info.codec) for name, info in sorted(stored.items())
        ]
        assert target.open_member("run", "trajectory.dcd").read() == MANY
        assert target.file_digests("run") == source.file_digests("run")
        assert target.verify(full=True).ok


def test_what_an_object_brings_is_what_its_directory_would_bring(source: HDF5Storage, tmp_path: Path) -> None:
    members = source.members("run")
    assert members is not None
    with HDF5Storage(tmp_path / "target.h5") as target, members.directory() as directory:
        target.store_object(simulation(), directory, storage_key="by-directory")
        outcome = target.put(simulation(), members, storage_key="as-it-is")
        assert outcome.key == "by-directory"
        target.put(simulation(calculation="other"), members, storage_key="other")
        assert target.members("other").is_same_as(members)
        assert [info.name for info in target.list_members("other")] == [
            info.name for info in target.list_members("by-directory")
        ]


def harm(path: Path, key: str, name: str, *, chunk: int) -> None:
    with h5py.File(path) as file:
        info = file["objects"][key]["files"][name].id.get_chunk_info(chunk)
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        byte = raw.read(1)
        raw.seek(-1, 1)
        raw.write(bytes([byte[0] ^ 0x10]))


@pytest.mark.parametrize("codec", ["deflate", "zstd"])
@pytest.mark.parametrize("chunk", [0, 1, 4])
def test_a_damaged_chunk_is_not_copied(source: HDF5Storage, tmp_path: Path, chunk: int, codec: str) -> None:
    source.store_object(simulation(calculation="sound"), write_files(tmp_path / "sound"), storage_key="sound")
    source.close()
    harm(tmp_path / "source.h5", "run", "trajectory.dcd", chunk=chunk)
    with (
        HDF5Storage(tmp_path / "source.h5", mode="r") as damaged,
        HDF5Storage(tmp_path / "target.h5", codec=codec) as target,
    ):
        report = target.update(damaged)
        assert list(report.unreadable) == ["run"]
        assert f"chunk {chunk}" in report.unreadable["run"]
        assert list(target) == ["sound"]
        assert target.verify(full=True).ok


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("codec", ["deflate", "zstd"])
def test_bytes_that_do_not_match_their_digest_get_no_new_one(
    source: HDF5Storage, tmp_path: Path, codec: str, early: bool
) -> None:
    digest = source.file_digests("run")["trajectory.dcd"]
    source.close()
    wrong = ("0" if digest[0] != "0" else "1") + digest[1:]
    with h5py.File(tmp_path / "source.h5", "r+") as file:
        dataset = file["objects"]["run"]["files"]["trajectory.dcd"]
        name = next(name for name in dataset.attrs if dataset.attrs[name] in (digest, digest.encode()))
        kind = dataset.attrs.get_id(name).dtype
        del dataset.attrs[name]
        dataset.attrs.create(name, wrong.encode(), dtype=kind)
        if early:
            del dataset.attrs["member_description_blake3"]
            del file["objects"]["run"].attrs["member_checks"]
    with (
        HDF5Storage(tmp_path / "source.h5", mode="r") as damaged,
        HDF5Storage(tmp_path / "target.h5", codec=codec) as target,
    ):
        report = target.update(damaged)
        if codec == "deflate" and early:
            # Copied as it is, with the digest that it had: whoever reads or verifies it sees it.
            assert target.file_digests("run")["trajectory.dcd"] == wrong
            assert not target.verify(full=True).ok
            with pytest.raises(CorruptMemberError):
                target.extract("run", tmp_path / "out")
        else:
            assert list(report.unreadable) == ["run"]
            assert list(target) == []
    if codec == "deflate" and early:
        with h5py.File(tmp_path / "target.h5", "r") as file:
            assert "member_description_blake3" not in file["objects/run/files/trajectory.dcd"].attrs


def test_a_copy_shows_its_progress(source: HDF5Storage, tmp_path: Path) -> None:
    done: list[int] = []
    with HDF5Storage(tmp_path / "target.h5") as target:
        target.progress = done.append
        target.update(source)
    assert sum(done) == sum(info.size for info in source.list_members("run"))


def test_an_interrupted_copy_leaves_nothing(
    source: HDF5Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = writing.read_stored, []

    def failing(table, file, chunk):
        calls.append(chunk)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(table, file, chunk)

    monkeypatch.setattr(writing, "read_stored", failing)
    with HDF5Storage(tmp_path / "target.h5") as target:
        with pytest.raises(KeyboardInterrupt):
            target.update(source)
        assert list(target) == []
        monkeypatch.undo()
        target.update(source)
        assert target.verify(full=True).ok

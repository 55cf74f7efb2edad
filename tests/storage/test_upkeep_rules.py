"""Small rules of reading and upkeep, each with a case in which breaking it would show."""

from __future__ import annotations

import fcntl
import random
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from simarchive import HDF5Storage
from simarchive.container import layout, nodes, objects
from simarchive.container.rescue.overlay import Overlay
from simarchive.errors import CorruptError, CorruptMemberError, InvalidDataError, LockedError
from simarchive.storage.hdf5 import salvage, upkeep
from simarchive.testing.sample_objects import simulation, write_files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        for number in range(2):
            content = np.random.default_rng(number).bytes(5000)
            files = write_files(tmp_path / str(number), trajectory=content)
            backend.store_object(simulation(str(number)), files, storage_key=f"k{number}")
    return path


def damage(path: Path, place: str) -> None:
    """Flip a bit of the stored bytes of a dataset."""
    with h5py.File(path, "r") as file:
        offset = file[place].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(offset)
        byte = raw.read(1)[0]
        raw.seek(offset)
        raw.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("place", [3, None, b"", "", Path, 1.5, ["a.h5"]])
def test_a_container_is_named_by_a_path(place: object) -> None:
    with pytest.raises(InvalidDataError, match="named by a path"):
        HDF5Storage(place)


def test_a_group_with_another_name_is_nobodys_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("own")
        file.create_group("shared")
        file["again"] = file["shared"]
        file["root"] = file["/"]
        assert nodes.open_own_group(file.id, "own") == file["own"].id
        for name in ("shared", "again", "root"):
            with pytest.raises(TypeError, match="another group"):
                nodes.open_own_group(file.id, name)


def test_an_extraction_that_lacks_files_says_how_many_are_there(path: Path, tmp_path: Path) -> None:
    damage(path, "objects/k0/files/trajectory.dcd")
    with HDF5Storage(path, "r") as backend:
        with pytest.raises(CorruptMemberError) as caught:
            backend.extract("k0", tmp_path / "out")
        assert any("the other 2 of 3 files" in note for note in caught.value.__notes__)
        assert len([file for file in (tmp_path / "out").rglob("*") if file.is_file()]) == 2
        assert len(backend.extract("k1", tmp_path / "whole")) == 3


def test_a_container_that_is_locked_is_not_called_damaged(path: Path) -> None:
    with HDF5Storage(path, "r", lock_timeout_s=0.2) as backend, path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            backend.verify()
        fcntl.flock(other, fcntl.LOCK_UN)
        assert backend.verify().ok


def test_what_can_be_proved_is_known_before_a_repair(path: Path) -> None:
    with HDF5Storage(path, "r") as backend, backend._container.reading() as contents:
        expected = {key: backend.header(key).identity for key in ("k0", "k1")}
        assert upkeep._sound(contents) == expected
    with h5py.File(path, "r+") as file:
        [name] = [name for name in file["objects/k0"] if "PotentialEnergy" in name]
        file["objects/k0"][name][0] += 1
    with HDF5Storage(path, "r") as backend, backend._container.reading() as contents:
        assert upkeep._sound(contents) == {"k1": expected["k1"]}


def test_what_was_set_aside_is_kept_by_a_repack(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        aside = file.create_group(layout.SET_ASIDE)
        aside.create_group("lost").attrs["document"] = "{"
        aside["lost"]["numbers"] = np.arange(5)
    upkeep.repack(path)
    with HDF5Storage(path) as backend:
        assert backend.keys() == ["k0", "k1"]
    with h5py.File(path, "r") as file:
        aside = file[layout.SET_ASIDE]
        assert aside["lost"].attrs["document"] == "{"
        assert aside["lost"]["numbers"][:].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("codecs", "chosen"),
    [
        (["trajectory", "deflate"], "trajectory"),
        (["zstd-text", "trajectory"], "trajectory"),
        (["raw", "zstd"], "zstd"),
        (["zstd-text"], "zstd"),
        (["deflate", "raw", "deflate-text"], "deflate"),
        ([], "deflate"),
    ],
)
def test_what_is_saved_keeps_the_codec_that_it_has(codecs: list[str], chosen: str) -> None:
    names = [f"file{number}" for number in range(len(codecs))]

    def member(key: str, name: str) -> SimpleNamespace:
        assert key == "k"
        return SimpleNamespace(codec=codecs[names.index(name)])

    proved = salvage.Proved(SimpleNamespace(key="k"), {}, tuple(names), {}, ())
    assert proved.codec(SimpleNamespace(member=member)) == chosen


@pytest.mark.parametrize("error", [OSError("cannot be read"), RuntimeError("HDF5 failed")])
def test_an_object_that_hdf5_cannot_read_cannot_be_taken_apart(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with h5py.File(path, "r") as file:
        node = nodes.open_group(nodes.open_group(file.id, layout.OBJECTS), "k0")
        assert objects.can_be_taken_apart(node)
        monkeypatch.setattr(nodes, "check_attributes", fail)
        assert not objects.can_be_taken_apart(node)
        assert not objects.part_can_be_read(node, layout.MEMBERS)


def test_what_is_set_aside_finds_room_beside_what_has_its_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[layout.SET_ASIDE] = [1, 2, 3]
        file.create_group("objects").create_group("bad").attrs["number"] = 1
        objects_id = nodes.open_group(file.id, "objects")
        assert nodes.put_aside(objects_id, "bad", "bad") == f"/{layout.SET_ASIDE}/bad"
        assert list(file["objects"]) == []
        assert file[layout.SET_ASIDE]["bad"].attrs["number"] == 1
        # What was in its place is kept, too.
        assert file[f"{layout.SET_ASIDE}~2"][:].tolist() == [1, 2, 3]
        file["objects"].create_group("bad").attrs["number"] = 2
        assert nodes.put_aside(objects_id, "bad", "bad") == f"/{layout.SET_ASIDE}/bad~2"
        assert [file[layout.SET_ASIDE][name].attrs["number"] for name in ("bad", "bad~2")] == [1, 2]


def test_objects_and_files_are_counted(path: Path) -> None:
    with HDF5Storage(path, "r") as backend:
        found = upkeep.statistics(backend._container)
    assert found.n_objects == 2
    assert found.objects_by_class == {"StoredSimulationData": 2}
    assert found.n_damaged == 0


def test_a_change_that_would_harm_a_sound_object_is_not_made(path: Path) -> None:
    before = path.read_bytes()
    with HDF5Storage(path) as backend:
        container = backend._container
        with container.transaction() as contents:
            upkeep._rehearse(container, contents, lambda tried: None)
        with (
            pytest.raises(CorruptError, match="would damage 1 sound objects, such as 'k1'"),
            container.transaction() as contents,
        ):
            upkeep._rehearse(container, contents, lambda tried: tried.remove("k1"))
        assert backend.keys() == ["k0", "k1"]
    assert path.read_bytes() == before


def test_what_is_tried_in_memory_equals_an_array_of_bytes() -> None:
    rng = random.Random(1)
    model = bytearray(rng.randbytes(30_000))
    below = bytes(model)

    def read_below(buffer: memoryview, offset: int) -> None:
        data = below[offset : offset + len(buffer)]
        buffer[:] = data.ljust(len(buffer), b"\0")

    overlay = Overlay(read_below, len(below))
    for _ in range(60):
        offset, size = rng.randint(0, 40_000), rng.choice((1, 10, 4095, 4096, 4097, 9000))
        data = rng.randbytes(size)
        overlay.seek(offset)
        assert overlay.write(data) == size
        model.extend(bytes(max(0, offset + size - len(model))))
        model[offset : offset + size] = data
        assert overlay.end == len(model)
        start = rng.randint(0, len(model) - 1)
        for low, high in ((0, len(model)), (start, rng.randint(start + 1, len(model)))):
            overlay.seek(low)
            assert overlay.read(high - low) == model[low:high]
        assert overlay.dirty(offset, size)
    assert not Overlay(read_below, len(below)).dirty(0, 30_000)

"""A file comes back with the time at which it was changed last, on whatever way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from blake3 import blake3

from simarchive import HDF5Storage, LocalFileStorage, SimulationRun, repack
from simarchive.container.members.shared import MIN_SHARED_BYTES
from simarchive.storage.hdf5.salvage import salvage

# Before 1970, with fractions that a double cannot have, and after 2038.
TIMES = {
    "old.log": -1_000_000_123,
    "frames.xtc": 1_700_000_000_123_456_789,
    "a/später.txt": 4_102_444_800 * 10**9,
}


def run_folder(path: Path, times: dict[str, int] = TIMES) -> Path:
    for name, time_ns in times.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 40)
        os.utime(file, ns=(time_ns, time_ns))
    return path


def times_below(path: os.PathLike[str]) -> dict[str, int]:
    files = (file for file in Path(path).rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.stat().st_mtime_ns for file in files}


@pytest.fixture
def container(tmp_path: Path) -> Path:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(SimulationRun(name="one"), run_folder(tmp_path / "run"), storage_key="k1")
    return tmp_path / "a.h5"


def retrieved(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r", scratch_directory=place) as backend:
        return Path(backend.retrieve_object("k1")[1])


def extracted(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r") as backend:
        backend.extract("k1", place)
    return place


def exported(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r") as backend, LocalFileStorage(place) as target:
        target.update(backend)
    return place / "k1"


def in_a_copy(path: Path, place: Path) -> Path:
    copy = place.with_suffix(".h5")
    with HDF5Storage(path, mode="r") as backend, HDF5Storage(copy) as target:
        target.update(backend)
    return extracted(copy, place)


def repacked(path: Path, place: Path) -> Path:
    repack(path)
    return extracted(path, place)


def salvaged(path: Path, place: Path) -> Path:
    salvage(path, place.with_suffix(".h5"))
    return extracted(place.with_suffix(".h5"), place)


def by_way_of_a_directory(path: Path, place: Path) -> Path:
    exported(path, place / "dir")
    with LocalFileStorage(place / "dir") as source, HDF5Storage(place / "b.h5") as target:
        target.update(source)
    return extracted(place / "b.h5", place / "out")


WAYS = (retrieved, extracted, exported, in_a_copy, repacked, salvaged, by_way_of_a_directory)


@pytest.mark.parametrize("way", WAYS)
def test_times_come_back_on_every_way(
    container: Path, tmp_path: Path, way: Callable[[Path, Path], Path]
) -> None:
    assert times_below(way(container, tmp_path / "place")) == TIMES


def test_equal_files_keep_their_own_times(tmp_path: Path) -> None:
    large = bytes(range(256)) * (MIN_SHARED_BYTES // 256)
    stored = {"k1": 10**18, "k2": 2 * 10**18, "k3": 10**18}
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for key, time_ns in stored.items():
            folder = run_folder(tmp_path / key, {"large": time_ns})
            (folder / "large").write_bytes(large)
            os.utime(folder / "large", ns=(time_ns, time_ns))
            backend.store_object(SimulationRun(name=key), folder, storage_key=key)
    with h5py.File(tmp_path / "a.h5") as file:
        assert (
            len({h5py.h5o.get_info(find_dataset(file["objects"][key], "large").id).addr for key in stored})
            == 1
        )
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend, LocalFileStorage(tmp_path / "dir") as target:
        target.update(backend)
        found = {key: times_below(target.directory / key)["large"] for key in stored}
    assert found == stored


def find_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    found: list[h5py.Dataset] = []
    group.visititems(lambda place, node: found.append(node) if place.endswith(name) else None)
    return found[0]


def test_they_are_as_the_format_says(container: Path) -> None:
    with h5py.File(container) as file:
        numbers = file["objects/k1"].attrs["member_times"]
    check, pairs = numbers[0], numbers[1:].reshape(-1, 2)
    assert check.tobytes() == blake3(numbers[1:].astype("<i8").tobytes()).digest(8)
    marks = {int.from_bytes(blake3(name.encode()).digest(8), "little", signed=True): name for name in TIMES}
    assert {marks[mark]: time for mark, time in pairs.tolist()} == TIMES


@pytest.mark.parametrize("damage", ["flipped", "cut", "text", "missing"])
def test_damaged_times_cost_no_file(container: Path, tmp_path: Path, damage: str) -> None:
    with h5py.File(container, "r+") as file:
        attributes = file["objects/k1"].attrs
        numbers = attributes["member_times"]
        del attributes["member_times"]
        if damage == "flipped":
            attributes["member_times"] = numbers ^ np.array([0, 0, 4, *[0] * (len(numbers) - 3)])
        elif damage == "cut":
            attributes["member_times"] = numbers[:-1]
        elif damage == "text":
            attributes["member_times"] = "never"
    place = extracted(container, tmp_path / "out")
    assert {name: (place / name).read_bytes() for name in TIMES} == {n: n.encode() * 40 for n in TIMES}
    assert not set(times_below(place).values()) & set(TIMES.values())
    with HDF5Storage(container) as backend:
        assert backend.verify().ok == (damage == "missing")
        backend.repair()
        assert backend.verify().ok


def test_files_that_differ_only_in_their_times_are_the_same(container: Path, tmp_path: Path) -> None:
    other = run_folder(tmp_path / "other", dict.fromkeys(TIMES, 10**18))
    with HDF5Storage(container) as backend:
        assert backend.store_object(SimulationRun(name="one"), other) == "k1"
    assert times_below(extracted(container, tmp_path / "out")) == TIMES

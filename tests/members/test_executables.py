"""A file that was executable comes back executable, on whatever way, and no other permission does."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from test_members_of_objects import simulation

from simarchive import HDF5Storage, LocalFileStorage, repack
from simarchive.container.members.shared import MIN_SHARED_BYTES
from simarchive.storage.hdf5.salvage import salvage

BASE = {"output.pdb": b"ATOM", "trajectory.dcd": b"frames"}
SCRIPTS = {"run.sh": b"#!/bin/sh\n", "tools/é run.py": b"#!/usr/bin/python\n", "empty.sh": b""}
LARGE = b"#!/bin/sh\n" * MIN_SHARED_BYTES


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def folder_of(path: Path, files: dict[str, tuple[bytes, int]]) -> Path:
    for name, (data, mode) in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
    return path


def usual(path: Path, mode: int = 0o755) -> Path:
    files = {name: (data, 0o644) for name, data in BASE.items()}
    return folder_of(path, files | {name: (data, mode) for name, data in SCRIPTS.items()})


def executables(directory: os.PathLike[str]) -> set[str]:
    root = Path(directory)
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in files if path.stat().st_mode & 0o111}


def modes(directory: os.PathLike[str]) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in Path(directory).rglob("*") if path.is_file()}


@pytest.fixture
def container(tmp_path: Path) -> Path:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(simulation("one"), usual(tmp_path / "d"), storage_key="k1")
    return tmp_path / "a.h5"


def retrieved(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r", scratch_directory=place) as backend:
        return Path(backend.retrieve_object("k1")[1])


def retrieved_one_by_one(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r", scratch_directory=place) as backend:
        found = backend.retrieve_object("k1")[1]
        for name in (*BASE, *SCRIPTS):
            one = found / name
    return one.parent


def extracted(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r") as backend:
        backend.extract("k1", place)
    return place


def in_a_directory(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r") as backend, LocalFileStorage(place) as target:
        target.update(backend)
    return place / "k1"


def in_a_copy(path: Path, place: Path) -> Path:
    with HDF5Storage(path, mode="r") as backend, HDF5Storage(place.with_suffix(".h5")) as target:
        target.update(backend)
    return extracted(place.with_suffix(".h5"), place)


def by_way_of_a_directory(path: Path, place: Path) -> Path:
    in_a_directory(path, place / "dir")
    with LocalFileStorage(place / "dir", mode="r") as backend, HDF5Storage(place / "b.h5") as target:
        target.update(backend)
    return extracted(place / "b.h5", place / "out")


def repacked(path: Path, place: Path) -> Path:
    repack(path)
    return extracted(path, place)


def salvaged(path: Path, place: Path) -> Path:
    assert salvage(path, place.with_suffix(".h5")).ok
    return extracted(place.with_suffix(".h5"), place)


WAYS = (
    retrieved,
    retrieved_one_by_one,
    extracted,
    in_a_directory,
    in_a_copy,
    by_way_of_a_directory,
    repacked,
    salvaged,
)


@pytest.mark.parametrize("way", WAYS)
def test_executable_files_are_executable_on_every_way(
    container: Path, tmp_path: Path, way: Callable[[Path, Path], Path]
) -> None:
    assert executables(way(container, tmp_path / "place")) == set(SCRIPTS)


@pytest.mark.parametrize(("umask", "expected"), [(0o077, {0o600, 0o700}), (0o027, {0o640, 0o750})])
def test_only_those_may_execute_it_who_may_read_it(
    container: Path, tmp_path: Path, umask: int, expected: set[int]
) -> None:
    os.umask(umask)
    assert modes(extracted(container, tmp_path / "out")) == expected


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1755, 0o7777, 0o100, 0o001, 0o555])
@pytest.mark.parametrize("way", [retrieved, extracted, in_a_directory, in_a_copy])
def test_no_other_permission_comes_back(tmp_path: Path, mode: int, way: Callable[[Path, Path], Path]) -> None:
    if os.geteuid() and not mode & 0o400:
        pytest.skip("only root can store a file that it may not read")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(simulation("one"), usual(tmp_path / "d", mode), storage_key="k1")
    place = way(tmp_path / "a.h5", tmp_path / "place")
    assert executables(place) == set(SCRIPTS)
    assert modes(place) == {0o644, 0o755}


def test_a_directory_keeps_no_bit_that_lends_its_owners_rights(tmp_path: Path) -> None:
    source = usual(tmp_path / "d", 0o6755)
    (source / "tools").chmod(0o3775)
    with LocalFileStorage(tmp_path / "dir") as backend:
        key = backend.store_object(simulation("one"), source)
    for path in (tmp_path / "dir" / key).rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & ~0o777
    assert executables(tmp_path / "dir" / key) == set(SCRIPTS)


def test_equal_files_of_several_objects_keep_their_own_permission(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for key, mode in (("script", 0o755), ("plain", 0o644), ("again", 0o644)):
            files = {name: (data, 0o644) for name, data in BASE.items()}
            files["large"] = LARGE, mode
            backend.store_object(simulation(key), folder_of(tmp_path / key, files), storage_key=key)
    with h5py.File(tmp_path / "a.h5") as file:
        large = [file["objects"][key]["files/large"].id for key in ("plain", "script", "again")]
        datasets = {h5py.h5o.get_info(dataset).addr for dataset in large}
    assert len(datasets) == 1
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend, LocalFileStorage(tmp_path / "dir") as target:
        target.update(backend)
        for key, expected in (("plain", set()), ("script", {"large"}), ("again", set())):
            assert executables(target.directory / key) == expected
            assert executables(backend.retrieve_object(key)[1]) == expected
            backend.extract(key, tmp_path / f"{key}-out")
            assert executables(tmp_path / f"{key}-out") == expected


def test_an_object_that_replaces_another_has_its_own_executables(container: Path, tmp_path: Path) -> None:
    with HDF5Storage(container) as backend:
        backend.remove_object("k1")
        backend.store_object(simulation("one"), usual(tmp_path / "e", 0o644), storage_key="k1")
    assert executables(extracted(container, tmp_path / "out")) == set()
    with h5py.File(container) as file:
        assert "member_executables" not in file["objects/k1"].attrs


def test_the_list_is_as_the_format_says(container: Path) -> None:
    with h5py.File(container) as file:
        text = file["objects/k1"].attrs["member_executables"]
    assert json.loads(text) == sorted(SCRIPTS)


SOUND = ('["trajectory.dcd"]', "[]", None)
LISTS = ['["trajectory.dcd"]', "[]", "{", "7", '[["run.sh"]]', '["../../run.sh", 5, null]', "[" * 5000, None]


@pytest.mark.parametrize("text", LISTS)
def test_a_list_that_was_changed_costs_no_file_and_no_object(
    container: Path, tmp_path: Path, text: str | None
) -> None:
    with h5py.File(container, "r+") as file:
        del file["objects/k1"].attrs["member_executables"]
        if text is not None:
            file["objects/k1"].attrs["member_executables"] = text
    place = extracted(container, tmp_path / "out")
    assert {name: (place / name).read_bytes() for name in SCRIPTS} == SCRIPTS
    with HDF5Storage(container, mode="r") as backend:
        assert backend.retrieve_object("k1")[0] is not None
        assert backend.verify().ok == (text in SOUND)


@pytest.mark.parametrize("attribute", ["member_executables", "member_empty_folders"])
def test_verify_names_a_list_that_cannot_be_read_and_repair_ends_it(container: Path, attribute: str) -> None:
    with h5py.File(container, "r+") as file:
        file["objects/k1"].attrs[attribute] = '["../../out"]'
    with HDF5Storage(container, mode="r") as backend:
        before = backend.verify().problems
        (problem,) = (problem for problem in before if problem.is_error)
    assert problem.key == "k1"
    assert attribute in problem.message
    with HDF5Storage(container) as backend:
        backend.repair()
        assert backend.verify().problems == [other for other in before if other is not problem]
        assert {info.name for info in backend.list_members("k1")} >= SCRIPTS.keys()


def test_two_containers_do_not_share_a_file_that_only_one_may_execute(tmp_path: Path) -> None:
    from test_scratch_containers import say_what_the_other_says

    for name, mode in (("a", 0o755), ("b", 0o644)):
        with HDF5Storage(tmp_path / f"{name}.h5") as backend:
            backend.store_object(simulation("one"), usual(tmp_path / name, mode), storage_key="a" * 32)
    say_what_the_other_says(tmp_path / "b.h5", tmp_path / "a.h5")
    for name, expected in (("a", set(SCRIPTS)), ("b", set())):
        with HDF5Storage(tmp_path / f"{name}.h5", mode="r", scratch_directory=tmp_path / "s") as backend:
            assert executables(backend.retrieve_object("a" * 32)[1]) == expected

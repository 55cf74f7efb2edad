"""What a program does that has not the class of an object, or not in its version, leaves the index right.

A program without the class is this one with the class taken out of the registry.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from simarchive import Between, HDF5Storage, InvalidDataError, TLeapForceFieldSource
from simarchive.container.index import IndexTable
from simarchive.data import BaseStoredData, ForceFieldData, register_data_class, registry
from simarchive.storage.hdf5.upkeep import repack

LIBVER = ("v110", "v110")
NAME = "UnknownThing"
N = 90  # in a segment and a tail


@register_data_class(NAME, version=1)
class Thing(BaseStoredData):
    label: str
    number: int
    weight: float | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


class OtherColumns(BaseStoredData):
    """The class as a later version has it: with one field more."""

    data_class_name = NAME
    data_class_version = 2
    label: str
    number: int
    weight: float | None = None
    colour: str | None = None

    @classmethod
    def upgrade_document(cls, tree, version):
        return tree

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


class OtherValues(BaseStoredData):
    """A later version with the same columns and other values in them."""

    data_class_name = NAME
    data_class_version = 2
    label: str
    number: int
    weight: float | None = None

    @classmethod
    def upgrade_document(cls, tree, version):
        return tree

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False

    def index_values(self):
        return {**super().index_values(), "number": self.number + 1000}


class Narrower(BaseStoredData):
    """A class of the same name and version that understands less: labels of two characters."""

    data_class_name = NAME
    data_class_version = 1
    label: str
    number: int
    weight: float | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False

    @classmethod
    def from_document(cls, tree, version, *, lazily=False):
        if len(tree["label"]) != 2:
            raise InvalidDataError(f"the label {tree['label']!r} is not understood")
        return super().from_document(tree, version, lazily=lazily)


@contextmanager
def a_program_with(other: type[BaseStoredData] | None) -> Iterator[None]:
    """Be a program that has another class of this name, or none."""
    known = registry._classes.pop(NAME)
    try:
        if other is not None:
            register_data_class(other)
        yield
    finally:
        registry._classes[NAME] = known


def thing(number: int) -> Thing:
    return Thing(label=f"l{number}", number=number, weight=None if number % 7 else float(number))


def key(number: int) -> str:
    return f"thing-{number}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("things") / "made.h5"
    with HDF5Storage(path, durability="close") as backend:
        for some in (range(70), range(70, N)):
            with backend.transaction():
                for number in some:
                    backend.store_object(thing(number), storage_key=key(number))
                backend.store_force_field(TLeapForceFieldSource())
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "things.h5"))


def edited(path: Path) -> h5py.File:
    return h5py.File(path, "r+", libver=LIBVER)


def check_answers(path: Path, numbers: list[int]) -> None:
    """Compare what a program with the class is told with the objects, before and after a change."""
    keys = [key(number) for number in numbers]
    query = Thing.query_class()
    low = Between(30, None)

    def check(backend: HDF5Storage) -> None:
        assert [found for found in backend if backend.class_name_of(found) == NAME] == keys
        assert backend.keys(query()) == keys
        assert backend.count(query()) == len(keys)
        assert backend.columns(query(), ["number"]) == {"key": keys, "number": numbers}
        found = backend.query(query(number=low))
        expected = [key(number) for number in numbers if number >= 30]
        assert [match[0] for some in found.values() for match in some] == expected
        assert backend.count(query(number=low)) == len(expected)
        assert backend.keys(query(number=low, order_by="-number", limit=3)) == expected[::-1][:3]
        for number in (0, 40, 89):
            assert (backend.has_object(thing(number)) == key(number)) == (number in numbers)

    with HDF5Storage(path, mode="r") as backend:
        check(backend)
    with HDF5Storage(path) as backend:
        for number in {0, 40, 89} & set(numbers):
            assert backend.store_object(thing(number)) == key(number), "it is here already"
        added = backend.store_object(thing(500), storage_key="added")
        backend.remove_object(added)
        check(backend)
        assert "no usable index" not in backend.explain(query())
        assert backend.verify().problems == []


# --- removing, storing, replacing ---------------------------------------------------------------


def remove_one(backend: HDF5Storage) -> list[int]:
    backend.remove_object(key(3))
    return [number for number in range(N) if number != 3]


def remove_the_newest(backend: HDF5Storage) -> list[int]:
    backend.remove_object(key(N - 1))
    return list(range(N - 1))


def remove_most_in_one_transaction(backend: HDF5Storage) -> list[int]:
    with backend.transaction():
        for number in range(5, N):
            backend.remove_object(key(number))
    return list(range(5))


def remove_all(backend: HDF5Storage) -> list[int]:
    for number in range(N):
        backend.remove_object(key(number))
    return []


def store_something_else(backend: HDF5Storage) -> list[int]:
    backend.store_object(ForceFieldData(force_field_source=TLeapForceFieldSource(leap_source="leaprc.gaff")))
    return list(range(N))


def replace_by_another_class(backend: HDF5Storage) -> list[int]:
    force_field = ForceFieldData(force_field_source=TLeapForceFieldSource(leap_source="leaprc.gaff"))
    backend._store_object(force_field, key(3))
    # The force field of the fixture was stored later than what this one replaces.
    assert backend.keys(ForceFieldData.query_class()())[0] == key(3)
    return [number for number in range(N) if number != 3]


def rebuild(backend: HDF5Storage) -> list[int]:
    assert backend.rebuild_index()[NAME] == N
    return list(range(N))


def repair(backend: HDF5Storage) -> list[int]:
    assert backend.repair().rows[NAME] == N
    return list(range(N))


def roll_back(backend: HDF5Storage) -> list[int]:
    with pytest.raises(RuntimeError), backend.transaction():
        backend.remove_object(key(3))
        raise RuntimeError
    return list(range(N))


def merge_and_subset(backend: HDF5Storage) -> list[int]:
    with backend.subset(backend.path.with_name("part.h5")) as part:
        assert len(part) == N + 1
        assert backend.update(part).kept
    return list(range(N))


CHANGES = [
    remove_one,
    remove_the_newest,
    remove_most_in_one_transaction,
    remove_all,
    store_something_else,
    replace_by_another_class,
    rebuild,
    repair,
    roll_back,
    merge_and_subset,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_a_program_without_the_class_keeps_the_index(
    path: Path, change: Callable[[HDF5Storage], list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    with a_program_with(None), HDF5Storage(path) as backend:
        numbers = change(backend)
        assert backend.verify().ok
    caplog.clear()
    with caplog.at_level(logging.WARNING, "simarchive"):
        check_answers(path, numbers)
    assert not caplog.records, "the index serves the class as before"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("other", [OtherColumns, OtherValues])
def test_a_change_by_a_program_with_another_version_keeps_the_index_or_has_it_healed(
    path: Path, change: Callable[[HDF5Storage], list[int]], other: type[BaseStoredData]
) -> None:
    with a_program_with(other), HDF5Storage(path) as backend:
        numbers = change(backend)
        assert backend.count(other.query_class()()) == len(numbers)
        above = other.query_class()(number=Between(999, None))
        if other is OtherColumns or change is not roll_back:
            assert backend.count(above) == (len(numbers) if other is OtherValues else 0)
    check_answers(path, numbers)


def test_a_real_process_removes_an_object_of_a_class_it_does_not_have(path: Path) -> None:
    command = [sys.executable, "-m", "simarchive", "rm", str(path), key(3), "--force"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    check_answers(path, [number for number in range(N) if number != 3])


def test_an_object_that_cannot_say_its_class_leaves_no_row(path: Path) -> None:
    with edited(path) as file:
        for number in (3, 4):
            del file[f"objects/{key(number)}"].attrs["object_summary"]
        del file[f"objects/{key(3)}"].attrs["data_class"]
        file[f"objects/{key(4)}"].attrs["data_class"] = np.bytes_(b"UnknownThinh")
    with HDF5Storage(path) as backend:
        backend.remove_object(key(3))
        backend.remove_object(key(4))
        warnings = [problem.key for problem in backend.verify().problems if not problem.is_error]
        assert warnings == [key(3), key(4)]
        backend.purge_removed()
    check_answers(path, [0, 1, 2, *range(5, N)])


def test_objects_of_an_unregistered_class_cannot_be_stored(path: Path) -> None:
    with (
        a_program_with(None),
        HDF5Storage(path) as backend,
        pytest.raises(InvalidDataError, match="register"),
    ):
        backend.store_object(thing(500))
    check_answers(path, list(range(N)))


# --- rebuild, repair, repack --------------------------------------------------------------------


def by_rebuild(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.rebuild_index()


def by_repair(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.repair()


def by_repack(path: Path) -> None:
    repack(path)


WAYS = [by_rebuild, by_repair, by_repack]


def explained(path: Path) -> str:
    with HDF5Storage(path, mode="r") as backend:
        return backend.explain(Thing.query_class()(number=Between(40, None)))


@pytest.mark.parametrize("way", WAYS)
def test_a_sound_table_is_kept_or_carried_over(path: Path, way: Callable[[Path], None]) -> None:
    before = explained(path)
    with a_program_with(None):
        way(path)
    assert "no usable index" not in before
    if way is not by_repack:
        assert explained(path) == before
    assert explained(path).splitlines()[-1] == before.splitlines()[-1] == "the index decides"
    assert f"{NAME}: {N} objects" in explained(path)
    check_answers(path, list(range(N)))


def test_a_repack_carries_over_what_was_noted_of_a_table(path: Path) -> None:
    with a_program_with(Narrower), HDF5Storage(path) as backend:
        backend.rebuild_index()
    with a_program_with(None):
        repack(path)
    with a_program_with(Narrower), HDF5Storage(path, mode="r") as backend:
        assert "no usable index" not in backend.explain(Narrower.query_class()())
    check_answers(path, list(range(N)))


def stale_row(file: h5py.File) -> list[int]:
    """As a program left it that removed an object and not its row."""
    del file[f"objects/{key(3)}"]
    return [number for number in range(N) if number != 3]


def lost_segment(file: h5py.File) -> list[int]:
    table = file[f"index/{NAME}"]
    for name in [name for name in table if name.startswith("segment")]:
        del table[name]
    return list(range(N))


def lost_column(file: h5py.File) -> list[int]:
    for name, part in file[f"index/{NAME}"].items():
        if name.startswith("segment"):
            del part.attrs["number"]
    return list(range(N))


def garbled(file: h5py.File) -> list[int]:
    file[f"index/{NAME}"].attrs["tail"] = np.bytes_(b"[-5,-5]")
    return list(range(N))


def other_format(file: h5py.File) -> list[int]:
    text = bytes(file[f"index/{NAME}"].attrs["table"])
    file[f"index/{NAME}"].attrs["table"] = np.bytes_(text.replace(b'"format": 1', b'"format": 9'))
    return list(range(N))


def no_group(file: h5py.File) -> list[int]:
    del file[f"index/{NAME}"]
    file[f"index/{NAME}"] = np.arange(3)
    return list(range(N))


def leads_nowhere(file: h5py.File) -> list[int]:
    del file[f"index/{NAME}"]
    file[f"index/{NAME}"] = h5py.SoftLink("/nowhere")
    return list(range(N))


def missing(file: h5py.File) -> list[int]:
    del file[f"index/{NAME}"]
    return list(range(N))


def missing_index(file: h5py.File) -> list[int]:
    del file["index"]
    return list(range(N))


def index_is_no_group(file: h5py.File) -> list[int]:
    del file["index"]
    file["index"] = np.arange(3)
    return list(range(N))


def object_without_row(file: h5py.File) -> list[int]:
    file.copy(f"objects/{key(3)}", file["objects"], key(N))
    file[f"objects/{key(N)}"].attrs["document"] = np.bytes_(
        bytes(file[f"objects/{key(3)}"].attrs["document"]).replace(b'"number":3', b'"number":90')
    )
    return list(range(N + 1))


DAMAGES = [
    stale_row,
    lost_segment,
    lost_column,
    garbled,
    other_format,
    no_group,
    leads_nowhere,
    missing,
    missing_index,
    index_is_no_group,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_table_that_cannot_be_kept_is_left_to_a_program_with_the_class(
    path: Path, way: Callable[[Path], None], damage: Callable[[h5py.File], list[int]]
) -> None:
    with edited(path) as file:
        numbers = damage(file)
    with a_program_with(None):
        way(path)
        with HDF5Storage(path) as backend:
            assert backend.verify().ok, "what this program cannot make is no fault"
    check_answers(path, numbers)


@pytest.mark.parametrize("damage", [lost_segment, lost_column, garbled, other_format, no_group, missing])
def test_a_removal_from_a_damaged_table_leaves_no_trace_of_it(
    path: Path, damage: Callable[[h5py.File], list[int]]
) -> None:
    with edited(path) as file:
        numbers = damage(file)
    with a_program_with(None), HDF5Storage(path) as backend:
        backend.remove_object(key(3))
        backend.remove_object(key(80))
    if damage is lost_column:
        # Nobody had to read the column yet; who does makes the table anew.
        with HDF5Storage(path) as backend:
            backend.rebuild_index()
    check_answers(path, [number for number in numbers if number not in (3, 80)])


@pytest.mark.parametrize("way", WAYS)
def test_a_row_of_another_document_is_not_kept(path: Path, way: Callable[[Path], None]) -> None:
    """As a program left it that replaced an object and not its row."""
    with HDF5Storage(path) as backend:
        backend.store_object(thing(501), storage_key="other")
    with edited(path) as file:
        del file[f"objects/{key(3)}"]
        file.move("objects/other", f"objects/{key(3)}")
    with a_program_with(None):
        way(path)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.count(Thing.query_class()(number=501)) == 1
        assert backend.count(Thing.query_class()(number=3)) == 0


@pytest.mark.parametrize("way", WAYS)
def test_an_object_without_a_row_gets_one_from_a_program_with_the_class(
    path: Path, way: Callable[[Path], None]
) -> None:
    with edited(path) as file:
        file.copy(f"objects/{key(3)}", file["objects"], "copied")
    with a_program_with(None):
        way(path)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.count(Thing.query_class()()) == N + 1
        assert backend.keys(Thing.query_class()(number=3)) == [key(3), "copied"]


# --- objects that one program understands and another does not ----------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_table_by_a_program_that_understands_less_is_healed_by_one_that_understands_more(
    path: Path, way: Callable[[Path], None]
) -> None:
    with a_program_with(Narrower):
        way(path)
        with HDF5Storage(path, mode="r") as backend:
            # It has labels of two characters only, with the index and without.
            assert backend.count(Narrower.query_class()()) == 10
            assert "no usable index" not in backend.explain(Narrower.query_class()())
    check_answers(path, list(range(N)))


def test_removing_what_was_not_understood_settles_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with a_program_with(Narrower), HDF5Storage(path) as backend:
        backend.rebuild_index()
        for number in range(10, N):
            backend.remove_object(key(number))
    with h5py.File(path) as file:
        assert b"left_out" not in bytes(file[f"index/{NAME}"].attrs["table"])
    caplog.clear()
    with caplog.at_level(logging.WARNING, "simarchive"):
        check_answers(path, list(range(10)))
    assert not caplog.records


# --- what it costs ------------------------------------------------------------------------------


def test_a_removal_without_the_class_opens_one_table_and_makes_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_table = IndexTable.open.__func__

    def counting(cls: type[IndexTable], group: h5py.Group, **options: object) -> IndexTable:
        opened.append(group.name)
        return open_table(cls, group, **options)

    with a_program_with(None), HDF5Storage(path) as backend:
        backend.remove_object(key(3))
        monkeypatch.setattr(IndexTable, "open", classmethod(counting))
        monkeypatch.setattr("simarchive.storage.hdf5.indexing.rebuild", None)
        backend.remove_object(key(4))
    assert sorted(set(opened)) == sorted(opened)
    assert "/index/ForceFieldData" not in opened

"""An index that is missing, damaged or old costs time, never an answer; a damaged object only itself."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import pytest

from simarchive import AnyOf, Between, ConflictError, HDF5Storage, InvalidDataError, unit
from simarchive.chemistry.units import Quantity
from simarchive.container.index.rows import TableRows
from simarchive.data import BaseStoredData, register_data_class
from simarchive.data.fields import InUnit
from simarchive.errors import CorruptError
from simarchive.storage.hdf5.upkeep import repack

LIBVER = ("v110", "v110")


@register_data_class("CareDiffusion", version=1)
class Diffusion(BaseStoredData):
    """Data of a user: fields, and nothing about an index."""

    coefficient: Annotated[Quantity, InUnit("nanometer ** 2 / nanosecond")]
    n_windows: int
    series: np.ndarray | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@register_data_class("CareIonDiffusion", version=1)
class IonDiffusion(Diffusion):
    """A subclass with a field of its own."""

    ion: str


DiffusionQuery = Diffusion.query_class()


def diffusion(number: int) -> Diffusion:
    series = np.arange(100.0) + number
    coefficient = unit.Quantity(number / 10, "nm**2/ns")
    if number % 10 == 0:
        return IonDiffusion(coefficient=coefficient, n_windows=number, series=series, ion="Na+")
    return Diffusion(coefficient=coefficient, n_windows=number, series=series)


def key(number: int) -> str:
    return f"number-{number}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("care") / "made.h5"
    with HDF5Storage(path, durability="close") as backend, backend.transaction():
        for number in range(80):
            backend.store_object(diffusion(number), storage_key=key(number))
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "care.h5"))


def numbers_between(backend: HDF5Storage, low: int, high: int) -> list[int]:
    query = DiffusionQuery(
        coefficient=Between(unit.Quantity(low / 10, "nm**2/ns"), unit.Quantity(high * 100, "nm**2/us"))
    )
    keys = backend.keys(query)
    assert backend.count(query) == len(keys)
    assert sorted(match[0] for some in backend.query(query).values() for match in some) == sorted(keys)
    return sorted(int(found.removeprefix("number-")) for found in keys)


def test_a_users_class_has_an_index_by_declaring_fields_alone(path: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        # B22: a query on the parent finds the subclass, whose tables are two.
        assert numbers_between(backend, 5, 12) == list(range(5, 13))
        explained = backend.explain(DiffusionQuery(n_windows=AnyOf(3, 10)))
        assert "no usable index" not in explained
        assert "CareIonDiffusion" in explained
        ions = IonDiffusion.query_class()(ion="Na+", n_windows=Between(15, None))
        assert backend.keys(ions) == [key(number) for number in range(20, 80, 10)]
        columns = backend.columns(DiffusionQuery(n_windows=7))
        assert columns == {"key": [key(7)], "coefficient": [0.7], "n_windows": [7]}


def lose_all(file: h5py.File) -> None:
    del file["index"]


def lose_one(file: h5py.File) -> None:
    del file["index/CareDiffusion"]


def lose_list(file: h5py.File) -> None:
    del file["index/CareDiffusion"].attrs["segments"]


def garble(file: h5py.File) -> None:
    file["index/CareDiffusion"].attrs["table"] = np.bytes_(b"garbled")


def lose_column(file: h5py.File) -> None:
    """Damage that no one sees before the values are read."""
    table = file["index/CareDiffusion"]
    (segment,) = [name for name in table if name.startswith("segment")]
    del table[segment].attrs["coefficient"]


def older(file: h5py.File) -> None:
    """As a version of the class with other fields would have left it."""
    table = file["index/CareDiffusion"]
    text = bytes(table.attrs["table"]).decode()
    assert '"n_windows"' in text
    table.attrs["table"] = np.bytes_(text.replace('"n_windows"', '"n_walkers"').encode())


DAMAGES = [lose_all, lose_one, lose_list, garble, lose_column, older]


def damaged(path: Path, damage: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        damage(file)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_read_only_container_is_scanned_and_says_so(
    path: Path, damage: Callable[[h5py.File], None], caplog: pytest.LogCaptureFixture
) -> None:
    damaged(path, damage)
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING, "simarchive"), HDF5Storage(path, mode="r") as backend:
        assert numbers_between(backend, 5, 12) == list(range(5, 13))
        assert backend.count(DiffusionQuery()) == 80
        assert backend.columns(DiffusionQuery(n_windows=7))["coefficient"] == [0.7]
        assert backend.has_object(diffusion(33)) == key(33)
    assert "the index of CareDiffusion cannot be used, objects are read instead" in caplog.text
    assert caplog.text.count("the index of CareDiffusion cannot be used") == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_first_change_rebuilds_the_index_and_says_so(
    path: Path, damage: Callable[[h5py.File], None], caplog: pytest.LogCaptureFixture
) -> None:
    damaged(path, damage)
    with HDF5Storage(path) as backend:
        if damage is lose_column:
            assert numbers_between(backend, 5, 5) == [5]  # which is when it is noticed
        with caplog.at_level(logging.WARNING, "simarchive"):
            assert backend.store_object(diffusion(33)) == key(33)
            backend.store_object(diffusion(80), storage_key=key(80))
        assert "the index of CareDiffusion is rebuilt from 72 objects" in caplog.text
        caplog.clear()
        assert numbers_between(backend, 70, 80) == list(range(70, 81))
        assert not caplog.records
    with HDF5Storage(path, mode="r") as backend:
        assert not backend.verify().problems
        assert "no usable index" not in backend.explain(DiffusionQuery())
    assert not caplog.records


def test_a_rebuild_that_is_rolled_back_comes_again(path: Path) -> None:
    damaged(path, lose_all)
    with HDF5Storage(path) as backend:
        with pytest.raises(InvalidDataError, match="lacks"), backend.transaction():
            backend.store_object(diffusion(81), storage_key=key(81))
            backend.store_object(Diffusion())
        assert key(81) not in backend
        backend.store_object(diffusion(82), storage_key=key(82))
        assert not backend.verify().problems
        assert backend.count(DiffusionQuery()) == 81


def test_a_table_of_a_class_that_is_not_registered_stays(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        file["objects"].attrs["data_classes"] = np.bytes_(b'["CareDiffusion","CareIonDiffusion","Foreign"]')
        file.copy("index/CareDiffusion", file["index"], "Foreign")
        before = dict(file["index/Foreign"].attrs)
    with HDF5Storage(path) as backend:
        backend.store_object(diffusion(80), storage_key=key(80))
    with h5py.File(path) as file:
        after = dict(file["index/Foreign"].attrs)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


# --- damaged objects ----------------------------------------------------------------------------


def lose_document(file: h5py.File) -> None:
    del file[f"objects/{key(5)}"].attrs["document"]


def change_document(file: h5py.File) -> None:
    attributes = file[f"objects/{key(5)}"].attrs
    attributes["document"] = np.bytes_(
        bytes(attributes["document"]).replace(b'"n_windows":5', b'"n_windows":6')
    )


def lose_array(file: h5py.File) -> None:
    del file[f"objects/{key(5)}/series"]


def break_json(file: h5py.File) -> None:
    file[f"objects/{key(5)}"].attrs["document"] = np.bytes_(b"{")


def lose_class(file: h5py.File) -> None:
    attributes = file[f"objects/{key(5)}"].attrs
    attributes["object_summary"] = attributes["object_summary"][1:]


@pytest.mark.parametrize("damage", [lose_document, lose_array, change_document, break_json, lose_class])
def test_repair_sets_a_damaged_object_aside(path: Path, damage: Callable[[h5py.File], None]) -> None:
    damaged(path, damage)
    with HDF5Storage(path) as backend:
        assert {problem.key for problem in backend.verify().problems} == {key(5)}
        report = backend.repair()
        assert [aside.key for aside in report.set_aside] == [key(5)]
        assert report.set_aside[0].place == f"/set_aside/{key(5)}"
        assert report.set_aside[0].message
        assert report.n_objects == sum(report.rows.values()) == 79
        assert key(5) not in backend
        assert len(backend) == 79
        assert backend.verify().ok
        assert numbers_between(backend, 4, 6) == [4, 6]
        assert backend.store_object(diffusion(5), storage_key=key(5)) == key(5)
        assert numbers_between(backend, 4, 6) == [4, 5, 6]
        assert backend.repair().set_aside == []
    with h5py.File(path) as file:
        aside = file[f"set_aside/{key(5)}"]
        assert aside.attrs["identity"]
        assert damage is lose_array or aside["series"][3] == 8.0
    repack(path)
    with h5py.File(path) as file:
        assert list(file["set_aside"]) == [key(5)]
    with HDF5Storage(path) as backend:
        assert len(backend) == 80
        assert backend.verify().ok


@pytest.mark.parametrize("damage", [lose_document, break_json, lose_class])
def test_a_damaged_object_is_named_and_skipped(
    path: Path, damage: Callable[[h5py.File], None], caplog: pytest.LogCaptureFixture
) -> None:
    damaged(path, damage)
    with HDF5Storage(path) as backend, caplog.at_level(logging.WARNING, "simarchive"):
        found = backend.query(DiffusionQuery(n_windows=Between(4, 6)))
        assert sorted(match[0] for some in found.values() for match in some) == [key(4), key(6)]
        assert key(5) in caplog.text
        backend.store_object(diffusion(90), storage_key=key(90))
        assert backend.retrieve_object(key(6))[0] == diffusion(6)


def test_an_object_whose_bytes_are_garbled_is_set_aside(path: Path) -> None:
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file[f"objects/{key(5)}"].id).addr
    with path.open("r+b") as raw:
        raw.seek(address + 8)
        raw.write(b"\xff" * 24)
    with HDF5Storage(path) as backend:
        assert numbers_between(backend, 6, 7) == [6, 7]
        assert {problem.key for problem in backend.verify().problems} == {key(5)}
        assert [aside.key for aside in backend.repair().set_aside] == [key(5)]
        assert backend.verify().ok
        assert key(5) not in backend
        assert len(backend) == 79
        with pytest.raises(ConflictError, match="repack"):
            backend.store_object(diffusion(5), storage_key=key(5))
    repack(path)
    with HDF5Storage(path) as backend:
        backend.store_object(diffusion(5), storage_key=key(5))
        assert sorted(numbers_between(backend, 0, 100)) == list(range(80))


def lose_a_column(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for name, segment in file["index/CareDiffusion"].items():
            if name.startswith("segment"):
                del segment.attrs["n_windows"]


def test_verify_names_a_damaged_table_and_repair_makes_it_anew(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.rebuild_index()
        with backend.transaction():
            for number in range(100, 500):
                backend.store_object(diffusion(number), storage_key=key(number))
    lose_a_column(path)
    with HDF5Storage(path) as backend:
        (problem,) = backend.verify().problems
        assert problem.is_error
        assert "index of CareDiffusion is damaged" in problem.message
        assert "repair --index" in problem.message
        backend.rebuild_index()
        assert backend.verify().problems == []


def test_a_table_found_damaged_at_the_end_of_a_transaction_costs_no_commit(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(rows: TableRows) -> None:
        monkeypatch.undo()
        raise CorruptError("a segment to be merged is damaged")

    monkeypatch.setattr(TableRows, "_seal", damaged)
    with HDF5Storage(path) as backend, caplog.at_level(logging.WARNING, "simarchive"):
        with backend.transaction():
            for number in range(100, 300):
                backend.store_object(diffusion(number), storage_key=key(number))
        assert "to be rebuilt: a segment to be merged is damaged" in caplog.text
        assert len(backend) == 280
        assert numbers_between(backend, 290, 10_000) == list(range(290, 300))
    with HDF5Storage(path) as backend:
        backend.store_object(diffusion(300), storage_key=key(300))
        assert numbers_between(backend, 290, 10_000) == list(range(290, 301))
        assert backend.verify().problems == []

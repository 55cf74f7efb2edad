"""One order for every way to ask: with and without index and limit, of one class and of several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_memory_backend import MemoryStorage

from simarchive import Between, HDF5Storage, LocalFileStorage
from simarchive.container.index import IndexTable
from simarchive.data import BaseStoredData, register_data_class
from simarchive.ground.conditions import Column, ColumnKind, is_missing, places_in_order
from simarchive.storage.hdf5 import answers


@register_data_class("OrderSample", version=1)
class Sample(BaseStoredData):
    number: int
    real: float | None = None
    whole: int | None = None
    text: str | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@register_data_class("OrderFineSample", version=1)
class FineSample(Sample):
    level: int | None = None


@register_data_class("OrderFinestSample", version=1)
class FinestSample(FineSample):
    pass


CLASSES = [Sample, FineSample, FinestSample]
REALS = [2.0, math.nan, None, -math.inf, 0.5, 2.0, math.inf, -0.0, 0.0, math.nan, 0.5, -3.5, None, math.inf]
WHOLES = [3, None, -1, 3, 2**63 - 1, -(2**63), 0, None, 2**53 + 1, 2**53, 3, -1, 0, 7]
TEXTS = ["b", None, "", "a", "Z", "ü", "b", "aa", None, "\U0001f600", "￿", "a", "b", ""]
COLUMNS = {"real": REALS, "whole": WHOLES, "text": TEXTS}


def sample(number: int) -> Sample:
    """Return an object of one of three classes, in turn, with values of all kinds."""
    place = number % len(REALS)
    return CLASSES[number * 5 % 3](
        number=number, real=REALS[place], whole=WHOLES[place], text=TEXTS[-1 - place]
    )


SAMPLES = [sample(number) for number in range(2 * len(REALS))]


def key(number: int) -> str:
    return f"sample-{number}"


def expected(query: Any) -> list[str]:
    """Return the keys in order: written anew, with nothing of what is tested."""
    found = [
        (number, stored)
        for cls in CLASSES
        for number, stored in enumerate(SAMPLES)
        if type(stored) is cls and query.apply(stored) is not None
    ]
    if query.order_by is not None:
        name, sign = query.order_by.removeprefix("-"), query.order_by[0] == "-"
        missing, present = [], []
        for one in found:
            value = getattr(one[1], name)
            (missing if value is None or value != value else present).append(one)
        present.sort(key=lambda one: getattr(one[1], name), reverse=sign)
        found = present + missing
    return [key(number) for number, _ in found][: query.limit]


ORDERS = [None, *COLUMNS, *(f"-{name}" for name in COLUMNS)]
LIMITS = [None, 0, 1, 5, 20, 100]


def queries() -> list[Any]:
    return [
        cls.query_class()(**criteria, order_by=order, limit=limit)
        for cls in CLASSES
        for criteria in ({}, {"number": Between(3, 19)})
        for order in ORDERS
        for limit in LIMITS
    ]


def fill(backend: Any) -> Any:
    for number, stored in enumerate(SAMPLES):
        backend.store_object(stored, storage_key=key(number))
    return backend


def matches(backend: Any, query: Any) -> list[str]:
    """Return the keys in query(): groups come in the order of their first match, which is one group here."""
    return [match[0] for some in backend.query(query).values() for match in some]


def check_order(backend: Any) -> None:
    for query in queries():
        wanted = expected(query)
        assert backend.keys(query) == wanted, query
        if "number" not in query._values:
            assert matches(backend, query) == wanted, query
        assert backend.count(query) == len(wanted)


def check_columns(backend: HDF5Storage) -> None:
    by_key = {key(number): stored for number, stored in enumerate(SAMPLES)}
    for query in queries():
        columns = backend.columns(query)
        assert columns["key"] == expected(query)
        for name in COLUMNS:
            values = [getattr(by_key[found], name) for found in columns["key"]]
            assert columns[name] == [None if is_missing(value) else value for value in values]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("order") / "samples.h5"
    with HDF5Storage(path, durability="close") as backend, backend.transaction():
        fill(backend)
    return path


def without_index(path: Path) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        del file["index"]


def without_one_table(path: Path) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        del file["index/OrderFineSample"]


def rebuilt(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.rebuild_index()


def untouched(path: Path) -> None:
    pass


@pytest.mark.parametrize("change", [untouched, without_index, without_one_table, rebuilt])
def test_one_order_with_and_without_the_index(
    container: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "samples.h5"
    path.write_bytes(container.read_bytes())
    change(path)
    with HDF5Storage(path, mode="r") as backend:
        check_order(backend)
        check_columns(backend)


@pytest.mark.parametrize("kind", [LocalFileStorage, MemoryStorage])
def test_one_order_in_every_backend(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    with kind(tmp_path / "samples") as backend:
        check_order(fill(backend))


def test_a_replaced_object_keeps_its_place_and_one_of_another_class_gets_it(
    container: Path, tmp_path: Path
) -> None:
    path = tmp_path / "samples.h5"
    path.write_bytes(container.read_bytes())
    numbers = [number for number, stored in enumerate(SAMPLES) if type(stored) is Sample]
    other = next(number for number, stored in enumerate(SAMPLES) if type(stored) is FineSample)
    assert numbers[0] < other < numbers[-1]
    with HDF5Storage(path) as backend:
        backend._store_object(Sample(number=numbers[0], real=9.0), key(numbers[0]))
        backend._store_object(Sample(number=other), key(other))
        query = Sample.query_class()()
        with_index = backend.keys(query)
    without_index(path)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.keys(query) == with_index
    assert with_index[: len(numbers) + 1] == [key(number) for number in sorted([*numbers, other])]


def test_several_classes_are_ordered_without_reading_a_document(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HDF5Storage, "_matches", None)
    with HDF5Storage(container, mode="r") as backend:
        for order in ORDERS:
            for limit in LIMITS:
                query = Sample.query_class()(order_by=order, limit=limit)
                assert backend.keys(query) == expected(query)


def test_no_more_rows_than_the_limit_are_taken_of_each_class(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    rows = answers._first_rows
    monkeypatch.setattr(
        answers, "_first_rows", lambda *given: taken.append(len(found := rows(*given))) or found
    )
    with HDF5Storage(container, mode="r") as backend:
        backend.keys(Sample.query_class()(order_by="real", limit=2))
    assert taken == [6]


values = {
    ColumnKind.REAL: st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf]),
    ColumnKind.INTEGER: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    ColumnKind.CATEGORY: st.text(max_size=3) | st.sampled_from(["a", "b"]),
    ColumnKind.IDENTIFIER: st.text(max_size=3) | st.sampled_from(["a", "b"]),
}


@pytest.mark.parametrize("kind", list(ColumnKind))
@settings(deadline=None)
@given(data=st.data())
def test_a_table_orders_as_plain_values_are_ordered(kind: ColumnKind, data: st.DataObject) -> None:
    given_values = data.draw(st.lists(st.none() | values[kind], min_size=1, max_size=100))
    descending = data.draw(st.booleans())
    with h5py.File("order", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        table = IndexTable.create(file, "t", [Column("c", kind)])
        table.insert_many((str(place), {"c": value}) for place, value in enumerate(given_values))
        table.flush()
        keys = table.select(order_by="-c" if descending else "c")
    assert [int(found) for found in keys] == places_in_order(given_values, descending=descending)


@settings(deadline=None)
@given(
    some=st.lists(st.none() | st.floats(allow_nan=True) | st.integers(-5, 5), max_size=30),
    descending=st.booleans(),
)
def test_missing_values_come_last_and_equal_ones_stay(some: list[Any], descending: bool) -> None:
    order = places_in_order(some, descending=descending)
    assert sorted(order) == list(range(len(some)))
    arranged = [(some[place], place) for place in order]
    n_present = sum(not is_missing(value) for value in some)
    assert all(not is_missing(value) for value, _ in arranged[:n_present])
    for (first, place), (second, next_place) in itertools.pairwise(arranged[:n_present]):
        assert first > second if descending and first != second else first <= second
        assert first != second or place < next_place
    missing = [place for _, place in arranged[n_present:]]
    assert missing == sorted(missing)
    assert np.all(np.array([is_missing(some[place]) for place in missing], bool))

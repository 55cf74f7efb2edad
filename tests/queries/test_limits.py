"""A limit is a limit: of one class and of several, in every way to ask, with the index and without."""

from __future__ import annotations

import h5py
import pytest

from simarchive import HDF5Storage
from simarchive.data import BaseStoredData, register_data_class


@register_data_class("LimitSample", version=1)
class Sample(BaseStoredData):
    number: int

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@register_data_class("LimitFineSample", version=1)
class FineSample(Sample):
    level: int = 0


@register_data_class("LimitFinestSample", version=1)
class FinestSample(FineSample):
    pass


CLASSES = (Sample, FineSample, FinestSample)
PER_CLASS = 4
# Class by class, and each in the order in which it was stored.
KEYS = [f"{data_class.__name__}-{number}" for data_class in CLASSES for number in range(PER_CLASS)]


@pytest.fixture(params=["index", "scan"], scope="module")
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("limits") / "a.h5"
    with HDF5Storage(path) as backend:
        for number in range(PER_CLASS):
            for data_class in CLASSES:
                backend.store_object(
                    data_class(number=10 * number + CLASSES.index(data_class)),
                    storage_key=f"{data_class.__name__}-{number}",
                )
    if request.param == "scan":
        with h5py.File(path, "r+") as file:
            for name in list(file["index"]):
                del file["index"][name]
    with HDF5Storage(path, mode="r") as backend:
        yield backend


ORDERS = {
    None: KEYS,
    "number": [f"{c.__name__}-{n}" for n in range(PER_CLASS) for c in CLASSES],
    "-number": [f"{c.__name__}-{n}" for n in reversed(range(PER_CLASS)) for c in reversed(CLASSES)],
}


@pytest.mark.parametrize("order_by", ORDERS)
def test_no_more_are_given_than_were_asked_for(backend: HDF5Storage, order_by: str | None) -> None:
    for limit in (None, 0, 1, 3, 4, 5, 8, 11, 12, 13):
        query = Sample.query_class()(limit=limit, order_by=order_by)
        expected = ORDERS[order_by][:limit]
        assert backend.keys(query) == expected
        assert [match[0] for matches in backend.query(query).values() for match in matches] == expected
        columns = backend.columns(query, ["number"])
        assert list(columns["key"]) == expected
        assert len(columns["number"]) == backend.count(query) == len(expected)


@pytest.mark.parametrize("data_class", CLASSES)
def test_a_limit_counts_a_class_with_all_that_are_derived_from_it(
    backend: HDF5Storage, data_class: type[Sample]
) -> None:
    own = KEYS[PER_CLASS * CLASSES.index(data_class) :]
    for limit in (1, PER_CLASS, PER_CLASS + 1, len(KEYS) + 1):
        assert backend.keys(data_class.query_class()(limit=limit)) == own[:limit]

"""Arrays that say more than their elements are refused, with the reason: none of it would come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pint
import pytest

from simarchive import (
    BaseStoredData,
    HDF5Storage,
    InvalidDataError,
    LocalFileStorage,
    ObservableArray,
    ParameterGradient,
    ParameterGradientKey,
    register_data_class,
    unit,
)
from simarchive.container import documents
from simarchive.storage.evaluator_json import writing

REASON = r"masked elements|says more than its elements"


class WithUnit(np.ndarray):
    """What astropy, unyt and users make: an array that remembers something."""


class Labelled:
    """What pandas and xarray have: elements, and what each stands for."""

    def __init__(self, size: int) -> None:
        self.values = np.arange(float(size))
        self.shape, self.dtype = self.values.shape, self.values.dtype

    attrs: dict[str, str] = {"units": "nm"}  # noqa: RUF012 - a class attribute, as theirs

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.values


def masked(size: int, dtype: str = "f8") -> Any:
    values = np.full(size, 30, dtype)
    mask = np.zeros(size, bool)
    mask[size // 2] = True
    return np.ma.array(values, mask=mask, fill_value=values[0])


SAY_MORE: dict[str, Callable[[int], Any]] = {
    "masked": masked,
    "masked integers": lambda size: masked(size, "i4"),
    "masked throughout": lambda size: np.ma.masked_all(size),
    "a hard mask": lambda size: np.ma.harden_mask(masked(size)),
    "masked where it is not finite": lambda size: np.ma.masked_invalid([np.nan] * size),
    "of a subclass": lambda size: np.arange(float(size)).view(WithUnit),
    "a matrix": lambda size: np.ones((size, 1)).view(np.matrix),
    "masked records": lambda size: np.ma.zeros(size, [("a", "f8")]),
    "labelled": Labelled,
    "with a unit": lambda size: pint.UnitRegistry().Quantity(np.ones(size), "nanometer"),
}
SIZES = (4, 400)  # in the text of a document, and beside it


@register_data_class("BoxesForTests", version=1)
class Boxes(BaseStoredData):
    box: np.ndarray  # type: ignore[type-arg]
    more: list[np.ndarray] | None = None  # type: ignore[type-arg]

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", SAY_MORE)
def test_a_document_refuses_it_wherever_it_is(what: str, size: int) -> None:
    leaf = SAY_MORE[what](size)
    for tree in ({"x": leaf}, {"x": [1.0, {"value": leaf, "unit": "nm"}]}, leaf):
        for use in (documents.encode, lambda tree: documents.identity_digest("A", tree)):
            with pytest.raises(InvalidDataError, match=REASON):
                use(tree)
    with pytest.raises(InvalidDataError, match=REASON):
        writing.array(leaf)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", SAY_MORE)
def test_a_data_class_refuses_it(tmp_path: Path, what: str, size: int) -> None:
    leaf = SAY_MORE[what](size)
    for fields in ({"box": leaf}, {"box": np.ones(3), "more": [np.ones(3), leaf]}):
        with pytest.raises(InvalidDataError, match=REASON):
            Boxes(**fields)
    # Past the checks of the class, the store has its own.
    stored = Boxes.model_construct(box=leaf)
    with HDF5Storage(tmp_path / "a.h5") as backend:
        with pytest.raises(InvalidDataError):
            backend.store_object(stored)
        assert len(backend) == 0
    with LocalFileStorage(tmp_path / "dir") as directory:
        with pytest.raises(InvalidDataError):
            directory.store_object(stored)
        assert len(directory) == 0


@pytest.mark.parametrize("what", ["masked", "masked throughout", "of a subclass"])
def test_an_observable_refuses_it(what: str) -> None:
    leaf = SAY_MORE[what](4)
    with pytest.raises(InvalidDataError, match=REASON):
        ObservableArray(unit.Quantity(leaf, "kelvin"))
    key = ParameterGradientKey("vdW", "[#6:1]", "epsilon")
    with pytest.raises(InvalidDataError, match=REASON):
        ObservableArray(unit.Quantity(np.ones(4), "kelvin"), [ParameterGradient(key, unit.Quantity(leaf))])


def test_the_constant_for_a_missing_number_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="masked elements"):
        documents.encode({"x": [1.0, np.ma.masked]})


def test_the_message_says_how_many_are_missing_and_what_to_do() -> None:
    with pytest.raises(InvalidDataError, match=r"^run\.box has 1 masked elements.*filled\(numpy\.nan\)"):
        documents.encode({"run": {"box": masked(40)}})


@pytest.mark.parametrize("size", SIZES)
def test_arrays_that_say_no_more_are_kept(tmp_path: Path, size: int) -> None:
    values = np.arange(float(size))
    mapped = np.memmap(tmp_path / "mapped", "f8", "w+", shape=(size,))
    mapped[:] = values
    # netCDF4 gives masked arrays also where nothing is missing.
    kinds = (values, mapped, np.ma.array(values), np.ma.array(values, mask=np.zeros(size, bool)))
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for number, kind in enumerate(kinds):
            key = backend.store_object(Boxes(box=kind + number))
            found = np.asarray(backend.retrieve_object(key)[0].box)
            assert type(found) is np.ndarray
            assert np.array_equal(found, values + number)

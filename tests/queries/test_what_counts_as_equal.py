"""What counts as the value asked for: nominal mixtures, several amounts of a component, and NaN."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from simarchive import (
    AnyOf,
    Between,
    ExactAmount,
    HDF5Storage,
    InvalidDataError,
    MoleFraction,
    Not,
    Substance,
    SubstanceQuery,
    register_data_class,
)
from simarchive.chemistry.substances import NearSubstances
from simarchive.data import BaseStoredData
from simarchive.queries import BaseDataQuery, parse_query, query_class_for


@register_data_class("BoxForTests", version=1)
class Box(BaseStoredData):
    number: int
    substance: Substance

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


query_of_boxes = query_class_for(Box)


def mixture(**fractions: float) -> Substance:
    substance = Substance()
    for smiles, fraction in fractions.items():
        substance.add_component(smiles, MoleFraction(fraction))
    return substance


def boxes(path: Path, *substances: Substance) -> HDF5Storage:
    backend = HDF5Storage(path / "boxes.h5")
    for number, substance in enumerate(substances):
        backend.store_object(Box(number=number, substance=substance), storage_key=str(number))
    return backend


def found(backend: HDF5Storage, query: BaseDataQuery) -> list[str]:
    """Return the keys that the index gives, after checking that each object says the same."""
    keys = backend.keys(query)
    matching = [key for key in backend if query.apply(backend.load(key)) is not None]
    assert sorted(keys) == sorted(matching)
    return keys


def test_a_nominal_mixture_finds_the_box_of_whole_molecules(tmp_path: Path) -> None:
    nominal = mixture(CO=0.49, O=0.51)
    real = nominal.to_substance_n_molecules(999)
    assert real != nominal
    others = [mixture(CO=0.4885, O=0.5115), mixture(CCO=0.49, O=0.51), mixture(CO=0.49, O=0.5, C=0.01)]
    with boxes(tmp_path, real, nominal, *others) as backend:
        assert found(backend, query_of_boxes(substance=nominal)) == ["0", "1"]
        assert found(backend, query_of_boxes(substance=AnyOf(nominal, others[1]))) == ["0", "1", "3"]
        assert found(backend, query_of_boxes(substance=Not(nominal))) == ["2", "3", "4"]
        exactly = SubstanceQuery(mole_fraction_tolerance=0)
        assert found(backend, query_of_boxes(substance=nominal, substance_query=exactly)) == ["1"]
        widely = SubstanceQuery(mole_fraction_tolerance=0.01)
        assert found(backend, query_of_boxes(substance=nominal, substance_query=widely)) == [
            "0",
            "1",
            "2",
        ]
        text = "class=BoxForTests substance=CO{x=0.49}|O{x=0.51}"
        assert list(backend.query(parse_query(text))) == [(real,), (nominal,)]


def test_only_substances_whose_texts_look_like_it_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    contains = NearSubstances.__contains__

    def counting(self: NearSubstances, identifier: str) -> bool:
        compared.append(identifier)
        return contains(self, identifier)

    wanted = mixture(CO=0.49, O=0.51)
    longer = [mixture(**{"C" * length + "O": 0.5, "O": 0.5}) for length in range(2, 30)]
    others = [mixture(CN=0.49, O=0.51), mixture(CS=0.49, O=0.51)]
    with boxes(tmp_path, wanted, *longer, *others, mixture(CO=0.25, O=0.75)) as backend:
        monkeypatch.setattr(NearSubstances, "__contains__", counting)
        assert backend.keys(query_of_boxes(substance=wanted)) == ["0"]
        assert len(compared) == 1


def test_small_fractions_are_near_within_a_tenth(tmp_path: Path) -> None:
    asked = mixture(C=0.0005, O=0.9995)
    near, far = mixture(C=0.00055, O=0.99945), mixture(C=0.0006, O=0.9994)
    with boxes(tmp_path, near, far, asked) as backend:
        assert found(backend, query_of_boxes(substance=asked)) == ["0", "2"]


def test_roles_and_exact_amounts_are_never_near(tmp_path: Path) -> None:
    one, two = (mixture(CO=0.5, O=0.5) for _ in range(2))
    one.add_component("C", ExactAmount(1))
    two.add_component("C", ExactAmount(2))
    with boxes(tmp_path, one, two) as backend:
        assert found(backend, query_of_boxes(substance=one)) == ["0"]


@pytest.mark.parametrize("tolerance", [-0.1, 1.5, math.nan, "0.1", True, None])
def test_a_tolerance_is_a_number_from_0_to_1(tolerance: object) -> None:
    with pytest.raises(InvalidDataError, match="mole_fraction_tolerance must be a number from 0 to 1"):
        query_of_boxes(substance_query=SubstanceQuery(mole_fraction_tolerance=tolerance))  # type: ignore[arg-type]


AMOUNTS = (("O", MoleFraction(0.99)), ("[Na+]", MoleFraction(0.01)), ("[Na+]", ExactAmount(2)))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_amounts_of_one_component_are_compared_by_all_of_them(tmp_path: Path, order: tuple[int, ...]) -> None:
    wanted = Substance()
    for place in order:
        wanted.add_component(*AMOUNTS[place])
    pure = []
    for amounts in ([ExactAmount(2)], [MoleFraction(1.0)], [ExactAmount(2), MoleFraction(1.0)]):
        pure.append(Substance())
        for amount in amounts:
            pure[-1].add_component("[Na+]", amount)
    query = query_of_boxes(substance=wanted, substance_query=SubstanceQuery(components_only=True))
    with boxes(tmp_path, *pure) as backend:
        assert found(backend, query) == ["2"]


@register_data_class("NumbersForTests", version=1)
class Numbers(BaseStoredData):
    number: float | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


def test_nan_lies_in_no_range_and_so_outside_of_every_one(tmp_path: Path) -> None:
    query_class = query_class_for(Numbers)
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for key, number in {"low": 1.0, "high": 9.0, "nan": math.nan, "unset": None}.items():
            backend.store_object(Numbers(number=number), storage_key=key)
        for criterion, keys in (
            (Between(0, 5), ["low"]),
            (Between(), ["low", "high"]),
            (Not(Between(0, 5)), ["high", "nan", "unset"]),
            (Not(Between()), ["nan", "unset"]),
            (AnyOf(Between(None, 0), Between(5, None)), ["high"]),
        ):
            assert found(backend, query_class(number=criterion)) == keys, criterion  # type: ignore[arg-type]

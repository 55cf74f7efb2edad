"""What sums up a series: mean, error, running mean and histogram, of whatever a document holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simarchive.storage.display.series import (
    Series,
    mean_text,
    number_text,
    series_of,
    summary_of,
)


def summed_up(values: np.ndarray, n_points: int = 20, n_bins: int = 10):
    return summary_of(Series("x", "", values), n_points=n_points, n_bins=n_bins)


def correlated(factor: float, n: int, seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    values = np.empty(n)
    values[0] = noise[0]
    for place in range(1, n):
        values[place] = factor * values[place - 1] + noise[place]
    return values


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9])
def test_the_inefficiency_is_that_of_an_autoregressive_process(factor: float) -> None:
    """Known in closed form: (1 + f) / (1 - f)."""
    summary = summed_up(correlated(factor, 200_000))
    assert summary.inefficiency == pytest.approx((1 + factor) / (1 - factor), rel=0.08)
    assert summary.error == pytest.approx(1 / (1 - factor) / math.sqrt(200_000), rel=0.05)


def test_parts_and_running_means_are_those_of_the_values() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, 1000)
    summary = summed_up(values, n_points=10)
    ends = np.linspace(1, 1000, 10).astype(int)
    assert summary.running == pytest.approx([values[:end].mean() for end in ends])
    starts = [0, *ends[:-1]]
    assert summary.trace == pytest.approx(
        [values[a:b].mean() for a, b in zip(starts, ends, strict=True)], abs=1e-9
    )
    assert summary.counts == np.histogram(values, bins=10)[0].tolist()
    assert (summary.lowest, summary.highest) == (values.min(), values.max())


def test_values_that_are_no_numbers_are_left_out_and_counted() -> None:
    summary = summed_up(np.array([1.0, np.nan, 3.0, np.inf, -np.inf]))
    assert (summary.mean, summary.n_values, summary.n_left_out) == (2.0, 5, 3)
    assert summed_up(np.array([np.nan, np.nan])) is None


@pytest.mark.parametrize(
    "values",
    [
        np.full(7, 2.0),
        np.array([1e308, 1e308, -1e308]),
        np.array([5e-324, 0.0]),
        np.array([0, 1, 2], dtype=np.uint8),
        np.array([2**63, 1], dtype=np.uint64),
    ],
)
def test_extreme_values_are_summed_up_without_a_warning(values: np.ndarray) -> None:
    summary = summed_up(values)
    assert summary.n_values == len(values)
    assert sum(summary.counts) == len(values)
    assert isinstance(mean_text(summary, "K"), str)


def test_a_series_that_is_too_long_is_not_read() -> None:
    class Long:
        shape = ((1 << 22) + 1,)
        dtype = np.dtype(float)

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("it was read")

    assert summed_up(Long()) is None


def test_series_are_found_in_a_document_of_any_class() -> None:
    array = np.arange(6.0)
    tree = {
        "plain": array,
        "quantity": {"value": array, "unit": "kelvin"},
        "observables": {"Density": {"value": {"value": array[:, None], "unit": "g"}, "gradients": [array]}},
        "vector": {"value": array.reshape(3, 2), "unit": "nm"},
        "scalar": {"value": 3.0, "unit": "kelvin"},
        "many": np.zeros((3, 50)),
        "texts": np.array(["a", "b"]),
        "one": np.zeros(1),
        "text": "x",
    }
    found = [(one.name, one.unit, one.values().tolist()) for one in series_of(tree)]
    assert found == [
        ("plain", "", array.tolist()),
        ("quantity", "kelvin", array.tolist()),
        ("observables.Density", "g", array.tolist()),
        ("vector[0]", "nm", [0.0, 2.0, 4.0]),
        ("vector[1]", "nm", [1.0, 3.0, 5.0]),
    ]
    deep: dict = {"x": array}
    for _ in range(500):
        deep = {"x": deep}
    assert list(series_of(deep)) == []


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (-6784.1234, 15.2, "-6784"),
        (0.99512, 0.0012, "0.9951"),
        (1.0, 0.0, "1"),
        (math.nan, 1.0, "nan"),
        (1.23456e12, 3e8, "1.23456e+12"),
        (3.0, math.nan, "3"),
    ],
)
def test_a_mean_has_the_digits_that_its_error_allows(mean: float, error: float, text: str) -> None:
    assert number_text(mean, error) == text


def test_a_name_with_dots_of_its_own_is_short_as_it_is() -> None:
    values = np.arange(5.0)
    tree = {
        "observables": {"Conserved En.": {"value": values, "unit": "kilojoule / mole"}, "a.b": values},
        "c": values,
    }
    names = {series.name: series.short_name for series in series_of(tree)}
    assert names == {"observables.Conserved En.": "Conserved En.", "observables.a.b": "a.b", "c": "c"}

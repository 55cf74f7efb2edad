"""Observables are equal if value, error and gradients are: each of them makes a difference by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simarchive import Observable, ObservableArray, ParameterGradient, ParameterGradientKey, unit

KEY = ParameterGradientKey("vdW", "[#6:1]", "epsilon")
OTHER_KEY = ParameterGradientKey("vdW", "[#6:1]", "rmin_half")


def observable(value: str = "2 kelvin", error: str = "0.1 kelvin", gradients: Any = ()) -> Observable:
    return Observable(value, list(gradients), error=error)


def gradient(key: ParameterGradientKey = KEY, value: float = 1.0) -> ParameterGradient:
    return ParameterGradient(key, value * unit.kelvin)


@pytest.mark.parametrize(
    "other",
    [
        observable(value="3 kelvin"),
        observable(error="0.2 kelvin"),
        observable(error="0 kelvin"),
        observable(error="-0.1 kelvin"),
        Observable("2 kelvin"),
        observable(gradients=[gradient()]),
    ],
)
def test_each_part_of_an_observable_makes_a_difference(other: Observable) -> None:
    assert observable() == observable()
    assert observable() != other
    assert other != observable()
    assert not observable() == other  # noqa: SIM201 - both operators


@pytest.mark.parametrize(
    "gradients",
    [[], [gradient(value=2.0)], [gradient(OTHER_KEY)], [gradient(), gradient(OTHER_KEY)]],
)
def test_each_part_of_a_gradient_makes_a_difference(gradients: list[ParameterGradient]) -> None:
    same = observable(gradients=[gradient()])
    assert same == observable(gradients=[gradient()])
    assert same != observable(gradients=gradients)
    array = ObservableArray(np.array([2.0]) * unit.kelvin, [gradient()])
    assert array == ObservableArray(np.array([2.0]) * unit.kelvin, [gradient()])
    assert array != ObservableArray(np.array([2.0]) * unit.kelvin, gradients)


def test_an_error_of_another_size_is_another_measurement_when_it_is_stored() -> None:
    trees = [observable(error=error).to_tree() for error in ("0.1 kelvin", "0.2 kelvin")]
    assert Observable.from_tree(trees[0]) == observable()
    assert Observable.from_tree(trees[1]) != observable()

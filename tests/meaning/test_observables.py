"""Observables, arrays and frames: arithmetic, laziness, equality and round trips."""

from __future__ import annotations

import operator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from simarchive.chemistry import (
    Observable,
    ObservableArray,
    ObservableFrame,
    ObservableType,
    ParameterGradient,
    ParameterGradientKey,
    unit,
)
from simarchive.chemistry.trees import same_tree
from simarchive.errors import InvalidDataError, NotFoundError

EPSILON = ParameterGradientKey("vdW", "[#6:1]", "epsilon")
SIGMA = ParameterGradientKey("vdW", "[#6:1]", "sigma")


class LazyLeaf:
    """An array that counts how often it is loaded."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.loads = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        self.loads += 1
        return self.array


def series(values: list[float], slope: float | None = None) -> ObservableArray:
    gradients = []
    if slope is not None:
        gradients = [ParameterGradient(EPSILON, unit.Quantity(slope * np.array(values), "kelvin"))]
    return ObservableArray(unit.Quantity(np.array(values), "kelvin"), gradients)


arrays = npst.arrays(
    dtype=st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", ">f8"]),
    shape=st.one_of(st.tuples(st.integers(0, 5)), st.tuples(st.integers(0, 4), st.integers(1, 3))),
)


@given(arrays, arrays)
def test_B15_frames_equal_their_round_trips_to_every_bit(
    values: np.ndarray[Any, Any], others: np.ndarray[Any, Any]
) -> None:
    gradient = ParameterGradient(EPSILON, unit.Quantity(values.copy(), "kelvin / angstrom"))
    frame = ObservableFrame({"Temperature": ObservableArray(unit.Quantity(values, "kelvin"), [gradient])})
    copy = ObservableFrame.from_tree(frame.to_tree())
    assert copy == frame
    assert same_tree(copy.to_tree(), frame.to_tree())
    other = ObservableArray(unit.Quantity(others, "kelvin"))
    native, other_native = (array.astype(array.dtype.newbyteorder("=")) for array in (values, others))
    same = native.dtype == other_native.dtype and native.tobytes() == other_native.tobytes()
    if values.ndim == others.ndim == 1:
        assert (ObservableArray(unit.Quantity(values, "kelvin")) == other) == same


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.array([0.0]), np.array([-0.0])),
        (np.array([1.0], "f4"), np.array([1.0], "f8")),
        (np.array([1]), np.array([1.0])),
        (np.zeros((0, 1)), np.zeros((0, 3))),
    ],
)
def test_B15_equality_sees_sign_of_zero_type_and_shape(first: Any, second: Any) -> None:
    assert ObservableArray(first * unit.kelvin) != ObservableArray(second * unit.kelvin)
    assert ObservableArray(first * unit.kelvin) == ObservableArray(first.copy() * unit.kelvin)


@given(st.one_of(st.integers(), st.floats()), st.floats())
def test_B15_observables_equal_their_round_trips(value: float, error: float) -> None:
    gradient = ParameterGradient(SIGMA, unit.Quantity(error, "kJ / mol / nm"))
    observable = Observable(
        unit.Quantity(value, "kJ / mol"), [gradient], error=unit.Quantity(error, "kcal / mol")
    )
    copy = Observable.from_tree(observable.to_tree())
    assert copy == observable
    assert same_tree(copy.to_tree(), observable.to_tree())


def test_lazy_arrays_stay_unloaded_until_a_value_is_asked() -> None:
    leaf, slope = LazyLeaf(np.arange(6.0).reshape(-1, 1)), LazyLeaf(np.ones((6, 1)))
    tree = {
        "Volume": {
            "value": {"value": leaf, "unit": "nanometer ** 3"},
            "gradients": [{"key": EPSILON.to_tree(), "value": {"value": slope, "unit": "nanometer ** 3"}}],
        }
    }
    frame = ObservableFrame.from_tree(tree)
    volume = frame[ObservableType.Volume]
    assert (len(frame), volume.shape, volume.is_loaded) == (6, (6, 1), False)
    assert repr(frame) == "<ObservableFrame of 6 values: Volume>"
    assert repr(volume)
    assert frame.to_tree()["Volume"]["value"]["value"] is leaf
    assert frame != ObservableFrame({"Volume": series_of_volume(5)})
    assert (leaf.loads, slope.loads) == (0, 0)
    assert volume.value[2, 0].to("nm**3").magnitude == 2.0
    assert volume.value is volume.value
    assert (leaf.loads, slope.loads) == (1, 0)
    assert frame == ObservableFrame.from_tree(frame.to_tree())


def series_of_volume(n_values: int) -> ObservableArray:
    return ObservableArray(unit.Quantity(np.zeros(n_values), "nanometer ** 3"))


def test_one_number_and_one_dimension_become_columns() -> None:
    assert ObservableArray(3.0 * unit.kelvin).shape == (1, 1)
    assert series([1.0, 2.0]).shape == (2, 1)
    with pytest.raises(InvalidDataError, match="two dimensions"):
        ObservableArray(np.zeros((1, 1, 1)) * unit.kelvin)


@pytest.mark.parametrize("dtype", ["complex128", "bool", "O", "M8[s]"])
def test_arrays_that_are_no_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(InvalidDataError, match="must hold integers or floats"):
        ObservableArray(unit.Quantity(np.zeros(2, dtype), "kelvin"))


def test_gradients_must_have_the_shape_of_the_value() -> None:
    with pytest.raises(InvalidDataError, match="shape"):
        ObservableArray(np.zeros(2) * unit.kelvin, [ParameterGradient(EPSILON, np.zeros(3) * unit.kelvin)])


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_gradients_follow_the_rules_of_differentiation(operation: Any) -> None:
    def at(parameter: float) -> Any:
        first, second = 3.0 + 2.0 * parameter, 5.0 - 1.0 * parameter
        return (
            Observable(first * unit.kelvin, [ParameterGradient(EPSILON, 2.0 * unit.kelvin)]),
            Observable(second * unit.kelvin, [ParameterGradient(EPSILON, -1.0 * unit.kelvin)]),
        )

    result, moved = operation(*at(0.0)), operation(*at(1e-6))
    slope = (moved.value.magnitude - result.value.magnitude) / 1e-6
    assert result.gradients[0].value.magnitude == pytest.approx(slope, rel=1e-5)


def test_arrays_combine_with_numbers_quantities_and_each_other() -> None:
    array = series([1.0, 2.0], slope=3.0)
    for result in (array * 2, 2 * array, np.float64(2) * array, unit.Quantity(2.0, "") * array):
        assert isinstance(result, ObservableArray)
        assert result.value.magnitude.tolist() == [[2.0], [4.0]]
        assert result.gradients[0].value.magnitude.tolist() == [[6.0], [12.0]]
    column = unit.Quantity(np.array([10.0, 20.0]), "kelvin")
    assert (array * column).value.magnitude.tolist() == [[10.0], [40.0]]
    assert (array + column).value.magnitude.tolist() == [[11.0], [22.0]]
    assert (column - array).value.magnitude.tolist() == [[9.0], [18.0]]
    assert (array / array).gradients[0].value.magnitude.tolist() == [[0.0], [0.0]]
    assert (4.0 / array).value.magnitude.tolist() == [[4.0], [2.0]]
    assert (4.0 / array).gradients[0].value.magnitude.tolist() == [[-12.0], [-6.0]]
    with pytest.raises(TypeError):
        array + "1"
    with pytest.raises(InvalidDataError, match="same parameters"):
        array + series([1.0, 2.0])


def test_errors_are_independent_but_for_an_observable_and_itself() -> None:
    first = Observable("3 kelvin", error="0.3 kelvin")
    second = Observable("4 kelvin", error="400 millikelvin")
    assert (first + second).error.magnitude == pytest.approx(0.5)
    assert (first - second).error.magnitude == pytest.approx(0.5)
    assert (first * second).error.magnitude == pytest.approx(np.hypot(1.2, 1.2))
    assert (first - first).error.magnitude == 0.0
    assert (first / first).error.magnitude == pytest.approx(0.0)
    assert (2 / first).error.magnitude == pytest.approx(2 * 0.3 / 9)


def test_observable_takes_a_measurement_by_its_parts() -> None:
    measured = SimpleNamespace(value=2.0 * unit.kelvin, error=0.1 * unit.kelvin)
    assert Observable(measured) == Observable("2.0 K", error="0.1 K")
    assert Observable(2.0 * unit.kelvin).error == 0.0 * unit.kelvin
    for bad in (2.0, np.zeros(2) * unit.kelvin, SimpleNamespace(value=2.0)):
        with pytest.raises(InvalidDataError):
            Observable(bad)


def test_subset_and_join_are_inverse() -> None:
    array = series([1.0, 2.0, 3.0], slope=2.0)
    frame = ObservableFrame({"Temperature": array})
    assert ObservableArray.join(array.subset([0]), array.subset(range(1, 3))) == array
    assert ObservableFrame.join(frame.subset([0, 1]), frame.subset([2])) == frame
    assert frame.subset([2, 0])["Temperature"].value.magnitude.tolist() == [[3.0], [1.0]]
    with pytest.raises(InvalidDataError, match="same parameters"):
        ObservableArray.join(array, series([1.0]))
    with pytest.raises(InvalidDataError, match="compatible units"):
        ObservableArray.join(array, series_of_volume(1))
    with pytest.raises(InvalidDataError, match="same types"):
        ObservableFrame.join(frame, ObservableFrame())


def test_frame_refuses_other_names_units_and_lengths() -> None:
    frame = ObservableFrame({"Temperature": series([1.0, 2.0])})
    with pytest.raises(KeyError, match="not a type of observable"):
        frame["Colour"] = series([1.0, 2.0])
    with pytest.raises(InvalidDataError, match="one length"):
        frame["Volume"] = series_of_volume(3)
    with pytest.raises(InvalidDataError, match="convertible"):
        frame["Volume"] = series([1.0, 2.0])
    with pytest.raises(InvalidDataError, match="ObservableArray"):
        frame["Volume"] = 3  # type: ignore[assignment]
    assert list(frame) == [ObservableType.Temperature]
    assert "Temperature" in frame
    frame["Temperature"] = series([1.0, 2.0, 3.0])
    assert len(frame) == 3


def test_frame_is_read_from_the_report_of_openmm(tmp_path: Path) -> None:
    report = tmp_path / "openmm.csv"
    report.write_text(
        '#"Step","Total Energy (kJ/mole)","Temperature (K)","Box Volume (nm^3)"\n'
        "1,-10.5,300.0,1.0\n"
        '#"Step","Total Energy (kJ/mole)","Temperature (K)","Box Volume (nm^3)"\n'
        "2,-11.5,301.0,2.0\n"
    )
    frame = ObservableFrame.from_openmm(report, pressure="1 atm")
    assert frame["Temperature"].value.magnitude.tolist() == [[300.0], [301.0]]
    work = (101325 * 1e-27 * 6.02214076e23) / 1000
    assert frame["Enthalpy"].value.magnitude.ravel() == pytest.approx([-10.5 + work, -11.5 + 2 * work])
    with pytest.raises(NotFoundError):
        ObservableFrame.from_openmm(tmp_path / "none.csv")
    report.write_text("")
    assert not ObservableFrame.from_openmm(report)


@pytest.mark.parametrize(
    "tree",
    [
        3,
        {"Colour": {}},
        {"Volume": {"value": {"value": np.zeros(1), "unit": "nm**3"}}},
        {"Volume": {"value": {"value": [1.0], "unit": "nm**3"}, "gradients": []}},
        {"Volume": {"value": {"value": np.zeros(1), "unit": "K"}, "gradients": []}},
        {"Volume": {"value": {"value": np.zeros(1), "unit": "nm**3"}, "gradients": [], "more": 1}},
    ],
)
def test_a_bad_frame_tree_is_refused(tree: object) -> None:
    with pytest.raises(InvalidDataError):
        ObservableFrame.from_tree(tree)

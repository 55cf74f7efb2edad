"""Observables: values with errors and parameter gradients, and arithmetic with them.

What happens to gradients follows from the rules of differentiation. Errors are taken as independent and are
propagated to first order, except that an observable combined with itself is fully correlated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from simarchive.chemistry.arrays import ArrayQuantity
from simarchive.chemistry.differentiable import Differentiable, Gradients
from simarchive.chemistry.gradients import ParameterGradient, ParameterGradientKey
from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.chemistry.units import (
    as_quantity,
    is_quantity,
    leave_arithmetic_to,
    quantity_from_tree,
    quantity_to_tree,
    registry,
    same_quantity,
    unit_named,
    unit_text,
)
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


class Observable(Differentiable):
    """The mean of an observable with its standard error, and optionally gradients of the mean.

    Parameters
    ----------
    value
        A quantity of one number, a text such as ``"2.5 kJ/mol"``, or a measurement: anything with a
        ``value`` and an ``error``, such as pint's.
    gradients
        Derivatives of the value, each one number.
    error
        The standard error; zero if left out.
    """

    def __init__(
        self,
        value: Quantity | str | Any = None,
        gradients: Gradients | None = None,
        *,
        error: Quantity | str | None = None,
    ) -> None:
        if value is not None and not isinstance(value, str) and not is_quantity(value):
            value, error = _parts_of_measurement(value, error)
        self._value: Quantity | None = None
        self._error: Quantity | None = None
        if value is not None:
            self._value = _scalar(value, "the value of an observable")
            units = unit_text(self._value.units)
            zero = registry().Quantity(0.0, units)
            self._error = zero if error is None else _scalar(error, "the error of an observable", units)
        elif error is not None or gradients:
            raise InvalidDataError("an observable with an error or gradients needs a value")
        self._gradients = list(gradients or ())
        for gradient in self._gradients:
            _scalar(gradient.value, "the gradient of an observable")

    @property
    def value(self) -> Any:
        """The mean, or None."""
        return self._value

    @property
    def error(self) -> Any:
        """The standard error of the mean, or None if there is no value."""
        return self._error

    def _with(self, value: Quantity, gradients: Gradients, error: Quantity | None) -> Self:
        return type(self)(value, gradients, error=error)

    def _sum_error(self, other: Any, sign: float) -> Any:
        if not isinstance(other, Observable):
            return self._error
        if other is self:
            return abs((1.0 + sign) * self.error)
        return _root_of_squares(self.error, other.error)

    def _product_error(self, other: Any, mine: Any, theirs: Any) -> Any:
        if other is None:
            return abs(self.error * mine)
        if other is self:
            return abs(self.error * (mine + theirs))
        return _root_of_squares(self.error * mine, other.error * theirs)

    def to_tree(self) -> Tree:
        """Return value, error and gradients."""
        if self._value is None or self._error is None:
            raise InvalidDataError("an observable without a value cannot be stored: give it one")
        return {
            "value": quantity_to_tree(self._value),
            "error": quantity_to_tree(self._error),
            "gradients": [gradient.to_tree() for gradient in self._gradients],
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> Observable:
        """Return the observable of a tree."""
        fields = fields_of(tree, "an observable", ("value", "error", "gradients"))
        return cls(
            quantity_from_tree(fields["value"], "the value of an observable"),
            _gradients_from_tree(fields["gradients"]),
            error=quantity_from_tree(fields["error"], "the error of an observable"),
        )

    def validate(self) -> None:
        """Raise InvalidDataError if there is no value."""
        self.to_tree()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Observable):
            return NotImplemented
        if self._value is None or other._value is None:
            return self._value is other._value
        return (
            same_quantity(self._value, other._value)
            and same_quantity(self.error, other.error)
            and self._gradients == other._gradients
        )

    def __str__(self) -> str:
        return "None" if self._value is None else f"{self._value:~} +/- {self.error:~}"

    def __repr__(self) -> str:
        return f"<Observable {self}>"


class ObservableArray(Differentiable):
    """The values of an observable along a simulation, shape (n_values, n_dimensions), with gradients.

    Parameters
    ----------
    value
        A quantity: an array of at most two dimensions or one number. One dimension becomes one column.
    gradients
        Derivatives, each of the shape of the value.
    """

    def __init__(
        self, value: Quantity | ArrayQuantity | None = None, gradients: Gradients | None = None
    ) -> None:
        what = "the value of an observable array"
        self._array: ArrayQuantity | None = None
        if value is not None:
            self._array = value if isinstance(value, ArrayQuantity) else ArrayQuantity.of(value, what)
        elif gradients:
            raise InvalidDataError("an observable array with gradients needs a value")
        self._gradients = []
        for gradient in gradients or ():
            array = gradient.as_array()
            if array.shape != self.shape:
                raise InvalidDataError(
                    f"a gradient must have the shape {self.shape} of the value, not {array.shape}"
                )
            self._gradients.append(ParameterGradient(gradient.key, array))

    @property
    def value(self) -> Any:
        """The values as a quantity, or None; this loads them."""
        return None if self._array is None else self._array.quantity

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values and of dimensions, known without loading."""
        return (0, 0) if self._array is None else self._array.shape

    @property
    def units(self) -> Any:
        """The unit of the values, known without loading, or None."""
        return None if self._array is None else self._array.units

    @property
    def is_loaded(self) -> bool:
        """Whether the values are in memory."""
        return self._array is None or self._array.is_loaded

    def _with(self, value: Quantity, gradients: Gradients, error: Quantity | None) -> Self:
        return type(self)(value, gradients)

    def subset(self, indices: Iterable[int]) -> Self:
        """Return the values, and gradients, at some indices."""
        chosen = indices if isinstance(indices, slice) else np.asarray(list(indices), dtype=np.intp)
        return type(self)(
            self.value[chosen],
            [ParameterGradient(gradient.key, gradient.value[chosen]) for gradient in self._gradients],
        )

    @classmethod
    def join(cls, *observables: ObservableArray) -> ObservableArray:
        """Return all values one after another, in the unit of the first.

        Raises
        ------
        InvalidDataError
            If there are none, units do not fit, or gradients are of other parameters or in other units.
        """
        if not observables:
            raise InvalidDataError("at least one observable must be given to join")
        first = observables[0]
        if len(observables) == 1:
            return first
        if any(other.units is None for other in observables):
            raise InvalidDataError("an observable without values cannot be joined")
        if any(other.units.dimensionality != first.units.dimensionality for other in observables):
            raise InvalidDataError("the observables to join must have compatible units")
        units = {gradient.key: unit_text(gradient.units) for gradient in first._gradients}
        by_key = [{gradient.key: gradient for gradient in other._gradients} for other in observables]
        for gradients in by_key:
            if {key: unit_text(gradient.units) for key, gradient in gradients.items()} != units:
                raise InvalidDataError(
                    "the observables to join must have gradients of the same parameters, in the same units"
                )
        return cls(
            _concatenate([other.value for other in observables]),
            [
                ParameterGradient(key, _concatenate([gradients[key].value for gradients in by_key]))
                for key in units
            ],
        )

    def to_tree(self) -> Tree:
        """Return values and gradients; arrays that are not loaded are passed on as they are."""
        if self._array is None:
            raise InvalidDataError("an observable array without values cannot be stored: give it some")
        return {
            "value": self._array.to_tree(),
            "gradients": [gradient.to_tree() for gradient in self._gradients],
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> ObservableArray:
        """Return the observable array of a tree, not loaded if it was not."""
        fields = fields_of(tree, "an observable array", ("value", "gradients"))
        value = ArrayQuantity.from_tree(fields["value"], "the value of an observable array")
        return cls(value, _gradients_from_tree(fields["gradients"]))

    def validate(self) -> None:
        """Raise InvalidDataError if there are no values."""
        self.to_tree()

    def __len__(self) -> int:
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObservableArray):
            return NotImplemented
        if self._array is None or other._array is None:
            return self._array is other._array
        return self._array.same(other._array) and self._gradients == other._gradients

    def __str__(self) -> str:
        return "None" if self._array is None else str(self.value)

    def __repr__(self) -> str:
        if self._array is None:
            return "<ObservableArray without values>"
        return f"<ObservableArray {self._array.shape} in {unit_text(self._array.units)}>"


def _parts_of_measurement(value: Any, error: Any) -> tuple[Any, Any]:
    if error is None and is_quantity(getattr(value, "value", None)):
        return value.value, getattr(value, "error", None)
    raise InvalidDataError(f"the value of an observable must be a quantity, not {describe(value)}")


def _scalar(value: object, what: str, compatible_with: str | None = None) -> Quantity:
    quantity = as_quantity(value, what, compatible_with=compatible_with)
    if not isinstance(quantity.magnitude, int | float):
        raise InvalidDataError(f"{what} must be one number, not an array")
    return quantity


def _root_of_squares(first: Quantity, second: Quantity) -> Quantity:
    units = first.units
    # hypot neither overflows nor turns an exact zero into noise, as squares and roots of units might
    quantity: Quantity = registry().Quantity(
        float(np.hypot(first.magnitude, second.to(units).magnitude)), units
    )
    return quantity


def _concatenate(quantities: list[Any]) -> Quantity:
    units = quantities[0].units
    arrays = [quantities[0].magnitude, *(other.to(units).magnitude for other in quantities[1:])]
    quantity: Quantity = registry().Quantity(np.concatenate(arrays), unit_named(unit_text(units)))
    return quantity


def _gradients_from_tree(tree: Tree) -> list[ParameterGradient]:
    if not isinstance(tree, list):
        raise InvalidDataError(f"gradients must be stored as a list, not as {describe(tree)}")
    return [ParameterGradient.from_tree(gradient) for gradient in tree]


__all__ = ["Observable", "ObservableArray", "ParameterGradientKey"]

for _kind in (Observable, ObservableArray):
    leave_arithmetic_to(_kind)

"""The arithmetic of observables: how values, errors and parameter gradients combine."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from simarchive.chemistry.gradients import ParameterGradient
from simarchive.chemistry.units import is_quantity
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity

Gradients = Sequence[ParameterGradient]


class Differentiable(ABC):
    """The arithmetic that a single observable and an array of them share."""

    __array_ufunc__ = None  # numpy arrays leave arithmetic to this class
    __hash__ = None  # type: ignore[assignment]

    _gradients: list[ParameterGradient]

    @property
    @abstractmethod
    def value(self) -> Any:
        """The value or values."""

    @abstractmethod
    def _with(self, value: Quantity, gradients: Gradients, error: Quantity | None) -> Self:
        """Return one of this kind with another content."""

    def _sum_error(self, other: Any, sign: float) -> Quantity | None:
        """Return the error of self + sign * other, other a quantity or of this kind."""
        return None

    def _product_error(self, other: Any, mine: Any, theirs: Any) -> Quantity | None:
        """Return the error if d(result) = mine * d(self) + theirs * d(other)."""
        return None

    @property
    def gradients(self) -> list[ParameterGradient]:
        """The derivatives with respect to parameters of the force field."""
        return list(self._gradients)

    def clear_gradients(self) -> None:
        """Forget all gradients."""
        self._gradients = []

    def _paired_gradients(self, other: Differentiable) -> list[tuple[ParameterGradient, ParameterGradient]]:
        theirs = {gradient.key: gradient for gradient in other._gradients}
        if {gradient.key for gradient in self._gradients} != set(theirs):
            raise InvalidDataError(
                "two observables can only be combined if they have gradients with respect to the same "
                "parameters: call clear_gradients() on both, or leave one out"
            )
        return [(gradient, theirs[gradient.key]) for gradient in self._gradients]

    def _add(self, other: Any, sign: float, combine: Callable[[Any, Any], Any]) -> Any:
        if is_quantity(other):
            return self._with(
                combine(self.value, _column(other)), self._gradients, self._sum_error(other, sign)
            )
        if type(other) is not type(self):
            return NotImplemented
        gradients = [combine(mine, theirs) for mine, theirs in self._paired_gradients(other)]
        return self._with(combine(self.value, other.value), gradients, self._sum_error(other, sign))

    def __add__(self, other: Any) -> Self:
        result: Self = self._add(other, 1.0, operator.add)
        return result

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        result: Self = self._add(other, -1.0, operator.sub)
        return result

    def __rsub__(self, other: Any) -> Self:
        result: Self = -self + other
        return result

    def __neg__(self) -> Self:
        return self * -1.0

    def __mul__(self, other: Any) -> Self:
        if _is_scale(other):
            factor = _column(other)
            gradients = [gradient * factor for gradient in self._gradients]
            return self._with(self.value * factor, gradients, self._product_error(None, factor, None))
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = self.value, other.value
        gradients = [a * theirs + b * mine for a, b in self._paired_gradients(other)]
        return self._with(mine * theirs, gradients, self._product_error(other, theirs, mine))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        if _is_scale(other):
            result: Self = self * (1.0 / _column(other))
            return result
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = self.value, other.value
        square = theirs * theirs
        gradients = [(a * theirs - b * mine) / square for a, b in self._paired_gradients(other)]
        error = self._product_error(other, 1.0 / theirs, -mine / square)
        return self._with(mine / theirs, gradients, error)

    def __rtruediv__(self, other: Any) -> Self:
        if not _is_scale(other):
            return NotImplemented
        dividend = _column(other)
        slope = -dividend / (self.value * self.value)
        gradients = [gradient * slope for gradient in self._gradients]
        return self._with(dividend / self.value, gradients, self._product_error(None, slope, None))


def _is_scale(other: object) -> bool:
    is_number = isinstance(other, int | float | np.number) and not isinstance(other, bool)
    return is_number or is_quantity(other)


def _column(other: Any) -> Any:
    """Return a factor; a one-dimensional array of them becomes a column, one for each value."""
    if is_quantity(other) and isinstance(other.magnitude, np.ndarray) and other.magnitude.ndim < 2:
        return other.reshape(-1, 1)
    return other

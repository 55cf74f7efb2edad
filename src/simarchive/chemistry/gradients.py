"""Derivatives with respect to parameters of a force field."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.chemistry.arrays import ArrayQuantity
from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.chemistry.units import (
    as_quantity,
    is_quantity,
    leave_arithmetic_to,
    quantity_from_tree,
    quantity_to_tree,
    same_quantity,
)
from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import is_array

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


@dataclass(frozen=True)
class ParameterGradientKey:
    """Names one parameter of a force field, such as the epsilon of a vdW SMIRKS pattern."""

    tag: str | None = None
    smirks: str | None = None
    attribute: str | None = None
    virtual_site_type: str | None = None
    virtual_site_name: str | None = None
    virtual_site_match: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, str):
                raise InvalidDataError(
                    f"{field.name} of a gradient key must be a text, not {describe(value)}"
                )

    def to_tree(self) -> Tree:
        """Return all six parts of the name."""
        return asdict(self)

    @classmethod
    def from_tree(cls, tree: Tree) -> ParameterGradientKey:
        """Return the key of a tree; documents older than virtual sites lack those parts."""
        required, optional = ("tag", "smirks", "attribute"), tuple(field.name for field in fields(cls))
        return cls(**fields_of(tree, "a gradient key", required, optional))


class ParameterGradient:
    """The derivative of an observable with respect to one parameter."""

    __array_ufunc__ = None  # numpy arrays leave arithmetic to this class

    def __init__(self, key: ParameterGradientKey, value: Quantity | ArrayQuantity) -> None:
        if not isinstance(key, ParameterGradientKey):
            raise InvalidDataError(
                f"the key of a gradient must be a ParameterGradientKey, not {describe(key)}"
            )
        self._key = key
        self._value: Quantity | ArrayQuantity = (
            value if isinstance(value, ArrayQuantity) else as_quantity(value, "the value of a gradient")
        )

    @property
    def key(self) -> ParameterGradientKey:
        """The parameter."""
        return self._key

    @property
    def value(self) -> Quantity:
        """The derivative; this loads an array that is not loaded yet."""
        return self._value.quantity if isinstance(self._value, ArrayQuantity) else self._value

    @property
    def units(self) -> Any:
        """The unit of the derivative, known without loading."""
        return self._value.units

    def as_array(self) -> ArrayQuantity:
        """Return the derivative as a two-dimensional array, not loaded if it was not."""
        if isinstance(self._value, ArrayQuantity):
            return self._value
        return ArrayQuantity.of(self._value, "the value of a gradient")

    def to_tree(self) -> Tree:
        """Return key and value."""
        value = self._value
        tree = value.to_tree() if isinstance(value, ArrayQuantity) else quantity_to_tree(value)
        return {"key": self._key.to_tree(), "value": tree}

    @classmethod
    def from_tree(cls, tree: Tree) -> ParameterGradient:
        """Return the gradient of a tree."""
        fields = fields_of(tree, "a gradient", ("key", "value"))
        value, what = fields["value"], "the value of a gradient"
        is_of_array = isinstance(value, dict) and is_array(value.get("value"))
        return cls(
            ParameterGradientKey.from_tree(fields["key"]),
            ArrayQuantity.from_tree(value, what) if is_of_array else quantity_from_tree(value, what),
        )

    def _same_parameter(self, other: object) -> ParameterGradient:
        if not isinstance(other, ParameterGradient) or other.key != self.key:
            raise InvalidDataError(
                f"only gradients with respect to one parameter can be combined, not {self.key} and {other!r}"
            )
        return other

    def __add__(self, other: ParameterGradient) -> ParameterGradient:
        return ParameterGradient(self.key, self.value + self._same_parameter(other).value)

    def __sub__(self, other: ParameterGradient) -> ParameterGradient:
        return ParameterGradient(self.key, self.value - self._same_parameter(other).value)

    def __mul__(self, other: Any) -> ParameterGradient:
        return ParameterGradient(self.key, self.value * _factor(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> ParameterGradient:
        return ParameterGradient(self.key, self.value / _factor(other))

    def __neg__(self) -> ParameterGradient:
        return self * -1.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterGradient):
            return NotImplemented
        if self.key != other.key:
            return False
        if isinstance(self._value, ArrayQuantity) and isinstance(other._value, ArrayQuantity):
            return self._value.same(other._value)
        return same_quantity(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]  # the value may be an array that changes

    def __repr__(self) -> str:
        return f"<ParameterGradient {self.key.tag} {self.key.smirks} {self.key.attribute} {self._summary()}>"

    def _summary(self) -> str:
        if isinstance(self._value, ArrayQuantity):
            return f"{self._value.shape[0]} values in {self._value.units:~}"
        return str(self._value)


def _factor(other: object) -> Any:
    if isinstance(other, bool) or not (isinstance(other, int | float | np.number) or is_quantity(other)):
        raise InvalidDataError(f"a gradient can be scaled by a number or a quantity, not {describe(other)}")
    return other


leave_arithmetic_to(ParameterGradient)

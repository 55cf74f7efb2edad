"""Arrays with units whose numbers may stay where they are stored until someone asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.chemistry.trees import Tree, describe, fields_of, same_array
from simarchive.chemistry.units import (
    as_quantity,
    plain_array,
    registry,
    stored_unit_named,
    unit_named,
    unit_text,
)
from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import ArrayLeaf, is_array

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


class ArrayQuantity:
    """A two-dimensional array with a unit, shape (n_values, n_dimensions), loaded on first use."""

    __slots__ = ("_leaf", "_quantity", "_unit_text", "_what")

    def __init__(self, leaf: ArrayLeaf, unit_name: str, what: str) -> None:
        self._leaf: ArrayLeaf | None = leaf
        self._unit_text = unit_name
        self._what = what
        self._quantity: Quantity | None = None

    @classmethod
    def of(cls, value: object, what: str) -> ArrayQuantity:
        """Return the array of a quantity: a number becomes one row, a plain list one column."""
        quantity = as_quantity(value, what)
        array: Any = _two_dimensional(np.atleast_1d(quantity.magnitude), what)
        return cls(array, unit_text(quantity.units), what)

    @classmethod
    def from_tree(cls, tree: Tree, what: str) -> ArrayQuantity:
        """Return the array of a tree, not loaded if it was not."""
        fields = fields_of(tree, what, ("value", "unit"))
        leaf, text = fields["value"], fields["unit"]
        if not is_array(leaf):
            raise InvalidDataError(f"{what} must be stored as an array, not as {describe(leaf)}")
        if not isinstance(text, str):
            raise InvalidDataError(f"the unit of {what} must be a text, not {describe(text)}")
        stored_unit_named(text)
        needs_no_loading = (
            not isinstance(leaf, np.ndarray)
            and len(leaf.shape) == 2
            and leaf.dtype.isnative
            and leaf.dtype.kind in "iuf"
        )
        if not needs_no_loading:
            leaf = _two_dimensional(plain_array(np.asarray(leaf), what), what)
        return cls(leaf, text, what)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values and of dimensions, known without loading."""
        return tuple((self._array_or_leaf()).shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, known without loading."""
        return self._array_or_leaf().dtype

    @property
    def units(self) -> Any:
        """The unit, known without loading."""
        return unit_named(self._unit_text)

    @property
    def is_loaded(self) -> bool:
        """Whether the numbers are in memory."""
        return self._quantity is not None or isinstance(self._leaf, np.ndarray)

    @property
    def quantity(self) -> Quantity:
        """The values as a quantity; this loads them."""
        if self._quantity is None:
            self._quantity = registry().Quantity(np.asarray(self._leaf), self.units)
            # From here on there is one truth: what the caller may change in place.
            self._leaf = None
        return self._quantity

    def _array_or_leaf(self) -> ArrayLeaf:
        if self._quantity is not None:
            array: ArrayLeaf = self._quantity.magnitude
            return array
        assert self._leaf is not None
        return self._leaf

    def to_tree(self) -> Tree:
        """Return array and unit; an array that is not loaded is passed on as it is."""
        return {"value": self._array_or_leaf(), "unit": self._unit_text}

    def same(self, other: ArrayQuantity) -> bool:
        """Return whether unit, element type, shape and every bit agree."""
        if self is other:
            return True
        if (self._unit_text, self.dtype, self.shape) != (other._unit_text, other.dtype, other.shape):
            return False
        return same_array(np.asarray(self._array_or_leaf()), np.asarray(other._array_or_leaf()))


def _two_dimensional(array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    if array.ndim > 2:
        raise InvalidDataError(f"{what} must not have more than two dimensions, not {array.ndim}")
    return array if array.ndim == 2 else array.reshape(-1, 1)

"""Arrays as leaves of trees, in memory or still in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class ArrayLeaf(Protocol):
    """An array, or something that becomes one when it is needed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis, known without loading."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, known without loading."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the elements, loading them if need be."""


def is_array(leaf: object) -> TypeGuard[ArrayLeaf]:
    """Return whether a leaf of a tree is an array, loaded or not (numpy's scalars are not)."""
    if not (hasattr(leaf, "__array__") and hasattr(leaf, "shape")):
        return False
    import numpy as np  # Loaded by now: this is an array or a scalar of its. The command line starts without.

    return not isinstance(leaf, np.generic)


# What arrays of other programs have that say more than their elements: units, labels, gaps, gradients.
_SAY_MORE = ("units", "unit", "magnitude", "mask", "isna", "coords", "attrs", "grad")


def check_says_no_more(leaf: Any, what: str) -> None:
    """Check that the elements of an array are all that it says; nothing is loaded.

    What is kept of an array is its elements. Those of a masked array are made up where it has none, and those
    of an array with units or labels are half of what it says.

    Raises
    ------
    InvalidDataError
        If it has masked elements, or is of a class that adds something to the elements.
    """
    import numpy as np  # As above.

    kind = type(leaf)
    if kind is np.ndarray or kind is np.memmap:
        return
    if isinstance(leaf, np.ma.MaskedArray) and leaf.dtype.names is None:
        if not np.ma.is_masked(leaf):
            return
        n_masked = int(np.sum(np.ma.getmaskarray(leaf)))
        raise InvalidDataError(
            f"{what} has {n_masked} masked elements, which have no value: fill them first, as in"
            " array.filled(numpy.nan), or leave them out, as in array.compressed()"
        )
    if isinstance(leaf, np.ndarray) or any(hasattr(kind, name) for name in _SAY_MORE):
        raise InvalidDataError(
            f"{what} is a {kind.__name__}, which says more than its elements: give these alone, as"
            " numpy.array(...), and the rest, such as a unit, in fields of its own"
        )

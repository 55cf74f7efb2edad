"""Arrays as leaves of trees, in memory or still in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

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

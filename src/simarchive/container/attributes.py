"""New attributes of groups and datasets, each written once."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s, h5t


def create_attribute(
    node: h5py.HLObject, name: str, value: np.ndarray[Any, Any], dtype: np.dtype[Any] | None = None
) -> None:
    """Write a new attribute. `node.attrs` would write it under a temporary name and rename it."""
    kind = h5t.py_create(dtype or value.dtype)
    space = h5s.create_simple(value.shape) if value.ndim else h5s.create(h5s.SCALAR)
    h5a.create(node.id, name.encode(), kind, space).write(value, kind)

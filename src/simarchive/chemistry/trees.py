"""Trees: the plain form in which values meet the container, and how two of them are compared.

A tree is JSON (``dict`` with text keys, ``list``, ``str``, ``int``, ``float``, ``bool``, ``None``) in which
leaves may also be numpy arrays, or arrays that are not loaded yet: any object with ``shape``, ``dtype`` and
``__array__()``.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any

import numpy as np

from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import is_array

Tree = Any
"""JSON with arrays as leaves."""


def fields_of(
    tree: Tree, what: str, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return the tree of `what` as a mapping that has all required fields and no unknown one.

    Raises
    ------
    InvalidDataError
        Naming the fields that are missing or unknown.
    """
    if not isinstance(tree, dict):
        raise InvalidDataError(f"{what} must be stored as a mapping, not as {describe(tree)}")
    missing = [name for name in required if name not in tree]
    unknown = [str(name) for name in tree if name not in required and name not in optional]
    if missing:
        raise InvalidDataError(f"{what} lacks the field(s) {', '.join(missing)}")
    if unknown:
        raise InvalidDataError(f"{what} has the unknown field(s) {', '.join(unknown)}")
    return tree


def describe(value: object) -> str:
    """Return a value and its type in few words, for messages."""
    if value is None:
        return "nothing (None)"
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"


def shortened(text: str) -> str:
    """Return a text in quotes for messages, and only the start of a long one."""
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}... ({len(text):,} characters)"


def same_array(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays have one dtype, one shape and the same bits, so NaN equals itself."""
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and np.ascontiguousarray(first).tobytes() == np.ascontiguousarray(second).tobytes()
    )


def same_number(first: float, second: float) -> bool:
    """Return whether two numbers have one type and the same bits."""
    if isinstance(first, float) and isinstance(second, float):
        return struct.pack("<d", first) == struct.pack("<d", second)
    return type(first) is type(second) and first == second


def same_tree(first: Tree, second: Tree) -> bool:
    """Return whether two trees are the same: types, order of fields, array types and every bit."""
    if first is second:
        return True
    if is_array(first) and is_array(second):
        if tuple(first.shape) != tuple(second.shape) or first.dtype != second.dtype:
            return False
        return same_array(np.asarray(first), np.asarray(second))
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same_tree(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same_tree, first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        return same_number(first, second)
    return type(first) is type(second) and bool(first == second)

"""Arrays of documents: HDF5 variables with units and dimensions, loaded when they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from h5py import h5g

from simarchive.container import layout, nodes
from simarchive.container.documents import DeclaredVariable, Variable, values_digest
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError

REMEDY = "restore the container from a copy, or store the object again"


class LazyArray:
    """An array of a stored document whose values are read on first use.

    It knows its shape and dtype from the document. ``numpy.asarray(lazy)`` gives the values.
    """

    __slots__ = ("_load", "_values", "dtype", "shape")

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], load: Callable[[], np.ndarray[Any, Any]]
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._load = load
        self._values: np.ndarray[Any, Any] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self._values is None:
            self._values = self._load()
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise InvalidDataError(f"an array of {self.dtype} cannot become {dtype} without a copy")
            return self._values.astype(dtype)
        return self._values.copy() if copy else self._values

    def __repr__(self) -> str:
        state = "loaded" if self._values is not None else "not loaded"
        return f"<LazyArray shape={self.shape} dtype={self.dtype} {state}>"


def write_variable(group: h5py.Group, name: str, variable: Variable, dimensions: dict[int, int]) -> None:
    """Write one array as a dataset of `group`, with units and netCDF-4 dimensions.

    The dimensions are named by number, as netCDF-C itself does for some variables, and shared by the
    whole container. Attached dimension scales would need variable-length references, and HDF5 leaks
    those when an object is removed.

    Parameters
    ----------
    dimensions
        The numbers of dimensions by length, as far as they have been looked up in this container.
    """
    values = variable.values
    dataset = group.create_dataset(name, data=np.ascontiguousarray(values))
    if variable.units is not None:
        nodes.create_text(dataset.id, layout.UNITS, variable.units, is_ascii=variable.units.isascii())
    if 0 not in values.shape:
        for length in values.shape:
            if length not in dimensions:
                dimensions[length] = _dimension(group.file, length)
        identifiers = np.array([dimensions[length] for length in values.shape], np.int32)
        nodes.create_numbers(dataset.id, layout.DIMENSIONS_OF_VARIABLE, identifiers)


def read_variable(node: h5g.GroupID, name: str) -> np.ndarray[Any, Any]:
    """Return the values of a variable of an object's group, in the byte order of this machine.

    Raises
    ------
    CorruptError
        If the dataset is missing or cannot be read.
    """
    try:
        dataset = nodes.open_dataset(node, name)
        if dataset is None:
            raise TypeError("it is not a dataset")
        return nodes.read_array(dataset)
    except UNREADABLE as error:
        raise CorruptError(
            f"the array {name!r} of {h5py.Group(node).name} cannot be read: {error}"
        ) from error


def proved(values: np.ndarray[Any, Any], declared: DeclaredVariable, key: str) -> np.ndarray[Any, Any]:
    """Return the values of an array, if they are what the document of object `key` says of them.

    Raises
    ------
    CorruptError
        If they have another type, shape or digest. A document of an early version says no digest.
    """
    _check_fits(declared, values.dtype, values.shape, key)
    if declared.digest is not None and values_digest(values) != declared.digest:
        raise CorruptError(
            f"the array {declared.name!r} of object {key!r} is not what was stored: it does not match its"
            f" digest; {REMEDY}"
        )
    return values


def check_declared(node: h5g.GroupID, declared: DeclaredVariable, key: str) -> None:
    """Check that a dataset has the type and shape that its document says; the values are not read.

    Raises
    ------
    CorruptError
        If it has not, is missing or cannot be read.
    """
    try:
        dataset = nodes.open_dataset(node, declared.name)
        if dataset is None:
            raise TypeError("it is not a dataset")
        shape, dtype = dataset.shape, dataset.dtype
    except UNREADABLE as error:
        raise CorruptError(
            f"the array {declared.name!r} of object {key!r} cannot be read: {error}; {REMEDY}"
        ) from error
    _check_fits(declared, dtype, shape, key)


def _check_fits(
    declared: DeclaredVariable, dtype: np.dtype[Any], shape: tuple[int, ...] | None, key: str
) -> None:
    if shape != declared.shape or dtype.newbyteorder("=") != declared.dtype.newbyteorder("="):
        raise CorruptError(
            f"the array {declared.name!r} of object {key!r} has the shape {shape} of {dtype}, but its"
            f" document says {declared.shape} of {declared.dtype}; {REMEDY}"
        )


def _dimension(root: h5py.Group, length: int) -> int:
    """Return the number of the dimension of a length, which is created if there is none yet."""
    name = f"{layout.DIMENSION_PREFIX}{length}"
    if not nodes.link_exists(root.id, name):
        taken = sum(_may_be_dimension(root, link) for link in nodes.child_names(root.id))
        dimension = root.create_dataset(name, shape=(length,), dtype=">f4")
        dimension.make_scale(layout.DIMENSION_WITHOUT_VARIABLE.format(length))
        nodes.create_integer(dimension.id, layout.DIMENSION_ID, taken, "<i4")
        return taken
    try:
        node = nodes.open_dataset(root.id, name)
        if node is None:
            raise TypeError("it is not a dataset")
        return nodes.read_integer(node, layout.DIMENSION_ID)
    except UNREADABLE as error:
        raise CorruptError(
            f"the dimension {name!r}, which netCDF programs need, cannot be read: {error};"
            " repack makes it anew"
        ) from error


def _may_be_dimension(root: h5py.Group, link: str) -> bool:
    """Return whether a root link is one of the dimensions that variables share, or cannot be read."""
    if not link.startswith(layout.DIMENSION_PREFIX):
        return False
    try:
        node = nodes.open_dataset(root.id, link)
        return node is not None and nodes.has_attribute(node, layout.DIMENSION_ID)
    except UNREADABLE:
        return True

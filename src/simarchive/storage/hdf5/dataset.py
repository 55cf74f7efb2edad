"""The arrays of an object as a dataset of xarray, read when they are used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.container.arrays import LazyArray, along_frames, long_name
from simarchive.errors import InvalidDataError
from simarchive.ground.udunits import udunits_text

if TYPE_CHECKING:
    import xarray

_FRAME, _TIME, _KEY, _CLASS = "frame", "time", "key", "data_class"


@dataclass(frozen=True, slots=True)
class _Found:
    """An array of a document, the path to it, and its unit."""

    path: tuple[str, ...]
    array: LazyArray | np.ndarray[Any, Any]
    units: str | None

    @property
    def full_name(self) -> str:
        return ".".join(self.path)

    @property
    def name(self) -> str:
        return ".".join(self.path[1:] or self.path)


def dataset_of(key: str, class_name: str, tree: Any) -> xarray.Dataset:
    """Return the arrays of an object, given its document.

    Raises
    ------
    InvalidDataError
        If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise InvalidDataError(
            "datasets need xarray: pip install 'simarchive[trajectories]' installs it"
        ) from error
    found = list(_arrays(tree, (), None))
    n_frames, series = along_frames({one.full_name: (one.array.shape, one.units) for one in found})
    names = [one.name for one in found]
    variables = {}
    for one in found:
        name = one.name if names.count(one.name) == 1 else one.full_name
        variables[name] = _variable(one, n_frames if one.full_name in series else None)
    times = [
        name for name, variable in variables.items() if name.lower() == _TIME and variable.dims == (_FRAME,)
    ]
    coordinates = {}
    if len(times) == 1:
        coordinates[_TIME] = variables.pop(times[0])
        coordinates[_TIME].attrs["standard_name"] = _TIME
    return xarray.Dataset(variables, coordinates, {_KEY: key, _CLASS: class_name})


def _arrays(node: Any, path: tuple[str, ...], units: str | None) -> Iterator[_Found]:
    if isinstance(node, dict):
        unit = node.get("unit")
        here = unit if isinstance(unit, str) else None
        for key, value in node.items():
            is_value = key == "value"
            yield from _arrays(value, path if is_value and path else (*path, key), here if is_value else None)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _arrays(value, (*path, str(number)), None)
    elif isinstance(node, LazyArray | np.ndarray) and node.dtype.kind in "fiu":
        yield _Found(path, node, units)


def _variable(one: _Found, n_frames: int | None) -> xarray.Variable:
    """Return an array as a variable; series lose the axes of length 1 behind that of the frames."""
    import xarray
    from xarray.core import indexing

    shape = one.array.shape
    if n_frames is not None:
        shape = (shape[0], *(length for length in shape[1:] if length != 1))
    dimensions = [f"dim_{length}" for length in shape]
    if n_frames is not None:
        dimensions[0] = _FRAME
    # The same length twice is two dimensions for xarray.
    dimensions = [
        f"{name}_{axis}" if dimensions.count(name) > 1 else name for axis, name in enumerate(dimensions)
    ]
    attributes = {"long_name": long_name(one.full_name)}
    if one.units is not None:
        spelled = udunits_text(one.units)
        if spelled is not None:
            attributes["units"] = spelled
        attributes["pint_units"] = one.units
    data = indexing.LazilyIndexedArray(_as_backend_array(one.array, shape))
    return xarray.Variable(dimensions, data, attributes)


def _as_backend_array(array: LazyArray | np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class StoredArray(BackendArray):
        """An array of a container for xarray, which reads it when someone looks at an element."""

        def __init__(self) -> None:
            self.shape, self.dtype = shape, np.dtype(array.dtype)

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            support = indexing.IndexingSupport.BASIC
            return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

        def _read(self, key: tuple[int | slice, ...]) -> Any:
            return np.asarray(array).reshape(shape)[key]

    assert math.prod(shape) == math.prod(array.shape)
    return StoredArray()

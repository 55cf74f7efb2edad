"""Arrays of documents: HDF5 variables with units and dimensions, loaded when they are used."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5d, h5g, h5r

from simarchive.container import layout, nodes
from simarchive.container.documents import DeclaredVariable, Variable, values_digest
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground.udunits import udunits_text

REMEDY = "restore the container from a copy, or store the object again"
_TIME = "time"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


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


Forms: TypeAlias = Mapping[str, tuple[tuple[int, ...], str | None]]
"""Shape and unit of each array of an object."""


def along_frames(forms: Forms) -> tuple[int, frozenset[str]]:
    """Return how many frames an object has observables of, and which arrays have them as their first axis.

    Those are arrays with a unit, which are series along a simulation. If they differ in length, the most
    frequent one counts, and of two equally frequent ones the greater.
    """
    series = {name: shape[0] for name, (shape, units) in forms.items() if units is not None and shape}
    lengths = Counter(length for length in series.values() if length)
    n_frames = max(lengths, key=lambda length: (lengths[length], length), default=0)
    return n_frames, frozenset(name for name, length in series.items() if n_frames and length == n_frames)


class Dimensions:
    """The dimensions of the arrays of one object, each made when the first array has it.

    Parameters
    ----------
    group
        The object, open for writing.
    forms
        Of each array that it will have. The first axis of those `along_frames` has a dimension of the object;
        every other axis has one that the whole container shares.
    shared
        The scales of these by length, as far as they have been looked up in this container.
    """

    def __init__(
        self,
        group: h5py.Group,
        forms: Forms,
        shared: dict[int, h5r.Reference],
    ) -> None:
        self._group, self._shared = group, shared
        self._n_frames, self._along_frames = along_frames(forms)
        times = [name for name in self._along_frames if _last_part(name).lower() == _TIME]
        self._time = times[0] if len(times) == 1 else None
        self._frame_name = _free_name(layout.FRAME_DIMENSION, forms)
        self._frames: h5r.Reference | None = None

    def scales(self, name: str, shape: tuple[int, ...]) -> list[h5r.Reference]:
        """Return the dimension scale of each axis of an array; none if one of them has the length 0."""
        if 0 in shape:
            return []
        along_frames = name in self._along_frames
        return [
            self._scale_of_frames() if along_frames and axis == 0 else self._scale(length)
            for axis, length in enumerate(shape)
        ]

    def conventions(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the attributes by which programs find the times of the frames of an array."""
        if name == self._time:
            yield layout.STANDARD_NAME, layout.STANDARD_NAME_OF_TIME
        elif name in self._along_frames and self._time is not None:
            yield layout.COORDINATES, self._time

    def has_scale_of_frames(self) -> bool:
        """Return whether the object has the dimension of its frames already, if it has to have one."""
        lengths = [scale.shape[0] for scale in self._own_scales().values()]
        return lengths == ([self._n_frames] if self._n_frames else [])

    def remove_scales(self) -> None:
        """Remove the dimensions of the object: its arrays have to be written again."""
        for name in self._own_scales():
            nodes.unlink(self._group.id, name)

    def _own_scales(self) -> dict[str, h5d.DatasetID]:
        found = {}
        for name in nodes.child_names(self._group.id):
            node = nodes.open_dataset(self._group.id, name)
            if node is not None and is_scale(node):
                found[name] = node
        return found

    def _scale_of_frames(self) -> h5r.Reference:
        if self._frames is None:
            node, name = self._group.id, self._frame_name
            scale = nodes.open_dataset(node, name) if nodes.link_exists(node, name) else None
            if scale is None:
                title = layout.DIMENSION_WITHOUT_VARIABLE.format(self._n_frames)
                scale = nodes.create_scale(node, name, self._n_frames, title)
            self._frames = nodes.reference(scale)
        return self._frames

    def _scale(self, length: int) -> h5r.Reference:
        if length not in self._shared:
            self._shared[length] = _shared_scale(self._group.file, length)
        return self._shared[length]


def write_variable(group: h5py.Group, name: str, variable: Variable, dimensions: Dimensions) -> None:
    """Write one array as a dataset of `group`, with its unit and dimensions as netCDF-4 has them."""
    dataset = nodes.create_array(group.id, name, variable.values)
    texts = {layout.LONG_NAME: long_name(name)}
    if variable.units is not None:
        spelled = udunits_text(variable.units)
        if spelled is not None:
            texts[layout.UNITS] = spelled
        texts[layout.UNITS_OF_PINT] = variable.units
    texts.update(dimensions.conventions(name))
    for attribute, text in texts.items():
        nodes.create_text(dataset, attribute, text, is_ascii=text.isascii())
    scales = dimensions.scales(name, variable.values.shape)
    if scales:
        nodes.attach_scales(dataset, scales)


def kept_units(dataset: h5d.DatasetID) -> str | None:
    """Return the unit that a document gives to the array of a dataset, as its attributes say it."""
    units = nodes.find_text(dataset, layout.UNITS_OF_PINT)
    return nodes.find_text(dataset, layout.UNITS) if units is None else units


def long_name(name: str) -> str:
    """Return what an array is, in words: its path in the document without the field that it is in."""
    parts = name.split(".")
    return " ".join(_WORDS.sub(" ", part).replace("_", " ") for part in parts[1:] or parts)


def is_scale(dataset: h5d.DatasetID) -> bool:
    """Return whether a dataset is a dimension, and no array.

    One with elements is an array, also if another program made a dimension scale of it.
    """
    return nodes.has_attribute(dataset, layout.SCALE_CLASS) and not nodes.stored_bytes(dataset)


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


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


def _free_name(name: str, taken: Container[str]) -> str:
    names = itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))
    return next(choice for choice in names if choice not in taken)


def _shared_scale(root: h5py.Group, length: int) -> h5r.Reference:
    """Return the dimension scale of a length, which is created if there is none yet."""
    name = f"{layout.DIMENSION_PREFIX}{length}"
    if not nodes.link_exists(root.id, name):
        taken = sum(_may_be_dimension(root, link) for link in nodes.child_names(root.id))
        scale = nodes.create_scale(root.id, name, length, layout.DIMENSION_WITHOUT_VARIABLE.format(length))
        nodes.create_integer(scale, layout.DIMENSION_ID, taken, "<i4")
        return nodes.reference(scale)
    try:
        node = nodes.open_dataset(root.id, name)
        if node is None:
            raise TypeError("it is not a dataset")
        return nodes.reference(node)
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

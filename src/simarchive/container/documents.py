"""Documents: trees of plain values and arrays, as strict JSON text and variables beside it.

A tree is what JSON can say, and numpy arrays. Its text is strict JSON (no bare ``NaN``), and its
arrays are either in the text or, where they are large, become variables of their own to which the
text refers. Every bit comes back: dtypes, shapes, NaN, signed zeros and empty arrays included.

Tags
----
``{"@variable": {"name": name, "dtype": "<f8", "shape": [60, 1], "blake3": digest}}``
    The array is the dataset `name` of the same object, and its elements have this digest.
``{"@array": {"dtype": "<f8", "shape": [2, 1], "data": [1.0, 2.0]}}``
    A small array; ``"base64"`` (its bytes in C order) in place of ``"data"`` where text would lose a bit.
``{"@float": "NaN"}``
    A number that JSON cannot say: ``NaN``, ``Infinity`` or ``-Infinity``.

A key of the tree that starts with ``@`` is written with one more ``@``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from blake3 import blake3

from simarchive.container import layout
from simarchive.errors import CorruptError, InvalidDataError
from simarchive.ground import json_text
from simarchive.ground.arrays import check_says_no_more, is_array
from simarchive.ground.limits import LIMITS, in_bytes

Tree: TypeAlias = Any
"""JSON values, numpy arrays, and objects with ``shape``, ``dtype`` and ``__array__``."""


MIN_VARIABLE_SIZE = 32
"""Arrays with fewer elements are kept in the text: a dataset costs several hundred bytes."""

_MAX_DEPTH = json_text.MAX_DEPTH - 4  # an array in the text has objects and lists of its own

MAX_VARIABLE_NAME = 60
"""Characters; netCDF names end at 255 bytes."""

_UNSAFE = re.compile(r"[^\w.~()\[\]+-]|^[^\w]")
_PLAIN_TYPES = frozenset({str, int, bool, type(None)})  # most leaves, which stay as they are
_VARIABLE_KINDS = frozenset("fiu")
_ARRAY_TYPE = re.compile(r"[|<>=][biufcSU][0-9]{1,9}|[<>=][mM]8(\[[0-9]*[A-Za-z]{1,2}\])?")
_PLAIN_ELEMENTS: dict[str, frozenset[type]] = {
    "i": frozenset({int}),
    "u": frozenset({int}),
    "b": frozenset({bool}),
    "f": frozenset({int, float}),
}
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Variable:
    """An array of a document that becomes a dataset, and the unit its document gives it."""

    values: np.ndarray[Any, Any]
    units: str | None


@dataclass(frozen=True, slots=True)
class DeclaredVariable:
    """What a document says of an array that is a dataset."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    digest: str | None  #: as `values_digest`; early documents have none


VariableSource: TypeAlias = Callable[[DeclaredVariable], Any]
"""Gives the array, loaded or lazy, that a document declares."""


@dataclass(slots=True)
class EncodedDocument:
    """A tree as it is written: strict JSON text, and the variables that the text refers to."""

    text: str
    variables: dict[str, Variable] = field(default_factory=dict)


def encode(tree: Tree, taken: Iterable[str] = ()) -> EncodedDocument:
    """Return `tree` as JSON text and variables; no variable gets one of the names `taken`.

    Raises
    ------
    InvalidDataError
        If the tree holds something that cannot be read back: another type, a key that is not a string,
        text that is not valid Unicode.
    """
    variables: dict[str, Variable] = {}
    plain = _encode_node(tree, (), None, _Variables(variables, frozenset(taken)))
    text = _json_text(plain)
    if len(text) > LIMITS.document_bytes:
        raise InvalidDataError(
            f"a document of {in_bytes(len(text))} cannot be stored: {LIMITS.hint(LIMITS.document_bytes)}"
        )
    try:
        json_text.check_values(text)
    except ValueError as error:
        raise InvalidDataError(f"a document cannot be stored: {error}") from error
    return EncodedDocument(text, variables)


def decode(text: str, variable: VariableSource) -> Tree:
    """Return the tree of a document's `text`; `variable` gives each array that is a dataset.

    Raises
    ------
    CorruptError
        If the text is not JSON, or holds a tag that this version does not know.
    """
    # Most documents have no variables: one decoder serves them all.
    mapping = (
        (lambda node: _decode_mapping(node, variable)) if layout.TAG_VARIABLE in text else _PLAIN_MAPPING
    )
    try:
        return json_text.parse(text, mapping)
    except json_text.NOT_PARSED as error:
        raise CorruptError(f"a document cannot be read: {error}") from error


def values_digest(values: np.ndarray[Any, Any]) -> str:
    """Return the BLAKE3, in hexadecimal, of the elements of an array: little-endian, in C order."""
    ordered: Any = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    digest: str = blake3(ordered.data.cast("B") if ordered.size else b"").hexdigest()
    return digest


def identity_digest(class_name: str, tree: Tree) -> str:
    """Return the SHA-256, in hexadecimal, of a class name and the canonical JSON of a tree.

    The same for equal documents in every process and on every machine: keys are sorted, and arrays
    stand for their dtype, shape and bytes.
    """
    digest = hashlib.sha256()
    digest.update(class_name.encode() + b"\0")
    digest.update(_json_text(_canonical(tree), sort_keys=True).encode())
    return digest.hexdigest()


# json.dumps makes an encoder at each call that has options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SORTING_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)


def _json_text(plain: Any, *, sort_keys: bool = False) -> str:
    try:
        text = (_SORTING_ENCODER if sort_keys else _ENCODER).encode(plain)
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"a document holds text that is not valid Unicode: {error}") from error
    return text


def _special_float(value: float) -> dict[str, str]:
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return {layout.TAG_FLOAT: name}


def _scalar(node: Any, path: tuple[str, ...]) -> Any:
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, (bool, str)):
        return node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node) if math.isfinite(node) else _special_float(node)
    raise InvalidDataError(
        f"{'.'.join(path) or 'the document'} is a {type(node).__name__}, which cannot be stored:"
        " use numbers, strings, lists, dicts with string keys, or numpy arrays"
    )


def _written_key(key: object, path: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        raise InvalidDataError(f"{'.'.join(path) or 'the document'} has the key {key!r}: use strings")
    return "@" + key if key.startswith("@") else key


def _encode_node(node: Any, path: tuple[str, ...], units: str | None, variables: _Variables) -> Any:
    if type(node) in _PLAIN_TYPES:
        return node
    if len(path) > _MAX_DEPTH:
        raise InvalidDataError(f"{'.'.join(path)[:100]}... is nested more than {_MAX_DEPTH} deep")
    if isinstance(node, dict):
        unit = node.get("unit")
        here = unit if isinstance(unit, str) else None
        return {
            _written_key(key, path): _encode_node(
                value, (*path, key), here if key == "value" else None, variables
            )
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return [_encode_node(value, (*path, str(i)), None, variables) for i, value in enumerate(node)]
    if is_array(node):
        check_says_no_more(node, ".".join(path) or "the document")
        values = np.asarray(node)
        if _is_variable(values):
            if values.nbytes > LIMITS.array_bytes:
                size, hint = in_bytes(values.nbytes), LIMITS.hint(LIMITS.array_bytes)
                raise InvalidDataError(f"{'.'.join(path)} is an array of {size}: {hint}")
            name = variables.add(path, Variable(values, units))
            return {
                layout.TAG_VARIABLE: {
                    "name": name,
                    "dtype": values.dtype.str,
                    "shape": list(values.shape),
                    layout.VARIABLE_DIGEST: values_digest(values),
                }
            }
        return {layout.TAG_ARRAY: _small_array(values, path)}
    return _scalar(node, path)


def _is_variable(values: np.ndarray[Any, Any]) -> bool:
    # float16 crashes netCDF-C, and other kinds are skipped or refused by it.
    return (
        values.size >= MIN_VARIABLE_SIZE
        and values.dtype.kind in _VARIABLE_KINDS
        and values.dtype.itemsize <= 8
        and values.dtype != np.float16
        and values.dtype.isnative
    )


@dataclass(frozen=True, slots=True)
class _Variables:
    """The variables of a document so far, under names that are paths in it."""

    by_name: dict[str, Variable]
    taken: frozenset[str]

    def add(self, path: tuple[str, ...], variable: Variable) -> str:
        """Keep a variable under the shortest free name for its path, which is returned."""
        shortened = list(path)
        while len(shortened) > 1 and shortened[-1] == "value":
            shortened.pop()
        plain = _UNSAFE.sub("_", ".".join(shortened))[:MAX_VARIABLE_NAME]
        name, count = plain, 1
        while name in self.by_name or name in self.taken:
            count += 1
            name = f"{plain}~{count}"
        self.by_name[name] = variable
        return name


def _small_array(values: np.ndarray[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
    if values.dtype.hasobject or values.dtype.kind in "OV":
        raise InvalidDataError(
            f"{'.'.join(path)} is an array of {values.dtype}: only arrays of numbers, booleans,"
            " times or fixed-length text can be stored"
        )
    array: dict[str, Any] = {"dtype": values.dtype.str, "shape": list(values.shape)}
    as_text = values.dtype.kind in "iub" or (values.dtype == np.float64 and bool(np.isfinite(values).all()))
    if as_text:
        array["data"] = values.ravel().tolist()
    else:
        array["base64"] = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return array


def _read_small_array(array: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype, shape = declared_dtype(array["dtype"]), declared_shape(array["shape"])
    if "data" in array:
        data = array["data"]
        plain = _PLAIN_ELEMENTS.get(dtype.kind, frozenset())
        if dtype.itemsize > 8 or not isinstance(data, list) or not plain.issuperset(map(type, data)):
            raise ValueError(f"it has an array of {dtype} whose elements are none")
        values = np.array(data, dtype)
    else:
        values = np.frombuffer(bytearray(base64.b64decode(array["base64"], validate=True)), dtype)
        if dtype.kind == "U" and values.size and int(values.view(np.uint32).max()) > sys.maxunicode:
            raise ValueError("it has an array of texts that are none")
    return values.reshape(shape)


def declared_dtype(text: object) -> np.dtype[Any]:
    """Return the type of an array that a document names; only those that `encode` writes."""
    if not isinstance(text, str) or _ARRAY_TYPE.fullmatch(text) is None:
        raise ValueError(f"it has an array of the type {text!r:.100}")
    return np.dtype(text)


def declared_shape(lengths: object) -> tuple[int, ...]:
    """Return the shape of an array that a document names."""
    if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
        raise ValueError(f"it has an array of the shape {lengths!r:.100}")
    return tuple(lengths)


def _decode_mapping(node: dict[str, Any], variable: VariableSource) -> Any:
    """Return what a mapping of a document stands for; the mappings in it have been decoded already."""
    for key in node:
        if key[:1] == "@":
            break
    else:
        return node
    for tag in (layout.TAG_VARIABLE, layout.TAG_ARRAY, layout.TAG_FLOAT):
        if tag in node:
            value = node[tag]
            if tag == layout.TAG_VARIABLE:
                return variable(_declared(value))
            return _read_small_array(value) if tag == layout.TAG_ARRAY else _SPECIAL_FLOATS[value]
    for key in node:
        if key.startswith("@") and not key.startswith("@@"):
            raise CorruptError(f"a document has the tag {key!r}, which this version does not know")
    return {key[1:] if key.startswith("@@") else key: value for key, value in node.items()}


def _declared(value: dict[str, Any]) -> DeclaredVariable:
    """Return what the tag of a variable says, if it can be said of an array."""
    name, digest = value["name"], value.get(layout.VARIABLE_DIGEST)
    if not isinstance(name, str) or not isinstance(digest, str | None):
        raise TypeError(f"it declares the array {name!r:.100}")
    return DeclaredVariable(name, declared_dtype(value["dtype"]), declared_shape(value["shape"]), digest)


def _no_variable(declared: DeclaredVariable) -> Any:
    raise CorruptError(f"a document names the variable {declared.name!r} in an unusual way")


_PLAIN_MAPPING = functools.partial(_decode_mapping, variable=_no_variable)


def _canonical(node: Any, path: tuple[str, ...] = ()) -> Any:
    if type(node) in _PLAIN_TYPES:
        return node
    if isinstance(node, dict):
        return {_written_key(key, path): _canonical(value, (*path, key)) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_canonical(value, (*path, str(i))) for i, value in enumerate(node)]
    if is_array(node):
        check_says_no_more(node, ".".join(path) or "the document")
        values = np.ascontiguousarray(node)
        if values.dtype.hasobject:
            _small_array(values, path)
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        return {layout.TAG_ARRAY: [values.dtype.str, list(np.shape(node)), digest]}
    return _scalar(node, path)

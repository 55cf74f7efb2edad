"""Evaluator's typed JSON to the trees of our documents, type by type."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json.types import FORCE_FIELD_FIELDS, TYPE, short_name, shown

ABSENT: Final = object()
"""What an attribute that Evaluator wrote as "undefined" reads as."""

_GRADIENT_KEY_FIELDS = (
    "tag",
    "smirks",
    "attribute",
    "virtual_site_type",
    "virtual_site_name",
    "virtual_site_match",
)

_DTYPES = frozenset(("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"))
_DTYPES |= frozenset(("uint8", "uint16", "uint32", "uint64"))
_LARGEST_EMPTY = 1 << 20
_NUMBERS = (int, float, np.number, np.bool_)
_COLLECTIONS = (list, tuple, np.ndarray)


def read_value(node: Any, where: str) -> Any:
    """Return the tree of any value of typed JSON; `where` names it in errors.

    Array values may already be numpy arrays: their dtype and shape stay as they are.
    """
    if isinstance(node, dict):
        if TYPE in node:
            return _read_typed(node, where)
        return read_fields(node, where)
    if isinstance(node, list | tuple):
        return [read_value(value, f"{where}[{index}]") for index, value in enumerate(node)]
    return node


def read_fields(node: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the trees of all fields that are defined."""
    fields = {
        name: read_value(value, f"{where}.{name}" if where else name)
        for name, value in node.items()
        if name != TYPE
    }
    return {name: value for name, value in fields.items() if value is not ABSENT}


def _read_typed(node: dict[str, Any], where: str) -> Any:
    name = short_name(node[TYPE])
    reader = None if name is None else _READERS.get(name)
    if name is None or reader is None:
        raise InvalidDataError(
            f"{where or 'the object'} has the type {shown(node[TYPE])}, which has no form here:"
            " register_evaluator_type() tells which data class a type of yours is,"
            " EvaluatorStorage keeps values of any type"
        )
    return reader(node, where, name)


def _take(node: Mapping[str, Any], field: str, where: str) -> Any:
    try:
        return node[field]
    except KeyError:
        raise InvalidDataError(f"{where or 'the object'} lacks {field!r}: it cannot be read") from None


def _quantity(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    value = read_value(_take(node, "value", where), where)
    if isinstance(value, list):
        value = _as_array(value, where)
    if isinstance(value, bool) or not isinstance(value, int | float | np.ndarray):
        raise InvalidDataError(f"{where} must be a number or an array, not {type(value).__name__}")
    return {"value": value, "unit": _take(node, "unit", where) or "dimensionless"}


def _measurement(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    return {
        "value": read_value(_take(node, "value", where), f"{where}.value"),
        "error": read_value(_take(node, "error", where), f"{where}.error"),
    }


def _array(node: dict[str, Any], where: str, _name: str) -> np.ndarray[Any, Any]:
    values = _take(node, "value", where)
    array = values if isinstance(values, np.ndarray) else _as_array(values, where)
    # Written by this package where a list alone would lose the dtype or the shape.
    if "dtype" in node:
        array = _of_dtype(array, node["dtype"], where)
    if "shape" in node:
        array = _of_shape(array, node["shape"], where)
    return array


def _of_dtype(array: np.ndarray[Any, Any], name: object, where: str) -> np.ndarray[Any, Any]:
    # By name: numpy reads other texts as structures, subarrays and strings of any size.
    if not isinstance(name, str) or name not in _DTYPES:
        raise InvalidDataError(f"{where} has the dtype {shown(name)}, which is not one of numbers")
    with np.errstate(all="ignore"):
        found = array.astype(name)
        is_same = bool(np.array_equal(found, array, equal_nan=array.dtype.kind == "f"))
    if not is_same:
        raise InvalidDataError(f"{where} has numbers that {name} cannot hold")
    return found


def _of_shape(array: np.ndarray[Any, Any], shape: object, where: str) -> np.ndarray[Any, Any]:
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise InvalidDataError(f"{where} has the shape {shown(shape)}, which is not a list of lengths")
    # An empty array, too, may be as long as it likes in the dimensions that are not empty.
    if math.prod(length for length in shape if length) > max(array.size, _LARGEST_EMPTY):
        raise InvalidDataError(f"{where} has a larger shape than it has numbers: {shown(shape)}")
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidDataError(f"{where} is not an array of its declared shape: {error}") from error


def _as_array(values: Any, where: str) -> np.ndarray[Any, Any]:
    if not _has_numbers_only(values):
        raise InvalidDataError(f"{where} must be an array of numbers")
    try:
        array = np.array(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDataError(f"{where} is not a regular array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidDataError(f"{where} must be an array of numbers, not of {array.dtype}")
    return array


def _has_numbers_only(values: Any) -> bool:
    # Before numpy sees them: of texts it makes an array with room for the longest in each place.
    if not isinstance(values, _COLLECTIONS):
        return isinstance(values, _NUMBERS)
    types = set(map(type, values))
    if not any(issubclass(kind, _COLLECTIONS) for kind in types):
        return all(issubclass(kind, _NUMBERS) for kind in types)
    if not all(issubclass(kind, _COLLECTIONS) for kind in types):
        return False
    # One look at many short lists, as columns are.
    inner = set(map(type, itertools.chain.from_iterable(values)))
    if not any(issubclass(kind, _COLLECTIONS) for kind in inner):
        return all(issubclass(kind, _NUMBERS) for kind in inner)
    return all(map(_has_numbers_only, values))


def _number(node: dict[str, Any], where: str, name: str) -> int | float:
    value = _take(node, "value", where)
    try:
        number = int(value) if name.startswith("int") else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDataError(f"{where} must be a number, not {shown(value)}") from error
    if isinstance(value, str) or (isinstance(number, int) and number != value):
        raise InvalidDataError(f"{where} must be a number of the type {name}, not {shown(value)}")
    return number


def _plain(node: dict[str, Any], where: str, _name: str) -> Any:
    return _take(node, "value", where)


def _set(node: dict[str, Any], where: str, _name: str) -> list[Any]:
    values = read_value(_take(node, "value", where), where)
    if not isinstance(values, list):
        raise InvalidDataError(f"{where} must be a list of the values of a set")
    try:
        # The order in which a set was written is that of salted hashes, and means nothing.
        return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))
    except TypeError as error:
        raise InvalidDataError(f"{where} is a set of arrays, which has no form here") from error


def _absent(_node: dict[str, Any], _where: str, _name: str) -> Any:
    return ABSENT


def _component(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    return {
        "smiles": _take(node, "smiles", where),
        "role": read_value(_take(node, "role", where), f"{where}.role"),
    }


def _amount(node: dict[str, Any], where: str, name: str) -> dict[str, Any]:
    return {"type": name, "value": read_value(_take(node, "value", where), f"{where}.value")}


def _substance(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    return {
        "components": read_value(_take(node, "components", where), f"{where}.components"),
        "amounts": read_value(_take(node, "amounts", where), f"{where}.amounts"),
    }


def _state(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    fields = read_fields(node, where)
    return {name: fields[name] for name in ("temperature", "pressure") if fields.get(name) is not None}


def _gradient_key(node: dict[str, Any], _where: str, _name: str) -> dict[str, Any]:
    # Payloads that predate virtual sites lack their fields.
    return {field: node.get(field) for field in _GRADIENT_KEY_FIELDS}


def _gradient(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    return {
        "key": read_value(_take(node, "key", where), f"{where}.key"),
        "value": read_value(_take(node, "value", where), f"{where}.value"),
    }


def _observable(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    value = read_value(_take(node, "value", where), f"{where}.value")
    gradients = _gradients(node, where)
    if value is None:
        return {"gradients": gradients}
    if not isinstance(value, dict) or value.keys() != {"value", "error"}:
        value = _checked_quantity(value, f"{where}.value")
        value = {"value": value, "error": {"value": 0.0, "unit": value["unit"]}}
    return {**value, "gradients": gradients}


def _observable_array(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    gradients = [
        {**gradient, "value": _as_columns(gradient["value"], where)} for gradient in _gradients(node, where)
    ]
    value = read_value(_take(node, "value", where), f"{where}.value")
    if value is None:
        return {"gradients": gradients}
    return {"value": _as_columns(value, where), "gradients": gradients}


def _gradients(node: dict[str, Any], where: str) -> list[dict[str, Any]]:
    gradients = read_value(node.get("gradients") or [], f"{where}.gradients")
    if not isinstance(gradients, list) or not all(
        isinstance(gradient, dict) and gradient.keys() == {"key", "value"} for gradient in gradients
    ):
        raise InvalidDataError(f"{where}.gradients must be a list of gradients")
    return gradients


def _checked_quantity(tree: Any, where: str) -> dict[str, Any]:
    if not isinstance(tree, dict) or tree.keys() != {"value", "unit"}:
        raise InvalidDataError(f"{where} must be a quantity, not {shown(tree)}")
    return tree


def _as_columns(tree: Any, where: str) -> dict[str, Any]:
    quantity = _checked_quantity(tree, where)
    value = quantity["value"]
    if not isinstance(value, np.ndarray):
        value = _as_array(value, where)
    if value.ndim > 2:
        raise InvalidDataError(f"{where} must have one or two dimensions, not {value.ndim}")
    return {"value": value if value.ndim == 2 else value.reshape(-1, 1), "unit": quantity["unit"]}


def _observable_frame(node: dict[str, Any], where: str, _name: str) -> dict[str, Any]:
    observables = _take(node, "observables", where)
    if not isinstance(observables, dict):
        raise InvalidDataError(f"{where}.observables must be an object of observables by name")
    return read_fields(observables, where)


def _force_field(node: dict[str, Any], where: str, name: str) -> dict[str, Any]:
    fields = {field: read_value(_take(node, field, where), field) for field in FORCE_FIELD_FIELDS[name]}
    return {"type": name, **fields}


_Reader = Callable[[dict[str, Any], str, str], Any]

_READERS: dict[str, _Reader] = {
    "Component": _component,
    "Role": _plain,
    "MoleFraction": _amount,
    "ExactAmount": _amount,
    "Substance": _substance,
    "ThermodynamicState": _state,
    "PropertyPhase": _plain,
    "Observable": _observable,
    "ObservableArray": _observable_array,
    "ObservableFrame": _observable_frame,
    "ObservableType": _plain,
    "ParameterGradient": _gradient,
    "ParameterGradientKey": _gradient_key,
    "ChargeModel": _plain,
    "Undefined": _absent,
    "Quantity": _quantity,
    "Measurement": _measurement,
    "ndarray": _array,
    "set": _set,
    "frozenset": _set,
    "datetime": _plain,
    **dict.fromkeys(FORCE_FIELD_FIELDS, _force_field),
    **dict.fromkeys(("float16", "float32", "float64", "int32", "int64"), _number),
}


def with_arrays(node: Any) -> Any:
    """Return typed JSON in which the values of arrays are numpy arrays, and all else is as it was."""
    if isinstance(node, list):
        return [with_arrays(value) for value in node]
    if not isinstance(node, dict):
        return node
    if TYPE in node and short_name(node[TYPE]) == "ndarray" and isinstance(node.get("value"), list):
        return {"value": _array(node, "an array", "ndarray"), TYPE: node[TYPE]}
    return {name: with_arrays(value) for name, value in node.items()}

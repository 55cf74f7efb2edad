"""Trees of our documents to Evaluator's typed JSON, value by value.

The order of keys is that in which Evaluator writes them, so that text written from the same data is
the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from simarchive.errors import InvalidDataError
from simarchive.ground.arrays import check_says_no_more, is_array
from simarchive.storage.evaluator_json.types import FORCE_FIELD_FIELDS, TYPE, TYPE_STRINGS

Typed = dict[str, Any]
Writer = Callable[[Any], Any]


def _tagged(name: str, **fields: Any) -> Typed:
    return {**fields, TYPE: TYPE_STRINGS[name]}


def quantity(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a quantity."""
    value = tree["value"]
    return _tagged("Quantity", value=array(value) if is_array(value) else value, unit=tree["unit"])


def array(value: Any) -> Typed:
    """Return the typed form of an array; its values stay an array, for `dump_typed` to write out."""
    check_says_no_more(value, "an array")
    return _tagged("ndarray", value=np.asarray(value))


def measurement(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a value with its error."""
    return _tagged("Measurement", value=quantity(tree["value"]), error=quantity(tree["error"]))


def component(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a component."""
    return _tagged("Component", smiles=tree["smiles"], role=_tagged("Role", value=tree["role"]))


def substance(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a substance."""
    amounts = {
        identifier: [_tagged(amount["type"], value=amount["value"]) for amount in of_component]
        for identifier, of_component in tree["amounts"].items()
    }
    return _tagged("Substance", components=[component(each) for each in tree["components"]], amounts=amounts)


def state(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a thermodynamic state."""
    return _tagged("ThermodynamicState", **{name: quantity(value) for name, value in tree.items()})


def gradients(trees: list[Mapping[str, Any]]) -> list[Typed]:
    """Return the typed form of parameter gradients."""
    return [
        _tagged(
            "ParameterGradient",
            key=_tagged("ParameterGradientKey", **tree["key"]),
            value=quantity(tree["value"]),
        )
        for tree in trees
    ]


def observable(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of an observable."""
    value = measurement(tree) if "value" in tree else None
    return _tagged("Observable", value=value, gradients=gradients(tree["gradients"]))


def observable_array(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of an array of observable values."""
    value = quantity(tree["value"]) if "value" in tree else None
    return _tagged("ObservableArray", value=value, gradients=gradients(tree["gradients"]))


def observable_frame(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a frame of observables."""
    return _tagged("ObservableFrame", observables={name: observable_array(tree[name]) for name in tree})


def force_field(tree: Mapping[str, Any]) -> Typed:
    """Return the typed form of a force field source."""
    fields = {name: value for name, value in tree.items() if name != "type"}
    if "cutoff" in fields:
        fields["cutoff"] = quantity(fields["cutoff"])
    if tree["type"] == "LigParGen":
        fields["preferred_charge_model"] = _tagged("ChargeModel", value=fields["preferred_charge_model"])
    return _tagged(tree["type"], **fields)


def plain(value: Any) -> Any:
    """Return a value that typed JSON writes as it is."""
    return value


_OBSERVABLE_NAMES = frozenset(
    (
        "PotentialEnergy",
        "KineticEnergy",
        "TotalEnergy",
        "Temperature",
        "Volume",
        "Density",
        "Enthalpy",
        "ReducedPotential",
    )
)

# Which writer a value of a class that Evaluator does not know needs shows in its keys alone.
_BY_KEYS: dict[frozenset[str], Writer] = {
    frozenset(("value", "unit")): quantity,
    frozenset(("value", "error")): measurement,
    frozenset(("value", "error", "gradients")): observable,
    frozenset(("value", "gradients")): observable_array,
    frozenset(("key", "value")): lambda tree: gradients([tree])[0],
    frozenset(("smiles", "role")): component,
    frozenset(("components", "amounts")): substance,
    frozenset(("temperature", "pressure")): state,
    frozenset(("temperature",)): state,
}


def by_shape(tree: Any) -> Any:
    """Return the typed form of a value whose type only its own shape tells."""
    if is_array(tree):
        return array(tree)
    if isinstance(tree, list):
        return [by_shape(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    writer = _BY_KEYS.get(frozenset(tree))
    if writer is not None:
        return writer(tree)
    if tree.get("type") in FORCE_FIELD_FIELDS:
        return force_field(tree)
    if tree and _OBSERVABLE_NAMES.issuperset(tree):
        return observable_frame(tree)
    return {name: by_shape(value) for name, value in tree.items()}


def with_json_arrays(node: Any) -> Any:
    """Return what `json` writes for an array: nested lists.

    Meant as the ``default`` of `json.dumps`.

    Raises
    ------
    InvalidDataError
        If it is not an array of numbers.
    """
    if not isinstance(node, np.ndarray) or node.dtype.kind not in "biuf":
        raise InvalidDataError(f"a {type(node).__name__} cannot be written as OpenFF Evaluator's JSON")
    return node.tolist()


def for_text(node: Any) -> Any:
    """Return typed JSON as it is written out, where Evaluator's text would lose or refuse something.

    Arrays say their dtype and shape where lists of numbers would lose them; Evaluator ignores the additions,
    `reading` restores every bit from them. Temperatures on a scale with an offset are written in
    kelvin: Evaluator multiplies a number by a unit when it reads, which pint refuses for these.
    """
    if isinstance(node, list):
        return [for_text(value) for value in node]
    if not isinstance(node, dict):
        return node
    values, tag = node.get("value"), node.get(TYPE)
    if tag == TYPE_STRINGS["Quantity"] and node.get("unit") in _OFFSET_UNITS:
        return for_text(_in_kelvin(node))
    if not isinstance(values, np.ndarray) or tag != TYPE_STRINGS["ndarray"]:
        return {name: for_text(value) for name, value in node.items()}
    layout: dict[str, Any] = {}
    if values.size == 0 or values.dtype not in (np.dtype(float), np.dtype(int), np.dtype(bool)):
        layout["dtype"] = values.dtype.newbyteorder("=").name
    if values.size == 0:
        layout["shape"] = list(values.shape)
    return {**node, **layout}


_OFFSET_UNITS: dict[str, Callable[[Any], Any]] = {
    "degree_Celsius": lambda value: value + 273.15,
    "degree_Fahrenheit": lambda value: (value + 459.67) * 5 / 9,
    "degree_Reaumur": lambda value: value * 5 / 4 + 273.15,
}


def _in_kelvin(node: Typed) -> Typed:
    value, scale = node["value"], _OFFSET_UNITS[node["unit"]]
    if isinstance(value, dict):
        return {**node, "value": {**value, "value": scale(np.asarray(value["value"]))}, "unit": "kelvin"}
    return {**node, "value": scale(value), "unit": "kelvin"}


def with_tagged_arrays(tree: Any) -> Any:
    """Return a tree of a class that Evaluator does not know, its arrays tagged and all else as it is."""
    if is_array(tree):
        return array(tree)
    if isinstance(tree, list):
        return [with_tagged_arrays(value) for value in tree]
    if isinstance(tree, dict):
        return {name: with_tagged_arrays(value) for name, value in tree.items()}
    return tree

"""OpenFF Evaluator's typed JSON and the trees of our documents, one from the other.

Pure JSON to JSON: no object is built, and whatever a file says, nothing is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json import writing
from simarchive.storage.evaluator_json.reading import read_fields
from simarchive.storage.evaluator_json.types import (
    TYPE,
    TYPE_STRINGS,
    class_name_of,
    full_type_string,
    short_name,
    shown,
)

Tree = dict[str, Any]
Typed = dict[str, Any]

_SIMULATION_FIELDS: dict[str, writing.Writer] = {
    "substance": writing.substance,
    "thermodynamic_state": writing.state,
    "property_phase": writing.plain,
    "source_calculation_id": writing.plain,
    "force_field_id": writing.plain,
}

_FIELDS: dict[str, dict[str, writing.Writer]] = {
    "ForceFieldData": {"force_field_source": writing.force_field},
    "StoredSimulationData": {
        **_SIMULATION_FIELDS,
        "coordinate_file_name": writing.plain,
        "trajectory_file_name": writing.plain,
        "observables": writing.observable_frame,
        "statistical_inefficiency": writing.plain,
        "number_of_molecules": writing.plain,
    },
    "StoredEquilibrationData": {
        **_SIMULATION_FIELDS,
        "coordinate_file_name": writing.plain,
        "statistical_inefficiency": writing.plain,
        "number_of_molecules": writing.plain,
        "max_number_of_molecules": writing.plain,
        "calculation_layer": writing.plain,
    },
    "StoredFreeEnergyData": {
        **_SIMULATION_FIELDS,
        "free_energy_difference": writing.observable,
        "topology_file_name": writing.plain,
        "start_state_trajectory": writing.plain,
        "end_state_trajectory": writing.plain,
    },
}
"""The fields of Evaluator's own data classes, in its order, and what writes each."""


@dataclass(frozen=True)
class _RegisteredType:
    type_string: str
    data_class_name: str
    field_types: Mapping[str, str] = field(default_factory=dict)


_by_type: dict[str, _RegisteredType] = {}
_by_class: dict[str, _RegisteredType] = {}


def register_evaluator_type(
    type_string: str, data_class_name: str, *, field_types: Mapping[str, str] | None = None
) -> None:
    """Let a data class of your own be read from, and written as, a type of Evaluator's JSON.

    Parameters
    ----------
    type_string
        The module path and name of the class that Evaluator stores, as its JSON says them after
        ``@type``. Nothing is imported from it.
    data_class_name
        The registered name of the data class here. Its fields have the same names.
    field_types
        Type strings of fields whose values are plain JSON here but tagged there: an enumeration, a
        ``builtins.set``, a ``datetime.datetime``. Quantities, arrays, substances, states, observables
        and force fields need no mention.

    Raises
    ------
    InvalidDataError
        If the type or the class already has another partner, or is one of Evaluator's own.
    """
    full = full_type_string(type_string)
    if short_name(full) is not None or data_class_name in _FIELDS:
        raise InvalidDataError(
            f"{full!r} and {data_class_name!r}: Evaluator's own classes need no registration"
        )
    registered = _RegisteredType(full, data_class_name, dict(field_types or {}))
    if (
        _by_type.get(full, registered) != registered
        or _by_class.get(data_class_name, registered) != registered
    ):
        raise InvalidDataError(
            f"type {full!r} or data class {data_class_name!r} is registered with another partner already"
        )
    _by_type[full] = _by_class[data_class_name] = registered


def dump_typed(typed: Any) -> str:
    """Return typed JSON as text, as Evaluator writes it.

    Raises
    ------
    InvalidDataError
        If it holds something that JSON cannot.
    """
    try:
        return json.dumps(writing.for_text(typed), default=writing.with_json_arrays)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDataError(f"the data cannot be written as OpenFF Evaluator's JSON: {error}") from error


def has_evaluator_form(data_class_name: str) -> bool:
    """Return whether objects of a data class can be written as Evaluator's JSON."""
    return evaluator_type_of(data_class_name) is not None


def from_evaluator(typed: Any) -> tuple[str, Tree]:
    """Return the data class name and the tree of a stored object of Evaluator.

    Parameters
    ----------
    typed
        Its JSON, parsed; arrays may be lists as in the text, or numpy arrays.

    Raises
    ------
    InvalidDataError
        If it is not a stored object, has a type that is not registered, or a field that is not known.
    """
    if not isinstance(typed, Mapping) or TYPE not in typed:
        raise InvalidDataError("this JSON is not an object that OpenFF Evaluator stored: it has no @type")
    name = short_name(typed[TYPE])
    if name is None or name not in _FIELDS:
        registered = _by_type.get(full_type_string(typed[TYPE]))
        if registered is None:
            raise InvalidDataError(
                f"no data class is known for the type {shown(typed[TYPE])}:"
                " name one with register_evaluator_type()"
            )
        fields = read_fields(typed, "")
        return registered.data_class_name, {key: fields[key] for key in fields if fields[key] is not None}
    unknown = [field_name for field_name in typed if field_name not in _FIELDS[name] and field_name != TYPE]
    if unknown:
        raise InvalidDataError(
            f"{name} has no field {', '.join(map(shown, unknown[:10]))}:"
            " a newer OpenFF Evaluator may have written it; look for a newer simarchive"
        )
    fields = read_fields(typed, "")
    return name, {key: fields[key] for key in _FIELDS[name] if fields.get(key) is not None}


def to_evaluator(data_class_name: str, tree: Mapping[str, Any]) -> Typed:
    """Return the typed JSON that Evaluator would write for an object; arrays in it stay numpy arrays.

    `dump_typed` makes text of it.

    Raises
    ------
    InvalidDataError
        If the data class has no form there.
    """
    fields = _FIELDS.get(data_class_name)
    if fields is not None:
        typed = {name: fields[name](tree[name]) for name in fields if name in tree}
        return {**typed, TYPE: TYPE_STRINGS[data_class_name]}
    registered = _by_class.get(data_class_name)
    if registered is None:
        raise InvalidDataError(
            f"{data_class_name} has no form in OpenFF Evaluator: name one with register_evaluator_type()"
        )
    typed = {
        name: {"value": value, TYPE: registered.field_types[name]}
        if name in registered.field_types
        else writing.by_shape(value)
        for name, value in tree.items()
    }
    return {**typed, TYPE: registered.type_string}


def data_class_filed_under(name: str) -> str:
    """Return the data class whose keys a registry files under a name."""
    for registered in _by_class.values():
        if class_name_of(registered.type_string) == name:
            return registered.data_class_name
    return name


def has_data_class_for(typed: Mapping[str, Any]) -> bool:
    """Return whether typed JSON is an object of a class that has a data class here."""
    full = full_type_string(typed.get(TYPE))
    return short_name(full) in _FIELDS or full in _by_type


def classes_with_evaluator_form() -> dict[str, str]:
    """Return the type string in Evaluator of each data class that has one, by name, force fields first."""
    types = {name: TYPE_STRINGS[name] for name in _FIELDS}
    return types | {name: registered.type_string for name, registered in _by_class.items()}


def evaluator_type_of(data_class_name: str) -> str | None:
    """Return the type string of a data class in Evaluator, or ``None`` if it has no form there."""
    if data_class_name in _FIELDS:
        return TYPE_STRINGS[data_class_name]
    registered = _by_class.get(data_class_name)
    return None if registered is None else registered.type_string

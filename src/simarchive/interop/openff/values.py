"""OpenFF Evaluator's objects to its typed JSON and back, and by way of it to our data objects.

Evaluator's own way leads through text: arrays become lists of numbers, and a type string in a file
imports the module that it names. Here arrays stay arrays, with dtype and bits, and only classes that the
program has loaded already are built.
"""

from __future__ import annotations

import enum
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from openff.evaluator.substances import Component
from openff.evaluator.utils.serialization import TypedBaseModel, TypedJSONDecoder, TypedJSONEncoder
from openff.units import unit

from simarchive.chemistry import Component as OurComponent
from simarchive.chemistry import Substance as OurSubstance
from simarchive.chemistry import ThermodynamicState as OurThermodynamicState
from simarchive.chemistry.unit_names.registries import understood
from simarchive.chemistry.unit_names.texts import factors, product_text
from simarchive.data import BaseStoredData
from simarchive.errors import InvalidDataError
from simarchive.storage.evaluator_json import (
    TYPE,
    TYPE_STRINGS,
    full_type_string,
    has_data_class_for,
    object_of,
    read_value,
    short_name,
    typed_array,
    typed_of,
)

_ENCODER = TypedJSONEncoder()
_DECODERS = TypedJSONDecoder._custom_supported_types


def type_string_of(evaluator_class: type[Any]) -> str:
    """Return the type string that Evaluator writes for a class."""
    return full_type_string(f"{evaluator_class.__module__}.{evaluator_class.__qualname__}")


def archived(evaluator_object: Any) -> BaseStoredData:
    """Return our object for one of Evaluator's; an `EvaluatorObject` for a class that we do not have.

    Raises
    ------
    InvalidDataError
        If the object could not be read back.
    """
    typed = to_typed(evaluator_object)
    if not has_data_class_for(typed):
        # A user's class may write what it cannot read: better to know now.
        from_typed(typed)
    return object_of(typed, with_files=bool(evaluator_object.has_ancillary_data()))


def restored(data_class_name: str, tree: Mapping[str, Any]) -> Any:
    """Return Evaluator's object for the document of one of ours.

    Raises
    ------
    InvalidDataError
        If Evaluator has no class for it, or the program has not loaded the class.
    """
    return from_typed(typed_of(data_class_name, tree))


def our_substance(substance: Any) -> OurSubstance:
    """Return our substance for one of Evaluator's."""
    return OurSubstance.from_tree(read_value(to_typed(substance), "substance"))


def our_component(component: Any) -> OurComponent:
    """Return our component for one of Evaluator's."""
    return OurComponent.from_tree(read_value(to_typed(component), "component"))


def our_state(state: Any) -> OurThermodynamicState:
    """Return our thermodynamic state for one of Evaluator's."""
    return OurThermodynamicState.from_tree(read_value(to_typed(state), "thermodynamic_state"))


def to_typed(value: Any) -> Any:
    """Return the typed JSON of any value that Evaluator can write.

    Raises
    ------
    InvalidDataError
        If Evaluator cannot write it.
    """
    if isinstance(value, np.ndarray):
        return typed_array(value)
    if value is None or isinstance(value, bool | str | int | float):
        return _plain(value)
    if isinstance(value, list | tuple):
        return [to_typed(each) for each in value]
    if not isinstance(value, dict):
        try:
            value = _ENCODER.default(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidDataError(f"OpenFF Evaluator cannot write {value!r}: {error}") from error
    return {_key(name): to_typed(each) for name, each in value.items()}


def _plain(value: Any) -> Any:
    # As json does: a subclass, such as an IntFlag or a FilePath, is written as its plain value.
    for plain in (bool, str, int, float):
        if isinstance(value, plain) and type(value) is not plain:
            return str.__str__(value) if plain is str else plain(value)
    return value


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidDataError(f"{name!r} cannot be the key of a dictionary in JSON: use a string")
    return str.__str__(name)


def from_typed(typed: Any) -> Any:
    """Return the value of typed JSON, all of it the caller's own.

    Raises
    ------
    InvalidDataError
        If it names a class that is not loaded, or one that is not of Evaluator's kind; or if the class
        refuses what was stored.
    """
    if isinstance(typed, list):
        return [from_typed(each) for each in typed]
    if not isinstance(typed, dict):
        return np.array(typed) if hasattr(typed, "__array__") else typed
    fields = {name: from_typed(each) for name, each in typed.items()}
    if TYPE not in fields:
        return fields
    if short_name(fields[TYPE]) == "Quantity":
        return unit.Quantity(fields["value"], _unit(fields["unit"] or "dimensionless"))
    found = loaded_class(fields[TYPE])
    try:
        for decoded, decoder in _DECODERS.items():
            if issubclass(found, decoded):
                return decoder(fields)
        if found is Component:
            built = Component()
            vars(built).update(vars(_component(fields["smiles"], fields["role"])))
            return built
        built = found()
        built.__setstate__(fields)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise InvalidDataError(f"{found.__name__} does not accept what was stored of it: {error}") from error
    return built


@functools.lru_cache(maxsize=1024)
def _unit(text: str) -> Any:
    return unit.Unit(product_text(understood(unit, factors(text))))


@functools.lru_cache(maxsize=1024)
def _component(smiles: str, role: Any) -> Any:
    # Evaluator has RDKit parse the SMILES of each component that it builds: a quarter of reading an object.
    return Component(smiles, role)


@functools.lru_cache(maxsize=1024)
def _own_class(name: str) -> type[Any]:
    special = {"Quantity": unit.Quantity, "Measurement": unit.Measurement}
    if name in special:
        return special[name]  # type: ignore[no-any-return]
    parts = TYPE_STRINGS[name].split(".")
    length = next(index for index, part in enumerate(parts) if part[0].isupper() or index == len(parts) - 1)
    found: Any = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def loaded_class(type_string: str) -> type[Any]:
    """Return the class of a type string, if the program has loaded it.

    Raises
    ------
    InvalidDataError
        If it is not loaded: nothing is ever imported because a file says so. Or if it is neither a typed
        class of Evaluator's kind nor an enumeration.
    """
    full = full_type_string(type_string)
    name = short_name(full)
    if name is not None:
        return _own_class(name)
    parts = full.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is None:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, TypedBaseModel | enum.Enum):
            return found
        if (
            isinstance(found, type)
            and full.startswith("openff.evaluator.")
            and hasattr(found, "__setstate__")
        ):
            return found
        break
    advice = (
        "a script defined it that ran as the program: define or import it in the one that runs now"
        if parts[0] == "__main__"
        else "import the module that defines it first"
    )
    raise InvalidDataError(
        f"no loaded class is called {type_string!r}: {advice}"
        " (values must be of classes that derive from Evaluator's TypedBaseModel, or enumerations)"
    )

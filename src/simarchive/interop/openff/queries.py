"""OpenFF Evaluator's queries as conditions for our index.

The conditions are necessary for a match, not sufficient: Evaluator's own `apply` has the last word.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from openff.evaluator.attributes import UNDEFINED
from openff.evaluator.storage.query import BaseSimulationDataQuery

from simarchive.data import data_class_named
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition
from simarchive.interop.openff.values import our_state, our_substance, to_typed, type_string_of
from simarchive.queries import SubstanceQuery, query_class_for
from simarchive.queries.substance import is_a_component_of
from simarchive.storage.evaluator_json import short_name

_PLAIN_CRITERIA = (
    "property_phase",
    "source_calculation_id",
    "force_field_id",
    "number_of_molecules",
    "max_number_of_molecules",
    "calculation_layer",
)


def subclasses_of(evaluator_class: type[Any]) -> Iterator[type[Any]]:
    """Yield a class and all classes derived from it that the program has loaded."""
    yield evaluator_class
    for subclass in evaluator_class.__subclasses__():
        yield from subclasses_of(subclass)


def own_class_names(evaluator_class: type[Any]) -> list[str]:
    """Return the data classes here that hold the objects of an Evaluator class and its subclasses."""
    names = dict.fromkeys(short_name(type_string_of(found)) for found in subclasses_of(evaluator_class))
    return [name for name in names if name is not None and data_class_named(name) is not None]


def conditions_of(data_query: Any, class_name: str) -> tuple[Condition, ...]:
    """Return conditions that hold for every object of a data class that an Evaluator query matches."""
    data_class = data_class_named(class_name)
    if data_class is None or not isinstance(data_query, BaseSimulationDataQuery):
        return ()
    ours = query_class_for(data_class)()
    try:
        for name, value in _criteria(data_query):
            if hasattr(ours, name):
                setattr(ours, name, value)
        part, substance = ours.substance_query, ours.substance
        if part is None or not part.components_only:
            return ours.conditions()
        # Evaluator compares the first amounts only, in whatever order they were added.
        del ours.substance_query, ours.substance
        return (is_a_component_of(substance, "substance", in_any_amount=True), *ours.conditions())
    except InvalidDataError:
        # What the query asks for has no form here; then only looking at every object can tell.
        return ()


def _criteria(data_query: Any) -> Iterator[tuple[str, Any]]:
    if data_query.substance != UNDEFINED:
        yield "substance", our_substance(data_query.substance)
        asked = data_query.substance_query
        components_only = asked != UNDEFINED and bool(asked.components_only)
        # Evaluator compares all six decimals.
        yield "substance_query", SubstanceQuery(components_only, mole_fraction_tolerance=0.0)
    if data_query.thermodynamic_state != UNDEFINED:
        yield "thermodynamic_state", our_state(data_query.thermodynamic_state)
    for name in _PLAIN_CRITERIA:
        value = getattr(data_query, name, UNDEFINED)
        if value != UNDEFINED:
            yield name, to_typed(value)


def apply(data_query: Any, stored: Any) -> tuple[Any, ...] | None:
    """Return what Evaluator's query says of an object: the matched values, or ``None``.

    Evaluator raises where pure data of a component was stored in another role than the query gives it;
    here only the components of the query that the object has take part, so that it is not a match.
    """
    if (
        isinstance(data_query, BaseSimulationDataQuery)
        and data_query.substance != UNDEFINED
        and data_query.substance_query != UNDEFINED
        and data_query.substance_query.components_only
    ):
        identifiers = {component.identifier for component in stored.substance.components}
        narrowed = copy.copy(data_query)
        substance = copy.copy(data_query.substance)
        shared = tuple(each for each in data_query.substance.components if each.identifier in identifiers)
        substance._set_value("components", shared)
        narrowed.substance = substance
        data_query = narrowed
    matched: tuple[Any, ...] | None = data_query.apply(stored)
    return matched

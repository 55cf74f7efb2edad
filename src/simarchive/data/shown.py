"""What an object shows of itself, in a notebook and on a terminal: its fields, in short; no array is read."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from simarchive.chemistry.frames import ObservableFrame
from simarchive.chemistry.observables import Observable, ObservableArray
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.chemistry.units import is_quantity
from simarchive.errors import StorageError
from simarchive.ground.texts import count_text, html_table, one_line

LONGEST = 200
"""So many characters does a value have; of a longer one the beginning is shown."""

_SHOWN_AS_TEXT = (str, bool, int, float, Substance, ThermodynamicState, PropertyPhase, Observable)


def rows_of(values: Mapping[str, Callable[[], Any]]) -> list[tuple[str, str]]:
    """Return names and texts of the fields that are set.

    Parameters
    ----------
    values
        By name, what returns the value; an error of ours that it raises is shown in the place of the value.
    """
    rows: list[tuple[str, str]] = []
    for name, value_of in values.items():
        try:
            value = value_of()
            if value is not None:
                rows += _rows_of_value(name, value)
        except StorageError as error:
            rows.append((name, _short(f"cannot be read: {error}")))
    return rows


def _rows_of_value(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, ObservableFrame):
        return [(f"{name}.{kind.value}", _array_text(value[kind])) for kind in value]
    if isinstance(value, ObservableArray):
        return [(name, _array_text(value))]
    if is_quantity(value) and not getattr(value.magnitude, "shape", ()):
        return [(name, _short(f"{value:~P}"))]
    return [(name, _short(str(value) if isinstance(value, _SHOWN_AS_TEXT) else repr(value)))]


def _array_text(array: ObservableArray) -> str:
    n_values, n_dimensions = array.shape
    text = count_text(n_values, "value") + (f" of {n_dimensions} dimensions" if n_dimensions > 1 else "")
    unit = f"{array.units:~P}" if array.units is not None else ""
    return _short(f"{text} in {unit}" if unit else text)


def _short(text: str) -> str:
    return one_line(text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ...")


def with_fields(text: str, meanings: Mapping[str, tuple[str, str]]) -> str:
    """Return the description of a class, followed by its fields.

    Parameters
    ----------
    meanings
        By name, what a field holds and what it means.
    """
    if not meanings:
        return text
    lines = [inspect.cleandoc(text), "", "Fields", "------"]
    for name, (holds, meaning) in meanings.items():
        lines.append(f"{name} : {holds}")
        if meaning:
            lines.append(textwrap.indent(textwrap.fill(" ".join(meaning.split()), 90), "    "))
    return "\n".join(lines)


def as_html(title: str, rows: list[tuple[str, str]]) -> str:
    """Return the fields as a table for a notebook."""
    return html_table(("field", "value"), rows, caption=title)


def as_text(title: str, rows: list[tuple[str, str]]) -> str:
    """Return the fields as lines for a terminal."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in rows)])

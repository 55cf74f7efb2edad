"""A document as lines of text: quantities with units, substances in short, arrays by their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from simarchive.ground.arrays import is_array
from simarchive.ground.texts import count_text
from simarchive.storage.display.wording import phase_text, substance_text, unit_text

LONGEST_TEXT = 200
_INDENT = "  "
_LONGEST_SHORT = 60


def lines_of(tree: Any, *, depth: int = 0) -> Iterator[str]:
    """Yield the lines of a document."""
    width = max((len(name) for name, value in tree.items() if _inline(value) is not None), default=0)
    for name, value in tree.items():
        text = phase_text(value) if name == "property_phase" else _inline(value)
        if text is not None:
            yield f"{_INDENT * depth}{name:<{width}}  {text}"
        elif isinstance(value, dict):
            yield f"{_INDENT * depth}{name}"
            yield from lines_of(value, depth=depth + 1)
        else:
            yield f"{_INDENT * depth}{name}"
            for place, element in enumerate(value):
                inline = _inline(element)
                if inline is not None:
                    yield f"{_INDENT * (depth + 1)}{inline}"
                else:
                    yield f"{_INDENT * (depth + 1)}{place + 1}"
                    yield from lines_of(
                        {"": element} if isinstance(element, list) else element, depth=depth + 2
                    )


def short_text(value: Any) -> str:
    """Return a value of a document on one line, cut if it is long."""
    text = _inline(value)
    if text is None:
        text = count_text(len(value), "value")
    return text if len(text) <= _LONGEST_SHORT else f"{text[:_LONGEST_SHORT]} ..."


def _inline(value: Any) -> str | None:
    """Return a value that fits on a line, or ``None``."""
    if is_array(value):
        return f"{' x '.join(map(str, value.shape)) or 'one'} values ({value.dtype})"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _inline_fields(value)
    if isinstance(value, list):
        return "none" if not value else None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _inline_fields(value: dict[str, Any]) -> str | None:
    """Return what has a short form; a document may have the names of one, and other things under them."""
    fields = set(value)
    if _is_quantity(value):
        joint = " in " if is_array(value["value"]) and unit_text(value["unit"]) else " "
        return f"{_inline(value['value'])}{joint}{unit_text(value['unit'])}".rstrip()
    if fields == {"components", "amounts"}:
        return _substance(value)
    if fields in ({"temperature"}, {"temperature", "pressure"}) and all(map(_is_quantity, value.values())):
        return ", ".join(str(_inline(quantity)) for quantity in value.values())
    if "gradients" in fields and isinstance(value["gradients"], list) and _is_quantity(value.get("value")):
        if fields == {"value", "gradients"}:
            return str(_inline(value["value"])) + _gradients(value)
        if fields == {"value", "error", "gradients"} and _is_quantity(value["error"]):
            return _with_error(value["value"], value["error"]) + _gradients(value)
    return "none" if not value else None


def _is_quantity(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"value", "unit"}
        and isinstance(value["unit"], str)
        and _inline(value["value"]) is not None
    )


def _with_error(value: dict[str, Any], error: dict[str, Any]) -> str:
    if value["unit"] != error["unit"]:
        return f"{_inline(value)} +/- {_inline(error)}"
    return f"{_inline(value['value'])} +/- {_inline(error['value'])} {unit_text(value['unit'])}".rstrip()


def _gradients(value: dict[str, Any]) -> str:
    number = len(value["gradients"])
    return f", {count_text(number, 'gradient')}" if number else ""


def _substance(value: dict[str, Any]) -> str | None:
    from simarchive.chemistry import Substance
    from simarchive.errors import InvalidDataError

    try:
        return substance_text(Substance.from_tree(value).identifier)
    except InvalidDataError:
        amounts = value["amounts"]
        return "|".join(map(str, amounts)) if isinstance(amounts, dict) else None


def _text(text: str) -> str:
    if len(text) <= LONGEST_TEXT and "\n" not in text:
        return text
    start = re.sub(r"\s+", " ", text[:LONGEST_TEXT]).strip()[:40]
    return f"{len(text):,} characters: {start} ..."

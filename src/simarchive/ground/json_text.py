"""JSON that others wrote: parsed strictly, and within bounds.

`json.loads` takes NaN, numbers beyond double precision, keys that stand twice in one object, halves of
surrogate pairs, and as many nested brackets as the stack holds, on which what comes after it then fails.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from simarchive.ground.limits import LIMITS, in_bytes

MAX_DEPTH = 200
"""Of lists and objects in each other."""

NOT_PARSED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RuntimeError)
"""What parsing raises together with a mapping that takes the text at its word."""

Mapping = Callable[[dict[str, Any]], Any]

_INFINITIES = (math.inf, -math.inf)
# So many characters are parsed without a look at how many values they are.
_FEW_CHARACTERS = 2 << 20
# What a list or mapping, the place of a value in it, a key and a string take at most in CPython of 64 bits.
_NODE_BYTES, _PLACE_BYTES, _KEY_BYTES, _STRING_BYTES = 64, 40, 140, 56
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_MAYBE_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str | bytes, mapping: Mapping | None = None) -> Any:
    """Return what a JSON text says.

    Parameters
    ----------
    mapping
        Called with each object of the text, innermost first; what it returns takes its place. Of a key that
        stands twice in one object it sees the last value: to look for these would cost a third of the time
        again.

    Raises
    ------
    ValueError
        If the text is not strict JSON in UTF-8, has a float beyond double precision or half of a surrogate
        pair, or is nested too deeply; without a mapping also if it has a key twice in one object.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if len(text) > _FEW_CHARACTERS:
        check_values(text)
    try:
        if mapping is None:
            tree = _PLAIN_DECODER.decode(text)
        else:
            tree = json.JSONDecoder(
                object_hook=mapping, parse_float=_finite, parse_constant=_no_number
            ).decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if "\\" in text and "\\u" in text and _MAYBE_HALF_A_PAIR.search(text):
        # Whole pairs look alike: the strings are written as UTF-8, which halves cannot be.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    return tree


def check_values(text: str) -> None:
    """Refuse a JSON text whose values would take more memory than is believed.

    Raises
    ------
    ValueError
        If they would.
    """
    if _bytes_of_values(text) > LIMITS.values_bytes:
        # Punctuation counts where it stands outside of strings.
        size = _bytes_of_values(_STRING.sub('""', text))
        if size > LIMITS.values_bytes:
            raise ValueError(
                f"its values take some {in_bytes(size)} of memory; {LIMITS.hint(LIMITS.values_bytes)}"
            )


def _bytes_of_values(text: str) -> int:
    return (
        _NODE_BYTES * (text.count("[") + text.count("{"))
        + _PLACE_BYTES * text.count(",")
        + _KEY_BYTES * text.count(":")
        + _STRING_BYTES * text.count('"') // 2
    )


def _depth(text: str) -> int:
    """Return how deep the brackets of a text are nested at most."""
    depth = _depth_of_brackets(text)
    return depth if depth <= MAX_DEPTH else _depth_of_brackets(_STRING.sub("", text))


def _depth_of_brackets(text: str) -> int:
    import numpy as np  # the command line starts without

    depth = deepest = 0
    for start in range(0, len(text), _FEW_CHARACTERS):
        piece = text[start : start + _FEW_CHARACTERS].encode("utf-8", "surrogatepass")
        steps = np.frombuffer(piece.translate(_BRACKETS, _ALL_BUT_BRACKETS), np.int8)
        depths = np.cumsum(steps, dtype=np.int32)
        deepest = max(deepest, depth + int(depths.max(initial=0)))
        depth += int(depths[-1]) if len(depths) else 0
    return deepest


def _finite(text: str) -> float:
    value = float(text)
    if value in _INFINITIES:
        raise ValueError(f"the number {text[:40]} is beyond double precision")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    node = dict(pairs)
    if len(node) < len(pairs):
        # What is left of the later one of each name is taken away first.
        left = dict(pairs)
        twice = next(name for name, _ in reversed(pairs) if left.pop(name, pairs) is pairs)
        raise ValueError(f"an object has the key {twice!r:.100} twice")
    return node


_PLAIN_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_no_number)

"""JSON of strangers as values of Python: bounded before it is parsed, and refused where it is not clear."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from simarchive.errors import InvalidDataError

MAX_JSON_BYTES = 64 << 20
"""How long a text may be unless one says otherwise."""

_MOST_LEVELS = 100
# For each MiB that a text may have: what Python makes of more takes some hundred times the room of the text.
_VALUES_PER_MIB = 1 << 17
_COLLECTIONS_PER_MIB = 1 << 14

Pairs = list[tuple[str, Any]]

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STRING = re.compile(rb'"[^"]*"')
# A number beyond the range of a float has two hundred digits, or an exponent of three.
_LARGE_EXPONENT = re.compile(rb"e\+?[0-9]{3,}\s*[,\]}]")
_LARGE_EXPONENT_E = re.compile(rb"E\+?[0-9]{3,}\s*[,\]}]")
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))
_DIGITS_IN_A_ROW = b"0" * 30
# Of shorter texts, numpy takes longer.
_SHORT = 1 << 15
_SURROGATE = re.compile(rb"\\[uU][dD][89a-fA-F]")


def parse_typed(
    text: str | bytes,
    *,
    max_bytes: int = MAX_JSON_BYTES,
    on_pairs: Callable[[Pairs], Any] | None = None,
) -> Any:
    """Return typed JSON from its text; the bare words NaN, Infinity and -Infinity are read as numbers.

    Parameters
    ----------
    max_bytes
        How long the text may be. How many values it may have goes with it.
    on_pairs
        Makes an object of its names and values; by default a name that comes twice is refused.

    Raises
    ------
    InvalidDataError
        If the text is not JSON in UTF-8, or has more of anything than it may have, a name twice in one
        object, or a number that is beyond the range of numbers.
    """
    try:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        _check_extent(data, max_bytes)
        # Of bytes, `json` would guess the encoding.
        plain = text if isinstance(text, str) else data.removeprefix(codecs.BOM_UTF8).decode()
        if _may_have_large_numbers(data):
            return json.loads(plain, object_pairs_hook=on_pairs or _unique, parse_float=_finite)
        return json.loads(plain, object_pairs_hook=on_pairs or _unique)
    except InvalidDataError:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(f"the text is not JSON: {error}") from error
    except MemoryError as error:
        raise InvalidDataError("the text is JSON that takes more memory than there is") from error


def check_characters(typed: Any, text: bytes) -> None:
    """Refuse parsed JSON that has half a character: an escape for one of two surrogates without the other.

    Raises
    ------
    InvalidDataError
        If it has one.
    """
    if _SURROGATE.search(text):
        try:
            json.dumps(typed, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InvalidDataError("the text has half a character, a lone surrogate: replace it") from error


def _check_extent(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise InvalidDataError(f"the text has {len(data)} bytes, and may have {max_bytes}")
    mebibytes = max(1, max_bytes >> 20)
    most_values, most_collections = mebibytes * _VALUES_PER_MIB, mebibytes * _COLLECTIONS_PER_MIB
    # Counted only where there is room for so many.
    if len(data) > 2 * most_values and data.count(b",") > most_values:
        raise InvalidDataError(f"the text has more than {most_values} values")
    if data.count(b"[") + data.count(b"{") <= _MOST_LEVELS:
        return
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRING.sub(b"", data.translate(None, _NOT_STRUCTURE))
    if len(brackets) > 2 * most_collections:
        raise InvalidDataError(f"the text has more than {most_collections} lists and objects")
    for _ in range(_MOST_LEVELS):
        # The innermost ones go. Where none is left to go, the text is not JSON.
        outer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(outer) == len(brackets) or not outer:
            return
        brackets = outer
    raise InvalidDataError(f"the text has more than {_MOST_LEVELS} lists and objects one in another")


def _may_have_large_numbers(data: bytes) -> bool:
    if _LARGE_EXPONENT.search(data) or _LARGE_EXPONENT_E.search(data):
        return True
    if len(data) < _SHORT:
        return _DIGITS_IN_A_ROW in data.translate(_DIGITS)
    # Two hundred digits in a row have thirty behind one of these places; those of a float are twenty.
    digits = np.frombuffer(data, np.uint8)
    n_places = (len(data) - 30) // 150 + 1
    if n_places <= 0:
        return False
    columns = [digits[offset::150][:n_places] for offset in range(30)]
    return bool(np.logical_and.reduce([(column - ord("0")) < 10 for column in columns]).any())


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidDataError(f"the number {text[:40]} is beyond the range of numbers")
    return number


def _unique(pairs: Pairs) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InvalidDataError(f"the text names {twice[:80]!r} twice in one object: remove one")
    return found

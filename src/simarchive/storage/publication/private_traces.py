"""Traces of the person and the machine in texts: home directories, user names, e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_BYTES = 1 << 20
"""Of one file: so much of its beginning is looked at."""
BINARY_BYTES = 4096
"""The same of a binary file, whose header may name a path."""

# Accounts that are the same everywhere tell nothing of a person.
_NOBODY = frozenset({"user", "username", "conda", "runner", "travis", "shared", "public", "none", "unknown"})
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_REST = r"[^\s\"'<>|:;,\x00-\x1f]{0,200}"
_PATHS = (
    re.compile(rf"(?<![\w.])(?<!\b[A-Za-z]:)/(?:home|Users|export/home)/({_NAME})(?:/{_REST})?"),
    re.compile(rf"\b[A-Za-z]:(?:\\{{1,2}}|/)Users(?:\\{{1,2}}|/)({_NAME})(?:[\\/]{_REST})?"),
    re.compile(rf"(?<![\w.])/(root)/{_REST}"),
)
_USER = re.compile(
    rf"\b(?:USER|USERNAME|LOGNAME|User|Username|user|username|logname)[ \t]*[:=][ \t]*({_NAME})"
)
# In a text with more of them they are not addresses.
_MOST_AT = 10_000
_BEFORE_AT = re.compile(r"[\w.+-]{1,64}\Z")
_AFTER_AT = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace: ``path``, ``user`` or ``e-mail``, and what it says."""

    kind: str
    text: str


def traces_of_file(start: bytes) -> list[Trace]:
    """Return the traces in the beginning of a file: of a binary one only those in its header."""
    if b"\0" in start[:BINARY_BYTES]:
        found = traces(start[:BINARY_BYTES].decode("latin-1"))
        return [trace for trace in found if trace.kind != "e-mail"]
    return traces(start.decode("utf-8", "replace"))


def traces(text: str) -> list[Trace]:
    """Return the traces in a text, each once."""
    return list(dict.fromkeys(_traces(text)))


def _traces(text: str) -> Iterator[Trace]:
    for pattern in _PATHS:
        for found in pattern.finditer(text):
            if found[1].lower() not in _NOBODY:
                yield Trace("path", found[0])
    for found in _USER.finditer(text):
        if found[1].lower() not in _NOBODY:
            yield Trace("user", found[0])
    place = text.find("@") if text.count("@") <= _MOST_AT else -1
    while place >= 0:
        before = _BEFORE_AT.search(text[max(place - 64, 0) : place])
        after = _AFTER_AT.match(text[place + 1 : place + 260])
        if before and after:
            yield Trace("e-mail", f"{before[0]}@{after[0]}")
        place = text.find("@", place + 1)

"""Who changes a container: what its history and the names of removed objects say."""

from __future__ import annotations

import getpass
import os
from urllib.parse import quote, unquote

AUTHOR_VARIABLE = "SIMARCHIVE_AUTHOR"
"""The environment variable that says who it is, in place of the login name."""

_LONGEST_BYTES = 64
_UNKNOWN = "unknown"


def author() -> str:
    """Return who works with this process: what the environment says, or the login name; empty if unknown."""
    name = os.environ.get(AUTHOR_VARIABLE, "").strip()
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""  # A container of a cluster or of CI may run as a user without a name.


def as_word(name: str) -> str:
    """Return a name, at most its first 64 bytes in UTF-8, as one percent-encoded word (RFC 3986)."""
    text = name.encode("utf-8", "replace")[:_LONGEST_BYTES].decode("utf-8", "ignore")
    return quote(text, safe="") or _UNKNOWN


def of_word(word: str) -> str | None:
    """Return the name of a word of `as_word`; ``None`` if it is none that could be shown."""
    try:
        name = unquote(word, errors="strict")
    except UnicodeDecodeError:
        return None
    return name if name.isprintable() else None

"""How much one thing in a file may claim before a program believes it.

A file of a few bytes can say that it holds terabytes. What it says is compared with the size of the file
first, and with these limits, since a file may be large and hold nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

VARIABLE = "SIMARCHIVE_MAX_BYTES"
"""Environment variable: another number of bytes in place of all of these limits."""


@dataclass(slots=True)
class Limits:
    """The most bytes that are believed; they hold for the whole process, and may be changed at any time."""

    array_bytes: int = 512 << 20  #: one array of a document
    document_bytes: int = 64 << 20  #: the text of one document
    values_bytes: int = 256 << 20  #: the memory that the values of one JSON text take
    unwritten_bytes: int = 4 << 30  #: the zeros of one file of an object that take no room in the container

    @classmethod
    def of_environment(cls, text: str | None) -> Limits:
        """Return the limits that the environment variable sets; what is no number is ignored."""
        if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
            return cls()
        return cls(*[int(text)] * len(fields(cls)))

    def set_all(self, limit_bytes: int) -> None:
        """Put another number of bytes in place of all of these limits."""
        for limit in fields(self):
            setattr(self, limit.name, limit_bytes)

    @staticmethod
    def hint(limit_bytes: int) -> str:
        """Return what a message says of a limit, and what to do about it."""
        return (
            f"at most {in_bytes(limit_bytes)} are believed: if it is right, set {VARIABLE} to a higher"
            " number, or use 'simarchive --max-bytes N'"
        )


LIMITS = Limits.of_environment(os.environ.get(VARIABLE))


def in_bytes(number: int) -> str:
    """Return a number of bytes in words."""
    return f"{number:,} bytes"

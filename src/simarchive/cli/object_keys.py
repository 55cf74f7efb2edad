"""Keys as the command line takes and shows them."""

from __future__ import annotations

from collections.abc import Iterable

from simarchive.storage.finding.key_prefixes import KeyFinder, resolve, resolve_all

__all__ = ["SHORTEST", "KeyFinder", "resolve", "resolve_all", "short_length"]

SHORTEST = 8
"""The length of a short key, unless more is needed to tell keys apart."""


def short_length(keys: Iterable[str]) -> int:
    """Return how many characters tell all keys apart, but at least 8."""
    longest = 0
    previous = ""
    for key in sorted(keys):
        shared = 0
        for mine, other in zip(key, previous, strict=False):
            if mine != other:
                break
            shared += 1
        longest = max(longest, shared)
        previous = key
    return max(longest + 1, SHORTEST)

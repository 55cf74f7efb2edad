"""Keys as people type them: whole, or a start that no other key shares."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Protocol

from simarchive.errors import InvalidDataError, NotFoundError

_SHOWN = 5


class _Keys(Protocol):
    """What has keys: a backend."""

    def keys(self) -> list[str]: ...

    def __contains__(self, key: str, /) -> bool: ...


class KeyFinder:
    """Finds keys by what people type; the keys of the backend are read at most once."""

    def __init__(self, backend: _Keys) -> None:
        self._backend = backend
        self._sorted: list[str] | None = None

    def resolve(self, text: str) -> str:
        """Return the one key that is `text` or starts with it.

        Raises
        ------
        NotFoundError
            If no key starts with it.
        InvalidDataError
            If several keys do; the message names them.
        """
        if text in self._backend:
            return text
        if self._sorted is None:
            self._sorted = sorted(self._backend.keys())
        found = only_start(self._sorted, text)
        if found is None:
            raise NotFoundError(f"no object has a key that is or starts with {text!r}: see 'simarchive ls'")
        return found


def only_start(keys: Sequence[str], text: str, *, noun: str = "keys") -> str | None:
    """Return the one of the sorted `keys` that starts with `text`; ``None`` if none does.

    Raises
    ------
    InvalidDataError
        If several do; the message names them, as `noun`.
    """
    first = bisect.bisect_left(keys, text)
    following = (keys[place] for place in range(first, len(keys)))
    found = list(itertools.takewhile(lambda key: key.startswith(text), following)) if text else []
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise InvalidDataError(f"{len(found)} {noun} start with {text!r}: {shown}: type more of the key")
    return found[0] if found else None


def resolve(backend: _Keys, text: str) -> str:
    """Return the one key that is `text` or starts with it; as `KeyFinder.resolve`."""
    return KeyFinder(backend).resolve(text)


def resolve_all(backend: _Keys, texts: Sequence[str]) -> list[str]:
    """Return the keys of several texts, each once, in order; as `KeyFinder.resolve`."""
    finder = KeyFinder(backend)
    return list(dict.fromkeys(finder.resolve(text) for text in texts))

"""The words of a selection, and the keys that they select."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.ground.vocabulary.criteria import begins_as_criterion
from simarchive.storage.finding.key_prefixes import KeyFinder

_FROM_INPUT = "-"
_IN_PATTERNS = frozenset("*?[")
_LONGEST_LINE = 1 << 20


class Selectable(Protocol):
    """What objects are selected from: any backend."""

    def keys(self, data_query: Any = None, /) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order."""

    def __contains__(self, key: str, /) -> bool: ...


def is_criterion(word: str) -> bool:
    """Return whether a word begins as a criterion of an expression does: a name and an operator."""
    return begins_as_criterion(word)


class Selection:
    """Some words, and what they select in one container or in several.

    Parameters
    ----------
    words
        As a person typed them.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._lines: list[str] | None = None

    def keys(self, backend: Selectable) -> list[str] | None:
        """Return the keys of the objects that are selected, each once; ``None`` if there are no words.

        Keys come in the order of the words, or where criteria choose among them, in the order of a query.

        Raises
        ------
        NotFoundError
            If a word is no key, starts none and matches none.
        InvalidDataError
            If several keys start with a word.
        QuerySyntaxError
            If the criteria cannot be read.
        """
        return self.keys_in_each([backend])[0]

    def keys_in_each(self, backends: Sequence[Selectable]) -> list[list[str] | None]:
        """Return what `keys` does for each backend; a key has to be in one of them only."""
        if not self.words:
            return [None] * len(backends)
        missing: dict[str, NotFoundError] = {}
        found: set[str] = set()
        chosen: list[list[str] | None] = [
            self._keys(_Finding(backend, found, missing)) for backend in backends
        ]
        for text, error in missing.items():
            if text not in found:
                raise error
        return chosen

    def _keys(self, finding: _Finding) -> list[str]:
        named: list[str] = []
        criteria: list[str] = []
        for word in self.words:
            # Nothing keeps a key from looking like a criterion.
            if word in finding.backend:
                named += finding.resolve(word)
            elif is_criterion(word.lstrip()):
                criteria.append(word)
            elif word == _FROM_INPUT:
                for text in self._input():
                    named += finding.resolve(text)
            else:
                named += finding.resolve(word)
        if not criteria:
            return list(dict.fromkeys(named))
        chosen = finding.backend.keys(" ".join(criteria))
        if len(criteria) == len(self.words):
            return chosen
        wanted = set(named)
        return [key for key in chosen if key in wanted]

    def _input(self) -> list[str]:
        if self._lines is None:
            self._lines = list(_keys_of_lines(_lines_of_input()))
        return self._lines


class _Finding:
    """Finds the keys that one backend has for words, and notes which words have none."""

    def __init__(self, backend: Selectable, found: set[str], missing: dict[str, NotFoundError]) -> None:
        self.backend = backend
        self._finder = KeyFinder(backend)
        self._found = found
        self._missing = missing

    def resolve(self, word: str) -> list[str]:
        """Return the keys of a word; none, and a note, if there are none."""
        try:
            keys = self._matching(word) if _is_pattern(word) else [self._finder.resolve(word)]
        except NotFoundError as error:
            error.add_note("criteria are written as in phase=liquid or T=290..310K")
            self._missing[word] = error
            return []
        self._found.add(word)
        return keys

    def _matching(self, pattern: str) -> list[str]:
        if pattern in self.backend:
            return [pattern]
        keys = [key for key in self.backend.keys() if fnmatch.fnmatchcase(key, pattern)]  # noqa: SIM118
        if not keys:
            raise NotFoundError(f"no key matches the pattern {pattern!r}: see 'simarchive ls'")
        return keys


def _is_pattern(word: str) -> bool:
    return not _IN_PATTERNS.isdisjoint(word)


def choose(backend: Selectable, words: Sequence[str]) -> list[str] | None:
    """Return what `Selection.keys` does for some words."""
    return Selection(words).keys(backend)


def is_several(backend: Selectable, words: Sequence[str]) -> bool:
    """Return whether words may select several objects, however many they do: not one key, or start of one."""
    if len(words) != 1 or words[0] in backend:
        return len(words) != 1
    return words[0] == _FROM_INPUT or is_criterion(words[0]) or _is_pattern(words[0])


def stored_order(backend: Selectable, chosen: Sequence[str] | None) -> list[str]:
    """Return chosen keys in the order in which their objects were stored; all keys for ``None``."""
    keys = backend.keys()
    if chosen is None:
        return keys
    wanted = set(chosen)
    return [key for key in keys if key in wanted]


def _lines_of_input() -> Iterator[str]:
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidDataError("'-' stands for keys on standard input, which is closed")
    while line := sys.stdin.readline(_LONGEST_LINE):
        if len(line) >= _LONGEST_LINE:
            raise InvalidDataError("a line on standard input is longer than 1 MiB: give one key on each line")
        yield line


def _keys_of_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the first word of each line that is not empty, or what ``key`` is in a line of JSON."""
    from simarchive.ground import json_text

    for line in lines:
        text = line.strip()
        if text.startswith("{"):
            try:
                found = json_text.parse(text)
            except ValueError:
                found = None
            key = found.get("key") if isinstance(found, dict) else None
            if not isinstance(key, str):
                raise InvalidDataError(
                    "standard input has a line that is neither a key nor JSON with a key: pipe the output of"
                    " 'simarchive query --keys' or '--ndjson' into this"
                )
            yield key
        elif text:
            yield text.split()[0]

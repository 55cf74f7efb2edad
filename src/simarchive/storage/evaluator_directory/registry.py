"""The registry of a directory of objects: which keys there are, by the class they are filed under.

OpenFF Evaluator opens a directory only if it can read every object that ``object_keys.json`` names. So
objects of classes that it does not know are named in a registry of their own, which it does not look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simarchive.errors import CorruptError, InvalidDataError, StorageIOError
from simarchive.ground.files_below import read_file_below
from simarchive.ground.keys import MAX_KEY_BYTES, check_key
from simarchive.storage.evaluator_directory.documents import Filing
from simarchive.storage.evaluator_directory.files import Signature, signature_of
from simarchive.storage.evaluator_json import TYPE, TYPE_STRINGS, parse_typed

EVALUATOR_REGISTRY = "object_keys.json"
OWN_REGISTRY = "simarchive_keys.json"


class DirectoryRegistry:
    """One registry file: keys by class name, read again whenever the file was replaced.

    Changes are in memory until they are written, so that storing many objects writes it once.

    Attributes
    ----------
    generation
        How often the file was read.
    keys
        The keys by class name, as they were read and changed since.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.generation = 0
        self.keys: dict[str, dict[str, None]] = {}
        self._max_bytes = max_bytes
        self._signature: Signature | None = None
        self._is_read = False
        # What was changed since: a key that was added under a name, or discarded from all (None).
        self._changes: list[tuple[str | None, str]] = []

    @property
    def is_changed(self) -> bool:
        """Whether there is something to be written."""
        return bool(self._changes)

    def read(self) -> None:
        """Read the file if it was replaced since, unless there are changes.

        Raises
        ------
        CorruptError
            If the file is not a registry.
        """
        if self._changes:
            return
        signature = _signature(self.path)
        if not self._is_read or signature != self._signature:
            self.keys = {} if signature is None else _parse(self.path, self._max_bytes)
            self.generation += 1
            self._signature, self._is_read = signature, True

    def add(self, name: str, key: str) -> None:
        """File a key under a name, unless it is there."""
        self.read()
        if key not in self.keys.get(name, ()):
            self._changes.append((name, key))
            self.keys.setdefault(name, {})[key] = None

    def discard(self, key: str) -> None:
        """Remove a key, if it is there."""
        self.read()
        if any(key in listed for listed in self.keys.values()):
            self._changes.append((None, key))
            for listed in self.keys.values():
                listed.pop(key, None)

    def text(self) -> str:
        """Return what is to be written.

        What another program wrote since the file was read stays: OpenFF Evaluator does not take turns.
        """
        if _signature(self.path) not in (None, self._signature):
            self.keys = _parse(self.path, self._max_bytes)
            self.generation += 1
            for name, key in self._changes:
                if name is not None:
                    self.keys.setdefault(name, {})[key] = None
                else:
                    for listed in self.keys.values():
                        listed.pop(key, None)
        return registry_text({name: list(listed) for name, listed in self.keys.items()})

    def written(self, signature: Signature | None) -> None:
        """Take the keys for those of a file that was put in place."""
        self._signature = signature
        self._changes = []

    def forget(self) -> None:
        """Drop the changes, and read the file again before the next answer."""
        self._is_read = False
        self._changes = []


class DirectoryRegistries:
    """Both registries of a directory as one: the class by key, without keys that cannot be.

    Parameters
    ----------
    root
        The directory.
    problems
        Where to note, by key, what is wrong with a key that is left out.
    max_bytes
        How long the text of a registry may be.
    """

    def __init__(self, root: Path, problems: dict[str, str], max_bytes: int) -> None:
        self.evaluator = DirectoryRegistry(root / EVALUATOR_REGISTRY, max_bytes)
        self.own = DirectoryRegistry(root / OWN_REGISTRY, max_bytes)
        self._problems = problems
        self._filings: dict[str, Filing] = {}
        self._generation = (0, 0)

    def __iter__(self) -> Iterator[DirectoryRegistry]:
        return iter((self.evaluator, self.own))

    @property
    def generation(self) -> tuple[int, int]:
        """What differs after a file was read again."""
        return self.evaluator.generation, self.own.generation

    @property
    def is_changed(self) -> bool:
        """Whether there is something to be written."""
        return self.evaluator.is_changed or self.own.is_changed

    @property
    def any_exists(self) -> bool:
        """Whether the file of a registry is there."""
        return self.evaluator.path.exists() or self.own.path.exists()

    def read(self) -> Mapping[str, Filing]:
        """Return where each key is filed, by key in no order; do not change the result."""
        for registry in self:
            registry.read()
        if self._generation != self.generation:
            self._filings = dict(self._merged())
            self._generation = self.generation
        return self._filings

    def listed(self) -> Iterator[tuple[str, Filing]]:
        """Yield each key and where it is filed, in the order of the registries."""
        filings = self.read()
        for is_own, registry in enumerate(self):
            for name, keys in registry.keys.items():
                filing = Filing(bool(is_own), name)
                yield from [(key, filing) for key in keys if filings.get(key) == filing]

    def names(self) -> list[Filing]:
        """Return under which names there are keys."""
        self.read()
        return [
            Filing(bool(is_own), name)
            for is_own, registry in enumerate(self)
            for name, keys in registry.keys.items()
            if keys
        ]

    def keys_under(self, filing: Filing) -> list[str]:
        """Return the keys that are filed under a name."""
        filings = self.read()
        registry = self.own if filing.is_own else self.evaluator
        return [key for key in registry.keys.get(filing.name, ()) if filings.get(key) == filing]

    def add(self, filing: Filing, key: str) -> None:
        """File a key, unless it is there."""
        self.read()
        (self.own if filing.is_own else self.evaluator).add(filing.name, key)
        self._filings.setdefault(key, filing)

    def discard(self, key: str) -> None:
        """Remove a key, if it is there."""
        self.read()
        self.evaluator.discard(key)
        self.own.discard(key)
        self._filings.pop(key, None)

    def forget(self) -> None:
        """Drop what was changed and not written."""
        self.evaluator.forget()
        self.own.forget()

    def _merged(self) -> Iterator[tuple[str, Filing]]:
        # A key that is named twice is one object, filed where it comes first.
        seen: set[str] = set()
        for is_own, registry in enumerate(self):
            for name, keys in registry.keys.items():
                for key in keys:
                    try:
                        _check_listed(key)
                    except InvalidDataError as error:
                        self._problems.setdefault(shown_key(key), str(error))
                        continue
                    if key not in seen:
                        seen.add(key)
                        yield key, Filing(bool(is_own), name)


def _check_listed(key: str) -> None:
    check_key(key)
    if f"{key}.json" in (EVALUATOR_REGISTRY, OWN_REGISTRY):
        raise InvalidDataError(f"key {key!r} is the name of a registry")


def _signature(path: Path) -> Signature | None:
    try:
        signature = signature_of(path)
    except OSError as error:
        raise StorageIOError(f"registry {str(path)!r} cannot be read: {error.strerror}") from error
    if signature is None and path.is_symlink():
        raise CorruptError(f"registry {str(path)!r} is a link that leads nowhere: remove it")
    return signature


def registry_text(keys: Mapping[str, list[str]]) -> str:
    """Return what is written to the file of a registry, for keys by class name."""
    return json.dumps({"object_keys": keys, TYPE: TYPE_STRINGS["ObjectKeys"]})


def _parse(path: Path, max_bytes: int) -> dict[str, dict[str, None]]:
    """Return the keys of a registry by class name."""
    try:
        text = read_file_below(path.parent, path.name, max_bytes)
        typed: Any = parse_typed(text, max_bytes=max_bytes, on_pairs=_joined)
        return {name: _keys_of(keys) for name, keys in typed["object_keys"].items()}
    except StorageIOError as error:
        raise StorageIOError(f"registry {str(path)!r} cannot be read: {error}") from error
    except (InvalidDataError, TypeError, KeyError, AttributeError) as error:
        reason = f" ({error})" if isinstance(error, InvalidDataError) else ""
        raise CorruptError(
            f"{str(path)!r} is not a registry of keys{reason}: nothing was changed; restore it from a copy,"
            " or let rebuild_registry() make a new one from the objects"
        ) from error


def _joined(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; where a name comes twice with lists, both are one."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        before = found.get(name)
        is_both = isinstance(before, list) and isinstance(value, list)
        found[name] = before + value if is_both else value
    return found


def _keys_of(listed: Any) -> dict[str, None]:
    if not isinstance(listed, list):
        raise TypeError("the keys of a class are not a list")
    return dict.fromkeys(map(_text_of, listed))


def _text_of(key: Any) -> str:
    """Return what a registry lists as a key; something that cannot be one if it is not a text."""
    if isinstance(key, str):
        return key
    return f"/{type(key).__name__}" if isinstance(key, list | dict) else f"/{key!r}"[:MAX_KEY_BYTES]


def shown_key(key: str) -> str:
    """Return how a key is named that may be anything."""
    text = key if key.isprintable() else repr(key)[1:-1]
    return text if len(text) <= MAX_KEY_BYTES else f"{text[:40]}..."

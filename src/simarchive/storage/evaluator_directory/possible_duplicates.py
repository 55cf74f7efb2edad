"""Which stored objects may be duplicates of another: their marks (`Incoming.marks`) by key, in memory.

A directory has no index. Here each object is read once, at the first question about its class; later changes
of one's own are noted, and those of other programs found by the times of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from simarchive.data import BaseStoredData
from simarchive.storage.evaluator_directory.files import Signature
from simarchive.storage.incoming import Incoming


@dataclass(frozen=True, slots=True)
class _Known:
    number: int  # in the order in which the keys became known
    signature: Signature | None
    marks: tuple[Hashable, ...]


class PossibleDuplicates:
    """The marks of the objects of a directory by key, and the keys by mark.

    Parameters
    ----------
    read
        Returns an object, or ``None`` if it cannot be read.
    signature
        Returns what changes with the document of an object.
    """

    def __init__(
        self, read: Callable[[str], BaseStoredData | None], signature: Callable[[str], Signature | None]
    ) -> None:
        self._read = read
        self._signature = signature
        self._known: dict[str, _Known] = {}
        self._keys: dict[Hashable, dict[str, None]] = {}
        self._whole: set[Hashable] = set()
        self._generation: Hashable = None
        self._count = 0

    def follow(self, generation: Hashable, exists: Callable[[str], bool]) -> None:
        """Forget what others changed, if they changed anything.

        Parameters
        ----------
        generation
            Another one than the last time if others may have made changes.
        exists
            Returns whether there is an object of a key.
        """
        if generation == self._generation:
            return
        self._whole.clear()
        for key, known in list(self._known.items()):
            if not exists(key) or self._signature(key) != known.signature:
                self.forget(key)
        self._generation = generation

    def complete(self, group: Hashable, keys: Callable[[], Iterable[str]]) -> None:
        """Read each object of a group that is not known yet."""
        if group in self._whole:
            return
        for key in keys():
            if key not in self._known:
                # Before the object: a change in between shows later.
                signature = self._signature(key)
                stored = self._read(key)
                self._keep(key, signature, () if stored is None else Incoming(stored).marks())
        self._whole.add(group)

    def note(self, key: str, incoming: Incoming) -> None:
        """Add an object that was just stored."""
        self._keep(key, self._signature(key), incoming.marks())

    def forget(self, key: str) -> None:
        """Remove an object, if it is known."""
        known = self._known.pop(key, None)
        for mark in () if known is None else known.marks:
            keys = self._keys.get(mark, {})
            keys.pop(key, None)
            if not keys:
                self._keys.pop(mark, None)

    def of(self, incoming: Incoming) -> list[str]:
        """Return the keys of at least all known objects that are duplicates, the first known first."""
        found = {key for mark in incoming.marks() for key in self._keys.get(mark, ()) if key in self._known}
        return sorted(found, key=lambda key: self._known[key].number)

    def _keep(self, key: str, signature: Signature | None, marks: tuple[Hashable, ...]) -> None:
        before = self._known.get(key)
        self.forget(key)
        if before is None:
            self._count += 1
        for mark in marks:
            self._keys.setdefault(mark, {})[key] = None
        # Last: a key that an interrupt kept from being known is read again.
        self._known[key] = _Known(self._count if before is None else before.number, signature, marks)

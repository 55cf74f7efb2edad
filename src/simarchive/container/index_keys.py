"""Which keys a table may have: says "no" at once to most that it has not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simarchive.container.index_attributes import Array
from simarchive.container.index_texts import WORD

_LOOSE = 8192


class KnownWords:
    """The words of all keys (see `index_texts`): a sorted array, and a set of those added since.

    Words of removed keys stay, so that only the answer "not here" is final.
    """

    def __init__(self, words: Sequence[Array]) -> None:
        self._sorted = np.sort(np.concatenate(words)) if words else np.zeros(0, WORD)
        self._loose: set[int] = set()

    def __contains__(self, word: int) -> bool:
        if word in self._loose:
            return True
        place = int(np.searchsorted(self._sorted, WORD.type(word)))
        return place < self._sorted.size and int(self._sorted[place]) == word

    def add(self, word: int) -> None:
        """Add the word of a new key."""
        self._loose.add(word)
        if len(self._loose) >= _LOOSE:
            loose = np.fromiter(self._loose, WORD, len(self._loose))
            self._sorted = np.sort(np.concatenate([self._sorted, loose]))
            self._loose.clear()

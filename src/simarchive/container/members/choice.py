"""Which members of an object are meant: all names of one object, chosen by pattern or by folder."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[*?\[]")


class MemberNames:
    """The names of one object's members, in order, of which some are found without going over all."""

    def __init__(self, names: Iterable[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._by_last_part: dict[str, list[str]] = {}
        for name in self._places:
            self._by_last_part.setdefault(name.rpartition("/")[2], []).append(name)

    def below(self, folder: str) -> list[str]:
        """Return the names below a folder."""
        return [name for name in self._places if name.startswith(f"{folder}/")]

    def chosen(self, patterns: Sequence[str] | None) -> list[str]:
        """Return the names that fit a shell pattern, whole or with their last part; all for ``None``.

        Only a pattern with wildcards is compared with every name.
        """
        if patterns is None:
            return list(self._places)
        found: set[str] = set()
        wild = []
        for pattern in patterns:
            if _SPECIAL.search(pattern):
                wild.append(fnmatch.translate(pattern))
                continue
            found.update(self._by_last_part.get(pattern, ()))
            if pattern in self._places:
                found.add(pattern)
        if wild:
            fits = re.compile("|".join(wild)).match
            found.update(name for name in self._places if fits(name) or fits(name.rpartition("/")[2]))
        return sorted(found, key=self._places.__getitem__)

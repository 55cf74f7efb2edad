"""Is it here already? The one place that decides whether an object is kept, replaces another or is added.

The rules, in order:

1. An object with the same document is the same object, if it is hashable (`HashableStoredData`) or its
   ancillary files are the same too: the old one is kept, unless it is damaged; then the new one takes its
   place.
2. Two measurements of one calculation (`ReplaceableData.is_same_measurement`) are compared by
   `most_information`; the winner stays under the old key. Where the class keeps both (free energies),
   the new one is added.
3. Anything else is added.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simarchive.errors import CorruptError

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData

_HEALS = "the one that was there is damaged"


class Action(enum.Enum):
    """What happens to an object that is to be stored."""

    KEEP = "keep"  #: the stored object stays as it is
    REPLACE = "replace"  #: the new object takes the place and key of the stored one
    ADD = "add"  #: the new object gets a key of its own


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """The key an object has after it was to be stored, and what was done."""

    key: str
    action: Action
    reason: str = field(
        default="", compare=False
    )  #: in words, unless the objects were equal or nothing was there
    replaced: str = field(default="", compare=False)  #: what is no longer under the key, in words

    def __str__(self) -> str:
        reason = f", {self.reason}" if self.reason else ""
        if self.action is Action.KEEP:
            return f"{self.key}: there already{reason}; nothing was stored"
        if self.action is Action.ADD:
            return f"{self.key}: stored{reason}"
        return f"{self.key}: stored in the place of {self.replaced or 'another object'}{reason}"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, and the key of the stored object that it concerns (empty for `Action.ADD`)."""

    action: Action
    existing_key: str = ""
    reason: str = ""  #: as for `StoreOutcome`


def decide(
    new: BaseStoredData,
    candidates: Iterable[tuple[str, BaseStoredData]],
    has_same_files: Callable[[str], bool],
    is_damaged: Callable[[str], bool] = lambda _: False,
    unreadable: list[str] | None = None,
) -> Decision:
    """Return what to do with `new`, given stored objects of its class that may be the same.

    Parameters
    ----------
    candidates
        Keys and objects; it may hold more than those that are the same.
    has_same_files
        Says whether the ancillary data of a stored object equals that of the new one. Called only for
        objects with the same document, since it may have to read all of it.
    is_damaged
        Says whether a stored object that is the same, or was before it became unreadable, has lost something:
        then the new one takes its place.
    unreadable
        Keys of stored objects that may be the same but cannot be read, added to as they are found.
    """
    from simarchive.data import HashableStoredData

    unreadable = [] if unreadable is None else unreadable
    same_measurement = ""
    for key, stored in candidates:
        try:
            if stored == new and (isinstance(new, HashableStoredData) or has_same_files(key)):
                if is_damaged(key):
                    return Decision(Action.REPLACE, key, _HEALS)
                return Decision(Action.KEEP, key)
            if not same_measurement and _replaces(new, stored):
                winner = type(new).most_information(stored, new)  # type: ignore[attr-defined]
                action = Action.ADD if winner is None else Action.REPLACE if winner is new else Action.KEEP
                same_measurement, reason = key, _comparison(stored, new)
        except CorruptError:
            unreadable.append(key)
    if same_measurement and action is not Action.ADD:
        return Decision(action, same_measurement, reason)
    healed = next(filter(is_damaged, unreadable), None)
    return Decision(Action.ADD) if healed is None else Decision(Action.REPLACE, healed, _HEALS)


def find(new: BaseStoredData, candidates: Iterable[tuple[str, BaseStoredData]]) -> str | None:
    """Return the key of a stored object that is the same as `new`, or another measurement of the same."""
    same_measurement = None
    for key, stored in candidates:
        with contextlib.suppress(CorruptError):  # What cannot be read is not the same as anything.
            if stored == new:
                return key
            if same_measurement is None and _replaces(new, stored):
                same_measurement = key
    return same_measurement


def _replaces(new: BaseStoredData, stored: BaseStoredData) -> bool:
    from simarchive.data import ReplaceableData

    return (
        isinstance(new, ReplaceableData)
        and isinstance(stored, ReplaceableData)
        and type(new) is type(stored)
        and new.is_same_measurement(stored)
    )


def _comparison(stored: BaseStoredData, new: BaseStoredData) -> str:
    """Return in words that two objects measure the same, and what was compared to keep one of them."""
    words = "both measure the same"
    numbers = [getattr(one, "statistical_inefficiency", None) for one in (stored, new)]
    if None in numbers:
        return words
    return f"{words}; statistical inefficiency {numbers[0]:.4g} there, {numbers[1]:.4g} new"

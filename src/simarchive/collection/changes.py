"""Which shards and objects of a collection count: all that are there, less what the last change took out.

A change is a file that is made once, under the next number. Each says the whole state, so that only the last
one is read; whoever finds its number taken looks at what the other has changed, and decides again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simarchive.errors import CorruptError, FormatError, LockedError
from simarchive.ground import json_text
from simarchive.ground.keys import is_key
from simarchive.remote.folders import Folder

FOLDER = "changes"
_FORMAT = 1
_DIGITS = 8
_MOST_BYTES = 256 << 20
_MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class State:
    """What counts.

    Attributes
    ----------
    number
        Of the last change; 0 if there was none.
    removed_shards
        Work ids whose shards count no more, and never again.
    removed_objects
        By work id, the keys of objects that count no more, in shards that do.
    """

    number: int = 0
    removed_shards: frozenset[str] = frozenset()
    removed_objects: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def without_shards(self, work_ids: frozenset[str]) -> State:
        """Return the state after some shards were taken out."""
        objects = {name: keys for name, keys in self.removed_objects.items() if name not in work_ids}
        return State(self.number + 1, self.removed_shards | work_ids, objects)

    def without_objects(self, removed: Mapping[str, frozenset[str]]) -> State:
        """Return the state after some objects, given by work id, were taken out."""
        objects = dict(self.removed_objects)
        for name, keys in removed.items():
            objects[name] = objects.get(name, frozenset()) | keys
        return State(self.number + 1, self.removed_shards, objects)

    def to_bytes(self) -> bytes:
        """Return what is in the file of the change."""
        content = {
            "format": _FORMAT,
            "number": self.number,
            "removed_shards": sorted(self.removed_shards),
            "removed_objects": {name: sorted(keys) for name, keys in sorted(self.removed_objects.items())},
        }
        return (json.dumps(content, indent=1) + "\n").encode()


def last_state(folder: Folder) -> State:
    """Return the state after the last change: one list, and one file if there was a change.

    Raises
    ------
    FormatError
        If a newer version of simarchive wrote it.
    CorruptError
        If it cannot be read.
    """
    numbers = [int(stem) for stem in map(_stem, folder.names(FOLDER)) if stem.isascii() and stem.isdigit()]
    if not numbers:
        return State()
    name = _file(max(numbers))
    place = folder.place_of(name)
    data, size = folder.tail(name, _MOST_BYTES)
    if size > len(data):
        raise CorruptError(f"'{place}' has {size:,} bytes: it is no change of a collection")
    return _state(data, max(numbers), place)


def change(folder: Folder, decide: Callable[[State], State | None]) -> State:
    """Make the next change; return the state after it.

    Parameters
    ----------
    decide
        Called with the present state, again if somebody else made a change meanwhile. Returns the state after
        the change, or ``None`` if there is nothing to change.

    Raises
    ------
    LockedError
        If others make changes all the time.
    """
    for _ in range(_MOST_ATTEMPTS):
        before = last_state(folder)
        after = decide(before)
        if after is None:
            return before
        content = after.to_bytes()
        try:
            folder.create(_file(after.number), content)
        except FileExistsError:
            # Another's; or ours, if it was made and the answer was lost.
            if folder.tail(_file(after.number), _MOST_BYTES)[0] != content:
                continue
        return after
    raise LockedError(f"others change '{folder.name}' all the time: nothing was changed; try again later")


def _file(number: int) -> str:
    return f"{FOLDER}/{number:0{_DIGITS}}.json"


def _stem(name: str) -> str:
    return name.removesuffix(".json") if name.endswith(".json") else ""


def _state(data: bytes, number: int, place: str) -> State:
    try:
        content = json_text.parse(data)
        version = content["format"]
        if isinstance(version, int) and version > _FORMAT:
            raise FormatError(
                f"'{place}' has format {version}; this version reads up to {_FORMAT}: upgrade simarchive"
            )
        shards, objects = content["removed_shards"], content["removed_objects"]
        keys = [*shards, *objects, *(key for found in objects.values() for key in found)]
        if content["number"] != number or not all(isinstance(key, str) and is_key(key) for key in keys):
            raise ValueError("it does not say what a change says")
        removed = {name: frozenset(found) for name, found in objects.items()}
        return State(number, frozenset(shards), removed)
    except json_text.NOT_PARSED as error:
        raise CorruptError(
            f"'{place}' cannot be read ({error}): without it nobody knows what was removed; get it back"
            " from a copy of the collection"
        ) from error

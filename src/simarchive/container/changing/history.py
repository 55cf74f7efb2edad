"""What became of an object since it was stored first: what was changed, by whom and when; and people's notes.

An attribute of the object's group holds a digest and lines of JSON, one for each event, the oldest first. An
object that was stored and never changed has none. Lines are kept as they are, so that a program that does not
know what one of a later version says loses nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from simarchive.container import layout, nodes
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError
from simarchive.ground import json_text

STORED = "store"
FILE_ADDED = "add-file"
FILE_REPLACED = "replace-file"
FILE_RENAMED = "rename-file"
FILE_REMOVED = "remove-file"
FILE_APPENDED = "append"
NOTE = "note"
TAGS_ADDED = "add-tags"
TAGS_REMOVED = "remove-tags"

# What happens over and over is one event, with how often.
_COUNTED = frozenset({STORED, FILE_APPENDED})


@dataclass(frozen=True, slots=True)
class Event:
    """One change of an object, or one note; what does not apply is empty.

    Attributes
    ----------
    at
        When, ISO 8601, UTC; of several equal ones the last.
    action
        What was done: one of the names in this module, or that of a later version.
    by
        Who did it; empty if that is not known.
    file, new_name
        The file that was changed, and the name that it has now.
    size, digest
        Of the file as it is since then: bytes, and BLAKE3.
    was
        BLAKE3 of the file before. Of an object that was stored again, when the one before was stored.
    text
        The note.
    tags
        Those that were added or removed.
    times, since
        How many equal ones this stands for, and when the first was.
    """

    at: str
    action: str
    by: str = ""
    file: str = ""
    new_name: str = ""
    size: int | None = None
    digest: str = ""
    was: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()
    times: int = 1
    since: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what applies as plain values."""
        known = {name: value for name, value in asdict(self).items() if value not in ("", None, ())}
        if self.times == 1:
            del known["times"]
        if self.tags:
            known["tags"] = list(self.tags)
        return known

    def repeats(self, other: Event) -> bool:
        """Return whether this is what `other` was, once more."""
        return self.action in _COUNTED and (self.action, self.by, self.file) == (
            other.action,
            other.by,
            other.file,
        )


def now() -> str:
    """Return the time as it stands in an event."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def begun(lines: str, stored_at: str) -> str:
    """Return the lines of a history, or those of an object that was stored and not changed since."""
    return lines or _line(Event(stored_at, STORED))


def with_event(lines: str, event: Event) -> str:
    """Return the lines of a history with one more event; what only repeats the last one is counted there."""
    before, newline, last = lines.rpartition("\n")
    previous = _parsed(last) if last else None
    if previous is not None and event.repeats(previous):
        since = previous.since or previous.at
        again = replace(event, times=previous.times + event.times, since=since, was=previous.was or event.was)
        return before + newline + _line(again)
    return lines + ("\n" if lines else "") + _line(event)


def united(mine: str, others: str, *, only_notes: bool = False) -> str:
    """Return the lines of two histories as one, in the order of time, each once.

    Parameters
    ----------
    only_notes
        Take only the notes of the others.
    """
    taken = [line for line in others.split("\n") if line and (not only_notes or _is_note(line))]
    lines = dict.fromkeys([*filter(None, mine.split("\n")), *taken])
    return "\n".join(sorted(lines, key=_time_of))


def events_of(lines: str) -> list[Event]:
    """Return the events of a history.

    Raises
    ------
    CorruptError
        If one of them is none.
    """
    return list(_events(filter(None, lines.split("\n"))))


def read_lines(node: nodes.Node, stored_at: str) -> str:
    """Return the lines of an object's history: an empty text if it has none.

    Parameters
    ----------
    stored_at
        When its present content was stored.

    Raises
    ------
    CorruptError
        If it cannot be read, or is not that of this content.
    """
    try:
        kept = nodes.find_text(node, layout.OBJECT_HISTORY)
    except UNREADABLE as error:
        raise CorruptError(f"its history cannot be read: {error}") from error
    if kept is None:
        return ""
    digest, _, lines = kept.partition(" ")
    if digest != _digest(stored_at, lines):
        raise CorruptError("its history does not match its digest")
    return lines


def write_lines(node: nodes.Node, stored_at: str, lines: str) -> None:
    """Write the history of an object that has none in the file."""
    nodes.create_text(node, layout.OBJECT_HISTORY, f"{_digest(stored_at, lines)} {lines}")


def _digest(stored_at: str, lines: str) -> str:
    digest: str = blake3(f"{stored_at}\0{lines}".encode()).hexdigest()
    return digest


def _line(event: Event) -> str:
    return json.dumps(event.as_dict(), ensure_ascii=False, separators=(",", ":"))


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        event = _parsed(line)
        if event is None:
            raise CorruptError(f"its history has a line that is no event: {line[:80]!r}")
        yield event


_FIELDS = {field.name for field in fields(Event)}
_NUMBERS = frozenset({"size", "times"})


def _parsed(line: str) -> Event | None:
    """Return the event of a line, without what a later version says of it; ``None`` if it is none."""
    try:
        found = json_text.parse(line)
    except json_text.NOT_PARSED:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in ("at", "action")):
        return None
    known = {name: value for name, value in found.items() if name in _FIELDS}
    tags = known.pop("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return None
    if not all(isinstance(value, int if name in _NUMBERS else str) for name, value in known.items()):
        return None
    return Event(**known, tags=tuple(tags))


def _is_note(line: str) -> bool:
    event = _parsed(line)
    return event is not None and event.action == NOTE


def _time_of(line: str) -> str:
    event = _parsed(line)
    return "" if event is None else event.since or event.at

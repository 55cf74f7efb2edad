"""What became of an object, in words."""

from __future__ import annotations

from collections.abc import Callable

from simarchive.container.changing import history
from simarchive.container.changing.history import Event
from simarchive.ground.texts import date_text, size_text

_WORDS: dict[str, Callable[[Event], str]] = {
    history.STORED: lambda event: "stored again, in its place" if event.was else "stored",
    history.FILE_ADDED: lambda event: f"added {event.file}{_size(event)}",
    history.FILE_REPLACED: lambda event: f"replaced {event.file}{_size(event)}",
    history.FILE_RENAMED: lambda event: f"renamed {event.file} to {event.new_name}",
    history.FILE_REMOVED: lambda event: f"removed {event.file}",
    history.FILE_APPENDED: lambda event: f"appended to {event.file}{_size(event)}",
    history.NOTE: lambda event: f"note: {event.text}",
    history.TAGS_ADDED: lambda event: f"tagged {', '.join(event.tags)}",
    history.TAGS_REMOVED: lambda event: f"untagged {', '.join(event.tags)}",
}


def words_of(event: Event) -> str:
    """Return what was done, such as ``added rdf.csv, 1.2 KB now``; the name of it if it is not known here."""
    known = _WORDS.get(event.action)
    words = event.action if known is None else known(event)
    if event.times > 1:
        words += f" ({event.times} times since {date_text(event.since)})"
    return words


def _size(event: Event) -> str:
    return "" if event.size is None else f", {size_text(event.size)} now"

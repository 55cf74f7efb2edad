"""What a backend, a match and the result of a query show of themselves, in a notebook and on a terminal.

A table has a bounded number of rows, and no more objects are looked at than it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from simarchive.errors import StorageError
from simarchive.ground.texts import count_text, html_table, html_text, one_line, text_table
from simarchive.storage.display import wording

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData

MOST_ROWS = 20
"""So many objects has a table; those beyond are counted."""

_HEADINGS = ("key", "class", "substance", "T", "p", "phase")
_COLUMNS = ("substance", "temperature", "pressure", "property_phase")
_NUMBERS = ("T", "p")
_KEY_LENGTH = 8


class Match(NamedTuple):
    """One match of a query: three values, in this order."""

    key: str
    object: BaseStoredData
    path: Any  #: of its ancillary data, or ``None``; nothing is extracted before it is used

    def __str__(self) -> str:
        return f"{self.key}\n{self.object}"

    def _repr_html_(self) -> str:
        table = self.object._repr_html_()
        return f"<p><code>{html_text(self.key)}</code></p>\n{table}"


class FoundData(dict[tuple[Any, ...], list[Match]]):
    """The matches of a query, by the values that matched: a dict that shows itself as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no object matches"
        lines = text_table(self._headings(), self._rows(), right=_NUMBERS)
        more = self._n_matches() - MOST_ROWS
        return "\n".join([self._title(), *lines, *([f"and {more:,} more"] if more > 0 else [])])

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no object matches</p>"
        total = self._n_matches()
        return html_table(self._headings(), self._rows(), caption=self._title(), right=_NUMBERS, total=total)

    def _n_matches(self) -> int:
        return sum(map(len, self.values()))

    def _title(self) -> str:
        return f"{count_text(self._n_matches(), 'object')} in {count_text(len(self), 'group')}"

    def _headings(self) -> tuple[str, ...]:
        return ("matched", *_HEADINGS) if any(self) else _HEADINGS

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for matched, matches in self.items():
            values = ", ".join(map(wording.matched_text, matched))
            for key, stored, *_ in matches:
                if len(rows) == MOST_ROWS:
                    return rows
                cells = _cells(key, stored)
                rows.append((values, *cells) if any(self) else cells)
        return rows


class Displayed:
    """What every backend shows of itself: how much it holds, and its first objects."""

    def __str__(self) -> str:
        try:
            total, rows = self._shown()
        except StorageError as error:
            return f"{self!r}: {one_line(str(error))}"
        lines = text_table(_HEADINGS, rows, right=_NUMBERS) if rows else []
        more = [f"and {total - len(rows):,} more"] if total > len(rows) else []
        return "\n".join([f"{self!r}: {count_text(total, 'object')}", *lines, *more])

    def _repr_html_(self) -> str:
        try:
            total, rows = self._shown()
        except StorageError as error:
            return f"<p><code>{html_text(repr(self))}</code>: {html_text(error)}</p>"
        caption = f"{self!r}: {count_text(total, 'object')}"
        if not rows:
            return f"<p>{html_text(caption)}</p>"
        return html_table(_HEADINGS, rows, caption=caption, right=_NUMBERS, total=total)

    def _shown(self) -> tuple[int, list[tuple[str, ...]]]:
        """Return the number of objects, and the rows of the first."""
        backend: Any = self
        keys = backend.keys()
        return len(keys), [_row_of(backend, key) for key in keys[:MOST_ROWS]]


def _row_of(backend: Any, key: str) -> tuple[str, ...]:
    try:
        return _cells(key, backend.load(key))
    except StorageError:
        # Of a class that is not known here, or damaged: it is there all the same.
        try:
            name = wording.short_class_name(backend.class_name_of(key))
        except (StorageError, AttributeError):
            name = "cannot be read"
        return (key[:_KEY_LENGTH], name, *("" for _ in _COLUMNS))


def _cells(key: str, stored: BaseStoredData) -> tuple[str, ...]:
    name = wording.short_class_name(type(stored).data_class_name)
    return (key[:_KEY_LENGTH], name, *_values(stored.index_values()))


def _values(indexed: Mapping[str, Any]) -> Iterator[str]:
    for column in _COLUMNS:
        yield one_line(wording.index_value_text(column, indexed.get(column)))

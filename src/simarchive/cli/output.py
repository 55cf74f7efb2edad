"""What commands print: one JSON document for programs, or text and tables for a terminal of 80 columns."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simarchive.cli.streams import behind, json_text, one_line, printable
from simarchive.ground.texts import count_text as count_text
from simarchive.ground.texts import date_text as date_text
from simarchive.ground.texts import size_text as size_text

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2
_NARROW = 18


SCHEMA = 1
"""The number in all JSON that is printed: it counts up when a name is given another meaning, or goes."""


@dataclass(slots=True)
class Talk:
    """How much a command says, as ``-q``, ``-v`` and ``--no-progress`` ask."""

    is_quiet: bool = False  #: only answers, errors and what was left out
    is_verbose: bool = False  #: also what usually is counted only
    has_progress: bool = True


TALK = Talk()
"""That of this process."""


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document, with the number of its schema.

    It is strict JSON: numbers that JSON does not have are the texts ``NaN``, ``Infinity`` and
    ``-Infinity``.
    """
    print(json_text(as_json({"schema": SCHEMA, **document}), indent=2))


def print_ndjson(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one line of JSON for each row, each with the number of the schema."""
    for row in rows:
        print(json_text(as_json({"schema": SCHEMA, **row})))


def print_done(text: str) -> None:
    """Print what a command did, unless it shall be quiet."""
    if not TALK.is_quiet:
        print_line(text)


def as_json(value: Any) -> Any:
    """Return a value as JSON has it; numpy's numbers and arrays become plain ones."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _non_finite(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    return str(value)


def _non_finite(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def print_line(text: str = "", *, style: str | None = None) -> None:
    """Print a line of text, in a style if standard output is a terminal."""
    console = None if style is None else _terminal()
    if console is None:
        print(printable(text))
        return
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def print_wrapped(text: str, *, indent: int = 0) -> None:
    """Print a text as a paragraph: on a terminal it is wrapped at whole words."""
    console = _terminal()
    margin = " " * indent
    if console is None:
        print(margin + one_line(text))
        return
    print(
        textwrap.fill(
            one_line(text),
            max(console.width, 20),
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def print_notice(text: str) -> None:
    """Print a line that is not part of the answer, on standard error."""
    sys.stdout.flush()  # Otherwise the answer would follow the notice where both go to one place.
    print(printable(text), file=sys.stderr)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table: a line of headings, and a line for each row.

    Parameters
    ----------
    right
        The headings of columns whose values are aligned at the right.
    """
    headings = [one_line(heading) for heading in headings]
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = _widths(headings, cells)
    console = _terminal()
    if console is not None and sum(widths) + _GAP * (len(widths) - 1) > console.width:
        _print_folded(console, headings, cells, right)
        return
    # Not by rich: it takes a millisecond for a row, and lists can be long.
    aligned = [heading in right for heading in headings]
    print_line(_aligned(headings, widths, aligned), style="bold")
    for row in cells:
        print(_aligned(row, widths, aligned))


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(headings, *rows, strict=True)]


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for cell, width, is_right in zip(row, widths, right, strict=True):
        room = " " * (width - _width(cell))
        parts.append(room + cell if is_right else cell + room)
    return (" " * _GAP).join(parts).rstrip()


def _print_folded(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]
) -> None:
    """Print a table that is too wide for the terminal: long cells go on in the next line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    widths = _widths(headings, rows)
    # Keys and numbers stay whole: what is wide goes on in the next line, unless the rest takes all room.
    narrow = [width <= _NARROW for width in widths]
    whole = sum(width + _GAP for width, is_narrow in zip(widths, narrow, strict=True) if is_narrow)
    for heading, is_narrow in zip(headings, narrow, strict=True):
        table.add_column(
            Text(heading),
            justify="right" if heading in right else "left",
            overflow="fold",
            no_wrap=is_narrow and whole <= console.width - _NARROW,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def fitting_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int | None = None
) -> int:
    """Return how many columns of a table fit side by side; all where no terminal shows them.

    Parameters
    ----------
    widest
        A column that is wider counts as this: its cells go on in the next line.
    """
    console = _terminal()
    if console is None:
        return len(headings)
    used = -_GAP
    for number, width in enumerate(_widths(headings, rows)):
        used += (width if widest is None else min(width, widest)) + _GAP
        if used > console.width:
            return max(number, 1)
    return len(headings)


def print_facts(facts: Iterable[tuple[str, str]], *, indent: int = 0) -> None:
    """Print names and values side by side, the values in one column."""
    pairs = list(facts)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        first, *more = value.split("\n")
        print_line(f"{'':{indent}}{name:<{width}}  {first}".rstrip())
        for line in more:
            print_line(f"{'':{indent + width}}  {line}")


def _terminal() -> Console | None:
    """Return the terminal that standard output is; ``None``, and nothing is loaded, if it is none."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    console = Console(file=behind(sys.stdout), highlight=False)
    return console if console.is_terminal else None

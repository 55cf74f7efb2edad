"""Texts for people that command no terminal and no browser: numbers with nouns, sizes, dates, tables.

What comes from a file is only ever text. For a terminal it is `printable`; for a page it goes through
`html_text`, and no text reaches a page in another way.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")

MOST_ROWS = 50
"""So many rows has a table in a notebook; those that are left out are counted."""

# Notebooks have dark and light themes: colours are those of the theme, and numbers stand under each other.
_TABLE = '<table style="font-variant-numeric: tabular-nums">'


def printable(text: str) -> str:
    """Return a text with everything escaped that a terminal may obey or show as nothing.

    That is what Unicode calls control, format and separator characters (C0, DEL, C1, marks of text
    direction, line and paragraph separators), and surrogates. Line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else escaped(letter) for letter in text)


def one_line(text: str) -> str:
    """Return a printable text whose line ends and tabs are escaped as well."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else escaped(letter) for letter in text)


def escaped(letter: str) -> str:
    r"""Return a character as Python writes it in a string, such as ``\x1b``."""
    return letter.encode("unicode_escape").decode()


def size_text(size_bytes: int) -> str:
    """Return a size for people, in powers of 1000: ``2.98 MB``."""
    size: float = size_bytes
    for unit in _SIZES:
        if size < 999.5 or unit == _SIZES[-1]:
            break
        size /= 1000
    return f"{size_bytes} B" if unit == "B" else f"{size:.3g} {unit}"


def count_text(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 object``, ``1,200 objects``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def share_text(part: float, whole: float) -> str:
    """Return how much a part is of a whole, ``74 %``; empty if there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 0.5 or not part else "under 1 %"


def date_text(stored: str) -> str:
    """Return a time for people, ``2026-11-22 18:12:22 UTC``."""
    if not stored.endswith("+00:00"):
        return stored
    return stored.replace("T", " ").removesuffix("+00:00").partition(".")[0] + " UTC"


def html_text(text: object) -> str:
    """Return a text for a page, or for an attribute in quotes: no browser takes any of it for markup."""
    return html.escape(one_line(str(text)), quote=True)


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    right: Sequence[str] = (),
    total: int | None = None,
) -> str:
    """Return a table for a notebook; every cell is a text.

    Parameters
    ----------
    right
        The headings of columns whose values are aligned at the right.
    total
        How many rows there are, if `rows` are only the first of them.
    """
    shown = list(rows)
    aligned = ["right" if heading in right else "left" for heading in headings]
    lines = [_TABLE]
    if caption:
        lines.append(f'<caption style="text-align: left">{html_text(caption)}</caption>')
    if any(headings):
        cells = "".join(
            f'<th scope="col" style="text-align: {side}">{html_text(heading)}</th>'
            for heading, side in zip(headings, aligned, strict=True)
        )
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    for row in shown:
        cells = "".join(
            f'<td style="text-align: {side}">{html_text(cell)}</td>'
            for cell, side in zip(row, aligned, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    more = 0 if total is None else total - len(shown)
    if more > 0:
        lines.append(f"<p>and {more:,} more</p>")
    return "\n".join(lines)


def text_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()
) -> list[str]:
    """Return the lines of a table for a terminal; every cell is one line of printable text."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = []
    for line in ([*headings], *cells):
        parts = [
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines

"""The section with the table of all objects, and the data from which a browser sorts and opens them."""

from __future__ import annotations

from typing import Any

from simarchive.ground.texts import count_text, html_text, size_text
from simarchive.interop.report.drawings import text_of
from simarchive.interop.report.gathering import Facts, ObjectRow, json_line

ROWS_AT_ONCE = 100
"""So many rows stand in the page at a time; a browser turns over to the next."""

HEADINGS = ("Key", "Class", "Substance", "T", "p", "Phase", "Files", "Size")
_NUMBERS = ("T", "p", "Files", "Size")
_KEY_LENGTH = 8


def section(facts: Facts) -> str:
    """Return the controls and the first rows of the table: all that there is without JavaScript."""
    classes = sorted({row.data_class for row in facts.objects})
    choices = "".join(f"<option>{html_text(name)}</option>" for name in classes)
    head = "".join(
        f'<th scope="col"{_side(heading)} aria-sort="none">'
        f'<button type="button" data-column="{number}">{html_text(heading)}</button></th>'
        for number, heading in enumerate(HEADINGS)
    )
    body = "".join(map(_row, facts.objects[:ROWS_AT_ONCE]))
    shown = min(ROWS_AT_ONCE, len(facts.objects))
    left_out = []
    if facts.n_not_listed:
        left_out.append(f"{count_text(facts.n_not_listed, 'object')} that were stored last")
    if facts.n_without_plots:
        left_out.append(f"the curves of {count_text(facts.n_without_plots, 'object')}")
    if facts.n_without_details:
        left_out.append(f"the documents of {count_text(facts.n_without_details, 'object')}")
    if facts.n_without_structures:
        left_out.append(f"the structures of {count_text(facts.n_without_structures, 'object')}")
    note = f"<p>Left out, to keep this page small: {' and '.join(left_out)}.</p>" if left_out else ""
    return f"""
<noscript><p>Without JavaScript this page shows the first {shown} objects, and neither sorts nor opens
them.</p></noscript>
{note}
<form class="controls" id="controls" role="search">
<div><label for="filter">Filter</label>
<input id="filter" type="search" placeholder="words that must all occur, such as: liquid 298.15"
autocomplete="off"></div>
<div><label for="class">Class</label>
<select id="class"><option value="">all</option>{choices}</select></div>
</form>
<p id="status" role="status">{html_text(_status(shown, len(facts.objects)))}</p>
<div class="scroll" role="region" tabindex="0" aria-label="Table of objects">
<table id="objects-table"><caption class="hidden">Objects: a button in each heading sorts by it</caption>
<thead><tr>{head}</tr></thead><tbody id="rows">{body}</tbody></table></div>
<nav class="pages" id="pages" aria-label="Pages of the table" hidden>
<button type="button" id="previous">Previous</button><span id="page"></span>
<button type="button" id="next">Next</button></nav>"""


def _status(shown: int, total: int) -> str:
    if shown == total:
        return f"{count_text(total, 'object')}"
    return f"{count_text(total, 'object')}; the first {shown:,} are shown"


def _side(heading: str) -> str:
    return ' class="number"' if heading in _NUMBERS else ""


def _row(row: ObjectRow) -> str:
    cells = "".join(
        f"<td{_side(heading)}>{html_text(text)}</td>"
        for heading, text in zip(HEADINGS[1:], _texts(row), strict=True)
    )
    key = html_text(row.key)
    link = f'<a href="#object-{key}">{key[:_KEY_LENGTH]}</a>'
    return f'<tr><th scope="row">{link}</th>{cells}</tr>'


def _texts(row: ObjectRow) -> tuple[str, ...]:
    return (
        row.data_class,
        row.substance,
        row.temperature,
        row.pressure,
        row.phase,
        f"{row.n_files:,}" if row.n_files else "",
        size_text(row.n_bytes) if row.n_files else "",
    )


def data(facts: Facts) -> str:
    """Return the JSON blocks of the page: the rows, and a line of details for each object."""
    rows: list[list[Any]] = [
        [row.key, *_texts(row), row.kelvin, row.pascal, row.n_files, row.n_bytes] for row in facts.objects
    ]
    table = json_line({"file": facts.name, "at_once": ROWS_AT_ONCE, "rows": rows})
    details = "\n".join(facts.details)
    names, lines = text_of(facts.drawings)
    return (
        f'<script type="application/json" id="data-rows">{table}</script>\n'
        f'<script type="application/json" id="data-details">{details}</script>\n'
        f'<script type="text/plain" id="data-names">{names}</script>\n'
        f'<script type="text/plain" id="data-structures">{lines}</script>'
    )

"""Tables of the page: cells are markup already, captions and headings are texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simarchive.ground.texts import html_text


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, right: Sequence[str] = ()
) -> str:
    """Return a table that can be scrolled sideways where it is too wide.

    Parameters
    ----------
    rows
        The first cell of each is its heading. All are markup: what they show has been through `html_text`.
    """
    sides = [' class="number"' if heading in right else "" for heading in headings]
    head = "".join(
        f'<th scope="col"{side}>{html_text(heading)}</th>' if heading else "<td></td>"
        for heading, side in zip(headings, sides, strict=True)
    )
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{side}>{cell}</td>" for cell, side in zip(others, sides[1:], strict=True))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html_text(caption)}"><table>'
        f"<caption>{html_text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )

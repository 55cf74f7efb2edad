"""A small plot of one series, in letters, for a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from simarchive.storage.display.series import Summary, number_text

WIDTH, HEIGHT = 48, 5
"""Letters across and lines down; each letter of braille is two dots across and four down."""

N_POINTS = 2 * WIDTH
_BRAILLE = 0x2800
# The bits of the dots of a letter, by column and line (Unicode, block "Braille Patterns").
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def lines_of(summary: Summary, *, in_braille: bool | None = None) -> list[str]:
    """Return the lines of a plot of the trace, with the values at its top and bottom.

    Parameters
    ----------
    in_braille
        Whether to draw with dots of braille; by default where standard output can show them.
    """
    if in_braille is None:
        in_braille = _can_show(chr(_BRAILLE + 0xFF))
    low, high = min(summary.trace), max(summary.trace)
    drawn = _braille(summary.trace, low, high) if in_braille else _stars(summary.trace, low, high)
    labels = [number_text(high, (high - low) / 10), *[""] * (HEIGHT - 2), number_text(low, (high - low) / 10)]
    width = max(map(len, labels))
    return [f"{label:>{width}} {line}".rstrip() for label, line in zip(labels, drawn, strict=True)]


def _can_show(letter: str) -> bool:
    try:
        letter.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _heights(values: Sequence[float], low: float, high: float, n_levels: int) -> list[int]:
    """Return the level of each value, 0 at the top."""
    width = high - low
    if not width > 0 or not math.isfinite(width):
        return [n_levels // 2] * len(values)
    return [min(int((high - value) / width * n_levels), n_levels - 1) for value in values]


def _stretched(values: Sequence[float], n_columns: int) -> list[float]:
    """Return one value for each column, between those of the series."""
    if len(values) == 1:
        return [values[0]] * n_columns
    stretched = []
    for column in range(n_columns):
        place = column * (len(values) - 1) / (n_columns - 1)
        before = min(int(place), len(values) - 2)
        share = place - before
        stretched.append(values[before] * (1 - share) + values[before + 1] * share)
    return stretched


def _braille(values: Sequence[float], low: float, high: float) -> list[str]:
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    heights = _heights(_stretched(values, 2 * WIDTH), low, high, 4 * HEIGHT)
    for column, level in enumerate(heights):
        # From half of the way to the value before to half of that to the next, so that the curve has no gaps.
        near = heights[max(column - 1, 0)], heights[min(column + 1, len(heights) - 1)]
        levels = [level, *((level + other) // 2 for other in near)]
        for dot in range(min(levels), max(levels) + 1):
            cells[dot // 4][column // 2] |= _DOTS[column % 2][dot % 4]
    return ["".join(chr(_BRAILLE + cell) if cell else " " for cell in line) for line in cells]


def _stars(values: Sequence[float], low: float, high: float) -> list[str]:
    heights = _heights(_stretched(values, WIDTH), low, high, HEIGHT)
    return ["".join("*" if height == line else " " for height in heights) for line in range(HEIGHT)]

"""Marks on paper: axes and points as SVG, in the colours of the page; all text in it is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simarchive.ground.texts import html_text

N_COLOURS = 8
"""So many groups have a colour and a shape of their own; those beyond share the last."""

_MARGIN_LEFT, _MARGIN_RIGHT, _MARGIN_TOP, _MARGIN_BOTTOM = 62, 14, 14, 44
_SHAPES = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "M-4 -4h8v8h-8z",
    "M0 -5.2L5 4H-5z",
    "M0 -5.6L5.6 0L0 5.6L-5.6 0z",
    "M0 5.2L5 -4H-5z",
    "M-1.6 -5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
    "M-5 -2.5h10v5h-10z",
    "M-2.5 -5h5v10h-5z",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One mark: where it is, its group, and what it says."""

    x: float
    y: float
    group: int
    label: str
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: the range of its values, from `low` to `high`, which differ."""

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], *, may_be_log: bool = False) -> Axis:
        """Return an axis with room around some finite values."""
        low, high = min(values), max(values)
        if may_be_log and low > 0 and high / low > 50:
            return cls(low / 1.6, high * 1.6, is_log=True)
        room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
        axis = cls(low - room, high + room)
        return axis if math.isfinite(axis.high - axis.low) and axis.low < axis.high else cls(low, low + 1.0)

    def share(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round numbers on the axis."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)] or [self.low]
        step = _round_step((self.high - self.low) / 4)
        if not math.isfinite(step) or step <= 0:
            return []
        first = math.ceil(self.low / step)
        return [(first + number) * step for number in range(8) if (first + number) * step <= self.high]


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is not below `step`."""
    if step <= 0 or not math.isfinite(step):
        return math.nan
    power = 10.0 ** math.floor(math.log10(step))
    return next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= step * 0.999), power * 10)


def scatter(
    points: Sequence[Point],
    *,
    title: str,
    x_title: str,
    y_title: str,
    width: int,
    height: int,
    y_may_be_log: bool = False,
) -> str:
    """Return a plot of points with error bars; there is at least one."""
    x_axis = Axis.around([point.x for point in points])
    ends = [point.y + sign * point.error for point in points for sign in (-1, 1)]
    y_axis = Axis.around([end for end in ends if math.isfinite(end)], may_be_log=y_may_be_log)
    right, bottom = width - _MARGIN_RIGHT, height - _MARGIN_BOTTOM

    def x_of(value: float) -> float:
        return _MARGIN_LEFT + x_axis.share(value) * (right - _MARGIN_LEFT)

    def y_of(value: float) -> float:
        return bottom - y_axis.share(value) * (bottom - _MARGIN_TOP)

    parts = [f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{html_text(title)}">']
    for tick in x_axis.ticks():
        x = x_of(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {_MARGIN_TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{_tick_text(tick)}</text>')
    for tick in y_axis.ticks():
        y = y_of(tick)
        parts.append(f'<path class="grid" d="M{_MARGIN_LEFT} {y:.1f}H{right}"/>')
        parts.append(
            f'<text x="{_MARGIN_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_tick_text(tick)}</text>'
        )
    middle = (_MARGIN_LEFT + right) / 2
    parts.append(
        f'<text class="axis" x="{middle:.0f}" y="{height - 8}" text-anchor="middle">'
        f"{html_text(x_title)}</text>"
    )
    half = (_MARGIN_TOP + bottom) / 2
    parts.append(
        f'<text class="axis" transform="translate(13 {half:.0f}) rotate(-90)" text-anchor="middle">'
        f"{html_text(y_title)}</text>"
    )
    for point in points:
        x, y = x_of(point.x), y_of(point.y)
        group = min(point.group, N_COLOURS - 1)
        parts.append(f'<g class="c{group}"><title>{html_text(point.label)}</title>')
        if point.error > 0 and math.isfinite(point.error):
            low, high = y_of(point.y - point.error), y_of(point.y + point.error)
            if not y_axis.is_log or point.y > point.error:
                parts.append(f'<path class="error" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        parts.append(f'<path class="mark" transform="translate({x:.1f} {y:.1f})" d="{_SHAPES[group]}"/></g>')
    parts.append("</svg>")
    return "".join(parts)


def legend(names: Iterable[str]) -> str:
    """Return the groups with their colours and shapes."""
    lines = []
    for number, name in enumerate(names):
        group = min(number, N_COLOURS - 1)
        lines.append(
            f'<li><svg class="key" viewBox="-7 -7 14 14" aria-hidden="true"><path class="mark c{group}"'
            f' d="{_SHAPES[group]}"/></svg>{html_text(name)}</li>'
        )
    return f'<ul class="legend">{"".join(lines)}</ul>'


def bar(share: float) -> str:
    """Return a bar that is so long as a share of the longest."""
    length = max(0.0, min(share, 1.0)) * 100
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rail" width="100" height="8"/>'
        f'<rect class="fill" width="{length:.1f}" height="8"/></svg>'
    )


def _tick_text(value: float) -> str:
    return html_text(f"{value:.5g}".replace("-", "−").replace("e+0", "e").replace("e+", "e"))

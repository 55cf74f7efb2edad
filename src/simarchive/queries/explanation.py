"""Queries in words."""

from __future__ import annotations

from collections.abc import Iterable

from simarchive.ground.conditions import Condition, Equals, Negated, OneOf, Satisfies, Within


def condition_in_words(condition: Condition) -> str:
    """Return a condition as a sentence without a subject but its column."""
    if isinstance(condition, Negated):
        return f"not: {condition_in_words(condition.condition)}"
    if isinstance(condition, Equals):
        return f"{condition.column} is {condition.value!r}"
    if isinstance(condition, OneOf):
        return f"{condition.column} is one of {', '.join(sorted(map(repr, condition.values)))}"
    if isinstance(condition, Satisfies):
        return f"{condition.column} {condition.reading}"
    return f"{condition.column} {_range_in_words(condition)}"


def _range_in_words(condition: Within) -> str:
    if condition.low is None and condition.high is None:
        return "is set"
    if condition.low is None:
        return f"is at most {condition.high:.12g}"
    if condition.high is None:
        return f"is at least {condition.low:.12g}"
    return f"is from {condition.low:.12g} to {condition.high:.12g}"


def explanation(
    title: str,
    parts: Iterable[tuple[tuple[Condition, ...], bool]],
    *,
    order_by: str | None,
    limit: int | None,
) -> str:
    """Return what a query asks, line by line.

    Parameters
    ----------
    title
        The first line.
    parts
        The conditions of each criterion, and whether they alone decide it.
    order_by, limit
        As in the query.
    """
    lines = [title]
    inexact = False
    for conditions, exact in parts:
        inexact = inexact or not exact
        note = "" if exact else "  (narrowed by the index, decided on the object)"
        lines += [f"  index: {condition_in_words(condition)}{note}" for condition in conditions]
        if not conditions:
            lines.append("  no index for one criterion: decided on the object")
    if len(lines) == 1:
        lines.append("  no criteria: every object matches")
    if order_by is not None:
        direction = "descending" if order_by.startswith("-") else "ascending"
        lines.append(f"  ordered by {order_by.removeprefix('-')}, {direction}")
    if limit is not None:
        lines.append(f"  at most {limit} objects")
    lines.append(f"  count, keys and table read {'the matching documents' if inexact else 'no documents'}")
    return "\n".join(lines)

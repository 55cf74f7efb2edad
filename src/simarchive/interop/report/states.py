"""The sections on what was simulated: substances, a map of the states, and the observables over them."""

from __future__ import annotations

from collections import Counter, defaultdict

from simarchive.ground.texts import count_text, html_text
from simarchive.interop.report import marks
from simarchive.interop.report.gathering import Facts, Mean, ObjectRow
from simarchive.interop.report.tables import table
from simarchive.storage.display import wording
from simarchive.storage.display.series import number_text

_MOST_SUBSTANCES = 40
_MOST_STATES = 300
_MOST_POINTS = 300
_MOST_OBSERVABLES = 9
_OTHERS = "other substances"


def composition(facts: Facts) -> str:
    """Return how many objects there are of each substance, and at which states."""
    substances = Counter(row.substance for row in facts.objects if row.substance)
    if not substances:
        return "<p>No object here has a substance.</p>"
    most = max(substances.values())
    shown = substances.most_common(_MOST_SUBSTANCES)
    rows = [
        (html_text(name), f"{number:,}", marks.bar(number / most), _range(facts, name))
        for name, number in shown
    ]
    more = len(substances) - len(shown)
    note = f"<p>and {count_text(more, 'more substance')}</p>" if more else ""
    listed = table(
        ("Substance", "Objects", "", "Temperatures"), rows, caption="Objects by substance", right=("Objects",)
    )
    return f'<div class="two"><div>{listed}{note}</div>{_state_map(facts)}</div>'


def _range(facts: Facts, substance: str) -> str:
    kelvins = {row.kelvin for row in facts.objects if row.substance == substance and row.kelvin is not None}
    if not kelvins:
        return ""
    low, high = wording.temperature_text(min(kelvins)), wording.temperature_text(max(kelvins))
    return html_text(low if len(kelvins) == 1 else f"{low} to {high}")


def groups_of(facts: Facts) -> dict[str, int]:
    """Return the number of the colour of each substance: the most frequent come first."""
    substances = Counter(row.substance for row in facts.objects if row.substance)
    return {name: number for number, (name, _) in enumerate(substances.most_common())}


def legend(facts: Facts) -> str:
    """Return what the colours mean."""
    names = list(groups_of(facts))
    if len(names) > marks.N_COLOURS:
        names = [*names[: marks.N_COLOURS - 1], _OTHERS]
    return marks.legend(names)


def _state_map(facts: Facts) -> str:
    states: dict[tuple[float, float], Counter[str]] = defaultdict(Counter)
    without: list[ObjectRow] = []
    for row in facts.objects:
        if row.kelvin is not None and row.pascal is not None and row.substance:
            states[row.kelvin, row.pascal][row.substance] += 1
        elif row.kelvin is not None and row.substance:
            without.append(row)
    groups = groups_of(facts)
    places = [
        (kelvin, pascal, substance, number)
        for (kelvin, pascal), found in sorted(states.items())
        for substance, number in found.items()
    ]
    notes = []
    if without:
        temperatures = sorted({row.kelvin for row in without if row.kelvin is not None})
        texts = ", ".join(map(wording.temperature_text, temperatures[:5])) + ", ..." * (len(temperatures) > 5)
        notes.append(f"{count_text(len(without), 'object')} without a pressure: at {texts}")
    if len(places) > _MOST_STATES:
        notes.append(f"{_MOST_STATES:,} of {len(places):,} states are shown")
        places = places[:: -(-len(places) // _MOST_STATES)]
    if not places:
        return f"<p>{html_text('; '.join(notes) or 'No object here has a temperature and a pressure.')}</p>"
    points = [
        marks.Point(
            kelvin,
            pascal / 101325.0,
            groups[substance],
            f"{substance} at {wording.temperature_text(kelvin)}, {wording.pressure_text(pascal)}:"
            f" {count_text(number, 'object')}",
        )
        for kelvin, pascal, substance, number in _spread(places)
    ]
    plot = marks.scatter(
        points,
        title=f"Map of {count_text(len(states), 'state')}: temperature against pressure, by substance",
        x_title="temperature / K",
        y_title="pressure / atm",
        width=520,
        height=300,
        y_may_be_log=True,
    )
    note = f"<p>{html_text('; '.join(notes))}</p>" if notes else ""
    return f"<figure>{plot}<figcaption>The states, by substance.{note}</figcaption>{legend(facts)}</figure>"


def _spread(places: list[tuple[float, float, str, int]]) -> list[tuple[float, float, str, int]]:
    """Return the places such that those of several substances at one state are beside each other."""
    kelvins = [place[0] for place in places]
    step = (max(kelvins) - min(kelvins) or 10.0) * 0.022
    seen: Counter[tuple[float, float]] = Counter()
    total = Counter((kelvin, pascal) for kelvin, pascal, _, _ in places)
    spread = []
    for kelvin, pascal, substance, number in places:
        place = seen[kelvin, pascal] - (total[kelvin, pascal] - 1) / 2
        seen[kelvin, pascal] += 1
        spread.append((kelvin + place * step, pascal, substance, number))
    return spread


def observables(facts: Facts) -> str:
    """Return a plot of the means of each observable against temperature."""
    if not facts.observables:
        return "<p>No object here has an array of numbers.</p>"
    in_order = sorted(facts.observables.items(), key=lambda pair: -len(pair[1]))
    shown = in_order[:_MOST_OBSERVABLES]
    plots = "".join(_plot(name, unit, means, groups_of(facts)) for (name, unit), means in shown)
    rows = [
        (
            html_text(name),
            html_text(unit),
            f"{len(means):,}",
            html_text(number_text(min(one.mean for one in means))),
            html_text(number_text(max(one.mean for one in means))),
        )
        for (name, unit), means in in_order[:100]
    ]
    listed = table(
        ("Observable", "Unit", "Objects", "Lowest mean", "Highest mean"),
        rows,
        caption="Means over each object",
        right=("Objects", "Lowest mean", "Highest mean"),
    )
    return (
        "<p>Each mark is the mean over one object, with its standard error, for which the values count as"
        " correlated. The running average and the histogram of each are with the object.</p>"
        f'{legend(facts)}<div class="plots">{plots}</div>{listed}'
    )


def _plot(name: str, unit: str, means: list[Mean], groups: dict[str, int]) -> str:
    placed = [one for one in means if one.kelvin is not None]
    by_temperature = len(placed) > len(means) / 2
    chosen = placed if by_temperature else means
    step = -(-len(chosen) // _MOST_POINTS)
    chosen = chosen[::step]
    points = [
        marks.Point(
            one.kelvin if by_temperature and one.kelvin is not None else float(number + 1),
            one.mean,
            groups.get(one.substance, marks.N_COLOURS - 1),
            f"{one.key[:8]} {one.substance}: {number_text(one.mean, one.error)} {unit}",
            one.error,
        )
        for number, one in enumerate(chosen)
    ]
    plot = marks.scatter(
        points,
        title=f"{name}: means of {count_text(len(points), 'object')}",
        x_title="temperature / K" if by_temperature else "object",
        y_title=unit or "no unit",
        width=360,
        height=230,
    )
    note = f" ({len(points):,} of {len(means):,} objects)" if len(points) < len(means) else ""
    return f"<figure>{plot}<figcaption>{html_text(name + note)}</figcaption></figure>"

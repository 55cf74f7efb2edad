"""`simarchive show`: show one object, its document and its files."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import opening, text_plot
from simarchive.cli.arguments import json_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import (
    date_text,
    print_facts,
    print_json,
    print_line,
    print_notice,
    print_table,
    size_text,
)
from simarchive.cli.selection import choose, file_and_what, is_several
from simarchive.cli.streams import one_line
from simarchive.errors import CorruptError, NotFoundError
from simarchive.ground.arrays import is_array
from simarchive.storage.display import documents, series, wording
from simarchive.storage.display.series import Series, Summary

if TYPE_CHECKING:
    from simarchive.container.changing.history import Event
    from simarchive.storage.hdf5.storage import HDF5Storage

_MOST_SERIES = 40


@click.command("show", short_help="Show objects: their documents and their files.")
@file_and_what("shown")
@click.option("--arrays", is_flag=True, help="With --json, give the values of arrays, not only their shapes.")
@click.option(
    "--plot",
    "plotted",
    metavar="NAME",
    multiple=True,
    help='Draw this observable, or those that a pattern such as "*Energy" names; may be repeated.',
)
@click.option("--history", "with_history", is_flag=True, help="Show what was changed, by whom and when.")
@json_option
@isolated_option("container")
def command(
    container: Path,
    what: tuple[str, ...],
    arrays: bool,
    plotted: tuple[str, ...],
    with_history: bool,
    as_json: bool,
) -> None:
    """Show the objects of FILE that WHAT selects: their documents, and files with sizes and digests.

    Each observable has its mean and standard error, for which its values count as correlated. On a terminal
    the first is drawn; --plot draws others. Digests are BLAKE3, as printed by the program b3sum.

    \b
    Examples:
      simarchive show water.h5 8d13dbc1
      simarchive show water.h5 8d13dbc1 --plot Density
      simarchive show water.h5 8d13dbc1 --history
      simarchive show water.h5 class=force_field
    """
    with opening.for_reading(container) as backend:
        keys = choose(backend, what) or []
        if as_json:
            said = _history if with_history else functools.partial(_facts, arrays=arrays)
            facts = [said(backend, key) for key in keys]
            print_json({"objects": facts} if is_several(backend, what) else facts[0])
            return
        for place, key in enumerate(keys):
            if place:
                print_line()
            if with_history:
                _print_history(backend.history(key), key)
            else:
                _print_object(backend, key, plotted)
        if not keys:
            print_line("no object matches")


def _facts(backend: HDF5Storage, key: str, *, arrays: bool) -> dict[str, Any]:
    header = backend.header(key)
    _, _, tree = backend.retrieve_document(key)
    return {
        "key": key,
        "data_class": header.data_class,
        "data_class_version": header.data_class_version,
        "stored_at": header.stored_at,
        "document": _described(tree, arrays=arrays),
        "files": [asdict(member) for member in backend.list_members(key)],
    }


def _history(backend: HDF5Storage, key: str) -> dict[str, Any]:
    return {"key": key, "history": [event.as_dict() for event in backend.history(key)]}


def _print_object(backend: HDF5Storage, key: str, plotted: tuple[str, ...]) -> None:
    header = backend.header(key)
    _, _, tree = backend.retrieve_document(key)
    members = backend.list_members(key)
    print_line(key, style="bold")
    class_text = f"{header.data_class}, version {header.data_class_version}"
    print_facts([("class", class_text), ("stored", date_text(header.stored_at))])
    print_line()
    for line in documents.lines_of(tree):
        print_line(line)
    _print_series(list(itertools.islice(series.series_of(tree), _MOST_SERIES)), plotted)
    if members:
        print_line()
        rows = ((info.name, size_text(info.size), info.codec, info.digest[:16]) for info in members)
        print_table(("FILE", "SIZE", "CODEC", "BLAKE3"), rows, right=("SIZE",))


def _print_history(events: Sequence[Event], key: str) -> None:
    from simarchive.storage.display.events import words_of

    print_line(key, style="bold")
    print_table(("WHEN", "WHO", "WHAT"), ((date_text(e.at), e.by, words_of(e)) for e in events))


def _print_series(found: Sequence[Series], patterns: tuple[str, ...]) -> None:
    """Print mean and error of each series, and draw those that are asked for."""
    for pattern in patterns:
        if not any(_is_named(one, pattern) for one in found):
            names = ", ".join(one.short_name for one in found) or "none"
            raise NotFoundError(f"no observable of the object is named {pattern!r}: it has {names}")
    known = []
    n_values = 0
    for one in found:
        n_values += one.n_values
        # The values of very long ones are read only if they are asked for.
        if n_values <= series.MOST_VALUES or any(_is_named(one, pattern) for pattern in patterns):
            summary = _summary(one)
            if summary is not None:
                known.append((one, summary))
    if not known:
        return
    print_line()
    cells = [
        (
            one.short_name,
            series.mean_text(summary, wording.unit_text(one.unit)),
            f"{summary.inefficiency:.3g}",
        )
        for one, summary in known
    ]
    print_table(("OBSERVABLE", "MEAN", "INEFFICIENCY"), cells, right=("INEFFICIENCY",))
    drawn = [pair for pair in known if any(_is_named(pair[0], pattern) for pattern in patterns)]
    if not patterns and sys.stdout.isatty():
        drawn = known[:1]
    for one, summary in drawn:
        print_line()
        unit = wording.unit_text(one.unit)
        print_line(one_line(f"{one.short_name} / {unit}" if unit else one.short_name), style="bold")
        for line in text_plot.lines_of(summary):
            print_line(line)


def _is_named(one: Series, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in (one.name, one.short_name))


def _summary(one: Series) -> Summary | None:
    """Return what sums up a series; ``None``, and a notice, if it cannot be read."""
    try:
        return series.summary_of(one, n_points=text_plot.N_POINTS, n_bins=1)
    except CorruptError as error:
        print_notice(f"simarchive: {one.short_name} cannot be read: {error}")
        return None


def _described(tree: Any, *, arrays: bool) -> Any:
    """Return a document with each array as its values, or as its shape and type."""
    if is_array(tree):
        if arrays:
            return tree.__array__()
        return {"shape": list(tree.shape), "dtype": str(tree.dtype)}
    if isinstance(tree, dict):
        return {name: _described(value, arrays=arrays) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_described(value, arrays=arrays) for value in tree]
    return tree

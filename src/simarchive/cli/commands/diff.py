"""`simarchive diff`: where two stores differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import CONTAINER, json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_notice
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.selection import Selection, what_argument
from simarchive.cli.streams import one_line
from simarchive.errors import IncompleteError

if TYPE_CHECKING:
    from simarchive.storage.finding.comparison import Comparison

DIFFERENT = 1


@click.command("diff", short_help="Compare two containers or directories.")
@click.argument("first", metavar="A", type=CONTAINER)
@click.argument("second", metavar="B", type=CONTAINER)
@what_argument
@click.option(
    "--rtol", type=click.FloatRange(min=0), default=0.0, metavar="X", help="Relative tolerance of numbers."
)
@click.option(
    "--atol",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="Absolute tolerance of numbers, in the unit that A has.",
)
@json_option
@isolated_option("first", "second")
def command(
    first: Path, second: Path, what: tuple[str, ...], rtol: float, atol: float, as_json: bool
) -> None:
    """Compare A and B object by object: state, substance, frames, observables, other fields, files.

    Each is a container or a directory of OpenFF Evaluator. WHAT selects the objects to compare: all by
    default. Numbers count as equal if they are apart by at most atol + rtol * |number in B|; files, if their
    digests are equal. Of a container only keys and digests are read, and the documents that differ:
    "simarchive verify" checks that the bytes still match their digests.

    Exit code 0 means that both hold the same objects under the same keys, 1 that they differ, 17 that some
    objects could not be read.

    \b
    Examples:
      simarchive diff mine.h5 theirs.h5
      simarchive diff mine.h5 theirs.h5 phase=liquid --rtol 1e-6
      simarchive diff mine.h5 stored_data/
    """
    from simarchive.storage.finding.comparison import Tolerance, compare

    with opening.source(first) as mine, opening.source(second) as theirs:
        keys = Selection(what).keys_in_each([mine, theirs])
        total = sum(
            len(store) if only is None else len(only)
            for store, only in zip((mine, theirs), keys, strict=True)
        )
        with objects_bar("comparing", total) as progress:
            found = compare(
                mine, theirs, keys=(keys[0], keys[1]), tolerance=Tolerance(rtol, atol), progress=progress
            )
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found, first, second)
    if found.unreadable:
        raise Findings(IncompleteError.exit_code)
    if not found.none:
        raise Findings(DIFFERENT)


def _print(found: Comparison, first: Path, second: Path) -> None:
    _print_section(f"only in {first}", found.only_in_first)
    _print_section(f"only in {second}", found.only_in_second)
    _print_section(
        "the same under another key", [f"{key} is {other}" for key, other in found.other_key.items()]
    )
    if found.changed:
        print_line(f"different: {count_text(len(found.changed), 'object')}", style="bold")
        for key, changes in found.changed.items():
            print_line(f"  {one_line(key)}")
            for change in changes:
                print_line(f"    {one_line(str(change))}")
    print_line(f"{count_text(found.n_equal, 'object')} equal")
    if found.n_close:
        print_line(f"{count_text(found.n_close, 'object')} equal within the tolerances")
    if found.unreadable:
        print_notice(f"simarchive: {count_text(len(found.unreadable), 'object')} not compared:")
        for key, problem in found.unreadable.items():
            print_notice(f"  {one_line(key)}: {one_line(problem)}")


def _print_section(heading: str, lines: list[str]) -> None:
    if lines:
        print_line(f"{heading}: {count_text(len(lines), 'object')}", style="bold")
        for line in lines:
            print_line(f"  {one_line(line)}")

"""`simarchive restore`: bring back objects that were removed or replaced."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import dry_run_option, json_option, wait_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, date_text, print_done, print_json, print_line, print_notice
from simarchive.cli.selection import file_and_what


@click.command("restore", short_help="Bring back objects that were removed or replaced.")
@file_and_what("restored", metavar="KEY")
@click.option(
    "--number",
    type=click.IntRange(min=1),
    metavar="NO",
    help="Which one of KEY, as 'simarchive log' numbers it.",
)
@dry_run_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path, what: tuple[str, ...], number: int | None, dry_run: bool, wait_s: float, as_json: bool
) -> None:
    """Bring back what was last removed or replaced under each KEY, or start of a key: all, or none.

    An object that stands under KEY now is removed in turn, and can be restored, too. What is restored comes
    last in the order of objects.

    \b
    Examples:
      simarchive restore water.h5 8d13dbc1
      simarchive restore water.h5 8d13dbc1 --number 3
    """
    if number is not None and len(what) > 1:
        raise click.UsageError("--number is about one KEY")
    done: list[dict[str, Any]]
    if dry_run:
        with opening.for_reading(container) as backend:
            found = [backend.find_removed(key, number=number) for key in what]
            done = [
                {"key": one.key, "number": one.number, "replaced": one.key in backend, "missing": []}
                for one in found
            ]
            whens = {one.number: f"{one.action} {date_text(one.at)}" for one in found}
        for row in done if not as_json else ():
            print_line(f"  {row['key']}, {whens[row['number']]}")
    else:
        with opening.for_changes(container, wait_s=wait_s) as backend, backend.transaction():
            done = [asdict(backend.restore(key, number=number)) for key in what]
    if as_json:
        print_json({"path": str(container), "restored": done, "dry_run": dry_run})
        return
    would = "would be " if dry_run else ""
    print_done(f"{container}: {count_text(len(done), 'object')} {would}restored")
    for row in done:
        if row["missing"]:
            others = ", ".join(row["missing"])
            print_notice(f"simarchive: {row['key']} refers to what is not here: {others}")

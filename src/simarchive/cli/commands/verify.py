"""`simarchive verify`: check that everything is as it was stored"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import always, isolated_option
from simarchive.cli.output import (
    count_text,
    fitting_columns,
    print_json,
    print_line,
    print_table,
    print_wrapped,
    size_text,
)
from simarchive.cli.progress_bars import bytes_bar
from simarchive.cli.selection import choose, file_and_what, stored_order
from simarchive.cli.streams import one_line

if TYPE_CHECKING:
    from simarchive.storage.hdf5.verification import VerificationReport


@click.command("verify", short_help="Check every object, every stored byte and the index.")
@file_and_what()
@click.option("--full", is_flag=True, help="Also decode every file and compare its digest.")
@json_option
@isolated_option("container", rule=always)
def command(container: Path, what: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Check every object of FILE, every stored byte of its files, and the index.

    With WHAT, only the objects that it selects and their files are checked. Exit code 11 means that something
    is wrong: the object, file and chunk are named. Whatever is found, the rest is checked too. Warnings, such
    as a reference to an object that does not exist, leave the exit code 0, and so do objects of unknown data
    classes: their bytes are checked, but what they mean is not. Warnings name removed objects, too, that
    could not be restored as they were.

    \b
    Examples:
      simarchive verify water.h5 --full
      simarchive verify water.h5 8d13dbc1
    """
    from simarchive.storage.hdf5.verification import verify_file

    with bytes_bar("verifying", None) as progress:
        if what:
            with opening.for_reading(container) as backend:
                keys = stored_order(backend, choose(backend, what))
                report = backend.verify(full=full, progress=progress, keys=keys)
        else:
            report = verify_file(container, full=full, progress=progress)
    if as_json:
        print_json({**report.as_dict(), "path": str(container)})
    else:
        files = f"{count_text(report.n_members, 'file')} ({size_text(report.n_bytes)})"
        print_line(f"{container}: {count_text(report.n_objects, 'object')}, {files}: {_state(report)}")
        for name, number in report.unknown_classes.items():
            objects = count_text(number, "object")
            print_line(f"  not checked: the meaning of {objects} of the unknown data class {name}")
        for note in report.notes:
            print_line(f"  note: {note}")
        if report.n_not_checked:
            print_line(f"  not checked to the end: {count_text(report.n_not_checked, 'place')}, see below")
        if report.problems:
            rows = [
                (
                    "error" if problem.is_error else "warning",
                    problem.key,
                    problem.member or problem.array or "",
                    "" if problem.chunk is None else str(problem.chunk),
                    problem.message,
                )
                for problem in report.problems
            ]
            headings = ("", "OBJECT", "FILE OR ARRAY", "CHUNK", "PROBLEM")
            if fitting_columns(headings, rows) == len(headings):
                print_table(headings, rows)
            else:
                _print_in_turn(rows)
    if report.exit_code:
        raise Findings(report.exit_code)


def _state(report: VerificationReport) -> str:
    """Return what was found; that all is well only if nothing follows."""
    errors = sum(problem.is_error for problem in report.problems)
    warnings = len(report.problems) - errors
    found = [count_text(errors, "error")] if errors else []
    if warnings:
        found += ["no errors"] if not errors else []
        found.append(count_text(warnings, "warning"))
    if found:
        return ", ".join(found)
    return "no errors" if report.unknown_classes or report.notes or report.n_not_checked else "all is well"


def _print_in_turn(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Print one problem after another, for a terminal on which they have no room side by side."""
    for kind, key, name, chunk, message in rows:
        place = ", ".join(filter(None, [key, name, f"chunk {chunk}" if chunk else ""]))
        print_line(one_line(f"{kind}: {place}" if place else kind), style="bold")
        print_wrapped(message, indent=2)

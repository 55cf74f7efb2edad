"""`simarchive verify`: check that everything is as it was stored"""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli.arguments import container_argument, json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import always, isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_table, size_text
from simarchive.cli.progress_bars import bytes_bar


@click.command("verify", short_help="Check every object, every stored byte and the index.")
@container_argument
@click.option("--full", is_flag=True, help="Also decode every file and compare its digest.")
@json_option
@isolated_option("container", rule=always)
def command(container: Path, full: bool, as_json: bool) -> None:
    """Check every object of FILE, every stored byte of its files, and the index.

    Exit code 11 means that something is wrong: the object, file and chunk are named. Whatever is found, the
    rest is checked too. Warnings, such as a reference to an object that does not exist, leave the exit code
    0, and so do objects of unknown data classes: their bytes are checked, but what they mean is not.

    \b
    Example:
      simarchive verify water.h5 --full
    """
    from simarchive.storage.hdf5.verification import verify_file

    with bytes_bar("verifying", None) as progress:
        report = verify_file(container, full=full, progress=progress)
    if as_json:
        print_json({**report.as_dict(), "path": str(container)})
    else:
        files = f"{count_text(report.n_members, 'file')} ({size_text(report.n_bytes)})"
        errors = sum(problem.is_error for problem in report.problems)
        state = "all is well" if report.ok else f"{count_text(errors, 'error')}"
        print_line(f"{container}: {count_text(report.n_objects, 'object')}, {files}: {state}")
        for name, number in report.unknown_classes.items():
            objects = count_text(number, "object")
            print_line(f"  not checked: the meaning of {objects} of the unknown data class {name}")
        for note in report.notes:
            print_line(f"  note: {note}")
        if report.n_not_checked:
            print_line(f"  not checked to the end: {count_text(report.n_not_checked, 'place')}, see below")
        if report.problems:
            rows = (
                (
                    "error" if problem.is_error else "warning",
                    problem.key,
                    problem.member or problem.array or "",
                    "" if problem.chunk is None else str(problem.chunk),
                    problem.message,
                )
                for problem in report.problems
            )
            print_table(("", "OBJECT", "FILE OR ARRAY", "CHUNK", "PROBLEM"), rows)
    if report.exit_code:
        raise Findings(report.exit_code)

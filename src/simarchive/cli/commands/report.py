"""`simarchive report`: a page for a browser that shows what a container holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import always, isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_notice, size_text
from simarchive.cli.progress_bars import bytes_bar, objects_bar
from simarchive.cli.selection import choose, file_and_what, stored_order
from simarchive.cli.streams import one_line
from simarchive.errors import IncompleteError

if TYPE_CHECKING:
    from simarchive.interop.report import Facts
    from simarchive.storage.hdf5.storage import HDF5Storage
    from simarchive.storage.hdf5.verification import VerificationReport

_SHOWN = 20


@click.command("report", short_help="Write a page for a browser that shows what is in FILE.")
@file_and_what()
@click.option(
    "--output", "-o", "destination", metavar="PAGE", type=PATH, required=True, help="The page, report.html."
)
@click.option("--verify", "checks", is_flag=True, help="Also check every stored byte, and show the result.")
@json_option
@isolated_option("container", rule=always)
def command(container: Path, what: tuple[str, ...], destination: Path, checks: bool, as_json: bool) -> None:
    """Write one page for a browser that shows what FILE holds, and needs neither FILE nor a network.

    WHAT selects the objects that it shows: all by default. It has a table of them that can be sorted and
    filtered, each with its structure in 3D, observables, document and files, a map of the states, sizes and
    compression by type of file, what is known of the integrity, and how to open FILE. A page that "simarchive
    report" wrote before is replaced; any other file is not.

    \b
    Example:
      simarchive report water.h5 -o report.html

    What cannot be read is named in the page, and on standard error; then the exit code is 17. With --verify,
    exit code 11 means that something is wrong with FILE: the page says what.
    """
    from simarchive.interop.report import gather, write_report
    from simarchive.interop.report.page import check_destination

    check_destination(destination)
    with opening.for_reading(container) as backend:
        keys = stored_order(backend, choose(backend, what)) if what else None
        checked = _checked(backend, keys) if checks else None
        with objects_bar("reading", len(backend) if keys is None else len(keys)) as progress:
            facts = gather(backend, checked=checked, progress=progress, keys=keys)
    n_bytes = write_report(facts, destination)
    if as_json:
        print_json(
            {
                "path": str(container),
                "page": str(destination),
                "n_bytes": n_bytes,
                "n_objects": len(facts.objects),
                "n_not_listed": facts.n_not_listed,
                "n_without_plots": facts.n_without_plots,
                "n_without_details": facts.n_without_details,
                "n_structures": facts.drawings.n_structures,
                "n_without_structures": facts.n_without_structures,
                "problems": facts.problems,
                "verification": None if checked is None else checked.as_dict(),
            }
        )
    else:
        objects = count_text(len(facts.objects), "object")
        print_line(f"{container} -> {destination}: {objects}, {size_text(n_bytes)}")
        _print_notices(facts)
    if checked is not None and checked.exit_code:
        raise Findings(checked.exit_code)
    if facts.problems:
        raise Findings(IncompleteError.exit_code)


def _checked(backend: HDF5Storage, keys: list[str] | None) -> VerificationReport:
    with bytes_bar("verifying", None) as progress:
        return backend.verify(progress=progress, keys=keys)


def _print_notices(facts: Facts) -> None:
    if facts.n_not_listed:
        print_notice(f"simarchive: the last {count_text(facts.n_not_listed, 'object')} are not on the page")
    if facts.n_without_plots or facts.n_without_details:
        print_notice(
            f"simarchive: to keep the page small, the curves of {count_text(facts.n_without_plots, 'object')}"
            f" and the documents of {facts.n_without_details:,} are left out"
        )
    if facts.n_without_structures:
        print_notice(
            f"simarchive: the structures of {count_text(facts.n_without_structures, 'object')} are not on the"
            " page: they have too many atoms, or there is no room"
        )
    if facts.verification is not None and not facts.verification.ok:
        print_notice("simarchive: the container is damaged: see the page, or run 'simarchive verify'")
    if facts.problems:
        print_notice(f"simarchive: {count_text(len(facts.problems), 'object')} not read in full:")
        for key, problem in list(facts.problems.items())[:_SHOWN]:
            print_notice(f"  {one_line(key)}: {one_line(problem)}")
        if len(facts.problems) > _SHOWN:
            print_notice(f"  and {len(facts.problems) - _SHOWN:,} more, which the page names")

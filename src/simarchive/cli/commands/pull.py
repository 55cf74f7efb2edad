"""`simarchive pull`: copy objects of a published container, from afar, into a container here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import CONTAINER, PATH, dry_run_option, json_option, wait_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.output import count_text, print_line, size_text
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.selection import choose, what_argument

if TYPE_CHECKING:
    from simarchive.storage.hdf5.copies.copying import PullPlan


@click.command("pull", short_help="Copy objects of a container elsewhere, resuming.")
@click.argument("source", metavar="SOURCE", type=CONTAINER)
@what_argument
@click.option(
    "--output",
    "-o",
    "target",
    metavar="FILE",
    type=PATH,
    required=True,
    help="The container to copy to; it is made if it is missing.",
)
@dry_run_option
@wait_option
@json_option
@isolated_option("source", rule=of_others)
def command(
    source: Path, what: tuple[str, ...], target: Path, dry_run: bool, wait_s: float, as_json: bool
) -> None:
    """Copy the objects of SOURCE that WHAT selects, all by default, into FILE.

    SOURCE is a URL (https, s3, gs, az) or a path. Files are copied as they are stored, each piece after its
    check, in few requests if SOURCE was published with 'simarchive repack --publish'. Whatever an object
    refers to, such as its force field, is copied too. Keys are kept; what is in FILE already is not asked
    for, and if FILE has another object under a key, the new one gets a new key.

    What has come is committed every 64 MB. After an interruption, the same command goes on from there.

    Exit code 17 means that some objects were damaged: they are named, and all others are in FILE.

    \b
    Examples:
      simarchive pull https://example.org/water.h5 phase=liquid -o mine.h5 -n
      simarchive pull s3://lab/water.h5 contains=CCO T=290..310K -o mine.h5
    """
    from simarchive.storage.hdf5.storage import HDF5Storage

    with opening.for_reading(source) as far:
        keys = choose(far, what)
        if dry_run:
            with opening.for_reading_if_there(target) as here:
                plan = far.plan_to(here, keys)
            if not what:
                with_problems(plan.report, far)
            report_pull(source, target, plan, as_json=as_json)
            return
        with (
            HDF5Storage(target, lock_timeout_s=wait_s) as here,
            objects_bar("pulling", len(far.keys() if keys is None else keys), here) as progress,
        ):
            report = here.pull(far, keys=far.keys() if keys is None else keys, progress=progress)
        if not what:
            with_problems(report, far)
    report_merge({str(source): report}, target, as_json=as_json)


def report_pull(source: Path, target: Path, plan: PullPlan, *, as_json: bool) -> None:
    """Print what would be copied, and how much that is."""
    size = {"n_objects": plan.n_objects, "n_files": plan.n_files, "n_bytes": plan.n_bytes}
    if not as_json:
        print_line(
            f"{count_text(plan.n_objects, 'object')} with {count_text(plan.n_files, 'file')},"
            f" {size_text(plan.n_bytes)} as stored, would come"
        )
    report_merge({str(source): plan.report}, target, as_json=as_json, dry_run=True, more=size)

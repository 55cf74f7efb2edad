"""`simarchive export`: write a container as a directory that OpenFF Evaluator opens."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, container_argument, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar
from simarchive.errors import ConflictError


@click.command("export", short_help="Write FILE as a directory that OpenFF Evaluator can open.")
@container_argument
@click.argument("directory", metavar="DIR", type=PATH)
@json_option
@isolated_option("container", rule=of_others)
def command(container: Path, directory: Path, as_json: bool) -> None:
    """Write all objects of FILE into a new directory, in the layout of OpenFF Evaluator.

    DIR must be empty or not exist. Keys are kept, and files come back byte for byte.

    \b
    Example:
      simarchive export water.h5 stored_data/

    Exit code 17 means that some objects could not be read: they are named, and all others are in DIR.
    """
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.merging import merge

    if directory.is_dir() and any(directory.iterdir()):
        raise ConflictError(f"'{directory}' is not empty: name one that is empty or does not exist")
    with (
        opening.for_reading(container) as source,
        LocalFileStorage(directory) as target,
        objects_bar("exporting", len(source)) as progress,
    ):
        report = with_problems(merge(target, source, progress=progress), source)
    report_merge({str(container): report}, directory, as_json=as_json)

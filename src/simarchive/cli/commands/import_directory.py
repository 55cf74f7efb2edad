"""`simarchive import`: a directory of OpenFF Evaluator goes into a container."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, container_argument, json_option, wait_option
from simarchive.cli.merge_report import report_merge
from simarchive.cli.progress_bars import objects_bar


@click.command("import", short_help="Copy a directory of OpenFF Evaluator into FILE.")
@click.argument("directory", metavar="DIR", type=PATH)
@container_argument
@codec_option
@wait_option
@json_option
def command(directory: Path, container: Path, codec: str, wait_s: float, as_json: bool) -> None:
    """Copy a directory that OpenFF Evaluator wrote into FILE.

    FILE is made if it is missing. The directory stays as it is: nothing is moved. Objects keep their keys;
    one that is in FILE already is not stored again, so an import can be
    repeated. Either all of it is in FILE afterwards, or, after a failure, none.

    \b
    Example:
      simarchive import stored_data/ water.h5

    Exit code 17 says that something in DIR could not be read: it is named, all else is imported.
    """
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.merging import merge

    with (
        # Before the container is made: a wrong DIR must not leave an empty one.
        LocalFileStorage(directory, mode="r") as source,
        opening.existing_or_new(container, codec=codec, wait_s=wait_s) as target,
        objects_bar("importing", len(source.keys()), target) as progress,
    ):
        report = merge(target, source, progress=progress)
        report.unreadable.update(source.problems)
    report_merge({str(directory): report}, container, as_json=as_json)

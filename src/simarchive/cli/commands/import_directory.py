"""`simarchive import`: copy a directory of OpenFF Evaluator into a container."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, container_argument, json_option, wait_option
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar


@click.command("import", short_help="Copy a directory of OpenFF Evaluator into FILE.")
@click.argument("directory", metavar="DIR", type=PATH)
@container_argument
@click.option(
    "--follow-links",
    is_flag=True,
    help="Take the files that links in DIR lead to, as git-annex and DataLad have them.",
)
@codec_option
@wait_option
@json_option
def command(
    directory: Path, container: Path, follow_links: bool, codec: str, wait_s: float, as_json: bool
) -> None:
    """Copy a directory that OpenFF Evaluator wrote into FILE.

    FILE is created if it does not exist. DIR is not changed: nothing is moved. Objects keep their keys, and
    those already in FILE are not stored again, so an import can be repeated. If the import fails, FILE is
    as it was before.

    \b
    Example:
      simarchive import stored_data/ water.h5

    Exit code 17 means that something in DIR could not be read: it is named, and the rest is imported.
    """
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.merging import merge

    with (
        # Opened first: a wrong DIR must not leave an empty container behind.
        LocalFileStorage(directory, mode="r", follow_links=follow_links) as source,
        opening.existing_or_new(container, codec=codec, wait_s=wait_s) as target,
        objects_bar("importing", len(source.keys()), target) as progress,
    ):
        report = with_problems(merge(target, source, progress=progress), source)
    report_merge({str(directory): report}, container, as_json=as_json)

"""`simarchive import`: copy a directory of OpenFF Evaluator into a container."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import (
    PATH,
    codec_option,
    container_argument,
    dry_run_option,
    json_option,
    wait_option,
)
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar

if TYPE_CHECKING:
    from simarchive.storage.evaluator_directory import LocalFileStorage


@click.command("import", short_help="Copy a directory of OpenFF Evaluator into FILE.")
@click.argument("directory", metavar="DIR", type=PATH)
@container_argument
@click.option(
    "--follow-links",
    is_flag=True,
    help="Take the files that links in DIR lead to, as git-annex and DataLad have them.",
)
@dry_run_option
@codec_option
@wait_option
@json_option
def command(
    directory: Path,
    container: Path,
    follow_links: bool,
    dry_run: bool,
    codec: str,
    wait_s: float,
    as_json: bool,
) -> None:
    """Copy a directory that OpenFF Evaluator wrote into FILE.

    FILE is created if it does not exist. DIR is not changed: nothing is moved. Objects keep their keys, and
    those already in FILE are not stored again, so an import can be repeated. If the import fails, FILE is
    as it was before.

    \b
    Example:
      simarchive import stored_data/ water.h5

    Runs of OpenMM, GROMACS, AMBER, LAMMPS or NAMD are stored by simarchive add.

    Exit code 17 means that something in DIR could not be read: it is named, and the rest is imported.
    """
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.merging import merge, plan

    if dry_run:
        with (
            LocalFileStorage(directory, mode="r", follow_links=follow_links) as source,
            _of_evaluator(source, container),
            opening.for_reading_if_there(container) as there,
        ):
            report = with_problems(plan(there, [source])[0], source)
        report_merge({str(directory): report}, container, as_json=as_json, dry_run=True)
        return

    with (
        # Opened first: a wrong DIR must not leave an empty container behind.
        LocalFileStorage(directory, mode="r", follow_links=follow_links) as source,
        _of_evaluator(source, container),
        opening.existing_or_new(container, codec=codec, wait_s=wait_s) as target,
        objects_bar("importing", len(source.keys()), target) as progress,
    ):
        report = with_problems(merge(target, source, progress=progress), source)
    report_merge({str(directory): report}, container, as_json=as_json)


@contextlib.contextmanager
def _of_evaluator(source: LocalFileStorage, container: Path) -> Iterator[None]:
    """Refuse a directory that OpenFF Evaluator did not write, before a container is made for it."""
    from simarchive.errors import InvalidDataError

    if not source.has_registry:
        raise InvalidDataError(
            f"'{source.directory}' is no directory of OpenFF Evaluator, for it has no object_keys.json;"
            f" to store a run of a simulation program: simarchive add {container} DIR"
        )
    yield

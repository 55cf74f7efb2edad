"""`simarchive merge`: copy several containers into a new one."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import CONTAINER, PATH, codec_option, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar


@click.command("merge", short_help="Copy several containers into a new one.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=CONTAINER)
@click.option("--output", "-o", "target", metavar="OUT", type=PATH, required=True, help="The new container.")
@click.option("--dry-run", is_flag=True, help="Only report what would be stored; OUT is not written.")
@codec_option
@json_option
@isolated_option("sources", rule=of_others, made="target")
def command(sources: tuple[Path, ...], target: Path, dry_run: bool, codec: str, as_json: bool) -> None:
    """Copy the objects of every SOURCE into a new container OUT.

    A SOURCE is a container or a directory of OpenFF Evaluator. Keys are kept, and equal objects are stored
    once. If two sources have different objects under one key, the second object gets a new key; references
    to it are changed too, and the report says so. OUT gets its name only once it is complete.

    Exit code 17 means that some objects could not be read: they are named, and all others are in OUT.

    \b
    Example:
      simarchive merge with-water.h5 without-water.h5 -o all.h5 --dry-run
    """
    from contextlib import ExitStack

    from simarchive.storage.merging import merge

    with ExitStack() as stack:
        backends = {str(path): stack.enter_context(opening.source(path)) for path in sources}
        if dry_run:
            from simarchive.storage.merging import plan

            planned = dict(zip(backends, plan(None, list(backends.values())), strict=True))
            for path, backend in backends.items():
                with_problems(planned[path], backend)
            report_merge(planned, target, as_json=as_json, dry_run=True)
            return
        reports = {}
        total = sum(len(backend.keys()) for backend in backends.values())
        with (
            opening.new_container(target, codec=codec) as merged,
            objects_bar("merging", total, merged) as progress,
        ):
            for path, backend in backends.items():
                reports[path] = with_problems(merge(merged, backend, progress=progress), backend)
    report_merge(reports, target, as_json=as_json)

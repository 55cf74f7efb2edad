"""`simarchive merge`: several containers become one."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli.arguments import PATH, codec_option, json_option
from simarchive.cli.merge_report import report_merge
from simarchive.cli.new_container import new_container
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.sources import opened_source


@click.command("merge", short_help="Copy several containers into a new one.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=PATH)
@click.option("--output", "-o", "target", metavar="OUT", type=PATH, required=True, help="The new container.")
@click.option("--dry-run", is_flag=True, help="Only say what would be stored; OUT is not written.")
@codec_option
@json_option
def command(sources: tuple[Path, ...], target: Path, dry_run: bool, codec: str, as_json: bool) -> None:
    """Copy the objects of all SOURCES, containers or directories of OpenFF Evaluator, into a new container.

    Keys stay as they are, and equal objects are stored once. If two sources have different objects under
    one key, the second gets a new key, references to it change along, and the report says so. OUT gets its
    name when it is complete.

    \b
    Example:
      simarchive merge with-water.h5 without-water.h5 -o all.h5 --dry-run
    """
    from contextlib import ExitStack

    from simarchive.storage.merging import merge

    with ExitStack() as stack:
        backends = {str(path): stack.enter_context(opened_source(path)) for path in sources}
        if dry_run:
            from simarchive.storage.merging import plan

            planned = dict(zip(backends, plan(None, list(backends.values())), strict=True))
            report_merge(planned, target, as_json=as_json, dry_run=True)
            return
        reports = {}
        total = sum(len(backend.keys()) for backend in backends.values())
        with (
            new_container(target, codec=codec) as merged,
            objects_bar("merging", total, merged) as progress,
        ):
            for path, backend in backends.items():
                reports[path] = merge(merged, backend, progress=progress)
                reports[path].unreadable.update(getattr(backend, "problems", {}))
    report_merge(reports, target, as_json=as_json)

"""`simarchive merge`: copy several containers into a new one."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, codec_option, dry_run_option, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.selection import Selection, is_criterion
from simarchive.remote.address import is_url, path_or_address


def with_sources(function: Callable[..., None]) -> Callable[..., None]:
    """Tell sources and criteria apart: a criterion is no file that exists."""

    @functools.wraps(function)
    def run(*, words: tuple[str, ...], only: tuple[str, ...], **arguments: Any) -> None:
        criteria = tuple(
            word for word in words if is_criterion(word) and not is_url(word) and not os.path.lexists(word)
        )
        sources = tuple(path_or_address(word) for word in words if word not in criteria)
        if not sources:
            raise click.UsageError("name at least one container or directory to copy from")
        function(sources=sources, what=(*only, *criteria), **arguments)

    return run


@click.command("merge", short_help="Copy several containers into a new one.")
@click.argument("words", metavar="SOURCE... [CRITERION]...", nargs=-1, required=True)
@click.option("--output", "-o", "target", metavar="OUT", type=PATH, required=True, help="The new container.")
@click.option(
    "--only",
    metavar="WHAT",
    multiple=True,
    help="Only these objects: a key, a pattern or -, for keys on standard input; may be repeated.",
)
@dry_run_option
@codec_option
@json_option
@with_sources
@isolated_option("sources", rule=of_others, made="target")
def command(
    sources: tuple[Path, ...],
    what: tuple[str, ...],
    target: Path,
    dry_run: bool,
    codec: str,
    as_json: bool,
) -> None:
    """Copy the objects of every SOURCE into a new container OUT, all or those that fulfil every CRITERION.

    A SOURCE is a container or a directory of OpenFF Evaluator. Keys are kept, and equal objects are stored
    once. If two sources have different objects under one key, the second object gets a new key; references
    to it are changed too, and the report says so. What a copied object refers to is copied, too. OUT gets its
    name only once it is complete.

    Exit code 17 means that some objects could not be read: they are named, and all others are in OUT.

    \b
    Examples:
      simarchive merge with-water.h5 without-water.h5 -o all.h5 --dry-run
      simarchive merge a.h5 b.h5 phase=liquid T=290..310K -o liquid.h5
    """
    from contextlib import ExitStack

    from simarchive.storage.merging import merge

    with ExitStack() as stack:
        backends = {str(path): stack.enter_context(opening.source(path)) for path in sources}
        chosen = Selection(what).keys_in_each(list(backends.values()))
        if dry_run:
            from simarchive.storage.merging import plan

            planned = dict(zip(backends, plan(None, list(backends.values()), keys=chosen), strict=True))
            for path, backend in backends.items():
                if not what:
                    with_problems(planned[path], backend)
            report_merge(planned, target, as_json=as_json, dry_run=True)
            return
        reports = {}
        total = sum(
            len(backend.keys()) if keys is None else len(keys)
            for backend, keys in zip(backends.values(), chosen, strict=True)
        )
        with (
            opening.new_container(target, codec=codec) as merged,
            objects_bar("merging", total, merged) as progress,
        ):
            for (path, backend), keys in zip(backends.items(), chosen, strict=True):
                report = merge(merged, backend, keys=keys, progress=progress)
                reports[path] = report if what else with_problems(report, backend)
    report_merge(reports, target, as_json=as_json)

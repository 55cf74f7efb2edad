"""`simarchive split`: cut a container into volumes below a size."""

from __future__ import annotations

import os
from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, dry_run_option, json_option, size_bytes
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line, size_text
from simarchive.cli.progress_bars import objects_bar
from simarchive.errors import ReadOnlyError
from simarchive.remote.address import is_url


@click.command("split", short_help="Cut FILE into volumes below a size.")
@container_argument
@click.option(
    "--max-size",
    "max_bytes",
    metavar="SIZE",
    type=size_bytes,
    required=True,
    help="The size that no volume exceeds: 45GB, 500MB, 2GiB.",
)
@click.option(
    "--output",
    "-o",
    "prefix",
    metavar="PREFIX",
    type=click.Path(path_type=Path),
    help="What the names of the volumes begin with; by default FILE without its ending.",
)
@dry_run_option
@json_option
@isolated_option("container")
def command(container: Path, max_bytes: int, prefix: Path | None, dry_run: bool, as_json: bool) -> None:
    """Cut FILE into volumes PREFIX-001.h5, PREFIX-002.h5 and so on, as large as a repository takes them.

    Each volume is a container of its own, published as by 'simarchive repack --publish', and has the title,
    authors and so on of FILE. Objects are never cut and keep their order; each is in one volume, with its
    key, digests and history. 'simarchive merge PREFIX-*.h5 -o all.h5' puts them together again. A volume gets
    its name when it is complete; FILE is not changed.

    If an object alone is larger than SIZE, or a file has the name of a volume, nothing is made.

    \b
    Examples:
      simarchive split water.h5 --max-size 45GB --dry-run
      simarchive split water.h5 --max-size 45GB -o upload/water
    """
    if is_url(container):
        raise ReadOnlyError(f"container '{container}' lies elsewhere: pull it, and split it here")
    base = os.fspath(container.with_suffix("") if prefix is None else prefix)
    with opening.for_reading(container) as backend:
        if dry_run:
            volumes = backend.plan_split(base, max_bytes)
        else:
            with objects_bar("splitting", len(backend)) as progress:
                volumes = backend.split(base, max_bytes, progress=progress)
    if as_json:
        rows = [
            {"path": str(one.path), "n_objects": len(one.keys), "n_bytes": one.size_bytes} for one in volumes
        ]
        print_json({"path": str(container), "dry_run": dry_run, "volumes": rows})
        return
    at_most = "at most " if dry_run else ""
    for one in volumes:
        print_line(f"{one.path}: {count_text(len(one.keys), 'object')}, {at_most}{size_text(one.size_bytes)}")

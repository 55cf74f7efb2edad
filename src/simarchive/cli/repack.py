"""`simarchive repack`: a container without the room that removed objects left."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli.arguments import CODECS, container_argument, json_option
from simarchive.cli.output import count_text, print_json, print_line, size_text
from simarchive.cli.progress_bars import objects_bar
from simarchive.errors import NotFoundError


@click.command("repack", short_help="Write FILE anew and compactly.")
@container_argument
@click.option("--codec", type=click.Choice(CODECS), help="Store all files anew with this codec.")
@json_option
def command(container: Path, codec: str | None, as_json: bool) -> None:
    """Write FILE anew and compactly, then put the new file in its place.

    Keys, digests and the order of objects stay. Until the last moment the old file is as it was; there
    must be room for both.

    \b
    Example:
      simarchive repack water.h5
    """
    from simarchive.storage.repacking import repack

    if not container.exists():
        raise NotFoundError(f"there is no container '{container}'")
    with objects_bar("repacking", None) as progress:
        report = repack(container, codec=codec, progress=progress)
    if as_json:
        print_json(
            {
                "path": str(container),
                "n_objects": report.n_objects,
                "bytes_before": report.bytes_before,
                "bytes_after": report.bytes_after,
            }
        )
        return
    before, after = size_text(report.bytes_before), size_text(report.bytes_after)
    print_line(f"{container}: {count_text(report.n_objects, 'object')}, {before} -> {after}")

"""`simarchive repack`: rewrite a container without the space that removed objects left."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from simarchive.cli.arguments import container_argument, json_option, tmp_dir_option, wait_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_notice, size_text
from simarchive.errors import NotFoundError, ReadOnlyError
from simarchive.remote.address import is_url


@click.command("repack", short_help="Rewrite FILE without unused space.")
@container_argument
@click.option(
    "--set-aside", is_flag=True, help="First set damaged objects aside, as 'simarchive repair' does."
)
@click.option(
    "--publish", is_flag=True, help="Append a map, with which FILE is read over a network in few requests."
)
@tmp_dir_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path, set_aside: bool, publish: bool, tmp_dir: Path | None, wait_s: float, as_json: bool
) -> None:
    """Rewrite FILE without unused space and without removed objects, then replace it with the new file.

    Keys, documents, digests and the order of objects stay the same; what was removed or replaced can no
    longer be restored. The old file is not touched until the new one is complete, so there must be room for
    both. With --tmp-dir, the new file is written there and then copied over the old one; if that is
    interrupted, the new file stays there: move it to FILE.

    If an object is damaged so that it cannot be copied, nothing is done, and all such objects are named;
    with --set-aside, it goes on without them.

    With --publish, the files of all objects lie last in FILE, and behind its end stands a map of the rest.
    Put FILE on any server or object store then, and read it there: every command that reads takes its URL.
    The next change of FILE cuts the map off.

    \b
    Examples:
      simarchive repack water.h5
      simarchive repack water.h5 --publish
    """
    from simarchive.storage.hdf5.upkeep import repack

    if is_url(container):
        raise ReadOnlyError(f"container '{container}' lies elsewhere and can only be read")
    if not container.exists():
        raise NotFoundError(f"there is no container '{container}'")
    if sys.stderr.isatty():
        print_notice(f"repacking {container} ...")
    report = repack(
        container, lock_timeout_s=wait_s, tmp_directory=tmp_dir, set_aside=set_aside, publish=publish
    )
    if as_json:
        print_json({**report.as_dict(), "path": str(container)})
        return
    before, after = size_text(report.bytes_before), size_text(report.bytes_after)
    print_line(f"{container}: {count_text(report.n_objects, 'object')}, {before} -> {after}")
    if report.map_bytes:
        print_line(f"its map takes {size_text(report.map_bytes)}; the next change cuts it off")

"""`simarchive repair`: make anew what can be made from the objects."""

from __future__ import annotations

from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, json_option, wait_option
from simarchive.cli.output import count_text, print_json, print_line


@click.command("repair", short_help="Make the index of FILE anew.")
@container_argument
@click.option("--index", "index", is_flag=True, required=True, help="Make the index anew from the objects.")
@wait_option
@json_option
def command(container: Path, index: bool, wait_s: float, as_json: bool) -> None:
    """Make the index of FILE anew. Objects and their files are not touched.

    Commits that a killed process left in the log need no repair: every command sees them.

    \b
    Example:
      simarchive repair water.h5 --index
    """
    with opening.for_changes(container, wait_s=wait_s) as backend:
        rows = backend.rebuild_index()
    if as_json:
        print_json({"path": str(container), "rows": rows})
        return
    print_line(f"{container}: the index is new")
    for name, number in rows.items():
        print_line(f"  {name}: {count_text(number, 'object')}")

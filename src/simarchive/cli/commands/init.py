"""`simarchive init`: an empty container that says what it will be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, json_option
from simarchive.cli.commands.meta import given_fields, metadata_options
from simarchive.cli.output import print_json, print_line


@click.command("init", short_help="Make FILE, an empty container with title, authors, licence.")
@container_argument
@metadata_options
@json_option
def command(container: Path, as_json: bool, **options: Any) -> None:
    """Make the new, empty container FILE, and write into it what it is: title, authors, licence and so on.

    All of these can be set and changed later, with 'simarchive meta'. An existing file is not touched.

    \b
    Example:
      simarchive init water.h5 --title "Water at 25 degrees" --license CC-BY-4.0
    """
    fields = given_fields(options)
    with opening.new_container(container, codec="deflate") as backend:
        metadata = backend.set_metadata(**fields) if fields else backend.metadata
    if as_json:
        print_json({"path": str(container), "metadata": metadata.as_dict()})
        return
    print_line(f"{container}: made, with no objects")

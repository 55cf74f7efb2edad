"""`simarchive log`: what was removed from a container or replaced, and can be restored."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import json_option, rows_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import (
    count_text,
    date_text,
    print_json,
    print_line,
    print_ndjson,
    print_table,
    size_text,
)
from simarchive.cli.selection import file_and_what
from simarchive.errors import NotFoundError
from simarchive.storage.display import wording

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("log", short_help="Show what was removed or replaced and can be restored.")
@file_and_what(metavar="KEY")
@json_option
@rows_option
@isolated_option("container")
def command(container: Path, what: tuple[str, ...], as_json: bool, as_ndjson: bool) -> None:
    """Show which objects of FILE were removed or replaced, when and by whom, the last one first.

    Each can be restored by "simarchive restore" as long as it is shown. SIZE is about what it takes in FILE.
    With KEY, or the start of one, only objects with this key are shown.

    \b
    Example:
      simarchive log water.h5
    """
    with opening.for_reading(container) as backend:
        rows = _rows(backend, what)
    if as_ndjson:
        print_ndjson(rows)
        return
    if as_json:
        print_json({"path": str(container), "removed": rows})
        return
    if not rows:
        print_line(f"{container}: nothing that was removed or replaced is kept")
        return
    length = object_keys.short_length({row["key"] for row in rows})
    cells = [
        (
            str(row["number"]),
            row["key"][:length],
            wording.short_class_name(row["data_class"]),
            row["action"],
            date_text(row["at"]),
            row["by"],
            size_text(row["n_bytes"]),
        )
        for row in rows
    ]
    print_table(("NO", "KEY", "CLASS", "WHAT", "WHEN", "BY", "SIZE"), cells, right=("NO", "SIZE"))
    total = size_text(sum(row["n_bytes"] for row in rows))
    print_line(
        f"{count_text(len(rows), 'object')}, {total}: 'simarchive restore {container} KEY' restores one"
    )


def _rows(backend: HDF5Storage, starts: tuple[str, ...]) -> list[dict[str, Any]]:
    removed = backend.removed()
    for start in starts:
        if not any(one.key.startswith(start) for one in removed):
            raise NotFoundError(f"nothing that was removed has a key that is or starts with {start!r}")
    rows = []
    for one in reversed(removed):
        if not starts or one.key.startswith(starts):
            facts = asdict(one)
            del facts["link"]
            rows.append({**facts, "data_class": backend.class_of_removed(one)})
    return rows

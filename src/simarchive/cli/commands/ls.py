"""`simarchive ls`: the objects of a container, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import listing, object_keys, opening
from simarchive.cli.arguments import json_option, rows_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import print_json, print_ndjson, print_table, size_text
from simarchive.cli.selection import choose, file_and_what, stored_order
from simarchive.storage.display import wording
from simarchive.storage.display.rows import DAMAGED, rows_of

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("ls", short_help="List the objects of FILE.")
@file_and_what()
@click.option("--class", "class_name", metavar="CLASS", help="Only objects of one data class.")
@click.option(
    "--long", "-l", "is_long", is_flag=True, help="Show whole keys, and the number and size of files."
)
@json_option
@rows_option
@isolated_option("container")
def command(
    container: Path,
    what: tuple[str, ...],
    class_name: str | None,
    is_long: bool,
    as_json: bool,
    as_ndjson: bool,
) -> None:
    """List the objects of FILE, all or those that WHAT selects, in the order in which they were stored.

    Keys are shortened as far as they stay unique, and every command accepts them so. CLASS is a name that
    "simarchive info" shows, or a short one: simulation, equilibration, free_energy, force_field,
    trained_model.

    \b
    Examples:
      simarchive ls water.h5
      simarchive ls water.h5 phase=liquid T=290..310K
      simarchive ls water.h5 --class simulation --long
    """
    with opening.for_reading(container) as backend:
        keys = backend.keys()
        rows = rows_of(backend, stored_order(backend, choose(backend, what)) if what else keys)
        if class_name is not None:
            wanted = wording.class_named(class_name, dict.fromkeys(row["data_class"] for row in rows))
            rows = [row for row in rows if row["data_class"] == wanted]
        if is_long:
            for row in rows:
                _add_files(backend, row)
    if as_ndjson:
        print_ndjson(rows)
    elif as_json:
        print_json({"objects": rows})
    elif is_long:
        headings = ("KEY", "CLASS", "FILES", "SIZE", "STORED")
        print_table(headings, map(_long_cells, rows), right=("FILES", "SIZE"))
    else:
        listing.say_what_is_left_out(listing.print_rows(rows, object_keys.short_length(keys)))


def _add_files(backend: HDF5Storage, row: dict[str, Any]) -> None:
    if row["data_class"] == DAMAGED:
        return
    members = backend.list_members(row["key"])
    row |= {
        "stored_at": backend.header(row["key"]).stored_at,
        "n_files": len(members),
        "size": sum(member.size for member in members),
    }


def _long_cells(row: dict[str, Any]) -> list[str]:
    return [
        row["key"],
        wording.short_class_name(row["data_class"]),
        str(row.get("n_files") or ""),
        size_text(row["size"]) if row.get("n_files") else "",
        row.get("stored_at", "")[:10],
    ]

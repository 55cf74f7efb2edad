"""`simarchive stats`: how much room each kind of file, data class or substance takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import json_option, rows_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_ndjson, print_notice, print_table, size_text
from simarchive.cli.selection import choose, file_and_what, stored_order
from simarchive.ground.texts import share_text
from simarchive.storage.display import wording

if TYPE_CHECKING:
    from simarchive.storage.hdf5.grouping import GroupStatistics

GROUPINGS = ("extension", "class", "substance")
_NONE = "(none)"
_NUMBERS = ("OBJECTS", "FILES", "ORIGINAL", "STORED", "STORED/ORIGINAL")


@click.command("stats", short_help="Show what each type of file, class or substance takes.")
@file_and_what()
@click.option(
    "--by",
    type=click.Choice(GROUPINGS),
    default="extension",
    show_default=True,
    help="What is counted together: files by extension, or objects by data class or substance.",
)
@json_option
@rows_option
@isolated_option("container")
def command(container: Path, what: tuple[str, ...], by: str, as_json: bool, as_ndjson: bool) -> None:
    """Show how many objects and files there are of each group, their original size, and what they take.

    All objects of FILE are counted, or those that WHAT selects. The group that takes most room is the first.
    A file that several objects have is stored once: it counts where it is met first, and as "shared"
    elsewhere. Documents and arrays are not counted.

    \b
    Example:
      simarchive stats water.h5 phase=liquid --by substance
    """
    with opening.for_reading(container) as backend:
        keys = stored_order(backend, choose(backend, what)) if what else None
        groups, n_damaged = backend.statistics_by(by, keys)
    if as_ndjson:
        print_ndjson({"by": by, **group.as_dict()} for group in groups)
        return
    if as_json:
        found = [group.as_dict() for group in groups]
        print_json({"path": str(container), "by": by, "groups": found, "n_damaged": n_damaged})
        return
    rows = [_cells(by, group) for group in groups]
    shared = any(group.shared_bytes for group in groups)
    headings = [by.upper(), *_NUMBERS, *(["SHARED"] if shared else [])]
    if len(groups) > 1:
        rows.append(_cells(by, _total(groups, counts_objects=by != "extension"), name="all"))
    print_table(headings, (row[: len(headings)] for row in rows), right=headings[1:])
    if n_damaged:
        print_notice(f"{count_text(n_damaged, 'object')} could not be read: run 'simarchive verify'")


def _total(groups: list[GroupStatistics], *, counts_objects: bool) -> GroupStatistics:
    from simarchive.storage.hdf5.grouping import GroupStatistics

    total = GroupStatistics("all")
    for group in groups:
        # An object with files of two extensions is in both groups.
        total.n_objects += group.n_objects if counts_objects else 0
        total.n_files += group.n_files
        total.logical_bytes += group.logical_bytes
        total.stored_bytes += group.stored_bytes
        total.shared_bytes += group.shared_bytes
    return total


def _cells(by: str, group: GroupStatistics, name: str | None = None) -> list[str]:
    if name is None:
        name = {"class": wording.short_class_name, "substance": wording.substance_text}.get(by, str)(
            group.name
        )
    return [
        name or _NONE,
        f"{group.n_objects:,}" if group.n_objects else "",
        f"{group.n_files:,}" if group.n_files else "",
        size_text(group.logical_bytes) if group.n_files else "",
        size_text(group.stored_bytes) if group.n_files else "",
        share_text(group.stored_bytes, group.logical_bytes),
        size_text(group.shared_bytes) if group.shared_bytes else "",
    ]

"""`simarchive repair`: set damaged objects aside and rebuild the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, container_argument, json_option, wait_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import always, isolated_option
from simarchive.cli.output import count_text, print_json, print_line, print_table
from simarchive.cli.streams import one_line
from simarchive.errors import IncompleteError


@click.command("repair", short_help="Save what is sound, or set damaged objects aside.")
@container_argument
@click.option("--index", "index", is_flag=True, help="Only rebuild the index; leave objects alone.")
@click.option(
    "--forget-log",
    is_flag=True,
    help="Only give up the commits in a log that is no longer beside FILE.",
)
@click.option(
    "--output",
    "-o",
    "new",
    metavar="NEW",
    type=PATH,
    help="Save all that is sound into the new container NEW; FILE is only read.",
)
@wait_option
@json_option
@isolated_option("container", rule=always)
def command(
    container: Path, index: bool, forget_log: bool, new: Path | None, wait_s: float, as_json: bool
) -> None:
    """Save what is sound of FILE into a new container, or set damaged objects of FILE aside.

    With -o, each object that can be proved by its digests is copied into NEW, also from a file that is cut
    short or cannot be opened; FILE is not changed. An object of which files are damaged is copied without
    them. The sound files of objects that cannot be copied are written to the folder NEW-parts. Exit code 17
    means that something could not be saved: it is named.

    Without -o, damaged objects are moved to the group /set_aside of FILE, where they no longer count as
    objects, an object whose name is not a key gets one, and the index is rebuilt; nothing is deleted. If the
    damage reaches the bookkeeping of the file itself, so that a change might write over sound data, this is
    refused. Commits that a killed process left in the log need no repair: every command sees them.

    \b
    Examples:
      simarchive repair water.h5 -o saved.h5
      simarchive repair water.h5 --index
    """
    if sum((index, forget_log, new is not None)) > 1:
        raise click.UsageError("--index, --forget-log and --output exclude each other")
    if forget_log:
        _forget_log(container, wait_s=wait_s, as_json=as_json)
        return
    if new is not None:
        _salvage(container, new, as_json=as_json)
        return
    with opening.for_changes(container, wait_s=wait_s) as backend:
        answer: dict[str, Any]
        if index:
            rows = backend.rebuild_index()
            answer = {"path": str(container), "rows": rows, "set_aside": [], "new_keys": {}}
        else:
            answer = {**backend.repair().as_dict(), "path": str(container)}
    if as_json:
        print_json(answer)
        return
    for damaged in answer["set_aside"]:
        print_line(f"{damaged['key']}: set aside, {damaged['message']}")
    for name, key in answer["new_keys"].items():
        print_line(f"{one_line(name)}: is {key} now, for its name was not a key")
    print_line(f"{container}: index rebuilt")
    for name, number in answer["rows"].items():
        print_line(f"  {name}: {count_text(number, 'object')}")


def _salvage(container: Path, new: Path, *, as_json: bool) -> None:
    from simarchive.storage.hdf5.salvage import salvage

    report = salvage(container, new)
    if as_json:
        print_json({**report.as_dict(), "path": str(container), "new_path": str(new)})
    else:
        n_saved = len(report.saved)
        print_line(f"{container} -> {new}: {count_text(n_saved, 'object')} saved whole")
        for remark in report.remarks:
            print_line(f"  note: {remark}")
        rows = [
            ("incomplete", key, name, why)
            for key, names in report.incomplete.items()
            for name, why in names.items()
        ]
        rows += [("damaged", key, "", why) for key, why in report.damaged.items()]
        rows += [("lost", key, "", "nothing of it was found") for key in report.lost]
        rows += [("new key", key, "", f"it was {old}") for old, key in report.new_keys.items()]
        if rows:
            print_table(("", "OBJECT", "FILE", "WHAT IS WRONG"), rows)
        if report.parts is not None:
            print_line(f"what is sound of damaged objects is in {report.parts}")
    if not report.ok:
        raise Findings(IncompleteError.exit_code)


def _forget_log(container: Path, *, wait_s: float, as_json: bool) -> None:
    from simarchive.container.container import forget_missing_log

    forgotten = forget_missing_log(container, timeout_s=wait_s)
    if as_json:
        print_json({"path": str(container), "forgotten": forgotten})
        return
    print_line(f"{container}: " + ("continues without that log" if forgotten else "no log is missing"))

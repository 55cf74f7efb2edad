"""`simarchive repair`: set damaged objects aside and rebuild the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, json_option, wait_option
from simarchive.cli.output import count_text, print_json, print_line
from simarchive.cli.streams import one_line


@click.command("repair", short_help="Set damaged objects aside and rebuild the index.")
@container_argument
@click.option("--index", "index", is_flag=True, help="Only rebuild the index; leave objects alone.")
@click.option(
    "--forget-log",
    is_flag=True,
    help="Only give up the commits in a log that is no longer beside FILE.",
)
@wait_option
@json_option
def command(container: Path, index: bool, forget_log: bool, wait_s: float, as_json: bool) -> None:
    """Set damaged objects of FILE aside and rebuild its index. Nothing is deleted.

    A damaged object is moved to the group /set_aside of the file, where it no longer counts as an object. One
    whose name is not a key gets a key. Commits that a killed process left in the log need no repair: every
    command sees them.

    \b
    Examples:
      simarchive repair water.h5
      simarchive repair water.h5 --index
    """
    if forget_log:
        _forget_log(container, wait_s=wait_s, as_json=as_json)
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


def _forget_log(container: Path, *, wait_s: float, as_json: bool) -> None:
    from simarchive.container.container import forget_missing_log

    forgotten = forget_missing_log(container, timeout_s=wait_s)
    if as_json:
        print_json({"path": str(container), "forgotten": forgotten})
        return
    print_line(f"{container}: " + ("continues without that log" if forgotten else "no log is missing"))

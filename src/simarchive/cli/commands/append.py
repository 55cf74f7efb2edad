"""`simarchive append`: add what is new at the end of a file that has grown."""

from __future__ import annotations

import glob
from pathlib import Path

import click

from simarchive.cli import opening
from simarchive.cli.arguments import (
    PATH,
    by_option,
    codec_option,
    container_argument,
    json_option,
    tmp_dir_option,
    wait_option,
)
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import print_json, print_line, size_text
from simarchive.cli.progress_bars import bytes_bar
from simarchive.errors import InvalidDataError


@click.command("append", short_help="Add what is new at the end of a file that grew.")
@container_argument
@click.argument("written", metavar="KEY/NAME")
@click.argument("source", metavar="SOURCE", type=PATH)
@by_option
@codec_option
@tmp_dir_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path,
    written: str,
    source: Path,
    by: str | None,
    codec: str,
    tmp_dir: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Make a stored file of FILE as long as SOURCE, which has grown since: the trajectory of a run.

    Only what is new is written, as one change. SOURCE is read from its start on, and refused if it does not
    begin with what is stored; only the number of frames that DCD and NetCDF files say at their start may
    differ. It may go on growing. If nothing is new, nothing is changed.

    \b
    Example:
      simarchive append runs.h5 8d13dbc1/trajectory.dcd run1/trajectory.dcd
    """
    start, slash, name = written.partition("/")
    if not slash:
        raise InvalidDataError(f"{written!r} is only a key: add the file, as in {written}/trajectory.dcd")
    with opening.for_changes(container, wait_s=wait_s, tmp_dir=tmp_dir, codec=codec) as backend:
        key = backend.full_key(start)
        with bytes_bar("appending", source.stat().st_size if source.exists() else None) as progress:
            backend.progress = progress
            n_bytes = backend.append_member(key, name, source, by=by)
        (info,) = (info for info in backend.list_members(key, [glob.escape(name)]) if info.name == name)
    if as_json:
        facts = {"key": key, "file": name, "added_bytes": n_bytes, "size": info.size, "blake3": info.digest}
        print_json(facts)
    elif n_bytes:
        print_line(f"{name}: {size_text(n_bytes)} added, {size_text(info.size)} now")
    else:
        print_line(f"{name}: nothing new, {size_text(info.size)} as before")

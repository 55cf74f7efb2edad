"""`simarchive amend`: change files, tags and notes of one object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import (
    by_option,
    codec_option,
    container_argument,
    json_option,
    key_argument,
    tmp_dir_option,
    wait_option,
)
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import print_json, print_line
from simarchive.cli.progress_bars import bytes_bar
from simarchive.errors import InvalidDataError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("amend", short_help="Change files, tags and notes of an object.")
@container_argument
@key_argument
@click.option("--add", "added", metavar="[NAME=]PATH", multiple=True, help="Add the file PATH, as NAME.")
@click.option("--replace", "replaced", metavar="[NAME=]PATH", multiple=True, help="Replace NAME by PATH.")
@click.option("--rename", "renamed", metavar="OLD=NEW", multiple=True, help="Give a file another name.")
@click.option("--remove", "removed", metavar="NAME", multiple=True, help="Remove a file.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Add a tag.")
@click.option("--untag", "untagged", metavar="TAG", multiple=True, help="Remove a tag.")
@click.option("--note", "notes", metavar="TEXT", multiple=True, help="Add a note to the history.")
@by_option
@codec_option
@tmp_dir_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path,
    key: str,
    added: tuple[str, ...],
    replaced: tuple[str, ...],
    renamed: tuple[str, ...],
    removed: tuple[str, ...],
    tags: tuple[str, ...],
    untagged: tuple[str, ...],
    notes: tuple[str, ...],
    by: str | None,
    codec: str,
    tmp_dir: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Change files, tags and notes of one object in FILE: all that is asked for, or nothing.

    Each option may be repeated. NAME is what the file is called in the object, by default as PATH is; "/"
    stands between folders. Files are renamed first, then removed, replaced and added. A file that the object
    names, such as the topology of a run, can be replaced or renamed, not removed. What was changed, by whom
    and when is shown by "simarchive show --history".

    \b
    Examples:
      simarchive amend water.h5 8d13dbc1 --add analysis/rdf.csv=rdf.csv
      simarchive amend water.h5 8d13dbc1 --replace output.pdb=fixed.pdb
      simarchive amend runs.h5 8d13dbc1 --tag production --untag draft
      simarchive amend runs.h5 8d13dbc1 --note "restarted at 40 ns"
    """
    if not any((added, replaced, renamed, removed, tags, untagged, notes)):
        raise InvalidDataError("nothing is to be changed: say what, as --add, --tag or --note do")
    pairs = [_renaming(text) for text in renamed]
    with opening.for_changes(container, wait_s=wait_s, tmp_dir=tmp_dir, codec=codec) as backend:
        key = backend.full_key(key)
        n_before = len(backend.history(key))
        with bytes_bar("storing", None) as progress, backend.transaction():
            backend.progress = progress
            for old, new in pairs:
                backend.rename_file(key, old, new, by=by)
            for name in removed:
                backend.remove_file(key, name, by=by)
            for name, path in map(_named, replaced):
                backend.replace_file(key, name, path, by=by)
            for name, path in map(_named, added):
                backend.add_file(key, name, path, by=by)
            if tags or untagged:
                _change_tags(backend, key, tags, untagged, by)
            for text in notes:
                backend.add_note(key, text, by=by)
        events = backend.history(key)[n_before:]
    if as_json:
        print_json({"key": key, "events": [event.as_dict() for event in events]})
        return
    from simarchive.storage.display.events import words_of

    for event in events:
        print_line(words_of(event))
    if not events:
        print_line("nothing had to be changed")


def _change_tags(
    backend: HDF5Storage, key: str, tags: tuple[str, ...], untagged: tuple[str, ...], by: str | None
) -> None:
    if untagged:
        backend.remove_tags(key, *untagged, by=by)
    if tags:
        backend.add_tags(key, *tags, by=by)


def _named(text: str) -> tuple[str, Path]:
    """Return the name of a file in the object, and where it is now."""
    name, equals, path = text.partition("=")
    # A file may have such a name itself.
    if not equals or Path(text).exists():
        return Path(text).name, Path(text)
    return name, Path(path)


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (equals and old and new):
        raise InvalidDataError(f"--rename takes OLD=NEW, two names of files in the object, not {text!r}")
    return old, new

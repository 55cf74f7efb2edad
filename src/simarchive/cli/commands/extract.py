"""`simarchive extract`: get files out of a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, json_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import print_json, print_line
from simarchive.cli.progress_bars import bytes_bar
from simarchive.cli.selection import choose, file_and_what
from simarchive.cli.streams import one_line
from simarchive.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from simarchive.container.members import MemberInfo

    Chosen = dict[str, list[MemberInfo]]


_SHOWN = 5


@click.command("extract", short_help="Write files of objects into a directory.")
@file_and_what("extracted")
@click.option(
    "--output", "-o", "directory", metavar="DIR", type=PATH, required=True, help="The directory to write to."
)
@click.option(
    "--files",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help='Only files whose name matches, such as "*.pdb"; may be repeated.',
)
@click.option("--flat", is_flag=True, help="Put files into DIR itself, not into DIR/<key>.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@json_option
@isolated_option("container")
def command(
    container: Path,
    what: tuple[str, ...],
    directory: Path,
    patterns: tuple[str, ...],
    flat: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the files of the objects that WHAT selects into DIR/<key>/, and print their paths.

    Each file is checked against its digest, and gets its name only once it is complete.

    \b
    Examples:
      simarchive extract water.h5 8d13dbc1 -o out/
      simarchive extract water.h5 phase=liquid T=298.15K --files "*.pdb" -o out/
    """
    with opening.for_reading(container) as backend:
        found = choose(backend, what) or []
        backend.prefetch(found, patterns or ("*",))
        chosen = {key: backend.list_members(key, patterns or None) for key in found}
        _check_chosen(chosen, patterns)
        folders = {key: directory if flat else directory / key for key in chosen}
        _check_places(chosen, folders, overwrite=overwrite)
        total = sum(info.size for infos in chosen.values() for info in infos)
        with bytes_bar("extracting", total) as progress:
            for key in chosen:
                backend.extract(key, folders[key], patterns or None, progress=progress)
    files = [
        {"key": key, "name": info.name, "path": str(folders[key] / info.name), "size": info.size}
        for key, infos in chosen.items()
        for info in infos
    ]
    if as_json:
        print_json({"files": files})
        return
    for file in files:
        print_line(one_line(str(file["path"])))


def _check_chosen(chosen: Chosen, patterns: tuple[str, ...]) -> None:
    if any(chosen.values()):
        return
    if not chosen:
        raise NotFoundError("no object matches: nothing was extracted; see 'simarchive query'")
    objects = ", ".join(list(chosen)[:_SHOWN]) + (", ..." if len(chosen) > _SHOWN else "")
    if patterns:
        wanted = " or ".join(map(repr, patterns))
        raise NotFoundError(f"no file of {objects} matches {wanted}: see 'simarchive show'")
    raise NotFoundError(f"{objects} has no files: see 'simarchive show'")


def _check_places(chosen: Chosen, folders: dict[str, Path], *, overwrite: bool) -> None:
    taken: dict[Path, str] = {}
    for key, infos in chosen.items():
        for info in infos:
            place = folders[key] / info.name
            if place in taken:
                raise ConflictError(
                    f"{taken[place]} and {key} both have a file {info.name!r}: extract them without --flat"
                )
            taken[place] = key
            if not overwrite and place.exists():
                raise ConflictError(f"'{place}' exists already: name another directory, or use --overwrite")

"""`simarchive export`: an archive as a directory of OpenFF Evaluator, as an RO-Crate, or as what cites it.

And the trajectory of one object as a file of another kind.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, container_argument, json_option
from simarchive.cli.isolation import isolated_option, of_others
from simarchive.cli.merge_report import report_merge, with_problems
from simarchive.cli.output import print_json, print_line
from simarchive.cli.progress_bars import bytes_bar, objects_bar
from simarchive.cli.selection import choose, what_argument
from simarchive.errors import ConflictError
from simarchive.ground.filesystem import error_of

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage

_STANDARD_OUTPUT = Path("-")


@click.command("export", short_help="Write FILE, or a trajectory, for other programs.")
@container_argument
@click.argument("directory", metavar="[DIR|KEY]", type=PATH, required=False)
@what_argument
@click.option(
    "--ro-crate",
    "crate",
    metavar="DIR",
    type=PATH,
    help="Write an RO-Crate: a new directory with a copy of FILE and its metadata.",
)
@click.option("--citation", metavar="PATH", type=PATH, help="Write CITATION.cff; - is standard output.")
@click.option("--datacite", metavar="PATH", type=PATH, help="Write DataCite's JSON; - is standard output.")
@click.option("--to", "target", metavar="PATH", type=PATH, help="Write a trajectory of an object to a file.")
@click.option("--start", metavar="N", type=int, help="With --to: the first frame; counted from 0.")
@click.option("--stop", metavar="N", type=int, help="With --to: the frame before which to end.")
@click.option("--step", metavar="N", type=click.IntRange(1), help="With --to: every N-th frame only.")
@click.option("--selection", metavar="TEXT", help="With --to: these atoms, in the words of MDAnalysis.")
@click.option(
    "--trajectory", metavar="NAME", help="With --to: this file of the object; by default the one it names."
)
@click.option("--topology", metavar="NAME", help="With --to: the topology, likewise.")
@click.option("--force", is_flag=True, help="With --to: replace a file that is there.")
@json_option
@isolated_option("container", rule=of_others)
def command(
    container: Path,
    directory: Path | None,
    what: tuple[str, ...],
    crate: Path | None,
    citation: Path | None,
    datacite: Path | None,
    target: Path | None,
    as_json: bool,
    **of_trajectory: Any,
) -> None:
    """Write the objects of FILE into a new directory, in the layout of OpenFF Evaluator.

    WHAT selects them: all by default. What they refer to is written, too. DIR must be empty or not exist.
    Keys are kept, and files come back byte for byte. Exit code 17 means that some objects could not be read:
    they are named, and all others are in DIR.

    With an option, write what repositories and search engines read instead; title, authors and so on are
    those that 'simarchive meta' sets. An RO-Crate needs: pip install 'simarchive[rocrate]'.

    With --to, write a trajectory of one object as a file: its key stands in the place of DIR. The ending
    decides: .nc (netCDF-4, names as in AMBER), .h5md, .xtc, .trr, .dcd or another one that MDAnalysis writes.

    \b
    Examples:
      simarchive export water.h5 stored_data/
      simarchive export water.h5 liquid_data/ phase=liquid
      simarchive export water.h5 --ro-crate crate/
      simarchive export water.h5 8d13 --to water.xtc --selection "name O"
      simarchive export water.h5 --citation CITATION.cff --datacite datacite.json
    """
    if target is not None:
        if directory is None or what or (crate, citation, datacite) != (None, None, None):
            raise click.UsageError("--to takes FILE and one KEY, and no other option of its kind")
        _export_trajectory(container, str(directory), target, as_json=as_json, **of_trajectory)
        return
    if any(value not in (None, False) for value in of_trajectory.values()):
        raise click.UsageError("options of a trajectory need --to")
    if directory is not None and (crate, citation, datacite) != (None, None, None):
        raise click.UsageError("DIR excludes --ro-crate, --citation and --datacite")
    if directory is not None:
        _export_objects(container, directory, what, as_json=as_json)
        return
    if (crate, citation, datacite) == (None, None, None):
        raise click.UsageError("name DIR, --to, --ro-crate, --citation or --datacite")
    if as_json and _STANDARD_OUTPUT in (citation, datacite):
        raise click.UsageError("--json and what goes to standard output exclude each other")
    written = _export_metadata(container, crate, citation, datacite)
    if as_json:
        print_json({"path": str(container), "written": written})
        return
    for place in written:
        print_line(f"{container} -> {place}")


def _export_metadata(
    container: Path, crate: Path | None, citation: Path | None, datacite: Path | None
) -> list[str]:
    from simarchive.storage.publication.citation import cff

    written = []
    with opening.for_reading(container) as backend:
        # All that can be refused comes before the first thing is written.
        texts = []
        if citation is not None:
            texts.append((citation, cff(backend.metadata)))
        if datacite is not None:
            texts.append((datacite, _datacite_text(backend)))
        for place, _ in texts:
            if place != _STANDARD_OUTPUT and os.path.lexists(place):
                raise ConflictError(f"'{place}' exists already: name a file that does not")
        if crate is not None:
            from simarchive.storage.publication.crate import write_crate

            with bytes_bar("copying", container.stat().st_size) as progress:
                names = write_crate(backend, crate, progress=progress)
            written += [str(crate / name) for name in names]
        for place, text in texts:
            if place == _STANDARD_OUTPUT:
                print_line(text.rstrip("\n"))
            else:
                _write(place, text)
                written.append(str(place))
    return written


def _datacite_text(backend: HDF5Storage) -> str:
    from simarchive.storage.publication.citation import datacite

    document = datacite(
        backend.metadata,
        created=backend.created_at,
        size_bytes=backend.path.stat().st_size,
        n_objects=len(backend),
    )
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write(place: Path, text: str) -> None:
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConflictError(f"'{place}' exists already: name a file that does not") from error
    except OSError as error:
        raise error_of(error, f"'{place}' cannot be written: {error.strerror or error}") from error


def _export_trajectory(
    container: Path,
    key: str,
    target: Path,
    *,
    start: int | None,
    stop: int | None,
    step: int | None,
    selection: str | None,
    trajectory: str | None,
    topology: str | None,
    force: bool,
    as_json: bool,
) -> None:
    with opening.for_reading(container) as backend, objects_bar("writing", None) as advance:
        full_key = backend.full_key(key)
        n_frames = backend.export_trajectory(
            full_key,
            target,
            trajectory=trajectory,
            topology=topology,
            frames=slice(start, stop, step),
            selection=selection,
            overwrite=force,
            progress=advance,
        )
    if as_json:
        print_json({"path": str(container), "key": full_key, "written": str(target), "n_frames": n_frames})
    else:
        print_line(f"{container} {full_key} -> {target}: {n_frames} frames")


def _export_objects(container: Path, directory: Path, what: tuple[str, ...], *, as_json: bool) -> None:
    from simarchive.storage.evaluator_directory import LocalFileStorage
    from simarchive.storage.merging import merge

    if directory.is_dir() and any(directory.iterdir()):
        raise ConflictError(f"'{directory}' is not empty: name one that is empty or does not exist")
    with (
        opening.for_reading(container) as source,
        # Before the directory is made: a selection that makes no sense must not leave one behind.
        contextlib.nullcontext(choose(source, what)) as keys,
        LocalFileStorage(directory) as target,
        objects_bar("exporting", len(source) if keys is None else len(keys)) as progress,
    ):
        report = merge(target, source, keys=keys, progress=progress)
        if keys is None:
            with_problems(report, source)
    report_merge({str(container): report}, directory, as_json=as_json)

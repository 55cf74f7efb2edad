"""`simarchive info`: what a container holds, and how much space it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import container_argument, json_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, date_text, print_facts, print_json, print_line, size_text
from simarchive.ground.texts import share_text
from simarchive.storage.display import wording

if TYPE_CHECKING:
    from simarchive.storage.hdf5.upkeep import ContainerOverview, ContainerStatistics
    from simarchive.storage.publication.metadata import ArchiveMetadata

_SHOWN_AUTHORS = 5
_FEW_OBJECTS = 200


@click.command("info", short_help="Show what FILE holds and how much space it takes.")
@container_argument
@click.option(
    "--files/--no-files",
    "counts_files",
    default=None,
    help=f"Count the files. By default they are where there are no more than {_FEW_OBJECTS} objects.",
)
@json_option
@isolated_option("container")
def command(container: Path, counts_files: bool | None, as_json: bool) -> None:
    """Show what FILE holds and how much space it takes.

    "files" is the number and original size of all files, "stored" the size that they take in FILE, and
    "shared" what was saved because equal files are stored once. To count them, every object is looked at; all
    else is known without that, however many there are.

    \b
    Examples:
      simarchive info water.h5
      simarchive info large.h5 --files
    """
    with opening.for_reading(container) as backend:
        if counts_files is None:
            counts_files = len(backend) <= _FEW_OBJECTS
        statistics = backend.statistics() if counts_files else backend.overview()
        metadata = backend.metadata
    if as_json:
        print_json({**statistics.as_dict(), "path": str(container), "metadata": metadata.as_dict()})
        return
    print_line(str(container), style="bold")
    print_facts([*_of_archive(metadata), *_facts(statistics)], indent=2)


def _of_archive(metadata: ArchiveMetadata) -> Iterator[tuple[str, str]]:
    """Yield what people look for first; `meta show` has the rest."""
    if metadata.title:
        yield "title", metadata.title
    if metadata.authors:
        names = [author.name for author in metadata.authors[:_SHOWN_AUTHORS]]
        more = len(metadata.authors) - len(names)
        yield "authors", "; ".join(names) + (f" and {more:,} more" if more else "")
    if metadata.license:
        yield "license", metadata.license
    if metadata.doi:
        yield "doi", metadata.doi


def _facts(statistics: ContainerOverview) -> Iterator[tuple[str, str]]:
    from simarchive.storage.hdf5.upkeep import ContainerStatistics

    yield "format", f"{statistics.format}, created by {statistics.created_by}"
    yield "created", date_text(statistics.created_at)
    yield "objects", "\n".join([f"{statistics.n_objects:,}", *_classes(statistics.objects_by_class)])
    if statistics.n_damaged:
        yield "damaged", f"{count_text(statistics.n_damaged, 'object')}: run 'simarchive verify'"
    if isinstance(statistics, ContainerStatistics):
        yield from _files(statistics)
    else:
        yield "files", "not counted: add --files"
    if statistics.n_removed:
        objects = count_text(statistics.n_removed, "object")
        yield "removed", f"{objects}, {size_text(statistics.removed_bytes)}: see 'simarchive log'"
    yield "on disk", size_text(statistics.file_bytes)
    yield "index", _index(statistics.index)
    yield "log", f"{size_text(statistics.log_bytes)} not yet in the file" if statistics.log_bytes else "empty"


def _files(statistics: ContainerStatistics) -> Iterator[tuple[str, str]]:
    stored, unshared = statistics.stored_bytes, statistics.logical_bytes - statistics.shared_bytes
    yield "files", f"{statistics.n_members:,}, {size_text(statistics.logical_bytes)}"
    ratio = f", {share_text(stored, unshared)} of the original" if unshared else ""
    yield "stored", f"{size_text(stored)}{ratio}"
    yield "shared", size_text(statistics.shared_bytes) if statistics.shared_bytes else "nothing"


def _classes(objects_by_class: dict[str, int]) -> list[str]:
    width = max((len(f"{number:,}") for number in objects_by_class.values()), default=0)
    return [f"  {number:>{width},} {name}" for name, number in objects_by_class.items()]


def _index(states: dict[str, str]) -> str:
    unknown = [name for name, state in states.items() if state == "not checked"]
    unready = [
        f"{wording.short_class_name(name)} {state}"
        for name, state in states.items()
        if state not in ("ready", "not checked")
    ]
    if unready:
        return f"{', '.join(unready)}: run 'simarchive repair --index'"
    ready = f"ready, {count_text(len(states) - len(unknown), 'class', 'classes')}"
    return f"{ready}; not checked: {', '.join(unknown)}" if unknown else ready

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
    from simarchive.storage.hdf5.upkeep import ContainerStatistics
    from simarchive.storage.publication.metadata import ArchiveMetadata

_SHOWN_AUTHORS = 5


@click.command("info", short_help="Show what FILE holds and how much space it takes.")
@container_argument
@json_option
@isolated_option("container")
def command(container: Path, as_json: bool) -> None:
    """Show what FILE holds and how much space it takes.

    "files" is the number and original size of all files, "stored" the size that they take in FILE, and
    "shared" what was saved because equal files are stored once.

    \b
    Example:
      simarchive info water.h5
    """
    with opening.for_reading(container) as backend:
        statistics = backend.statistics()
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


def _facts(statistics: ContainerStatistics) -> Iterator[tuple[str, str]]:
    yield "format", f"{statistics.format}, created by {statistics.created_by}"
    yield "created", date_text(statistics.created_at)
    yield "objects", "\n".join([f"{statistics.n_objects:,}", *_classes(statistics.objects_by_class)])
    if statistics.n_damaged:
        yield "damaged", f"{count_text(statistics.n_damaged, 'object')}: run 'simarchive verify'"
    yield "files", f"{statistics.n_members:,}, {size_text(statistics.logical_bytes)}"
    yield "stored", f"{size_text(statistics.stored_bytes)}{_ratio(statistics)}"
    yield "shared", size_text(statistics.shared_bytes) if statistics.shared_bytes else "nothing"
    if statistics.n_removed:
        objects = count_text(statistics.n_removed, "object")
        yield "removed", f"{objects}, {size_text(statistics.removed_bytes)}: see 'simarchive log'"
    yield "on disk", size_text(statistics.file_bytes)
    yield "index", _index(statistics.index)
    yield "log", f"{size_text(statistics.log_bytes)} not yet in the file" if statistics.log_bytes else "empty"


def _classes(objects_by_class: dict[str, int]) -> list[str]:
    width = max((len(f"{number:,}") for number in objects_by_class.values()), default=0)
    return [f"  {number:>{width},} {name}" for name, number in objects_by_class.items()]


def _ratio(statistics: ContainerStatistics) -> str:
    unshared = statistics.logical_bytes - statistics.shared_bytes
    if not unshared:
        return ""
    return f", {share_text(statistics.stored_bytes, unshared)} of the original"


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

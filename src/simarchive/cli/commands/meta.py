"""`simarchive meta`: what an archive says of itself: title, authors, licence and so on."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simarchive.cli import opening
from simarchive.cli.arguments import PATH, container_argument, json_option, wait_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, date_text, print_facts, print_json, print_line, print_notice
from simarchive.cli.streams import one_line
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError, StorageError
from simarchive.ground.filesystem import error_of

if TYPE_CHECKING:
    from simarchive.storage.publication.attributes import StoredMetadata
    from simarchive.storage.publication.metadata import ArchiveMetadata

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_TEXT_BYTES = 4 << 20
_STANDARD_INPUT = Path("-")


def metadata_options(command: Command) -> Command:
    """Add an option for each field; the command gets those that were given as ``fields``."""
    options = (
        click.option("--title", metavar="TEXT", help="One line."),
        click.option("--description", metavar="TEXT", help="What the data is, and what it was made for."),
        click.option("--readme", metavar="PATH", help="A README in Markdown; - is standard input."),
        click.option("--license", metavar="SPDX", help="Such as CC-BY-4.0: https://spdx.org/licenses."),
        click.option(
            "--author",
            "authors",
            metavar="AUTHOR",
            multiple=True,
            help='"Name <> (affiliation)" with the ORCID iD in <>, or "{Organization}"; repeat it for each.',
        ),
        click.option("--doi", metavar="DOI", help="Of this archive."),
        click.option("--version", metavar="TEXT", help="Of the data."),
        click.option(
            "--keyword", "keywords", metavar="WORD", multiple=True, help="Repeat it, or separate by commas."
        ),
        click.option(
            "--funding", metavar="FUNDING", multiple=True, help='"Funder (award number)"; repeat it for each.'
        ),
        click.option(
            "--software", metavar="PROGRAM", multiple=True, help='What made the data: "OpenMM 8.1.1".'
        ),
        click.option(
            "--reference",
            "references",
            metavar="DOI",
            multiple=True,
            help="DOI or address of the article, the code, other data.",
        ),
        click.option("--publisher", metavar="TEXT", help="The repository."),
        click.option("--published", metavar="DAY", help="The day of publication: 2027-03-01."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def given_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a command line sets, by name, from the options that were given."""
    fields = {name: value for name, value in options.items() if value is not None and value != ()}
    if "keywords" in fields:
        fields["keywords"] = [word for text in fields["keywords"] for word in text.split(",")]
    if "readme" in fields:
        fields["readme"] = fields["readme"] and _text_of(Path(fields["readme"]))
    return fields


@click.group("meta", short_help="Show or change what FILE says of itself: title, licence, authors.")
def command() -> None:
    """Show or change what FILE says of itself: title, licence, authors and so on.

    They are attributes of the root of FILE, under the names of the conventions ACDD and CF, so that other
    programs that read HDF5 or netCDF show them too.

    \b
    Examples:
      simarchive meta set water.h5 --title "Water" --license CC-BY-4.0
      simarchive meta show water.h5
      simarchive meta edit water.h5
    """


@command.command("show", short_help="Print the metadata of FILE.")
@container_argument
@click.option("--readme", "readme", is_flag=True, help="Print the README and nothing else.")
@json_option
@isolated_option("container")
def show(container: Path, readme: bool, as_json: bool) -> None:
    """Print what FILE says of itself: title, authors, licence and so on.

    \b
    Example:
      simarchive meta show water.h5
    """
    with opening.for_reading(container) as backend:
        stored = backend.stored_metadata()
    if as_json:
        print_json(
            {
                "path": str(container),
                "metadata": stored.metadata.as_dict(),
                "modified": stored.modified,
                "faults": stored.faults,
            }
        )
        return
    if readme:
        print_line(stored.metadata.readme or "")
        return
    print_line(str(container), style="bold")
    facts = list(metadata_facts(stored))
    print_facts(facts or [("metadata", "none: see 'simarchive meta set --help'")], indent=2)


def metadata_facts(stored: StoredMetadata) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each field that is set, for people; then what cannot be understood."""
    metadata = stored.metadata
    for name in ("title", "description", "license", "authors", "doi", "version", "keywords"):
        yield from _fact(metadata, name)
    for name in ("funding", "software", "references", "publisher", "published"):
        yield from _fact(metadata, name)
    if metadata.readme:
        first = next(line for line in metadata.readme.split("\n") if line.strip())
        yield "readme", f"{count_text(len(metadata.readme), 'character')}: {one_line(first)[:60]}"
    if stored.modified and not metadata.is_empty:
        yield "set", one_line(date_text(stored.modified))
    for name, fault in stored.faults.items():
        yield "fault", f"{one_line(name)}: {one_line(fault)}"


def _fact(metadata: ArchiveMetadata, name: str) -> Iterator[tuple[str, str]]:
    value = getattr(metadata, name)
    if isinstance(value, tuple):
        value = (", " if name == "keywords" else "\n").join(map(str, value))
    if value:
        yield name, value


@command.command("set", short_help="Set some of the metadata of FILE.")
@container_argument
@metadata_options
@wait_option
@json_option
@isolated_option("container")
def set_fields(container: Path, wait_s: float, as_json: bool, **options: Any) -> None:
    """Set some of what FILE says of itself; what is not named stays as it is.

    An option that may be repeated gives the whole list. An empty value removes a field: --doi "".

    \b
    Example:
      simarchive meta set water.h5 --license CC-BY-4.0 --readme README.md \\
        --author "Josiah Carberry <0000-0002-1825-0097> (Brown University)"
    """
    fields = given_fields(options)
    if not fields:
        raise click.UsageError("name what to set, such as --title")
    with opening.for_changes(container, wait_s=wait_s) as backend:
        metadata = backend.set_metadata(**fields)
    _say_set(container, metadata, list(fields), as_json=as_json)


def _say_set(container: Path, metadata: ArchiveMetadata, names: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(container), "metadata": metadata.as_dict()})
        return
    removed = [name for name in names if not getattr(metadata, name)]
    parts = [f"{', '.join(name for name in names if name not in removed)} set"] if names != removed else []
    parts += [f"{', '.join(removed)} removed"] if removed else []
    print_line(f"{container}: {'; '.join(parts)}")


@command.command("edit", short_help="Change the metadata of FILE in an editor.")
@container_argument
@click.option(
    "--from", "start", metavar="PATH", type=PATH, help="Begin with this text, not with what FILE says."
)
@wait_option
def edit(container: Path, start: Path | None, wait_s: float) -> None:
    """Open what FILE says of itself as text (TOML) in the editor that $VISUAL or $EDITOR names.

    It is written when the editor is closed. If the text cannot be read, FILE stays as it is, and the text is
    kept in a file that the message names.

    \b
    Example:
      simarchive meta edit water.h5
    """
    from simarchive.storage.publication import toml_text

    with opening.for_reading(container) as backend:
        before = backend.stored_metadata()
    for name, fault in before.faults.items():
        print_notice(f"simarchive: note: {one_line(name)}: {one_line(fault)}")
    text = toml_text.written(before.metadata) if start is None else _text_of(start)
    with tempfile.NamedTemporaryFile(
        "w", prefix="simarchive-", suffix=".toml", delete=False, encoding="utf-8"
    ) as file:
        place = Path(file.name)
        file.write(text)
    keeps = start is not None
    try:
        metadata = _edited(place)
        if metadata == before.metadata and not before.faults:
            print_line(f"{container}: nothing was changed")
        else:
            with (
                opening.for_changes(container, wait_s=wait_s) as backend,
                backend.transaction(),
            ):
                if backend.stored_metadata() != before:
                    raise ConflictError(f"another process changed the metadata of '{container}' meanwhile")
                backend.set_metadata(metadata)
            print_line(f"{container}: metadata written")
        keeps = False
    except (StorageError, KeyboardInterrupt, click.Abort, click.ClickException) as error:
        keeps = keeps or place.read_text("utf-8", "replace") != text
        if keeps and isinstance(error, StorageError):
            again = shlex.join(["simarchive", "meta", "edit", str(container), "--from", str(place)])
            error.add_note(f"FILE is as it was, and your text is kept; to go on with it: {again}")
        elif keeps:
            print_notice(f"simarchive: your text is kept in {place}")
        raise
    finally:
        if not keeps:
            place.unlink(missing_ok=True)


def _edited(place: Path) -> ArchiveMetadata:
    """Let a person edit a text until it can be read, or until nobody is there to ask."""
    from simarchive.storage.publication import toml_text

    while True:
        click.edit(filename=str(place))
        try:
            return toml_text.read(_text_of(place))
        except InvalidDataError as error:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            print_notice(f"simarchive: {one_line(str(error))}")
            if not click.confirm("Edit it again?", default=True, err=True):
                raise


def _text_of(place: Path) -> str:
    """Return the text of a file that the user names; ``-`` is standard input."""
    try:
        if place == _STANDARD_INPUT:
            content = sys.stdin.buffer.read(_MOST_TEXT_BYTES + 1)
        else:
            with place.open("rb") as file:
                content = file.read(_MOST_TEXT_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file '{place}'") from error
    except OSError as error:
        raise error_of(error, f"'{place}' cannot be read: {error.strerror or error}") from error
    if len(content) > _MOST_TEXT_BYTES:
        raise InvalidDataError(
            f"'{place}' is longer than {_MOST_TEXT_BYTES:,} bytes, so it is no README or metadata"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"'{place}' is not text in UTF-8: byte {error.start + 1} is wrong") from error

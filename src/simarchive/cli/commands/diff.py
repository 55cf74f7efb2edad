"""`simarchive diff`: where two containers differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import opening
from simarchive.cli.arguments import CONTAINER, json_option
from simarchive.cli.failures import Findings
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage

DIFFERENT = 1


@dataclass(frozen=True, slots=True)
class _Content:
    """What decides whether two objects are equal: the identity of the document, and the files' digests."""

    data_class: str
    identity: str
    files: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Differences:
    """Where two containers differ, by key."""

    only_in_first: list[str] = field(default_factory=list)
    only_in_second: list[str] = field(default_factory=list)
    other_key: dict[str, str] = field(default_factory=dict)  #: key in the first -> key in the second
    changed: dict[str, list[str]] = field(default_factory=dict)  #: key -> "document" and names of files
    n_equal: int = 0

    @property
    def none(self) -> bool:
        """Whether both hold the same under the same keys."""
        return not (self.only_in_first or self.only_in_second or self.other_key or self.changed)


@click.command("diff", short_help="Compare two containers object by object.")
@click.argument("first", metavar="A", type=CONTAINER)
@click.argument("second", metavar="B", type=CONTAINER)
@json_option
@isolated_option("first", "second")
def command(first: Path, second: Path, as_json: bool) -> None:
    """Compare two containers object by object: documents by identity, files by digest.

    Exit code 0 means that both hold the same objects under the same keys, 1 that they differ. Only keys and
    digests are read; "simarchive verify" checks that the bytes still match them.

    \b
    Example:
      simarchive diff mine.h5 theirs.h5
    """
    with opening.for_reading(first) as backend, opening.for_reading(second) as other:
        differences = compare(_contents(backend), _contents(other))
    if as_json:
        print_json({"equal": differences.none, **asdict(differences)})
    else:
        _print(differences, first, second)
    if not differences.none:
        raise Findings(DIFFERENT)


def compare(first: dict[str, _Content], second: dict[str, _Content]) -> Differences:
    """Return where two collections of objects differ."""
    differences = Differences()
    by_content: dict[_Content, list[str]] = {}
    for key, content in second.items():
        if key not in first:
            by_content.setdefault(content, []).append(key)
    for key, content in first.items():
        if key not in second:
            elsewhere = by_content.get(content)
            if elsewhere:
                differences.other_key[key] = elsewhere.pop(0)
            else:
                differences.only_in_first.append(key)
        elif content == second[key]:
            differences.n_equal += 1
        else:
            differences.changed[key] = _changes(content, second[key])
    found = set(differences.other_key.values())
    differences.only_in_second = [key for key in second if key not in first and key not in found]
    return differences


def _contents(backend: HDF5Storage) -> dict[str, _Content]:
    return {
        header.key: _Content(
            header.data_class,
            header.identity,
            tuple(sorted((info.name, info.digest) for info in backend.list_members(header.key))),
        )
        for header in backend.headers()
    }


def _changes(content: _Content, other: _Content) -> list[str]:
    changes = [] if content.identity == other.identity else ["document"]
    mine, theirs = dict(content.files), dict(other.files)
    return changes + [name for name in sorted({**mine, **theirs}) if mine.get(name) != theirs.get(name)]


def _print(differences: Differences, first: Path, second: Path) -> None:
    sections: tuple[tuple[str, list[Any]], ...] = (
        (f"only in {first}", differences.only_in_first),
        (f"only in {second}", differences.only_in_second),
        ("the same under another key", [f"{old} -> {new}" for old, new in differences.other_key.items()]),
        ("different", [f"{key}: {', '.join(what)}" for key, what in differences.changed.items()]),
    )
    for heading, lines in sections:
        if lines:
            print_line(f"{heading}: {count_text(len(lines), 'object')}", style="bold")
            for line in lines:
                print_line(f"  {line}")
    print_line(f"{count_text(differences.n_equal, 'object')} equal")

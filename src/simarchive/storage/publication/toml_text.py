"""Metadata as TOML, which a person edits: each field with a line on what belongs there."""

from __future__ import annotations

import datetime
import json
import re
import tomllib

from simarchive.errors import InvalidDataError
from simarchive.storage.publication.metadata import LISTS, ArchiveMetadata

_HINTS = {
    "title": "one line",
    "description": "a paragraph or two: what the data is, and what it was made for",
    "license": 'an SPDX identifier, such as "CC-BY-4.0": https://spdx.org/licenses',
    "authors": 'each "Name <ORCID iD> (affiliation)", or "{Organization}"',
    "doi": "of this archive, if it has one",
    "version": "of the data",
    "keywords": "to find it by",
    "funding": 'each "Funder (award number)"',
    "software": 'what made the data, with version: "OpenMM 8.1.1"',
    "references": "DOIs and addresses: the article, the code, other data",
    "publisher": "the repository",
    "published": "the day of publication: 2027-03-01",
    "readme": "Markdown",
}
_LONG = ("description", "readme")


def written(metadata: ArchiveMetadata) -> str:
    """Return the metadata as TOML, with every field, the empty ones too."""
    return "\n".join(f"# {hint}\n{name} = {_value(metadata, name)}\n" for name, hint in _HINTS.items())


def read(text: str) -> ArchiveMetadata:
    """Return the metadata that a text says; a field that is not in it is empty.

    Raises
    ------
    InvalidDataError
        If it is no TOML, or a value is not what it should be; the message names the line.
    """
    try:
        values = tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(f"the text is no TOML: {error}") from error
    metadata = ArchiveMetadata()
    for name, value in values.items():
        plain = value.isoformat() if isinstance(value, datetime.date) else value
        try:
            metadata = metadata.with_changes(**{name: plain})
        except InvalidDataError as error:
            raise InvalidDataError(f"line {_line_of(text, name)}: {error}") from error
    return metadata


def _value(metadata: ArchiveMetadata, name: str) -> str:
    value = getattr(metadata, name)
    if name in LISTS:
        lines = "".join(f"    {_quoted(str(part))},\n" for part in value)
        return f"[\n{lines}]" if value else "[]"
    if name in _LONG and value:
        escaped = value.replace("\\", "\\\\").replace('"""', '""\\"')
        return f'"""\n{escaped}\n"""'
    return _quoted(value or "")


def _quoted(text: str) -> str:
    # A JSON string is a basic string of TOML.
    return json.dumps(text, ensure_ascii=False)


def _line_of(text: str, name: str) -> int:
    """Return the number of the line in which a field begins; the first one if it is not found."""
    found = re.search(
        rf"^[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*[=.]|^[ \t]*\[+[ \t]*{re.escape(name)}", text, re.M
    )
    return 1 if found is None else text.count("\n", 0, found.start()) + 1

"""Metadata as texts in the container, and back: a field that was tampered with costs no other field.

Texts and lists of texts stand in one attribute each. Authors and funding are JSON; what the ACDD convention
wants of them (`creator_name`, `acknowledgement`) is derived from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from simarchive.container import layout
from simarchive.container import metadata as archive_texts
from simarchive.container.contents import Contents
from simarchive.container.metadata import ArchiveTexts
from simarchive.errors import InvalidDataError
from simarchive.ground import json_text
from simarchive.storage.publication.metadata import ArchiveMetadata, Author, Funding, checked

_BETWEEN_NAMES = "; "
# Field, attribute, what stands between the elements of a list.
_TEXTS = {
    "title": layout.ARCHIVE_TITLE,
    "description": layout.ARCHIVE_SUMMARY,
    "readme": layout.ARCHIVE_README,
    "license": layout.ARCHIVE_LICENSE,
    "doi": layout.ARCHIVE_ID,
    "version": layout.ARCHIVE_VERSION,
    "publisher": layout.ARCHIVE_PUBLISHER,
    "published": layout.ARCHIVE_PUBLISHED,
}
_LISTS = {
    "keywords": (layout.ARCHIVE_KEYWORDS, ", "),
    "software": (layout.ARCHIVE_SOFTWARE, "\n"),
    "references": (layout.ARCHIVE_REFERENCES, "\n"),
}
_AS_JSON = {
    "authors": (layout.ARCHIVE_AUTHORS, layout.ARCHIVE_CREATOR_NAME),
    "funding": (layout.ARCHIVE_FUNDING, layout.ARCHIVE_ACKNOWLEDGEMENT),
}
_DERIVED = {
    "authors": (
        layout.ARCHIVE_CREATOR_NAME,
        layout.ARCHIVE_CREATOR_TYPE,
        layout.ARCHIVE_CREATOR_URL,
        layout.ARCHIVE_CREATOR_INSTITUTION,
    ),
    "funding": (layout.ARCHIVE_ACKNOWLEDGEMENT,),
    "doi": (layout.ARCHIVE_NAMING_AUTHORITY,),
}


@dataclass(frozen=True, slots=True)
class StoredMetadata:
    """The metadata of a container, as far as they can be understood.

    Attributes
    ----------
    faults
        By field, or by attribute where it is of no field: what is wrong. A field that cannot be understood is
        not set here, and what stands in the file stays there until the field is set.
    modified
        When they were written last, ISO 8601; ``None`` if that is not known.
    """

    metadata: ArchiveMetadata = field(default_factory=ArchiveMetadata)
    faults: dict[str, str] = field(default_factory=dict)
    modified: str | None = None


def attributes_of(name: str) -> tuple[str, ...]:
    """Return the attributes in which a field stands, the derived ones too."""
    if name in _TEXTS:
        own: tuple[str, ...] = (_TEXTS[name],)
    elif name in _LISTS:
        own = (_LISTS[name][0],)
    else:
        own = (_AS_JSON[name][0],)
    return own + _DERIVED.get(name, ())


def read(contents: Contents) -> StoredMetadata:
    """Return the metadata of a container; what is damaged or malformed is a fault, never an error."""
    stored = archive_texts.read(contents)
    faults: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, find in _FINDERS.items():
        unreadable = [why for attribute, why in stored.faults.items() if attribute in attributes_of(name)]
        if unreadable:
            faults[name] = f"it cannot be read: {unreadable[0]}"
            continue
        try:
            values[name] = checked(name, find(stored.texts))
        except (InvalidDataError, ValueError, TypeError) as error:
            faults[name] = str(error)
    understood = ArchiveMetadata(**values)
    of_no_field = {layout.ARCHIVE_MODIFIED, layout.ARCHIVE_CONVENTIONS, layout.ARCHIVE_DIGEST}
    faults |= {
        name: f"it cannot be read: {why}" for name, why in stored.faults.items() if name in of_no_field
    }
    faults |= _contradictions(stored, understood, faults)
    if stored.is_as_written is False and not faults:
        faults["metadata"] = "they are not as they were written: damaged, or changed by another program"
    return StoredMetadata(understood, faults, stored.texts.get(layout.ARCHIVE_MODIFIED))


def write(contents: Contents, metadata: ArchiveMetadata, changed: set[str]) -> None:
    """Make these the metadata of a container; part of the open transaction.

    Parameters
    ----------
    changed
        The fields that are set. A field that is not among them, and is malformed in the file, stays as it is.
    """
    faults = read(contents).faults
    kept = [
        attribute
        for name in faults.keys() - changed
        if name in _FINDERS and not getattr(metadata, name)
        for attribute in attributes_of(name)
    ]
    archive_texts.write(contents, {} if metadata.is_empty else _texts_of(metadata), kept=kept)


def _texts_of(metadata: ArchiveMetadata) -> dict[str, str]:
    texts = {
        layout.ARCHIVE_CONVENTIONS: layout.ARCHIVE_CONVENTIONS_TEXT,
        layout.ARCHIVE_MODIFIED: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    texts |= {attribute: getattr(metadata, name) or "" for name, attribute in _TEXTS.items()}
    texts |= {
        attribute: between.join(getattr(metadata, name)) for name, (attribute, between) in _LISTS.items()
    }
    plain = metadata.as_dict()
    texts |= {
        attribute: json.dumps(plain[name], ensure_ascii=False)
        for name, (attribute, _) in _AS_JSON.items()
        if name in plain
    }
    texts |= _derived_texts(metadata)
    return {attribute: text for attribute, text in texts.items() if text}


def _derived_texts(metadata: ArchiveMetadata) -> dict[str, str]:
    """Return what the convention wants of authors, funding and DOI."""
    authors = metadata.authors
    kinds = dict.fromkeys("institution" if author.is_organization else "person" for author in authors)
    return {
        layout.ARCHIVE_CREATOR_NAME: _BETWEEN_NAMES.join(author.name for author in authors),
        layout.ARCHIVE_CREATOR_TYPE: "group" if len(kinds) > 1 else "".join(kinds),
        layout.ARCHIVE_CREATOR_URL: _BETWEEN_NAMES.join(
            f"https://orcid.org/{author.orcid}" for author in authors if author.orcid
        ),
        layout.ARCHIVE_CREATOR_INSTITUTION: _BETWEEN_NAMES.join(
            dict.fromkeys(author.affiliation for author in authors if author.affiliation)
        ),
        layout.ARCHIVE_ACKNOWLEDGEMENT: _BETWEEN_NAMES.join(map(str, metadata.funding)),
        layout.ARCHIVE_NAMING_AUTHORITY: layout.ARCHIVE_NAMING_AUTHORITY_TEXT if metadata.doi else "",
    }


def _contradictions(
    stored: ArchiveTexts, metadata: ArchiveMetadata, faults: Mapping[str, str]
) -> dict[str, str]:
    """Return what another program changed in a derived attribute only; what it was derived from counts."""
    derived = _derived_texts(metadata)
    found = {}
    for name, (own, _) in _AS_JSON.items():
        if name in faults or own not in stored.texts:
            continue
        for attribute in _DERIVED[name]:
            said = stored.texts.get(attribute, "")
            if said != derived[attribute]:
                found[name] = f"{attribute!r} says {said!r:.80}, and {own!r} something else"
                break
    return found


def _find_text(attribute: str) -> Callable[[Mapping[str, str]], str | None]:
    return lambda texts: texts.get(attribute)


def _find_list(attribute: str, between: str) -> Callable[[Mapping[str, str]], list[str]]:
    return lambda texts: [part.strip() for part in texts.get(attribute, "").split(between.strip(" "))]


def _find_authors(texts: Mapping[str, str]) -> Any:
    if layout.ARCHIVE_AUTHORS in texts:
        return _parsed(texts[layout.ARCHIVE_AUTHORS])
    names = texts.get(layout.ARCHIVE_CREATOR_NAME, "").split(_BETWEEN_NAMES.strip())
    return [Author(name) for name in names if name.strip()]


def _find_funding(texts: Mapping[str, str]) -> Any:
    if layout.ARCHIVE_FUNDING in texts:
        return _parsed(texts[layout.ARCHIVE_FUNDING])
    text = texts.get(layout.ARCHIVE_ACKNOWLEDGEMENT, "")
    return [Funding.parse(part) for part in text.split(_BETWEEN_NAMES.strip()) if part.strip()]


def _parsed(text: str) -> Any:
    try:
        return json_text.parse(text)
    except ValueError as error:
        raise InvalidDataError(f"it is not JSON: {error}") from error


_FINDERS: dict[str, Callable[[Mapping[str, str]], Any]] = {
    **{name: _find_text(attribute) for name, attribute in _TEXTS.items()},
    **{name: _find_list(attribute, between) for name, (attribute, between) in _LISTS.items()},
    "authors": _find_authors,
    "funding": _find_funding,
}

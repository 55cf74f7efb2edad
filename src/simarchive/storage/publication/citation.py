"""How to cite an archive, for others: CITATION.cff, and the JSON of DataCite that repositories take.

References
----------
Citation File Format 1.2.0. DataCite Metadata Schema 4.5; its JSON as in the schema of the package `datacite`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from simarchive.errors import InvalidDataError
from simarchive.storage.publication.metadata import ArchiveMetadata, Author

MEDIA_TYPE = "application/x-hdf5"
_RESOURCE_TYPE = "Molecular simulation data"
_UNKNOWN = ":unav"  # DataCite's text for a value that is not there (appendix 3)
_DOI_ADDRESS = "https://doi.org/"
_Part = TypeVar("_Part")
_OPERATORS = (" AND ", " WITH ", "(", "LicenseRef-")


def check_is_complete(metadata: ArchiveMetadata, what: str, *names: str) -> None:
    """Check that fields are set.

    Raises
    ------
    InvalidDataError
        If one is not; the message names all, and how they are set.
    """
    missing = [name for name in names if not getattr(metadata, name)]
    if missing:
        options = " ".join(f"--{'author' if name == 'authors' else name} ..." for name in missing)
        raise InvalidDataError(
            f"{what} needs {', '.join(missing)}, which the archive does not have:"
            f" 'simarchive meta set FILE {options}'"
        )


def license_ids(expression: str | None) -> list[str]:
    """Return the licences of which one may be chosen; none if the expression says more than that."""
    if expression is None or any(mark in expression for mark in _OPERATORS):
        return []
    return expression.split(" OR ")


def cff(metadata: ArchiveMetadata) -> str:
    """Return the text of CITATION.cff.

    Raises
    ------
    InvalidDataError
        If title or authors are missing.
    """
    check_is_complete(metadata, "CITATION.cff", "title", "authors")
    licenses = _each_once(license_ids(metadata.license))
    fields: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this data, please cite it as below.",
        "type": "dataset",
        "title": metadata.title,
        "abstract": metadata.description,
        "authors": _each_once(_cff_author(author) for author in metadata.authors),
        "doi": metadata.doi,
        "version": metadata.version,
        "date-released": metadata.published,
        "license": licenses[0] if len(licenses) == 1 else licenses,
        "keywords": _each_once(metadata.keywords),
    }
    return "".join(_yaml(fields))


def _each_once(parts: Iterable[_Part]) -> list[_Part]:
    """Return each part once: two may have differed only in what is left out, and schemas want no doubles."""
    result: list[_Part] = []
    for part in parts:
        if part not in result:
            result.append(part)
    return result


def _cff_author(author: Author) -> dict[str, str]:
    if author.is_organization:
        return {"name": author.name}
    family, given = author.family_and_given
    fields = {
        "family-names": family,
        "given-names": given,
        "orcid": f"https://orcid.org/{author.orcid}" if author.orcid else None,
        "affiliation": author.affiliation,
    }
    return {name: value for name, value in fields.items() if value}


def _yaml(fields: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in fields.items():
        if isinstance(value, list) and value:
            lines.append(f"{name}:\n")
            for part in value:
                if isinstance(part, dict):
                    marks = ["- ", *["  "] * (len(part) - 1)]
                    lines += [
                        f"  {mark}{inner}: {_yaml_text(text)}\n"
                        for mark, (inner, text) in zip(marks, part.items(), strict=True)
                    ]
                else:
                    lines.append(f"  - {_yaml_text(part)}\n")
        elif value:
            lines.append(f"{name}: {_yaml_text(value)}\n")
    return lines


def _yaml_text(text: str) -> str:
    """Return a double-quoted scalar: JSON, but for what YAML calls not printable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        letter
        if letter.isprintable()
        else f"\\u{ord(letter):04X}"
        if ord(letter) < 0x10000
        else f"\\U{ord(letter):08X}"
        for letter in quoted
    )


def datacite(metadata: ArchiveMetadata, *, created: str, size_bytes: int, n_objects: int) -> dict[str, Any]:
    """Return the metadata as DataCite's JSON.

    Without a DOI there is none in it: who registers one adds it. Without a publisher it says ``:unav``, and
    without a day of publication this year.

    Parameters
    ----------
    created
        When the archive was made, ISO 8601.

    Raises
    ------
    InvalidDataError
        If title or authors are missing.
    """
    check_is_complete(metadata, "DataCite", "title", "authors")
    year = metadata.published[:4] if metadata.published else str(datetime.datetime.now(datetime.UTC).year)
    document: dict[str, Any] = {
        "doi": metadata.doi,
        "creators": [_datacite_creator(author) for author in metadata.authors],
        "titles": [{"title": metadata.title}],
        "publisher": {"name": metadata.publisher or _UNKNOWN},
        "publicationYear": year,
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": _RESOURCE_TYPE},
        "subjects": [{"subject": keyword} for keyword in metadata.keywords],
        "dates": _datacite_dates(metadata, created),
        "relatedIdentifiers": [_datacite_relation(reference) for reference in metadata.references],
        "sizes": [f"{size_bytes} bytes", f"{n_objects} objects"],
        "formats": [MEDIA_TYPE],
        "version": metadata.version,
        "rightsList": _datacite_rights(metadata),
        "descriptions": _datacite_descriptions(metadata),
        "fundingReferences": [
            {"funderName": funding.funder} | ({"awardNumber": funding.award} if funding.award else {})
            for funding in metadata.funding
        ],
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    return {
        name: _each_once(value) if isinstance(value, list) else value
        for name, value in document.items()
        if value
    }


def _datacite_creator(author: Author) -> dict[str, Any]:
    if author.is_organization:
        creator: dict[str, Any] = {"name": author.name, "nameType": "Organizational"}
    else:
        family, given = author.family_and_given
        creator = {
            "name": f"{family}, {given}" if given else family,
            "nameType": "Personal",
            "familyName": family,
        }
        if given:
            creator["givenName"] = given
    if author.orcid:
        creator["nameIdentifiers"] = [
            {
                "nameIdentifier": f"https://orcid.org/{author.orcid}",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ]
    if author.affiliation:
        creator["affiliation"] = [{"name": author.affiliation}]
    return creator


def _datacite_dates(metadata: ArchiveMetadata, created: str) -> list[dict[str, str]]:
    dates = []
    try:
        day = datetime.datetime.fromisoformat(created).date().isoformat()
        dates.append({"date": day, "dateType": "Created"})
    except ValueError:
        pass  # what the file says is no time
    if metadata.published:
        dates.append({"date": metadata.published, "dateType": "Issued"})
    return dates


def _datacite_relation(reference: str) -> dict[str, str]:
    if reference.startswith(_DOI_ADDRESS):
        identifier, kind = reference.removeprefix(_DOI_ADDRESS), "DOI"
    else:
        identifier, kind = reference, "URL"
    return {"relatedIdentifier": identifier, "relatedIdentifierType": kind, "relationType": "References"}


def _datacite_rights(metadata: ArchiveMetadata) -> list[dict[str, str]]:
    if metadata.license is None:
        return []
    return [
        {
            "rights": name,
            "rightsUri": f"https://spdx.org/licenses/{name}.html",
            "rightsIdentifier": name,
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": "https://spdx.org/licenses/",
        }
        for name in license_ids(metadata.license)
    ] or [{"rights": metadata.license}]


def _datacite_descriptions(metadata: ArchiveMetadata) -> list[dict[str, str]]:
    found = []
    if metadata.description:
        found.append({"description": metadata.description, "descriptionType": "Abstract"})
    if metadata.software:
        text = f"Made with {', '.join(metadata.software)}"
        found.append({"description": text, "descriptionType": "TechnicalInfo"})
    if metadata.readme:
        found.append({"description": metadata.readme, "descriptionType": "Other"})
    return found

"""What others read: CITATION.cff and DataCite's JSON fit their schemas, an RO-Crate reads back as it was."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from archives import METADATA
from hypothesis import given, settings
from rocrate.rocrate import ROCrate
from test_archive_metadata import ANY_METADATA

from simarchive import ConflictError, HDF5Storage, InvalidDataError, NotFoundError
from simarchive.storage.publication.citation import cff, datacite
from simarchive.storage.publication.crate import write_crate
from simarchive.storage.publication.metadata import ArchiveMetadata, Author

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
ALL = ArchiveMetadata(**METADATA)
LEAST = ArchiveMetadata(title="T", authors=["Plato"])


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text())


DATACITE = jsonschema.Draft201909Validator(schema("datacite-v4.5.json"))
CFF = jsonschema.Draft7Validator(schema("cff-1.2.0.json"))


def as_datacite(metadata: ArchiveMetadata) -> dict[str, Any]:
    return datacite(metadata, created="2026-11-28T18:12:22+00:00", size_bytes=2_000_000, n_objects=13)


# --- DataCite and CITATION.cff ---------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [ALL, LEAST], ids=["all", "least"])
def test_datacite_json_fits_its_schema(metadata: ArchiveMetadata) -> None:
    DATACITE.validate(as_datacite(metadata))
    with pytest.raises(jsonschema.ValidationError):
        DATACITE.validate(as_datacite(metadata) | {"creators": [{}]})


def test_datacite_json_says_all_of_it() -> None:
    document = as_datacite(ALL)
    assert document["doi"] == "10.5281/zenodo.1234567"
    assert document["creators"][0] == {
        "name": "Carberry, Josiah",
        "nameType": "Personal",
        "familyName": "Carberry",
        "givenName": "Josiah",
        "nameIdentifiers": [
            {
                "nameIdentifier": "https://orcid.org/0000-0002-1825-0097",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ],
        "affiliation": [{"name": "Brown University"}],
    }
    assert document["creators"][1]["name"] == "van der Berg, Anna"
    assert document["creators"][2] == {
        "name": "The Open Force Field Initiative",
        "nameType": "Organizational",
    }
    assert document["rightsList"][0]["rightsIdentifier"] == "CC-BY-4.0"
    assert document["publisher"] == {"name": "Zenodo"}
    assert document["publicationYear"] == "2027"
    assert document["fundingReferences"] == [
        {"funderName": "Deutsche Forschungsgemeinschaft", "awardNumber": "123456"},
        {"funderName": "NIH"},
    ]
    assert [related["relatedIdentifierType"] for related in document["relatedIdentifiers"]] == ["DOI", "URL"]
    assert {date["dateType"]: date["date"] for date in document["dates"]} == {
        "Created": "2026-11-28",
        "Issued": "2027-03-01",
    }
    assert as_datacite(LEAST)["publisher"] == {"name": ":unav"}


@pytest.mark.parametrize("metadata", [ALL, LEAST], ids=["all", "least"])
def test_citation_cff_fits_its_schema(metadata: ArchiveMetadata) -> None:
    found = yaml.load(cff(metadata), yaml.BaseLoader)
    CFF.validate(found)
    with pytest.raises(jsonschema.ValidationError):
        CFF.validate(found | {"doi": "none"})


def test_citation_cff_says_how_to_cite() -> None:
    found = yaml.safe_load(cff(ALL))
    assert (found["title"], found["doi"], found["version"]) == (ALL.title, ALL.doi, "1.1")
    assert found["date-released"] == "2027-03-01"
    assert found["license"] == "CC-BY-4.0"
    assert found["authors"] == [
        {
            "family-names": "Carberry",
            "given-names": "Josiah",
            "orcid": "https://orcid.org/0000-0002-1825-0097",
            "affiliation": "Brown University",
        },
        {"family-names": "van der Berg", "given-names": "Anna", "affiliation": "Institute (North), Oslo"},
        {"name": "The Open Force Field Initiative"},
    ]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("MIT OR Apache-2.0", ["MIT", "Apache-2.0"]),
        ("MIT AND Apache-2.0", None),
        ("GPL-3.0-only WITH GCC-exception-3.1", None),
        ("LicenseRef-own", None),
    ],
)
def test_a_licence_expression_is_said_as_far_as_the_format_can(expression: str, found: Any) -> None:
    metadata = ALL.with_changes(license=expression)
    assert yaml.safe_load(cff(metadata)).get("license") == found
    CFF.validate(yaml.load(cff(metadata), yaml.BaseLoader))
    rights = as_datacite(metadata)["rightsList"]
    assert [right["rights"] for right in rights] == (found or [expression])
    DATACITE.validate(as_datacite(metadata))


def test_who_differs_only_in_what_the_format_cannot_say_is_named_once() -> None:
    twice = (
        Author("The Initiative", None, "Irvine", is_organization=True),
        Author("The Initiative", None, "Boulder", is_organization=True),
    )
    metadata = ALL.with_changes(authors=twice, license="MIT OR MIT")
    found = yaml.load(cff(metadata), yaml.BaseLoader)
    CFF.validate(found)
    assert found["authors"] == [{"name": "The Initiative"}]
    assert found["license"] == "MIT"
    DATACITE.validate(as_datacite(metadata))


@given(ANY_METADATA)
@settings(max_examples=50, deadline=None)
def test_whatever_the_metadata_say_both_fit_their_schemas(metadata: ArchiveMetadata) -> None:
    if not (metadata.title and metadata.authors):
        with pytest.raises(InvalidDataError):
            cff(metadata)
        return
    DATACITE.validate(json.loads(json.dumps(as_datacite(metadata))))
    found = yaml.load(cff(metadata), yaml.BaseLoader)
    CFF.validate(found)
    assert found["title"] == metadata.title
    assert found.get("abstract") == metadata.description


# --- RO-Crate ----------------------------------------------------------------------------------------------


def test_a_crate_reads_back_with_all_that_it_has_to_have(archive: Path, tmp_path: Path) -> None:
    copied: list[int] = []
    with HDF5Storage(archive, mode="r") as backend:
        names = write_crate(backend, tmp_path / "crate", progress=copied.append)
    assert names == ["CITATION.cff", "README.md", "ro-crate-metadata.json", "water.h5"]
    assert sum(copied) == archive.stat().st_size
    crate = ROCrate(tmp_path / "crate")
    root = crate.root_dataset
    # What the specification asks of the root.
    assert root["name"] == ALL.title
    assert root["description"] == ALL.description
    assert root["datePublished"] == "2027-03-01"
    assert root["license"].id == "https://spdx.org/licenses/CC-BY-4.0"
    assert root["author"][0].id == "https://orcid.org/0000-0002-1825-0097"
    assert root["author"][0]["affiliation"]["name"] == "Brown University"
    assert [author.type for author in root["author"]] == ["Person", "Person", "Organization"]
    assert root["identifier"] == "https://doi.org/10.5281/zenodo.1234567"
    assert [funder["name"] for funder in root["funder"]] == ["Deutsche Forschungsgemeinschaft", "NIH"]
    assert crate.dereference("#simulation")["result"].id == "water.h5"
    assert crate.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"
    [file] = [entity for entity in crate.data_entities if entity.id == "water.h5"]
    copy = tmp_path / "crate" / "water.h5"
    assert file["contentSize"] == str(copy.stat().st_size)
    assert file["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert {entity.id for entity in crate.data_entities} == {"water.h5", "README.md", "CITATION.cff"}
    with HDF5Storage(copy, mode="r") as backend:
        assert backend.verify().ok
        assert (backend.metadata, len(backend)) == (ALL, 13)
    # Every reference within the crate leads to something in it.
    graph = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())["@graph"]
    known = {entity["@id"] for entity in graph}
    assert len(known) == len(graph)
    for entity in graph:
        for referenced in referenced_in(entity):
            assert referenced in known or referenced.startswith("https://w3id.org/ro/crate"), referenced


def referenced_in(entity: dict[str, Any]) -> Iterator[str]:
    for value in entity.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield part["@id"]


@pytest.mark.parametrize("field", ["title", "description", "license", "authors"])
def test_what_a_crate_has_to_have_is_asked_for(field: str, archive: Path, tmp_path: Path) -> None:
    with HDF5Storage(archive) as backend:
        backend.set_metadata(**{field: None})
    with HDF5Storage(archive, mode="r") as backend, pytest.raises(InvalidDataError, match=field):
        write_crate(backend, tmp_path / "crate")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["water.h5"]


def test_a_directory_with_something_in_it_is_not_touched(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    with HDF5Storage(archive, mode="r") as backend:
        with pytest.raises(ConflictError):
            write_crate(backend, tmp_path / "full")
        with pytest.raises(ConflictError):
            write_crate(backend, archive)
        with pytest.raises(NotFoundError):
            write_crate(backend, tmp_path / "not" / "there")
        write_crate(backend, tmp_path / "empty")
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["file"]
    assert len(list((tmp_path / "empty").iterdir())) == 4
    assert len(list(tmp_path.iterdir())) == 3


@contextmanager
def open_elsewhere(path: Path) -> Iterator[None]:
    """Have another process commit to a container, and keep it open."""
    program = (
        "import sys\nfrom simarchive import HDF5Storage\n"
        "backend = HDF5Storage(sys.argv[1])\nbackend.set_metadata(version='7')\n"
        "print('ready', flush=True)\nsys.stdin.read()\nbackend.close()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield
    finally:
        child.communicate()


def test_a_crate_is_not_made_of_half_of_the_commits(archive: Path, tmp_path: Path) -> None:
    with open_elsewhere(archive), HDF5Storage(archive, mode="r") as backend:
        with pytest.raises(ConflictError, match="not in the file yet"):
            write_crate(backend, tmp_path / "crate")
        assert not (tmp_path / "crate").exists()
    with HDF5Storage(archive, mode="r") as backend:
        write_crate(backend, tmp_path / "crate")
    with HDF5Storage(tmp_path / "crate" / "water.h5", mode="r") as copy:
        assert copy.metadata.version == "7"


def test_names_with_any_characters_become_entities(archive: Path, tmp_path: Path) -> None:
    names = ["Ж Ω", "a/b #c?", '{An "Org" & Co}']
    with HDF5Storage(archive) as backend:
        backend.set_metadata(authors=names, license="LicenseRef-own", doi="", published="")
    with HDF5Storage(archive, mode="r") as backend:
        write_crate(backend, tmp_path / "crate")
    root = ROCrate(tmp_path / "crate").root_dataset
    assert [author["name"] for author in root["author"]] == ["Ж Ω", "a/b #c?", 'An "Org" & Co']
    assert root["license"]["name"] == "LicenseRef-own"
    assert len(root["datePublished"]) == 10

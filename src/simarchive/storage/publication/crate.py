"""An archive as an RO-Crate: a directory with the file, and metadata that programs on the web understand.

References
----------
RO-Crate Metadata Specification 1.1, which asks for name, description, licence and date of the root.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simarchive.errors import ConflictError, InvalidDataError, NotFoundError, StorageError
from simarchive.journal.creation import workplace
from simarchive.journal.files import storage_error
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.publication.citation import MEDIA_TYPE, cff, check_is_complete, license_ids
from simarchive.storage.publication.metadata import ArchiveMetadata, Author, Funding

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

_VERSION = "1.1"
_PIECE_BYTES = 1 << 20
CITATION = "CITATION.cff"
README = "README.md"
_RESERVED = (CITATION, README, "ro-crate-metadata.json")


def write_crate(
    backend: HDF5Storage, directory: Path, *, progress: Callable[[int], None] | None = None
) -> list[str]:
    """Copy the file of a container into a new directory, with its metadata; return the names of the files.

    The directory gets its name when it is complete.

    Parameters
    ----------
    directory
        It must be empty, or not exist.
    progress
        Called with the number of bytes that were copied since the last call.

    Raises
    ------
    InvalidDataError
        If the library for RO-Crates is not installed, or metadata are missing that a crate has to have.
    ConflictError
        If the directory is not empty, or somebody writes to the container.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise InvalidDataError(
            "an RO-Crate needs the package rocrate: pip install 'simarchive[rocrate]'"
        ) from error
    metadata = backend.metadata
    check_is_complete(metadata, "an RO-Crate", "title", "description", "license", "authors")
    place = directory.absolute()
    _check_is_free(place)
    if backend.path.name in _RESERVED:
        raise ConflictError(f"a file named '{backend.path.name}' has no place in an RO-Crate: rename it")
    with workplace(place) as folder:
        made = folder / place.name
        made.mkdir()
        try:
            digest = _copy(backend, made / backend.path.name, progress)
            texts = {CITATION: cff(metadata)} | ({README: metadata.readme} if metadata.readme else {})
            for name, text in texts.items():
                (made / name).write_text(text, "utf-8")
            crate = ROCrate(version=_VERSION)
            _describe(crate, metadata, made, backend.path.name, digest, list(texts))
            crate.metadata.write(made)
            made.rename(place)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(error, "write", str(directory)) from error
    return sorted(entry.name for entry in place.iterdir())


def _check_is_free(place: Path) -> None:
    if not place.parent.is_dir():
        raise NotFoundError(f"there is no directory '{place.parent}' for '{place.name}'")
    if os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir())):
        raise ConflictError(f"'{place}' exists and is not empty: name a directory that does not exist")


def _copy(backend: HDF5Storage, target: Path, progress: Callable[[int], None] | None) -> str:
    """Copy the file of a container as it is; return its SHA-256.

    While it is being read nobody copies commits into it; but a writer may mark it as having a log, without
    which the copy cannot be opened.
    """
    digest = hashlib.sha256()
    with backend.reading():
        if backend.statistics().log_bytes:
            raise ConflictError(
                f"the last commits of '{backend.path}' are not in the file yet: close every program that"
                " writes to it, or open it for writing and close it"
            )
        with backend.path.open("rb") as source, target.open("xb") as copy:
            while piece := source.read(_PIECE_BYTES):
                copy.write(piece)
                digest.update(piece)
                if progress is not None:
                    progress(len(piece))
            copy.flush()
            os.fsync(copy.fileno())
    try:
        HDF5Storage(target, mode="r").close()
    except StorageError as error:
        raise ConflictError(f"somebody wrote to '{backend.path}' while it was copied: try again") from error
    return digest.hexdigest()


def _describe(
    crate: ROCrate, metadata: ArchiveMetadata, folder: Path, name: str, digest: str, texts: list[str]
) -> None:
    root = crate.root_dataset
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    root["name"] = metadata.title
    root["description"] = metadata.description
    root["datePublished"] = metadata.published or today
    root["license"] = _licenses(crate, metadata)
    root["author"] = [_author(crate, author) for author in metadata.authors]
    root["keywords"] = list(metadata.keywords) or None
    root["version"] = metadata.version
    if metadata.doi:
        root["identifier"] = f"https://doi.org/{metadata.doi}"
        root["cite-as"] = f"https://doi.org/{metadata.doi}"
    if metadata.publisher:
        root["publisher"] = _entity(
            crate, f"#publisher-{metadata.publisher}", "Organization", metadata.publisher
        )
    if metadata.references:
        root["citation"] = [
            _entity(crate, reference, "CreativeWork", reference) for reference in metadata.references
        ]
    if metadata.funding:
        root["funder"] = [_funder(crate, funding) for funding in metadata.funding]
        root["funding"] = [_grant(crate, funding) for funding in metadata.funding if funding.award] or None
    file = crate.add_file(
        folder / name,
        dest_path=name,
        properties={
            "name": metadata.title,
            "description": "A simarchive container: a collection of simulation data in one HDF5 file.",
            "encodingFormat": MEDIA_TYPE,
            "contentSize": str((folder / name).stat().st_size),
            "sha256": digest,
        },
    )
    for text, kind in ((README, "text/markdown"), (CITATION, "application/yaml")):
        if text in texts:
            size = str((folder / text).stat().st_size)
            properties = {"name": text, "encodingFormat": kind, "contentSize": size}
            crate.add_file(folder / text, dest_path=text, properties=properties)
    if metadata.software:
        _add_action(crate, metadata, file)
    for empty in [name for name, value in root.properties().items() if value is None]:
        del root[empty]


def _licenses(crate: ROCrate, metadata: ArchiveMetadata) -> Any:
    names = license_ids(metadata.license)
    found = [_entity(crate, f"https://spdx.org/licenses/{name}", "CreativeWork", name) for name in names]
    if not found:
        found = [_entity(crate, "#license", "CreativeWork", str(metadata.license))]
    return found[0] if len(found) == 1 else found


def _funder(crate: ROCrate, funding: Funding) -> Any:
    return _entity(crate, f"#funder-{funding.funder}", "Organization", funding.funder)


def _grant(crate: ROCrate, funding: Funding) -> Any:
    funder = {"@id": _funder(crate, funding).id}
    return _entity(crate, f"#grant-{funding}", "Grant", str(funding), identifier=funding.award, funder=funder)


def _author(crate: ROCrate, author: Author) -> Any:
    identifier = f"https://orcid.org/{author.orcid}" if author.orcid else f"#author-{author.name}"
    more: dict[str, Any] = {}
    if not author.is_organization:
        family, given = author.family_and_given
        more = {"familyName": family} | ({"givenName": given} if given else {})
    if author.affiliation:
        name = author.affiliation
        more["affiliation"] = {"@id": _entity(crate, f"#organization-{name}", "Organization", name).id}
    kind = "Organization" if author.is_organization else "Person"
    return _entity(crate, identifier, kind, author.name, **more)


def _add_action(crate: ROCrate, metadata: ArchiveMetadata, file: Any) -> None:
    """Say with which programs the file was made."""
    programs = [
        _entity(crate, f"#software-{name}", "SoftwareApplication", name).id for name in metadata.software
    ]
    _entity(
        crate,
        "#simulation",
        "CreateAction",
        "Simulation",
        instrument=[{"@id": program} for program in programs],
        result={"@id": file.id},
    )
    crate.root_dataset["mentions"] = {"@id": "#simulation"}


def _entity(crate: ROCrate, identifier: str, kind: str, name: str, /, **more: Any) -> Any:
    """Return a contextual entity, which is made once."""
    from rocrate.model.contextentity import ContextEntity

    local = f"#{urllib.parse.quote(identifier[1:])}" if identifier.startswith("#") else identifier
    known = crate.dereference(local)
    if known is not None:
        return known
    return crate.add(ContextEntity(crate, local, properties={"@type": kind, "name": name, **more}))

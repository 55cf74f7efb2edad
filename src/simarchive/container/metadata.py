"""What the archive says of itself: texts in attributes of the root, under the names of the ACDD convention.

This module knows names, texts and their digest. What the texts mean (an ORCID iD, a licence) is known to
`simarchive.storage.publication`. Nothing else depends on these attributes: damage to them costs no object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import h5py
from blake3 import blake3

from simarchive.container import layout, nodes
from simarchive.container.contents import Contents
from simarchive.container.nodes import UNREADABLE

LOGGER = logging.getLogger("simarchive")

NAMES = (
    layout.ARCHIVE_CONVENTIONS,
    layout.ARCHIVE_TITLE,
    layout.ARCHIVE_SUMMARY,
    layout.ARCHIVE_KEYWORDS,
    layout.ARCHIVE_LICENSE,
    layout.ARCHIVE_ID,
    layout.ARCHIVE_NAMING_AUTHORITY,
    layout.ARCHIVE_VERSION,
    layout.ARCHIVE_REFERENCES,
    layout.ARCHIVE_SOFTWARE,
    layout.ARCHIVE_PUBLISHER,
    layout.ARCHIVE_PUBLISHED,
    layout.ARCHIVE_MODIFIED,
    layout.ARCHIVE_CREATOR_NAME,
    layout.ARCHIVE_CREATOR_TYPE,
    layout.ARCHIVE_CREATOR_URL,
    layout.ARCHIVE_CREATOR_INSTITUTION,
    layout.ARCHIVE_ACKNOWLEDGEMENT,
    layout.ARCHIVE_README,
    layout.ARCHIVE_AUTHORS,
    layout.ARCHIVE_FUNDING,
)
"""The attributes, in the order in which they are written."""

LARGEST_TEXT_BYTES = 1 << 20
"""Of one text: as much as `nodes.read_text` believes."""


@dataclass(frozen=True, slots=True)
class ArchiveTexts:
    """The texts that could be read.

    Attributes
    ----------
    texts
        By the name of the attribute; what is absent is not in it.
    faults
        Name of each attribute that cannot be read, and why.
    is_as_written
        Whether the texts match the digest that was written with them; ``None`` if there is none, because
        another program wrote them, or nobody.
    """

    texts: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    is_as_written: bool | None = None


def read(contents: Contents) -> ArchiveTexts:
    """Return the texts of an archive. Whatever stands there, this raises no error of HDF5."""
    return _read(contents.root.id)


def _read(root: nodes.Node) -> ArchiveTexts:
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name in NAMES:
        try:
            text = nodes.find_text(root, name)
        except (*UNREADABLE, SystemError) as error:
            faults[name] = str(error)
            continue
        if text is not None:
            texts[name] = text
    try:
        digest = nodes.find_text(root, layout.ARCHIVE_DIGEST)
    except (*UNREADABLE, SystemError) as error:
        faults[layout.ARCHIVE_DIGEST] = str(error)
        digest = None
    return ArchiveTexts(texts, faults, None if digest is None else digest == _digest(texts))


def write(contents: Contents, texts: Mapping[str, str], *, kept: Iterable[str] = ()) -> None:
    """Make these the texts of the archive, with their digest; part of the open transaction.

    Parameters
    ----------
    texts
        By the names of `NAMES`; all others are removed.
    kept
        Names of attributes that stay as they are, whatever they hold.
    """
    root = contents.root.id
    kept = frozenset(kept)
    before = read(contents)
    stands = {name: before.texts[name] for name in kept if name in before.texts}
    texts = {**texts, **stands}
    changed = [
        name
        for name in NAMES
        if name not in kept and (name in before.faults or before.texts.get(name) != texts.get(name))
    ]
    with contents.in_one_piece():
        # All that goes is gone before the first new one comes: see `nodes.replace_attributes`.
        for name in (*changed, layout.ARCHIVE_DIGEST):
            nodes.delete_attribute(root, name)
        for name in changed:
            if name in texts:
                nodes.create_text(root, name, texts[name])
        if texts:
            nodes.create_text(root, layout.ARCHIVE_DIGEST, _digest(texts), is_ascii=True)
    contents.changes += 1


def copy_attributes(source: h5py.File, target: h5py.File) -> None:
    """Give the root of a copy the attributes of the source; texts that cannot be read are left out."""
    left_out = nodes.replace_attributes(source, target, optional={*NAMES, layout.ARCHIVE_DIGEST})
    for name, why in left_out.items():
        LOGGER.warning("%r of the archive cannot be read, and is not in the copy: %s", name, why)


def copy_to_new_root(source: nodes.Node, target: h5py.File) -> None:
    """Give an empty root the texts of another one, with their digest if they match it."""
    found = _read(source)
    for name, text in found.texts.items():
        nodes.write_text(target.id, name, text)
    if found.is_as_written:
        nodes.write_text(target.id, layout.ARCHIVE_DIGEST, _digest(found.texts), is_ascii=True)


def _digest(texts: Mapping[str, str]) -> str:
    """Return the BLAKE3 of all names and texts, each followed by a zero byte, in the order of the names."""
    hashed = blake3()
    for name in sorted(texts):
        hashed.update(f"{name}\0{texts[name]}\0".encode())
    return hashed.hexdigest()

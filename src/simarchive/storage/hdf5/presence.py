"""Whether two containers have the same object under the same key, told by digests."""

from __future__ import annotations

from simarchive.container.contents import Contents
from simarchive.errors import CorruptError, NotFoundError
from simarchive.storage.hdf5 import classes, indexing
from simarchive.storage.merging import references


def references_if_there(contents: Contents, source: Contents, key: str) -> list[str] | None:
    """Return the keys that an object refers to, if `contents` has it, whole, as `source` has it.

    ``None`` if it has not, or if only a comparison of all values could tell.

    Notes
    -----
    Equal identity digests mean the same class and document, arrays and all. What is here is read, and proved
    by its digests, so that an object that is damaged here is replaced by one that is not.
    """
    if key not in contents:
        return None
    try:
        mine, theirs = contents.header(key), source.header(key)
        if (mine.identity, mine.data_class_version) != (theirs.identity, theirs.data_class_version):
            return None
        if mine.has_ancillary_data != theirs.has_ancillary_data or mine.empty_folders != theirs.empty_folders:
            return None
        if mine.has_ancillary_data:
            digests = contents.digests_of_files(key)
            if not all(digests.values()) or digests != source.digests_of_files(key):
                return None
        # Without a loader: arrays are read now.
        return references(classes.interpret(contents, key, contents.document(key), lazily=True))
    except (CorruptError, NotFoundError, *indexing.NOT_UNDERSTOOD):
        return None

"""Copying the log's pages into the container, so that a kill at any moment leaves a way back.

The caller holds the container exclusively: nobody reads it. The steps, each durable before the
next begins:

1. the log itself is synced (a commit may have been found in it that its writer never synced);
2. the superblock gets its "open for writing" mark: stock HDF5 refuses the file from here on;
3. pages, end of file and seal are written;
4. the mark goes.

Broken off anywhere, the log still holds every page that was to be copied, and it stays valid until
`Log.restart`, which comes after step 4. Copying again is harmless.
"""

from __future__ import annotations

from simarchive.errors import CorruptError
from simarchive.journal.files import OpenFile
from simarchive.journal.frames import PAGE_BYTES
from simarchive.journal.log import Log
from simarchive.journal.seal import Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, guarded, is_intact


def copy_log_into(container: OpenFile, log: Log) -> None:
    """Make the container hold the last commit by itself; the log stays as it is."""
    if log.header is None or not log.states:
        return
    if not log.synced:
        log.sync()
    end, places = log.end, log.pages
    # Every commit logs page 0, so the true superblock is in the log.
    superblock = log.file.read(SUPERBLOCK_BYTES, places[0])
    if not is_intact(superblock):
        raise CorruptError(f"log {log.file.path!r} holds no HDF5 superblock: nothing was copied")
    mark = guarded(superblock)
    container.write(mark, 0)
    container.sync()
    for page in sorted(places):
        offset = page * PAGE_BYTES
        if offset < end:
            image = log.file.read(PAGE_BYTES, places[page])[: end - offset]
            container.write(mark + image[SUPERBLOCK_BYTES:] if page == 0 else image, offset)
    container.truncate(end)
    container.write(Seal(log.header.base.container_id, log.state).to_bytes(), end)
    container.sync()
    container.write(superblock, 0)
    container.sync()

"""Checkpoints: when the log is copied into the container, and how a kill at any moment leaves a way back.

The container is held exclusively meanwhile: nobody reads it. The steps, each durable before the
next begins:

1. the log itself is synced (a commit may have been found in it that its writer never synced);
2. the superblock gets its guard, the "open for writing" flag: stock HDF5 refuses the file from here on;
3. pages, end of file and seal are written;
4. the guard goes.

Broken off anywhere, the log still holds every page that was to be copied, and it stays valid until
`Log.restart`, which comes after step 4. Copying again is harmless.
"""

from __future__ import annotations

from simarchive.errors import CorruptError
from simarchive.journal.filepair import FilePair
from simarchive.journal.files import OpenFile
from simarchive.journal.frames import PAGE_BYTES
from simarchive.journal.log import Log
from simarchive.journal.recovery import ContainerHead, LogRelation, check_pages
from simarchive.journal.seal import Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, guarded, is_intact
from simarchive.journal.view import View


class Checkpoints:
    """Copies the log of one container when that is due or asked for; under the writer lock.

    Parameters
    ----------
    limit_bytes
        From this size of the log on a checkpoint is due; a little later if readers were in the way.
    """

    def __init__(self, pair: FilePair, view: View, limit_bytes: int) -> None:
        self.limit_bytes, self._postponed_to = limit_bytes, 0
        self._pair, self._view = pair, view

    @property
    def are_due(self) -> bool:
        """Whether the log is overlong, or a checkpoint was broken off."""
        log = self._pair.log
        due_bytes = max(self.limit_bytes, self._postponed_to)
        return (log is not None and log.size > due_bytes) or self._view.relation is LogRelation.PARTLY_COPIED

    @property
    def are_possible(self) -> bool:
        """Whether the log holds commits."""
        return self._view.shown_log is not None

    def copy(self, timeout_s: float) -> bool:
        """Copy the log, which stays as it is; False if readers stayed.

        The lock on the container may be gone afterwards.
        """
        pair, view, log = self._pair, self._view, self._pair.locked_log
        if not pair.lock_out_readers(timeout_s):
            self._postponed_to = log.size + self.limit_bytes // 4
            return False
        if view.relation is LogRelation.AHEAD:
            check_pages(pair.container, log)
        log.check()
        view.forget_container()
        copy_log_into(pair.container, log)
        view.note_checkpoint()
        self._postponed_to = 0
        return True

    def restart_log(self) -> None:
        """Restart the log on what was copied; nobody may read from its pages any more."""
        log, head = self._pair.locked_log, self._view.head
        assert head.seal is not None
        log.restart(head.seal, head.end, head.superblock)


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
        raise CorruptError(f"log {log.file.path!r} does not hold an HDF5 superblock: nothing was copied")
    # Of a seal that an earlier attempt has torn, only the list of former logs is lost.
    known = ContainerHead.of(container).seal or Seal(log.header.base.container_id, log.state)
    former = known.pending_in(log.ticket, overwritten=log.overwritten).former
    seal = Seal(log.header.base.container_id, log.state, log.ticket, former=former)
    guard = guarded(superblock)
    container.write(guard, 0)
    container.sync()
    for page in sorted(places):
        offset = page * PAGE_BYTES
        if offset < end:
            image = log.file.read(PAGE_BYTES, places[page])[: end - offset]
            container.write(guard + image[SUPERBLOCK_BYTES:] if page == 0 else image, offset)
    # The size last: it would give back room behind the end that is kept for the seal.
    container.write(seal.to_bytes(), end)
    container.truncate(end + seal.size)
    container.sync()
    container.write(superblock, 0)
    container.sync()

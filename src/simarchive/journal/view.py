"""The last commit, as the container and its log show it together."""

from __future__ import annotations

import contextlib

from simarchive.errors import FormatError, StorageError
from simarchive.journal.filepair import FilePair
from simarchive.journal.files import sync_name
from simarchive.journal.frames import round_up
from simarchive.journal.log import Log
from simarchive.journal.recovery import ContainerHead, LogRelation, check_pages, relation_of
from simarchive.journal.seal import NO_TICKET, SEAL_BYTES, Seal


class View:
    """What the pair of files showed at the last look, under a lock.

    Attributes
    ----------
    relation
        How the log relates to the container.
    state
        The digest of the last commit: equal digests, equal contents.
    end
        End of file of the last commit.
    """

    def __init__(self, pair: FilePair) -> None:
        self._pair = pair
        self._head: ContainerHead | None = None
        self._log: Log | None = None
        self._is_sealed = False
        self._checked_salt = b""
        self._left_as: tuple[int, int] | None = None
        self.relation = LogRelation.NOT_NEEDED
        self.state = b""
        self.end = 0
        self._last_ticket = NO_TICKET

    @property
    def head(self) -> ContainerHead:
        """The container's superblock and seal."""
        if self._head is None:
            raise StorageError(f"container {self._pair.path!r}: no operation is open")
        return self._head

    @property
    def shown_log(self) -> Log | None:
        """The log if it holds pages that the container may lack."""
        return None if self.relation is LogRelation.NOT_NEEDED else self._pair.log

    @property
    def sealed_from(self) -> int:
        """The offset at which the container has its seal, if it has one, and nothing of HDF5's."""
        # A checkpoint that was broken off may have torn the superblock, which then says anything. The seal
        # that it was to write lies behind the last commit, and the pages of an older one are in the log.
        return self.end if self.relation is LogRelation.PARTLY_COPIED else self.head.end

    @property
    def sealed(self) -> range:
        """The offsets of the container's seal, up to the end of a page, which are none of HDF5's."""
        start, size, seal = self.sealed_from, SEAL_BYTES, self.head.seal
        # Behind a shorter seal of an early version there may be bytes of commits that are in the log.
        if seal is not None and self.relation in (LogRelation.AHEAD, LogRelation.COPIED):
            size = seal.size
        return range(start, round_up(start + size))

    @property
    def bound(self) -> int:
        """The offset from which on nothing is committed, logged or sealed; under the writer lock."""
        return max(self.sealed.stop, round_up(self._pair.locked_log.high_water))

    def refresh(self, *, log_moved: bool) -> bool:
        """Look at the container again, and return whether anything differs from the last look."""
        container, log = self._pair.container, self._pair.log
        head = ContainerHead.of(container)
        if head == self._head and self._is_sealed and log is self._log and not log_moved:
            return False
        # If this fails nothing is known, and the next look must not take it for unchanged.
        self._head = None
        self.relation = relation_of(container, head, log)
        if self.relation is LogRelation.NOT_NEEDED and container.status().st_size < head.end:
            raise FormatError(
                f"container {container.path!r} is damaged or was cut short: it should have {head.end} bytes "
                f"and has {container.status().st_size}. Use a backup"
            )
        seal, shown = head.seal, self.shown_log
        if shown is not None:
            self._last_ticket = shown.ticket
        self._head, self._is_sealed, self._log = head, seal is not None, log
        self.end = head.end
        if shown is not None:
            self.state, self.end = shown.state, shown.end
        elif seal is not None:
            self.state = seal.state
        else:
            # A foreign program made the file, or had it open for writing.
            status = container.status()
            self.state = repr((container.identity, status.st_size, status.st_mtime_ns, head)).encode()
        return True

    def forget_container(self) -> None:
        """Consider nothing known about the container: it was replaced, or is about to change."""
        self._head = None

    def lacks_known_commits(self) -> bool:
        """Return whether the container lacks commits that were seen in the log beside it before."""
        with contextlib.suppress(StorageError):
            seal = ContainerHead.of(self._pair.container).seal
            return seal is not None and seal.is_pending and seal.ticket == self._last_ticket
        return False

    def note_commit(self) -> None:
        """Take in that the log holds one more commit of ours."""
        log = self._pair.locked_log
        self._last_ticket = log.ticket
        self.state, self.end = log.state, log.end
        if self.relation is LogRelation.NOT_NEEDED:
            self.relation = LogRelation.AHEAD

    def note_checkpoint(self) -> None:
        """Take in that the container holds the last commit by itself, whatever becomes of the log."""
        self._head, self._is_sealed = ContainerHead.of(self._pair.container), True
        self.relation = LogRelation.NOT_NEEDED

    def note_leaving(self) -> None:
        """Remember how a transaction leaves the container, to notice later whether it was changed."""
        self._left_as = None
        with contextlib.suppress(StorageError):
            status = self._pair.container.status()
            self._left_as = (status.st_size, status.st_mtime_ns)

    def check_for_foreign_bytes(self, *, is_last_writer: bool) -> None:
        """Compare the container with the log's digests, when a log is new to us or somebody was here.

        Parameters
        ----------
        is_last_writer
            No other writer has held the lock since our last transaction, so that a container with
            another size or time was changed by another program.
        """
        log, container = self._pair.locked_log, self._pair.container
        status = container.status()
        touched = is_last_writer and self._left_as != (status.st_size, status.st_mtime_ns)
        if self.relation is LogRelation.AHEAD and (touched or self._checked_salt != log.salt):
            check_pages(container, log)
        self._checked_salt = log.salt

    def may_append(self) -> bool:
        """Return whether the log, as it is, belongs to the container, as it is, durably."""
        log, head = self._pair.locked_log, self.head
        if self.relation is not LogRelation.NOT_NEEDED:
            return True
        header = log.header
        seal = head.seal
        if header is None or seal is None or header.base_superblock != head.superblock:
            return False
        if not seal.is_same_state(header.base):
            return False
        # A log with a frame that was taken back may still be read from: never write over it.
        return log.synced or not log.is_empty

    def restart_log(self) -> None:
        """Restart the log, durably, on what the container holds; that gets a seal if it has none."""
        pair, log = self._pair, self._pair.locked_log
        if self.head.seal is None:
            self._write_seal(Seal.new())
        # The ticket of the log that is about to be written over; it has no commits.
        self.withdraw_log()
        head = self.head
        seal = head.seal
        assert seal is not None
        log.restart(seal, head.end, head.superblock)
        sync_name(pair.container.files, pair.log_path)
        self._checked_salt = log.salt

    def announce_log(self) -> None:
        """Have the container say, durably, that the log may hold commits that it lacks."""
        if self.relation is not LogRelation.NOT_NEEDED:
            return
        log, seal = self._pair.locked_log, self.head.seal
        if seal is not None and not seal.is_pending:
            self._write_seal(seal.pending_in(log.ticket, overwritten=log.overwritten))

    def withdraw_log(self) -> None:
        """Have the container say, durably, that it lacks nothing; the log has no commits."""
        seal = self.head.seal
        if self.relation is LogRelation.NOT_NEEDED and seal is not None and seal.is_pending:
            self._write_seal(seal.settled())

    def _write_seal(self, seal: Seal) -> None:
        container = self._pair.container
        container.write(seal.to_bytes(), self.head.end)
        container.sync()
        self._head, self._is_sealed = ContainerHead.of(container), True

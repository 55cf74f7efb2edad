"""Atomic, durable commits for one HDF5 container file: the order of events.

A transaction goes through four methods of `Journal`:

1. `begin_write` takes the writer lock, finds the last commit, and clears away what a killed writer left.
2. HDF5 writes into `PagedFile`, up to `commit`. Pages stay in memory, or go to the log as an unfinished
   transaction if they are many; bulk bytes go into the container, behind everything that is committed.
3. `commit` makes the bulk bytes durable, appends one frame with all changed pages to the log, and makes that
   durable: this is the commit point. If it fails, `roll_back` shows the last commit again.
4. `end_write` copies an overlong log into the container (a checkpoint) and gives the lock back.

A reader takes `begin_read` and `end_read`. Recovery is not a step of its own: every operation looks for the
last commit, in the log and in the container.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from enum import Enum

from simarchive.errors import (
    CorruptError,
    DetachedLogError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
)
from simarchive.ground.filesystem import PathLike
from simarchive.journal.checkpoint import Checkpoints
from simarchive.journal.filepair import FilePair
from simarchive.journal.files import SYSTEM, Files, check_open
from simarchive.journal.frames import log_bytes_for, round_up
from simarchive.journal.log import Log
from simarchive.journal.pager import Access, PagedFile
from simarchive.journal.recovery import ContainerHead, LogRelation
from simarchive.journal.seal import SEAL_BYTES
from simarchive.journal.view import View

# How long a close, or the end of a transaction with an overlong log, waits for readers to leave.
_TIDY_WAIT_S = 0.05
# Room for the pages of small commits is kept in the container by so much at once.
_RESERVE_BYTES = 128 << 10


class Durability(Enum):
    """What survives when.

    A killed process never costs a commit, and power loss never damages the container: what differs
    is which commits a power loss (or a crash of the operating system) can take.
    """

    COMMIT = "commit"
    """Each commit is on the device when `commit` returns."""

    CLOSE = "close"
    """Commits are on the device after a checkpoint or `close`. A power loss before that can take
    the last ones, always from the end: what stays is the state after some earlier commit."""


class Journal:
    """One container file and its redo log `<file>-wal`.

    The caller opens HDF5 on `file`, begins a read operation or a transaction around everything it
    does with it, and opens a new HDF5 handle whenever a `begin_*` method returns True (the committed
    state has moved) or `roll_back` was called. Between operations no lock is held. A Journal is for
    one thread at a time (`PagedFile.read_at` apart) and for the process that opened it.

    Why a reader's snapshot holds until `end_read`, whatever writers do meanwhile: the pages it knows
    lie in the log, where nothing that was committed is written again within a generation, and in
    the container below `bound`, where only a checkpoint writes. A checkpoint, and with it the end of
    the generation, needs the container exclusively and so waits for the reader.

    A reader may see a commit a moment before it is durable, as soon as it is whole in the log.
    """

    def __init__(self, pair: FilePair, *, durability: Durability, checkpoint_bytes: int) -> None:
        self.path, self.writable = pair.path, pair.writable
        self.durability = durability
        self.file = PagedFile(pair.container, None, 0, range(0))
        self._pair = pair
        self._pid = os.getpid()
        self._access, self._depth = Access.IDLE, 0
        self._view = View(pair)
        # Whether the next begin_* must ask for a new HDF5 handle.
        self._needs_new_handle = True
        # Whether a tail of the container may have been cut off without a sync.
        self._tail_unsynced = True
        self._log_is_ready = False
        # Whether a commit found no room: that of the log may do, once it has been copied.
        self._was_full = False
        # Whether a commit was acknowledged without a sync, which `close` has to make up for.
        self._owes_sync = False
        # Up to here the device keeps room in the container for the pages in the log.
        self._reserved_to = 0
        self._checkpoints = Checkpoints(pair, self._view, checkpoint_bytes)

    @classmethod
    def open(
        cls,
        path: PathLike,
        *,
        writable: bool,
        skeleton: Callable[[], bytes] | None = None,
        durability: Durability = Durability.COMMIT,
        checkpoint_bytes: int = 4 << 20,
        files: Files = SYSTEM,
        log_directory: str | None = None,
    ) -> Journal:
        """Return the journal of the container at `path`; opening one that is there never writes.

        Parameters
        ----------
        skeleton
            Returns the bytes of an empty HDF5 file. With it, and `writable`, a missing container is
            created: all or nothing, and never over a file that appears meanwhile.
        checkpoint_bytes
            From this size on the log is copied into the container when a transaction ends.
        log_directory
            Where the log lies, if not beside the container: for a device without room. Nobody else finds
            the commits in it before they are copied.

        Raises
        ------
        NotFoundError
            If there is no such file, and no `skeleton` to create it.
        """
        if log_directory is not None and writable:
            # The commits that wait beside the container first: there must not be two logs.
            with contextlib.suppress(NotFoundError):
                cls.open(path, writable=True, durability=durability, files=files).close()
        pair = FilePair.open(
            path, writable=writable, skeleton=skeleton, files=files, log_directory=log_directory
        )
        return cls(pair, durability=durability, checkpoint_bytes=checkpoint_bytes)

    @property
    def log_path(self) -> str:
        """Where the log lies, or would."""
        return self._pair.log_path

    # ---- reading -------------------------------------------------------------------------

    def begin_read(self, timeout_s: float = 10.0) -> bool:
        """Begin a read operation on the last commit, and say whether HDF5 needs a new handle on `file`.

        Inside a transaction or another read operation it only nests. It writes nothing, anywhere.

        Returns
        -------
        bool
            True if the committed state has moved since the last operation; True the first time.

        Raises
        ------
        LockedError
            If a checkpoint or a foreign HDF5 writer holds the container for `timeout_s`.
        ForeignChangeError
            If another program changed the container while commits were pending in the log.
        """
        self._check_usable()
        if self._access is not Access.IDLE:
            self._depth += 1
            return False
        deadline = time.monotonic() + timeout_s
        pair = self._pair
        pair.step_aside_for_checkpoint(deadline)
        try:
            replaced = pair.lock_container(deadline)
            try:
                self._find_last_commit(replaced=replaced)
            except DetachedLogError:
                # A writer may have begun the log between our look at it and that at the container.
                self._find_last_commit(replaced=replaced)
        except BaseException:
            # What was learnt on the way may not have been taken in.
            self._view.forget_container()
            self._release()
            raise
        self._access, self._depth = Access.READING, 1
        self.file.begin_reading()
        return self._pop_needs_new_handle()

    def _find_last_commit(self, *, replaced: bool) -> None:
        log = self._pair.find_log()
        moved = log.refresh() if log is not None else False
        self._show_last_commit(log_moved=moved, replaced=replaced)

    def end_read(self) -> None:
        """End a read operation; the lock goes with the outermost."""
        self._check_usable()
        if self._depth == 0 or (self._access is Access.WRITING and self._depth == 1):
            raise StorageError("end_read() without begin_read()")
        self._depth -= 1
        if self._depth == 0:
            self._release()

    def renew_file(self) -> None:
        """Put a new `file` in place of one on which HDF5 failed; the next operation asks for a new handle.

        Between operations.
        """
        self._check_usable()
        self._needs_new_handle = True
        self._replace_file()

    # ---- writing -------------------------------------------------------------------------

    def begin_write(self, timeout_s: float = 10.0) -> bool:
        """Begin a transaction on the last commit, and say whether HDF5 needs a new handle on `file`.

        Raises
        ------
        LockedError
            If another process holds the writer lock for `timeout_s`; the message names it.
        ReadOnlyError
            If the journal or the medium is read-only.
        ForeignChangeError
            If another program changed the container while commits were pending in the log.
        """
        self._check_usable()
        if not self.writable:
            raise ReadOnlyError(f"container {self.path!r} is open for reading only")
        if self._access is not Access.IDLE:
            raise StorageError(f"container {self.path!r}: end the open operation before a transaction")
        deadline = time.monotonic() + timeout_s
        pair = self._pair
        try:
            log = pair.lock_writer(deadline)
            replaced = pair.lock_container(deadline)
            log.forget_attempt()
            moved = log.refresh()
            self._show_last_commit(log_moved=moved, replaced=replaced)
            if self._view.relation is LogRelation.COPIED:
                self._finish_checkpoint(deadline)
            self._begin_transaction(log)
        except BaseException:
            # What was learnt on the way may not have been taken in.
            self._view.forget_container()
            self._release()
            raise
        return self._pop_needs_new_handle()

    def _finish_checkpoint(self, deadline: float) -> None:
        """Copy the log again, after a checkpoint that was broken off before the log was restarted.

        The container could not safely say that such a log has more commits: beside a log with commits, a torn
        seal means that another program changed the container.
        """
        if not self._copy_log(max(0.0, deadline - time.monotonic())):
            raise LockedError(
                f"container {self.path!r} is being read all the time, so that a checkpoint that was "
                "broken off cannot be finished: write later"
            )

    def _begin_transaction(self, log: Log) -> None:
        """Clear away what an earlier writer left, and accept writes."""
        is_last_writer = self._pair.claim_log()
        log.forget_unfinished()
        self._view.check_for_foreign_bytes(is_last_writer=is_last_writer)
        # Another writer may have cut a tail off, and died before that was durable.
        self._tail_unsynced |= not is_last_writer
        bound = self._view.bound
        if self._pair.container.status().st_size > bound:
            self._pair.container.truncate(bound)
            self._tail_unsynced = True
            self._reserved_to = min(self._reserved_to, bound)
        self._log_is_ready = self._view.may_append()
        self._access, self._depth = Access.WRITING, 1
        self.file.begin_writing(bound, self._log_to_append)

    def commit(self) -> bool:
        """Commit what HDF5 flushed, and say whether that was anything.

        HDF5 must have been flushed, or its handle closed, before. The handle may go on after it.

        Raises
        ------
        StorageFullError, StorageIOError
            If the commit failed. Nothing of it counts; `roll_back` makes the journal usable again.
        CommitInDoubtError
            If it failed and even that could not be made sure; see `roll_back`.
        """
        self._check_writing()
        file = self.file
        if file.failure is not None:
            raise file.failure
        if self._pair.locked_log.in_doubt:
            self._pair.locked_log.retract()
        try:
            pages = file.changed_pages()
            if not pages:
                file.forget_changes()
                return False
            log = self._log_to_append()
            self._reserve(file.end)
            # What the commit points at must be durable before it; with Durability.CLOSE, too, since the
            # log vouches for its own bytes only. And a hole must read as zeros after a crash as well.
            if file.wrote_bulk or (self._tail_unsynced and file.end > file.bound):
                self._pair.container.sync()
                self._tail_unsynced = False
            log.append(pages, file.digests_before(log, pages), file.end, commit=True)
            if self.durability is Durability.COMMIT:
                log.sync()
            log.accept()
            self._owes_sync = not log.synced
        except BaseException as error:
            file.failure = error
            if self._pair.log is not None:
                self._pair.log.retract()
            if isinstance(error, StorageFullError):
                self._was_full = True
                error.add_note(
                    f"the log of this commit takes {log_bytes_for(len(pages))} bytes beside the "
                    "container; it may lie on another device: log_directory=..., or --tmp-dir"
                )
            raise
        self._view.note_commit()
        file.forget_changes()
        file.follow(log, log.end, self._view.sealed)
        file.bound = self._view.bound
        return True

    def _reserve(self, end: int) -> None:
        """Have room kept for all pages below `end`, so that a full device never stops a checkpoint."""
        container, start = self._pair.container, max(self._reserved_to, self._view.end)
        stop = round_up(end + SEAL_BYTES)
        if stop > start:
            try:
                container.allocate(start, stop - start + _RESERVE_BYTES)
                stop += _RESERVE_BYTES
            except StorageFullError:
                container.allocate(start, stop - start)
            self._reserved_to = stop

    def roll_back(self) -> None:
        """Go back to the last commit, with a new `file`; the transaction stays open.

        The old file is dead: it ignores what HDF5 writes while it closes its handle.

        Raises
        ------
        CommitInDoubtError
            If a failed commit cannot be taken back yet. Try again, or open the container again.
        """
        self._check_writing()
        old, log = self.file, self._pair.log
        self._tail_unsynced |= old.wrote_bulk
        self._replace_file()
        if log is not None:
            log.retract()
        bound = self._view.bound
        # This only gives room back; if it fails, the next transaction tries again.
        with contextlib.suppress(StorageError):
            if old.wrote_bulk and self._pair.container.status().st_size > bound:
                self._pair.container.truncate(bound)
                self._reserved_to = min(self._reserved_to, bound)
            if log is not None and (old.has_spilled or old.failure is not None):
                log.cut_debris()
        self.file.begin_writing(bound, self._log_to_append)

    def end_write(self) -> None:
        """Release the writer lock; roll back first if there are changes that were not committed.

        An overlong log is copied into the container if no reader is in the way, and so is any log after
        a commit for which there was no room. An error in that is not raised: the commit stands, and the
        next transaction tries again.
        """
        self._check_writing()
        if self._depth > 1:
            raise StorageError(f"container {self.path!r}: end the read operation before the transaction")
        try:
            if self.file.has_changes:
                self._needs_new_handle = True
                self.roll_back()
            if self._checkpoints.are_due or self._was_full:
                self._was_full = False
                with contextlib.suppress(StorageError):
                    self._copy_log(_TIDY_WAIT_S)
        finally:
            self._release()

    # ---- checkpoints and the end ---------------------------------------------------------

    def checkpoint(self, timeout_s: float = 10.0) -> bool:
        """Copy the log into the container, and say whether that worked out: False if readers stayed.

        Not inside an operation. The container holds the last commit by itself afterwards, for every
        HDF5 program to read.
        """
        deadline = time.monotonic() + timeout_s
        # What another writer committed is for the next begin_* to report.
        self._needs_new_handle |= self.begin_write(timeout_s)
        try:
            return self._copy_log(max(0.0, deadline - time.monotonic()))
        finally:
            self._release()

    def hold_exclusively(self, timeout_s: float) -> bool:
        """Copy the log and lock readers out until the transaction ends; return False if they stayed.

        Within a transaction in which nothing was changed.
        """
        self._check_writing()
        if self.file.has_changes:
            raise StorageError(f"container {self.path!r}: commit or roll back before it is replaced")
        return self._copy_log(timeout_s) and self._pair.lock_out_readers(timeout_s)

    def replace_container(self, successor: PathLike, *, in_place: bool = False) -> None:
        """Give the container's name to another file in one step, after `hold_exclusively`.

        Whatever happens, the name stands for one of the two, whole; processes that have the container open
        find the other one at their next operation. This journal has to be closed after it.

        Parameters
        ----------
        successor
            A complete HDF5 file in the same directory, not open anywhere.
        in_place
            Write the bytes of the other file, which may be on another device, over those of the container.
            If that is broken off, HDF5 and the journal refuse the container, and the other file is the
            only whole one.
        """
        # The log is empty, and fits every container: a crash between two of the steps loses nothing.
        if in_place:
            self._pair.overwrite_container(os.fspath(successor))
        else:
            self._pair.replace_container(os.fspath(successor))
        self._needs_new_handle = True
        self._view.forget_container()

    def _copy_log(self, timeout_s: float, *, restart: bool = True) -> bool:
        """Copy the log, under the writer lock; the lock on the container may be gone afterwards."""
        checkpoints, view = self._checkpoints, self._view
        if not checkpoints.are_possible:
            return True
        if not checkpoints.copy(timeout_s):
            return False
        self._owes_sync, self._reserved_to = False, 0
        # First, since a restart that fails halfway leaves pages where later ones will lie.
        self.file.follow(view.shown_log, view.end, view.sealed)
        if restart:
            checkpoints.restart_log()
        return True

    def close(self) -> None:
        """Roll back an open transaction, copy the log into the container and remove it, if nobody reads.

        Otherwise the log stays, with every commit in it, and whoever closes later tidies up.
        """
        if self._pair.is_closed:
            return
        is_mine = os.getpid() == self._pid
        try:
            if is_mine:
                if self._access is Access.WRITING and self.file.has_changes:
                    self.roll_back()
                self._release()
                if self.writable:
                    self._tidy_up()
        finally:
            try:
                log = self._pair.log
                if is_mine and self._owes_sync and log is not None:
                    log.sync()
            finally:
                if is_mine:
                    self._release()
                self.file.retire()
                self._pair.close()

    def abandon(self) -> None:
        """Close without writing anything: what was committed stays where it is, all else is forgotten."""
        self.file.retire()
        self._pair.close()

    def _tidy_up(self) -> None:
        """Leave a container without a log, if nobody is in the way."""
        if self._pair.find_log() is None and not self._view.lacks_known_commits():
            return
        try:
            self.begin_write(_TIDY_WAIT_S)
        except LockedError:
            # Whoever writes now closes after us.
            return
        except CorruptError:
            # Of a container that is in use under another name nothing is left to do here.
            if self._view.lacks_known_commits() or not self._remove_unused_log():
                raise
            return
        except NotFoundError:
            self._tidy_up_without_name()
            return
        if self._copy_log(_TIDY_WAIT_S, restart=False):
            self._view.withdraw_log()
            self._pair.remove_log()

    def _remove_unused_log(self) -> bool:
        """Remove the log if it has no commits; False if it has."""
        log = self._pair.log
        if log is not None and log.file.is_current() and log.file.try_lock(exclusive=True):
            log.refresh()
            if log.states:
                return False
            self._pair.remove_log()
        return True

    def _tidy_up_without_name(self) -> None:
        """Copy the log into a container that was renamed while it was open; of a removed one it goes, too."""
        pair, view = self._pair, self._view
        log = pair.log
        if log is None or not pair.lock_without_name():
            return
        if pair.container.status().st_nlink:
            log.refresh()
            view.forget_container()
            view.refresh(log_moved=True)
            if not self._copy_log(_TIDY_WAIT_S, restart=False):
                return
            view.withdraw_log()
        if log.file.is_current():
            pair.remove_log()

    # ---- state ---------------------------------------------------------------------------

    def _show_last_commit(self, *, log_moved: bool, replaced: bool) -> None:
        """Show the last commit as it is now: by the same file if it is the same state, else by a new one."""
        view, state = self._view, self._view.state
        if replaced:
            view.forget_container()
        if not view.refresh(log_moved=log_moved) and not self.file.wrote_while_idle:
            return
        # Another file in the container's place may hold the same, but the old one is closed.
        if replaced or view.state != state or self.file.wrote_while_idle:
            self._needs_new_handle = True
            self._replace_file()
        else:
            self.file.follow(view.shown_log, view.end, view.sealed)

    def _replace_file(self) -> None:
        """Put a new file in place of one whose HDF5 handle shows another state."""
        self.file.retire()
        view = self._view
        self.file = PagedFile(self._pair.container, view.shown_log, view.end, view.sealed)

    def _pop_needs_new_handle(self) -> bool:
        needed, self._needs_new_handle = self._needs_new_handle, False
        return needed

    def _log_to_append(self) -> Log:
        """Return the log, restarted if what it holds does not count."""
        log = self._pair.locked_log
        if log.in_doubt:
            log.retract()
        if not self._log_is_ready:
            self._view.restart_log()
            self._log_is_ready = True
        self._view.announce_log()
        return log

    def _check_usable(self) -> None:
        check_open(self.path, self._pid, is_closed=self._pair.is_closed)

    def _check_writing(self) -> None:
        self._check_usable()
        if self._access is not Access.WRITING:
            raise StorageError(f"container {self.path!r}: no transaction is open")

    def _release(self) -> None:
        """Give up all locks; the file answers nothing until the next operation."""
        self.file.stop()
        if self._access is Access.WRITING:
            self._view.note_leaving()
        self._access, self._depth = Access.IDLE, 0
        self._pair.release()


def forget_log(path: PathLike, *, timeout_s: float = 10.0, files: Files = SYSTEM) -> bool:
    """Have a container do without the log that its seal names and that is not beside it.

    The commits in that log are given up; the container is as it was before them. If the log comes back before
    anything else is stored they count again, and later it is refused.

    Returns
    -------
    bool
        False if no log is missing, and nothing was done.

    Raises
    ------
    LockedError
        If the container is in use.
    """
    pair = FilePair.open(path, writable=True, skeleton=None, files=files)
    deadline = time.monotonic() + timeout_s
    try:
        log = pair.lock_writer(deadline)
        pair.lock_container(deadline)
        if not pair.lock_out_readers(timeout_s):
            raise LockedError(f"container {pair.path!r} is being read all the time: try again later")
        log.refresh()
        head = ContainerHead.of(pair.container)
        seal = head.seal
        if seal is None or not seal.is_pending or seal.ticket == log.ticket:
            return False
        pair.container.write(seal.given_up().to_bytes(), head.end)
        pair.container.sync()
        return True
    finally:
        pair.release()
        pair.close()

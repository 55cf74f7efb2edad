"""The container: one HDF5 file that is read in snapshots and changed in transactions.

A `Container` holds the journal and, while it pays, an open HDF5 handle on it. Locks are held for one
read or one transaction, never longer: processes that have the same container open take turns.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import stat
import traceback
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import h5py

from simarchive.container import layout, nodes
from simarchive.container.changing import compaction
from simarchive.container.contents import Contents
from simarchive.container.new_file import LIBVER, check_is_free, create_empty, skeleton
from simarchive.errors import (
    ClosedError,
    FormatError,
    LockedError,
    NotFoundError,
    OutOfMemoryError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
    StorageIOError,
)
from simarchive.ground import attention
from simarchive.ground.filesystem import is_full
from simarchive.ground.signals import SIGNALS, Given, OpenBlock
from simarchive.ground.thread_lock import ThreadLock
from simarchive.journal import Durability, FarBytes, Journal, PagedFile, forget_log
from simarchive.journal.creation import workplace
from simarchive.journal.filepair import real_path
from simarchive.journal.files import SYSTEM, Files, OpenFile, status_of
from simarchive.remote.address import Address, name_of

# Without a cap the cache grows with every object looked at, and slows each look by a factor of ten.
METADATA_CACHE_BYTES = 1 << 20
# How long the end of a program waits for a thread that is working.
_EXIT_WAIT_S = 1.0
HDF5_ERRORS = (*nodes.UNREADABLE, SystemError, MemoryError)
"""What h5py raises when HDF5 fails; a `SystemError` when Python code that HDF5 called failed."""
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Container:
    """One container file.

    Parameters
    ----------
    path
        The file, which is created if it is missing and `writable` is set. Links are followed once, now. A
        container that is only read may be at a URL, too, or in a binary file object, which stays open.
    writable
        Whether transactions are possible. Opening an existing file never writes.
    lock_timeout_s
        How long to wait for another process or thread before `LockedError`.
    lock
        The lock that threads of this process share.
    files
        The system calls; a test hands in a disk of its own.
    log_directory
        Where the log lies, if not beside the file.

    Notes
    -----
    Handlers of signals wait while a read or a transaction is in progress: see `simarchive.ground.signals`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        writable: bool,
        durability: Durability = Durability.COMMIT,
        lock_timeout_s: float = 10.0,
        lock: ThreadLock | None = None,
        files: Files = SYSTEM,
        log_directory: str | None = None,
    ) -> None:
        self.path = name_of(path).absolute()
        self.writable = writable
        self.files = files
        self.lock_timeout_s = lock_timeout_s
        self._lock = lock or ThreadLock(f"container '{self.path}'", lock_timeout_s)
        self._journal: Journal | None = None
        self._handle: h5py.File | None = None
        self._file: PagedFile | None = None  # what the handle works on
        self._contents: Contents | None = None
        self._depth = 0  # of nested reads and transactions
        self._open_blocks = 0  # how many of these are blocks of the program's own code
        self._writing = False
        self.roll_backs = 0  #: how many transactions of this process were rolled back
        self._close_is_due = False  # asked for by the handler of a signal during an operation
        self._distrusted: set[str] = set()  # index tables that cannot be used, until they are rebuilt
        with self._lock:
            self._open: Callable[[], Journal]
            if isinstance(self.path, Address):
                if writable:
                    raise ReadOnlyError(
                        f"container '{self.path}' lies elsewhere and can only be read: mode='r'"
                    )
                self._open = _far_opener(path)
                self._journal = self._open()
            else:
                self.path = Path(real_path(self.path, files))
                _check_place(self.path, files, writable=writable)
                opener = functools.partial(
                    Journal.open,
                    self.path,
                    writable=writable,
                    durability=durability,
                    files=files,
                    log_directory=log_directory,
                )
                self._open = opener
                self._journal = opener(skeleton=skeleton)
            _OPEN_CONTAINERS.add(self)
            try:
                with self.reading():
                    pass
            except BaseException:
                self._close()
                raise

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._journal is None

    @property
    def is_changing(self) -> bool:
        """Whether a transaction is open."""
        return self._writing

    @property
    def file(self) -> PagedFile:
        """What the last commit is read from; within a read or a transaction."""
        return self._open_journal().file

    def reading(self) -> AbstractContextManager[Contents]:
        """Give the last committed state, or inside a transaction the state so far."""
        return _Reading(self)

    def open_reading(self, given: Given) -> AbstractContextManager[Given]:
        """Give what `reading` gives to a block of the program's own code, as `open_transaction` does."""
        return OpenBlock(_AroundProgram(self, _Reading(self)), given, lambda: self._lock.is_mine)

    def transaction(
        self, prepare: Callable[[Contents], object] | None = None
    ) -> AbstractContextManager[Contents]:
        """Give the contents for changes that become one commit, or none if an error leaves the block.

        A transaction inside another joins it. An error that leaves it after something was changed spoils the
        one around it: nothing of that is committed, even if the error was caught.

        Parameters
        ----------
        prepare
            Called with the contents first, as part of the transaction.

        Raises
        ------
        ReadOnlyError
            If the container was opened for reading.
        LockedError
            If another process or thread is writing and does not finish within the timeout.
        """
        return _Transaction(self, prepare)

    def open_transaction(
        self, prepare: Callable[[Contents], object] | None, given: Given
    ) -> AbstractContextManager[Given]:
        """Give a transaction for a block of the program's own code: handlers of signals run at once in it.

        Parameters
        ----------
        prepare
            As for `transaction`.
        given
            What the block gets.
        """
        inner = _AroundProgram(self, _Transaction(self, prepare))
        return OpenBlock(inner, given, lambda: self._lock.is_mine)

    def checkpoint(self) -> bool:
        """Copy committed pages from the log into the file; False if a reader is in the way."""
        with self._lock:
            return self._open_journal().checkpoint(self.lock_timeout_s)

    def rewrite(
        self,
        complete: Callable[[Path], None],
        *,
        tmp_directory: Path | None = None,
        members_last: bool = False,
    ) -> int:
        """Replace the file by a compact copy, in one step; return the number of objects.

        Only inside a transaction without other changes. Afterwards this container has to be closed.

        Parameters
        ----------
        complete
            Called with the path of the copy, which has no index yet, before it takes the file's place.
        tmp_directory
            Where the copy is made, if there is no room beside the file; it is then written over the file, and
            stays there if that is interrupted.
        members_last
            Whether the members of all objects come behind all else.

        Raises
        ------
        LockedError
            If readers do not leave within the timeout.
        ConflictError
            If the file has several names, or the directory has a copy that was left there.
        """
        journal = self._open_journal()
        assert self._handle is not None
        assert self._contents is not None
        in_place = tmp_directory is not None
        place = self.path if tmp_directory is None else tmp_directory / f"{self.path.name}.repacked"
        try:
            if in_place:
                check_is_free(place)
            with workplace(place) as folder:
                successor = folder / self.path.name
                with create_empty(successor) as target:
                    count = compaction.copy_objects(
                        self._handle, target, self._contents.names(), members_last=members_last
                    )
                complete(successor)
                if not journal.hold_exclusively(self.lock_timeout_s):
                    raise LockedError(f"container '{self.path}' is constantly being read: repack it later")
                if in_place:
                    # Under a name that is never cleaned up: if the rest is interrupted, it is the only copy.
                    successor = successor.rename(place)
                journal.replace_container(successor, in_place=in_place)
                if in_place:
                    place.unlink()
        except nodes.UNREADABLE as error:
            of_system = nodes.error_of_system(error) or error
            if isinstance(of_system, OSError) and is_full(of_system):
                needed = journal.file.end - self._handle.id.get_freespace()
                where = "beside it" if tmp_directory is None else f"in '{tmp_directory}'"
                raise StorageFullError(
                    f"no compact copy of '{self.path}' can be made: it takes about {needed} bytes {where}. "
                    "Make room, or have it made on another device with --tmp-dir"
                ) from error
            if not isinstance(of_system, OSError) or isinstance(error, StorageError):
                raise
            raise StorageIOError(f"no compact copy of '{self.path}' can be made: {of_system}") from error
        return count

    @property
    def log_path(self) -> str:
        """Where the redo log lies, or would."""
        return self._open_journal().log_path

    @property
    def far(self) -> FarBytes | None:
        """What brings the bytes of a container that lies elsewhere; ``None`` for one on this machine."""
        return self._open_journal().file.far

    def size_bytes(self) -> int:
        """Return the size of the container's file."""
        far = self.far
        return self.path.stat().st_size if far is None else far.size

    def log_bytes(self) -> int:
        """Return the size of the redo log; 0 if every commit is in the file."""
        try:
            return Path(self.log_path).stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Release the file; the last process out copies the log into it.

        An open transaction is rolled back. During an operation of this thread (in the handler of a signal, or
        in a function that reports progress), the container is closed when that ends.

        Raises
        ------
        LockedError
            If another thread is working and does not finish within the timeout.
        """
        if self._journal is None:
            return
        if self._lock.is_foreign:
            # The files were closed at the fork; nobody may wait for a thread of the parent.
            journal, self._journal = self._journal, None
            journal.file.retire()
            self._detach()
            return
        if self._lock.is_mine and (SIGNALS.is_delivering or self._depth > self._open_blocks):
            self._close_is_due = True
            return
        with self._lock:
            self._close()

    def _close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            return
        self._close_is_due = False
        try:
            # An idle handle has nothing that is not committed; what HDF5 writes now is not wanted.
            journal.file.retire()
            self._detach()
        finally:
            journal.close()

    def _close_if_due(self) -> None:
        if self._close_is_due and self._depth <= self._open_blocks:
            self._close()

    def close_at_exit(self) -> None:
        """Close what can be closed while threads may be working; what is not committed is lost."""
        if self._lock.try_acquire(_EXIT_WAIT_S):
            try:
                self._close()
            finally:
                self._lock.release()
        elif self._journal is not None:
            # A thread that will not finish has a transaction open. HDF5 must release the file before the
            # interpreter ends.
            journal, self._journal = self._journal, None
            journal.file.retire()
            self._detach()
            journal.abandon()

    def __del__(self) -> None:
        # A container that was left open: HDF5 complains if it is released after its file.
        with contextlib.suppress(StorageError, AttributeError):
            self.close()

    # --- reads -------------------------------------------------------------------------------------

    def _begin_reading(self) -> Contents:
        """Begin a read or nest in what is open; the thread's lock is held."""
        journal = self._open_journal()
        if not self._depth:
            moved = journal.begin_read(self.lock_timeout_s)
            self._depth = 1
            try:
                self._attach(writing=False, moved=moved)
            except BaseException as error:
                self._end_reading(error)
                raise
        else:
            self._depth += 1
        assert self._contents is not None
        return self._contents

    def _end_reading(self, error: BaseException | None) -> None:
        self._depth -= 1
        if self._depth:
            return
        journal = self._journal
        if journal is None:
            return  # closed meanwhile
        failure = journal.file.failure
        try:
            journal.end_read()
            if failure is not None:
                # HDF5 may have cached half of what it was reading.
                journal.renew_file()
                self._detach()
                # A table that could not be read may be intact; one that is damaged will be found again.
                self._distrusted.clear()
        except BaseException:
            self._reopen(journal)
            raise
        finally:
            self._close_if_due()
        # A caller may have taken a failed read for something missing.
        if failure is not None and failure is not error and (error is None or isinstance(error, Exception)):
            raise failure from error

    # --- transactions ------------------------------------------------------------------------------

    def _begin_transaction(self, prepare: Callable[[Contents], object] | None) -> Contents:
        """Begin a transaction or nest in it; the thread's lock is held."""
        journal = self._open_journal()
        if not self.writable:
            raise ReadOnlyError(f"container '{self.path}' is open for reading: open it with mode='a'")
        if self._depth and not self._writing:
            raise StorageError("a change was begun inside a read: finish reading first")
        moved, changes_before = False, 0
        if not self._depth:
            moved = journal.begin_write(self.lock_timeout_s)
            self._writing = True
        self._depth += 1
        try:
            if self._depth == 1:
                self._attach(writing=True, moved=moved)
            assert self._contents is not None
            changes_before = self._contents.changes
            if prepare is not None:
                prepare(self._contents)
        except BaseException as error:
            self._end_transaction(error, changes_before)
            raise
        return self._contents

    def _end_transaction(self, error: BaseException | None, changes_before: int) -> None:
        """End a transaction: commit it, or roll it back if there was an error.

        Parameters
        ----------
        changes_before
            What `Contents.changes` was at its beginning.
        """
        if self._depth > 1:
            self._depth -= 1
            if error is not None and self._contents is not None and self._contents.changes != changes_before:
                self._contents.spoil(error)
            return
        journal = self._journal
        if journal is None:
            # Closed inside the block: what was not committed is lost.
            self._depth, self._writing = 0, False
            if error is None:
                raise ClosedError(
                    f"container '{self.path}' was closed inside a transaction: nothing was kept"
                )
            return
        try:
            try:
                if error is None:
                    self._commit(journal)
            except BaseException as raised:
                error = raised
                raise
            finally:
                failure = journal.file.failure
                if error is not None:
                    self._roll_back(journal)
        except BaseException as raised:
            if failure is not None and failure is not raised and isinstance(raised, Exception):
                # HDF5 reports a failed write in its own words; the journal knows the reason.
                raise failure from raised
            raise
        finally:
            self._depth, self._writing = 0, False
            try:
                journal.end_write()
            except BaseException:
                self._reopen(journal)
                raise
            finally:
                self._close_if_due()
        if failure is not None and failure is not error and isinstance(error, Exception):
            raise failure from error

    # --- the parts of the above ----------------------------------------------------------------------

    def _open_journal(self) -> Journal:
        if self._journal is None:
            raise ClosedError(f"container '{self.path}' is closed: open it again")
        return self._journal

    def _raise_if_out_of_memory(self, error: BaseException) -> None:
        if isinstance(error, MemoryError) and not isinstance(error, StorageError):
            raise OutOfMemoryError(
                f"container '{self.path}' takes more memory than there is{attention.noted_place()}:"
                " close other programs, or raise the limit of memory of this one"
            ) from error

    def _reopen(self, journal: Journal) -> None:
        """Reopen the files after a clean-up that failed: no lock is held, and the last commit stands.

        If even that fails, the container is closed.
        """
        self._depth, self._writing = 0, False
        self._journal = None
        journal.file.retire()
        self._detach()
        journal.abandon()
        with contextlib.suppress(StorageError):
            self._journal = self._open()

    def _attach(self, *, writing: bool, moved: bool) -> None:
        """Open an HDF5 handle on the state at which the journal is."""
        if moved or (writing and self._handle is not None and self._handle.mode == "r"):
            self._detach()
        if self._handle is None:
            journal = self._open_journal()
            self._file = journal.file
            self._handle, self._contents = _open_contents(
                self._file, "r+" if writing else "r", self.path, self._distrusted
            )

    def _detach(self) -> None:
        """Release the HDF5 handle; what it has not flushed is lost, as it should be."""
        handle, self._handle, self._contents = self._handle, None, None
        if handle is not None:
            # HDF5 may find that the file has changed under it; this handle is not used again.
            with contextlib.suppress(*HDF5_ERRORS):
                handle.close()

    def _commit(self, journal: Journal) -> None:
        assert self._handle is not None
        assert self._contents is not None
        if self._contents.spoiled is not None:
            raise StorageError(
                f"a change to container '{self.path}' failed halfway, so the whole transaction is rolled back"
            ) from self._contents.spoiled
        try:
            self._contents.tables.flush()
            if self._contents.freed:
                # HDF5 writes its list of free space only when it closes the file, and without it the space
                # that this transaction freed would be lost to the next one.
                handle, self._handle, self._contents = self._handle, None, None
                handle.close()
            else:
                self._handle.flush()
        except HDF5_ERRORS as error:
            if isinstance(error, StorageError):
                raise
            raise StorageIOError(
                f"HDF5 could not finish the changes to container '{self.path}': {error};"
                " none of them was kept, the last commit stands"
            ) from error
        journal.commit()

    def _roll_back(self, journal: Journal) -> None:
        self.roll_backs += 1
        # While the file still answers: HDF5 may write and read what it releases.
        self._detach()
        self._distrusted.clear()
        journal.roll_back()


class _Reading(AbstractContextManager[Contents]):
    """What `Container.reading` returns: not a generator, which could be interrupted between its steps."""

    __slots__ = ("_container",)

    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> Contents:
        container = self._container
        container._lock.__enter__()
        try:
            return container._begin_reading()
        except BaseException as error:
            container._close_if_due()
            container._lock.__exit__()
            container._raise_if_out_of_memory(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._container._end_reading(error)
        finally:
            self._container._lock.__exit__()
        if error is not None:
            self._container._raise_if_out_of_memory(error)


class _Transaction(AbstractContextManager[Contents]):
    """What `Container.transaction` returns."""

    __slots__ = ("_changes_before", "_container", "_prepare")

    def __init__(self, container: Container, prepare: Callable[[Contents], object] | None) -> None:
        self._container, self._prepare = container, prepare

    def __enter__(self) -> Contents:
        container = self._container
        container._lock.__enter__()
        try:
            contents = container._begin_transaction(self._prepare)
            self._changes_before = contents.changes
        except BaseException as error:
            container._close_if_due()
            container._lock.__exit__()
            container._raise_if_out_of_memory(error)
            raise
        return contents

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._container._end_transaction(error, self._changes_before)
        finally:
            self._container._lock.__exit__()
        if error is not None:
            self._container._raise_if_out_of_memory(error)


class _AroundProgram(AbstractContextManager[Contents]):
    """A read or a transaction around a block of the program's own code, which may close the container."""

    __slots__ = ("_container", "_inner")

    def __init__(self, container: Container, inner: AbstractContextManager[Contents]) -> None:
        self._container, self._inner = container, inner

    def __enter__(self) -> Contents:
        contents = self._inner.__enter__()
        self._container._open_blocks += 1
        return contents

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container._open_blocks -= 1
        self._inner.__exit__(kind, error, trace)


_OPEN_CONTAINERS: weakref.WeakSet[Container] = weakref.WeakSet()


@atexit.register
def _close_what_was_left_open() -> None:
    for container in list(_OPEN_CONTAINERS):
        with contextlib.suppress(StorageError):
            container.close_at_exit()


def forget_missing_log(path: Path, *, timeout_s: float) -> bool:
    """Give up the commits in a log that is no longer beside its container; False if no log is missing."""
    _check_place(Path(real_path(path, SYSTEM)), SYSTEM, writable=False)
    return forget_log(path, timeout_s=timeout_s)


def _far_opener(place: str | os.PathLike[str] | BinaryIO) -> Callable[[], Journal]:
    from simarchive.remote import journal  # what is on this machine starts without

    if isinstance(place, (str, os.PathLike)):
        return functools.partial(journal.opened_at, os.fspath(place))
    return functools.partial(journal.opened_in, place)


def _open_contents(
    file: PagedFile, mode: str, path: Path, distrusted: set[str]
) -> tuple[h5py.File, Contents]:
    handle = None
    try:
        handle = h5py.File(file, mode, libver=LIBVER)
        _check_format(handle, path)
        cache = handle.id.get_mdc_config()
        cache.set_initial_size = True
        cache.initial_size = cache.min_size = cache.max_size = METADATA_CACHE_BYTES
        handle.id.set_mdc_config(cache)
        return handle, Contents(handle, file, distrusted)
    except BaseException as error:
        # h5py's frames hold a property list, and whoever keeps the error keeps them. A list that is left
        # for HDF5 to free when the interpreter is gone ends the process with a segmentation fault.
        traceback.clear_frames(error.__traceback__)
        if handle is not None:
            with contextlib.suppress(*HDF5_ERRORS):
                handle.close()
        if file.failure is not None:
            raise file.failure from error
        if isinstance(error, StorageError | MemoryError) or not isinstance(error, HDF5_ERRORS):
            raise
        raise FormatError(
            f"'{path}' cannot be opened as HDF5: it is damaged or was cut short ({error})"
        ) from error


def _check_place(path: Path, files: Files, *, writable: bool) -> None:
    """Say in plain words why a file cannot be a container, before HDF5 says it in its own words."""
    status = status_of(files, path)
    if status is None:
        if not writable:
            raise NotFoundError(f"there is no container '{path}'")
        parent = status_of(files, path.parent)
        if parent is None or not stat.S_ISDIR(parent.st_mode):
            raise NotFoundError(f"there is no directory '{path.parent}' for container '{path.name}'")
        return
    if stat.S_ISDIR(status.st_mode):
        raise FormatError(f"'{path}' is a directory, not a container: name a file")
    try:
        file = OpenFile(files, str(path), writable=False)
    except ReadOnlyError as error:
        raise ReadOnlyError(f"container '{path}' may not be read by this user") from error
    try:
        signature = file.read(len(HDF5_SIGNATURE), 0)
    finally:
        file.close()
    if signature != HDF5_SIGNATURE:
        raise FormatError(
            f"'{path}' is not an HDF5 file, so not a container: see 'simarchive import' to make one"
        )


def _check_format(handle: h5py.File, path: Path) -> None:
    try:
        number = nodes.read_integer(handle.id, layout.FORMAT)
    except KeyError as error:
        raise FormatError(f"'{path}' is an HDF5 file of another program, not a container") from error
    except nodes.UNREADABLE as error:
        raise FormatError(f"container '{path}' has an unreadable format: {error}") from error
    if number < 1:
        raise FormatError(f"container '{path}' has the unreadable format {number}")
    if number > layout.FORMAT_NUMBER:
        raise FormatError(
            f"container '{path}' has format {number}; this version reads up to"
            f" {layout.FORMAT_NUMBER}: upgrade simarchive"
        )
    nodes.open_group(handle.id, layout.OBJECTS)

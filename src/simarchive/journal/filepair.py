"""The container and its log as a pair of open files, with the locks on them.

Order of locks: the log exclusively (the writer lock), one byte of the container (the writer lock of
those who came by another name), then the container; shared for reading and writing, exclusively for
a checkpoint. An idle process holds none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from simarchive.errors import (
    ConflictError,
    DetachedLogError,
    FormatError,
    LockedError,
    NotFoundError,
    StorageError,
    StorageIOError,
)
from simarchive.ground.filesystem import WRITE_PIECE_BYTES, PathLike, wait_until
from simarchive.journal.creation import create_file, set_access, sweep
from simarchive.journal.files import (
    SYSTEM,
    Files,
    NoLocksError,
    OpenFile,
    remove_name,
    status_of,
    storage_error,
    sync_name,
)
from simarchive.journal.frames import SECTOR_BYTES, Header, may_be_header
from simarchive.journal.locks import CHECKPOINT_WAITS, WRITER_BYTE, WRITER_WAITS, Holder, read_holder
from simarchive.journal.log import Log, SeenFrames
from simarchive.journal.recovery import ContainerHead
from simarchive.journal.seal import Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, end_of_file, guarded

LOG_SUFFIX = "-wal"
# A process that has just written lets those who wait go first.
_JUST_NOW_S, _STEP_ASIDE_S = 0.1, 0.003
# How long a log is in the making at most.
_MAKING_S = 0.2


class FilePair:
    """The open container, its log if there is one, and what is locked of them."""

    def __init__(self, container: OpenFile, *, writable: bool, log_directory: str | None = None) -> None:
        self.container, self.writable = container, writable
        self.path = container.path
        self.log_path = log_path_of(container.path, log_directory)
        self.log: Log | None = None
        self._seen = SeenFrames()
        self._holder = Holder.this_process()
        self._released_at = 0.0
        self._holds_writer_lock = self._holds_byte = False

    @classmethod
    def open(
        cls,
        path: PathLike,
        *,
        writable: bool,
        skeleton: Callable[[], bytes] | None,
        files: Files,
        log_directory: str | None = None,
    ) -> FilePair:
        """Return the pair at `path`, created from the bytes of `skeleton` if it is missing and may be.

        Links are resolved here, once: whatever the container is called, its log lies beside the file itself.

        Raises
        ------
        NotFoundError
            If there is no such file, and it is not to be created.
        DetachedLogError
            If it is to be created, and there is a log with the commits of one that was removed.
        """
        name = real_path(path, files)
        while True:
            try:
                container = OpenFile(files, name, writable=writable)
                break
            except FileNotFoundError as error:
                if not writable or skeleton is None:
                    raise NotFoundError(f"there is no container {name!r}") from error
            _create_container(files, name, skeleton)
        pair = cls(container, writable=writable, log_directory=log_directory)
        if writable and container.status().st_nlink > 1:
            # One of the names may be what a process left that was killed while it made the container.
            sweep(name, files=files)
        return pair

    @property
    def is_closed(self) -> bool:
        """Whether the files are closed: by `close`, or because this process was forked."""
        return self.container.is_closed

    @property
    def locked_log(self) -> Log:
        """The log that this process holds the writer lock on."""
        if self.log is None or not self._holds_writer_lock:
            raise StorageError(f"container {self.path!r}: no transaction is open")
        return self.log

    def find_log(self, *, create: bool = False) -> Log | None:
        """Return the log that bears the name now, newly opened if it is another; None if there is none.

        Raises
        ------
        FormatError
            If another file bears that name, and this pair is for writing.
        """
        log = self.log
        if log is not None:
            if log.file.is_current():
                return log
            self.drop_log()
        files = self.container.files
        while True:
            try:
                file = OpenFile(files, self.log_path, writable=self.writable)
            except FileNotFoundError:
                if not create:
                    return None
            else:
                if self.writable:
                    try:
                        _check_is_log(file, self._is_of_this_container)
                    except StorageError:
                        file.close()
                        raise
                self.log = Log(file, self._seen)
                return self.log
            try:
                create_file(files, self.log_path, b"", like=self.container.status())
            except StorageIOError as error:
                if error.errno != errno.ENOENT:
                    raise
                raise NotFoundError(f"the directory of container {self.path!r} is gone") from error

    def _is_of_this_container(self, start: bytes) -> bool:
        header = Header.from_bytes(start, self.log_path)
        seal = ContainerHead.of(self.container).seal
        return header is not None and seal is not None and header.base.container_id == seal.container_id

    def drop_log(self) -> None:
        """Close the log: its name is gone, or belongs to another file."""
        if self.log is not None:
            self.log.file.close()
            self.log = None

    def remove_log(self) -> None:
        """Remove the log from disk; the caller holds the writer lock and has copied its commits."""
        remove_name(self.container.files, self.log_path)

    def replace_container(self, successor: str) -> None:
        """Give the container's name to another file, durably; both are locked, and the log is empty.

        The other file gets its permissions, owner and group.

        Raises
        ------
        ConflictError
            If the container has other names, which would keep the old file.
        """
        files, status = self.container.files, self.container.status()
        if status.st_nlink > 1:
            raise ConflictError(
                f"container {self.path!r} has {status.st_nlink} names (hard links), and the others would "
                "go on naming the old file: remove them, or make a new container with 'simarchive merge'"
            )
        file = OpenFile(files, successor, writable=True)
        try:
            set_access(files, file.fd, status)
            file.sync()
        finally:
            file.close()
        try:
            files.rename(successor, self.path)
        except OSError as error:
            raise storage_error(error, "replace", self.path) from error
        sync_name(files, self.path)
        self.remove_log()

    def overwrite_container(self, successor: str) -> None:
        """Write another file over the container, which is held exclusively; the log is empty."""
        container, at = self.container, SUPERBLOCK_BYTES
        file = OpenFile(container.files, successor, writable=False)
        try:
            superblock = file.read(SUPERBLOCK_BYTES, 0)
            container.write(guarded(superblock), 0)
            container.sync()
            while piece := file.read(WRITE_PIECE_BYTES, at):
                container.write(piece, at)
                at += len(piece)
            container.truncate(at)
            container.sync()
            container.write(superblock, 0)
            container.sync()
        finally:
            file.close()
        self.remove_log()

    # ---- locks ---------------------------------------------------------------------------

    def lock_writer(self, deadline: float) -> Log:
        """Take the writer lock, on the file that bears the log's name then.

        Raises
        ------
        LockedError
            If another process holds it until `deadline`; it names the process.
        """
        log = self.log
        if log is not None and time.monotonic() - self._released_at < _JUST_NOW_S:
            with contextlib.suppress(StorageError):
                if WRITER_WAITS.is_fresh(log.file):
                    time.sleep(_STEP_ASIDE_S)
        while True:
            found = self.find_log(create=True)
            if found is None:
                continue
            if not self._wait_for_writer_lock(found.file, deadline):
                who = read_holder(found.file) or "another process"
                raise LockedError(
                    f"container {self.path!r} is being written by {who}: wait for it, or raise the timeout"
                )
            self._holds_writer_lock = True
            if found.file.is_current():
                return found
            # The last writer removed it while we waited.
            self._holds_writer_lock = False
            self.drop_log()

    def _lock_writer_byte(self, deadline: float) -> None:
        """Keep out writers that came by another name of the container, and so have another log."""
        container = self.container
        self._holds_byte = wait_until(lambda: container.try_lock_byte(WRITER_BYTE), deadline)
        if not self._holds_byte:
            raise LockedError(
                f"container {self.path!r} is being written under another name of the same file (a hard "
                "link or another mount): wait for it, or raise the timeout; better, use one name"
            )

    @staticmethod
    def _wait_for_writer_lock(file: OpenFile, deadline: float) -> bool:
        return wait_until(lambda: file.try_lock(exclusive=True), deadline, lambda: WRITER_WAITS.set(file))

    def claim_log(self) -> bool:
        """Leave this process's name in the log, and return whether it was the last writer, too."""
        return self._holder.claim_log(self.locked_log.file)

    def lock_container(self, deadline: float) -> bool:
        """Hold the container shared, and say whether its path names another file than before.

        Raises
        ------
        LockedError
            If a checkpoint or a foreign HDF5 writer holds it until `deadline`, or for a writer, another
            writer that came by another name.
        NotFoundError
            If the path names no file any more.
        """
        replaced = False
        while True:
            if self._holds_writer_lock and not self._holds_byte:
                self._lock_writer_byte(deadline)
            self._lock_shared(deadline)
            if self.container.is_current():
                return replaced
            # Somebody put another file in its place, as a repack does.
            old = self.container
            try:
                self.container = OpenFile(old.files, self.path, writable=self.writable)
            except FileNotFoundError as error:
                raise NotFoundError(
                    f"container {self.path!r} is gone: it was removed or renamed while it was open. "
                    "Close it; a renamed file then holds every commit"
                ) from error
            self._holds_byte = False
            old.close()
            replaced = True

    def _lock_shared(self, deadline: float) -> None:
        container = self.container
        try:
            held = wait_until(lambda: container.try_lock(exclusive=False), deadline)
        except NoLocksError:
            # Nobody can write where there are no locks, so reading needs none.
            if self.writable:
                raise
            return
        if not held:
            raise LockedError(
                f"container {self.path!r} is held by a checkpoint, or by another HDF5 program that has it "
                "open for writing: wait for it, or raise the timeout"
            )

    def lock_without_name(self) -> bool:
        """Take all locks exclusively, whatever the container is called now; False if somebody has one."""
        log = self.log
        if log is None or not log.file.try_lock(exclusive=True):
            return False
        self._holds_writer_lock = True
        self._holds_byte = self.container.try_lock_byte(WRITER_BYTE)
        return self._holds_byte and self.container.try_lock(exclusive=True)

    def step_aside_for_checkpoint(self, deadline: float) -> None:
        """Wait a moment if a writer asks readers to let it copy the log."""
        if self.log is not None:
            CHECKPOINT_WAITS.step_aside(self.log.file, deadline)

    def lock_out_readers(self, timeout_s: float) -> bool:
        """Hold the container exclusively; False, and not at all any more, if readers stay."""
        container, log = self.container, self.locked_log
        if container.try_lock(exclusive=True):
            return True
        file = log.file
        deadline = time.monotonic() + timeout_s
        held = wait_until(
            lambda: container.try_lock(exclusive=True), deadline, lambda: CHECKPOINT_WAITS.set(file)
        )
        with contextlib.suppress(StorageError):
            CHECKPOINT_WAITS.clear(file)
        return held

    def release(self) -> None:
        """Give up all locks."""
        self.container.unlock()
        if self._holds_byte:
            self._holds_byte = False
            self.container.unlock_byte(WRITER_BYTE)
        if self._holds_writer_lock:
            self._holds_writer_lock = False
            self._released_at = time.monotonic()
            if self.log is not None:
                self.log.file.unlock()

    def close(self) -> None:
        """Close both files."""
        self._holds_writer_lock = self._holds_byte = False
        self.drop_log()
        self.container.close()


def log_path_of(path: str, directory: str | None = None) -> str:
    """Return where the log of a container lies: beside it, or in a directory that was named for it."""
    return (path if directory is None else str(Path(directory) / Path(path).name)) + LOG_SUFFIX


def real_path(path: PathLike, files: Files) -> str:
    """Return the absolute path of the file that `path` leads to, without links.

    Raises
    ------
    FormatError
        If it leads to a file that has no name of its own: one that was removed while it was open.
    """
    name = str(Path(os.fspath(path)).absolute())
    real = files.real_path(name)
    led_to = status_of(files, name)
    found = status_of(files, real)
    if led_to is not None and (
        found is None or (found.st_dev, found.st_ino) != (led_to.st_dev, led_to.st_ino)
    ):
        raise FormatError(
            f"{name!r} leads to a file without a name of its own (it was removed, or never had one): a "
            "container needs a name, beside which its log can lie"
        )
    return real


def _create_container(files: Files, path: str, skeleton: Callable[[], bytes]) -> None:
    """Create a container, unless one appears meanwhile."""
    check_for_stray_log(path, files=files)
    image = skeleton()
    # HDF5 may count on bytes that it never wrote; the seal goes behind them.
    end = end_of_file(image, path)
    create_file(files, path, image[:end].ljust(end, b"\0") + Seal.new().to_bytes())
    sync_name(files, path)


def check_for_stray_log(path: str, *, files: Files = SYSTEM) -> None:
    """Check that no log with commits lies where that of a new container would; one without goes.

    Raises
    ------
    DetachedLogError
        If there is one: its container was removed or renamed.
    FormatError
        If there is something else, such as a link, or a file of another kind.
    """
    log_path = log_path_of(path)
    try:
        file = OpenFile(files, log_path, writable=False)
    except FileNotFoundError:
        return
    try:
        if not file.try_lock(exclusive=True):
            # Somebody else makes this very container, or has just lost it.
            return
        _check_is_log(file, _is_header)
        log = Log(file)
        log.refresh()
        has_commits = bool(log.states) and status_of(files, path) is None
        if not has_commits and file.is_current() and status_of(files, path) is None:
            remove_name(files, log_path)
    finally:
        file.close()
    if has_commits:
        raise DetachedLogError(
            f"there is a log {log_path!r} with commits, but no container {path!r}: it was removed or renamed "
            "before they were copied into it. Put it back to keep them, or remove the log"
        )


def _check_is_log(file: OpenFile, is_known: Callable[[bytes], bool]) -> None:
    """Refuse another file in the place of a log, before it is written over or removed.

    Parameters
    ----------
    is_known
        Tells from the first bytes of a file with several names whether it is a log all the same.
    """
    start = file.read(SECTOR_BYTES, 0)
    if start and not may_be_header(start):
        raise FormatError(
            f"{file.path!r} is where the log of a container belongs, and is another file: nothing was "
            "written to it; move it away, or give the container another name"
        )
    if file.status().st_nlink > 1 and not is_known(start):
        # Where files cannot be made without a name, a log that is being made has two for a moment, and
        # keeps them if its process is killed.
        sweep(file.path, files=file.files)
        if not wait_until(lambda: file.status().st_nlink < 2, time.monotonic() + _MAKING_S):
            raise FormatError(
                f"{file.path!r} is where the log of a container belongs, and has other names (hard links), "
                "by which it may be another file: nothing was written to it; move it away"
            )


def _is_header(start: bytes) -> bool:
    return Header.from_bytes(start, "") is not None

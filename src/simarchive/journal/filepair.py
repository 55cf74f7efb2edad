"""The container and its log as a pair of open files, with the locks on them.

Order of locks: the log exclusively (the writer lock), then the container; shared for reading and
writing, exclusively for a checkpoint. An idle process holds neither.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from simarchive.errors import LockedError, NotFoundError, StorageError
from simarchive.journal.files import (
    Files,
    NoLocksError,
    OpenFile,
    create_file,
    remove_name,
    storage_error,
    sync_name,
)
from simarchive.journal.locks import CHECKPOINT_WAITS, WRITER_WAITS, Holder, read_holder, wait_until
from simarchive.journal.log import Log
from simarchive.journal.seal import Seal
from simarchive.journal.superblock import end_of_file

LOG_SUFFIX = "-wal"
# A process that has just written lets those who wait go first.
_JUST_NOW_S, _STEP_ASIDE_S = 0.1, 0.003


class FilePair:
    """The open container, its log if there is one, and what is locked of them."""

    def __init__(self, container: OpenFile, *, writable: bool) -> None:
        self.container, self.writable = container, writable
        self.path, self.log_path = container.path, container.path + LOG_SUFFIX
        self.log: Log | None = None
        self._holder = Holder.this_process()
        self._released_at = 0.0
        self._holds_writer_lock = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        writable: bool,
        skeleton: Callable[[], bytes] | None,
        files: Files,
    ) -> FilePair:
        """Return the pair at `path`, created from the bytes of `skeleton` if it is missing and may be.

        Raises
        ------
        NotFoundError
            If there is no such file, and it is not to be created.
        """
        name = str(Path(os.fspath(path)).absolute())
        try:
            container = OpenFile(files, name, writable=writable)
        except FileNotFoundError as error:
            if not writable or skeleton is None:
                raise NotFoundError(f"there is no container {name!r}") from error
            image = skeleton()
            # HDF5 may count on bytes that it never wrote; the seal goes behind them.
            end = end_of_file(image, name)
            create_file(files, name, image[:end].ljust(end, b"\0") + Seal.new().to_bytes())
            container = OpenFile(files, name, writable=writable)
        return cls(container, writable=writable)

    @property
    def is_closed(self) -> bool:
        """Whether the files are closed: by `close`, or because this process was forked."""
        return self.container.fd < 0

    @property
    def locked_log(self) -> Log:
        """The log that this process holds the writer lock on."""
        if self.log is None or not self._holds_writer_lock:
            raise StorageError(f"container {self.path!r}: no transaction is open")
        return self.log

    def find_log(self, *, create: bool = False) -> Log | None:
        """Return the log that bears the name now, newly opened if it is another; None if there is none."""
        log = self.log
        if log is not None:
            if log.file.is_current():
                return log
            self.drop_log()
        try:
            file = OpenFile(
                self.container.files,
                self.log_path,
                writable=self.writable,
                create=create,
                mode=self.container.mode,
            )
        except FileNotFoundError:
            if create:
                raise NotFoundError(f"the directory of container {self.path!r} is gone") from None
            return None
        self.log = Log(file)
        return self.log

    def drop_log(self) -> None:
        """Close the log: its name is gone, or belongs to another file."""
        if self.log is not None:
            self.log.file.close()
            self.log = None

    def remove_log(self) -> None:
        """Remove the log from disk; the caller holds the writer lock and has copied its commits."""
        remove_name(self.container.files, self.log_path)

    def replace_container(self, successor: str) -> None:
        """Give the container's name to another file, durably; both are locked, and the log is empty."""
        files = self.container.files
        file = OpenFile(files, successor, writable=True)
        try:
            file.sync()
        finally:
            file.close()
        try:
            files.rename(successor, self.path)
        except OSError as error:
            raise storage_error(error, "replace", self.path) from error
        sync_name(files, self.path)
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

    @staticmethod
    def _wait_for_writer_lock(file: OpenFile, deadline: float) -> bool:
        return wait_until(lambda: file.try_lock(exclusive=True), deadline, lambda: WRITER_WAITS.set(file))

    def sign(self) -> bool:
        """Leave this process's name in the log; True if it was the last to hold the writer lock."""
        return self._holder.sign(self.locked_log.file)

    def lock_container(self, deadline: float) -> bool:
        """Hold the container shared, and say whether its path names another file than before.

        Raises
        ------
        LockedError
            If a checkpoint or a foreign HDF5 writer holds it until `deadline`.
        """
        replaced = False
        while True:
            self._share(deadline)
            if self.container.is_current():
                return replaced
            # Somebody put another file in its place, as a repack does.
            old = self.container
            try:
                self.container = OpenFile(old.files, self.path, writable=self.writable)
            except FileNotFoundError as error:
                raise NotFoundError(f"container {self.path!r} is gone") from error
            old.close()
            replaced = True

    def _share(self, deadline: float) -> None:
        container = self.container
        try:
            held = wait_until(lambda: container.try_lock(exclusive=False), deadline, lambda: None)
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
        if self._holds_writer_lock:
            self._holds_writer_lock = False
            self._released_at = time.monotonic()
            if self.log is not None:
                self.log.file.unlock()

    def close(self) -> None:
        """Close both files."""
        self.drop_log()
        self.container.close()

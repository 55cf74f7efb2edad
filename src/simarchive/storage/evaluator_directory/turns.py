"""The turns of one backend writing to a directory: each ends with all of its changes made, or none."""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from simarchive.errors import ClosedError, StorageError
from simarchive.storage.evaluator_directory.changes import Changes, recover, sweep
from simarchive.storage.evaluator_directory.files import io_error, signature_of, write_text
from simarchive.storage.evaluator_directory.lock import DirectoryLock
from simarchive.storage.evaluator_directory.registry import DirectoryRegistries

LOGGER = logging.getLogger("simarchive")


class Turns:
    """The turns of a backend, one at a time.

    Parameters
    ----------
    directory
        The directory of objects.
    registries
        Its registries: what is changed in them in a turn is written at its end.
    """

    def __init__(self, directory: Path, registries: DirectoryRegistries) -> None:
        self._directory = directory
        self._registries = registries
        # A weak reference: where an interrupt came during the end of a turn, the turn is over nevertheless.
        self._changes: Callable[[], Changes | None] = _nothing
        self._is_swept = False

    def running(self) -> Changes | None:
        """Return the changes of the turn that is under way here, if one is.

        Raises
        ------
        ClosedError
            If the process was forked during it.
        """
        changes = self._changes()
        if changes is None or not changes.is_open:
            return None
        if changes.process != os.getpid():
            raise ClosedError(
                f"{str(self._directory)!r} was forked during a change: open it again in this process"
            )
        return changes

    @contextlib.contextmanager
    def take(self, timeout_s: float) -> Iterator[Changes]:
        """Give the changes of this turn, which become final when the outermost block ends.

        Raises
        ------
        LockedError
            If another process is writing, and does not finish in time.
        StorageError
            If something failed in an inner block after a change was made in it.
        """
        running = self.running()
        if running is not None:
            with running.part():
                yield running
            return
        lock = DirectoryLock(self._directory)
        changes = Changes(self._directory, *(registry.path for registry in self._registries))
        # Each step of the end stands here twice, since an interrupt may come during the first.
        try:
            try:
                lock.acquire(timeout_s)
                self._clear_up()
                self._changes = weakref.ref(changes)
                try:
                    yield changes
                    self._finish(changes)
                except BaseException:
                    self._undo(changes)
                    raise
            finally:
                changes.is_open = False
                lock.release()
        finally:
            changes.is_open = False
            lock.release()

    def _clear_up(self) -> None:
        """Take back, or remove, what killed processes left; forget what is not of this turn."""
        if recover(self._directory) or self._registries.is_changed:
            self._registries.forget()
        if not self._is_swept:
            try:
                sweep(self._directory)
            except OSError as error:
                raise io_error(error, self._directory) from error
            self._is_swept = True

    def _finish(self, changes: Changes) -> None:
        if changes.process != os.getpid():
            self.running()
        if changes.spoiled is not None:
            raise StorageError(
                f"a change to {str(self._directory)!r} failed halfway, so the whole transaction is taken back"
            ) from changes.spoiled
        if not (changes.has_begun or self._registries.is_changed):
            return
        try:
            written = []
            for registry in self._registries:
                if registry.is_changed:
                    new = changes.new_place()
                    write_text(new, registry.text(), changes.access)
                    written.append((registry, signature_of(new)))
                    changes.put(registry.path.name, new)
            changes.finish()
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise io_error(error, self._directory) from error
        for registry, signature in written:
            registry.written(signature)

    def _undo(self, changes: Changes) -> None:
        if changes.process != os.getpid():
            return
        try:
            changes.undo()
        except OSError as error:
            LOGGER.warning(
                "%s: changes that failed are not taken back yet, the next writer does so: %s",
                self._directory,
                error,
            )
        finally:
            # What was finished may not be removed yet.
            self._is_swept = False
            self._registries.forget()


def _nothing() -> None:
    return None

"""What a container is read through that lies elsewhere, in the place of the journal of a local file.

There is nothing to lock and nothing to recover: what is read is one version of one object, and a response of
another version is an error.
"""

from __future__ import annotations

import os
from typing import BinaryIO, cast

from simarchive.errors import ReadOnlyError
from simarchive.journal import Journal, PagedFile
from simarchive.journal.files import OpenFile, check_open
from simarchive.remote.far_file import FarFile
from simarchive.remote.source import Source

_NOTHING_SEALED = range(0)


class RemoteJournal(Journal):
    """The reading half of a `Journal`, over a container that lies elsewhere.

    Parameters
    ----------
    path
        How messages name the container.
    source
        What answers ranges of its bytes.
    """

    def __init__(self, path: str, source: Source) -> None:
        self.path, self.writable = path, False
        self._pid = os.getpid()
        self._far = FarFile(source, path)
        self._depth = 0
        self._is_new = True
        self.file = self._new_file()

    @property
    def log_path(self) -> str:
        """Where a log would lie; there is none."""
        return f"{self.path}-wal"

    def begin_read(self, timeout_s: float = 10.0) -> bool:
        """Begin a read, or nest in one; say whether HDF5 needs a new handle, as at the first time."""
        self._check_open()
        self._depth += 1
        if self._depth > 1:
            return False
        self.file.begin_reading()
        is_new, self._is_new = self._is_new, False
        return is_new

    def end_read(self) -> None:
        """End a read."""
        self._check_open()
        self._depth -= 1
        if not self._depth:
            self.file.stop()

    def renew_file(self) -> None:
        """Put a new `file` in place of one on which HDF5 failed."""
        self._check_open()
        self.file.retire()
        self.file = self._new_file()
        self._is_new = True

    def begin_write(self, timeout_s: float = 10.0) -> bool:
        """Raise ReadOnlyError: what lies elsewhere is only read."""
        raise ReadOnlyError(f"container '{self.path}' lies elsewhere and can only be read")

    def close(self) -> None:
        """Release the source."""
        self.file.retire()
        if os.getpid() == self._pid:
            self._far.close()

    def abandon(self) -> None:
        """Release the source."""
        self.close()

    def _new_file(self) -> PagedFile:
        # Of an open file, it asks for name and bytes only.
        return PagedFile(cast("OpenFile", self._far), None, self._far.end, _NOTHING_SEALED, self._far)

    def _check_open(self) -> None:
        check_open(self.path, self._pid, is_closed=self._far.is_closed)


def opened_at(url: str) -> RemoteJournal:
    """Return the journal of the container at a URL.

    Raises
    ------
    InvalidDataError
        If obstore is not installed.
    NotFoundError, StorageIOError, FormatError
        If there is none, it cannot be read, or it is something else.
    """
    from simarchive.remote.object_store import ObjectStoreSource

    return RemoteJournal(url, ObjectStoreSource(url))


def opened_in(file: BinaryIO) -> RemoteJournal:
    """Return the journal of the container in a file object, which stays open; errors as for `opened_at`."""
    from simarchive.remote.file_object import FileObjectSource

    source = FileObjectSource(file)
    return RemoteJournal(source.name, source)

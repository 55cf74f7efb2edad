"""A source over a file object: of fsspec, or any other that can seek."""

from __future__ import annotations

import io
import threading
from typing import Any, BinaryIO

from simarchive.errors import InvalidDataError, StorageIOError
from simarchive.remote.address import name_of
from simarchive.remote.source import overwritten


class FileObjectSource:
    """Ranges of a binary file object, which belongs to whoever opened it.

    A file of fsspec is read through its file system, which answers several requests at once; any other by
    seeking, one read at a time.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.name = str(name_of(file))
        if not (file.readable() and file.seekable()):
            raise InvalidDataError(f"'{self.name}' cannot be read by ranges: open it in binary, for reading")
        self._file = file
        self._lock = threading.Lock()
        self._cat: Any = getattr(getattr(file, "fs", None), "cat_file", None)
        self._path = getattr(file, "path", None)

    def tail(self, size: int) -> tuple[bytes, int]:
        """Return the last bytes, and the size."""
        try:
            with self._lock:
                end = self._file.seek(0, io.SEEK_END)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        start = max(0, end - size)
        return self.read(start, end - start) if end else b"", end

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on."""
        try:
            if self._cat is not None and self._path is not None:
                data = self._cat(self._path, start=offset, end=offset + size)
            else:
                with self._lock:
                    self._file.seek(offset)
                    data = self._file.read(size)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if len(data) != size:
            raise overwritten(self.name)
        return bytes(data)

    def close(self) -> None:
        """Leave the file open: it is not ours."""

    def _unreadable(self, error: Exception) -> StorageIOError:
        return StorageIOError(f"'{self.name}' cannot be read: {error}")

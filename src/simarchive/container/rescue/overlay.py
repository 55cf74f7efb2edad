"""A file under HDF5 whose changes stay in memory: what is below is read only."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from simarchive.errors import ReadOnlyError

_PAGE = 4096
# HDF5 writes what it has changed, never more than that: a damaged file must not make it fill the memory.
_MOST_BYTES = 1 << 30


class Overlay:
    """The file object that h5py is given, and the chunks' file: both read through the changes.

    Parameters
    ----------
    read_below
        Fills a buffer from an offset of the file below; with zeros where that has no bytes.
    size
        Where the file below ends.
    """

    far = None

    def __init__(self, read_below: Callable[[memoryview, int], None], size: int) -> None:
        self._read_below = read_below
        self._size_below = size
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.end = size
        self.failure: BaseException | None = None

    def dirty(self, offset: int, size: int) -> bool:
        """Return whether any of these bytes were written to."""
        return any(page in self._pages for page in range(offset // _PAGE, (offset + size - 1) // _PAGE + 1))

    def read_at(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes at `offset`; zeros past the end."""
        size = len(buffer)
        if not size:
            return
        if offset < self._size_below:
            self._read_below(buffer, offset)
        else:
            buffer[:] = bytes(size)
        if self._pages:
            for page in range(offset // _PAGE, (offset + size - 1) // _PAGE + 1):
                image = self._pages.get(page)
                if image is not None:
                    start = page * _PAGE
                    low, high = max(offset, start), min(offset + size, start + _PAGE)
                    buffer[low - offset : high - offset] = image[low - start : high - start]

    # ---- what h5py calls -----------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset and return it."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.end}[whence]
        return self._position

    def tell(self) -> int:
        """Return the offset of the next read or write."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the whole buffer, with zeros past the end, and return its size."""
        view = memoryview(buffer).cast("B")
        offset, self._position = self._position, self._position + len(view)
        self.read_at(view, offset)
        return len(view)

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes; all up to the end if negative."""
        left = max(0, self.end - self._position)
        data = bytearray(left if size < 0 else min(size, left))
        self.readinto(data)
        return bytes(data)

    def write(self, data: Any) -> int:
        """Keep bytes in memory, and return how many."""
        view = memoryview(data).cast("B")
        offset, self._position = self._position, self._position + len(view)
        self.patch(view, offset)
        return len(view)

    def patch(self, view: memoryview, offset: int) -> None:
        """Put bytes in front of those below."""
        size = len(view)
        if (len(self._pages) * _PAGE) + size > _MOST_BYTES:
            raise ReadOnlyError("more would be changed than fits into the memory for a rehearsal")
        at = 0
        while at < size:
            page, within = divmod(offset + at, _PAGE)
            length = min(_PAGE - within, size - at)
            image = self._pages.get(page)
            if image is None:
                image = bytearray(_PAGE)
                self.read_at(memoryview(image), page * _PAGE)
                self._pages[page] = image
            image[within : within + length] = view[at : at + length]
            at += length
        self.end = max(self.end, offset + size)

    def truncate(self, size: int | None = None) -> int:
        """Set where the file ends."""
        self.end = self._position if size is None else size
        return self.end

    def flush(self) -> None:
        """Do nothing: nothing is to be kept."""

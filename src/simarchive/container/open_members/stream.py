"""A file over a member that outlives the view of the container it was opened in."""

from __future__ import annotations

import io
from typing import Any

from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.members import MemberReader
from simarchive.errors import ConflictError, NotFoundError


class MemberStream(io.RawIOBase):
    """A seekable, read-only raw stream over one member; wrap it in `io.BufferedReader`.

    Each read looks at the last committed state. As long as that is the state the stream stands on, the
    chunks decoded last are kept; otherwise the member is looked up again, and has to be the same.
    """

    def __init__(self, container: Container, key: str, name: str) -> None:
        super().__init__()
        self._container = container
        self._key = key
        self.name = name
        self._offset = 0
        self._contents: Contents | None = None
        self._reader: MemberReader | None = None
        self._digest: str | None = None
        with container.reading() as contents:
            self._size = self._reader_in(contents).size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset} in member {self.name!r}")
        self._offset = base + offset
        return self._offset

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from the position on; return the number of bytes.

        Raises
        ------
        ConflictError
            If the object was replaced or removed since the stream was opened.
        CorruptMemberError
            If a chunk fails its check.
        """
        if self.closed:
            raise ValueError(f"member {self.name!r} is closed")
        with self._container.reading() as contents:
            count = self._reader_in(contents).read_at(buffer, self._offset)
        self._offset += count
        return count

    def readall(self) -> bytes:
        """Return everything from the position on, from one state; errors as for `readinto`."""
        buffer = bytearray(max(0, self._size - self._offset))
        del buffer[self.readinto(buffer) :]
        return bytes(buffer)

    def _reader_in(self, contents: Contents) -> MemberReader:
        if self._reader is not None and contents is self._contents:
            return self._reader
        try:
            reader = contents.member_reader(self._key, self.name)
        except NotFoundError as error:
            if self._digest is None:
                raise
            raise self._changed() from error
        if self._digest not in (None, reader.digest):
            raise self._changed()
        self._digest = reader.digest
        self._contents = contents
        self._reader = reader
        return reader

    def _changed(self) -> ConflictError:
        return ConflictError(
            f"object {self._key!r} was replaced or removed while its member {self.name!r} was open:"
            " open it again"
        )

"""The stored chunks of a member of an open container, whatever is committed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.members import ChunkFile, FrameLengths, MemberTable
from simarchive.container.members.extraction import read_unchecked
from simarchive.errors import ConflictError, NotFoundError


class MemberChunks:
    """Reads the stored bytes of chunks. Each read looks at the last committed state, as `MemberStream` does.

    Parameters
    ----------
    container
        Gives the container to read from: another one after the last was closed.
    key, name
        The object and its member.

    Raises
    ------
    NotFoundError
        If there is no such object or member.
    """

    def __init__(self, container: Callable[[], Container], key: str, name: str) -> None:
        self._container = container
        self.key, self.name = key, name
        self._contents: Contents | None = None
        self._file: ChunkFile | None = None
        with container().reading() as contents:
            self._table, self._file = contents.member_chunks(key, name)
            self._contents = contents

    @property
    def table(self) -> MemberTable:
        """Where the chunks lie, and their checks."""
        return self._table

    def read(self, chunks: Sequence[int], buffers: Sequence[bytearray | memoryview]) -> list[memoryview]:
        """Return the stored bytes of some chunks, unchecked, each in its buffer.

        A `bytearray` is made longer if it has to be.

        Raises
        ------
        ConflictError
            If the object was replaced or removed since this was made.
        CorruptMemberError, StorageIOError
            If they cannot be read.
        """
        found = []
        with self._looking() as file:
            for chunk, buffer in zip(chunks, buffers, strict=True):
                n_bytes = int(self._table.stored_sizes[chunk])
                if isinstance(buffer, bytearray) and len(buffer) < n_bytes:
                    buffer.extend(bytes(n_bytes - len(buffer)))
                stored = memoryview(buffer)[:n_bytes]
                read_unchecked(self._table, file, chunk, 0, stored)
                found.append(stored)
        return found

    @contextmanager
    def peeking(self) -> Iterator[Callable[[int, int], bytes | None]]:
        """Give a function that reads a few bytes from an offset in the member, unchecked.

        It returns None where they are not stored as they are, in one chunk: these have to be decoded.
        """
        with self._looking() as file:
            table = self._table

            def peek(offset: int, n_bytes: int) -> bytes | None:
                chunk, start = divmod(offset, table.chunk_bytes)
                if start + n_bytes > table.chunk_bytes or chunk >= table.n_chunks:
                    return None
                if not table.is_plain(chunk):
                    return None
                piece = bytearray(n_bytes)
                read_unchecked(table, file, chunk, start, memoryview(piece))
                return bytes(piece)

            yield peek

    def frame_lengths(self) -> FrameLengths | None:
        """Return the lengths in bytes of the frames, if they are kept and can be believed."""
        with self._container().reading() as contents:
            return contents.frame_lengths(self.key, self.name)

    @contextmanager
    def _looking(self) -> Iterator[ChunkFile]:
        with self._container().reading() as contents:
            if contents is not self._contents:
                self._look_again(contents)
            assert self._file is not None
            yield self._file

    def _look_again(self, contents: Contents) -> None:
        try:
            table, file = contents.member_chunks(self.key, self.name)
        except NotFoundError as error:
            raise self._changed() from error
        known = self._table
        if (table.digest, table.chunk_bytes, table.codec.name) != (
            known.digest,
            known.chunk_bytes,
            known.codec.name,
        ):
            raise self._changed()
        self._table, self._file, self._contents = table, file, contents

    def _changed(self) -> ConflictError:
        return ConflictError(
            f"object {self.key!r} was replaced or removed while its member {self.name!r} was open:"
            " open it again"
        )

"""A member as a seekable binary file, decoded chunk by chunk as it is read."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any

import h5py

from simarchive.container.members.extraction import decode_chunk
from simarchive.container.members.table import ChunkFile, MemberTable, read_table

_CACHED_CHUNKS = 4
_BUFFER_BYTES = 1 << 16


class MemberReader(io.RawIOBase):
    """A seekable, read-only binary file over the chunks of a member; several threads may use it.

    Each chunk is checked when it is decoded; the last few decoded ones are kept. `read_at` reads at a
    position without moving the one that `read` and `seek` share.
    """

    def __init__(self, dataset: h5py.Dataset | MemberTable, file: ChunkFile) -> None:
        super().__init__()
        self._table = dataset if isinstance(dataset, MemberTable) else read_table(dataset)
        self._file = file
        self._position = 0
        self._position_lock = threading.RLock()
        self._cache: OrderedDict[int, memoryview] = OrderedDict()
        self._cache_lock = threading.Lock()

    @property
    def size(self) -> int:
        """The size of the member in bytes."""
        return self._table.size

    @property
    def digest(self) -> str:
        """The BLAKE3 digest of the member."""
        return self._table.digest

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, as any file does, and return it."""
        self._check_open()
        with self._position_lock:
            if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
                raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
            if base + offset < 0:
                raise ValueError(f"cannot seek to byte {base + offset}, before the start")
            self._position = base + offset
            return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` from the position, move it, and return how many bytes there were.

        Raises
        ------
        CorruptMemberError
            If a chunk does not match its check.
        """
        with self._position_lock:
            n_read = self.read_at(buffer, self._position)
            self._position += n_read
            return n_read

    def read_at(self, buffer: Any, offset: int) -> int:
        """Fill `buffer` from `offset` and return how many bytes there were: fewer only at the end."""
        self._check_open()
        out = memoryview(buffer).cast("B")
        n_wanted = max(0, min(len(out), self.size - offset))
        n_done = 0
        while n_done < n_wanted:
            chunk, start = divmod(offset + n_done, self._table.chunk_bytes)
            piece = self._chunk(chunk)[start : start + n_wanted - n_done]
            out[n_done : n_done + len(piece)] = piece
            n_done += len(piece)
        return n_done

    def write(self, data: Any, /) -> int:
        """Raise `io.UnsupportedOperation`: members are replaced as a whole."""
        raise io.UnsupportedOperation("a stored member cannot be written to")

    def close(self) -> None:
        """Forget the decoded chunks; the container stays open."""
        with self._cache_lock:
            self._cache.clear()
        super().close()

    def _chunk(self, chunk: int) -> memoryview:
        with self._cache_lock:
            decoded = self._cache.get(chunk)
            if decoded is not None:
                self._cache.move_to_end(chunk)
                return decoded
        # Decoded outside the lock, so that threads that want different chunks do not wait for each other.
        decoded = memoryview(bytearray(self._table.chunk_bytes))
        decode_chunk(self._table, self._file, chunk, decoded)
        with self._cache_lock:
            self._cache[chunk] = decoded
            while len(self._cache) > _CACHED_CHUNKS:
                self._cache.popitem(last=False)
        return decoded

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the member was closed")


def open_member(dataset: h5py.Dataset | MemberTable, file: ChunkFile) -> io.BufferedReader:
    """Return a member as a buffered, seekable, read-only binary file."""
    return io.BufferedReader(MemberReader(dataset, file), _BUFFER_BYTES)

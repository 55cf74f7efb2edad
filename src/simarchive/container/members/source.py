"""The bytes of a member before it is stored: a file that must not change, or a stream of known length."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from simarchive.codecs import Sample
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.files_below import FileBelow

_SAMPLE_BYTES = 1 << 16
_DIGEST_STEP = 1 << 20


class MemberSource:
    """A binary stream of known length, read once from its present position to its end."""

    def __init__(self, stream: BinaryIO, size: int, label: str) -> None:
        self.size = size
        self.label = label
        self._stream = stream
        self._head = b""
        self._position = 0

    def sample(self) -> Sample:
        """Return pieces of the stream; what `read_into` gives is not changed by it."""
        if not self._stream.seekable():
            head = bytearray(min(self.size, _SAMPLE_BYTES))
            self._head = bytes(head[: self._read_stream(memoryview(head))])
            return Sample(self._head, self.size, None)
        start = self._stream.tell()

        def read_piece(offset: int, n_bytes: int) -> bytes:
            self._stream.seek(start + offset)
            piece = memoryview(bytearray(min(n_bytes, self.size - offset)))
            n_read = self._read_stream(piece)
            self._stream.seek(start)
            return bytes(piece[:n_read])

        return Sample(read_piece(0, _SAMPLE_BYTES), self.size, read_piece)

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer` with the next bytes.

        Raises
        ------
        ConflictError
            If the source ends before: it was changed while it was read.
        """
        from_head = self._head[self._position : self._position + len(buffer)]
        buffer[: len(from_head)] = from_head
        n_read = len(from_head) + self._read_stream(buffer[len(from_head) :])
        self._position += n_read
        if n_read < len(buffer):
            raise self._changed(f"it ended after {self._position} bytes of {self.size}")

    def check_unchanged(self) -> None:
        """Raise ConflictError if the source goes on after `size` bytes."""
        if self._read_stream(memoryview(bytearray(1))):
            raise self._changed(f"it goes on after {self.size} bytes")

    def _read_stream(self, buffer: memoryview) -> int:
        n_read = 0
        try:
            while n_read < len(buffer):
                step = self._stream.readinto(buffer[n_read:])  # type: ignore[attr-defined]
                if not step:
                    break
                n_read += step
        except OSError as error:
            raise StorageIOError(f"{self.label} cannot be read: {error}") from error
        return n_read

    def _changed(self, how: str) -> ConflictError:
        return ConflictError(f"{self.label} changed while it was read ({how}): store it once it is complete")


class FileSource(MemberSource):
    """A regular file; its size and time of change are checked as well, to see that it stays the same."""

    def __init__(self, stream: io.FileIO, label: str) -> None:
        self._before = os.fstat(stream.fileno())
        super().__init__(stream, self._before.st_size, label)
        self._fd = stream.fileno()

    def check_unchanged(self) -> None:
        """Raise ConflictError if the file was written to since it was opened."""
        super().check_unchanged()
        after = os.fstat(self._fd)
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise self._changed("another program wrote to it")


@contextmanager
def open_source(source: str | os.PathLike[str] | BinaryIO, size: int | None = None) -> Iterator[MemberSource]:
    """Give the source to read: a file by its path, or a binary stream from its present position.

    Parameters
    ----------
    source
        Path of a regular file, or a binary stream.
    size
        Number of bytes of a stream that cannot seek; otherwise found out.

    Raises
    ------
    NotFoundError, InvalidDataError, StorageIOError
        If the file is not there, is not a regular file or cannot be read, or a stream's length is unknown.
    """
    if not isinstance(source, str | os.PathLike):
        yield _stream_source(source, size)
        return
    with open_regular_file(source if isinstance(source, Path) else Path(source)) as stream:
        yield FileSource(stream, f"file {os.fspath(source)!r}")


def open_regular_file(path: Path) -> io.FileIO:
    """Return an unbuffered file; never waits for the writer of a FIFO. Errors as in `open_source`."""
    if isinstance(path, FileBelow):
        return io.FileIO(path.open_file(), "rb", closefd=True)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFoundError(f"file {str(path)!r} does not exist: it was moved or deleted") from error
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise InvalidDataError(
                f"{str(path)!r} is not a regular file: only files can be stored"
            ) from error
        raise StorageIOError(f"file {str(path)!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_a_file(path)
    return io.FileIO(fd, "rb", closefd=True)


def _not_a_file(path: Path) -> InvalidDataError:
    return InvalidDataError(f"{str(path)!r} is not a regular file: only files can be stored")


def size_of(path: Path) -> int:
    """Return the size of a file in bytes. Errors as in `open_source`."""
    with open_regular_file(path) as stream:
        return os.fstat(stream.fileno()).st_size


def member_digest(source: str | os.PathLike[str] | BinaryIO) -> tuple[int, str]:
    """Return the size of a file or stream and its BLAKE3 digest in hexadecimal, as `b3sum` prints it.

    A stream is left where it was if it can seek.
    """
    with open_source(source) as opened:
        stream = None if isinstance(source, str | os.PathLike) else source
        start = stream.tell() if stream else 0
        hasher = blake3()
        buffer = memoryview(bytearray(_DIGEST_STEP))
        for offset in range(0, opened.size, _DIGEST_STEP):
            piece = buffer[: min(_DIGEST_STEP, opened.size - offset)]
            opened.read_into(piece)
            hasher.update(piece)
        opened.check_unchanged()
        if stream:
            stream.seek(start)
        return opened.size, hasher.hexdigest()


def _stream_source(stream: BinaryIO, size: int | None) -> MemberSource:
    label = f"stream {getattr(stream, 'name', stream)!r}"
    if size is None:
        if not stream.seekable():
            raise InvalidDataError(f"{label} cannot seek: say its size")
        start = stream.tell()
        size = stream.seek(0, io.SEEK_END) - start
        stream.seek(start)
    return MemberSource(stream, size, label)

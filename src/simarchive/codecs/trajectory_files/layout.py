"""Where the frames of a trajectory file lie, in whatever format, and how its bytes are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

Read = Callable[[int, int], bytes]
"""Gives so many bytes from an offset: fewer only at the end of the file."""


class LayoutError(ValueError):
    """Bytes that are no trajectory of a format."""


def reads_of(stream: IO[bytes]) -> Read:
    """Return what reads from a stream that can seek."""

    def read(at: int, n_bytes: int) -> bytes:
        stream.seek(at)
        return stream.read(n_bytes)

    return read


def reads_of_head(head: bytes) -> Read:
    """Return what reads from the first bytes of a file, which ends there for all that it knows."""
    return lambda at, n_bytes: head[at : at + n_bytes]


class Starts(Protocol):
    """The offsets of all frames, and where the last one ends."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


class EvenStarts:
    """Offsets of frames of one length, after a first one that may be longer, without a table of them."""

    def __init__(self, start: int, first: int, length: int, n_frames: int) -> None:
        self._start, self._first, self._length, self._n_frames = start, first, length, n_frames

    def __len__(self) -> int:
        return self._n_frames + 1

    def __iter__(self) -> Iterator[int]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> int:
        return self._start if number == 0 else self._start + self._first + (number - 1) * self._length


@dataclass(frozen=True)
class Layout:
    """Where frames lie: frame `i` is the bytes from ``starts[i]`` to ``starts[i + 1]``.

    Attributes
    ----------
    n_atoms
        Atoms of each frame.
    starts
        One more than there are frames.
    header
        What the file says of all its frames: `DCDHeader`, `NetCDFHeader`, or None.
    missing
        What is there beyond the whole frames, or is said to be there and is not; empty if all is well.
    """

    n_atoms: int
    starts: Starts
    header: Any = None
    missing: str = ""

    @property
    def n_frames(self) -> int:
        """The number of whole frames."""
        return len(self.starts) - 1


def rest_in_words(n_bytes: int) -> str:
    """Return what `Layout.missing` says of bytes after the last whole frame."""
    return f"{n_bytes} bytes after the last whole frame are none" if n_bytes > 0 else ""

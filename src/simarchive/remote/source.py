"""What answers ranges of the bytes of one object."""

from __future__ import annotations

from typing import Protocol

from simarchive.errors import ConflictError


class Source(Protocol):
    """One object in a store, or a file, that is read by ranges. Threads may read at once.

    Attributes
    ----------
    name
        How messages name it: its URL.
    """

    name: str

    def tail(self, size: int) -> tuple[bytes, int]:
        """Return the last `size` bytes, or all if there are fewer, and the size of the object.

        What is read later is of the same version of the object.

        Raises
        ------
        NotFoundError
            If there is no such object.
        StorageIOError
            If it cannot be read.
        """
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on: one request.

        Raises
        ------
        ConflictError
            If the object was overwritten since `tail` was called.
        StorageIOError
            If they cannot be read, also after some attempts.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def overwritten(name: str) -> ConflictError:
    """Return the error for an object that is another one than when it was opened."""
    return ConflictError(f"'{name}' was overwritten while it was being read: open it again")

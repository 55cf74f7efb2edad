"""The errors of simarchive: one tree, and messages that say what to do.

Every class has an ``exit_code``, which the command line returns to the shell.
"""

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Anything that simarchive refuses or cannot do."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would put quotes around a sentence.
        return str(self.args[0]) if self.args else type(self).__name__


class NotFoundError(StorageError, KeyError):
    """A file, key, member or data class that is not there."""

    exit_code = 3


class InvalidDataError(StorageError, ValueError):
    """A value, object, key or name that cannot be accepted."""

    exit_code = 4


class QuerySyntaxError(InvalidDataError):
    """A query expression that cannot be read."""

    exit_code = 5


class WrongTypeError(InvalidDataError, TypeError):
    """A stored object that is not of the expected class, or an argument of the wrong type."""

    exit_code = 6


class ConflictError(StorageError):
    """Two things that cannot both hold: other data under a key, a destination that exists."""

    exit_code = 7


class ReadOnlyError(StorageError):
    """A change asked of a backend that was opened for reading, or of a read-only medium."""

    exit_code = 8


class LockedError(StorageError):
    """Another process holds the container."""

    exit_code = 9


class FormatError(StorageError):
    """A file that is not a container, or a container of a format that this version does not read."""

    exit_code = 10


class CorruptError(StorageError):
    """Stored bytes that fail their check."""

    exit_code = 11


class CorruptMemberError(CorruptError):
    """A member, or one chunk of it, whose bytes do not match their digest."""


class ForeignChangeError(CorruptError):
    """A container that another program changed while commits were pending in its log."""

    exit_code = 12


class DetachedLogError(ForeignChangeError):
    """A container whose last commits are in a log that is not beside it, or a log without its container."""


class StorageFullError(StorageError, OSError):
    """No room left on the device for the container, its log or scratch."""

    exit_code = 13


class StorageIOError(StorageError, OSError):
    """The operating system failed to read or write; the last commit stands."""

    exit_code = 14


class CommitInDoubtError(StorageIOError):
    """A commit whose outcome is unknown until the container is opened again."""

    exit_code = 15


class ClosedError(StorageError):
    """A backend that was used after it was closed, or in a forked child."""

    exit_code = 16


class IncompleteError(StorageError):
    """Part of what was asked for was done; the rest could not be read, and is named."""

    exit_code = 17


class OutOfMemoryError(StorageError, MemoryError):
    """More memory asked for than there is; what is stored is as it was."""

    exit_code = 19


class FrameReadError(StorageError):
    """A frame of a trajectory that cannot be read.

    It is no `OSError`, whatever the cause: MDAnalysis takes one for the end of the trajectory.
    """

    exit_code = 20


class CrashedError(StorageError):
    """A process that read a file apart from this one crashed, or met its limit of memory or time."""

    exit_code = 18

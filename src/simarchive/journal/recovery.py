"""Does this log belong to this container, and how far has its checkpoint got?

Recovery itself is reading: the pages of the log shadow those of the container. What can go wrong
is that the two do not fit, because another program changed the container behind a log with
commits, or because one of the two was copied, restored, renamed, removed or found by another name.
Then nothing may be written.

How they are matched: the log's header names the container (a random id) and the state it started
from, and the container bears both in its seal behind the HDF5 end. Every stock HDF5 program that
opens a file for writing cuts the seal off, whether or not it moves the end of the file; and a
renamed or copied partner has another id or another state. A copied pair (both files) fits and is
recovered like the original. The seal also names the log whose commits are pending, so that a
container is never taken for whole without it, and the logs whose commits were copied, so that one
that a killed process left is known to be done with. A program that changes bytes in place without
HDF5 is found by the digests that the log keeps of each logged page as it was before (`check_pages`).
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from simarchive.errors import DetachedLogError, ForeignChangeError, StorageError
from simarchive.journal.files import OpenFile, directory_of
from simarchive.journal.frames import PAGE_BYTES, page_digest
from simarchive.journal.log import Log
from simarchive.journal.seal import NO_TICKET, SEAL_BYTES, Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, end_of_file, is_guarded, is_intact


class LogRelation(Enum):
    """How the log beside a container relates to it."""

    NOT_NEEDED = "no commit is pending: the container is the state"
    AHEAD = "the container is as it was when the log began; the commits are in the log"
    PARTLY_COPIED = "a checkpoint has begun and did not finish"
    COPIED = "a checkpoint has finished; the log has not been restarted"


@dataclass(frozen=True, slots=True)
class ContainerHead:
    """What the container says about itself: its superblock and its seal.

    In the midst of a checkpoint the superblock may be torn, so that its `end` means nothing.
    """

    superblock: bytes
    end: int
    seal_bytes: bytes

    @classmethod
    def of(cls, container: OpenFile) -> ContainerHead:
        """Read it from the container; raise FormatError if it is not an HDF5 file that can be one."""
        superblock = container.read(SUPERBLOCK_BYTES, 0)
        end = end_of_file(superblock, container.path)
        return cls(superblock, end, container.read(SEAL_BYTES, end))

    @property
    def seal(self) -> Seal | None:
        """The seal, if there is an intact one."""
        return _seal_in(self.seal_bytes)


# Every operation looks at the seal, which seldom changes.
_seal_in = functools.lru_cache(maxsize=64)(Seal.from_bytes)


def relation_of(container: OpenFile, head: ContainerHead, log: Log | None) -> LogRelation:
    """Return how a log relates to the container beside it.

    Raises
    ------
    DetachedLogError
        If the container has commits in another log than this one, or a checkpoint of another one is at
        work or was broken off.
    ForeignChangeError
        If the log holds commits and the container is not the one they belong to.
    """
    marked = is_guarded(head.superblock) or not is_intact(head.superblock)
    header = log.header if log else None
    if log is None or header is None or not log.states:
        if marked:
            raise DetachedLogError(
                f"container {container.path!r} is marked as being written, or its first bytes are damaged: "
                "a program that has it open under another name is copying its log, or was killed meanwhile; "
                "it was copied in the middle of that without its '-wal' file; another HDF5 program was "
                "killed while it had the file open for writing, or a repack with --tmp-dir was, which left "
                "the whole container in that directory. Bring the '-wal' file or that copy back, or use a "
                "backup (h5clear -s drops the mark)"
            )
        _check_nothing_is_pending(container, head, header.ticket if header else NO_TICKET)
        return LogRelation.NOT_NEEDED
    if marked:
        # Stock HDF5 refuses a file with this mark, or with a torn one, so nobody but a checkpoint has
        # written since.
        return LogRelation.PARTLY_COPIED
    seal = head.seal
    if seal is not None and seal.container_id == header.base.container_id:
        _check_nothing_is_pending(container, head, header.ticket)
        if seal.state == header.base.state and head.superblock == header.base_superblock:
            return LogRelation.AHEAD
        if seal.state in log.states:
            return LogRelation.COPIED
        if seal.has_all_of(header.ticket):
            return LogRelation.NOT_NEEDED
    what = "belongs to another container" if seal else "was changed by another program"
    raise ForeignChangeError(
        f"container {container.path!r} does not fit its log {log.file.path!r}: it {what} while "
        "commits were pending in the log. Nothing was overwritten. To keep the container as it is, move "
        "the log away; to keep the commits, put the container back as it was"
    )


def _check_nothing_is_pending(container: OpenFile, head: ContainerHead, ticket: bytes) -> None:
    """Check that no other log than the one with this ticket has commits that the container lacks."""
    seal = head.seal
    if seal is not None and seal.is_pending and seal.ticket != ticket:
        raise DetachedLogError(
            f"container {container.path!r} has commits in a log that is not beside it: the file is in use "
            "under another name (a hard link or another mount), was left there by a killed program, or was "
            "copied, moved or restored without its '-wal' file. Use the other name, or put the log back "
            f"beside it{_other_names(container)}; 'simarchive repair --forget-log' gives those commits up"
        )


def _other_names(container: OpenFile) -> str:
    """Return what other names the container has in its directory, in words; empty if none."""
    files, found = container.files, []
    with contextlib.suppress(OSError, StorageError):
        if container.status().st_nlink > 1:
            directory = directory_of(container.path)
            for name in files.names_in(directory):
                path = str(Path(directory) / name)
                status = files.status_of_name(path)
                if (status.st_dev, status.st_ino) == container.identity and path != container.path:
                    found.append(repr(name))
    return f" (it is also named {', '.join(sorted(found))})" if found else ""


def check_pages(container: OpenFile, log: Log) -> None:
    """Check that every page below a logged one is as it was when the log began.

    Valid while the log is `AHEAD`. Costs one read of 4 KiB for each page in the log.

    Raises
    ------
    ForeignChangeError
        If a page differs: somebody wrote into the container, but not through HDF5.
    """
    for page, digest in log.before.items():
        if page_digest(container.read(PAGE_BYTES, page * PAGE_BYTES)) != digest:
            raise ForeignChangeError(
                f"container {container.path!r} was changed by another program near byte "
                f"{page * PAGE_BYTES} while commits were pending in its log {log.file.path!r}. Nothing was "
                "overwritten. To keep the container as it is, move the log away; to keep the commits, put "
                "it back as it was"
            )

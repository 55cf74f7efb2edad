"""The redo log of one container: which commits it holds, and writing more.

A *generation* of the log lasts from one header to the next. Within it no byte that belongs to a
commit is written again, so a snapshot read from it stays valid while its reader works. A commit
whose sync failed may have been read by another process, too: it is taken out of the chain by a
SKIP frame over its first sector, and its pages stay where they are until the generation ends.

The *state* is the digest of the last commit: equal states mean equal contents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simarchive.errors import CommitInDoubtError, ForeignChangeError, StorageError, StorageFullError
from simarchive.journal.files import OpenFile
from simarchive.journal.frames import (
    COMMIT,
    DIGEST_AT,
    DIGEST_BYTES,
    FRAMES_AT,
    HEAD_BYTES,
    PAGE_BYTES,
    SECTOR_BYTES,
    SKIP,
    Frame,
    Head,
    Header,
    decode_frame,
    encode_frame,
)
from simarchive.journal.seal import NO_TICKET, Seal

_SCAN_BYTES = 1 << 20
# The log grows by as much as it has, up to this: a sync costs a third less if the file's size stays.
_ROOM_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class _Chain:
    """Where the chain of frames has got to."""

    position: int
    sequence: int
    digest: bytes


@dataclass(slots=True)
class _Transaction:
    """Frames behind the last commit: a transaction at work, or the debris of one."""

    start: int = 0
    first_digest: bytes = b""
    pages: dict[int, int] = field(default_factory=dict)
    before: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempt:
    """A commit that was handed to the operating system and is not settled."""

    frame: Frame
    at: int
    previous: bytes
    must_skip: bool = False

    @property
    def end(self) -> int:
        return self.at + self.frame.head.length


@dataclass(slots=True)
class SeenFrames:
    """How far the log has been read, whatever file bore its name then: it never becomes shorter."""

    salt: bytes = b""
    sequence: int = 0


class Log:
    """The log of one container: its commits, indexed by page.

    Attributes
    ----------
    header
        What the generation starts from; None while the file holds no intact header.
    pages
        Where in the log the last committed image of each page lies.
    before
        The digest each logged page had in the container when the generation began.
    states
        The states of all commits in the log.
    end, state
        End of file and state of the last commit; of the base, if there is none.
    high_water
        No commit that a reader of this generation may have seen reaches past this offset, and no page
        at or above it has been logged.
    synced
        Whether everything in the log is known to be on the device.
    overwritten
        The ticket of the generation that this object has written the present one over.
    """

    def __init__(self, file: OpenFile, seen: SeenFrames | None = None) -> None:
        self.file = file
        self._seen = seen or SeenFrames()
        self._attempt: _Attempt | None = None
        self._nonce = 0
        self._unfinished = _Transaction()
        self._tail = _Chain(FRAMES_AT, 0, b"")
        self.overwritten = NO_TICKET
        self._begin_index(None)

    @property
    def size(self) -> int:
        """Bytes in use up to the last commit."""
        return self._chain.position

    @property
    def salt(self) -> bytes:
        """What tells this generation from every other; empty if there is none."""
        return self.header.salt if self.header else b""

    @property
    def ticket(self) -> bytes:
        """What the container's seal calls this generation."""
        return self.header.ticket if self.header else NO_TICKET

    @property
    def is_empty(self) -> bool:
        """Whether the generation has no frame that counts."""
        return self._chain.sequence == 0

    @property
    def in_doubt(self) -> bool:
        """Whether a commit was tried whose outcome is not settled."""
        return self._attempt is not None

    # ---- reading -------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Return whether anything moved since the last look: more commits, or another generation.

        Raises
        ------
        ForeignChangeError
            If frames that were seen before are gone: somebody cut the log, or wrote into it.
        """
        moved = self._look()
        seen = self._seen
        if seen.salt == self.salt and self._chain.sequence < seen.sequence:
            raise ForeignChangeError(
                f"log {self.file.path!r} was cut short or damaged while it was in use: it had "
                f"{seen.sequence} frames, and {self._chain.sequence} are left. Nothing was overwritten: put "
                "the log back as it was, or open the container again to go on with what is left"
            )
        seen.salt, seen.sequence = self.salt, self._chain.sequence
        return moved

    def check(self) -> None:
        """Read all frames again, and check that they are what this object knows of them.

        Raises
        ------
        ForeignChangeError
            If somebody cut the log or wrote into it.
        """
        fresh = Log(self.file)
        fresh.refresh()
        if (fresh.salt, fresh.state, fresh.pages) != (self.salt, self.state, self.pages):
            raise ForeignChangeError(
                f"log {self.file.path!r} was damaged while it was in use: nothing was copied from it. Put it "
                "back as it was, or open the container again to go on with what is left"
            )

    def _look(self) -> bool:
        data = self.file.read(SECTOR_BYTES, 0)
        if self.header is not None and data == self._header_bytes:
            if self._last is None or self._is_at(*self._last):
                return self._scan()
        elif self.header is None and not any(data):
            return False
        held = self.header is not None
        self._begin_index(Header.from_bytes(data, self.file.path))
        if self.header is not None:
            self._scan()
        return held or self.header is not None

    def _begin_index(self, header: Header | None) -> None:
        self.header = header
        self._header_bytes = header.to_bytes() if header else b""
        self.pages: dict[int, int] = {}
        self.before: dict[int, bytes] = {}
        self.states: set[bytes] = set()
        self.end = self.high_water = header.base_end if header else 0
        self.state = header.base.state if header else b""
        self.synced = False
        self._last: tuple[int, bytes] | None = None
        self._chain = _Chain(FRAMES_AT, 0, header.salt if header else b"")
        self.forget_unfinished()

    def _is_at(self, offset: int, digest: bytes) -> bool:
        return self.file.read(DIGEST_BYTES, offset + DIGEST_AT) == digest

    def _scan(self) -> bool:
        """Index the frames behind the last one known; True if there was a commit among them."""
        unfinished = self._unfinished
        if unfinished.start and not self._is_at(unfinished.start, unfinished.first_digest):
            # Another transaction has begun in its place: the nonce makes their digests differ.
            self.forget_unfinished()
        moved = False
        start = self._tail.position
        window = self.file.read(HEAD_BYTES, start)
        while True:
            tail = self._tail
            if tail.position + HEAD_BYTES > start + len(window) and tail.position > start:
                start, window = tail.position, self.file.read(_SCAN_BYTES, tail.position)
            head = Head.from_bytes(window[tail.position - start : tail.position - start + HEAD_BYTES])
            if head is None or head.sequence != tail.sequence + 1:
                return moved
            need = head.stored_bytes
            if tail.position + need > start + len(window):
                # Garbage may claim any length: never read past the end of the file.
                if need > _SCAN_BYTES and tail.position + need > self.file.status().st_size:
                    return moved
                start, window = tail.position, self.file.read(max(need, _SCAN_BYTES), tail.position)
            at = tail.position - start
            frame = decode_frame(memoryview(window)[at : at + need], tail.digest, tail.position)
            if frame is None:
                return moved
            self._extend(frame)
            moved |= self._adopt_if_final(frame)

    def _extend(self, frame: Frame) -> None:
        """Add a frame to the unfinished transaction at the end of the chain."""
        unfinished, tail = self._unfinished, self._tail
        if not unfinished.start:
            unfinished.start, unfinished.first_digest = tail.position, frame.digest
        unfinished.pages.update(frame.pages)
        for page, image in frame.before.items():
            unfinished.before.setdefault(page, image)
        self._tail = _Chain(tail.position + frame.head.length, tail.sequence + 1, frame.digest)

    def _adopt_if_final(self, frame: Frame) -> bool:
        """Make the unfinished transaction part of the committed state if `frame` ends it."""
        if not frame.head.flags:
            return False
        unfinished = self._unfinished
        logged_end = (max(unfinished.pages, default=-1) + 1) * PAGE_BYTES
        self.high_water = max(self.high_water, frame.head.end, logged_end)
        if frame.head.flags == COMMIT:
            self.pages.update(unfinished.pages)
            for page, image in unfinished.before.items():
                self.before.setdefault(page, image)
            self.end, self.state = frame.head.end, frame.digest
            self.states.add(frame.digest)
        self._chain, self._last = self._tail, (unfinished.start, unfinished.first_digest)
        self._unfinished = _Transaction()
        self.synced = False
        return True

    def forget_unfinished(self) -> None:
        """Drop what follows the last commit; the next frame will be written over it."""
        self._tail, self._unfinished = self._chain, _Transaction()

    # ---- writing -------------------------------------------------------------------------

    def restart(self, base: Seal, base_end: int, base_superblock: bytes) -> None:
        """Begin a new generation: every frame in the file is dead from here on, durably.

        The header is synced before anything else: a frame must not be overwritten while an old
        header could still come back and make its neighbours count.
        """
        header = Header(os.urandom(16), base, base_end, base_superblock)
        overwritten = self.ticket
        # Until the sync has succeeded nobody may append: what the file holds is unknown.
        self._begin_index(None)
        self._attempt = None
        self.file.write(header.to_bytes(), 0)
        self.file.sync()
        self._begin_index(header)
        self.synced, self.overwritten = True, overwritten

    def lacks_before(self, page: int) -> bool:
        """Return whether the digest of `page` in the container belongs into the next frame."""
        header = self.header
        if header is None or page >= header.base_pages:
            return False
        return page not in self.before and page not in self._unfinished.before

    def append(
        self,
        images: Sequence[tuple[int, bytes | bytearray]],
        before: Mapping[int, bytes],
        end: int,
        *,
        commit: bool,
    ) -> dict[int, int]:
        """Write one frame and return where each page lies. Nothing is synced, nothing committed."""
        tail = self._tail
        if not self._unfinished.start:
            self._nonce = int.from_bytes(os.urandom(8), "little")
        head = Head(COMMIT if commit else 0, tail.sequence + 1, self._nonce, end, len(images))
        frame, data = encode_frame(head, tail.digest, tail.position, images, before)
        self.synced = False
        if commit:
            self._attempt = _Attempt(frame, tail.position, tail.digest)
        end_of_frame = tail.position + len(data)
        room = 0
        if end_of_frame > self.file.status().st_size:
            room = min(end_of_frame, _ROOM_BYTES)
        data += bytes(room)
        try:
            self.file.write(data, tail.position)
        except StorageFullError:
            if not room:
                raise
            # The room ahead only saves time.
            self.file.truncate(end_of_frame)
            self.file.write(memoryview(data)[: len(data) - room], tail.position)
        self._extend(frame)
        return frame.pages

    def sync(self) -> None:
        """Return when every frame is on the device."""
        self.file.sync()
        self.synced = True

    def accept(self) -> None:
        """Make the commit that `append` wrote the committed state of this log."""
        attempt, synced = self._attempt, self.synced
        if attempt is not None:
            self._adopt_if_final(attempt.frame)
            self._seen.salt, self._seen.sequence = self.salt, self._chain.sequence
            self.synced, self._attempt = synced, None

    def forget_attempt(self) -> None:
        """Leave it to what is in the file whether a commit in doubt counts."""
        self._attempt = None

    def cut_debris(self) -> None:
        """Give the room of unfinished frames back."""
        if self.file.status().st_size > self._chain.position:
            self.file.truncate(self._chain.position)

    def retract(self) -> None:
        """Make sure that a commit that failed never counts, and forget the transaction.

        Raises
        ------
        CommitInDoubtError
            If the device refuses that, too. Whether the commit counts is then unknown until
            `retract` succeeds or the container is opened again.
        """
        self.forget_unfinished()
        attempt = self._attempt
        if attempt is None:
            return
        try:
            # A frame that cannot be read back whole cannot become whole by a crash.
            attempt.must_skip = attempt.must_skip or self._is_whole(attempt)
            if attempt.must_skip:
                self._skip(attempt)
        except StorageError as error:
            raise CommitInDoubtError(
                f"a commit to {self.file.path!r} failed and could not be taken back ({error}): whether it "
                "counts is unknown until roll_back() succeeds or the container is opened again"
            ) from error
        self._attempt = None

    def _is_whole(self, attempt: _Attempt) -> bool:
        head = attempt.frame.head
        data = memoryview(self.file.read(head.stored_bytes, attempt.at))
        if data[:DIGEST_AT] != head.to_bytes():
            return False
        return decode_frame(data, attempt.previous, attempt.at) is not None

    def _skip(self, attempt: _Attempt) -> None:
        """Take a whole commit out of the chain, durably, and leave its pages in place."""
        chain = self._chain
        head = Head(SKIP, chain.sequence + 1, 0, attempt.frame.head.end, attempt.end - chain.position)
        frame, data = encode_frame(head, chain.digest, chain.position, [], {})
        self.file.write(data, chain.position)
        self.file.sync()
        self._extend(frame)
        self._adopt_if_final(frame)
        self.synced = True

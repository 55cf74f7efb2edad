"""The seal: 128 bytes behind the HDF5 end of a container that say which container and state it is.

HDF5 ignores bytes behind its own end of file when it reads, and cuts them off whenever a program
has the file open for writing. So a seal that is there says at once: this is container
`container_id`; it holds the state `state`, the digest of the last commit copied into it; and no
stock HDF5 program had it open for writing since. The journal writes the seal at every checkpoint
and never lets bulk bytes run over it before the next.

It also says whether commits are pending, and in which log. A log lies beside one name of its
container; by a hard link or another mount the container is found without it, and a file that was
copied, moved or restored may have left it behind. So the first commit of a log is preceded by a
seal with the log's ticket. A container whose seal says that commits are pending in a log is
neither read nor written without that log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from blake3 import blake3

ID_BYTES = 16
TICKET_BYTES = 8
NO_TICKET = bytes(TICKET_BYTES)
"""Of a container that never had a log."""

_MAGIC, _OLD_MAGIC = b"simseal2", b"simseal1"
_SIZES = {_MAGIC: 128, _OLD_MAGIC: 64}
SEAL_BYTES = _SIZES[_MAGIC]
_PENDING = 1
_MOST_FORMER = 7


@dataclass(frozen=True, slots=True)
class Seal:
    """Which container this is, which commit is the last that it holds by itself, and which log has more.

    Attributes
    ----------
    ticket
        Names the last log whose commits were copied into the container or, if `is_pending`, were not.
    former
        The tickets of logs before it, all of whose commits are in the container.
    size
        How many bytes it takes: fewer in containers of early versions, which say nothing of logs.
    """

    container_id: bytes
    state: bytes
    ticket: bytes = NO_TICKET
    is_pending: bool = False
    former: tuple[bytes, ...] = ()
    size: int = SEAL_BYTES

    @classmethod
    def new(cls) -> Seal:
        """Return a seal that no other container has."""
        return cls(os.urandom(ID_BYTES), os.urandom(ID_BYTES))

    def is_same_state(self, other: Seal) -> bool:
        """Return whether another seal is of the same container in the same state."""
        return (self.container_id, self.state) == (other.container_id, other.state)

    def pending_in(self, ticket: bytes, *, overwritten: bytes = NO_TICKET) -> Seal:
        """Return the seal for the time when a log with this ticket has commits that the container lacks.

        Parameters
        ----------
        overwritten
            The ticket of the log that this one was written over: it cannot turn up any more.
        """
        former = self.former
        if self.ticket not in (NO_TICKET, ticket, overwritten):
            former = (self.ticket, *former)[:_MOST_FORMER]
        return replace(self, ticket=ticket, is_pending=True, former=former, size=SEAL_BYTES)

    def settled(self) -> Seal:
        """Return the seal for the time when the container holds all commits."""
        return replace(self, is_pending=False, size=SEAL_BYTES)

    def given_up(self) -> Seal:
        """Return the seal for the time when the commits of the pending log are given up; it is not known."""
        return replace(self.settled(), ticket=NO_TICKET)

    def has_all_of(self, ticket: bytes) -> bool:
        """Return whether every commit of the log with this ticket is in the container."""
        known = self.former if self.is_pending else (self.ticket, *self.former)
        return ticket != NO_TICKET and ticket in known

    def to_bytes(self) -> bytes:
        """Return the bytes that go behind the end of the container."""
        flags = (_PENDING if self.is_pending else 0).to_bytes(8, "little")
        body = _MAGIC + self.container_id + self.state + self.ticket + flags + b"".join(self.former)
        body = body.ljust(SEAL_BYTES - ID_BYTES, b"\0")
        return body + blake3(body).digest(ID_BYTES)

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal | None:
        """Return the seal in `data`, or None if there is no intact one."""
        size = _SIZES.get(data[:8], 0)
        body, check = data[: size - ID_BYTES], data[size - ID_BYTES : size]
        if not size or check != blake3(body).digest(ID_BYTES):
            return None
        parts = [body[at : at + TICKET_BYTES] for at in range(8 + 2 * ID_BYTES, len(body), TICKET_BYTES)]
        container_id, state = body[8 : 8 + ID_BYTES], body[8 + ID_BYTES : 8 + 2 * ID_BYTES]
        if data[:8] == _OLD_MAGIC:
            return cls(container_id, state, size=size)
        former = tuple(ticket for ticket in parts[2:] if ticket != NO_TICKET)
        return cls(container_id, state, parts[0], bool(parts[1][0] & _PENDING), former)

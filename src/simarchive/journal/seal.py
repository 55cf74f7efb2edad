"""The seal: 64 bytes behind the HDF5 end of a container that say which container and state it is.

HDF5 ignores bytes behind its own end of file when it reads, and cuts them off whenever a program
has the file open for writing. So a seal that is there says three things at once: this is container
`container_id`; it holds the state `state`, the digest of the last commit copied into it; and no
stock HDF5 program had it open for writing since. The journal writes the seal at every checkpoint
and never lets bulk bytes run over it before the next.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from blake3 import blake3

SEAL_BYTES = 64
ID_BYTES = 16
_MAGIC = b"simseal1"


@dataclass(frozen=True, slots=True)
class Seal:
    """Which container this is, and which commit is the last that it holds by itself."""

    container_id: bytes
    state: bytes

    @classmethod
    def new(cls) -> Seal:
        """Return a seal that no other container has."""
        return cls(os.urandom(ID_BYTES), os.urandom(ID_BYTES))

    def to_bytes(self) -> bytes:
        """Return the bytes that go behind the end of the container."""
        body = (_MAGIC + self.container_id + self.state).ljust(SEAL_BYTES - ID_BYTES, b"\0")
        return body + blake3(body).digest(ID_BYTES)

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal | None:
        """Return the seal in `data`, or None if there is no intact one."""
        body, check = data[: SEAL_BYTES - ID_BYTES], data[SEAL_BYTES - ID_BYTES :]
        if body[:8] != _MAGIC or check != blake3(body).digest(ID_BYTES):
            return None
        return cls(body[8 : 8 + ID_BYTES], body[8 + ID_BYTES : 8 + 2 * ID_BYTES])

"""Which locks there are, how processes that wait for one let each other go first, and who holds one.

The locks are `flock`: the very kind HDF5 takes on a file, so stock HDF5 programs and ours respect
each other. The writer lock is an exclusive flock on the log; an operation that reads the container
holds a shared flock on it, and a checkpoint an exclusive one. A log lies beside one name of its
container, so that a writer also locks one byte of the container itself, far behind its end and
unseen by flock: it keeps out a writer that came by another name.

Two sectors of the log behind its header carry notes between processes: who holds the writer lock,
and who waits. They are hints, never synced, never checksummed and never needed for recovery: the
header before them and the commits after them lie in sectors of their own.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from dataclasses import dataclass
from functools import cache

from simarchive.errors import StorageError, StorageFullError
from simarchive.journal.files import OpenFile

WRITER_BYTE = 1 << 62
HOLDER_AT = 512
MARKS_AT = 1024
_HOLDER_BYTES = 256
# A mark older than this was left by a process that gave up or died.
_MARK_FRESH_NS = 200_000_000
_POLITE_WAIT_S = 0.05


@cache
def _process_start(pid: int) -> str:
    """Return when this process first asked, as a text for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime())


@dataclass(frozen=True, slots=True)
class Holder:
    """Who wrote its name into the log when it took the writer lock.

    The token tells two openings of one process apart.
    """

    pid: int
    host: str
    since: str
    token: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return a new holder for this process."""
        pid = os.getpid()
        return cls(pid, socket.gethostname(), _process_start(pid), os.urandom(8).hex())

    @classmethod
    def from_bytes(cls, data: bytes) -> Holder | None:
        """Return the holder named in the note, or None if it names none."""
        parts = data.rstrip(b"\0").decode("utf-8", "replace").rstrip("\n").split("\t")
        if len(parts) != 4 or not parts[1].isdecimal():
            return None
        return cls(int(parts[1]), parts[2], parts[3], parts[0])

    def to_bytes(self) -> bytes:
        """Return the note for the log: one line of text, padded with zeros."""
        text = f"{self.token}\t{self.pid}\t{self.host}\t{self.since}\n".encode()
        return text[:_HOLDER_BYTES].ljust(_HOLDER_BYTES, b"\0")

    def claim_log(self, log_file: OpenFile) -> bool:
        """Leave this name in the log, and return whether it was there already: this was the last writer."""
        note = self.to_bytes()
        if log_file.read(_HOLDER_BYTES, HOLDER_AT) == note:
            return True
        # On a full device nobody is told who it was.
        with contextlib.suppress(StorageFullError):
            log_file.write(note, HOLDER_AT)
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host} (started {self.since})"


def read_holder(log_file: OpenFile) -> Holder | None:
    """Return the last process that took the writer lock of this log, if it left its name."""
    try:
        return Holder.from_bytes(log_file.read(_HOLDER_BYTES, HOLDER_AT))
    except StorageError:
        return None


class Mark:
    """A time stamp in the log by which one process asks others to step aside for a moment."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def set(self, log_file: OpenFile) -> None:
        """Ask now."""
        if not self.is_fresh(log_file, _MARK_FRESH_NS // 2):
            log_file.write(struct.pack("<Q", time.time_ns()), self._offset)

    def clear(self, log_file: OpenFile) -> None:
        """Take the request back."""
        log_file.write(bytes(8), self._offset)

    def is_fresh(self, log_file: OpenFile, age_ns: int = _MARK_FRESH_NS) -> bool:
        """Return whether somebody asked a short while ago."""
        data = log_file.read(8, self._offset)
        stamp: int = struct.unpack("<Q", data)[0] if len(data) == 8 else 0
        return stamp != 0 and abs(time.time_ns() - stamp) < age_ns

    def step_aside(self, log_file: OpenFile, deadline: float) -> None:
        """Wait while somebody asks, but never for long."""
        if not self.is_fresh(log_file):
            return
        end = min(deadline, time.monotonic() + _POLITE_WAIT_S)
        while time.monotonic() < end and self.is_fresh(log_file):
            time.sleep(random.uniform(0.0005, 0.002))


WRITER_WAITS = Mark(MARKS_AT)
CHECKPOINT_WAITS = Mark(MARKS_AT + 8)

"""Frames of XTC decoded by MDAnalysis or mdtraj, from files in memory.

No decoder on PyPI reads XTC from memory, so the bytes of a frame are put into a memory file, which the
library has open.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simarchive.errors import InvalidDataError
from simarchive.ground.filesystem import write_all
from simarchive.storage.trajectories.excerpt import memory_file
from simarchive.storage.trajectories.source import Source

# C's stdio keeps the last page that it read. A slot is read after a seek out of the other one, and ends in
# so many unused bytes that the page is never one of the other slot.
_GAP_BYTES = 1 << 16
_PAGE = 4096


class Decoded(NamedTuple):
    """What an XTC frame holds but for its coordinates: the vectors of the box in nanometres, ps, step."""

    box: NDArray[np.float32]
    time: float
    step: int


class SlotFile:
    """Does what `XTCFile` of MDAnalysis does for a reader of MDAnalysis, over a member.

    Frames are put by turns into two slots of a memory file.

    Parameters
    ----------
    make
        `XTCFile`.
    """

    def __init__(self, make: Any, source: Source) -> None:
        self._source, self._position, self._turn = source, 0, 0
        starts = np.fromiter(source.layout.starts, np.int64)  # type: ignore[call-overload]
        longest = int(np.diff(starts).max()) if len(source) else 0
        self._slot_bytes = -(-(longest + _GAP_BYTES) // _PAGE) * _PAGE
        self._fd = os.memfd_create("simarchive", os.MFD_CLOEXEC)
        self._pid = os.getpid()
        try:
            os.ftruncate(self._fd, 2 * self._slot_bytes if len(source) else 0)
            if len(source):
                self._put(0, 0)
            self._xdr = make(f"/proc/self/fd/{self._fd}")
        except BaseException:
            os.close(self._fd)
            raise
        self._make = make
        self._xdr.set_offsets(np.array([0, self._slot_bytes]))
        self.n_atoms = self._xdr.n_atoms
        self.offsets = starts[:-1]

    def _put(self, slot: int, number: int) -> None:
        frame = self._source.frame(number)
        write_all(self._fd, frame, slot * self._slot_bytes)

    def _ready(self) -> Any:
        if self._position >= len(self._source):
            raise StopIteration
        if self._pid != os.getpid():
            self._part_from_parent()
        self._turn ^= 1
        self._put(self._turn, self._position)
        with self._source.errors(f"frame {self._position} cannot be read"):
            self._xdr.seek(self._turn)
        self._position += 1
        return self._xdr

    def _part_from_parent(self) -> None:
        """Take a file of its own in a forked child, which would share slots and position with its parent."""
        self._pid, self._fd = os.getpid(), os.memfd_create("simarchive", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, 2 * self._slot_bytes)
        self._put(0, 0)
        self._xdr = self._make(f"/proc/self/fd/{self._fd}")
        self._xdr.set_offsets(np.array([0, self._slot_bytes]))

    def read(self) -> Any:
        """Return the next frame."""
        xdr = self._ready()
        with self._source.errors(f"frame {self._position - 1} cannot be decoded"):
            return xdr.read()

    def read_direct_x(self, positions: Any) -> Any:
        """Return the next frame, with its coordinates in `positions`."""
        xdr = self._ready()
        with self._source.errors(f"frame {self._position - 1} cannot be decoded"):
            return xdr.read_direct_x(positions)

    def seek(self, frame: int) -> None:
        """Make a frame the next one."""
        if not 0 <= frame < len(self._source):
            raise EOFError(f"there is no frame {frame}")
        self._position = frame

    def tell(self) -> int:
        """Return the number of the next frame."""
        return self._position

    def __len__(self) -> int:
        return len(self._source)

    def __enter__(self) -> SlotFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the memory file."""
        if self._fd >= 0:
            self._xdr.close()
            os.close(self._fd)
            self._fd = -1
            self._source.close()


class XTCDecoder:
    """Decodes frames into arrays, by MDAnalysis or, where that is not installed, by mdtraj.

    Raises
    ------
    InvalidDataError
        If neither is installed.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._slots: SlotFile | None = None
        try:
            from MDAnalysis.lib.formats.libmdaxdr import XTCFile
        except ImportError:
            self._mdtraj_file = _mdtraj_file()
        else:
            self._slots = SlotFile(XTCFile, source)

    def read_into(self, number: int, out: NDArray[np.float32]) -> Decoded:
        """Fill `out`, of shape (n_atoms, 3), with the coordinates of a frame in nanometres."""
        if self._slots is not None:
            self._slots.seek(number)
            frame = self._slots.read_direct_x(out)
            return Decoded(frame.box, float(frame.time), int(frame.step))
        with memory_file([self._source.frame(number)]) as path, self._mdtraj_file(path) as file:
            with self._source.errors(f"frame {number} cannot be decoded"):
                xyz, time, step, box = file.read()
            out[:] = xyz[0]
            vectors = np.zeros((3, 3), np.float32) if box is None else box[0]
            return Decoded(vectors, float(time[0]), int(step[0]))

    def close(self) -> None:
        """Close what was opened."""
        if self._slots is not None:
            self._slots.close()


def _mdtraj_file() -> Any:
    try:
        from mdtraj.formats import XTCTrajectoryFile
    except ImportError as error:
        raise InvalidDataError(
            "frames of XTC are decoded by MDAnalysis or mdtraj: pip install 'simarchive[trajectories]'"
        ) from error
    return XTCTrajectoryFile

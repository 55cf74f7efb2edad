"""Frames as arrays: coordinates in angstroms, boxes in angstroms and degrees, times in picoseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.trajectory_files.boxes import box_of_dcd, box_of_vectors
from simarchive.codecs.trajectory_files.dcd import AKMA_PS
from simarchive.container.open_members.chunks import MemberChunks
from simarchive.errors import ClosedError, FrameReadError, InvalidDataError
from simarchive.storage.trajectories.source import (
    DCDSource,
    NetCDFSource,
    Source,
    TRRSource,
    XTCSource,
    open_source,
)
from simarchive.storage.trajectories.xtc import XTCDecoder

_ANGSTROMS = np.float32(10)  # of a nanometre


@dataclass(frozen=True)
class FrameBlock:
    """Some frames of a trajectory, or one.

    Attributes
    ----------
    numbers
        Which frames these are, shape (n_frames,).
    positions
        Shape (n_frames, n_atoms, 3), float32, in angstroms.
    box
        Shape (n_frames, 6), float32: lengths in angstroms and angles in degrees; zeros for a frame without
        a box, None if the file has none at all.
    time
        Shape (n_frames,), float64, in picoseconds; None if the file does not say.

    Notes
    -----
    For one frame, the first axis is absent.
    """

    numbers: NDArray[np.intp]
    positions: NDArray[np.float32]
    box: NDArray[np.float32] | None
    time: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.positions)


class Frames:
    """The frames of a member, in place: ``frames[10:1000:10]``, ``frames[-1]``, ``frames[[3, 1]]``.

    Only what is asked for is decoded. Arrays are the caller's own. For one thread at a time.

    Parameters
    ----------
    chunks
        Where the stored chunks of the member come from.

    Raises
    ------
    InvalidDataError
        If it is no trajectory that can be read in place.
    """

    def __init__(self, chunks: MemberChunks) -> None:
        self._source: Source | None = open_source(chunks)
        self.name = chunks.name  #: of the member
        self.key = chunks.key  #: of its object
        self.format = self._source.format  #: ``"DCD"``, ``"NCDF"``, ``"TRR"`` or ``"XTC"``
        self.n_atoms = self._source.n_atoms
        self._n_frames = self._source.n_frames
        self._reader: _Reader | None = None
        self._dt: float | None = None

    def __repr__(self) -> str:
        return f"<{self.format} {self.key}/{self.name}: {len(self)} frames of {self.n_atoms} atoms>"

    def __len__(self) -> int:
        return self._n_frames

    @property
    def dt(self) -> float | None:
        """Picoseconds from one frame to the next, as the first two say; None if the file does not say."""
        if self._dt is None:
            self._dt = self._open().dt()
        return self._dt

    def __getitem__(self, which: int | slice | Sequence[int] | NDArray[Any]) -> FrameBlock:
        """Return one frame, a slice of them, or those of some numbers, in their order.

        Raises
        ------
        IndexError
            If there is no frame of a number.
        FrameReadError
            If a frame cannot be read.
        CorruptMemberError
            If a chunk of the container does not match its check.
        """
        numbers = frame_numbers(which, len(self), f"{self.key}/{self.name}")
        reader = self._open()
        positions = np.empty((len(numbers), self.n_atoms, 3), np.float32)
        boxes, times = np.zeros((len(numbers), 6), np.float32), np.zeros(len(numbers))
        for place, number in enumerate(numbers):
            # Numbers too large for single precision are infinite, as they are in other readers.
            with np.errstate(over="ignore", invalid="ignore"):
                box, times[place] = reader.read_into(int(number), positions[place])
            if box[:3].any():  # else its angles say nothing
                boxes[place] = box
        block = FrameBlock(
            numbers, positions, boxes if reader.has_box else None, times if reader.has_time else None
        )
        return _first_of(block) if not isinstance(which, slice) and np.ndim(which) == 0 else block

    def __iter__(self) -> Iterator[FrameBlock]:
        return (self[number] for number in range(len(self)))

    def blocks(self, n_frames: int = 100) -> Iterator[FrameBlock]:
        """Yield all frames in blocks of `n_frames`, the last one perhaps shorter."""
        if n_frames < 1:
            raise InvalidDataError(f"a block has one frame or more, not {n_frames}")
        return (self[start : start + n_frames] for start in range(0, len(self), n_frames))

    def close(self) -> None:
        """Release memory and threads; closing twice does nothing."""
        if self._reader is not None:
            self._reader.close()
        if self._source is not None:
            self._source.close()
        self._source = self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> _Reader:
        if self._source is None:
            raise ClosedError(f"the frames of {self.key}/{self.name} were closed: open them again")
        if self._reader is None:
            self._reader = _READERS[self.format](self._source)
        return self._reader


def frame_numbers(which: Any, n_frames: int, label: str) -> NDArray[np.intp]:
    """Return the numbers of frames that an index, a slice, a list of numbers or a mask stands for.

    Raises
    ------
    IndexError
        If there is no frame of a number.
    InvalidDataError
        If it is none of these.
    """
    if isinstance(which, slice):
        return np.arange(n_frames, dtype=np.intp)[which]
    numbers = np.asarray(which).reshape(-1) if np.ndim(which) <= 1 else np.array([None])
    if numbers.dtype == bool and len(numbers) == n_frames:
        return np.flatnonzero(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise InvalidDataError(
            f"frames are named by a number, a slice or a list of numbers, not by {which!r}"
        )
    numbers = numbers.astype(np.intp)
    outside = numbers[(numbers < -n_frames) | (numbers >= n_frames)]
    if len(outside):
        raise IndexError(f"{label} has {n_frames} frames: there is no frame {outside[0]}")
    return np.where(numbers < 0, numbers + n_frames, numbers)


def _first_of(block: FrameBlock) -> FrameBlock:
    box = None if block.box is None else block.box[0]
    time = None if block.time is None else block.time[0]
    return FrameBlock(block.numbers[0], block.positions[0], box, cast("NDArray[np.float64] | None", time))


Box = NDArray[np.float32]


class _Reader:
    """Reads one frame at a time into an array."""

    has_box = True
    has_time = True

    def __init__(self, source: Any) -> None:
        self._source = source

    def read_into(self, number: int, out: NDArray[np.float32]) -> tuple[Box, float]:
        raise NotImplementedError

    def time(self, number: int) -> float | None:
        raise NotImplementedError

    def dt(self) -> float | None:
        if len(self._source) < 2:
            return None
        first, second = self.time(0), self.time(1)
        return None if first is None or second is None else second - first

    def close(self) -> None:
        """Release what was opened."""


class _DCD(_Reader):
    _source: DCDSource

    def __init__(self, source: DCDSource) -> None:
        super().__init__(source)
        header = source.layout.header
        self.has_box = header.has_cell
        # As Python's float of what the header has in single precision, which is how MDAnalysis counts.
        self._between = header.delta * AKMA_PS * header.steps_between
        self.has_time = self._between != 0

    def read_into(self, number: int, out: NDArray[np.float32]) -> tuple[Box, float]:
        xyz, cell = self._source.raw(number)
        out[:] = xyz
        return (np.zeros(6, np.float32) if cell is None else box_of_dcd(cell).astype(np.float32)), self._time(
            number
        )

    def _time(self, number: int) -> float:
        header = self._source.layout.header
        if not self.has_time:
            return 0.0
        return float((number + header.first_step / header.steps_between) * self._between)

    def dt(self) -> float | None:
        return float(self._between) if self.has_time else None


class _NetCDF(_Reader):
    _source: NetCDFSource

    def __init__(self, source: NetCDFSource) -> None:
        super().__init__(source)
        self.has_box = {"cell_lengths", "cell_angles"} <= set(source.names)
        self.has_time = "time" in source.names

    def read_into(self, number: int, out: NDArray[np.float32]) -> tuple[Box, float]:
        out[:] = self._source.scaled(number, "coordinates")
        box = np.zeros(6, np.float32)
        if self.has_box:
            box[:3] = self._source.scaled(number, "cell_lengths")
            box[3:] = self._source.scaled(number, "cell_angles")
        return box, self.time(number) or 0.0

    def time(self, number: int) -> float | None:
        time = self._source.scaled(number, "time")
        return None if time is None else float(time)


class _TRR(_Reader):
    _source: TRRSource

    def read_into(self, number: int, out: NDArray[np.float32]) -> tuple[Box, float]:
        header, raw = self._source.raw(number)
        if "x" not in raw:
            raise FrameReadError(f"{self._source.label}: frame {number} has no coordinates")
        out[:] = raw["x"]
        out *= _ANGSTROMS
        box = raw["box"].astype(np.float32) if "box" in raw else np.zeros((3, 3), np.float32)
        return _box_of_gromacs(box), float(np.float32(header.time))

    def time(self, number: int) -> float | None:
        return float(np.float32(self._source.raw(number)[0].time))


class _XTC(_Reader):
    _source: XTCSource

    def __init__(self, source: XTCSource) -> None:
        super().__init__(source)
        self._decoder: XTCDecoder | None = None

    def read_into(self, number: int, out: NDArray[np.float32]) -> tuple[Box, float]:
        if self._decoder is None:
            self._decoder = XTCDecoder(self._source)
        decoded = self._decoder.read_into(number, out)
        out *= _ANGSTROMS
        return _box_of_gromacs(decoded.box), decoded.time

    def time(self, number: int) -> float | None:
        # Magic number, atoms and step come before it.
        return float(np.frombuffer(self._source.frame(number), ">f4", 1, 12)[0])

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()


_READERS: dict[str, Callable[[Any], _Reader]] = {"DCD": _DCD, "NCDF": _NetCDF, "TRR": _TRR, "XTC": _XTC}


def _box_of_gromacs(vectors: NDArray[np.float32]) -> Box:
    box = box_of_vectors(vectors).astype(np.float32)
    box[:3] *= _ANGSTROMS
    return box

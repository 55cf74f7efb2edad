"""Binary trajectories: how many frames, atoms and picoseconds, from headers alone.

Nothing is written beside the files, as readers that keep offsets do, and no coordinate is decoded.

References
----------
CHARMM/NAMD DCD as in MDAnalysis `readdcd.h`; GROMACS XTC and TRR as in `xdrfile_xtc.c` and `xdrfile_trr.c`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import IO

from simarchive.storage.runs.file_reading import FileReading, Part, RunFile, UnreadableError

AKMA_PS = 4.888821e-2
"""The unit of time of CHARMM in picoseconds."""

_XTC_MAGIC = {1995: 4, 2023: 8}  # and the bytes of the size of its compressed data
_TRR_MAGIC = 1993
_SMALLEST_COMPRESSED = 10


def read_dcd(file: RunFile) -> FileReading:
    """Return what the header of a DCD file says; frames are counted by the size of the file."""
    head = file.head
    if head[4:8] != b"CORD":
        raise UnreadableError("it does not begin as a DCD file")
    order = "<" if head[:4] == b"\x54\0\0\0" else ">"
    control = struct.unpack_from(f"{order}20i", head, 8)
    (title_bytes,) = struct.unpack_from(f"{order}i", head, 92)
    title = head[100 : 96 + title_bytes].decode("latin-1")
    place = 92 + 8 + title_bytes
    marker, n_atoms = struct.unpack_from(f"{order}2i", head, place)
    if marker != 4 or n_atoms <= 0:
        raise UnreadableError("its header is damaged")
    n_fixed, is_charmm = control[8], bool(control[19])
    delta = struct.unpack_from(f"{order}f" if is_charmm else f"{order}d", head, 44)[0]
    cell_bytes = 56 if is_charmm and control[10] else 0
    axes = 4 if is_charmm and control[11] else 3
    start = place + 12 + (4 * (n_atoms - n_fixed) + 8 if n_fixed else 0)
    first_bytes = cell_bytes + axes * (4 * n_atoms + 8)
    frame_bytes = cell_bytes + axes * (4 * (n_atoms - n_fixed) + 8)
    reading = FileReading(file.name, Part.TRAJECTORY, "DCD", facts={"n_atoms": n_atoms})
    rest = file.size - start
    reading.n_frames, left = 0, rest
    if rest >= first_bytes:
        more, left = divmod(rest - first_bytes, frame_bytes)
        reading.n_frames = 1 + more
    if left:
        reading.notes.append(_broken_off(reading.n_frames))
    if "OpenMM" in title:
        reading.engine = "openmm"
    elif "NAMD" in title:
        reading.engine = "namd"
    elif "LAMMPS" in title:
        reading.engine = "lammps"
    if reading.engine == "lammps":
        # It writes its time step in its own units.
        reading.interval_steps = control[2]
    if reading.engine != "lammps" and delta > 0 and math.isfinite(delta):
        reading.interval_ps = max(control[2], 1) * delta * AKMA_PS
        reading.first_ps = control[1] * delta * AKMA_PS
    if cell_bytes and reading.n_frames:
        box = _dcd_box(file, start, order)
        if box is not None:
            reading.facts["box"] = box
    return reading


def _dcd_box(file: RunFile, start: int, order: str) -> list[float] | None:
    with file.open() as stream:
        stream.seek(start + 4)
        a, gamma, b, beta, alpha, c = struct.unpack(f"{order}6d", stream.read(48))
    # NAMD and LAMMPS write cosines, others degrees.
    angles = [math.degrees(math.acos(x)) if abs(x) <= 1.0 else x for x in (alpha, beta, gamma)]
    return checked_box([a, b, c, *angles])


def read_xtc(file: RunFile) -> FileReading:
    """Return what the headers of all frames of an XTC file say."""
    reading = FileReading(file.name, Part.TRAJECTORY, "XTC", "gromacs")
    times: list[float] = []
    with file.open() as stream:
        place = 0
        while place < file.size:
            header = _at(stream, place, 56)
            if len(header) < 56:
                break
            magic, n_atoms, _step, time = struct.unpack_from(">3if", header)
            if magic not in _XTC_MAGIC or n_atoms < 0:
                if not place:
                    raise UnreadableError("it does not begin as an XTC file")
                break
            if n_atoms < _SMALLEST_COMPRESSED:
                frame_bytes = 56 + 12 * n_atoms
            else:
                size_bytes = _XTC_MAGIC[magic]
                packed = _at(stream, place + 88, size_bytes)
                if len(packed) < size_bytes:
                    break
                n_bytes = int.from_bytes(packed, "big")
                frame_bytes = 88 + size_bytes + -(-n_bytes // 4) * 4
            if place + frame_bytes > file.size:
                break
            if not place:
                reading.facts["n_atoms"] = n_atoms
                _take_gromacs_box(reading, struct.unpack_from(">9f", header, 16))
            times.append(time)
            place += frame_bytes
    _take_times(reading, times, broken_off=place != file.size)
    return reading


def read_trr(file: RunFile) -> FileReading:
    """Return what the headers of all frames of a TRR file say."""
    reading = FileReading(file.name, Part.TRAJECTORY, "TRR", "gromacs")
    times: list[float] = []
    with file.open() as stream:
        place = 0
        while place < file.size:
            header = _at(stream, place, 160)
            if len(header) < 84 or struct.unpack_from(">i", header)[0] != _TRR_MAGIC:
                if not place:
                    raise UnreadableError("it does not begin as a TRR file")
                break
            (text_bytes,) = struct.unpack_from(">i", header, 8)
            if not 0 <= text_bytes <= 64:
                break
            start = 12 + -(-text_bytes // 4) * 4
            *sizes, n_atoms, _step, _nre = struct.unpack_from(">13i", header, start)
            reals = sizes[2] // 9 or max(sizes[7:10]) // max(3 * n_atoms, 1)
            if reals not in (4, 8) or min(sizes) < 0:
                break
            (time,) = struct.unpack_from(">f" if reals == 4 else ">d", header, start + 52)
            data = start + 52 + 2 * reals
            frame_bytes = data + sum(sizes)
            if place + frame_bytes > file.size:
                break
            if not place:
                reading.facts["n_atoms"] = n_atoms
                if sizes[2]:
                    packed = _at(stream, data + sizes[0] + sizes[1], sizes[2])
                    _take_gromacs_box(reading, struct.unpack(">9f" if reals == 4 else ">9d", packed))
            times.append(time)
            place += frame_bytes
    _take_times(reading, times, broken_off=place != file.size)
    return reading


def _at(stream: IO[bytes], place: int, n_bytes: int) -> bytes:
    stream.seek(place)
    return stream.read(n_bytes)


def _take_times(reading: FileReading, times: Sequence[float], *, broken_off: bool) -> None:
    reading.n_frames = len(times)
    if times:
        reading.first_ps = times[0]
    if len(times) > 1:
        reading.interval_ps = interval_of(times)
    if broken_off:
        reading.notes.append(_broken_off(len(times)))


def interval_of(times: Sequence[float]) -> float:
    """Return the time from one frame to the next, in the few digits that single precision has."""
    return float(f"{(times[-1] - times[0]) / (len(times) - 1):.6g}")


def _broken_off(n_frames: int) -> str:
    return f"broken off after {n_frames:,} whole frames"


def _take_gromacs_box(reading: FileReading, rows_nm: Sequence[float]) -> None:
    vectors = [[10.0 * number for number in rows_nm[row : row + 3]] for row in (0, 3, 6)]
    box = box_of_vectors(vectors)
    if box is not None:
        reading.facts["box"] = box


def box_of_vectors(vectors: Sequence[Sequence[float]]) -> list[float] | None:
    """Return lengths, and angles in degrees, of the vectors of a box; ``None`` if it has no volume."""
    lengths = [math.sqrt(sum(x * x for x in vector)) for vector in vectors]
    if not all(lengths):
        return None
    angles = []
    for first, second in ((1, 2), (0, 2), (0, 1)):
        product = sum(x * y for x, y in zip(vectors[first], vectors[second], strict=True))
        cosine = product / (lengths[first] * lengths[second])
        angles.append(math.degrees(math.acos(min(1.0, max(-1.0, cosine)))))
    return checked_box([*lengths, *angles])


def checked_box(box: Sequence[float]) -> list[float] | None:
    """Return a box in the few digits that single precision has; ``None`` if it cannot be one."""
    if not all(math.isfinite(number) and 0.0 < number < 1e7 for number in box):
        return None
    return [float(f"{number:.6g}") for number in box]

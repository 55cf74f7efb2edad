"""Binary trajectories: how many frames, atoms and picoseconds, from headers alone.

Nothing is written beside the files, as readers that keep offsets do, and no coordinate is decoded. What the
headers say is in :mod:`simarchive.codecs.trajectory_files`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from simarchive.codecs.trajectory_files.boxes import box_of_dcd, box_of_vectors
from simarchive.codecs.trajectory_files.dcd import AKMA_PS, dcd_layout
from simarchive.codecs.trajectory_files.layout import Layout, LayoutError, Read, reads_of
from simarchive.codecs.trajectory_files.netcdf import (
    NetCDFVariable,
    layout_of_header,
    netcdf_header,
)
from simarchive.codecs.trajectory_files.xdr import frame_at, xdr_layout
from simarchive.storage.runs.file_reading import FileReading, Part, RunFile, UnreadableError


def read_dcd(file: RunFile) -> FileReading:
    """Return what the header of a DCD file says; frames are counted by the size of the file."""
    reading = FileReading(file.name, Part.TRAJECTORY, "DCD")
    with _reads(file) as read:
        layout = dcd_layout(read, file.size)
        header = layout.header
        if header.holds_velocities:
            raise UnreadableError("its frames are velocities, not coordinates")
        _take_frames(reading, layout)
        title = header.title.decode("latin-1")
        if "OpenMM" in title:
            reading.engine = "openmm"
        elif "NAMD" in title:
            reading.engine = "namd"
        elif "LAMMPS" in title:
            reading.engine = "lammps"
        if reading.engine == "lammps":
            # It writes its time step in its own units.
            reading.interval_steps = header.steps_between
        elif header.delta > 0 and math.isfinite(header.delta):
            reading.interval_ps = max(header.steps_between, 1) * header.delta * AKMA_PS
            reading.first_ps = header.first_step * header.delta * AKMA_PS
        if header.has_cell and layout.n_frames:
            _take_box(reading, box_of_dcd(header.cell(read(header.start, header.cell_bytes))).tolist())
    return reading


def read_xtc(file: RunFile) -> FileReading:
    """Return what the headers of all frames of an XTC file say."""
    return _read_gromacs(file, "XTC")


def read_trr(file: RunFile) -> FileReading:
    """Return what the headers of the frames of a TRR file say."""
    return _read_gromacs(file, "TRR")


def _read_gromacs(file: RunFile, kind: str) -> FileReading:
    reading = FileReading(file.name, Part.TRAJECTORY, kind, "gromacs")
    with _reads(file) as read:
        layout = xdr_layout(read, file.size, kind)
        _take_frames(reading, layout)
        if layout.n_frames:
            first = frame_at(read, layout.starts[0])
            last = frame_at(read, layout.starts[layout.n_frames - 1])
            _take_times(reading, first.time, last.time)
            if first.box is not None:
                _take_box(reading, box_in_angstroms(np.reshape(first.box, (3, 3)) * 10.0))
    return reading


def read_netcdf(file: RunFile) -> FileReading:
    """Return frames, atoms and times of a NetCDF trajectory or restart file of AMBER."""
    reading = FileReading(file.name, Part.TRAJECTORY, "AMBER NetCDF")
    with _reads(file) as read:
        header = netcdf_header(read, file.size)
        program = str(header.attributes.get("program", "")).lower()
        if any(name in program for name in ("sander", "pmemd", "amber")):
            reading.engine = "amber"
        if "AMBERRESTART" in header.conventions:
            if not header.dimensions.get("atom"):
                raise UnreadableError("it does not say how many atoms it has")
            reading.part, reading.format = Part.STRUCTURE, "AMBER NetCDF restart"
            reading.facts["n_atoms"] = header.dimensions["atom"]
            _take_netcdf_box(reading, _values(read, header.fixed, 0))
            return reading
        layout = layout_of_header(header, file.size)
        _take_frames(reading, layout)
        if layout.n_frames:
            first = _values(read, header.variables, layout.starts[0])
            last = _values(read, header.variables, layout.starts[layout.n_frames - 1])
            if "time" in first:
                _take_times(reading, first["time"][0], last["time"][0])
            _take_netcdf_box(reading, first)
    return reading


def _values(read: Read, variables: dict[str, NetCDFVariable], start: int) -> dict[str, list[float]]:
    """Return the numbers of time and box, for those that are there."""
    found = {}
    for name, count in (("time", 1), ("cell_lengths", 3), ("cell_angles", 3)):
        variable = variables.get(name)
        if variable is not None and variable.shape in ((), (count,)) and variable.dtype.kind == "f":
            raw = read(start + variable.offset, variable.n_bytes)
            numbers = np.frombuffer(raw, variable.dtype) * (variable.scale or 1.0)
            if len(numbers) == count:
                found[name] = [float(number) for number in numbers]
    return found


def _take_netcdf_box(reading: FileReading, values: dict[str, list[float]]) -> None:
    if "cell_lengths" in values and "cell_angles" in values:
        _take_box(reading, checked_box([*values["cell_lengths"], *values["cell_angles"]]))


@contextmanager
def _reads(file: RunFile) -> Iterator[Read]:
    """Give what reads from a file; one that is not what it should be is an `UnreadableError`."""
    with file.open() as stream:
        try:
            yield reads_of(stream)
        except LayoutError as error:
            raise UnreadableError(str(error)) from error


def _take_frames(reading: FileReading, layout: Layout) -> None:
    reading.facts["n_atoms"] = layout.n_atoms
    reading.n_frames = layout.n_frames
    if layout.missing:
        reading.notes.append(f"broken off after {layout.n_frames:,} whole frames")


def _take_times(reading: FileReading, first_ps: float, last_ps: float) -> None:
    reading.first_ps = first_ps
    if reading.n_frames is not None and reading.n_frames > 1:
        # In the few digits that single precision has.
        reading.interval_ps = float(f"{(last_ps - first_ps) / (reading.n_frames - 1):.6g}")


def _take_box(reading: FileReading, box: Sequence[float] | None) -> None:
    box = None if box is None else checked_box(box)
    if box is not None:
        reading.facts["box"] = box


def box_in_angstroms(vectors: Sequence[Sequence[float]] | np.ndarray) -> list[float] | None:
    """Return lengths, and angles in degrees, of the vectors of a box; ``None`` if it has no volume."""
    return checked_box(box_of_vectors(np.asarray(vectors)).tolist())


def checked_box(box: Sequence[float]) -> list[float] | None:
    """Return a box in the few digits that single precision has; ``None`` if it cannot be one."""
    if not all(math.isfinite(number) and 0.0 < number < 1e7 for number in box):
        return None
    return [float(f"{number:.6g}") for number in box]

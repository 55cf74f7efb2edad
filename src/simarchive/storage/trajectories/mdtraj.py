"""Members for mdtraj: its own readers, on excerpts in memory that hold the frames that are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simarchive.container.members import ChunkWindow
from simarchive.container.open_members.chunks import MemberChunks
from simarchive.errors import InvalidDataError
from simarchive.storage.trajectories.excerpt import excerpt, memory_file
from simarchive.storage.trajectories.source import DCDSource, Source, open_source

try:
    import mdtraj
    from mdtraj.formats import (
        NetCDFTrajectoryFile,
        TRRTrajectoryFile,
        XTCTrajectoryFile,
    )
except ImportError as error:
    raise InvalidDataError(
        f"mdtraj is not installed: pip install 'simarchive[trajectories]' ({error})"
    ) from error

# Bytes of frames in one excerpt.
_EXCERPT_BYTES = 8 << 20

_NANOMETRES = np.float32(0.1)  # of an angstrom

_FILES = {
    "NCDF": NetCDFTrajectoryFile,
    "TRR": TRRTrajectoryFile,
    "XTC": XTCTrajectoryFile,
}
NOT_READ = (".tpr",)
"""Extensions of topologies that mdtraj does not read."""


def topology_in(chunks: MemberChunks) -> mdtraj.Topology:
    """Return the topology of a PDB, GRO, PSF or PRMTOP member.

    Raises
    ------
    InvalidDataError
        If mdtraj cannot read it.
    """
    window = ChunkWindow(chunks)
    extension = os.path.splitext(chunks.name)[1].lower()  # noqa: PTH122
    # A path in /proc has no extension for mdtraj to go by.
    loaders = {
        ".pdb": lambda path: mdtraj.load_pdb(path).topology,
        ".gro": lambda path: mdtraj.formats.gro.load_gro(path).topology,
        ".psf": mdtraj.load_psf,
        ".prmtop": mdtraj.load_prmtop,
        ".parm7": mdtraj.load_prmtop,
    }
    if extension not in loaders:
        raise InvalidDataError(
            f"mdtraj reads no topology from {chunks.name!r}: name a file that ends in"
            f" {', '.join(loaders)}, or hand in a topology as top="
        )
    with closing(window), memory_file([window.read(0, window.size)]) as path:
        try:
            return loaders[extension](path)
        except Exception as error:
            # Its parsers raise whatever they stumble over.
            raise InvalidDataError(
                f"member {chunks.name!r} of object {chunks.key!r} is no topology that mdtraj can read:"
                f" {error!r}"
            ) from error


class MdtrajFrames:
    """The frames of a member as trajectories of mdtraj: in nanometres, by its conventions.

    Parameters
    ----------
    chunks
        Where the stored chunks of the trajectory come from.
    top
        What mdtraj takes for a topology, or the chunks of a member that holds one.
    atom_indices
        The atoms that are wanted; all by default.
    """

    def __init__(self, chunks: MemberChunks, top: Any, atom_indices: Sequence[int] | None = None) -> None:
        self._source: Source = open_source(chunks)
        self.name = chunks.name
        topology = topology_in(top) if isinstance(top, MemberChunks) else _topology(top)
        if topology.n_atoms != self._source.n_atoms:
            raise InvalidDataError(
                f"{self._source.label} has {self._source.n_atoms} atoms, and the topology {topology.n_atoms}"
            )
        self._whole_topology = topology
        self._atoms: NDArray[np.intp] | None = None
        if atom_indices is not None:
            self._atoms = np.asarray(atom_indices, np.intp).reshape(-1)
            if len(self._atoms) and not 0 <= self._atoms.min() <= self._atoms.max() < topology.n_atoms:
                raise InvalidDataError(f"atom indices are from 0 to {topology.n_atoms - 1}")
            topology = topology.subset(self._atoms)
        self._topology = topology

    def __len__(self) -> int:
        return len(self._source)

    def close(self) -> None:
        """Release memory and threads."""
        self._source.close()

    def load(self, numbers: Sequence[int] | NDArray[np.intp]) -> mdtraj.Trajectory:
        """Return these frames as one trajectory.

        Raises
        ------
        FrameReadError
            If a frame cannot be read.
        """
        parts = [self._part(numbers[at : at + self._per_excerpt]) for at in self._starts(len(numbers))]
        return parts[0] if len(parts) == 1 else mdtraj.join(parts, check_topology=False)

    @property
    def _per_excerpt(self) -> int:
        starts = self._source.layout.starts
        first = int(starts[1]) - int(starts[0]) if len(self) else 1
        return max(1, _EXCERPT_BYTES // max(1, first))

    def _starts(self, n_frames: int) -> range:
        return range(0, max(1, n_frames), self._per_excerpt)

    def _part(self, numbers: Sequence[int] | NDArray[np.intp]) -> mdtraj.Trajectory:
        chosen = [int(number) for number in numbers]
        if not chosen:
            none = np.empty((0, self._topology.n_atoms, 3), np.float32)
            return mdtraj.Trajectory(none, self._topology)
        if isinstance(self._source, DCDSource):
            return self._dcd(self._source, chosen)
        source = self._source
        with (
            excerpt(source, chosen) as path,
            source.errors("it cannot be read by mdtraj"),
            _FILES[source.format](path, "r") as file,
        ):
            part = file.read_as_traj(self._whole_topology, atom_indices=self._atoms)
        if source.format == "NCDF" and "time" not in source.layout.header.variables:
            part.time = np.asarray(chosen, part.time.dtype)  # mdtraj counts frames
        return part

    def _dcd(self, source: DCDSource, numbers: list[int]) -> mdtraj.Trajectory:
        """Return frames of a DCD file, as `DCDTrajectoryFile` of mdtraj does.

        That one says something on standard output whenever it opens a file, and there is an excerpt for each
        few megabytes. Times are the numbers of frames; angles may be cosines.
        """
        xyz = np.empty((len(numbers), self._topology.n_atoms, 3), np.float32)
        cells = np.zeros((len(numbers), 6))
        for place, number in enumerate(numbers):
            raw, cell = source.raw(number)
            np.multiply(raw if self._atoms is None else raw[self._atoms], _NANOMETRES, out=xyz[place])
            if cell is not None:
                cells[place] = cell[[0, 2, 5, 4, 3, 1]]
        part = mdtraj.Trajectory(xyz, self._topology, time=np.asarray(numbers))
        if cells[:, :3].any():
            are_cosines = (np.abs(cells[:, 3:]) <= 1).all(axis=1)
            cells[are_cosines, 3:] = 90 - np.degrees(np.arcsin(cells[are_cosines, 3:]))
            part.unitcell_lengths = cells[:, :3].astype(np.float32) * _NANOMETRES
            part.unitcell_angles = cells[:, 3:].astype(np.float32)
        return part


def _topology(top: Any) -> mdtraj.Topology:
    if isinstance(top, mdtraj.Topology):
        return top
    if isinstance(top, mdtraj.Trajectory):
        return top.topology
    try:
        return mdtraj.load_topology(top)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidDataError(f"top={top!r} is no topology that mdtraj can read: {error}") from error


def pieces_of(frames: MdtrajFrames, chunk: int, stride: int, skip: int) -> Iterator[mdtraj.Trajectory]:
    """Yield trajectories of `chunk` frames each, the last one perhaps shorter, and close `frames`."""
    with closing(frames):
        numbers = range(skip, len(frames), stride)
        for start in range(0, len(numbers), chunk):
            yield frames.load(numbers[start : start + chunk])

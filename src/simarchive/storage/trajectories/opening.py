"""Trajectories of a container that is open: what `HDF5Storage` does with them.

The modules that this uses, and the libraries that they use, are loaded when they are needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simarchive.container.container import Container
from simarchive.errors import InvalidDataError, NotFoundError

if TYPE_CHECKING:
    import MDAnalysis
    import mdtraj

    from simarchive.container.contents import Contents
    from simarchive.container.open_members.chunks import MemberChunks
    from simarchive.storage.trajectories.export import Part
    from simarchive.storage.trajectories.frames import Frames
    from simarchive.storage.trajectories.mdtraj import MdtrajFrames


def frames(container: Container, key: str, name: str | None) -> Frames:
    """Return the frames of an object's trajectory as arrays."""
    from simarchive.storage.trajectories.frames import Frames

    return Frames(_trajectory(container, key, name))


def n_frames(container: Container, key: str, name: str) -> int:
    """Return how many frames a trajectory has; errors as `Frames`."""
    from simarchive.storage.trajectories.source import open_source

    return open_source(_chunks(container, key, name)).n_frames


def universe(
    container: Container,
    key: str,
    topology: str | None,
    trajectory: str | Sequence[str] | None,
    options: dict[str, Any],
) -> MDAnalysis.Universe:
    """Return a universe of an object's topology and trajectories."""
    from simarchive.storage.trajectories import address, choice, mdanalysis

    with container.reading() as contents:
        top = choice.topology_of(contents, key, topology)
        if trajectory is None:
            try:
                names = [choice.trajectory_of(contents, key)]
            except NotFoundError:
                names = []  # frames of the topology
        else:
            asked = [trajectory] if isinstance(trajectory, str) else trajectory
            names = [choice.trajectory_of(contents, key, name) for name in asked]
    address.lend(container)
    path = str(container.path)
    return mdanalysis.universe(
        address.Address(path, key, top), *(address.Address(path, key, name) for name in names), **options
    )


def export_trajectory(
    container: Container,
    key: str,
    path: Path,
    trajectory: str | Sequence[str] | None,
    topology: str | None,
    part: Part,
    *,
    overwrite: bool,
    progress: Callable[[int], None] | None,
) -> int:
    """Write frames of an object's trajectory to a file of another kind; return how many."""
    # MDAnalysis sets filters of warnings when it is imported, which has to be before ours.
    from simarchive.storage.trajectories import choice, export, mdanalysis  # noqa: F401

    export.check_target(path, overwrite=overwrite)
    with container.reading() as contents:
        asked = [trajectory] if isinstance(trajectory, str) or trajectory is None else trajectory
        names = [choice.trajectory_of(contents, key, name) for name in asked]
        if topology is None and part.selection is None and not _has_topology(contents, key):
            topology = names[0]  # how many atoms there are is enough
    with warnings.catch_warnings():
        # About what MDAnalysis will change, and what a topology does not say: neither is in the file.
        warnings.simplefilter("ignore")
        opened = universe(container, key, topology, names, {})
    try:
        title = f"{key}/{', '.join(names)}"
        return export.export(opened, path, part, title=title, overwrite=overwrite, progress=progress)
    finally:
        opened.trajectory.close()


def _has_topology(contents: Contents, key: str) -> bool:
    from simarchive.storage.trajectories import choice

    try:
        choice.topology_of(contents, key)
    except (InvalidDataError, NotFoundError):
        return False
    return True


def mdtraj_frames(
    container: Container,
    key: str,
    name: str | None,
    top: Any,
    stride: int,
    atom_indices: Sequence[int] | None,
    wanted: int | slice | Sequence[int] | None,
) -> mdtraj.Trajectory:
    """Return frames of an object's trajectory as a trajectory of mdtraj."""
    from contextlib import closing

    from simarchive.storage.trajectories.frames import frame_numbers

    check_positive("stride", stride)
    with closing(_mdtraj(container, key, name, top, atom_indices)) as found:
        numbers = frame_numbers(slice(None) if wanted is None else wanted, len(found), f"{key}/{found.name}")
        return found.load(numbers[::stride])


def mdtraj_chunks(
    container: Container,
    key: str,
    name: str | None,
    top: Any,
    chunk: int,
    stride: int,
    skip: int,
    atom_indices: Sequence[int] | None,
) -> Iterator[mdtraj.Trajectory]:
    """Yield an object's trajectory in pieces."""
    from simarchive.storage.trajectories.mdtraj import pieces_of

    check_positive("chunk", chunk)
    check_positive("stride", stride)
    if skip < 0:
        raise InvalidDataError(f"skip is 0 or more, not {skip}")
    return pieces_of(_mdtraj(container, key, name, top, atom_indices), chunk, stride, skip)


def check_positive(name: str, value: int) -> None:
    """Raise InvalidDataError if a number is below 1."""
    if value < 1:
        raise InvalidDataError(f"{name} is 1 or more, not {value}")


def _mdtraj(
    container: Container, key: str, name: str | None, top: Any, atom_indices: Sequence[int] | None
) -> MdtrajFrames:
    from simarchive.storage.trajectories import choice, mdtraj

    chunks = _trajectory(container, key, name)
    if top is None or isinstance(top, str):
        with container.reading() as contents:
            topology = choice.topology_of(contents, key, top, but=mdtraj.NOT_READ)
        top = _chunks(container, key, topology)
    return mdtraj.MdtrajFrames(chunks, top, atom_indices)


def _trajectory(container: Container, key: str, name: str | None) -> MemberChunks:
    from simarchive.storage.trajectories import choice

    with container.reading() as contents:
        chosen = choice.trajectory_of(contents, key, name)
    return _chunks(container, key, chosen)


def _chunks(container: Container, key: str, name: str) -> MemberChunks:
    from simarchive.container.open_members.chunks import MemberChunks

    return MemberChunks(lambda: container, key, name)

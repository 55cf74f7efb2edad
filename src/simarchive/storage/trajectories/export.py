"""A trajectory of an object as a file of another kind, written frame by frame where it lies.

References
----------
AMBER NetCDF trajectory convention, version 1.0, revision C: the names, units and attributes of a ``.nc``
file, which is netCDF-4 here, and compressed; the convention itself is about NetCDF-3. H5MD 1.1,
https://www.nongnu.org/h5md.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.errors import ConflictError, InvalidDataError, StorageError
from simarchive.ground.filesystem import error_of
from simarchive.ground.signals import SIGNALS
from simarchive.ground.version import __version__
from simarchive.journal.creation import workplace

if TYPE_CHECKING:
    import MDAnalysis

NETCDF4, H5MD = ".nc", ".h5md"
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Part:
    """What of a trajectory is exported.

    Attributes
    ----------
    frames
        Which frames.
    selection
        The atoms, in the words of MDAnalysis, chosen in the first frame; all if it is None.
    """

    frames: slice
    selection: str | None


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written under a name, before anything is read.

    Raises
    ------
    ConflictError
        If something is there that is not to be replaced.
    InvalidDataError
        If the extension is not that of a trajectory that can be written.
    """
    if path.is_dir():
        raise ConflictError(f"'{path}' is a directory: name a file")
    if os.path.lexists(path) and not overwrite:
        raise ConflictError(f"'{path}' exists already: name a file that does not, or replace it with --force")
    if path.suffix.lower() not in (NETCDF4, H5MD):
        _writer_class(path)


def export(
    universe: MDAnalysis.Universe,
    path: Path,
    part: Part,
    *,
    title: str,
    overwrite: bool,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write a trajectory to a file, which gets its name when it is complete; return the number of frames.

    Parameters
    ----------
    title
        What is said of the file in a ``.nc`` file.
    progress
        Called with the number of frames that were written since the last call.

    Raises
    ------
    InvalidDataError
        If the selection makes no sense or chooses nothing, there is no frame, or a library is missing.
    ConflictError
        If something is there that is not to be replaced.
    FrameReadError, CorruptMemberError
        If a frame cannot be read. No file is left then.
    """
    check_target(path, overwrite=overwrite)
    atoms = _atoms(universe, part.selection)
    numbers = range(*part.frames.indices(len(universe.trajectory)))
    if not numbers:
        raise InvalidDataError(
            f"no frame is chosen of {len(universe.trajectory)}: see --start, --stop, --step"
        )
    try:
        with workplace(path) as folder:
            made = folder / path.name
            with warnings.catch_warnings():
                # What is missing (masses, boxes) is missing in the file, too.
                warnings.simplefilter("ignore")
                with _opened(made, atoms, title) as write:
                    for number in numbers:
                        universe.trajectory[number]
                        write(atoms)
                        SIGNALS.deliver()
                        if progress is not None:
                            progress(1)
            if overwrite:
                made.replace(path)
            else:
                path.hardlink_to(made)
    except StorageError:
        raise
    except FileExistsError as error:
        raise ConflictError(f"'{path}' exists already: name a file that does not") from error
    except OSError as error:
        raise error_of(error, f"'{path}' cannot be written: {error.strerror or error}") from error
    return len(numbers)


def _atoms(universe: MDAnalysis.Universe, selection: str | None) -> MDAnalysis.AtomGroup:
    if selection is None:
        return universe.atoms
    try:
        atoms = universe.select_atoms(selection)
    except Exception as error:  # of MDAnalysis, which parses the words: SelectionError, and whatever else
        raise InvalidDataError(f"the selection {selection!r} is not understood: {error}") from error
    if not len(atoms):
        raise InvalidDataError(f"the selection {selection!r} chooses none of {len(universe.atoms)} atoms")
    return atoms


Write = Callable[[Any], None]


@contextlib.contextmanager
def _opened(path: Path, atoms: MDAnalysis.AtomGroup, title: str) -> Iterator[Write]:
    """Give what writes the present frame of some atoms to a new file."""
    extension = path.suffix.lower()
    if extension == NETCDF4:
        with _opened_netcdf4(path, atoms, title) as write:
            yield write
        return
    options: dict[str, Any] = {}
    if extension == H5MD:
        options = {
            # One frame is read without its neighbours.
            "chunks": (1, len(atoms), 3),
            "compression": "gzip",
            "compression_opts": _COMPRESSION_LEVEL,
            "creator": "simarchive",
            "creator_version": __version__,
        }
    with _writer_class(path)(str(path), n_atoms=len(atoms), **options) as writer:
        yield writer.write


def _writer_class(path: Path) -> Any:
    try:
        from MDAnalysis.coordinates.core import get_writer_for
    except ImportError as error:
        raise InvalidDataError(
            f"to write '{path.name}' needs MDAnalysis: pip install 'simarchive[trajectories]' installs it"
        ) from error
    try:
        return get_writer_for(str(path), multiframe=True)
    except (ValueError, TypeError) as error:
        raise InvalidDataError(
            f"no trajectory can be written as '{path.name}': end the name with .nc, .h5md, .xtc, .trr, .dcd,"
            " .ncdf or another ending of trajectories that MDAnalysis writes"
        ) from error


@contextlib.contextmanager
def _opened_netcdf4(path: Path, atoms: MDAnalysis.AtomGroup, title: str) -> Iterator[Write]:
    try:
        import netCDF4
    except ImportError as error:
        raise InvalidDataError(
            f"to write '{path.name}' needs netCDF4: pip install 'simarchive[trajectories]' installs it"
        ) from error
    with netCDF4.Dataset(str(path), "w", format="NETCDF4") as file:
        file.setncatts(
            {
                "Conventions": "AMBER",
                "ConventionVersion": "1.0",
                "program": "simarchive",
                "programVersion": __version__,
                "application": "simarchive",
                "title": title,
            }
        )
        yield _NetCDFFrames(file, atoms).write


class _NetCDFFrames:
    """The variables of a trajectory in a netCDF file, by the names of the AMBER convention."""

    def __init__(self, file: Any, atoms: MDAnalysis.AtomGroup) -> None:
        lengths = {"frame": None, "spatial": 3, "atom": len(atoms), "cell_spatial": 3, "cell_angular": 3}
        for name, length in {**lengths, "label": 5}.items():
            file.createDimension(name, length)
        for name, words in (("spatial", "xyz"), ("cell_spatial", "abc")):
            file.createVariable(name, "S1", (name,))[:] = np.array(list(words), "S1")
        angles = file.createVariable("cell_angular", "S1", ("cell_angular", "label"))
        angles[:] = np.array([list(word.ljust(5)) for word in ("alpha", "beta", "gamma")], "S1")
        self._file, self._number, first = file, 0, atoms.universe.trajectory.ts
        self._time = self._variable("time", "f4", ("frame",), "picosecond")
        self._atoms = {"positions": self._of_atoms("coordinates", "angstrom", len(atoms))}
        if first.has_velocities:
            self._atoms["velocities"] = self._of_atoms("velocities", "angstrom/picosecond", len(atoms))
        if first.has_forces:
            unit = "kilojoule/mole/angstrom"
            self._atoms["forces"] = self._of_atoms("forces", unit, len(atoms))
        self._lengths = self._angles = None
        if first.dimensions is not None:
            self._lengths = self._variable("cell_lengths", "f8", ("frame", "cell_spatial"), "angstrom")
            self._angles = self._variable("cell_angles", "f8", ("frame", "cell_angular"), "degree")

    def write(self, atoms: MDAnalysis.AtomGroup) -> None:
        """Add the present frame."""
        number, now = self._number, atoms.universe.trajectory.ts
        self._time[number] = now.time
        for name, variable in self._atoms.items():
            variable[number] = getattr(atoms, name)
        if self._lengths is not None and self._angles is not None:
            box = np.zeros(6) if now.dimensions is None else now.dimensions
            self._lengths[number], self._angles[number] = box[:3], box[3:]
        self._number += 1

    def _of_atoms(self, name: str, unit: str, n_atoms: int) -> Any:
        return self._variable(name, "f4", ("frame", "atom", "spatial"), unit, (1, n_atoms, 3))

    def _variable(
        self,
        name: str,
        kind: str,
        dimensions: tuple[str, ...],
        unit: str,
        chunks: tuple[int, ...] | None = None,
    ) -> Any:
        options: dict[str, Any] = {"fill_value": False}
        if chunks is not None:
            options = {
                **options,
                "compression": "zlib",
                "complevel": _COMPRESSION_LEVEL,
                "shuffle": True,
                "chunksizes": chunks,
            }
        variable = self._file.createVariable(name, kind, dimensions, **options)
        variable.units = unit
        return variable

"""A directory of a run: what its files say together, in an object and in lines for people."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simarchive.chemistry.substances import Substance
from simarchive.data import SimulationRun
from simarchive.errors import InvalidDataError, NotFoundError, StorageError, StorageIOError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.runs import account
from simarchive.storage.runs.amber import read_mdcrd
from simarchive.storage.runs.assembly import assemble, natural_order, run_of
from simarchive.storage.runs.file_reading import FileReading, MissingReaderError, Part, RunFile
from simarchive.storage.runs.formats import Reader, is_empty_log, is_text_trajectory, reader_of

# What bytes that are not what they claim raise in readers of our own.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, ValueError, EOFError, struct.error)
SETTABLE = {
    name for name in SimulationRun.model_fields if name not in ("name", "tags", "metadata", "observables")
}


@dataclass
class RunReading:
    """A run as its directory tells it.

    Attributes
    ----------
    run
        The object that can be stored with the directory.
    files
        What was read, file by file.
    notes
        What was not read or not counted, and what is damaged: file and text.
    unknown
        The files that no reader is for; they are stored like all others.
    n_files
        How many files the directory holds.
    """

    run: SimulationRun
    files: list[FileReading] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    n_files: int = 0

    @property
    def summary(self) -> str:
        """The most important facts in one line."""
        return account.summary(self.run)

    def __str__(self) -> str:
        lines = account.lines_of(self.run, self.notes, self.unknown, self.n_files)
        return "\n".join([self.run.name, *lines])


def read_run(
    directory: PathLike,
    *,
    files: Mapping[str, Path] | None = None,
    name: str | None = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    substance: Substance | str | None = None,
    parents: Iterable[str] = (),
    **fields: Any,
) -> RunReading:
    """Return what the files of a run say; nothing is written anywhere.

    Parameters
    ----------
    directory
        The directory of one run: with its topology, trajectories, energies, logs and settings.
    files
        The paths of its files by name, if they are known.
    name
        What the run is called; the name of the directory by default.
    tags, metadata, substance, parents
        As in `SimulationRun`; a substance may be given as SMILES.
    fields
        Any other field of `SimulationRun`: it counts more than what the files say.

    Raises
    ------
    NotFoundError
        If there is no such directory.
    InvalidDataError
        If no file in it is one that a simulation program writes and no name is given, or if there is no
        file, or a value cannot be accepted.
    """
    place = Path(directory)
    found_files = _files_of(place) if files is None else files
    readings, unknown, notes = _read_all(found_files)
    if not readings and not notes and not (name and found_files):
        raise _no_run(place, found_files)
    _check_is_one(place, readings)
    assembly = assemble(readings)
    run = run_of(assembly, name if name is not None else place.absolute().name or "run")
    _add(run, tags, metadata, substance, parents, fields)
    return RunReading(run, readings, [*notes, *assembly.notes], unknown, len(found_files))


def _files_of(place: Path) -> dict[str, Path]:
    if not place.is_dir():
        if place.exists():
            raise InvalidDataError(f"'{place}' is a file: name the directory of the run")
        raise NotFoundError(f"there is no directory '{place}'")
    found = {}
    try:
        for folder, _, names in os.walk(place, onerror=_raise):
            for entry in names:
                path = Path(folder, entry)
                if path.is_file():
                    found[path.relative_to(place).as_posix()] = path
    except OSError as error:
        raise StorageIOError(f"folder '{error.filename}' cannot be read: {error.strerror}") from error
    return found


def _raise(error: OSError) -> None:
    raise error


def _read_all(
    paths: Mapping[str, Path],
) -> tuple[list[FileReading], list[str], list[tuple[str, str]]]:
    readings: list[FileReading] = []
    unknown: list[str] = []
    notes: list[tuple[str, str]] = []
    later: list[RunFile] = []
    costly: list[tuple[RunFile, Reader]] = []
    for name in sorted(paths, key=natural_order):
        file = RunFile(name, paths[name])
        try:
            if is_empty_log(file):
                notes.append((name, "empty, nothing was read from it"))
                continue
            if is_text_trajectory(file):
                later.append(file)
                continue
            reader = reader_of(file)
        except (StorageError, OSError) as error:
            notes.append((name, _words(error)))
            continue
        if reader is None:
            unknown.append(name)
        elif file.suffix == ".tpr":
            costly.append((file, reader))
        else:
            _read(file, reader, readings, notes)
    atoms = [reading for reading in readings if reading.part in (Part.TOPOLOGY, Part.STRUCTURE)]
    knows_atoms = any("composition" in reading.facts for reading in atoms)
    for file, reader in costly:
        # It takes a second and MDAnalysis; a file of coordinates beside it says the same.
        if knows_atoms:
            readings.append(FileReading(file.name, Part.INPUT, "TPR", "gromacs"))
        else:
            _read(file, reader, readings, notes)
            readings[-1:] = [_of_gromacs(reading) for reading in readings[-1:]]
    n_atoms = next((r.facts["n_atoms"] for r in readings if "n_atoms" in r.facts), None)
    for file in later:
        if n_atoms is None:
            notes.append((file.name, "not divided into frames, for lack of a topology"))
        else:
            _read(file, lambda file: read_mdcrd(file, n_atoms), readings, notes)
    return readings, unknown, notes


def _of_gromacs(reading: FileReading) -> FileReading:
    if reading.format == "TPR":
        reading.engine = "gromacs"
    return reading


def _read(file: RunFile, reader: Reader, readings: list[FileReading], notes: list[tuple[str, str]]) -> None:
    """Read one file; whatever is wrong with it is a note, and the others are read."""
    try:
        readings.append(reader(file))
    except MissingReaderError as error:
        notes.append((file.name, f"not read: {error}"))
        if file.suffix in (".tpr", ".edr"):
            readings.append(FileReading(file.name, Part.INPUT, file.suffix[1:].upper(), "gromacs"))
    except (StorageError, OSError, *_NONSENSE) as error:
        notes.append((file.name, f"not read: {_words(error)}"))


def _words(error: Exception) -> str:
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is damaged, or not what its name says"


def _no_run(place: Path, paths: Mapping[str, Path]) -> InvalidDataError:
    below = {name.partition("/")[0] for name in paths if "/" in name}
    message = f"'{place}' is no directory of a run: it holds "
    if not paths:
        return InvalidDataError(message + "no file")
    shown = ", ".join(sorted(paths)[:3]) + (" and others" if len(paths) > 3 else "")
    hint = f"; name its folders: {place}/*/" if below else ""
    return InvalidDataError(
        f"{message}nothing that a simulation program writes ({shown}){hint}; a run with a name is stored as it is"
    )


def _check_is_one(place: Path, readings: Iterable[FileReading]) -> None:
    """Refuse a directory that has nothing of a run but folders, in which several runs wrote."""
    written = (Part.TRAJECTORY, Part.ENERGIES, Part.LOG)
    folders = {reading.file.partition("/")[0] for reading in readings if reading.part in written}
    if len(folders) > 1 and all("/" in reading.file for reading in readings):
        raise InvalidDataError(
            f"'{place}' holds several runs, in {', '.join(sorted(folders)[:3])}"
            f"{' and others' if len(folders) > 3 else ''}: name its folders: {place}/*/"
        )


def _add(
    run: SimulationRun,
    tags: Iterable[str],
    metadata: Mapping[str, Any] | None,
    substance: Substance | str | None,
    parents: Iterable[str],
    fields: Mapping[str, Any],
) -> None:
    """Add what a person knows, which counts more than what files say."""
    for name, value in fields.items():
        if name not in SETTABLE:
            raise InvalidDataError(
                f"a SimulationRun has no field {name!r} that can be set so: metadata holds other values"
            )
        setattr(run, name, value)
        if run.guesses and name in run.guesses:
            run.guesses = {other: why for other, why in run.guesses.items() if other != name} or None
    if isinstance(substance, str):
        substance = Substance.from_components(*substance.split("|"))
    if substance is not None:
        run.substance = substance
    if tags:
        run.tags = [tags] if isinstance(tags, str) else list(tags)
    if metadata:
        run.metadata = {**(run.metadata or {}), **metadata}
    if parents:
        run.parents = list(parents)

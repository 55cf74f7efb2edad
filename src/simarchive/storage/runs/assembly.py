"""One run out of what its files say: which file counts where several say something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simarchive.chemistry.arrays import ArrayQuantity
from simarchive.chemistry.observables import ObservableArray
from simarchive.chemistry.units import registry
from simarchive.data import FilePath, SimulationRun
from simarchive.storage.runs.file_reading import FileReading, Measure, Part

# Settings that a program acted on come before those that lie beside it, statements before files of atoms.
_SETTINGS = (Part.LOG, Part.INPUT, Part.ENERGIES, Part.TRAJECTORY, Part.TOPOLOGY, Part.STRUCTURE)
_ATOMS = (Part.TOPOLOGY, Part.STRUCTURE, Part.TRAJECTORY, Part.LOG, Part.INPUT, Part.ENERGIES)
_BOXES = (Part.TRAJECTORY, Part.STRUCTURE, Part.LOG, Part.TOPOLOGY, Part.INPUT, Part.ENERGIES)
_ORDERS = {
    **dict.fromkeys(("n_atoms", "n_residues", "composition", "number_of_molecules"), _ATOMS),
    "box": _BOXES,
}
_FIELDS = (
    "engine_version",
    "ensemble",
    "temperature",
    "pressure",
    "time_step",
    "length",
    "n_atoms",
    "n_residues",
    "composition",
    "number_of_molecules",
    "box",
)
_TEMPERATURES = ("Temperature", "TEMP", "Temp")


_COUNTS = ("n_atoms", "n_residues", "n_frames", "number_of_molecules")


@dataclass
class Assembly:
    """A run as its files tell it, and what was assumed or passed over."""

    values: dict[str, Any] = field(default_factory=dict)
    guesses: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def take(self, name: str, value: Any, source: str) -> None:
        """Fill in a field from a file, unless an earlier one did, or it is a count below 0."""
        if name in _COUNTS and value < 0:
            self.note(
                source, f"says that there are {value:,} {name.removeprefix('n_')}, which is not believed"
            )
        elif name not in self.values:
            self.values[name] = value
            self.sources[name] = source

    def guess(self, name: str, value: Any, source: str, reason: str) -> None:
        """Fill in a field that no file states."""
        if name not in self.values:
            self.take(name, value, source)
            self.guesses[name] = f"{source}: {reason}"

    def note(self, file: str, text: str) -> None:
        """Say something about a file."""
        if (file, text) not in self.notes:
            self.notes.append((file, text))


def assemble(readings: Sequence[FileReading]) -> Assembly:
    """Return the run that files of one directory are about."""
    found = Assembly()
    for reading in readings:
        for text in reading.notes:
            found.note(reading.file, text)
    topology = _topology(readings)
    trajectories = _trajectories(readings, topology, found)
    stems = {_stem(reading.file) for reading in trajectories}
    others = {id(reading) for reading in _of_other_runs(readings, stems, found)}
    counted = [reading for reading in readings if id(reading) not in others]
    _take_engine(counted, found)
    _take_facts(counted, topology, found)
    for reading in counted:
        n_atoms = reading.facts.get("n_atoms")
        if n_atoms not in (None, found.values.get("n_atoms")):
            found.note(reading.file, f"of {n_atoms:,} atoms")
    _take_trajectories(trajectories, found)
    _take_observables(counted, stems, found)
    _take_guesses(counted, trajectories, found)
    if topology is not None:
        found.take("topology_file_name", FilePath(topology.file), topology.file)
    metadata: dict[str, Any] = {}
    for reading in _ordered(counted, _SETTINGS):
        for name, value in reading.metadata.items():
            metadata.setdefault(name, value)
    if metadata:
        found.values["metadata"] = metadata
    if metadata.get("lammps_units") == "lj":
        # Lengths in reduced units are no angstroms.
        found.values.pop("box", None)
    return found


def _ordered(readings: Iterable[FileReading], parts: Sequence[Part]) -> list[FileReading]:
    return sorted(readings, key=lambda reading: parts.index(reading.part))


def _stem(file: str) -> str:
    return file.rpartition("/")[2].partition(".")[0].lower()


def natural_order(name: str) -> tuple[Any, ...]:
    """Return what to sort names by, so that part 10 comes after part 9."""
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else part) for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"(\d{1,18})", name) if part]


def _topology(readings: Sequence[FileReading]) -> FileReading | None:
    """Return the file that a trajectory is best opened with: bonds are better than names, both than less."""
    atoms = [reading for reading in readings if reading.part is Part.TRAJECTORY]
    wanted = {reading.facts.get("n_atoms") for reading in atoms}
    longest = max(atoms, key=lambda reading: reading.n_frames or 0, default=None)
    stem = "" if longest is None else _stem(longest.file)
    parts = (Part.TOPOLOGY, Part.STRUCTURE)
    candidates = [reading for reading in readings if reading.part in parts]
    candidates = [reading for reading in candidates if "restart" not in reading.format]
    return max(
        candidates,
        key=lambda reading: (
            reading.facts.get("n_atoms") in wanted,
            reading.part is Part.TOPOLOGY and reading.has_bonds,
            "composition" in reading.facts,
            _stem(reading.file) == stem,
        ),
        default=None,
    )


def _trajectories(
    readings: Sequence[FileReading], topology: FileReading | None, found: Assembly
) -> list[FileReading]:
    """Return the trajectories of one format that belong together, in the order of their times and names."""
    groups: dict[tuple[str, int | None], list[FileReading]] = {}
    for reading in readings:
        if reading.n_frames and reading is not topology:
            groups.setdefault((reading.format, reading.facts.get("n_atoms")), []).append(reading)
    if not groups and topology is not None and topology.n_frames:
        return [topology]
    n_atoms = None if topology is None else topology.facts.get("n_atoms")

    def rank(key: tuple[str, int | None]) -> tuple[bool, bool, int, bool]:
        n_frames = sum(reading.n_frames or 0 for reading in groups[key])
        is_trajectory = groups[key][0].part is Part.TRAJECTORY
        # Of the same frames twice, GROMACS users mean those for analysis.
        return is_trajectory, n_atoms in (None, key[1]), n_frames, key[0] == "XTC"

    best = max(groups, key=rank, default=None)
    for key, group in groups.items():
        for reading in group if key != best else ():
            if reading.part is Part.TRAJECTORY:
                found.note(reading.file, "other frames, not counted")
    if best is None:
        return []
    return sorted(groups[best], key=lambda reading: (reading.first_ps or 0.0, natural_order(reading.file)))


def _of_other_runs(readings: Sequence[FileReading], stems: set[str], found: Assembly) -> list[FileReading]:
    """Return settings and energies of other runs in the directory, such as a minimization before this one.

    Of several files of one format, those named like the trajectory count, if there are any.
    """
    others = []
    for part in (Part.LOG, Part.INPUT, Part.ENERGIES):
        formats: dict[str, list[FileReading]] = {}
        for reading in readings:
            if reading.part is part:
                formats.setdefault(reading.format, []).append(reading)
        for alike in formats.values():
            named = [reading for reading in alike if _stem(reading.file) in stems]
            if len(alike) > 1 and named and len(named) < len(alike):
                for reading in alike:
                    if reading not in named:
                        found.note(reading.file, "named like no trajectory, not counted")
                        others.append(reading)
    return others


def _take_engine(readings: Sequence[FileReading], found: Assembly) -> None:
    certain = [reading for reading in readings if reading.part is Part.LOG or "OpenMM" in reading.format]
    for reading in [*certain, *_ordered(readings, _SETTINGS)]:
        if reading.engine is not None:
            found.take("engine", reading.engine, reading.file)
    engines = {reading.engine for reading in readings} - {None}
    if len(engines) > 1:
        found.guesses["engine"] = f"{found.sources['engine']}: other files are of another program"
    if not engines and any(reading.format == "PSF" for reading in readings):
        psf = next(reading for reading in readings if reading.format == "PSF")
        found.guess("engine", "namd", psf.file, "a PSF; CHARMM uses such files too")


def _take_facts(readings: Sequence[FileReading], topology: FileReading | None, found: Assembly) -> None:
    engine = found.values.get("engine")
    for name in _FIELDS:
        ordered = _ordered(readings, _ORDERS.get(name, _SETTINGS))
        if name in ("n_atoms", "n_residues", "composition") and topology is not None:
            ordered = [topology, *ordered]
        for reading in ordered:
            if name == "engine_version" and reading.engine != engine:
                continue
            if name in reading.facts:
                found.take(name, _plain(reading.facts[name]), reading.file)


def _take_guesses(
    readings: Sequence[FileReading], trajectories: Sequence[FileReading], found: Assembly
) -> None:
    if "length" not in found.values:
        _guess_length(readings, trajectories, found)
    order = (Part.ENERGIES, Part.LOG, Part.INPUT, Part.TRAJECTORY, Part.TOPOLOGY, Part.STRUCTURE)
    for reading in _ordered(readings, order):
        for name, (value, reason) in reading.guesses.items():
            found.guess(name, _plain(value), reading.file, reason)
    if "temperature" not in found.values:
        _guess_temperature(found)


def _guess_length(
    readings: Sequence[FileReading], trajectories: Sequence[FileReading], found: Assembly
) -> None:
    """Guess how long a run is from what was written along it: at least as long as the longest."""
    lengths = [
        (*reading.guesses["length"], reading.file)
        for reading in readings
        if reading.part is Part.ENERGIES and "length" in reading.guesses
    ]
    interval, n_frames = found.values.get("frame_interval"), found.values.get("n_frames", 0)
    if interval is not None and n_frames > 1:
        number = float(f"{interval.to('picosecond').magnitude * (n_frames - 1):.6g}")
        length = Measure(number, "picosecond")
        lengths.append((length, "from the first frame to the last", trajectories[0].file))
    if lengths:
        value, reason, file = max(lengths, key=lambda length: length[0].number)
        found.guess("length", _plain(value), file, reason)


def _guess_temperature(found: Assembly) -> None:
    observables = found.values.get("observables", {})
    name = next((name for name in _TEMPERATURES if name in observables), None)
    if name is None:
        return
    value = observables[name].value
    if str(value.units) != "kelvin":
        return
    numbers = value.magnitude[np.isfinite(value.magnitude)]
    if numbers.size and float(numbers.mean()) > 0.0:
        mean = float(f"{numbers.mean():.5g}")
        found.guess(
            "temperature",
            _plain(Measure(mean, "kelvin")),
            found.sources["observables"],
            f"the mean of {name}",
        )


def _take_trajectories(trajectories: Sequence[FileReading], found: Assembly) -> None:
    if not trajectories:
        return
    source = trajectories[0].file
    names = [FilePath(reading.file) for reading in trajectories]
    found.take("trajectory_file_names", names, source)
    found.take("n_frames", sum(reading.n_frames or 0 for reading in trajectories), source)
    interval = _interval(trajectories, found)
    if interval is not None and found.values["n_frames"] > 1:
        found.take("frame_interval", _plain(interval), source)


def _interval(trajectories: Sequence[FileReading], found: Assembly) -> Measure | None:
    """Return the time from one frame to the next, if it is the same in all trajectories."""
    intervals = {reading.interval_ps for reading in trajectories}
    steps = {reading.interval_steps for reading in trajectories}
    if len(intervals) > 1 or len(steps) > 1:
        return None
    interval, n_steps, step = intervals.pop(), steps.pop(), found.values.get("time_step")
    if interval is None and n_steps is not None and step is not None:
        interval = step.to("picosecond").magnitude * n_steps
    return Measure(float(f"{interval:.6g}"), "picosecond") if interval and interval > 0 else None


def _take_observables(readings: Sequence[FileReading], stems: set[str], found: Assembly) -> None:
    """Take the observables of one kind of file, those of several parts of a run one after another."""
    groups: dict[tuple[str, tuple[str, ...]], list[FileReading]] = {}
    for reading in readings:
        if reading.n_samples:
            groups.setdefault((reading.format, tuple(reading.observables)), []).append(reading)
    best = max(groups, key=lambda key: sum(reading.n_samples for reading in groups[key]), default=None)
    for key, group in groups.items():
        for reading in group if key != best else ():
            found.note(reading.file, "other observables, not counted")
    if best is None:
        return
    group = sorted(groups[best], key=_first_time)
    observables = {}
    for name in best[1]:
        _, unit_name = group[0].observables[name]
        arrays = [reading.observables[name][0] for reading in group]
        values: Any = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        what = f"the observable {name!r}"
        observables[name] = ObservableArray(ArrayQuantity(values.reshape(-1, 1), unit_name, what))
    found.take("observables", observables, ", ".join(reading.file for reading in group))


def _first_time(reading: FileReading) -> tuple[float, tuple[Any, ...]]:
    for name in ("Time", "Step", "NSTEP", "TS"):
        if name in reading.observables:
            return float(reading.observables[name][0][0]), natural_order(reading.file)
    return 0.0, natural_order(reading.file)


def _plain(value: Any) -> Any:
    return registry().Quantity(value.number, value.unit) if isinstance(value, Measure) else value


def run_of(found: Assembly, name: str) -> SimulationRun:
    """Return the object of an assembly."""
    return SimulationRun(name=name, **found.values, guesses=found.guesses or None)

"""What LAMMPS writes and reads: input scripts, logs, data files and dumps.

References
----------
LAMMPS manual, "units", "thermo_style", "read_data", "dump" and the fixes nve, nvt, npt and langevin.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from simarchive.storage.runs.file_reading import (
    LONGEST_SETTING,
    FileReading,
    Measure,
    Part,
    RunFile,
    UnreadableError,
    number_in,
)
from simarchive.storage.runs.trajectories import box_in_angstroms

_ENERGY, _PRESSURE, _VOLUME, _DENSITY, _TIME, _LENGTH = range(6)
_SYSTEMS = {
    "real": (
        "kilocalorie / mole",
        "standard_atmosphere",
        "angstrom ** 3",
        "gram / centimeter ** 3",
        "femtosecond",
        "angstrom",
    ),
    "metal": (
        "electron_volt",
        "bar",
        "angstrom ** 3",
        "gram / centimeter ** 3",
        "picosecond",
        "angstrom",
    ),
    "si": ("joule", "pascal", "meter ** 3", "kilogram / meter ** 3", "second", "meter"),
}
_KINDS = {
    "press": _PRESSURE,
    **dict.fromkeys(("pxx", "pyy", "pzz", "pxy", "pxz", "pyz"), _PRESSURE),
    "volume": _VOLUME,
    "density": _DENSITY,
    "time": _TIME,
    "dt": _TIME,
    **dict.fromkeys(("lx", "ly", "lz", "xlo", "xhi", "ylo", "yhi", "zlo", "zhi"), _LENGTH),
    **dict.fromkeys(("toteng", "kineng", "poteng", "enthalpy", "econserve", "ecouple"), _ENERGY),
}
# Of the work of the program, not of what was simulated.
_PROGRESS = {"cpu", "tpcpu", "spcpu", "cpuremain", "elapsed", "elaplong", "part", "timeremain"}
_IN_REDUCED_UNITS = "lj"
_MULTI_STEP = re.compile(r"-+ Step\s+(\d+) -+")
_MULTI_PART = re.compile(r"(\w+)\s*=\s*([-+.\deE]+|-?nan|-?inf)")
_BONDED = {"full", "molecular", "bond", "angle", "charge_molecular"}


class _Commands:
    """What the commands of a script set, whether read from the script or from its echo in a log."""

    def __init__(self) -> None:
        self.units: str | None = None
        self.step: float | None = None
        self.temperature: float | None = None
        self.pressure: float | None = None
        self.has_thermostat = self.has_barostat = self.has_integrator = False
        self.notes: list[str] = []

    def take(self, line: str) -> None:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            return
        if words[0] == "units":
            self.units = words[1]
        elif words[0] == "timestep":
            self.step = number_in(words[1])
        elif words[0] == "fix" and len(words) > 3:
            self._take_fix(words[3].partition("/")[0], words[4:])

    def _take_fix(self, style: str, words: Sequence[str]) -> None:
        if style in ("nvt", "npt", "nph", "nve"):
            self.has_integrator = True
        if style in ("nvt", "npt"):
            self.has_thermostat = True
            self._take_range("temperature", _after(words, ("temp",)))
        if style in ("npt", "nph"):
            self.has_barostat = True
            self._take_range("pressure", _after(words, ("iso", "aniso", "tri", "x", "z")))
        if style == "langevin":
            self.has_thermostat = True
            self._take_range("temperature", words)

    def _take_range(self, name: str, words: Sequence[str]) -> None:
        ends = [number_in(word) for word in words[:2]]
        if len(ends) < 2 or ends[0] is None:
            return
        if ends[0] != ends[1]:
            self.notes.append(f"{name} from {words[0]} to {words[1]}: none was taken")
            return
        setattr(self, name, ends[0])

    def say(self, reading: FileReading) -> None:
        """Note what the commands say in units that have a meaning."""
        reading.notes += self.notes
        # Without the command, units are lj.
        units = self.units or (_IN_REDUCED_UNITS if self.has_integrator else None)
        if units is not None:
            reading.metadata["lammps_units"] = units
        if self.has_integrator:
            reading.facts["ensemble"] = (
                "NPT"
                if self.has_barostat and self.has_thermostat
                else "NPH"
                if self.has_barostat
                else "NVT"
                if self.has_thermostat
                else "NVE"
            )
        system = _SYSTEMS.get(units or "")
        if system is not None:
            if self.step:
                reading.facts["time_step"] = Measure(self.step, system[_TIME])
            if self.temperature is not None:
                reading.facts["temperature"] = Measure(self.temperature, "kelvin")
            if self.pressure is not None:
                reading.facts["pressure"] = Measure(self.pressure, system[_PRESSURE])
        elif units == _IN_REDUCED_UNITS:
            for name, value in (("temperature", self.temperature), ("pressure", self.pressure)):
                if value is not None:
                    reading.metadata[f"reduced_{name}"] = value
            if self.step:
                reading.metadata["reduced_time_step"] = self.step


def _after(words: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    places = [place for place, word in enumerate(words) if word in names]
    return words[places[0] + 1 :] if places else ()


_ATOMS = re.compile(r"(?:Created )?(\d{1,18}) atoms|Loop time of .{1,200} with (\d{1,18}) atoms")


def is_log(file: RunFile) -> bool:
    """Return whether a file is a log of LAMMPS."""
    return file.head_text.startswith("LAMMPS (")


def read_log(file: RunFile) -> FileReading:
    """Return version, settings and thermodynamic output of a log; of several tables the longest."""
    reading = FileReading(file.name, Part.LOG, "LAMMPS log", "lammps")
    commands, tables = _Commands(), _Tables()
    with file.open_text() as lines:
        for line in lines:
            if tables.take(line):
                continue
            if line.startswith("LAMMPS ("):
                reading.facts["engine_version"] = line.partition("(")[2].partition(")")[0]
            elif match := _ATOMS.fullmatch(line.strip()):
                reading.facts["n_atoms"] = int(match[1] or match[2])
            elif line.startswith(("ERROR", "Last command")):
                reading.notes.append(f"{line.strip()[:120]}")
            else:
                commands.take(line)
    commands.say(reading)
    units = str(reading.metadata.get("lammps_units", ""))
    names, values = tables.best()
    if tables.n_left_out:
        reading.notes.append(f"{tables.n_left_out:,} more rows with other columns: left out")
    for name, column in zip(names, values.T, strict=False):
        unit = _unit_of(name, units)
        if unit is not None:
            reading.observables[name] = np.ascontiguousarray(column), unit
    step = reading.facts.get("time_step")
    if step is not None and len(values) and names[0] == "Step" and values[-1, 0] > values[0, 0]:
        length = float(f"{(values[-1, 0] - values[0, 0]) * step.number:.9g}")
        reading.facts["length"] = Measure(length, step.unit)
    return reading


class _Tables:
    """The tables of thermodynamic output in a log, joined where their columns are the same."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, ...], list[list[float]]] = {}
        self._open: list[list[float]] | None = None
        self._width = 0
        self._multi: dict[str, float] = {}

    def take(self, line: str) -> bool:
        """Take a line if it is part of a table."""
        if match := _MULTI_STEP.match(line):
            self._close_multi()
            self._multi = {"Step": float(match[1])}
            return True
        if self._multi:
            found = _MULTI_PART.findall(line[:LONGEST_SETTING])
            if found:
                self._multi.update({name: float(text) for name, text in found})
                return True
            self._close_multi()
        if self._open is not None:
            parts = [number_in(part) for part in line.split()]
            if len(parts) == self._width and None not in parts:
                self._open.append([part for part in parts if part is not None])
                return True
            # Warnings stand between rows; what follows the last is the time that it took.
            if line.startswith("Loop time"):
                self._open = None
            return False
        words = line.split()
        if len(words) > 1 and words[0] == "Step":
            self._width = len(words)
            self._open = self._rows.setdefault(tuple(words), [])
            return True
        return False

    def _close_multi(self) -> None:
        if len(self._multi) > 1:
            self._rows.setdefault(tuple(self._multi), []).append(list(self._multi.values()))
        self._multi = {}

    def best(self) -> tuple[tuple[str, ...], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
        """Return the names and rows of the longest table; a step that is written twice counts once."""
        self._close_multi()
        names = max(self._rows, key=lambda key: len(self._rows[key]), default=())
        rows: list[list[float]] = []
        for row in self._rows.get(names, ()):
            if rows and rows[-1][0] == row[0]:
                rows.pop()
            rows.append(row)
        return names, np.array(rows, dtype=np.float64).reshape(len(rows), len(names))

    @property
    def n_left_out(self) -> int:
        """How many rows the other tables have."""
        lengths = sorted(map(len, self._rows.values()))
        return sum(lengths[:-1])


def _unit_of(name: str, units: str) -> str | None:
    """Return the unit of a column, or ``None`` if it has none that is known."""
    keyword = name.lower()
    if keyword in _PROGRESS:
        return None
    if keyword in ("step", "atoms") or units == _IN_REDUCED_UNITS:
        return "dimensionless"
    if keyword == "temp":
        return "kelvin"
    kind = _ENERGY if keyword.startswith("e_") else _KINDS.get(keyword)
    system = _SYSTEMS.get(units)
    return None if kind is None or system is None else system[kind]


_SCRIPT = re.compile(r"^[ \t]*(units|atom_style|pair_style|read_data|fix|dump|thermo|timestep)[ \t]+\S", re.M)


def is_script(file: RunFile) -> bool:
    """Return whether a file is an input script."""
    return len(set(_SCRIPT.findall(file.head_text))) >= 3


def read_script(file: RunFile) -> FileReading:
    """Return what an input script sets in plain numbers."""
    reading = FileReading(file.name, Part.INPUT, "LAMMPS input", "lammps")
    commands = _Commands()
    with file.open_text() as lines:
        for line in lines:
            commands.take(line)
    commands.say(reading)
    return reading


def is_data(file: RunFile) -> bool:
    """Return whether a file is a data file: counts and bounds after a line of its own."""
    text = file.head_text
    return bool(re.search(r"^[ \t]*\d+[ \t]+atoms[ \t]*$", text, re.M) and re.search(r"\bxlo\s+xhi\b", text))


def read_data(file: RunFile) -> FileReading:
    """Return atoms, molecules and box of a data file."""
    reading = FileReading(file.name, Part.TOPOLOGY, "LAMMPS data", "lammps")
    bounds: dict[str, tuple[float, float]] = {}
    tilts = [0.0, 0.0, 0.0]
    with file.open_text() as lines:
        first = lines.readline()
        if match := re.search(r"units = (\w+)", first):
            reading.metadata["lammps_units"] = match[1]
        style = ""
        for line in lines:
            words = line.partition("#")[0].split()
            if words[1:] == ["atoms"]:
                reading.facts["n_atoms"] = int(words[0])
            elif words[1:] == ["bonds"]:
                reading.has_bonds = int(words[0]) > 0
            elif len(words) == 4 and words[2][1:] == "lo":
                bounds[words[2][0]] = float(words[0]), float(words[1])
            elif words[3:] == ["xy", "xz", "yz"]:
                tilts = [float(word) for word in words[:3]]
            elif words == ["Atoms"]:
                style = line.partition("#")[2].strip()
                break
        if style in _BONDED:
            next(lines, "")
            rows = (line.split() for line in itertools.islice(lines, reading.facts.get("n_atoms", 0)))
            molecules = {row[1] for row in rows if len(row) > 4 and row[1] != "0"}
            if molecules:
                reading.facts["number_of_molecules"] = len(molecules)
    if "n_atoms" not in reading.facts:
        raise UnreadableError("it does not say how many atoms there are")
    _take_box(reading, bounds, tilts)
    return reading


def _take_box(reading: FileReading, bounds: dict[str, tuple[float, float]], tilts: Sequence[float]) -> None:
    if sorted(bounds) != ["x", "y", "z"]:
        return
    x, y, z = (high - low for low, high in (bounds[axis] for axis in "xyz"))
    xy, xz, yz = tilts
    box = box_in_angstroms(((x, 0.0, 0.0), (xy, y, 0.0), (xz, yz, z)))
    if box is not None:
        reading.facts["box"] = box


def is_dump(file: RunFile) -> bool:
    """Return whether a file is a dump as text."""
    return file.head.startswith((b"ITEM: TIMESTEP", b"ITEM: UNITS", b"ITEM: TIME\n"))


def read_dump(file: RunFile) -> FileReading:
    """Return atoms, frames and box of a dump; its frames are counted, not read."""
    reading = FileReading(file.name, Part.TRAJECTORY, "LAMMPS dump", "lammps")
    lines = file.head_text.splitlines()
    steps = [lines[place + 1] for place, line in enumerate(lines[:-1]) if line == "ITEM: TIMESTEP"]
    if len(steps) > 1 and all(step.strip().isdecimal() for step in steps[:2]):
        reading.interval_steps = int(steps[1]) - int(steps[0])
    for place, line in enumerate(lines[:-1]):
        if line.startswith("ITEM: NUMBER OF ATOMS"):
            reading.facts["n_atoms"] = int(lines[place + 1])
        elif line.startswith("ITEM: BOX BOUNDS") and "abc" not in line and place + 3 < len(lines):
            rows = [[float(word) for word in row.split()] for row in lines[place + 1 : place + 4]]
            _take_dump_box(reading, rows)
            break
    if "n_atoms" not in reading.facts:
        raise UnreadableError("its first frame does not say how many atoms it has")
    n_frames = n_lines = 0
    with file.open() as stream:
        rest = b"\n"
        while chunk := stream.read(1 << 20):
            n_lines += chunk.count(b"\n")
            # A mark may lie across two chunks.
            n_frames += (rest + chunk).count(b"ITEM: TIMESTEP")
            rest = chunk[-13:]
        n_lines += not rest.endswith(b"\n")
    if n_lines < n_frames * (reading.facts["n_atoms"] + 9):
        n_frames -= 1
        reading.notes.append(f"broken off after {n_frames:,} whole frames")
    reading.n_frames = n_frames
    return reading


def _take_dump_box(reading: FileReading, rows: Sequence[Sequence[float]]) -> None:
    if all(len(row) == 2 for row in rows):
        _take_box(reading, dict(zip("xyz", ((row[0], row[1]) for row in rows), strict=True)), (0.0, 0.0, 0.0))
    elif all(len(row) == 3 for row in rows):
        xy, xz, yz = (row[2] for row in rows)
        # Bounds are those of the box around the tilted one.
        x = rows[0][0] - min(0.0, xy, xz, xy + xz), rows[0][1] - max(0.0, xy, xz, xy + xz)
        y = rows[1][0] - min(0.0, yz), rows[1][1] - max(0.0, yz)
        _take_box(reading, {"x": x, "y": y, "z": (rows[2][0], rows[2][1])}, (xy, xz, yz))

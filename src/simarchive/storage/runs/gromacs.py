"""What GROMACS writes and reads: GRO, MDP, LOG, TOP and EDR files.

References
----------
GROMACS reference manual, "File formats"; EDR by pyedr.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import numpy as np

from simarchive.storage.runs.file_reading import (
    LONGEST_SETTING,
    FileReading,
    Measure,
    Part,
    RunFile,
    UnreadableError,
    foreign_reader,
    number_in,
)
from simarchive.storage.runs.structures import take_residues
from simarchive.storage.runs.trajectories import box_in_angstroms

_EDR_UNITS = {
    "ps": "picosecond",
    "kJ/mol": "kilojoule / mole",
    "K": "kelvin",
    "bar": "bar",
    "nm": "nanometer",
    "nm^3": "nanometer ** 3",
    "kg/m^3": "kilogram / meter ** 3",
    "nm/ps": "nanometer / picosecond",
    "bar nm": "bar * nanometer",
    "D": "debye",
}
_MINIMIZERS = {"steep", "cg", "l-bfgs"}
_THERMAL = {"sd", "sd1", "sd2", "bd"}


def read_gro(file: RunFile) -> FileReading:
    """Return atoms, residues and box of the first frame of a GRO file."""
    reading = FileReading(file.name, Part.STRUCTURE, "GRO", "gromacs")
    with file.open_text() as lines:
        lines.readline()
        count = lines.readline().strip()
        if not count.isdecimal() or len(count) > 12:
            raise UnreadableError("its second line is not the number of atoms")
        n_atoms = int(count)
        residues, last = [], ""
        for _ in range(n_atoms):
            line = lines.readline()
            if len(line) < 20:
                raise UnreadableError(f"it ends before its {n_atoms:,} atoms do")
            if line[:10] != last:
                last = line[:10]
                residues.append(line[5:10].strip())
        rows = [number_in(text) for text in lines.readline().split()]
        n_frames = 1 + sum(1 for _ in lines) // (n_atoms + 3)
    reading.facts["n_atoms"] = n_atoms
    take_residues(reading, residues)
    box = [row for row in rows if row is not None]
    if len(box) in (3, 9):
        # v1(x) v2(y) v3(z) v1(y) v1(z) v2(x) v2(z) v3(x) v3(y)
        x, y, z, xy, xz, yx, yz, zx, zy = (10.0 * row for row in [*box, *[0.0] * (9 - len(box))])
        found = box_in_angstroms(((x, xy, xz), (yx, y, yz), (zx, zy, z)))
        if found is not None:
            reading.facts["box"] = found
    if n_frames > 1:
        reading.n_frames = n_frames
    return reading


def read_mdp(file: RunFile) -> FileReading:
    """Return time step and state that a file of run parameters sets."""
    reading = FileReading(file.name, Part.INPUT, "MDP", "gromacs")
    settings = {}
    with file.open_text() as lines:
        for line in lines:
            name, equals, value = line.partition(";")[0].partition("=")
            if equals:
                settings[_setting(name)] = value.strip()
    if not settings:
        raise UnreadableError("it sets nothing")
    take_settings(reading, settings)
    return reading


def _setting(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def take_settings(reading: FileReading, settings: Mapping[str, str]) -> None:
    """Note what run parameters say, which a log repeats."""
    integrator = settings.get("integrator", "md").lower()
    if integrator in _MINIMIZERS:
        reading.metadata["integrator"] = integrator
        return
    step = number_in(settings.get("dt", "")) or 0.001
    reading.facts["time_step"] = Measure(float(f"{1000 * step:.9g}"), "femtosecond")
    n_steps = number_in(settings.get("nsteps", ""))
    if n_steps is not None and n_steps > 0:
        length = float(f"{n_steps * step:.9g}")
        reading.guesses["length"] = Measure(length, "picosecond"), "the steps that were asked for"
    has_thermostat = settings.get("tcoupl", "no").lower() != "no" or integrator in _THERMAL
    has_barostat = settings.get("pcoupl", "no").lower() != "no"
    if has_thermostat:
        temperatures = _numbers(settings.get("ref_t", ""))
        if temperatures and len(set(temperatures)) == 1:
            reading.facts["temperature"] = Measure(temperatures[0], "kelvin")
        elif temperatures:
            reading.notes.append("groups of several temperatures: none was taken")
    if has_barostat:
        pressures = _numbers(settings.get("ref_p", ""))
        if pressures:
            reading.facts["pressure"] = Measure(pressures[0], "bar")
    if has_thermostat or has_barostat or "tcoupl" in settings:
        reading.facts["ensemble"] = "NPT" if has_barostat else "NVT" if has_thermostat else "NVE"


def _numbers(text: str) -> list[float]:
    numbers = [number_in(part) for part in text.split()]
    return [] if None in numbers else [number for number in numbers if number is not None]


def is_log(file: RunFile) -> bool:
    """Return whether a file is the log of mdrun."""
    return "GROMACS" in file.head_text and (
        "gmx mdrun" in file.head_text or "Log file opened" in file.head_text
    )


_LOG_SETTING = re.compile(r"^\s{3,}([\w-]+)\s*[=:]\s*(.+?)\s*$")


def read_log(file: RunFile) -> FileReading:
    """Return version, settings and numbers of atoms that the log of mdrun tells."""
    reading = FileReading(file.name, Part.LOG, "GROMACS log", "gromacs")
    settings: dict[str, str] = {}
    last_step = None
    with file.open_text() as lines:
        for line in lines:
            if line.startswith("GROMACS version:"):
                reading.facts["engine_version"] = line.partition(":")[2].strip().removeprefix("VERSION ")
            elif match := _LOG_SETTING.match(line[:LONGEST_SETTING]):
                settings.setdefault(_setting(match[1]), match[2])
            elif line.startswith("   ref-p (3x3)"):
                row = next(lines, "")
                settings["ref_p"] = row.partition("{")[2].partition(",")[0]
            elif line.startswith("There are: ") and "Atom" in line:
                count = line.split()[2]
                if count.isdecimal():
                    reading.facts["n_atoms"] = int(count)
            elif line.startswith("           Step           Time"):
                numbers = _numbers(next(lines, ""))
                last_step = numbers[0] if len(numbers) == 2 else last_step
    take_settings(reading, settings)
    step = number_in(settings.get("dt", ""))
    first = number_in(settings.get("init_step", "0")) or 0.0
    if last_step is not None and step and last_step > first:
        length = float(f"{(last_step - first) * step:.9g}")
        reading.facts["length"] = Measure(length, "picosecond")
    return reading


_DIRECTIVE = re.compile(r"^[ \t]*\[ *(defaults|molecules|moleculetype|system) *\]", re.M)


def is_top(file: RunFile) -> bool:
    """Return whether a file is a topology for grompp: directives in brackets, and molecules."""
    return '#include "' in file.head_text or bool(_DIRECTIVE.search(file.head_text))


def read_top(file: RunFile) -> FileReading:
    """Return how many molecules of each name a topology for grompp lists."""
    reading = FileReading(file.name, Part.INPUT, "TOP", "gromacs")
    counts: dict[str, int] = {}
    section = ""
    with file.open_text() as lines:
        for line in lines:
            text = line.partition(";")[0].strip()
            if text.startswith("["):
                section = text.strip("[] ").lower()
            elif section == "molecules" and text:
                name, *count = text.split()
                if len(count) == 1 and count[0].isdecimal():
                    counts[name] = counts.get(name, 0) + int(count[0])
    if counts:
        reading.facts["number_of_molecules"] = sum(counts.values())
        reading.metadata.update({f"molecules {name}": count for name, count in counts.items()})
    return reading


def read_edr(file: RunFile) -> FileReading:
    """Return the energies of an EDR file; the ones of two frames with different terms are left out."""
    reading = FileReading(file.name, Part.ENERGIES, "EDR", "gromacs")
    _check_counts(file)
    with foreign_reader("pyedr"):
        import pyedr

        path = str(file.path)
        table, units = pyedr.edr_to_dict(path), pyedr.get_unit_dictionary(path)
    n_samples = len(table.get("Time", ()))
    for name, values in table.items():
        # What pint does not know has no unit that could be kept.
        unit = _EDR_UNITS.get(units.get(name, ""), "")
        array = np.asarray(values, dtype=np.float64)
        if unit and array.shape == (n_samples,):
            reading.observables[name] = (array, unit)
    if not n_samples:
        reading.notes.append("without frames")
    elif n_samples > 1:
        times = reading.observables["Time"][0]
        length = float(f"{times[-1] - times[0]:.6g}")
        if length > 0:
            reading.guesses["length"] = Measure(length, "picosecond"), "from the first energies to the last"
    _take_ensemble(reading)
    return reading


_EDR_MAGIC = struct.pack(">i", -55555)
_FRAME_MAGIC = struct.pack(">i", -7777777)


def _check_counts(file: RunFile) -> None:
    """Refuse counts that the file has no room for: pyedr makes lists of them before it reads.

    References
    ----------
    GROMACS `enxio.cpp`: do_enxnms and do_eheader.
    """
    with file.open() as stream:
        data = stream.read()
    most = len(data) // 4
    has_version = data.startswith(_EDR_MAGIC)
    (n_terms,) = struct.unpack_from(">i", data, 8 if has_version else 0)
    if not 0 < n_terms <= most:
        raise UnreadableError("it is damaged, or no EDR file")
    place = data.find(_FRAME_MAGIC)
    while has_version and place >= 0:
        (version,) = struct.unpack_from(">i", data, place + 4)
        start = place + 8 + 8 + 8 + 4 + (8 if version >= 3 else 0) + (8 if version >= 5 else 0)
        if start + 12 > len(data):
            return  # broken off here
        n_terms, _reserved, n_blocks = struct.unpack_from(">3i", data, start)
        start += 12
        if not 0 <= n_terms <= most or not 0 <= n_blocks <= most:
            raise UnreadableError("a frame is damaged")
        for _ in range(n_blocks if version >= 4 else 0):
            if start + 8 > len(data):
                return
            (n_parts,) = struct.unpack_from(">i", data, start + 4)
            if not 0 <= n_parts <= most:
                raise UnreadableError("a frame is damaged")
            start += 8 + 8 * n_parts
        place = data.find(_FRAME_MAGIC, place + 4)


def _take_ensemble(reading: FileReading) -> None:
    for name in ("Volume", "Box-X"):
        values = reading.observables.get(name, (np.array([0.0]), ""))[0]
        if len(values) and np.ptp(values) > 0.0:
            reading.guesses["ensemble"] = "NPT", f"{name} changes"

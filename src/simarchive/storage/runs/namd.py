"""What NAMD writes and reads: PSF topologies, configurations and logs.

References
----------
NAMD User's Guide, "NAMD output files"; CHARMM and X-PLOR PSF as in MDAnalysis `PSFParser`.
"""

from __future__ import annotations

import re

import numpy as np

from simarchive.storage.runs.file_reading import (
    FileReading,
    Measure,
    Part,
    RunFile,
    UnreadableError,
    number_in,
)
from simarchive.storage.runs.structures import take_residues

_UNITS = {
    "TS": "dimensionless",
    "TEMP": "kelvin",
    "TEMPAVG": "kelvin",
    "PRESSURE": "bar",
    "GPRESSURE": "bar",
    "PRESSAVG": "bar",
    "GPRESSAVG": "bar",
    "VOLUME": "angstrom ** 3",
}
_INFO = {
    "timestep": re.compile(r"Info: TIMESTEP\s+(\S+)"),
    "temperature": re.compile(
        r"Info: (?:LANGEVIN TEMPERATURE|VELOCITY (?:REASSIGNMENT|RESCALE) TEMP|BERENDSEN TEMPERATURE)\s+(\S+)"
    ),
    "pressure": re.compile(r"Info:\s+TARGET PRESSURE IS\s+(\S+)\s+BAR"),
    "atoms": re.compile(r"Info: (\d+) ATOMS\s*$"),
}


def read_psf(file: RunFile) -> FileReading:
    """Return atoms and residues of a PSF."""
    if not file.head.startswith(b"PSF"):
        raise UnreadableError("it does not begin as a PSF")
    reading = FileReading(file.name, Part.TOPOLOGY, "PSF")
    residues: list[str] = []
    last: tuple[str, ...] = ()
    with file.open_text() as lines:
        for line in lines:
            if "!NATOM" in line:
                n_atoms = int(line.split()[0])
                break
        else:
            raise UnreadableError("it has no section of atoms")
        for _ in range(n_atoms):
            parts = lines.readline().split()
            if len(parts) < 8:
                raise UnreadableError(f"it ends before its {n_atoms:,} atoms do")
            # Some programs leave the segment out.
            place = 2 if len(parts) >= 9 or not parts[1].lstrip("-").isdecimal() else 1
            residue = (*parts[1 : place + 1], parts[place + 1])
            if residue != last:
                last = residue
                residues.append(parts[place + 1])
        rest = lines.read(4_000_000)
        reading.has_bonds = "!NBOND" in rest
    reading.facts["n_atoms"] = n_atoms
    take_residues(reading, residues)
    return reading


def is_log(file: RunFile) -> bool:
    """Return whether a file is what NAMD prints."""
    return "Info: NAMD " in file.head_text


def read_log(file: RunFile) -> FileReading:
    """Return version, settings and energies of what NAMD prints."""
    reading = FileReading(file.name, Part.LOG, "NAMD log", "namd")
    found: dict[str, str] = {}
    names: list[str] = []
    rows: list[list[float]] = []
    with file.open_text() as lines:
        for line in lines:
            if line.startswith("Info: "):
                if match := re.match(r"Info: NAMD ([\d.]+\S*) for", line):
                    reading.facts["engine_version"] = match[1]
                for name, pattern in _INFO.items():
                    if match := pattern.match(line):
                        found.setdefault(name, match[1])
            elif line.startswith("ETITLE:") and not names:
                names = line.split()[1:]
            elif line.startswith("ENERGY:"):
                parts = [number_in(part) for part in line.split()[1:]]
                if len(parts) == len(names):
                    rows.append([np.nan if part is None else part for part in parts])
    if "atoms" in found:
        reading.facts["n_atoms"] = int(found["atoms"])
    step = number_in(found.get("timestep", ""))
    _take_state(reading, step, number_in(found.get("temperature", "")), number_in(found.get("pressure", "")))
    for name, values in zip(names, np.array(rows, dtype=np.float64).T, strict=bool(rows)):
        reading.observables[name] = np.ascontiguousarray(values), _UNITS.get(name, "kilocalorie / mole")
    if step and len(rows) > 1 and names[0] == "TS" and rows[-1][0] > rows[0][0]:
        length = float(f"{(rows[-1][0] - rows[0][0]) * step / 1000:.9g}")
        reading.facts["length"] = Measure(length, "picosecond")
    return reading


def _take_state(
    reading: FileReading, step_fs: float | None, temperature: float | None, pressure: float | None
) -> None:
    if step_fs:
        reading.facts["time_step"] = Measure(step_fs, "femtosecond")
    if temperature:
        reading.facts["temperature"] = Measure(temperature, "kelvin")
    if pressure is not None:
        reading.facts["pressure"] = Measure(pressure, "bar")
    if step_fs or temperature:
        reading.facts["ensemble"] = "NPT" if pressure is not None else "NVT" if temperature else "NVE"


_CONFIGURATION = re.compile(
    r"^[ \t]*(structure|coordinates|timestep|numsteps|langevin\w*)[ \t]+\S", re.I | re.M
)


def is_configuration(file: RunFile) -> bool:
    """Return whether a file is a configuration of NAMD."""
    return len({word.lower() for word in _CONFIGURATION.findall(file.head_text)}) >= 3


def read_configuration(file: RunFile) -> FileReading:
    """Return time step and state that a configuration sets in plain numbers."""
    reading = FileReading(file.name, Part.INPUT, "NAMD configuration", "namd")
    settings: dict[str, str] = {}
    variables: dict[str, str] = {}
    with file.open_text() as lines:
        for line in lines:
            words = line.partition("#")[0].replace("=", " ").split()
            if len(words) >= 3 and words[0] == "set":
                variables[words[1]] = words[2]
            elif len(words) >= 2:
                settings[words[0].lower()] = variables.get(words[1].strip("${}"), words[1])
    thermostat = settings.get("langevin", "off").lower() in ("on", "yes", "true")
    barostat = settings.get("langevinpiston", "off").lower() in ("on", "yes", "true")
    _take_state(
        reading,
        number_in(settings.get("timestep", "1.0")),
        number_in(settings.get("langevintemp", "")) if thermostat else None,
        number_in(settings.get("langevinpistontarget", "")) if barostat else None,
    )
    return reading

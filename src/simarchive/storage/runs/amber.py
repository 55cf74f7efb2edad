"""What AMBER writes and reads: PRMTOP, MDOUT, MDIN, restart and trajectory files.

References
----------
"AMBER parameter/topology file specification", ambermd.org; AMBER 2024 manual, sections on sander's input and
output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
from simarchive.storage.runs.structures import take_residues
from simarchive.storage.runs.trajectories import checked_box

_PARTS = re.compile(r"([A-Za-z0-9/][\w()/.#-]*(?: (?:NB|EEL))?)\s*=\s*(-?[\d.]+(?:E[-+]?\d+)?|\*+|NaN)")
_SETTING = re.compile(r"(\w+)\s*=\s*(-?[\d.]+(?:[EeDd][-+]?\d+)?)")
_UNITS = {
    "NSTEP": "dimensionless",
    "TIME(PS)": "picosecond",
    "TEMP(K)": "kelvin",
    "PRESS": "bar",
    "VOLUME": "angstrom ** 3",
    "Density": "gram / milliliter",
    "DV/DL": "kilocalorie / mole",
}
_NAMES = {"TIME(PS)": "Time", "TEMP(K)": "TEMP"}
_WANTED_FLAGS = {"POINTERS", "RESIDUE_LABEL", "ATOMS_PER_MOLECULE", "BOX_DIMENSIONS"}


def is_prmtop(file: RunFile) -> bool:
    """Return whether a file is a topology with flags, as AMBER 7 and later write it."""
    return file.head.startswith(b"%VERSION") or b"%FLAG" in file.head[:400]


def read_prmtop(file: RunFile) -> FileReading:
    """Return atoms, residues, molecules and box of a topology."""
    reading = FileReading(file.name, Part.TOPOLOGY, "PRMTOP", "amber", has_bonds=True)
    values: dict[str, list[str]] = {flag: [] for flag in _WANTED_FLAGS}
    flag = ""
    with file.open_text() as lines:
        for line in lines:
            if line.startswith("%FLAG"):
                flag = line[5:].strip()
            elif flag in _WANTED_FLAGS and not line.startswith("%"):
                text = line.rstrip("\n")
                width = 4 if flag == "RESIDUE_LABEL" else 16 if flag == "BOX_DIMENSIONS" else 8
                values[flag] += [text[place : place + width] for place in range(0, len(text.rstrip()), width)]
    pointers = [int(text) for text in values["POINTERS"]]
    if len(pointers) < 12:
        raise UnreadableError("it lacks its POINTERS")
    reading.facts["n_atoms"] = pointers[0]
    labels = [label.strip() for label in values["RESIDUE_LABEL"][: pointers[11]]]
    if len(labels) == pointers[11]:
        take_residues(reading, labels)
    if values["ATOMS_PER_MOLECULE"]:
        reading.facts["number_of_molecules"] = len(values["ATOMS_PER_MOLECULE"])
    if len(values["BOX_DIMENSIONS"]) == 4:
        beta, a, b, c = (float(text) for text in values["BOX_DIMENSIONS"])
        # A truncated octahedron has one angle three times, other boxes only this one.
        angles = [beta] * 3 if abs(beta - 109.471) < 0.01 else [90.0, beta, 90.0]
        box = checked_box([a, b, c, *angles])
        if box is not None:
            reading.facts["box"] = box
    return reading


def is_mdout(file: RunFile) -> bool:
    """Return whether a file is the output of sander or pmemd."""
    return bool(re.search(r"Amber +[\d.]+ +(SANDER|PMEMD)", file.head_text))


def read_mdout(file: RunFile) -> FileReading:
    """Return version, settings and energies of an output; of several TI regions the first."""
    reading = FileReading(file.name, Part.LOG, "AMBER output", "amber")
    settings: dict[str, str] = {}
    samples: list[dict[str, float]] = []
    section, is_summary = 0, False
    sample: dict[str, float] | None = None
    with file.open_text() as lines:
        for line in lines:
            if match := re.match(r" +(\d)\. +[A-Z]", line):
                section = int(match[1])
            elif section == 0 and (match := re.search(r"Amber +([\d.]+) +(SANDER|PMEMD)", line)):
                reading.facts["engine_version"] = f"{match[1]} {match[2].lower()}"
            elif section in (1, 2):
                settings.update(_SETTING.findall(line[:LONGEST_SETTING]))
                if "temperature regulation" in line:
                    settings["thermostat"] = line.strip().rpartition(" temperature")[0]
            elif section == 3 and "begin time read from input coords" in line:
                settings["begin"] = line.partition("=")[2].split()[0]
            elif section == 4:
                # Averages and fluctuations are written like samples, also in the midst of a run.
                if "A V E R A G E S" in line or "F L U C T U A T I O N S" in line or "AVERAGES OVER" in line:
                    is_summary = True
                if line.startswith(" NSTEP ="):
                    sample = None if is_summary else {}
                    is_summary = False
                    if sample is not None:
                        samples.append(sample)
                if sample is not None:
                    sample.update(
                        {name: _value(text) for name, text in _PARTS.findall(line[:LONGEST_SETTING])}
                    )
                    if line.startswith(" ---"):
                        sample = None
    _take_settings(reading, settings)
    _take_box(reading, settings)
    _take_samples(reading, samples, settings)
    return reading


def _value(text: str) -> float:
    number = number_in(text)  # stars stand for a number too wide for its column
    return float("nan") if number is None else number


def _take_box(reading: FileReading, settings: Mapping[str, str]) -> None:
    for field, name in (("n_atoms", "NATOM"), ("n_residues", "NRES")):
        if settings.get(name, "").isdecimal():
            reading.facts[field] = int(settings[name])
    sides = [number_in(settings.get(name, "")) or 0.0 for name in ("X", "Y", "Z", "Alpha", "Beta", "Gamma")]
    box = checked_box(sides)
    if box is not None:
        reading.facts["box"] = box


def _take_settings(reading: FileReading, settings: Mapping[str, str]) -> None:
    numbers = {name: number_in(text) for name, text in settings.items()}
    if numbers.get("imin") == 1:
        reading.metadata["integrator"] = "minimization"
        return
    step = numbers.get("dt")
    if step:
        reading.facts["time_step"] = Measure(float(f"{1000 * step:.9g}"), "femtosecond")
    has_thermostat = "thermostat" in settings or bool(numbers.get("ntt"))
    temperature, pressure = numbers.get("temp0"), numbers.get("pres0")
    if has_thermostat and temperature:
        reading.facts["temperature"] = Measure(temperature, "kelvin")
    has_barostat = bool(numbers.get("ntp"))
    if has_barostat:
        reading.facts["pressure"] = Measure(1.0 if pressure is None else pressure, "bar")
    if "imin" in settings:
        reading.facts["ensemble"] = "NPT" if has_barostat else "NVT" if has_thermostat else "NVE"
    n_steps = numbers.get("nstlim")
    if step and n_steps:
        length = float(f"{n_steps * step:.9g}")
        reading.guesses["length"] = Measure(length, "picosecond"), "the steps that were asked for"


def _take_samples(reading: FileReading, samples: list[dict[str, float]], settings: Mapping[str, str]) -> None:
    # Each TI region is written with the same step.
    once = {sample["NSTEP"]: sample for sample in reversed(samples) if "NSTEP" in sample}
    ordered = [once[step] for step in sorted(once)]
    if not ordered:
        return
    for name in ordered[0]:
        values = np.array([sample.get(name, np.nan) for sample in ordered], dtype=np.float64)
        reading.observables[_NAMES.get(name, name)] = values, _UNITS.get(name, "kilocalorie / mole")
    begin, last = number_in(settings.get("begin", "")), ordered[-1].get("TIME(PS)")
    if begin is not None and last is not None and last > begin:
        reading.facts["length"] = Measure(float(f"{last - begin:.9g}"), "picosecond")


def is_mdin(file: RunFile) -> bool:
    """Return whether a file is an input of sander or pmemd."""
    return "&cntrl" in file.head_text


def read_mdin(file: RunFile) -> FileReading:
    """Return time step and state that an input sets."""
    reading = FileReading(file.name, Part.INPUT, "AMBER input", "amber")
    settings = {"imin": "0"}
    with file.open_text() as lines:
        for line in lines:
            settings.update(_SETTING.findall(line.partition("!")[0][:LONGEST_SETTING]))
    _take_settings(reading, settings)
    return reading


def is_restart(file: RunFile) -> bool:
    """Return whether a file holds coordinates as text, with the number of atoms in its second line."""
    lines = file.head_text.split("\n", 3)
    return (
        len(lines) > 2
        and bool(re.fullmatch(r"\s*\d+(\s+[-+.\dEe]+){0,2}\s*", lines[1]))
        and all(number_in(part) is not None for part in lines[2].split())
    )


def read_restart(file: RunFile) -> FileReading:
    """Return the number of atoms of coordinates as text."""
    reading = FileReading(file.name, Part.STRUCTURE, "AMBER restart", "amber")
    with file.open_text() as lines:
        lines.readline()
        reading.facts["n_atoms"] = int(lines.readline().split()[0])
    return reading


def read_mdcrd(file: RunFile, n_atoms: int) -> FileReading:
    """Return how many frames of so many atoms a trajectory as text has."""
    reading = FileReading(file.name, Part.TRAJECTORY, "AMBER mdcrd", "amber", facts={"n_atoms": n_atoms})
    lines_each = -(-3 * n_atoms // 10)
    with file.open_text() as lines:
        lines.readline()
        n_lines = 0
        for n_lines, line in enumerate(lines, 1):
            if n_lines == lines_each + 1 and len(line.split()) == 3 and n_atoms > 3:
                lines_each += 1  # a line of the box follows each frame
    reading.n_frames, left = divmod(n_lines, lines_each)
    if left:
        reading.notes.append(f"broken off after {reading.n_frames:,} whole frames, or of another topology")
    return reading


def is_netcdf(file: RunFile) -> bool:
    """Return whether a file is NetCDF of a classic format."""
    return file.head[:3] == b"CDF"

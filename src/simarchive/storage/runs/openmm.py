"""What OpenMM writes: tables of its state data reporter, and systems and integrators as XML.

References
----------
OpenMM application layer, `StateDataReporter`; OpenMM `XmlSerializer`.
"""

from __future__ import annotations

import csv
import re
from typing import Any

import numpy as np

from simarchive.storage.runs.file_reading import (
    FileReading,
    Measure,
    Numbers,
    Part,
    RunFile,
    number_in,
)

_QUANTITY = re.compile(r"(.+?) \((.+)\)")
_UNITS = {
    "kJ/mole": "kilojoule / mole",
    "K": "kelvin",
    "nm^3": "nanometer ** 3",
    "g/mL": "gram / milliliter",
    "ps": "picosecond",
}
# Of the progress of the program, not of what was simulated.
_PROGRESS = {"Progress (%)", "Speed (ns/day)", "Elapsed Time (s)", "Time Remaining"}
_XML = re.compile(r"<\?xml[^>]{0,200}>\s{0,9}<(System|Integrator|State)\b")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def is_state_data(file: RunFile) -> bool:
    """Return whether a file is a table of the state data reporter, whatever separates its columns."""
    first = file.head_text.partition("\n")[0]
    return first.startswith('#"') and any(
        f'"{name}' in first for name in ("Step", "Time", "Potential", "Progress")
    )


def read_state_data(file: RunFile) -> FileReading:
    """Return the observables of a state data reporter; lines that are no numbers are left out and counted."""
    reading = FileReading(file.name, Part.ENERGIES, "OpenMM state data", "openmm")
    with file.open_text() as lines:
        first = lines.readline().removeprefix("#").rstrip("\n")
        separator = next((mark for mark in (",", "\t", ";", " ") if f'"{mark}"' in first), ",")
        header = next(csv.reader([first], delimiter=separator))
        rows, n_bad = [], 0
        for line in lines:
            # A continued run writes the header again.
            if line.startswith("#") or not line.strip():
                continue
            parts = line.split(separator)
            if len(parts) != len(header):
                n_bad += 1
                continue
            rows.append(parts)
    wanted = [place for place, name in enumerate(header) if name not in _PROGRESS]
    columns = _columns(rows, wanted)
    for place, values in zip(wanted, columns, strict=True):
        match = _QUANTITY.fullmatch(header[place])
        name, unit = (match[1], _UNITS.get(match[2])) if match else (header[place], "dimensionless")
        if unit is not None:
            reading.observables[name] = (values, unit)
    if n_bad:
        reading.notes.append(f"{n_bad:,} lines are no rows of the table, left out")
    if not rows:
        reading.notes.append("a header without rows")
    _take_times(reading)
    return reading


def _columns(rows: list[list[str]], wanted: list[int]) -> list[Numbers]:
    try:
        return [np.array([row[place] for row in rows], dtype=np.float64) for place in wanted]
    except ValueError:  # "--", "nan%" and the like
        return [np.array([_number(row[place]) for row in rows], dtype=np.float64) for place in wanted]


def _number(text: str) -> float:
    number = number_in(text)
    return float("nan") if number is None else number


def _take_times(reading: FileReading) -> None:
    times = reading.observables.get("Time", (np.array([]), ""))[0]
    steps = reading.observables.get("Step", (np.array([]), ""))[0]
    if len(times) < 2:
        return
    interval = (times[-1] - times[0]) / (len(times) - 1)
    if interval > 0:
        # The reporter writes after each interval, not at the start.
        length = float(f"{interval * len(times):.6g}")
        reading.guesses["length"] = (
            Measure(length, "picosecond"),
            f"{len(times):,} reports of one interval each",
        )
    if len(steps) == len(times) and steps[-1] > steps[0] and interval > 0:
        step = float(f"{(times[-1] - times[0]) / (steps[-1] - steps[0]) * 1000:.6g}")
        reading.facts["time_step"] = Measure(step, "femtosecond")


def is_xml(file: RunFile) -> bool:
    """Return whether a file is a system, integrator or state as OpenMM serializes it."""
    return bool(_XML.match(file.head_text))


def read_xml(file: RunFile) -> FileReading:
    """Return what the elements of a serialized system, integrator or state say in their attributes."""
    reading = FileReading(file.name, Part.INPUT, "OpenMM XML", "openmm")
    n_particles = 0
    with file.open_text() as lines:
        for line in lines:
            text = line.lstrip()
            if text.startswith("<Particle mass"):
                n_particles += 1
            elif text.startswith("<System "):
                reading.facts["engine_version"] = _attributes(text).get("openmmVersion")
            elif text.startswith("<Integrator "):
                _take_integrator(reading, _attributes(text))
            elif text.startswith("<Force ") and "Barostat" in text:
                _take_barostat(reading, _attributes(text))
            elif text.startswith("<Force ") and 'type="AndersenThermostat"' in text:
                _take_temperature(reading, _attributes(text).get("temperature"))
    if n_particles:
        reading.facts["n_atoms"] = n_particles
    reading.facts = {name: value for name, value in reading.facts.items() if value is not None}
    return reading


def _attributes(text: str) -> dict[str, str]:
    return dict(_ATTRIBUTE.findall(text))


def _take_integrator(reading: FileReading, attributes: dict[str, str]) -> None:
    step = number_in(attributes.get("stepSize", ""))
    if step:
        reading.facts["time_step"] = Measure(float(f"{1000 * step:.9g}"), "femtosecond")
    _take_temperature(reading, attributes.get("temperature"))
    kind = attributes.get("type", "")
    if kind:
        reading.metadata["integrator"] = kind
    if kind == "VerletIntegrator":
        reading.guesses["ensemble"] = "NVE", "a Verlet integrator"
    elif "temperature" in attributes:
        reading.guesses["ensemble"] = "NVT", f"a {kind} without a barostat"


def _take_barostat(reading: FileReading, attributes: dict[str, str]) -> None:
    pressure: Any = number_in(attributes.get("pressure", ""))
    if pressure is not None:
        reading.facts["pressure"] = Measure(pressure, "bar")
    if "Membrane" not in attributes.get("type", ""):
        reading.facts["ensemble"] = "NPT"
    _take_temperature(reading, attributes.get("temperature"))


def _take_temperature(reading: FileReading, text: str | None) -> None:
    number = number_in(text or "")
    if number:
        reading.facts["temperature"] = Measure(number, "kelvin")

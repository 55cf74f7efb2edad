"""What was understood of a run, in lines for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from simarchive.data import SimulationRun

_WIDTH = 80
_LABEL = 14
_PROGRAMS = {"openmm": "OpenMM", "gromacs": "GROMACS", "amber": "AMBER", "lammps": "LAMMPS", "namd": "NAMD"}
_MOST_NAMES = 6


def lines_of(
    run: SimulationRun, notes: Iterable[tuple[str, str]], unknown: list[str], n_files: int
) -> Iterator[str]:
    """Yield what is known of a run, what was guessed, and what was not read, in lines of 80 columns."""
    for label, text in _facts(run):
        if text:
            yield from _wrapped(label, text)
    for field, reason in (run.guesses or {}).items():
        yield from _wrapped("guessed", f"{field.replace('_', ' ')}, from {reason}")
    alike: dict[str, list[str]] = {}
    for file, text in notes:
        alike.setdefault(text, []).append(file)
    for text, files in alike.items():
        yield from _wrapped("note", f"{_names(files)}: {text}")
    if unknown:
        yield from _wrapped("not read", f"{_names(unknown)}: stored as {_it(unknown)}")
    yield from _wrapped("files", f"{n_files:,}")


def _it(unknown: list[str]) -> str:
    return "it is" if len(unknown) == 1 else "they are"


def summary(run: SimulationRun) -> str:
    """Return the most important facts of a run in one line."""
    program = _PROGRAMS.get(run.engine or "", run.engine)
    counts = (_count(run.n_atoms, "atom"), _count(run.n_frames, "frame"))
    return ", ".join(filter(None, (program, *counts, _state(run))))


def _count(number: int | None, what: str) -> str:
    return "" if number is None else f"{number:,} {what}{'' if number == 1 else 's'}"


def _facts(run: SimulationRun) -> Iterator[tuple[str, str]]:
    program = _PROGRAMS.get(run.engine or "", run.engine or "")
    yield "program", f"{program} {run.engine_version or ''}".strip()
    yield "system", _system(run)
    yield "state", _state(run)
    yield "time", _times(run)
    trajectories = [str(name) for name in run.trajectory_file_names or ()]
    if trajectories:
        interval = f", one each {_number(run.frame_interval)}" if run.frame_interval is not None else ""
        yield "trajectory", f"{_names(trajectories)}: {_count(run.n_frames, 'frame')}{interval}"
    yield "topology", str(run.topology_file_name or "")
    if run.observables:
        names = list(run.observables)
        n_samples = len(run.observables[names[0]])
        yield "observables", f"{_count(n_samples, 'sample')} of {_names(names)}"
    yield "tags", ", ".join(run.tags or ())
    yield "metadata", ", ".join(f"{name} = {_value(value)}" for name, value in (run.metadata or {}).items())


def _system(run: SimulationRun) -> str:
    counts = (
        _count(run.n_atoms, "atom"),
        _count(run.n_residues, "residue"),
        _count(run.number_of_molecules, "molecule"),
    )
    parts = list(filter(None, counts))
    kinds = [] if run.substance is None else [run.substance.identifier]
    if run.composition:
        ordered = sorted(run.composition.items(), key=lambda item: -item[1])
        kinds += [f"{name} {number:,}" for name, number in ordered[:_MOST_NAMES]]
        if len(ordered) > _MOST_NAMES:
            kinds[-1] += " and others"
    return "; ".join(filter(None, (", ".join(parts), ", ".join(kinds))))


def _state(run: SimulationRun) -> str:
    parts = [run.ensemble or ""]
    if run.temperature is not None:
        parts.append(_number(run.temperature))
    if run.pressure is not None:
        parts.append(_number(run.pressure))
    return " ".join(filter(None, parts))


def _times(run: SimulationRun) -> str:
    parts = []
    if run.length is not None:
        parts.append(f"{_number(run.length)} long")
    if run.time_step is not None:
        parts.append(f"time step {_number(run.time_step)}")
    return ", ".join(parts)


def _number(quantity: Any) -> str:
    return f"{quantity.magnitude:.6g} {quantity.units:~}"


def _value(value: Any) -> str:
    return _number(value) if hasattr(value, "units") else str(value)


def _names(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {label:<{_LABEL}}",
        subsequent_indent=" " * (_LABEL + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )

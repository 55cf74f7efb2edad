"""Thousands of small runs into one archive by one command, beside signac and a plain copy.

Run ``python benchmarks/many_runs.py [--runs 5000] [--directory DIR] [--signac PATH]``. Each run is a
directory with what OpenMM leaves of a small simulation: a structure, a DCD trajectory, and a CSV of energies,
no two alike. Each contender is a process of its own, which is timed, and whose peak of memory the system
tells. With several programs at work on the machine, CPU seconds say more than seconds.

signac knows nothing of simulation programs: it gets its state point handed over, and copies the files into a
job of its own. A plain copy is ``shutil.copytree``. Both leave one directory for each run, and cannot be
asked for a temperature that only the files say. ``--signac PATH`` names a directory with signac in it
(``pip install --target PATH signac``); without it signac is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RUNS, ATOMS, FRAMES = 5000, 60, 5

_COPY = """
import shutil, sys
from pathlib import Path
for source in sorted(Path(sys.argv[1]).iterdir()):
    shutil.copytree(source, Path(sys.argv[2]) / source.name)
"""
_SIGNAC = """
import shutil, sys
from pathlib import Path
import signac
project = signac.init_project(sys.argv[2])
for number, source in enumerate(sorted(Path(sys.argv[1]).iterdir())):
    job = project.open_job({"name": source.name, "temperature": 280.0 + number % 50}).init()
    for path in source.iterdir():
        shutil.copyfile(path, job.fn(path.name))
"""
_SIGNAC_QUERY = """
import sys
import signac
print(len(signac.get_project(sys.argv[2]).find_jobs({"temperature": 290.0})))
"""


def make_runs(place: Path, number: int) -> None:
    """Make directories of small runs, no two alike."""
    random = np.random.default_rng(2027)
    for index in range(number):
        directory = place / f"run-{index:05d}"
        directory.mkdir(parents=True)
        positions = random.normal(scale=6.0, size=(FRAMES, ATOMS, 3)).astype("<f4")
        (directory / "start.pdb").write_text(_pdb(positions[0]))
        (directory / "output.dcd").write_bytes(_dcd(positions))
        (directory / "output.csv").write_text(_energies(random, 280.0 + index % 50))


def _pdb(positions: np.ndarray) -> str:
    lines = ["CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1"]
    for number, (x, y, z) in enumerate(positions):
        name, residue = ("O", "H1", "H2")[number % 3], number // 3 + 1
        atom = f"ATOM  {number + 1:>5}  {name:<3} HOH A{residue:>4}    {x:8.3f}{y:8.3f}{z:8.3f}"
        lines.append(f"{atom}  1.00  0.00           {name[0]}")
    return "\n".join([*lines, "END\n"])


def _dcd(positions: np.ndarray) -> bytes:
    """Return a trajectory as CHARMM and OpenMM write it, a frame each 0.1 ps."""
    n_frames, n_atoms, _ = positions.shape
    header = np.zeros(20, "<i4")
    header[[0, 1, 2, 3, 10, 19]] = n_frames, 1, 50, n_frames * 50, 1, 24
    header[9] = np.frombuffer(np.float32(0.0409).tobytes(), "<i4")[0]
    cell = np.array([20.0, 90.0, 20.0, 90.0, 90.0, 20.0], "<f8").tobytes()
    records = [b"CORD" + header.tobytes(), np.int32(1).tobytes() + b"Created by OpenMM".ljust(80)]
    records.append(np.int32(n_atoms).tobytes())
    for frame in positions:
        records += [cell, *(np.ascontiguousarray(frame[:, axis]).tobytes() for axis in range(3))]
    return b"".join(len(r).to_bytes(4, "little") + r + len(r).to_bytes(4, "little") for r in records)


def _energies(random: np.random.Generator, temperature: float) -> str:
    names = ("Step", "Time (ps)", "Potential Energy (kJ/mole)", "Temperature (K)", "Density (g/mL)")
    lines = ["#" + ",".join(f'"{name}"' for name in names)]
    for frame in range(1, 11):
        noise = random.normal(size=3)
        values = frame * 50, frame * 0.1, -800 + 10 * noise[0], temperature + noise[1], 1.0 + 0.01 * noise[2]
        lines.append(",".join(map(str, values)))
    return "\n".join(lines) + "\n"


@dataclass
class Measured:
    """What a process took."""

    seconds: float
    cpu_s: float
    peak_mb: float
    said: str


def measured(command: list[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        output.seek(0)
        said = output.read().strip()
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed with exit code {process.returncode}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said)


def size_of(place: Path) -> tuple[float, int]:
    """Return the MB on disk and the number of files of a file or folder."""
    paths = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    return sum(path.stat().st_blocks * 512 for path in paths) / 1e6, len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--directory", type=Path, help="where to work; a temporary directory by default")
    parser.add_argument("--signac", type=Path, help="a directory with signac in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        _measure(Path(place), options.runs, options.signac)


def _measure(work: Path, number: int, signac: Path | None) -> None:
    runs, archive, copied, jobs = (work / name for name in ("runs", "lab.h5", "copied", "jobs"))
    make_runs(runs, number)
    n_bytes = sum(path.stat().st_size for path in runs.rglob("*") if path.is_file())
    print(f"{number:,} runs of 3 files, {n_bytes / number / 1e3:.1f} kB each")
    python, simarchive = [sys.executable, "-c"], [sys.executable, "-m", "simarchive"]
    directories = [str(path) for path in sorted(runs.iterdir())]
    for what in ("simarchive add", "simarchive add, again"):
        _report(what, measured([*simarchive, "add", str(archive), *directories]), number, archive)
    copied.mkdir()
    _report("plain copy", measured([*python, _COPY, str(runs), str(copied)]), number, copied)
    shutil.rmtree(copied)
    found = [measured([*simarchive, "query", str(archive), "class=run T=289.5..290.5K", "--count"])]
    if signac is not None:
        environment = {"PYTHONPATH": str(signac)}
        jobs.mkdir()
        _report("signac", measured([*python, _SIGNAC, str(runs), str(jobs)], environment), number, jobs)
        found.append(measured([*python, _SIGNAC_QUERY, "", str(jobs)], environment))
    for what, query in zip(("simarchive query", "signac find_jobs"), found, strict=False):
        print(f"{what:<24} {query.seconds:7.2f} s  CPU {query.cpu_s:6.2f} s  found {query.said}")


def _report(what: str, found: Measured, number: int, place: Path) -> None:
    megabytes, n_files = size_of(place)
    print(
        f"{what:<24} {found.seconds:7.1f} s {number / found.seconds:8.0f} runs/s  CPU {found.cpu_s:6.1f} s"
        f"  peak {found.peak_mb:5.0f} MB  on disk {megabytes:6.1f} MB in {n_files:,} files",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""Measure analyses of trajectories where they lie, beside the same of the plain file, all in one run.

For each kind of file: the RMSD of all frames (MDAnalysis, no superposition), and frames at random. Each
repeat runs the plain file and the members by turns, each in a process of its own that has everything imported
and the file in the system's memory; medians are over the repeats. Memory is what the process takes above its
imports at most, and `written` the bytes that the system wrote on its behalf.

    python benchmarks/in_place.py --size 512MiB --repeats 5 --files dcd netcdf trr xtc
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from trajectories import KINDS, make_trajectory, parse_size

from simarchive import HDF5Storage, TrainedModelData

CODECS = {"dcd": ("deflate", "zstd", "raw"), "netcdf": ("deflate",), "trr": ("deflate",), "xtc": ("deflate",)}
N_RANDOM = 200


def store(source: Path, container: Path, codec: str) -> None:
    """Store a file as the only one of an object."""
    folder = container.with_suffix(".files")
    folder.mkdir()
    os.link(source, folder / source.name)
    described = TrainedModelData(name="k1", framework="none", target_property="none", domain="benchmark")
    with HDF5Storage(container, codec=codec) as backend:
        backend.store_object(described, folder, storage_key="k1")
    shutil.rmtree(folder)


def written_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(name: str) -> dict[str, float]:
    """Analyse a file or a member, in this process."""
    import MDAnalysis
    import numpy as np
    from MDAnalysis.core._get_readers import get_reader_for

    import simarchive.interop.mdanalysis  # noqa: F401

    warnings.simplefilter("ignore")
    assert MDAnalysis is not None
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    memory, written, start = peak_bytes(), written_bytes(), time.perf_counter()
    reader = get_reader_for(name)(name)
    opened = time.perf_counter() - start
    reference = reader[0].positions.copy()
    total = 0.0
    cpu, start = cpu_seconds(), time.perf_counter()
    for ts in reader:
        difference = (ts.positions - reference).reshape(-1)
        total += float(np.sqrt(difference @ difference / len(reference)))
    wall, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    numbers = random.Random(1).sample(range(len(reader)), min(N_RANDOM, len(reader)))
    times = []
    for number in numbers:
        start = time.perf_counter()
        reader[number]
        times.append(time.perf_counter() - start)
    return {
        "open_ms": opened * 1e3,
        "wall_s": wall,
        "cpu_s": cpu,
        "random_ms": statistics.median(times) * 1e3,
        "memory_mb": (peak_bytes() - memory) / 1e6,
        "written": written_bytes() - written,
        "rmsd": total,
    }


def measured(name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def compare(kind: str, place: Path, size: int, repeats: int) -> None:
    plain = place / f"plain{KINDS[kind]}"
    make_trajectory(kind, plain, size)
    names = {"plain file": str(plain)}
    for codec in CODECS[kind]:
        store(plain, place / f"{codec}.h5", codec)
        names[codec] = f"{place / codec}.h5::k1/{plain.name}"
    measured(str(plain))  # MDAnalysis keeps the offsets of XTC and TRR from now on
    found: dict[str, list[dict[str, float]]] = {label: [] for label in names}
    for _ in range(repeats):
        for label, name in names.items():
            found[label].append(measured(name))
    print(f"\n{kind}: {plain.stat().st_size / 1e6:.0f} MB")
    print(
        "| | RMSD, s | x plain | CPU, s | x plain | frame at random, ms | open, ms | memory, MB | written |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    assert len({run["rmsd"] for runs in found.values() for run in runs}) == 1, "the results differ"

    def median(label: str, figure: str) -> float:
        return statistics.median(run[figure] for run in found[label])

    for label in names:
        walls = [run["wall_s"] for run in found[label]]
        cells = [
            f"{median(label, 'wall_s'):.2f} ({min(walls):.2f} to {max(walls):.2f})",
            f"{median(label, 'wall_s') / median('plain file', 'wall_s'):.2f}",
            f"{median(label, 'cpu_s'):.2f}",
            f"{median(label, 'cpu_s') / median('plain file', 'cpu_s'):.2f}",
            f"{median(label, 'random_ms'):.2f}",
            f"{median(label, 'open_ms'):.1f}",
            f"{median(label, 'memory_mb'):.0f}",
            f"{max(run['written'] for run in found[label]):.0f}",
        ]
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=parse_size, default=512 << 20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--files", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--directory", type=Path, help="where files are made; a temporary one by default")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    for kind in arguments.files:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as place:
            compare(kind, Path(place), arguments.size, arguments.repeats)


if __name__ == "__main__":
    main()

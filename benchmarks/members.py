"""Measure members beside cp, tar and zstd: speed, size, memory and latency, all in one run.

Within each repeat every contender runs once, one after the other, so that a slow minute of the machine hits
all of them; medians and ranges are over the repeats. Unsynced times end when the data is in the system's
memory, synced ones when it is on the disk, on both sides alike. Times of simarchive are those of its
functions, with digests, in a process that runs already.

    python benchmarks/members.py --size 512MiB --repeats 5 --files dcd netcdf trr xtc
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
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from trajectories import KINDS, make_trajectory, parse_size

from simarchive.container.container import Container
from simarchive.container.objects import StoredDocument
from simarchive.journal.files import SYSTEM, Files

GB = 1e9
FRAME_BYTES = 100_000
KEY = "k1"


class UnsyncedFiles(Files):
    """The operating system without a sync, for the times that end in the system's memory."""

    def begin_writeback(self, fd: int) -> None:
        """Do nothing."""

    def sync(self, fd: int) -> None:
        """Do nothing."""

    def sync_directory(self, path: str) -> None:
        """Do nothing."""


def store(source: Path, container: Path, codec: str, *, synced: bool = True) -> None:
    """Store one member through the journal, as `HDF5Storage.store_object` does, and close the container."""
    container.unlink(missing_ok=True)
    document = StoredDocument("Benchmark", 1, {}, has_ancillary_data=True, members={"member": source})
    files = SYSTEM if synced else UnsyncedFiles()
    with (
        closing(Container(container, writable=True, files=files)) as opened,
        opened.transaction() as contents,
    ):
        contents.write(KEY, document, codec=codec)


def extract(container: Path, destination: Path, *, synced: bool = False) -> None:
    """Extract the member, as `HDF5Storage.extract` does."""
    with closing(Container(container, writable=False)) as opened, opened.reading() as contents:
        contents.extract_member(KEY, "member", destination, sync=synced)


def shell(command: str) -> None:
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True)


def sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Contender:
    """Something that makes one file, run again and again; `times` and `cpu` are in seconds."""

    def __init__(self, label: str, output: Path, action: Callable[[bool], None]) -> None:
        self.label, self.output, self.action = label, output, action
        self.times: dict[bool, list[float]] = {False: [], True: []}
        self.cpu: list[float] = []

    def run(self, *, synced: bool) -> None:
        """Make the file anew and take the time."""
        self.output.unlink(missing_ok=True)
        # What others left to be written must not be written during, and at the expense of, this one.
        os.sync()
        cpu = cpu_seconds()
        start = time.perf_counter()
        self.action(synced)
        if synced:
            sync_file(self.output)
        self.times[synced].append(time.perf_counter() - start)
        if not synced:
            self.cpu.append(cpu_seconds() - cpu)

    def median(self, *, synced: bool = False) -> float:
        """Return the median time."""
        return statistics.median(self.times[synced])


def cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def contenders(source: Path, folder: Path, codecs: list[str]) -> list[Contender]:
    out, tarred = folder / "unpacked" / source.name, folder / "archive.tar.zst"
    out.parent.mkdir(exist_ok=True)
    copied = folder / "copied"
    found = [
        Contender("cp", copied, lambda _: shell(f"cp '{source}' '{copied}'")),
        Contender(
            "tar | zstd",
            tarred,
            lambda _: shell(f"tar c -C '{source.parent}' '{source.name}' | zstd -q -1 -T2 -o '{tarred}'"),
        ),
        Contender("zstd | tar", out, lambda _: shell(f"zstd -q -dc '{tarred}' | tar x -C '{out.parent}'")),
    ]
    for codec in codecs:
        container, extracted = folder / f"{codec}.h5", folder / f"{codec}.out"
        found += [
            Contender(
                f"store {codec}",
                container,
                lambda synced, c=container, k=codec: store(source, c, k, synced=synced),
            ),
            Contender(
                f"extract {codec}",
                extracted,
                lambda synced, c=container, e=extracted: extract(c, e, synced=synced),
            ),
        ]
    return found


def measure_speed(source: Path, folder: Path, codecs: list[str], repeats: int) -> list[dict[str, Any]]:
    runners = contenders(source, folder, codecs)
    for turn in range(repeats + 1):
        for synced in (False, True):
            for runner in runners:
                runner.run(synced=synced)
        if turn == 0:  # the first turn warms caches up
            for runner in runners:
                runner.times = {False: [], True: []}
                runner.cpu = []
    by_label = {runner.label: runner for runner in runners}
    size = source.stat().st_size
    rows = []
    for runner in runners:
        rival = by_label["tar | zstd" if runner.label.startswith("store") else "zstd | tar"]
        row: dict[str, Any] = {
            "what": runner.label,
            "cpu_s_per_gb": statistics.median(runner.cpu) / size * GB,
        }
        for synced in (False, True):
            times, name = runner.times[synced], "synced" if synced else "unsynced"
            row[name] = {
                "gb_per_s": size / GB / statistics.median(times),
                "range_gb_per_s": [size / GB / max(times), size / GB / min(times)],
                "times_tar_zstd_speed": rival.median(synced=synced) / runner.median(synced=synced),
                "times_cp_time": runner.median(synced=synced) / by_label["cp"].median(synced=synced),
            }
        rows.append(row)
    return rows


def measure_sizes(source: Path, folder: Path, codecs: list[str], sample_bytes: int) -> dict[str, float]:
    """Return how many times smaller each form is; zstd -19 is so slow that it gets the first bytes only."""
    size = source.stat().st_size
    ratios = {codec: size / (folder / f"{codec}.h5").stat().st_size for codec in codecs}
    ratios["zstd -1"] = size / (folder / "archive.tar.zst").stat().st_size
    if sample_bytes:
        packed = folder / "strongest.zst"
        shell(f"head -c {sample_bytes} '{source}' | zstd -q -19 -T2 -f -o '{packed}'")
        ratios["zstd -19"] = min(sample_bytes, size) / packed.stat().st_size
    return ratios


def measure_latency(container: Path, n_reads: int = 200) -> dict[str, float]:
    """Return the times in milliseconds of random reads of 100 KB, none from a chunk decoded before."""
    times = []
    choose = random.Random(0)
    with closing(Container(container, writable=False)) as opened, opened.reading() as contents:
        buffer = bytearray(FRAME_BYTES)
        for _ in range(n_reads):
            reader = contents.member_reader(KEY, "member")
            start = time.perf_counter()
            reader.read_at(buffer, choose.randrange(reader.size - FRAME_BYTES))
            times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    return {"median_ms": times[n_reads // 2], "p95_ms": times[n_reads * 95 // 100], "worst_ms": times[-1]}


def measure_memory(source: Path, folder: Path, codec: str) -> dict[str, float]:
    """Return the peak memory in MB of new processes that only import, that store, and that extract."""
    peaks = {}
    for what in ("import", "store", "extract"):
        command = [sys.executable, __file__, "--child", what, str(source), str(folder / "memory.h5"), codec]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[what] = float(done.stdout)
    return peaks


def run_child(what: str, source: Path, container: Path, codec: str) -> None:
    if what == "store":
        store(source, container, codec)
    elif what == "extract":
        extract(container, container.with_suffix(".out"))
        container.with_suffix(".out").unlink()
    # Not from getrusage, whose peak begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    print(int(status.split()[0]) / 1024)


def print_results(result: dict[str, Any]) -> None:
    print(f"\n{result['kind']}: {result['size'] / GB:.2f} GB")
    columns = f"{'GB/s (range)':>19} {'x tar z':>8} {'x cp t':>8}"
    print(f"{'unsynced, synced':20} {columns} | {columns} | CPU s/GB")
    for row in result["speed"]:
        cells = []
        for kind in ("unsynced", "synced"):
            values = row[kind]
            low, high = values["range_gb_per_s"]
            speed = f"{values['gb_per_s']:.2f} ({low:.2f}..{high:.2f})"
            cells.append(f"{speed:>19} {values['times_tar_zstd_speed']:8.2f} {values['times_cp_time']:8.2f}")
        print(f"{row['what']:20} {cells[0]} | {cells[1]} | {row['cpu_s_per_gb']:.2f}")
    print("times smaller:", ", ".join(f"{name} {ratio:.3f}" for name, ratio in result["ratios"].items()))
    print("random 100 KB:", ", ".join(f"{name} {value:.2f}" for name, value in result["latency"].items()))
    print("peak memory in MB:", ", ".join(f"{name} {value:.0f}" for name, value in result["memory"].items()))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        what, source, container, codec = sys.argv[2:]
        run_child(what, Path(source), Path(container), codec)
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=parse_size, default=512 << 20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--files", nargs="+", choices=KINDS, default=["dcd", "netcdf", "trr", "xtc"])
    parser.add_argument("--codecs", nargs="+", default=["deflate", "zstd", "trajectory", "raw"])
    parser.add_argument(
        "--memory-size", type=parse_size, help="also take the peak memory for a DCD of this size"
    )
    parser.add_argument(
        "--strongest-sample", type=parse_size, default=32 << 20, help="for zstd -19; 0: leave it out"
    )
    parser.add_argument("--directory", type=Path, help="where to work; the files made stay there")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    folder = arguments.directory or Path(tempfile.mkdtemp(prefix="members-benchmark-"))
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for kind in arguments.files:
            source = folder / f"{kind}-{arguments.size}{KINDS[kind]}"
            if not source.exists():
                make_trajectory(kind, source, arguments.size)
            result = {
                "kind": kind,
                "size": source.stat().st_size,
                "speed": measure_speed(source, folder, arguments.codecs, arguments.repeats),
                "ratios": measure_sizes(source, folder, arguments.codecs, arguments.strongest_sample),
                "latency": measure_latency(folder / f"{arguments.codecs[0]}.h5"),
                "memory": measure_memory(source, folder, arguments.codecs[0]),
            }
            print_results(result)
            results.append(result)
        if arguments.memory_size:
            source = folder / f"dcd-{arguments.memory_size}.dcd"
            make_trajectory("dcd", source, arguments.memory_size)
            peaks = measure_memory(source, folder, arguments.codecs[0])
            print(f"peak memory in MB for {arguments.memory_size / GB:.1f} GB:", peaks)
            results.append({"memory_size": arguments.memory_size, "memory": peaks})
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    finally:
        if arguments.directory is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

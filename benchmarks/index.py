"""Figures of the index table: bytes, inserts, and queries, at growing sizes.

Run ``python benchmarks/index.py [--sizes 1000,10000,100000] [--strategy page|fsm|none]``. Medians over
repeats, with the spread from the first to the third quartile; inserts are compared between sizes.
"""

from __future__ import annotations

import argparse
import gc
import io
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.ground.conditions import (
    Column,
    ColumnKind,
    Condition,
    Equals,
    Negated,
    Satisfies,
    Value,
    Within,
)

COLUMNS = (
    Column("substance", ColumnKind.CATEGORY),
    Column("thermodynamic_state", ColumnKind.CATEGORY),
    Column("temperature", ColumnKind.REAL),
    Column("pressure", ColumnKind.REAL),
    Column("property_phase", ColumnKind.INTEGER),
    Column("source_calculation_id", ColumnKind.IDENTIFIER),
    Column("force_field_id", ColumnKind.CATEGORY),
    Column("number_of_molecules", ColumnKind.INTEGER),
    Column("statistical_inefficiency", ColumnKind.REAL),
    Column("identity", ColumnKind.INTEGER),
    Column("version", ColumnKind.INTEGER),
)
STRATEGIES: dict[str, dict[str, Any]] = {
    "none": {},
    "page": {"fs_strategy": "page", "fs_persist": True, "fs_page_size": 4096},
    "fsm": {"fs_strategy": "fsm", "fs_persist": True, "fs_threshold": 1},
}


class CountingFile(io.FileIO):
    """A file that counts what h5py reads from it and writes to it."""

    read_bytes = read_calls = written_bytes = 0

    def readinto(self, buffer: Any) -> int:
        """Read and count."""
        self.read_bytes += len(buffer)
        self.read_calls += 1
        return super().readinto(buffer) or 0

    def write(self, data: Any) -> int:
        """Write and count."""
        self.written_bytes += len(data)
        return super().write(data) or 0


def rows(size: int, start: int = 0) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield rows as stored simulation data have them: ids are 32 hexadecimal digits."""
    chance = random.Random(start)
    substances = [f"C{'C' * (number % 40)}O{{solv}}{{x={number / 3000:.6f}}}" for number in range(3000)]
    force_fields = [f"{chance.getrandbits(128):032x}" for _ in range(5)]
    calculations = [f"{chance.getrandbits(128):032x}" for _ in range(max(size // 10, 1))]
    for _ in range(size):
        temperature = chance.choice(range(280, 340, 5)) + 0.15
        pressure = chance.choice([1.0, 101.325, 1000.0])
        yield (
            f"{chance.getrandbits(128):032x}",
            {
                "substance": chance.choice(substances),
                "thermodynamic_state": f"T={temperature} K, P={pressure} kPa",
                "temperature": temperature,
                "pressure": pressure,
                "property_phase": chance.choice([1, 2]),
                "source_calculation_id": chance.choice(calculations),
                "force_field_id": chance.choice(force_fields),
                "number_of_molecules": chance.choice([256, 1000, 2000, 4000]),
                "statistical_inefficiency": chance.uniform(1, 50),
                "identity": chance.getrandbits(64) - 2**63,
                "version": 1,
            },
        )


def opened(path: Path, mode: str, strategy: str = "none") -> tuple[CountingFile, h5py.File]:
    raw = CountingFile(path, {"w": "w+", "r+": "r+", "r": "r"}[mode])
    options = STRATEGIES[strategy] if mode == "w" else {}
    file = h5py.File(raw, mode, libver=("v110", "v110"), **options)
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = config.max_size = 1 << 20
    file.id.set_mdc_config(config)
    return raw, file


def report(label: str, seconds: list[float]) -> float:
    low, middle, high = statistics.quantiles([1e3 * value for value in seconds], n=4)
    print(f"  {label:<46} {middle:9.3f} ms   ({low:.3f} to {high:.3f})")
    return middle


def timed(action: Callable[[], object], repeats: int = 9) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_inserts(path: Path, size: int, count: int = 4000) -> float:
    new = list(rows(count, start=size + 1))
    raw, file = opened(path, "r+")
    table = IndexTable.open(file["index/data"])
    table.insert(*new[0])
    raw.written_bytes = 0
    start = time.perf_counter()
    for key, values in new[1:]:
        table.insert(key, values)
    table.flush()
    seconds = (time.perf_counter() - start) / (count - 1)
    file.flush()
    written = raw.written_bytes / (count - 1)
    print(f"  {'insert, one handle':<46} {1e6 * seconds:9.1f} us   {written / 1024:.2f} KiB written each")
    seconds_flushed = []
    raw.written_bytes = 0
    for key, values in rows(200, start=size + 2):
        start = time.perf_counter()
        table.insert(key, values)
        table.flush()
        file.flush()
        seconds_flushed.append(time.perf_counter() - start)
    print(
        f"  {'insert and flush':<46} {1e6 * statistics.median(seconds_flushed):9.1f} us   "
        f"{raw.written_bytes / 200 / 1024:.2f} KiB written each"
    )
    for key, values in new[1:]:
        table.replace(key, values)
    start = time.perf_counter()
    for key, _ in new[1:1001]:
        table.remove(key)
    table.flush()
    print(f"  {'remove, one handle':<46} {1e3 * (time.perf_counter() - start):9.1f} us")
    file.close()
    raw.close()
    return seconds


def measure_queries(path: Path, sample: dict[str, Value]) -> None:
    names = ("substance", "thermodynamic_state", "property_phase", "force_field_id")
    point = [Equals(name, value) for name in names if (value := sample[name]) is not None]
    wanted: dict[str, list[Condition]] = {
        "point query": list(point),
        "by calculation": [Equals("source_calculation_id", str(sample["source_calculation_id"]))],
        "by identity": [Equals("identity", int(sample["identity"] or 0))],
        "temperature from 290 to 310": [Within("temperature", 290, 310)],
        "substances with a test": [Satisfies("substance", lambda text: "CCCCCO" in text, "has CCCCCO")],
        "not phase 1": [Negated(Equals("property_phase", 1))],
    }

    def cold() -> None:
        raw, file = opened(path, "r")
        start = time.perf_counter()
        table = IndexTable.open(file["index/data"])
        opening.append(time.perf_counter() - start)
        opening_reads.append((raw.read_calls, raw.read_bytes))
        table.select(point)
        querying.append(time.perf_counter() - start)
        query_reads.append((raw.read_calls, raw.read_bytes))
        file.close()
        raw.close()

    opening: list[float] = []
    querying: list[float] = []
    opening_reads: list[tuple[int, int]] = []
    query_reads: list[tuple[int, int]] = []
    for _ in range(15):
        cold()
    report("open", opening)
    report("open + point query", querying)
    print(f"    calls and bytes read: open {opening_reads[0]}, with query {query_reads[0]}")
    raw, file = opened(path, "r")
    table = IndexTable.open(file["index/data"])
    for label, conditions in wanted.items():
        table.select(conditions, limit=10)
        report(
            f"{label}: select <= 10 of {table.count(conditions)}",
            timed(lambda conditions=conditions: table.select(conditions, limit=10)),
        )
    many: list[Condition] = [Equals("property_phase", 1), Within("temperature", 280, 290)]
    report(f"count of {table.count(many)}", timed(lambda: table.count(many)))
    report("keys of the same", timed(lambda: table.select(many)))
    names_all = [KEY_COLUMN, *(column.name for column in COLUMNS)]
    report("columns() of the same, all columns", timed(lambda: table.columns(names_all, many)))
    report("order_by, limit 10", timed(lambda: table.select(order_by="-statistical_inefficiency", limit=10)))
    keys = table.keys()
    key = keys[len(keys) // 3]
    table.row(key)
    report("row of a key", timed(lambda: table.row(key)))
    report("contains, absent key", timed(lambda: "0" * 32 in table))
    file.close()
    raw.close()


def measure_memory(path: Path) -> None:
    gc.collect()
    tracemalloc.start()
    raw, file = opened(path, "r")
    table = IndexTable.open(file["index/data"])
    table.columns([KEY_COLUMN, *(column.name for column in COLUMNS)])
    "0" * 32 in table  # noqa: B015
    "1" * 32 in table  # noqa: B015
    gc.collect()
    megabytes = tracemalloc.get_traced_memory()[0] / 2**20
    print(f"  {'memory with everything read':<46} {megabytes:9.1f} MiB")
    tracemalloc.stop()
    file.close()
    raw.close()


def measure(size: int, strategy: str, directory: Path) -> float:
    print(f"{size} rows, free space strategy {strategy}")
    path = directory / f"{size}.h5"
    content = list(rows(size))
    raw, file = opened(path, "w", strategy)
    table = IndexTable.create(file.create_group("index", track_order=True), "data", COLUMNS)
    start = time.perf_counter()
    table.insert_many(content)
    table.flush()
    seconds = time.perf_counter() - start
    file.close()
    raw.close()
    print(f"  {'insert_many':<46} {1e3 * seconds:9.1f} ms   {size / seconds:.0f} rows/s")
    print(f"  {'bytes per row after insert_many':<46} {path.stat().st_size / size:9.1f}")
    measure_queries(path, content[size // 2][1])
    measure_memory(path)
    seconds = measure_inserts(path, size)
    one_by_one(directory / "grown.h5", size, strategy, content)
    return seconds


def one_by_one(path: Path, size: int, strategy: str, content: list[tuple[str, dict[str, Value]]]) -> None:
    raw, file = opened(path, "w", strategy)
    table = IndexTable.create(file.create_group("index", track_order=True), "data", COLUMNS)
    start = time.perf_counter()
    for number, (key, values) in enumerate(content):
        table.insert(key, values)
        if number % 1000 == 999:
            table.flush()
            file.flush()
    table.flush()
    seconds = (time.perf_counter() - start) / size
    file.close()
    raw.close()
    grown = path.stat().st_size
    label = "insert one by one, flush every 1000"
    print(f"  {label:<46} {1e6 * seconds:9.1f} us   {grown / size:.1f} bytes per row")
    raw, file = opened(path, "r+")
    table = IndexTable.open(file["index/data"])
    for number in range(0, size, max(size // 2000, 1)):
        table.replace(content[number][0], content[-1 - number][1])
    table.flush()
    file.close()
    raw.close()
    print(f"  {'file after 2000 replacements':<46} {path.stat().st_size / size:9.1f} bytes per row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--strategy", choices=STRATEGIES, default="page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        sizes = [int(size) for size in arguments.sizes.split(",")]
        seconds = [measure(size, arguments.strategy, Path(directory)) for size in sizes]
    for size, value in zip(sizes[1:], seconds[1:], strict=True):
        print(f"insert at {size} rows: {value / seconds[0]:.2f} times that at {sizes[0]}")


if __name__ == "__main__":
    main()

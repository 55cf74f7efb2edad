"""How open, query and store grow with the number of objects, beside SQLite, PyTables and a plain scan.

Run ``python benchmarks/queries.py [--sizes 1000,10000,100000] [--rivals]``. The containers are built once, in
benchmarks/work. Figures are medians, with first and third quartile; sizes take turns within each figure, so
that ratios compare the same minutes. ``--rivals`` adds the comparison at the largest size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
from query_objects import N_SUBSTANCES, WORK, container, n_molecules, state, store, substance

from simarchive import Between, HDF5Storage, PropertyPhase, SimulationDataQuery, unit

Samples = dict[int, list[float]]
N_MOLECULES = 1300
RANGE = (280.0, 280.15)  # two temperatures, so 1,000 objects


def point_query(number: int) -> SimulationDataQuery:
    """Return a query that finds one object alone."""
    return SimulationDataQuery(
        substance=substance(number % N_SUBSTANCES),
        thermodynamic_state=state(number // N_SUBSTANCES),
        property_phase=PropertyPhase.Liquid,
    )


def many_query() -> SimulationDataQuery:
    """Return a query that a tenth of the objects match."""
    return SimulationDataQuery(number_of_molecules=N_MOLECULES)


def thousand_query() -> SimulationDataQuery:
    """Return a query that 1,000 objects match."""
    low, high = RANGE
    return SimulationDataQuery(temperature=Between(low * unit.kelvin, high * unit.kelvin))


# --- in a process of its own ------------------------------------------------------------------------


def child_open(path: str, number: int) -> dict[str, float]:
    """Open, ask for one object, and stop the clock; imports and the query are made before."""
    query = point_query(number)
    start = time.perf_counter()
    with HDF5Storage(path, mode="r") as backend:
        opened = time.perf_counter()
        (found,) = backend.query(query).values()
        done = time.perf_counter()
        assert len(found) == 1
    return {"seconds": done - start, "open": opened - start}


def child_memory(path: str, number: int) -> dict[str, float]:
    """Return the MB a process has before and after it opened a container and asked everything."""
    query = point_query(number)
    before = resident()
    with HDF5Storage(path, mode="r") as backend:
        backend.query(query)
        opened = resident()
        backend.count(many_query())
        backend.keys(many_query())
        backend.columns(SimulationDataQuery(), ["temperature", "statistical_inefficiency"])
        return {"before": before, "open": opened, "used": resident()}


def child_rival(name: str, size: int, number: int) -> dict[str, float]:
    """As `child_open`, for a rival."""
    import query_rivals

    kind = {"SQLite": query_rivals.SQLite, "PyTables": query_rivals.PyTables, "plain scan": query_rivals.Scan}
    identifier, kelvin = substance(number % N_SUBSTANCES).identifier, state(number // N_SUBSTANCES).kelvin
    start = time.perf_counter()
    rival = kind[name](size)
    assert len(rival.point(identifier, kelvin)) == 1
    return {"seconds": time.perf_counter() - start}


def resident() -> float:
    """Return the memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def in_new_process(function: str, *arguments: str | int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", json.dumps([function, *arguments])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


# --- measuring ------------------------------------------------------------------------------------------


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def report(label: str, samples: Samples, limit: str, unit_name: str = "ms", scale: float = 1e3) -> None:
    medians = {size: scale * statistics.median(values) for size, values in samples.items()}
    for size, values in samples.items():
        low, _, high = statistics.quantiles([scale * value for value in values], n=4)
        ratio = medians[size] / medians[min(medians)]
        print(
            f"{label:<46} {size:>7} {medians[size]:9.2f} {unit_name}"
            f"   ({low:.2f} to {high:.2f})   x {ratio:.2f}   {limit}",
            flush=True,
        )


def measure_opening(sizes: Sequence[int], repeats: int) -> None:
    opening: Samples = {size: [] for size in sizes}
    whole: Samples = {size: [] for size in sizes}
    for turn in range(repeats + 1):
        for size in sizes:
            answer = in_new_process("child_open", str(container(size)), 37 * turn % size)
            if turn:  # The first one warms the caches of the system.
                whole[size].append(answer["seconds"])
                opening[size].append(answer["open"])
    report("open, new process", opening, "")
    report("open + point query, new process", whole, "<= 20 ms, <= 2x")


def measure_warm(sizes: Sequence[int], repeats: int) -> None:
    backends = {size: HDF5Storage(container(size), mode="r") for size in sizes}
    many, thousand = many_query(), thousand_query()
    points: Samples = {size: [] for size in sizes}
    others: dict[str, tuple[str, Callable[[HDF5Storage], object]]] = {
        "count of a tenth": ("<= 100 ms", lambda backend: backend.count(many)),
        "keys of a tenth": ("", lambda backend: backend.keys(many)),
        "table of a tenth": ("<= 100 ms", lambda backend: backend.table(many)),
        "1,000 matches as objects": ("<= 500 ms", lambda backend: backend.query(thousand)),
    }
    for backend in backends.values():
        assert sum(map(len, backend.query(thousand).values())) == 1000
        backend.table(many)
    for turn in range(40):
        for size, backend in backends.items():
            query = point_query(101 * turn % size)
            points[size].append(timed(lambda backend=backend, query=query: backend.query(query)))  # type: ignore[misc]
    report("warm point query", points, "<= 2 ms")
    for label, (limit, action) in others.items():
        samples: Samples = {size: [] for size in sizes}
        for _ in range(repeats):
            for size, backend in backends.items():
                samples[size].append(timed(lambda action=action, backend=backend: action(backend)))  # type: ignore[misc]
        report(label, samples, limit)
    print("a tenth is", {size: backend.count(many) for size, backend in backends.items()})
    for backend in backends.values():
        backend.close()


class _RollBack(Exception):
    """Leaves a transaction, so that the container stays as large as it was."""


def measure_storing(sizes: Sequence[int], repeats: int, n_objects: int = 200) -> None:
    samples: Samples = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        copies = {size: Path(shutil.copy(container(size), Path(folder) / f"{size}.h5")) for size in sizes}
        files = Path(folder) / "files"
        files.mkdir()
        backends = {size: HDF5Storage(path, durability="close") for size, path in copies.items()}
        for turn in range(repeats + 1):
            for size, backend in backends.items():
                first = size + turn * n_objects
                try:
                    with backend.transaction():
                        seconds = list(store(backend, list(range(first, first + n_objects)), files))
                        raise _RollBack
                except _RollBack:
                    pass
                if turn:
                    samples[size].append(statistics.median(seconds))
        for backend in backends.values():
            backend.close()
    report("store one object inside a transaction", samples, "<= 1.3x")


def measure_index_bytes(sizes: Sequence[int]) -> None:
    for size in sizes:
        with tempfile.NamedTemporaryFile(suffix=".h5", dir=WORK) as copy, h5py.File(container(size)) as file:
            with h5py.File(copy.name, "w", libver=("v110", "v110")) as target:
                file.copy("index", target)
            whole = container(size).stat().st_size / size
            index = Path(copy.name).stat().st_size / size
            print(f"{'index bytes per object':<46} {size:>7} {index:9.1f} of {whole:.0f}   <= 120")


def measure_memory(sizes: Sequence[int]) -> None:
    for size in sizes:
        answer = in_new_process("child_memory", str(container(size)), 3)
        print(
            f"{'memory of a process with an open backend':<46} {size:>7} {answer['used']:9.1f} MB"
            f"   ({answer['before']:.0f} before, {answer['open']:.0f} after the first query)   <= 150"
        )


def compare(size: int, repeats: int) -> None:
    """Print our figures and those of the rivals, on the same objects, taking turns."""
    from query_rivals import PyTables, Rival, Scan, SQLite

    low, high = RANGE
    rivals: list[Rival] = [SQLite(size), PyTables(size), Scan(size)]
    backend = HDF5Storage(container(size), mode="r")
    thousand, many = thousand_query(), many_query()
    samples: dict[str, dict[str, list[float]]] = {}

    def note(column: str, name: str, seconds: float) -> None:
        samples.setdefault(column, {}).setdefault(name, []).append(seconds)

    assert all(rival.count(N_MOLECULES) == backend.count(many) for rival in rivals)
    assert len(backend.table(many)) == len(rivals[0].table(N_MOLECULES)) == len(rivals[1].table(N_MOLECULES))
    assert len(rivals[0].between(low, high)) == len(rivals[1].between(low, high)) == 1000
    for turn in range(repeats):
        number = 997 * turn % size
        query = point_query(number)
        identifier, kelvin = substance(number % N_SUBSTANCES).identifier, state(number // N_SUBSTANCES).kelvin
        answer = in_new_process("child_open", str(container(size)), number)
        note("open + point query", "simarchive", answer["seconds"])
        note("warm point query", "simarchive", timed(lambda query=query: backend.query(query)))  # type: ignore[misc]
        note("count", "simarchive", timed(lambda: backend.count(many)))
        note("table", "simarchive", timed(lambda: backend.table(many)))
        note("1,000 as objects", "simarchive", timed(lambda: backend.query(thousand)))
        for rival in rivals:
            if rival.name == "plain scan" and turn:
                continue
            if rival.name != "plain scan":
                answer = in_new_process("child_rival", rival.name, size, number)
                note("open + point query", rival.name, answer["seconds"])
            seconds = timed(lambda rival=rival: rival.point(identifier, kelvin))  # type: ignore[misc]
            note("warm point query", rival.name, seconds)
            note("count", rival.name, timed(lambda rival=rival: rival.count(N_MOLECULES)))  # type: ignore[misc]
            note("table", rival.name, timed(lambda rival=rival: rival.table(N_MOLECULES)))  # type: ignore[misc]
            note("1,000 as objects", rival.name, timed(lambda rival=rival: rival.between(low, high)))  # type: ignore[misc]
    sizes = {"simarchive": container(size).stat().st_size}
    for rival in rivals[:2]:
        path: Path = rival.path  # type: ignore[attr-defined]
        sizes[rival.name] = path.stat().st_size
        rival.close()
    backend.close()
    compare_storing(size, repeats, note)
    for column, by_name in samples.items():
        medians = {name: 1e3 * statistics.median(values) for name, values in by_name.items()}
        winner = min(medians, key=lambda name: medians[name])
        figures = "   ".join(f"{name} {value:.2f}" for name, value in medians.items())
        print(f"{column:<28} ms   {figures}   winner: {winner}")
    print("bytes per object            ", {name: round(value / size) for name, value in sizes.items()})


def compare_storing(size: int, repeats: int, note: Callable[[str, str, float], None]) -> None:
    from query_rivals import PyTables, SQLite

    n_objects = 200
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        files = Path(folder) / "files"
        files.mkdir()
        backend = HDF5Storage(shutil.copy(container(size), f"{folder}/ours.h5"))
        rivals = [
            SQLite(size, Path(shutil.copy(WORK / f"{size}.sqlite", folder))),
            PyTables(size, Path(shutil.copy(WORK / f"{size}.tables.h5", folder))),
        ]
        for turn in range(repeats):
            numbers = list(range(size + turn * n_objects, size + (turn + 1) * n_objects))
            seconds = timed(lambda numbers=numbers: list(store(backend, numbers, files)))  # type: ignore[misc]
            note("store one of 200, committed", "simarchive", seconds / n_objects)
            for rival in rivals:
                seconds = timed(lambda rival=rival, numbers=numbers: rival.store(numbers))  # type: ignore[misc]
                note("store one of 200, committed", rival.name, seconds / n_objects)
        backend.close()
        for rival in rivals:
            rival.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rivals", action="store_true", help="compare at the largest size, too")
    parser.add_argument("--only", choices=["opening", "warm", "storing", "bytes", "memory", "none"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        function, *values = json.loads(arguments.child)
        print(json.dumps(globals()[function](*values)))
        return
    sizes = [int(size) for size in arguments.sizes.split(",")]
    for size in sizes:
        container(size)
    assert n_molecules(21) == N_MOLECULES
    parts: dict[str, Callable[[], Any]] = {
        "opening": lambda: measure_opening(sizes, arguments.repeats),
        "warm": lambda: measure_warm(sizes, arguments.repeats),
        "storing": lambda: measure_storing(sizes, arguments.repeats),
        "bytes": lambda: measure_index_bytes(sizes),
        "memory": lambda: measure_memory(sizes),
    }
    print("load of the machine:", os.getloadavg())
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()
    if arguments.rivals:
        compare(max(sizes), arguments.repeats)
    print("load of the machine:", os.getloadavg())


if __name__ == "__main__":
    main()

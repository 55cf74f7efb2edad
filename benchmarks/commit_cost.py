"""What a durable commit costs: ours beside SQLite's, and 1,000 objects at once beside plain h5py.

Run ``python benchmarks/commit_cost.py [--directory DIR] [--rounds 60] [--objects 1000] [--repeats 5]``. Every
round does each thing once, one after the other, on the same disk; ratios are taken within a round, and the
median is given with the first and third quartile.

The plain h5py of the second part gets names and values ready to be written, and does nothing but write
them: no JSON, no digest, no look for duplicates. `write_objects_plainly` gets the same objects as we do,
makes their JSON and a digest, and tracks the order of links as netCDF-4 asks; it still looks for no
duplicate, reads nothing back, keeps no index and commits nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from simarchive import ForceFieldData, HDF5Storage, SmirnoffForceFieldSource
from simarchive.container.container import Container
from simarchive.container.new_file import LIBVER
from simarchive.container.objects import StoredDocument

DOCUMENT_BYTES = 2000
CODEC = "deflate"


@dataclass
class Contender:
    """Something that makes one small change durable."""

    name: str
    commit: Callable[[int], None]
    unsynced: Path | None = None  #: a file that is synced after each change, so that nobody else pays for it


def text(number: int) -> str:
    return f"{number:08d}" + "x" * (DOCUMENT_BYTES - 8)


def force_field(number: int) -> ForceFieldData:
    return ForceFieldData(force_field_source=SmirnoffForceFieldSource(text(number)))


@contextlib.contextmanager
def contenders(directory: Path) -> Iterator[list[Contender]]:
    with contextlib.ExitStack() as stack:
        found = [_sqlite(stack, directory, mode) for mode in ("WAL", "DELETE")]
        container = stack.enter_context(contextlib.closing(Container(directory / "bare.h5", writable=True)))
        document = StoredDocument("Note", 1, {"text": text(0)})
        with container.transaction() as contents:
            contents.write("0", document, codec=CODEC)

        def change_attribute(number: int) -> None:
            with container.transaction() as contents:
                attribute = contents.root["objects"]["0"].attrs.get_id("document")
                changed = np.array(f'{{"text":"{text(number)}"}}'.encode())
                attribute.write(changed, mtype=attribute.get_type())

        def write_document(number: int) -> None:
            with container.transaction() as contents:
                contents.write(
                    f"{number:032x}", StoredDocument("Note", 1, {"text": text(number)}), codec=CODEC
                )

        found.append(Contender("transaction, one attribute", change_attribute))
        found.append(Contender("transaction, one document", write_document))
        for durability in ("commit", "close"):
            backend = stack.enter_context(HDF5Storage(directory / f"{durability}.h5", durability=durability))
            found.append(
                Contender(
                    f"store_object, durability={durability}",
                    lambda number, backend=backend: backend.store_object(force_field(number)),
                    None if durability == "commit" else directory / f"{durability}.h5-wal",
                )
            )
        yield found


def _sqlite(stack: contextlib.ExitStack, directory: Path, mode: str) -> Contender:
    database = stack.enter_context(
        contextlib.closing(sqlite3.connect(directory / f"{mode}.db", isolation_level=None))
    )
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE objects (key TEXT PRIMARY KEY, document TEXT)")

    def commit(number: int) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO objects VALUES (?, ?)", (f"{number:032x}", text(number)))
        database.execute("COMMIT")

    return Contender(f"SQLite {mode}", commit)


def _spread(values: list[float], scale: float = 1.0, unit: str = "") -> str:
    low, middle, high = (scale * value for value in statistics.quantiles(values, n=4))
    return f"{middle:8.2f}{unit} ({low:.2f} to {high:.2f})"


def small_commits(directory: Path, rounds: int) -> None:
    print(f"one change of {DOCUMENT_BYTES} bytes, durable; {rounds} rounds")
    with contenders(directory) as found:
        times: dict[str, list[float]] = {contender.name: [] for contender in found}
        for number in range(-5, rounds):
            turn = number % len(found)
            for contender in found[turn:] + found[:turn]:
                start = time.perf_counter()
                contender.commit(number + 6)
                if number >= 0:
                    times[contender.name].append(time.perf_counter() - start)
                if contender.unsynced is not None:
                    with contender.unsynced.open("rb") as file:
                        os.fsync(file.fileno())
    for name, values in times.items():
        ratios = [
            f"{_spread([a / b for a, b in zip(values, times[f'SQLite {mode}'], strict=True)])} x {mode}"
            for mode in ("WAL", "DELETE")
        ]
        print(f"  {name:32s}{_spread(values, 1000, ' ms')}  {'  '.join(ratios)}")


def _contents_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the groups of a container in order, with their attributes."""
    groups: list[tuple[str, dict[str, Any]]] = []
    with h5py.File(path, "r") as file:

        def note(name: str, node: h5py.HLObject) -> None:
            attributes = {key: (node.attrs[key], node.attrs.get_id(key).dtype) for key in node.attrs}
            groups.append(
                (name, {"attributes": attributes, "data": node[()] if hasattr(node, "dtype") else None})
            )

        file.visititems(note)
    return groups


def write_plainly(path: Path, groups: list[tuple[str, dict[str, Any]]]) -> None:
    """Write the same groups, datasets and attributes with h5py and nothing else."""
    with h5py.File(path, "w", libver=LIBVER, track_order=True) as file:
        for name, content in groups:
            data = content["data"]
            node = file.create_group(name) if data is None else file.create_dataset(name, data=data)
            for key, (value, dtype) in content["attributes"].items():
                node.attrs.create(key, value, dtype=dtype)


def write_objects_plainly(path: Path, objects: list[ForceFieldData]) -> None:
    """Write objects as a careful user of h5py would: JSON and digest of each, and our attributes."""
    with h5py.File(path, "w", libver=LIBVER, track_order=True) as file:
        for number, stored in enumerate(objects):
            tree = stored.to_document()
            text = json.dumps(tree, ensure_ascii=False, allow_nan=False).encode()
            canonical = json.dumps(tree, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()
            texts = {
                "data_class": type(stored).data_class_name.encode(),
                "identity": hashlib.sha256(canonical).hexdigest().encode(),
                "stored_at": datetime.now(UTC).isoformat(timespec="seconds").encode(),
                "document": text,
            }
            group = file.create_group(f"objects/{number:032x}", track_order=True)
            for name, value in texts.items():
                group.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value)))
            group.attrs.create("data_class_version", np.int64(1))
            group.attrs.create("has_ancillary_data", np.int8(0))


def many_at_once(directory: Path, count: int, repeats: int) -> None:
    """Time `count` objects in one transaction, and h5py writing what they became in the file."""
    documents = [
        StoredDocument("Note", 1, {"text": text(number), "series": np.arange(60.0) + number})
        for number in range(count)
    ]
    force_fields = [force_field(number) for number in range(count)]

    def through_container(path: Path) -> None:
        with (
            contextlib.closing(Container(path, writable=True)) as container,
            container.transaction() as contents,
        ):
            for number, document in enumerate(documents):
                contents.write(f"{number:032x}", document, codec=CODEC)

    def through_storage(path: Path) -> None:
        with HDF5Storage(path) as backend, backend.transaction():
            for stored in force_fields:
                backend.store_object(stored)

    print(f"{count} objects in one transaction, with opening and closing; {repeats} repeats")
    for name, store in (
        ("Container.transaction", through_container),
        ("HDF5Storage.transaction", through_storage),
    ):
        ours, plain, careful = [], [], []
        for repeat in range(repeats):
            path = directory / f"{name}{repeat}.h5"
            ours.append(_seconds(lambda path=path: store(path)))
            groups = _contents_of(path)
            plain.append(_seconds(lambda: write_plainly(directory / f"plain {name}{repeat}.h5", groups)))
            if store is through_storage:
                place = directory / f"careful {repeat}.h5"
                careful.append(_seconds(lambda place=place: write_objects_plainly(place, force_fields)))
        ratios = [a / b for a, b in zip(ours, plain, strict=True)]
        print(
            f"  {name:32s}{_spread(ours, 1, ' s')}  {_spread(ratios)} x plain h5py, {_spread(plain, 1, ' s')}"
        )
        if careful:
            ratios = [a / b for a, b in zip(ours, careful, strict=True)]
            print(f"  {'':45s}{_spread(ratios)} x h5py with JSON and digests, {_spread(careful, 1, ' s')}")


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="commit_cost-") as directory:
        small_commits(Path(directory), options.rounds)
        many_at_once(Path(directory), options.objects, options.repeats)


if __name__ == "__main__":
    main()

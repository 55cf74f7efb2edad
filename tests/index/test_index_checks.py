"""A table of which any bit is another gives the answers that it gave, or says that it is damaged."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from early_tables import forget_checks

from simarchive.container.index import IndexTable
from simarchive.container.index.segments import Shape
from simarchive.container.index.table import KEY_COLUMN
from simarchive.errors import CorruptError
from simarchive.ground.conditions import Column, ColumnKind, Equals, Within

LIBVER = ("v110", "v110")
COLUMNS = (
    Column("count", ColumnKind.INTEGER),
    Column("size", ColumnKind.REAL),
    Column("phase", ColumnKind.CATEGORY),
    Column("calculation", ColumnKind.IDENTIFIER),
)
N_ROWS = 40
FLIPS = int(os.environ.get("SIMARCHIVE_INDEX_FLIPS", "500"))


def row(number: int) -> dict[str, Any]:
    return {
        "count": None if number % 7 == 3 else number * 3,
        "size": None if number % 5 == 1 else number / 8,
        "phase": f"phase {number % 4}",
        "calculation": None if number % 6 == 2 else f"run {number}",
    }


def made(path: Path) -> None:
    """Make a table with segments of several rows, one of which has lost some, and a tail."""
    with h5py.File(path, "w", libver=LIBVER) as file:
        table = IndexTable.create(file, "table", COLUMNS, shape=Shape(tail_rows=4, fan=3, levels=2))
        for number in range(N_ROWS):
            table.insert(f"{number:032x}", row(number))
            table.flush()
        for number in (3, 17, 20):
            table.remove(f"{number:032x}")
        table.replace(f"{9:032x}", row(900))
        table.flush()
        assert any(name.startswith("segment") for name in file["table"])
        assert len(table._rows._tail) > 0


def answers(path: Path) -> str:
    with h5py.File(path, "r") as file:
        table = IndexTable.open(file["table"])
        found = {
            "rows": table.rows(),
            "columns": {
                name: list(values)
                for name, values in table.columns([KEY_COLUMN, "size", "phase"], order_by="-size").items()
            },
            "near": table.select([Within("size", 1.0, 3.0)], order_by="count"),
            "of a phase": table.select([Equals("phase", "phase 1")]),
            "of a run": table.select([Equals("calculation", "run 30")]),
            "missing": table.count([Equals("calculation", "run 2")]),
            "keys": table.keys(),
            "there": [f"{number:032x}" in table for number in range(N_ROWS + 3)],
            "version": [table.class_version, sorted(table.left_out), str(table.columns_spec)],
        }
    return json.dumps(found, default=float)


def test_a_flipped_bit_changes_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "index.h5"
    made(path)
    content, sound = path.read_bytes(), answers(path)
    rng = random.Random(1)
    places = [byte for byte in range(len(content)) if content[byte]]
    chosen = places if len(places) <= FLIPS else rng.sample(places, FLIPS)
    damaged = 0
    for place in chosen:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            assert answers(path) == sound, place
        except (CorruptError, OSError, KeyError, RuntimeError):
            damaged += 1  # or HDF5 itself does not open the file, or the group of the table
    assert damaged > len(chosen) // 25


def test_a_table_without_checks_gives_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "index.h5"
    made(path)
    sound = answers(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        forget_checks(file["table"])
    assert answers(path) == sound
    # Whoever changes it gives it checks where he writes.
    with h5py.File(path, "r+", libver=LIBVER) as file:
        table = IndexTable.open(file["table"])
        table.remove(f"{5:032x}")
        table.insert("later", row(5))
        table.flush()
    with h5py.File(path, "r") as file:
        assert "later" in IndexTable.open(file["table"])


@pytest.mark.parametrize("place", ["segment", "vocabulary"])
def test_a_wrong_check_is_damage(tmp_path: Path, place: str) -> None:
    path = tmp_path / "index.h5"
    made(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for name in file["table"]:
            if name.startswith(place):
                pairs = file["table"][name].attrs["_checks"]
                file["table"][name].attrs.modify("_checks", np.roll(pairs, 1))
    with pytest.raises(CorruptError, match="does not match its check"):
        answers(path)

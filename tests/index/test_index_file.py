"""What an index table is on disk: readable by other programs, bounded, and honest about damage."""

from __future__ import annotations

import io
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
from early_tables import forget_checks
from programs import path_of

from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.container.index.segments import Shape
from simarchive.errors import CorruptError, FormatError
from simarchive.ground.conditions import Column, ColumnKind, Equals, Satisfies

COLUMNS = (
    Column("count", ColumnKind.INTEGER),
    Column("size", ColumnKind.REAL),
    Column("phase", ColumnKind.CATEGORY),
    Column("calculation", ColumnKind.IDENTIFIER),
)
LIBVER = ("v110", "v110")


def row(number: int) -> dict[str, Any]:
    return {
        "count": None if number % 7 == 0 else number * 1000,
        "size": number / 3,
        "phase": f"phase \N{SNOWMAN} {number % 11}",
        "calculation": f"{number:032x}" if number < 500 else f"calculation {number}",
    }


def fill(file: h5py.File, size: int = 1000, shape: Shape = Shape()) -> IndexTable:  # noqa: B008
    table = IndexTable.create(file, "table", COLUMNS, shape=shape)
    table.insert_many((f"{number:032x}", row(number)) for number in range(size))
    for number in range(size, size + 100):
        table.insert(f"key {number}", row(number))
    for number in range(0, size, 10):
        table.remove(f"{number:032x}")
    table.flush()
    return table


@pytest.mark.parametrize("program", ["h5dump", "ncdump"])
def test_other_programs_read_a_file_with_tables(tmp_path, program):
    path = tmp_path / "index.nc"
    with h5py.File(path, "w", libver=LIBVER, track_order=True) as file:
        fill(file)
    option = "-A" if program == "h5dump" else "-h"
    shown = subprocess.run(
        [path_of(program), option, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stderr == ""
    assert "segment_00000" in shown.stdout
    assert "calculation" in shown.stdout


def test_netcdf4_reads_every_attribute_of_a_table(tmp_path):
    path = tmp_path / "index.nc"
    with h5py.File(path, "w", libver=LIBVER, track_order=True) as file:
        fill(file)
    names = 0
    with h5py.File(path) as plain, netCDF4.Dataset(path) as data:
        for group in (data["table"], *data["table"].groups.values()):
            expected = plain[group.path].attrs
            assert sorted(group.ncattrs()) == sorted(expected)
            for name in group.ncattrs():
                names += 1
                value = expected[name]
                if isinstance(value, np.bytes_):
                    assert group.getncattr(name) == value.decode()
                else:
                    assert np.array_equal(np.atleast_1d(group.getncattr(name)), value)
    assert names > 20


def test_netcdf4_appends_to_a_file_with_tables(tmp_path):
    path = tmp_path / "index.nc"
    with h5py.File(path, "w", libver=LIBVER, track_order=True) as file:
        fill(file)
    with netCDF4.Dataset(path, "a") as data:
        data.createGroup("mine").note = "kept"
    with h5py.File(path, "r+", libver=LIBVER) as file:
        table = IndexTable.open(file["table"])
        table.insert("after", row(3))
        table.flush()
        assert len(IndexTable.open(file["table"])) == 1001


def test_the_creation_order_of_attributes_is_not_tracked(tmp_path):
    with h5py.File(tmp_path / "index.h5", "w", libver=LIBVER, track_order=True) as file:
        fill(file)
        groups = [file["table"], *file["table"].values()]
        assert [group.id.get_create_plist().get_attr_creation_order() for group in groups] == [0] * len(
            groups
        )
        assert all(group.id.get_create_plist().get_link_creation_order() for group in groups)


def test_a_row_replaced_forever_takes_no_more_room(tmp_path):
    path = tmp_path / "index.h5"
    shape = Shape(tail_rows=8, fan=4, levels=2, spare_texts=20)
    with h5py.File(path, "w", libver=LIBVER, fs_strategy="page", fs_persist=True) as file:
        fill(file, 100, shape)
    sizes = []
    for start in range(10):
        with h5py.File(path, "r+", libver=LIBVER) as file:
            table = IndexTable.open(file["table"], shape=shape)
            for number in range(150):
                key = f"{1 + number % 9:032x}"
                values = {"phase": f"text {start} {number}", "calculation": f"id {start} {number}"}
                table.replace(key, values)
                table.flush()
                assert table.row(key)["phase"] == values["phase"]
            assert len(table) == 190
            pieces = sum(name.startswith("vocabulary") for name in file["table"])
            assert pieces < 12
        sizes.append(path.stat().st_size)
    assert max(sizes[5:]) <= 1.15 * max(sizes[:5])


def test_removing_all_rows_leaves_no_segment(tmp_path):
    with h5py.File(tmp_path / "index.h5", "w", libver=LIBVER) as file:
        table = fill(file, 300)
        keys = table.keys()
        for key in keys:
            table.remove(key)
        assert len(table) == 0
        assert table.select([Equals("count", 1000)]) == []
        assert not [name for name in file["table"] if name.startswith("segment")]
        table.insert("again", row(1))
        table.flush()
        assert IndexTable.open(file["table"]).keys() == ["again"]


class CountingFile(io.FileIO):
    reads = 0
    bytes_read = 0

    def readinto(self, buffer: Any) -> int:
        self.reads += 1
        self.bytes_read += len(buffer)
        return super().readinto(buffer) or 0


def bytes_of_opening(path: Path, size: int) -> int:
    with h5py.File(path, "w", libver=LIBVER) as file:
        table = IndexTable.create(file, "table", COLUMNS)
        table.insert_many((f"{n:032x}", row(n)) for n in range(size))
        table.flush()
    with CountingFile(path) as raw, h5py.File(raw, "r") as file:
        before = raw.bytes_read
        table = IndexTable.open(file["table"])
        opening = raw.bytes_read - before
        assert table.count([Equals("phase", row(3)["phase"])]) > size // 20
        assert raw.bytes_read - before > opening
    return opening


def test_opening_reads_nothing_that_grows_with_the_rows(tmp_path):
    small = bytes_of_opening(tmp_path / "small.h5", 1000)
    large = bytes_of_opening(tmp_path / "large.h5", 100_000)
    assert large <= small + 2048


def damaged(path: Path, change: Callable[[h5py.Group], None]) -> None:
    with h5py.File(path, "w", libver=LIBVER) as file:
        fill(file)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        forget_checks(file["table"])
        change(file["table"])


def use_everything(path: Path) -> None:
    with h5py.File(path, "r") as file:
        table = IndexTable.open(file["table"])
        table.count([Satisfies("phase", lambda text: "9" in text, "has a 9"), Equals("calculation", "x")])
        table.columns([KEY_COLUMN, *(column.name for column in COLUMNS)], order_by="phase")
        assert "absent" not in table


def segment(table: h5py.Group) -> h5py.Group:
    return table[next(name for name in table if name.startswith("segment"))]


def vocabulary(table: h5py.Group) -> h5py.Group:
    return table[next(name for name in table if name.startswith("vocabulary"))]


def remove(find: Callable[[h5py.Group], h5py.Group], name: str) -> Callable[[h5py.Group], None]:
    return lambda table: find(table).attrs.__delitem__(name)


def put(find: Callable[[h5py.Group], h5py.Group], name: str, value: Any) -> Callable[[h5py.Group], None]:
    return lambda table: find(table).attrs.__setitem__(name, value)


def itself(table: h5py.Group) -> h5py.Group:
    return table


def cut_key(table: h5py.Group) -> None:
    segment(table).attrs["_key"] = segment(table).attrs["_key"][:-1]


@pytest.mark.parametrize(
    "change",
    [
        *(remove(itself, name) for name in ("table", "tail", "segments", "summaries")),
        *(remove(segment, name) for name in ("_key", "_dead", "count", "count._missing", "size", "phase")),
        remove(segment, "calculation"),
        *(remove(vocabulary, name) for name in ("texts", "texts._lengths", "texts._texts")),
        lambda table: table.__delitem__(segment(table).name),
        lambda table: table.__delitem__(vocabulary(table).name),
        put(itself, "table", np.bytes_(b"{")),
        put(itself, "table", np.bytes_(b"[1]")),
        put(itself, "table", np.bytes_(b'{"format":1,"columns":{"a":"kind"}}')),
        put(itself, "table", 3),
        put(itself, "tail", np.bytes_(b"[0]")),
        put(itself, "tail", np.bytes_(b'[5,5]\n[1,"a"]')),
        put(itself, "tail", np.bytes_(b'[5,5]\n[1,"a",1,1.5,99,"x"]')),
        put(itself, "tail", np.bytes_(b'[5,5]\n[9,"a",1,1.5,null,"x"]')),
        put(itself, "tail", np.bytes_(b'[5,5]\n[1,"a",1,1.5,null,3]')),
        put(itself, "tail", np.bytes_(b"[" * 5000)),
        put(itself, "table", np.bytes_(b'{"format":1,"columns":{"phase":"category"}}')),
        put(itself, "table", np.bytes_(b'{"format":1,"columns":{},"vocabularies":[]}')),
        put(
            itself,
            "table",
            np.bytes_(b'{"format":1,"columns":{"phase":"category"},"vocabularies":{"phase":[[0,0]]}}'),
        ),
        put(itself, "segments", np.arange(5)),
        put(itself, "segments", np.arange(4)),
        put(itself, "segments", np.zeros((2, 5), np.int64)),
        put(itself, "summaries", np.zeros(2)),
        put(itself, "summaries", np.full(2000, np.nan)),
        put(segment, "count", np.zeros(3, np.int8)),
        put(segment, "size", np.zeros(1000, np.int8)),
        put(segment, "phase", np.full(1000, 100, np.int8)),
        put(segment, "phase", "text"),
        put(segment, "_dead", np.zeros(125, np.uint8)),
        put(vocabulary, "texts._lengths", np.full(11, 200, np.uint8)),
        put(vocabulary, "texts._texts", np.full(143, 255, np.uint8)),
        cut_key,
    ],
)
def test_a_damaged_table_says_that_it_can_be_rebuilt(tmp_path, change):
    path = tmp_path / "index.h5"
    damaged(path, change)
    with pytest.raises(CorruptError, match="rebuild the index"):
        use_everything(path)


def test_an_undamaged_table_passes_the_same_use(tmp_path):
    path = tmp_path / "index.h5"
    damaged(path, lambda table: None)
    use_everything(path)


def test_a_table_of_another_format_is_refused(tmp_path):
    path = tmp_path / "index.h5"
    spec = np.bytes_(json.dumps({"format": 2, "columns": {}}).encode())
    damaged(path, put(itself, "table", spec))
    with h5py.File(path) as file, pytest.raises(FormatError, match="format 2; this version reads 1"):
        IndexTable.open(file["table"])


def test_a_file_changed_in_many_sessions_can_always_be_closed(tmp_path):
    # HDF5 2.0 cannot close a file in whose attribute heap, once reopened, some were removed and others made.
    path = tmp_path / "index.h5"
    for seed in range(12):
        chance = random.Random(seed)
        shape = chance.choice([Shape(tail_rows=3, fan=2, levels=2), Shape(tail_rows=8, fan=2, levels=0)])
        with h5py.File(path, "w", libver=LIBVER) as file:
            IndexTable.create(file, "table", COLUMNS, shape=shape)
        for _ in range(6):
            with h5py.File(path, "r+", libver=LIBVER) as file:
                table = IndexTable.open(file["table"], shape=shape)
                for _ in range(12):
                    key = f"key {chance.randrange(14)}"
                    if key not in table:
                        table.insert(key, row(chance.randrange(1000)))
                    elif chance.random() < 0.5:
                        table.remove(key)
                    else:
                        table.replace(key, row(chance.randrange(1000)))
                    if chance.random() < 0.8:
                        table.flush()
                table.flush()


def test_what_was_not_flushed_is_not_in_the_file(tmp_path):
    with h5py.File(tmp_path / "index.h5", "w", libver=LIBVER) as file:
        table = fill(file, 100)
        table.insert("late", row(1))
        table.remove(f"{1:032x}")
        assert "late" in table
        assert f"{1:032x}" not in table
        assert "late" not in IndexTable.open(file["table"])
        table.flush()
        opened = IndexTable.open(file["table"])
        assert "late" in opened
        assert opened.keys() == table.keys()


def test_rows_inserted_one_by_one_before_a_flush_become_few_segments(tmp_path):
    with h5py.File(tmp_path / "index.h5", "w", libver=LIBVER) as file:
        table = IndexTable.create(file, "table", COLUMNS)
        for number in range(2000):
            table.insert(f"{number:032x}", row(number))
        table.flush()
        assert sum(name.startswith("segment") for name in file["table"]) <= 4
        assert IndexTable.open(file["table"]).keys() == table.keys()

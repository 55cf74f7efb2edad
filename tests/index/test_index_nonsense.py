"""Tables at the bounds of their room, and tables whose parts contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from early_tables import forget_checks

from simarchive.container.index import IndexTable
from simarchive.container.index.texts import word_of
from simarchive.errors import CorruptError
from simarchive.ground.conditions import Column, ColumnKind, Equals

LIBVER = ("v110", "v110")
COLUMNS = (Column("count", ColumnKind.INTEGER), Column("phase", ColumnKind.CATEGORY))


def row(number: int) -> dict[str, Any]:
    return {"count": number, "phase": f"phase {number % 4}"}


def test_rows_that_just_fit_into_the_tail_are_whole(tmp_path: Path) -> None:
    # Rows and counters share the tail: wherever its end lies, no row may be cut.
    path, n_in_tail = tmp_path / "index.h5", 0
    for left in range(-2, 60):
        expected = {f"key-{number}": {"count": number, "phase": None} for number in range(3)}
        with h5py.File(path, "w", libver=LIBVER) as file:
            table = IndexTable.create(file, "table", COLUMNS)
            for key, values in expected.items():
                table.insert(key, values)
            tail = table._rows._tail
            key = "k" * (tail._text.size - tail._bytes - len('[3,"",3,null]') - 1 - left)
            expected[key] = {"count": 3, "phase": None}
            table.insert(key, expected[key])
            table.flush()
            n_in_tail += key in tail
        with h5py.File(path, "r") as file:
            assert IndexTable.open(file["table"]).rows() == expected, left
    assert 0 < n_in_tail < 62


def made(path: Path) -> None:
    with h5py.File(path, "w", libver=LIBVER) as file:
        table = IndexTable.create(file, "table", COLUMNS)
        table.insert_many((f"{number:032x}", row(number)) for number in range(100))
        table.flush()
        forget_checks(file["table"])


def vocabulary(table: h5py.Group) -> h5py.Group:
    return table[next(name for name in table if name.startswith("vocabulary"))]


def repeat_a_text(table: h5py.Group) -> None:
    """Have the second text be the first, with the first one's word: each is what it says."""
    attributes = vocabulary(table).attrs
    words, texts = attributes["texts"], attributes["texts._texts"]
    words[1] = words[0]
    length = len("phase 0")
    texts[length : 2 * length] = texts[:length]
    attributes["texts"], attributes["texts._texts"] = words, texts


def exchange_words(table: h5py.Group) -> None:
    attributes = vocabulary(table).attrs
    words = attributes["texts"]
    words[:2] = words[1::-1]
    attributes["texts"] = words


def change_a_text(table: h5py.Group) -> None:
    """Have phase 0 be phase 9, with the word that it has then: no check of the vocabulary can tell."""
    attributes = vocabulary(table).attrs
    words, texts = attributes["texts"], attributes["texts._texts"]
    texts[texts == ord("0")] = ord("9")
    words[words == word_of("phase 0")] = word_of("phase 9")
    attributes["texts"], attributes["texts._texts"] = words, texts


@pytest.mark.parametrize("change", [repeat_a_text, exchange_words])
def test_a_vocabulary_that_contradicts_itself_is_found(
    tmp_path: Path, change: Callable[[h5py.Group], None]
) -> None:
    path = tmp_path / "index.h5"
    made(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        IndexTable.open(file["table"]).check()
        change(file["table"])
    with h5py.File(path, "r") as file, pytest.raises(CorruptError, match="vocabulary"):
        IndexTable.open(file["table"]).check()


def test_a_sound_vocabulary_passes(tmp_path: Path) -> None:
    # So that the checks above look at what was changed, and at nothing else.
    path = tmp_path / "index.h5"
    made(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        change_a_text(file["table"])
    with h5py.File(path, "r") as file:
        table = IndexTable.open(file["table"])
        table.check()
        assert table.count([Equals("phase", "phase 9")]) == 25
        assert table.count([Equals("phase", "phase 0")]) == 0


@pytest.mark.parametrize(
    "line",
    [
        b'[105,5]\n[105,"a",1,null]',  # a sequence number that was not given yet
        b'[105,5]\n[-1,"a",1,null]',
        b"[105,5]\n[101,7,1,null]",
        b'[105,5]\n[101,"a",1,4]',  # a code that no text has
        b'[105,5]\n[101,"a",1,-1]',
        b'[105,5]\n[101,"a",1,null]\n[102,"a",1,null]',
        b'[105,5]\n[101,"a",1,null,null]',
        b'[105,5]\n[101,"a",1.5,null]',
        b'[105,5]\n[101,"a",9223372036854775808,null]',
        b'[105]\n[101,"a",1,null]',
    ],
)
def test_a_tail_that_makes_no_sense_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "index.h5"
    made(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        size = file["table"].attrs.get_id("tail").get_storage_size()
        file["table"].attrs.modify("tail", np.array(line.ljust(size, b"\0"), f"S{size}"))
    with h5py.File(path, "r") as file, pytest.raises(CorruptError, match="newest rows"):
        IndexTable.open(file["table"]).count([Equals("count", 1)])


def test_a_tail_at_its_bounds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.h5"
    made(path)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        size = file["table"].attrs.get_id("tail").get_storage_size()
        line = b'[105,5]\n[104,"a",9223372036854775807,3]\n[100,"b",0,0]'
        file["table"].attrs.modify("tail", np.array(line.ljust(size, b"\0"), f"S{size}"))
    with h5py.File(path, "r") as file:
        rows = IndexTable.open(file["table"]).rows()
        assert (rows["a"]["count"], rows["b"]["count"]) == (2**63 - 1, 0)
        assert {rows["a"]["phase"], rows["b"]["phase"]} < {f"phase {number}" for number in range(4)}

"""What one index table promises: values, errors, order, and how often it asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.container.index.segments import Shape
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError
from simarchive.ground.conditions import Column, ColumnKind, Equals, Negated, OneOf, Or, Satisfies, Within

COLUMNS = (
    Column("count", ColumnKind.INTEGER),
    Column("size", ColumnKind.REAL),
    Column("phase", ColumnKind.CATEGORY),
    Column("calculation", ColumnKind.IDENTIFIER),
)
SMALL = Shape(tail_rows=4, fan=2, levels=2)
Reopen = Callable[[], IndexTable]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[IndexTable, Reopen]]:
    path = tmp_path / "index.h5"
    files = [h5py.File(path, "w", libver=("v110", "v110"), track_order=True)]
    table = IndexTable.create(files[0], "table", COLUMNS, shape=SMALL)
    tables = [table]

    def reopen() -> IndexTable:
        tables[0].flush()
        files[0].close()
        files[0] = h5py.File(path, "r+", libver=("v110", "v110"))
        tables[0] = IndexTable.open(files[0]["table"], shape=SMALL)
        return tables[0]

    yield table, reopen
    files[0].close()


@pytest.mark.parametrize("others", [0, 3, 20])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("count", 2**63 - 1),
        ("count", -(2**63)),
        ("size", math.inf),
        ("size", -math.inf),
        ("size", -0.0),
        ("size", 5e-324),
        ("phase", ""),
        ("phase", "nul\0 and\nnewline \N{SNOWMAN}"),
        ("phase", "x" * 100_000),
        ("calculation", ""),
        ("calculation", "y" * 100_000),
        ("calculation", "0123456789abcdef" * 2),
        ("calculation", "0123456789ABCDEF" * 2),
    ],
)
def test_an_edge_value_comes_back_exactly_and_is_found(store, column, value, others):
    table, reopen = store
    for number in range(others):
        table.insert(f"other {number}", {"count": number, "size": 0.5, "phase": "p", "calculation": "c"})
    table.insert("wanted", {column: value})
    table.insert("missing", {})
    for opened in (table, reopen()):
        found = opened.row("wanted")[column]
        assert repr(found) == repr(value)
        assert opened.select([Equals(column, value)]) == ["wanted"]
        assert "missing" in opened.select([Negated(Equals(column, value))])
        assert "missing" not in opened.select([OneOf.of(column, [value])])


def test_nan_is_missing(store):
    table, _ = store
    table.insert("a", {"size": math.nan})
    table.insert_many([(f"b{n}", {"size": math.nan}) for n in range(9)])
    assert table.row("a")["size"] is None
    assert table.count([Within("size")]) == 0
    assert table.count([Negated(Equals("size", math.nan))]) == 10


@pytest.mark.parametrize("key", ["k" * 200, "ключ", "0" * 31, "0" * 33, "F" * 32, "f" * 32, " ", "a'b\"c"])
def test_any_text_can_be_a_key(store, key):
    table, reopen = store
    table.insert(key, {"count": 1})
    table.insert_many([(f"{n:032x}", {"count": n}) for n in range(20)])
    for opened in (table, reopen()):
        assert key in opened
        assert opened.keys()[0] == key
        assert opened.row(key)["count"] == 1


@pytest.mark.parametrize("key", ["", "\ud800", 3, None])
def test_a_key_that_is_no_text_is_refused(store, key):
    table, _ = store
    with pytest.raises(InvalidDataError):
        table.insert(key, {})
    assert len(table) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"count": 2**63},
        {"count": 1.5},
        {"count": "1"},
        {"size": "1.5"},
        {"size": 10**400},
        {"phase": 3},
        {"phase": b"text"},
        {"calculation": "\ud800"},
        {"unknown": 1},
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(store, values):
    table, _ = store
    table.insert("old", {"count": 7})
    for action in (
        lambda: table.insert("new", values),
        lambda: table.replace("old", values),
        lambda: table.insert_many([(f"many {n}", values) for n in range(300)]),
    ):
        with pytest.raises(InvalidDataError, match=next(iter(values))):
            action()
    assert table.keys() == ["old"]
    assert table.row("old")["count"] == 7


def test_numpy_and_boolean_values_become_plain_ones(store):
    table, _ = store
    table.insert("a", {"count": np.int32(3), "size": np.float32(0.5), "phase": np.str_("p")})
    table.insert_many([(f"b{n}", {"count": True, "size": 2, "calculation": np.str_("c")}) for n in range(9)])
    assert list(map(type, table.row("a").values())) == [int, float, str, type(None)]
    assert table.row("b5") == {"count": 1, "size": 2.0, "phase": None, "calculation": "c"}


@pytest.mark.parametrize("rows", [2, 30])
def test_a_key_cannot_be_inserted_twice(store, rows):
    table, _ = store
    table.insert_many([(f"{n}", {}) for n in range(rows)])
    with pytest.raises(ConflictError, match="'1'"):
        table.insert("1", {})
    with pytest.raises(ConflictError):
        table.insert_many([(f"new {n}", {}) for n in range(12)] + [("1", {})])
    with pytest.raises(ConflictError):
        table.insert_many([(f"new {n}", {}) for n in range(12)] + [("new 3", {})])
    assert len(table) == rows


def test_an_absent_key_is_not_found(store):
    table, _ = store
    table.insert("a", {})
    for action in (table.remove, table.row, lambda key: table.replace(key, {})):
        with pytest.raises(NotFoundError, match="absent"):
            action("absent")
    assert "absent" not in table
    assert 3 not in table


def test_a_removed_key_can_be_inserted_again_at_the_end(store):
    table, _ = store
    table.insert_many([(f"{n}", {}) for n in range(30)])
    table.remove("4")
    assert "4" not in table
    table.insert("4", {"count": 4})
    assert table.keys() == [f"{n}" for n in range(30) if n != 4] + ["4"]


def test_a_replaced_row_keeps_its_place(store):
    table, reopen = store
    table.insert_many([(f"{n}", {"count": n}) for n in range(30)])
    for number in (3, 17, 3, 29):
        table.replace(f"{number}", {"count": 100 + number})
    for opened in (table, reopen()):
        assert opened.keys() == [f"{n}" for n in range(30)]
        assert opened.row("3")["count"] == 103


@pytest.mark.parametrize("replaced", [(0,), (2, 0, 9), tuple(range(9, -1, -1))])
def test_a_table_whose_rows_were_replaced_passes_its_check(store, replaced):
    table, reopen = store
    for number in range(10):
        table.insert(f"k{number}", {"count": number})
        table.check()
    for number in replaced:
        table.replace(f"k{number}", {"count": -number})
        table.check()
    reopened = reopen()
    reopened.check()
    assert reopened.keys() == [f"k{number}" for number in range(10)]


def test_texts_of_equal_words_are_told_apart(store, monkeypatch):
    for module in ("texts", "rows", "predicates", "vocabulary"):
        monkeypatch.setattr(f"simarchive.container.index.{module}.word_of", lambda text: 1)
    table, _ = store
    table.insert_many([(f"key {n}", {"phase": f"p{n}", "calculation": f"c{n}"}) for n in range(40)])
    assert table.row("key 7")["phase"] == "p7"
    assert table.select([Equals("calculation", "c9")]) == ["key 9"]
    assert table.select([Equals("phase", "p11")]) == ["key 11"]
    assert table.count([OneOf.of("calculation", [f"c{n}" for n in range(12)])]) == 12


def test_a_test_is_called_once_for_each_text_of_a_category(store):
    table, reopen = store
    table.insert_many([(f"{n}", {"phase": f"p{n % 5}"}) for n in range(200)])
    table = reopen()
    table.insert("last", {"phase": "p0"})
    calls: list[str] = []
    condition = Satisfies("phase", lambda text: bool(calls.append(text)) or text > "p2", "after p2")
    assert table.count([condition]) == 80
    assert sorted(calls) == [f"p{n}" for n in range(5)]


def test_a_condition_on_an_unknown_column_is_refused(store):
    table, _ = store
    for action in (
        lambda: table.select([Equals("nothing", 1)]),
        lambda: table.select(order_by="-nothing"),
        lambda: table.columns(["nothing"]),
    ):
        with pytest.raises(InvalidDataError, match="'nothing'"):
            action()
    with pytest.raises(InvalidDataError, match="limit"):
        table.select(limit=-1)


def test_columns_have_the_types_of_a_data_frame(store):
    table, _ = store
    table.insert_many([(f"{n}", {"count": n, "size": n / 2, "phase": "p"}) for n in range(50)])
    columns = table.columns([KEY_COLUMN, "count", "size", "phase", "calculation"], [Within("count", 10, 19)])
    assert columns[KEY_COLUMN] == [f"{n}" for n in range(10, 20)]
    assert columns["count"].dtype == np.int64
    assert columns["size"].dtype == np.float64
    assert columns["phase"] == ["p"] * 10
    assert columns["calculation"] == [None] * 10
    table.replace("10", {"count": 2**53 + 1})
    table.replace("11", {"phase": "q"})
    columns = table.columns(["count", "size"], [OneOf.of("phase", ["q"])])
    assert columns["count"] == [None]
    assert math.isnan(columns["size"][0])
    empty = table.columns(["count", "size", "phase"], [Equals("phase", "none such")])
    assert [len(values) for values in empty.values()] == [0, 0, 0]


def test_explain_says_what_was_pruned_and_what_remains(store):
    table, reopen = store
    table.insert_many([(f"{n}", {"count": n, "phase": "liquid" if n % 2 else "gas"}) for n in range(80)])
    reports = reopen().explain([Within("count", 70, None), Equals("phase", "gas")])
    assert [report.column for report in reports] == ["phase", "count"]
    assert [report.reading for report in reports] == ["is 'gas'", "is at least 70"]
    assert [report.remaining for report in reports] == [40, 5]
    assert reports[0].pruned == 0
    assert reports[1].pruned == reports[1].segments - 1 > 0


def test_an_or_reads_only_segments_in_which_a_choice_can_hold(store):
    table, reopen = store
    table.insert_many([(f"{n}", {"count": n, "size": 0.5}) for n in range(80)])
    table = reopen()
    ends = Or((Within("count", None, 1), Equals("count", 79)))
    (report,) = table.explain([ends])
    assert report.reading == "is at most 1 or is 79"
    assert report.remaining == 3
    assert report.pruned == report.segments - 2 > 0
    assert table.select([ends]) == ["0", "1", "79"]
    assert table.select([Negated(ends), Within("count", 77, None)]) == ["77", "78"]


def test_an_or_is_about_one_column_and_has_choices():
    for choices in ((Equals("count", 1), Equals("size", 1)), ()):
        with pytest.raises(InvalidDataError, match="one column"):
            Or(choices)


@pytest.mark.parametrize(
    "impossible",
    [Equals("count", "text"), Within("phase", 1, 2), Equals("phase", "nowhere"), OneOf.of("count", [])],
)
def test_a_choice_that_never_holds_leaves_the_others(store, impossible):
    table, reopen = store
    table.insert_many([(f"{n}", {"count": n % 3, "phase": "ab"[n % 2]}) for n in range(30)])
    other = Equals(impossible.column, {"count": 1, "phase": "a"}[impossible.column])
    for opened in (table, reopen()):
        assert opened.select([Or((impossible, other))]) == opened.select([other]) != []
        assert opened.select([Negated(Or((impossible, other)))]) == opened.select([Negated(other)])
        assert opened.select([Or((Negated(Negated(impossible)), other))]) == opened.select([other])
        assert opened.select([Or((impossible, impossible))]) == []
        assert opened.count([Or((impossible, Negated(impossible)))]) == 30


def test_a_column_is_read_only_if_the_query_needs_it(store):
    table, reopen = store
    table.insert_many([(f"{n}", {"count": n, "phase": "p"}) for n in range(16)])
    table = reopen()
    group = next(iter(table._rows._segments))._group  # the file's own bytes say what was read
    for name in ("size", "calculation"):
        group.write(name, np.zeros(3))  # would be refused if it were read
    assert table.select([Equals("phase", "p"), Within("count", 3, 4)]) == ["3", "4"]


@pytest.mark.parametrize("name", ["", "_hidden", "a b", "a/b", "1st", "a."])
def test_a_column_is_named_like_a_variable(store, tmp_path, name):
    with (
        h5py.File(tmp_path / "names.h5", "w") as file,
        pytest.raises(InvalidDataError, match="named like a Python variable"),
    ):
        IndexTable.create(file, "table", [Column(name, ColumnKind.INTEGER)])


def test_names_of_tables_and_columns_are_unique(tmp_path):
    column = Column("a", ColumnKind.INTEGER)
    with h5py.File(tmp_path / "names.h5", "w") as file:
        with pytest.raises(InvalidDataError, match="two columns"):
            IndexTable.create(file, "table", [column, Column("a", ColumnKind.REAL)])
        IndexTable.create(file, "table", [column])
        with pytest.raises(ConflictError, match="'table'"):
            IndexTable.create(file, "table", [column])


def test_a_table_without_columns_knows_its_keys(tmp_path):
    with h5py.File(tmp_path / "bare.h5", "w", libver=("v110", "v110")) as file:
        table = IndexTable.create(file, "table", [], shape=SMALL)
        for number in range(40):
            table.insert(f"{number}", {})
        table.flush()
        assert IndexTable.open(file["table"]).keys() == [f"{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("column", "values"), [("count", [-1, 2**63 - 1, 7]), ("calculation", ["c1", "0" * 32, "\N{SNOWMAN}"])]
)
def test_what_was_missed_again_and_again_is_found_once_it_is_there(store, column, values):
    table, reopen = store
    for number in range(10):
        table.insert(f"first {number}", {column: values[0]})
    for _ in range(4):
        assert table.select([Equals(column, values[1])]) == []
        assert "new" not in table
    table.insert("new", {column: values[1]})
    for turn in range(2):
        for _ in range(4):
            assert table.select([Equals(column, values[1])]) == ["new"]
            assert table.count([Equals(column, values[2])]) == 0
        table.replace("new", {column: values[2]})
        assert table.select([Equals(column, values[2])]) == ["new"]
        assert table.count([Equals(column, values[1])]) == 0
        table.insert_many((f"{number} in turn {turn}", {column: values[1]}) for number in range(300))
        assert table.count([Equals(column, values[1])]) == 300
        for key in table.select([Equals(column, values[1])]):
            table.remove(key)
        table.replace("new", {column: values[1]})
        table = reopen()


def test_a_question_missed_often_is_answered_without_looking_at_segments(store, monkeypatch):
    table, _ = store
    table.insert_many((f"{number}", {"count": 2 * number}) for number in range(100))
    for _ in range(2):
        assert table.count([Equals("count", 3)]) == 0
    monkeypatch.setattr(table._rows, "row_sets", lambda: pytest.fail("looked at"))
    assert table.count([Equals("count", 5)]) == 0
    assert table.select([Equals("phase", "gas"), Equals("count", 7)]) == []


def test_each_column_that_can_rule_a_question_out_is_known(store, monkeypatch):
    table, _ = store
    table.insert_many((f"{number}", {"count": 1, "calculation": f"c{number}"}) for number in range(100))
    for number in range(2):
        assert table.count([Equals("count", 1), Equals("calculation", f"d{number}")]) == 0
    monkeypatch.setattr(table._rows, "row_sets", lambda: pytest.fail("looked at"))
    assert table.count([Equals("count", 1), Equals("calculation", "d2")]) == 0

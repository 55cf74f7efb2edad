"""Any sequence of changes and queries answers as a plain dict does, before and after reopening."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.container.index.segments import Shape
from simarchive.ground.conditions import Column, ColumnKind, Equals, Negated, OneOf, Or, Satisfies, Within

COLUMNS = (
    Column("count", ColumnKind.INTEGER),
    Column("size", ColumnKind.REAL),
    Column("phase", ColumnKind.CATEGORY),
    Column("calculation.id", ColumnKind.IDENTIFIER),
)
HEX = [f"{number:032x}" for number in (0, 1, 2, 2**64, 2**64 + 1, 2**128 - 1)]
keys = st.sampled_from([*HEX, "a", "k" * 200, "schlüssel", "F" * 32, *[f"key {n}" for n in range(12)]])
integers = st.sampled_from([0, 1, -1, 127, 128, -129, 70000, 2**53 + 1, 2**63 - 1, -(2**63)])
reals = st.sampled_from([0.0, -0.0, 1.5, 298.15, -1e300, math.inf, -math.inf, math.nan, 5e-324, 2.0**53])
texts = st.sampled_from(["", "O", "CCO", "a\nb", "nul\0", "über", "\N{SNOWMAN}", "x" * 700, HEX[1]])
rows = st.fixed_dictionaries(
    {},
    optional={
        "count": st.none() | integers,
        "size": st.none() | reals,
        "phase": st.none() | texts,
        "calculation.id": st.none() | texts | st.sampled_from(HEX),
    },
)
numbers = integers | reals | st.sampled_from([0.5, 10**400, -(10**400), 2**63, True])
operands = numbers | texts | st.sampled_from([*HEX, "\ud800"])
names = st.sampled_from([column.name for column in COLUMNS])


def conditions_on(name: str) -> st.SearchStrategy[Any]:
    column = st.just(name)
    plain = st.one_of(
        st.builds(Equals, column, operands),
        st.builds(lambda name, values: OneOf.of(name, values), column, st.lists(operands, max_size=12)),
        st.builds(Within, column, st.none() | numbers, st.none() | numbers),
        st.builds(Satisfies, column, st.just(lambda text: "C" in text or len(text) == 32), st.just("has C")),
    )
    return st.recursive(
        plain,
        lambda inner: (
            st.builds(Negated, inner)
            | st.lists(inner, min_size=1, max_size=3).map(lambda some: Or(tuple(some)))
        ),
        max_leaves=4,
    )


conditions = st.lists(names.flatmap(conditions_on), max_size=3)
shapes = st.sampled_from(
    [
        Shape(tail_rows=3, fan=2, levels=2, spare_texts=0),
        Shape(tail_rows=1, fan=3, levels=1, spare_texts=2),
        Shape(tail_rows=4, tail_bytes=300, fan=2, levels=3),
        Shape(tail_rows=8, fan=2, levels=0),
        Shape(),
    ]
)


def normalised(row: dict[str, Any]) -> dict[str, Any]:
    full = {column.name: row.get(column.name) for column in COLUMNS}
    if full["size"] is not None:
        full["size"] = None if math.isnan(full["size"]) else float(full["size"])
    return full


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, np.ndarray):
        found = [None if value != value else value for value in found.tolist()]
    return repr(list(found)) == repr(list(expected))  # repr tells -0.0 from 0.0 and 1 from 1.0


class IndexAgainstDict(RuleBasedStateMachine):
    @initialize(shape=shapes)
    def create(self, shape: Shape) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "index.h5"
        self.shape = shape
        self.file = h5py.File(self.path, "w", libver=("v110", "v110"), track_order=True)
        self.table = IndexTable.create(self.file, "table", COLUMNS, shape=shape)
        self.model: dict[str, dict[str, Any]] = {}

    @rule(key=keys, row=rows, is_new=st.booleans())
    def insert_or_replace(self, key: str, row: dict[str, Any], is_new: bool) -> None:
        if key in self.model:
            self.table.replace(key, row)
        else:
            self.table.insert(key, row, is_new=is_new)
        self.model[key] = normalised(row)

    @rule(many=st.dictionaries(keys, rows))
    def insert_many(self, many: dict[str, dict[str, Any]]) -> None:
        new = {key: row for key, row in many.items() if key not in self.model}
        self.table.insert_many(new.items())
        self.model.update({key: normalised(row) for key, row in new.items()})

    @rule(key=keys)
    def remove(self, key: str) -> None:
        if key in self.model:
            self.table.remove(key)
            del self.model[key]
        assert key not in self.table

    @rule(data=st.data())
    def remove_several(self, data: st.DataObject) -> None:
        some = st.lists(st.sampled_from(sorted(self.model)), unique=True) if self.model else st.just([])
        for key in data.draw(some):
            self.table.remove(key)
            del self.model[key]

    @rule()
    def flush(self) -> None:
        self.table.flush()

    @rule()
    def reopen(self) -> None:
        self.table.flush()
        self.file.close()
        self.file = h5py.File(self.path, "r+", libver=("v110", "v110"))
        self.table = IndexTable.open(self.file["table"], shape=self.shape)
        assert self.table.columns_spec == COLUMNS

    @rule(key=keys)
    def look_up(self, key: str) -> None:
        assert (key in self.table) == (key in self.model)
        if key in self.model:
            assert same(self.table.row(key).items(), self.model[key].items())

    @rule(
        wanted=conditions,
        order_by=st.none() | names | names.map("-{}".format),
        limit=st.none() | st.integers(0, 12),
    )
    def query(self, wanted: list[Any], order_by: str | None, limit: int | None) -> None:
        found = [
            key
            for key, row in self.model.items()
            if all(condition.matches(row[condition.column]) for condition in wanted)
        ]
        assert self.table.count(wanted) == len(found)
        reports = self.table.explain(wanted)
        assert len(reports) == len(wanted)
        assert not reports or reports[-1].remaining == len(found)
        if order_by is not None:
            name = order_by.removeprefix("-")
            missing = [key for key in found if self.model[key][name] is None]
            present = [key for key in found if self.model[key][name] is not None]
            # Python's sort keeps the order of equals when reversed, too.
            present.sort(key=lambda key: self.model[key][name], reverse=order_by.startswith("-"))
            found = present + missing
        found = found[:limit]
        assert self.table.select(wanted, order_by=order_by, limit=limit) == found
        asked = [KEY_COLUMN, *(column.name for column in COLUMNS)]
        columns = self.table.columns(asked, wanted, order_by=order_by, limit=limit)
        assert columns[KEY_COLUMN] == found
        for column in COLUMNS:
            assert same(columns[column.name], [self.model[key][column.name] for key in found])

    @invariant()
    def same_size_and_order(self) -> None:
        if hasattr(self, "model"):
            assert len(self.table) == len(self.model)
            assert self.table.keys() == list(self.model)

    def teardown(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
            self.directory.cleanup()


IndexAgainstDict.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestIndexAgainstDict = IndexAgainstDict.TestCase

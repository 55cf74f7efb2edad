"""Whatever was stored, replaced, removed, rolled back, repacked or rebuilt: the index answers as a full scan.

Small by default; ``SIMARCHIVE_FUZZ=20`` runs twenty times as many examples.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import h5py
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from simarchive import (
    AnyOf,
    Between,
    Component,
    EquilibrationDataQuery,
    HDF5Storage,
    MoleFraction,
    Not,
    PropertyPhase,
    StoredEquilibrationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.chemistry.units import Quantity
from simarchive.container.index import IndexTable
from simarchive.container.index.segments import Shape
from simarchive.data import BaseStoredData, name_and_subclasses, register_data_class
from simarchive.data.fields import InUnit
from simarchive.queries import BaseDataQuery
from simarchive.storage import duplicates
from simarchive.storage.hdf5.upkeep import repack

FUZZ = int(os.environ.get("SIMARCHIVE_FUZZ", "1"))
FILE = "output.pdb"


@register_data_class("ModelMeasurement", version=1)
class Measurement(BaseStoredData):
    """Data of a user, whose index follows from these annotations alone."""

    substance: Substance
    duration: Annotated[Quantity, InUnit("picosecond")]
    count: int
    label: str | None = None
    weight: float | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@register_data_class("ModelFineMeasurement", version=1)
class FineMeasurement(Measurement):
    """A subclass, which a query for the parent finds."""

    level: int | None = None


SMALL = Shape(tail_rows=4, fan=2, levels=3, spare_texts=2)


class SmallTable(IndexTable):
    """A table that seals and merges segments after a few rows."""

    @classmethod
    def create(cls, parent: Any, name: str, columns: Any, *, shape: Shape = SMALL) -> IndexTable:
        return super().create(parent, name, columns, shape=shape)

    @classmethod
    def open(cls, group: Any, *, shape: Shape = SMALL) -> IndexTable:
        return super().open(group, shape=shape)


def mixture(*smiles: str) -> Substance:
    substance = Substance()
    for component in smiles:
        substance.add_component(Component(component), MoleFraction(1 / len(smiles)))
    return substance


SUBSTANCES = [mixture("O"), mixture("CO"), mixture("O", "CO"), mixture("C", "CO", "O")]
substances = st.sampled_from(SUBSTANCES)
durations = st.sampled_from(
    [
        unit.Quantity(number, name)
        for number, name in [(1.0, "ps"), (2, "ps"), (0.002, "ns"), (1.0, "ns"), (5e6, "fs")]
    ]
)
counts = st.integers(-1, 3)
labels = st.sampled_from(["a", "b", "über", "", "long " * 20])
weights = st.sampled_from([0.0, 1.5, 2.5, float("inf")])
states = st.sampled_from(
    [
        ThermodynamicState(kelvin * unit.kelvin, None if pascal is None else pascal * unit.pascal)
        for kelvin in (290.0, 298.15, 310.0)
        for pascal in (None, 101325.0)
    ]
)
phases = st.sampled_from([PropertyPhase.Liquid, PropertyPhase.Gas])
names = st.sampled_from(["0" * 32, "f" * 32, "calculation"])

common = {
    "substance": substances,
    "duration": durations,
    "count": counts,
    "label": st.none() | labels,
    "weight": st.none() | weights,
}
stored_objects = st.one_of(
    st.builds(Measurement, **common),
    st.builds(FineMeasurement, **common, level=st.none() | counts),
    st.builds(
        StoredEquilibrationData,
        substance=st.sampled_from(SUBSTANCES[:2]),
        thermodynamic_state=states,
        property_phase=phases,
        source_calculation_id=names,
        force_field_id=st.just("f" * 32),
        coordinate_file_name=st.just(FILE),
        statistical_inefficiency=weights,
        number_of_molecules=st.sampled_from([10, 20]),
        max_number_of_molecules=st.just(20),
        calculation_layer=st.none() | st.just("layer"),
    ),
)


def criteria(values: st.SearchStrategy[Any], *, ordered: bool = False) -> st.SearchStrategy[Any]:
    plain = values
    if ordered:
        plain = plain | st.tuples(st.none() | values, st.none() | values).map(between)
    return st.none() | st.recursive(
        plain,
        lambda inner: inner.map(Not) | st.lists(inner, min_size=1, max_size=2).map(lambda few: AnyOf(*few)),
        max_leaves=3,
    )


def between(ends: tuple[Any, Any]) -> Between:
    low, high = ends
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Between(low, high)


patterns = st.none() | st.lists(st.sampled_from(["O", "CO", "C"]), min_size=1, max_size=2, unique=True)
limits = st.none() | st.integers(0, 5)


def queries_of(
    query_class: type[BaseDataQuery], orders: list[str], **criteria_by_name: Any
) -> st.SearchStrategy[BaseDataQuery]:
    def build(chosen: dict[str, Any]) -> BaseDataQuery:
        return query_class(**{name: value for name, value in chosen.items() if value is not None})

    columns = st.none() | st.sampled_from([*orders, *(f"-{name}" for name in orders)])
    optional = {
        **criteria_by_name,
        "contains_components": patterns,
        "excludes_components": patterns,
    }
    # Few criteria at a time, so that a match is not too rare to show a fault.
    few = st.lists(st.sampled_from(sorted(optional)), max_size=2, unique=True)
    return few.flatmap(
        lambda chosen: st.fixed_dictionaries(
            {"order_by": columns, "limit": limits, **{name: optional[name] for name in chosen}}
        )
    ).map(build)


measurement_criteria = {
    "substance": criteria(substances),
    "duration": criteria(durations, ordered=True),
    "count": criteria(counts, ordered=True),
    "label": criteria(labels),
    "weight": criteria(weights, ordered=True),
}
orders = ["count", "duration", "weight", "label", "substance"]
queries = st.one_of(
    queries_of(Measurement.query_class(), orders, **measurement_criteria),
    queries_of(
        FineMeasurement.query_class(),
        [*orders, "level"],
        **measurement_criteria,
        level=criteria(counts, ordered=True),
    ),
    queries_of(
        EquilibrationDataQuery,
        ["temperature", "pressure", "statistical_inefficiency"],
        substance=criteria(substances),
        thermodynamic_state=criteria(states),
        temperature=criteria(
            st.sampled_from([290.0, 298.15, 310.0]).map(lambda kelvin: kelvin * unit.kelvin), ordered=True
        ),
        property_phase=criteria(phases),
        source_calculation_id=criteria(names),
        statistical_inefficiency=criteria(weights, ordered=True),
        calculation_layer=criteria(st.just("layer")),
    ),
)


class RollBack(Exception):
    """Leaves a transaction."""


class StorageModel(RuleBasedStateMachine):
    """A real container beside a dict of objects in stored order."""

    @initialize()
    def make(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.files = self.directory / "files"
        self.files.mkdir()
        (self.files / FILE).write_text("ATOM")
        self.path = self.directory / "model.h5"
        self.small = mock.patch("simarchive.container.index.tables.IndexTable", SmallTable)
        self.small.start()
        self.model: dict[str, BaseStoredData] = {}
        self.n_keys = 0
        self.index_is_lost = False
        self.open()

    def open(self) -> None:
        self.backend = HDF5Storage(self.path, durability="close")

    def teardown(self) -> None:
        self.check_everything()
        self.backend.close()
        self.small.stop()
        shutil.rmtree(self.directory)

    # --- changes -----------------------------------------------------------------------------

    def store(self, stored: BaseStoredData, model: dict[str, BaseStoredData]) -> None:
        self.n_keys += 1
        wanted = f"key-{self.n_keys}"
        directory = self.files if stored.has_ancillary_data() else None
        key = self.backend.store_object(stored, directory, storage_key=wanted)
        twins = [(other, found) for other, found in model.items() if type(found) is type(stored)]
        decision = duplicates.decide(stored, twins, lambda _: True)
        assert key == (decision.existing_key or wanted)
        if decision.action is not duplicates.Action.KEEP:
            model[key] = stored

    @rule(some=st.lists(stored_objects, min_size=1, max_size=6))
    def store_each_by_itself(self, some: list[BaseStoredData]) -> None:
        for stored in some:
            self.store(stored, self.model)

    def change(self, data: st.DataObject, model: dict[str, BaseStoredData]) -> None:
        for stored in data.draw(st.lists(stored_objects, max_size=8)):
            self.store(stored, model)
        if model:
            for key in data.draw(st.lists(st.sampled_from(list(model)), max_size=4, unique=True)):
                self.backend.remove_object(key)
                del model[key]
        for stored in data.draw(st.lists(stored_objects, max_size=2)):
            self.store(stored, model)

    @rule(data=st.data())
    def transaction(self, data: st.DataObject) -> None:
        with self.backend.transaction():
            self.change(data, self.model)

    @rule(data=st.data())
    def transaction_rolled_back(self, data: st.DataObject) -> None:
        try:
            with self.backend.transaction():
                self.change(data, dict(self.model))
                raise RollBack
        except RollBack:
            pass

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.model)))
        self.backend.remove_object(key)
        del self.model[key]

    # --- what must change nothing --------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.backend.close()
        self.open()

    @rule()
    def repack(self) -> None:
        self.backend.close()
        assert repack(self.path).n_objects == len(self.model)
        self.open()

    @rule()
    def rebuild(self) -> None:
        rows = self.backend.rebuild_index()
        assert sum(rows.values()) == len(self.model)

    @rule()
    def repair(self) -> None:
        assert self.backend.repair().set_aside == []

    @rule(table=st.none() | st.sampled_from(["ModelMeasurement", "StoredEquilibrationData"]))
    def lose_the_index(self, table: str | None) -> None:
        self.backend.close()
        with h5py.File(self.path, "r+", libver=("v110", "v110")) as file:
            if table is None:
                file.pop("index", None)
            elif f"index/{table}" in file:
                del file[f"index/{table}"]
        self.index_is_lost = True  # until the next change
        self.open()

    # --- the index against the full scan --------------------------------------------------------

    @rule(query=queries)
    def ask(self, query: BaseDataQuery) -> None:
        self.check(query)

    def check_everything(self) -> None:
        assert self.backend.keys() == list(self.model)
        assert len(self.backend) == len(self.model)
        problems = [problem.message for problem in self.backend.verify().problems if problem.is_error]
        assert all(self.index_is_lost and "is missing" in message for message in problems)
        for query_class in (Measurement.query_class(), FineMeasurement.query_class(), EquilibrationDataQuery):
            self.check(query_class())
        for key, stored in self.model.items():
            assert self.backend.retrieve_object(key)[0] == stored

    def scan(self, query: BaseDataQuery) -> Iterator[tuple[str, BaseStoredData, tuple[Any, ...]]]:
        """Yield what matches, class by class, each in stored order."""
        for name in name_and_subclasses(query.data_class()):
            for key, stored in self.model.items():
                if stored.data_class_name == name:
                    matched = query.apply(stored)
                    if matched is not None:
                        yield key, stored, matched

    def expected(self, query: BaseDataQuery) -> list[tuple[str, BaseStoredData, tuple[Any, ...]]]:
        found = list(self.scan(query))
        if query.order_by is not None:
            name = query.order_by.removeprefix("-")
            present = [match for match in found if match[1].index_values()[name] is not None]
            missing = [match for match in found if match[1].index_values()[name] is None]
            present.sort(key=lambda match: match[1].index_values()[name], reverse=query.order_by[0] == "-")
            found = [*present, *missing]
        return found[: query.limit]

    def check(self, query: BaseDataQuery) -> None:
        note(f"{query!r} over {len(self.model)} objects")
        expected = self.expected(query)
        keys = [key for key, _, _ in expected]
        assert self.backend.keys(query) == keys
        assert self.backend.count(query) == len(keys)
        groups: dict[tuple[Any, ...], list[str]] = {}
        for key, _, matched in expected:
            groups.setdefault(matched, []).append(key)
        found = self.backend.query(query)
        assert {matched: [match[0] for match in some] for matched, some in found.items()} == groups
        assert all(stored == self.model[key] for some in found.values() for key, stored, _ in some)
        columns = self.backend.columns(query)
        assert columns.pop("key") == keys
        for name, values in columns.items():
            assert values == [stored.index_values()[name] for _, stored, _ in expected]


class TestStorageModel(StorageModel.TestCase):  # type: ignore[misc,name-defined]
    """The machine above, run by pytest."""

    settings = settings(
        max_examples=25 * FUZZ,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

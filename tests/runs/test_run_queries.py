"""Runs are found by tags, by values with names and across classes; the index answers as a scan does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simarchive import (
    AnyDataQuery,
    AnyOf,
    Between,
    HDF5Storage,
    InvalidDataError,
    Not,
    QuerySyntaxError,
    RunQuery,
    Searched,
    SimulationRun,
    TrainedModelData,
    parse_query,
    register_data_class,
    unit,
)
from simarchive.data import BaseStoredData
from simarchive.testing.sample_objects import simulation, write_files


@register_data_class("RunQueryProbe", version=1)
class Probe(BaseStoredData):
    """A class that has another kind of value under names that runs have, too."""

    ensemble: int | None = None
    length: float | None = None
    labels: Annotated[list[str], Searched()] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@register_data_class("RunQuerySized", version=1)
class Sized(BaseStoredData):
    """A class whose metadata are numbers, where those of a run are anything."""

    metadata: dict[str, float] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("lab")
    files = write_files(place / "files")
    with HDF5Storage(place / "lab.h5") as backend:
        for number in range(6):
            run = SimulationRun(
                name=f"run {number}",
                engine=["openmm", "gromacs", "lammps"][number % 3],
                ensemble="NPT",
                temperature=(290 + 5 * number) * unit.kelvin,
                n_atoms=1000 * number,
                tags=["all", *(["even"] if number % 2 == 0 else []), f"tag,{number}"],
                metadata={
                    "seed": number,
                    "coupling": (number / 2) * unit.picosecond,
                    "force field": "opls" if number < 3 else "amber",
                    "version": "5" if number == 5 else number * 0.5,
                    "is final": number > 3,
                    **({"size": 3} if number == 3 else {"size": "big"} if number == 4 else {}),
                },
            )
            backend.store_object(run, files)
        backend.store_object(SimulationRun(name="bare"), files)
        backend.store_object(simulation(), files)
        backend.store_object(
            TrainedModelData(name="m", framework="torch", target_property="x", domain="y"), files
        )
        backend.store_object(Sized(metadata={"size": 3.0}))
        backend.store_object(Probe(ensemble=3, length=2.0, labels=["even"]))
        yield backend


def names(backend: HDF5Storage, expression: str) -> list[str]:
    """Return the names, or classes, of what an expression finds, after comparing all ways to ask."""
    query = parse_query(expression)
    keys = backend.keys(query)
    scanned = {key for key in backend if query.apply(backend.load(key)) is not None}
    assert set(keys) == scanned if query.limit is None else set(keys) < scanned
    assert backend.count(query) == len(keys)
    assert sorted(key for group in backend.query(query).values() for key, _, _ in group) == sorted(keys)
    assert list(backend.columns(query)["key"]) == keys
    backend.explain(query)
    found = [backend.load(key) for key in keys]
    return [getattr(one, "name", type(one).__name__).removeprefix("run ") for one in found]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("class=run", "0 1 2 3 4 5 bare"),
        ("class=run tag=even", "0 2 4"),
        ("class=run tags=even", "0 2 4"),
        ("class=run tag=even tag=all", "0 2 4"),
        ("class=run tag=even,'tag,1'", "0 1 2 4"),
        ("class=run tag!=even", "1 3 5 bare"),
        ("class=run tag=!even", "1 3 5 bare"),
        ("class=run tag=eve", ""),
        ("class=run atoms>2000 T<=310K", "3 4"),
        ("class=run engine=gromacs,lammps atoms<=2000", "1 2"),
        ("class=run metadata.seed=3", "3"),
        ("class=run metadata.seed=1..3", "1 2 3"),
        ("class=run metadata.seed>3", "4 5"),
        ("class=run metadata.seed>=3 metadata.seed<5", "SYNTAX"),
        ("class=run metadata.seed!=3", "0 1 2 4 5 bare"),
        ("class=run metadata.seed=2,4", "2 4"),
        ("class=run metadata.coupling>=2ps", "4 5"),
        ("class=run metadata.coupling=500fs", "1"),
        ("class=run metadata.coupling=1..2ps", "2 3 4"),
        ("class=run metadata.coupling=1", ""),
        ("class=run metadata.version=5", "5"),
        ("class=run metadata.version=1", "2"),
        ('class=run metadata."force field"=opls', "0 1 2"),
        ("class=run metadata.is=true", ""),
        ('class=run metadata."is final"=true', "4 5"),
        ('class=run metadata."is final"!=true', "0 1 2 3 bare"),
        ("class=run metadata.other=1", ""),
        ("class=run metadata=3", ""),
        ("class=run metadata=seed", "0 1 2 3 4 5"),
        ("class=run metadata!=seed", "bare"),
        ("class=run metadata=seed:3", "3"),
        ("class=run metadata=seed:1..3", "1 2 3"),
        ("class=run metadata>=seed:4", "4 5"),
        ("class=run metadata=seed:1,seed:5,other", "1 5"),
        ("class=run metadata!=seed:3", "0 1 2 4 5 bare"),
        ("class=run metadata=seed:3 metadata.version=1.5", "3"),
        ("class=run metadata.seed=!3", "0 1 2 4 5 bare"),
        ("class=run metadata.seed=3,!1..5", "0 3 bare"),
        ("class=any metadata.size=3..4", "3 Sized"),
        ("class=any metadata=size:3", "3 Sized"),
        ("class=any metadata.size=big", "4"),
        ("class=any metadata=size", "3 4 Sized"),
        ("class=any tag=even", "0 2 4"),
        ("class=any labels=even", "Probe"),
        ("class=any tag=even atoms>1000", "2 4"),
        ("class=any temperature=297..301K", "StoredSimulationData 2"),
        ("class=any contains=O", "StoredSimulationData"),
        ("class=any name=m", "m"),
        ("class=any name=m,bare", "bare m"),
        ("class=any ensemble=NPT", "0 1 2 3 4 5"),
        ("class=any ensemble=3", "Probe"),
        ("class=any metadata.seed=1", "1"),
        ("class=any T!=290K molecules=100", "StoredSimulationData"),
        ("class=any order_by=-atoms limit=2", "5 4"),
        ("class=any tag=all order_by=T", "0 1 2 3 4 5"),
        ("class=any tag=all order_by=molecules limit=1", "0"),
    ],
)
def test_an_expression_finds(expression: str, wanted: str, lab: HDF5Storage) -> None:
    if wanted == "SYNTAX":
        with pytest.raises(QuerySyntaxError, match="given twice"):
            parse_query(expression)
        return
    assert " ".join(sorted(names(lab, expression))) == " ".join(sorted(wanted.split()))
    if "order_by" in expression:
        assert names(lab, expression) == wanted.split()


def test_any_class_finds_all_objects(lab: HDF5Storage) -> None:
    assert len(names(lab, "class=any")) == len(lab)
    assert lab.count(AnyDataQuery(excludes_components=["O"])) == len(lab) - 1


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("class=run metadata=seed:5..3", "empty"),
        ("class=run metadata>3", "takes a name and a value"),
        ("class=run composition.SOL=many", "an integer"),
        ("class=run metadata=seed metadata.seed=3", "given twice"),
        ("class=run engine.x=3", "has no values with names"),
        ("class=run tag>3", "has no order"),
        ("class=run tag=a tag=b,c", "given twice"),
        ("class=run metadata.seed>x", "a number or a quantity"),
        ("class=run metadata.seed>1.5ps", "ranges include their ends"),
        ("class=run metadata.seed=5..3", "empty"),
        ("class=run metadata.seed=1 metadata.seed=2", "given twice"),
        ("class=any atmos>3", "do you mean atoms"),
        ("class=any order_by=ensemble", "not the same kind of value"),
        ("class=anything", "there are any"),
        ("metadata.seed=1", "no criterion 'metadata'"),
    ],
)
def test_what_makes_no_sense_is_marked(expression: str, reason: str) -> None:
    with pytest.raises(QuerySyntaxError, match=reason) as caught:
        parse_query(expression)
    assert "^" in str(caught.value)


def test_criteria_in_python(lab: HDF5Storage) -> None:
    n_others = len(lab) - lab.count(RunQuery())

    def count(**criteria: Any) -> int:
        found = lab.count(RunQuery(**criteria))
        # What has no tags has none that is not wanted.
        negated = any(isinstance(criterion, Not) for criterion in criteria.values())
        assert lab.count(AnyDataQuery(**criteria)) == found + negated * n_others
        return found

    assert count(tags="even") == 3
    assert count(tags=["even", "all"]) == 3
    assert count(tags=AnyOf("even", "tag,1")) == 4
    assert count(tags=Not("even")) == 4
    assert count(metadata={"seed": Between(1, 3), "is final": False}) == 3
    assert count(metadata={"coupling": Between(500 * unit.femtosecond, None)}) == 5
    assert count(metadata={"force field": AnyOf("amber", "charmm")}) == 3
    assert count(metadata={"seed": Between()}) == 6
    assert lab.count(RunQuery(metadata={"seed": Not(Between())})) == 1
    for wrong in ({"seed": Between(3, 1)}, {"seed": Between(1, 2 * unit.kelvin)}, {}, 3, {1: 2}, {"x": [1]}):
        with pytest.raises(InvalidDataError):
            RunQuery(metadata=wrong)
    with pytest.raises(InvalidDataError):
        AnyDataQuery(temperature="liquid")


def test_values_by_name_are_matched_values(lab: HDF5Storage) -> None:
    found = lab.query(parse_query("class=run tag=even metadata.seed=2"))
    assert list(found) == [(("all", "even", "tag,2"), (2,))]


def test_a_query_on_tags_reads_no_document(lab: HDF5Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from simarchive.container.contents import Contents

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a document was read")

    monkeypatch.setattr(Contents, "document", refuse)
    query = parse_query("class=any tag=even metadata.seed=1..3")
    assert lab.count(query) == len(lab.keys(query)) == 1


VALUES = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, float("nan"), float("inf")]),
    st.sampled_from(["1", "a", "true", 'quote " and \\ mark', "ünï", '[1.0,"kelvin"]']),
    st.booleans(),
    st.sampled_from(
        [1 * unit.kelvin, 1.0 * unit.picosecond, 1000.0 * unit.femtosecond, unit.Quantity(20, "degC")]
    ),
)
NAMES = st.sampled_from(["a", "b", 'c "d"', "e.f"])
RUNS = st.builds(
    SimulationRun,
    name=st.just("x"),
    tags=st.none() | st.lists(st.sampled_from(["a", "b", "a b", "ü"]), max_size=3),
    metadata=st.none() | st.dictionaries(NAMES, VALUES, max_size=3),
)
CRITERIA = st.one_of(
    VALUES.filter(lambda value: value == value),
    st.builds(Between, st.integers(-3, 0), st.integers(0, 3)),
    st.just(Between(1 * unit.femtosecond, 1 * unit.picosecond)),
    st.just(Between()),
)
CRITERIA = st.one_of(CRITERIA, st.builds(Not, CRITERIA), st.builds(AnyOf, CRITERIA, CRITERIA))


@settings(max_examples=20, deadline=None)
@given(
    runs=st.lists(RUNS, min_size=1, max_size=6),
    metadata=st.dictionaries(NAMES, CRITERIA, min_size=1),
    tag=st.sampled_from(["a", "b", "c"]),
)
def test_the_index_answers_as_a_scan(runs: list[SimulationRun], metadata: dict[str, Any], tag: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "files").mkdir()
        with HDF5Storage(Path(place) / "lab.h5") as backend:
            with backend.transaction():
                keys = [backend.store_object(run, Path(place) / "files") for run in runs]
            for run, key in zip(runs, keys, strict=True):
                assert backend.load(key) == run
                assert backend.has_object(run) == key
            for query in (RunQuery(metadata=metadata), RunQuery(tags=tag), RunQuery(tags=Not(tag))):
                scanned = [key for key in backend if query.apply(backend.load(key)) is not None]
                assert backend.keys(query) == scanned
                assert backend.keys(AnyDataQuery(**query._values)) == scanned

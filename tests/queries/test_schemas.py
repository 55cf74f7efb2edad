"""A program without a data class works with its objects by the schema that the container keeps.

A program without the class is this one with the class taken out of the registry.
"""

from __future__ import annotations

import enum
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import h5py
import numpy as np
import pytest
from blake3 import blake3

from simarchive import (
    AnyOf,
    Between,
    FilePath,
    HDF5Storage,
    InUnit,
    InvalidDataError,
    LocalFileStorage,
    Not,
    NotIndexed,
    ObservableArray,
    PropertyPhase,
    ReplaceableData,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.chemistry.units import Quantity
from simarchive.container.layout import OBJECTS, SCHEMA_PREFIX
from simarchive.data import BaseStoredData, register_data_class, registry, schemas
from simarchive.queries import parse_query, query_class_for
from simarchive.storage.hdf5 import classes
from simarchive.storage.hdf5.upkeep import repack

NAME = "DiffusionForTests"
LIBVER = ("v110", "v110")


class Method(enum.Enum):
    EINSTEIN = "einstein"
    GREEN_KUBO = "green-kubo"


@register_data_class(NAME, version=1)
class Diffusion(BaseStoredData):
    """One field of each kind."""

    substance: Substance
    state: ThermodynamicState
    phase: PropertyPhase
    coefficient: Annotated[Quantity, InUnit("nanometer ** 2 / nanosecond")]
    method: Method
    file: FilePath
    curve: np.ndarray  # type: ignore[type-arg]
    series: ObservableArray
    windows: int
    quality: float
    checked: bool
    label: str
    parent: str | None = None
    remark: Annotated[str, NotIndexed()] | None = None
    tags: list[str] | None = None
    sizes: list[int] | None = None
    metadata: dict[str, float] | None = None
    settings: dict[str, str] | None = None
    boxes: list[np.ndarray] | None = None  # type: ignore[type-arg]

    reference_fields: ClassVar[tuple[str, ...]] = ("parent",)

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return True


def diffusion(number: int) -> Diffusion:
    return Diffusion(
        substance=Substance.from_components("O" if number % 2 else "CO"),
        state=ThermodynamicState(f"{280 + 10 * number} K", "1 atm"),
        phase=PropertyPhase.Liquid,
        coefficient=f"{2.0 + number / 10} nanometer ** 2 / nanosecond",
        method=Method.EINSTEIN if number < 2 else Method.GREEN_KUBO,
        file="msd.csv",
        curve=np.arange(100.0) * number,
        series=ObservableArray(value=np.arange(50.0) * unit.kelvin),
        windows=number,
        quality=0.5,
        checked=True,
        label=f"run {number}",
        parent=None if number == 0 else "d0",
        remark="long",
        tags=["all", f"tag{number}"],
        sizes=[number, 10 * number],
        metadata={"n": float(number), "seed": 7.0},
        settings={"engine": "openmm" if number else "gromacs"},
        boxes=[np.eye(3)],
    )


@contextmanager
def without(name: str = NAME) -> Iterator[None]:
    known = registry._classes.pop(name)
    try:
        yield
    finally:
        registry._classes[name] = known


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "files").mkdir()
    with HDF5Storage(folder / "a.h5") as backend, backend.transaction():
        for number in range(4):
            (folder / "files" / "msd.csv").write_text(f"{number}\n")
            backend.store_object(diffusion(number), folder / "files", storage_key=f"d{number}")
    return folder / "a.h5"


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "a.h5"))


def edit_schema(path: Path, text: str | None, *, digest: str | None = None) -> None:
    """Have another text, or none, as the schema of the class."""
    with h5py.File(path, "r+", libver=LIBVER) as file:
        attributes = file[OBJECTS].attrs
        del attributes[SCHEMA_PREFIX + NAME]
        if text is not None:
            digest = digest or blake3(f"{NAME}\0{text}".encode()).hexdigest()
            attributes[SCHEMA_PREFIX + NAME] = np.bytes_(f"{digest} {text}".encode())


EXPRESSIONS = {
    "substance=O": ["d1", "d3"],
    "state_temperature=295..305K": ["d2"],
    "coefficient>=2.15nm**2/ns": ["d2", "d3"],
    "phase=liquid method=green-kubo": ["d2", "d3"],
    "windows>1": ["d2", "d3"],
    "label='run 1'": ["d1"],
    "checked=true order_by=-windows limit=2": ["d3", "d2"],
    "tags=tag2": ["d2"],
    "tags=tag1,tag3": ["d1", "d3"],
    "tags!=tag1": ["d0", "d2", "d3"],
    "sizes=20..30": ["d2", "d3"],
    "metadata=n:1..2": ["d1", "d2"],
    "metadata>=n:2": ["d2", "d3"],
    "metadata=seed": ["d0", "d1", "d2", "d3"],
    "settings=engine:gromacs": ["d0"],
    "settings!=engine:gromacs": ["d1", "d2", "d3"],
    # The other spelling of the same.
    "metadata.n=1..2": ["d1", "d2"],
    "metadata.n>=2 metadata.seed=7": ["d2", "d3"],
    "metadata.n=!2": ["d0", "d1", "d3"],
    "metadata=n:1..2 metadata=seed:7": ["d1", "d2"],
    "metadata!=seed": [],
    "settings.engine=gromacs,openmm": ["d0", "d1", "d2", "d3"],
    "settings.engine!=gromacs": ["d1", "d2", "d3"],
    "tags=all tags=tag1": ["d1"],
    "sizes>=2 sizes=20": ["d2"],
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_objects_are_found_with_and_without_the_class(made: Path, expression: str) -> None:
    text = f"class={NAME} {expression}"
    with HDF5Storage(made, mode="r") as backend:
        assert backend.keys(text) == EXPRESSIONS[expression]
        assert "the index decides" in backend.explain(text)
    with without(), HDF5Storage(made, mode="r") as backend:
        assert backend.keys(text) == EXPRESSIONS[expression]
        found = [key for group in backend.query(text).values() for key, _, _ in group]
        assert sorted(found) == sorted(EXPRESSIONS[expression])
        assert "the index decides" in backend.explain(text)


def test_lists_and_mappings_are_searched_in_python(made: Path) -> None:
    query_class = query_class_for(Diffusion)
    with HDF5Storage(made, mode="r") as backend:
        for criteria, keys in (
            ({"tags": "tag2"}, ["d2"]),
            ({"sizes": Between(20, 30)}, ["d2", "d3"]),
            ({"metadata": {"n": Between(1, 2), "seed": 7}}, ["d1", "d2"]),
            ({"metadata": Not({"n": Between(1, 2)})}, ["d0", "d3"]),
            ({"metadata": {"n": Not(1)}}, ["d0", "d2", "d3"]),
            ({"settings": "engine"}, ["d0", "d1", "d2", "d3"]),
            ({"settings": {"engine": None}}, ["d0", "d1", "d2", "d3"]),
            ({"settings": {"host": Not("a")}}, ["d0", "d1", "d2", "d3"]),
            ({"settings": AnyOf("host", {"engine": "gromacs"})}, ["d0"]),
            ({"metadata": {"n": AnyOf(1, Not(Between(0, 2)))}}, ["d1", "d3"]),
            ({"metadata": Not({"n": 1, "seed": 7})}, ["d0", "d2", "d3"]),
            ({"tags": ["all", "tag1"]}, ["d1"]),
            ({"tags": Not(["all", "tag1"])}, ["d0", "d2", "d3"]),
            ({"sizes": [Between(2, 3), 20]}, ["d2"]),
        ):
            query = query_class(**criteria)
            assert backend.keys(query) == keys, criteria
            assert [key for key in backend if query.apply(backend.load(key)) is not None] == keys
    with pytest.raises(InvalidDataError, match=r"metadata: .*a number is expected"):
        query_class(metadata={"n": "many"})
    with pytest.raises(InvalidDataError, match="a name, or a dict"):
        query_class(metadata=Between(1, 2))


def test_the_object_is_whole_without_the_class(made: Path) -> None:
    with HDF5Storage(made, mode="r") as backend:
        expected = backend.load("d1")
    with without(), HDF5Storage(made, mode="r") as backend:
        stored, path = backend.retrieve_object("d1")
        assert type(stored).__name__ == NAME
        assert schemas.is_stand_in(type(stored))
        for name in Diffusion.model_fields:
            mine, theirs = getattr(stored, name), getattr(expected, name)
            if name not in ("method", "curve", "series", "boxes"):
                assert mine == theirs, name
        assert stored.method == "einstein"
        assert np.array_equal(stored.curve, expected.curve)
        assert (path / "msd.csv").read_text() == "1\n"
        assert stored.index_values() == expected.index_values()
        with pytest.raises(InvalidDataError, match="windows"):
            stored.windows = "many"


def test_every_command_works_without_the_class(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        identities = {header.key: header.identity for header in backend.headers()}
    with without():
        with HDF5Storage(path) as backend, HDF5Storage(tmp_path / "merged.h5") as merged:
            report = backend.verify(full=True)
            assert report.ok
            assert not report.unknown_classes
            assert backend.statistics().index == {NAME: "ready"}
            assert merged.update(backend).stored == ["d0", "d1", "d2", "d3"]
            assert merged.update(backend).kept == ["d0", "d1", "d2", "d3"]
            with LocalFileStorage(tmp_path / "directory") as directory:
                assert not directory.update(backend).unreadable
        with (
            LocalFileStorage(tmp_path / "directory", mode="r") as directory,
            HDF5Storage(tmp_path / "imported.h5") as imported,
            HDF5Storage(tmp_path / "merged.h5") as merged,
        ):
            assert len(directory) == 4
            imported.update(directory)
            with merged.subset(
                tmp_path / "part.h5", include_substances=[Substance.from_components("O")]
            ) as part:
                assert set(part) == {"d0", "d1", "d3"}  # d0, because others refer to it
            merged.rebuild_index()
            merged.repair()
        repack(tmp_path / "merged.h5")
        with HDF5Storage(tmp_path / "merged.h5") as merged:
            merged.remove_object("d3")
            assert merged.keys(f"class={NAME} windows>=1") == ["d1", "d2"]
    for name in ("merged.h5", "imported.h5", "part.h5"):
        with HDF5Storage(tmp_path / name) as backend:
            assert backend.verify(full=True).ok
            assert {header.key: header.identity for header in backend.headers()}.items() <= identities.items()
            assert backend.count(query_class_for(Diffusion)(windows=1)) == 1
            assert isinstance(backend.load("d1"), Diffusion)


def test_classes_that_derive_from_a_known_one_are_found_by_its_queries(tmp_path: Path) -> None:
    @register_data_class("DerivedForTests", version=1)
    class Derived(StoredSimulationData):
        extra: int

    schema = schemas.schema_text(Derived)
    assert schema is not None
    registry._classes.pop("DerivedForTests")
    stand_in = schemas.stand_in_for("DerivedForTests", schema)
    assert issubclass(stand_in, StoredSimulationData)
    assert stand_in.index_columns() == Derived.index_columns()


@register_data_class("MeasuredForTests", version=1)
class Measured(ReplaceableData):
    identity_fields: ClassVar[tuple[str, ...]] = ("system",)
    system: str
    error: float

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False

    @classmethod
    def most_information(cls, existing: Any, new: Any) -> Any:
        return existing if existing.error < new.error else new


def test_what_only_the_class_can_decide_is_kept_both(tmp_path: Path) -> None:
    for name, error in (("a.h5", 0.1), ("b.h5", 0.2)):
        with HDF5Storage(tmp_path / name) as backend:
            backend.store_object(Measured(system="x", error=error), storage_key=name[0])
    with without("MeasuredForTests"), HDF5Storage(tmp_path / "a.h5") as first:
        with HDF5Storage(tmp_path / "b.h5", mode="r") as second:
            assert first.update(second).stored == ["b"]
        assert first.keys("class=MeasuredForTests error>=0.15") == ["b"]


class OfALaterVersion(BaseStoredData):
    data_class_name = NAME
    data_class_version = 2
    label: str

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return True

    @classmethod
    def upgrade_document(cls, tree: Any, version: int) -> Any:
        return {"label": tree["label"]}


def test_without_a_schema_objects_are_copied_as_they_are(path: Path, tmp_path: Path) -> None:
    edit_schema(path, None)
    with without(), HDF5Storage(path) as backend, HDF5Storage(tmp_path / "b.h5") as copy:
        assert backend.verify(full=True).unknown_classes == {NAME: 4}
        report = copy.update(backend)
        assert report.stored == ["d0", "d1", "d2", "d3"]
        assert not report.unreadable
        assert copy.verify(full=True).ok
        assert copy.retrieve_document("d1")[2]["label"] == "run 1"
        assert isinstance(copy.load("d1"), schemas.UndescribedData)
        with pytest.raises(InvalidDataError, match="import the module that defines it"):
            copy.retrieve_object("d1")
    with HDF5Storage(tmp_path / "b.h5") as copy:
        assert copy.count(query_class_for(Diffusion)(windows=1)) == 1
        copy.remove_object("d3")  # the first change makes the index
        assert copy.verify(full=True).ok
        assert "the index decides" in copy.explain(query_class_for(Diffusion)(windows=1))


def test_a_later_version_takes_the_place_of_a_schema_and_an_earlier_one_does_not(path: Path) -> None:
    def kept() -> Any:
        with HDF5Storage(path, mode="r") as backend, backend._container.reading() as contents:
            return json.loads(contents.schema(NAME) or "null")["version"]

    with HDF5Storage(path) as backend, backend._changing() as contents:
        classes.keep_schema(contents, Diffusion)
        assert contents.changes == 0
        with without():
            register_data_class(OfALaterVersion)
            classes.keep_schema(contents, OfALaterVersion)
            registry._classes.pop(NAME)
            registry._classes[NAME] = Diffusion
    assert kept() == 2
    with HDF5Storage(path) as backend, backend._changing() as contents:
        classes.keep_schema(contents, Diffusion)
    assert kept() == 2
    with without(), HDF5Storage(path, mode="r") as backend:
        # It describes another version of the class: the objects are no less sound.
        assert backend.verify(full=True).ok
        assert backend.verify().unknown_classes == {f"{NAME} version 1": 4}


HOSTILE = {
    "no JSON": "{",
    "a list": "[]",
    "another format": '{"format": 99}',
    "nothing": "{}",
    "deep": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[],"fields":[{"name":"a","kind":'
    + '{"list":' * 30
    + '"real"'
    + "}" * 30
    + "}]}",
    "a method": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[],"fields":[{"name":"validate","kind":"real"}]}',
    "private": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[],"fields":[{"name":"__class__","kind":"tree"}]}',
    "other columns": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[],"fields":[{"name":"label","kind":"real"}]}',
    "fields that are not there": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],'
    '"reference_fields":["x"],"identity_fields":[],"columns":[],"fields":[]}',
    "an unknown unit": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[{"name":"a","kind":"real"}],"fields":[{"name":"a","kind":{"quantity":7}}]}',
    "no version": '{"format":1,"version":"1","has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[],"fields":[]}',
    "another class": '{"format":1,"version":1,"has_ancillary_data":true,"parents":[],"reference_fields":[],'
    '"identity_fields":[],"columns":[{"name":"other","kind":"real"}],"fields":[{"name":"other","kind":"real"}]}',
}


@pytest.mark.parametrize("what", [*HOSTILE, "damaged"])
def test_a_schema_that_cannot_be_used_costs_nothing_else(
    path: Path, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    edit_schema(path, HOSTILE.get(what, "{}"), digest="0" * 64 if what == "damaged" else None)
    with without(), HDF5Storage(path) as backend, HDF5Storage(tmp_path / "b.h5") as copy:
        report = backend.verify(full=True)
        assert report.ok, report.problems
        assert report.unknown_classes == {NAME: 4}
        with caplog.at_level(logging.ERROR):
            assert copy.update(backend).stored == ["d0", "d1", "d2", "d3"]
        backend.remove_object("d3")
    with HDF5Storage(path) as backend:
        assert backend.keys(query_class_for(Diffusion)(windows=Between(1, None))) == ["d1", "d2"]
        backend.remove_object("d2")  # the first change by a program with the class heals the index
        assert backend.verify(full=True).ok


def test_a_class_whose_methods_decide_has_no_schema() -> None:
    class Deciding(Diffusion):
        def index_values(self) -> Any:
            return {**super().index_values(), "windows": 3}

    assert schemas.schema_of(Deciding) is None
    assert schemas.schema_of(StoredSimulationData) is None


def test_a_schema_is_read_once_and_written_once(made: Path, tmp_path: Path) -> None:
    with h5py.File(made, "r", libver=LIBVER) as file:
        names = [name for name in file[OBJECTS].attrs if name.startswith(SCHEMA_PREFIX)]
        digest, _, text = file[OBJECTS].attrs[SCHEMA_PREFIX + NAME].decode().partition(" ")
    assert names == [SCHEMA_PREFIX + NAME]
    assert digest == blake3(f"{NAME}\0{text}".encode()).hexdigest()
    assert json.loads(text)["fields"][0] == {"kind": "substance", "name": "substance"}
    assert parse_query("substance=O").data_class() is StoredSimulationData

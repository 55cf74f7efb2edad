"""`EvaluatorStorage` with the real OpenFF Evaluator: what its own storages do, and more."""

from __future__ import annotations

import gc
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )
    from evaluator_objects_for_tests import (
        NamedData,
        NoteData,
        NoteQuery,
        UmbrellaData,
        equilibration,
        free_energy,
        make_files,
        simulation,
    )
    from openff.evaluator.forcefield import (
        FoyerForceFieldSource,
        LigParGenForceFieldSource,
        SmirnoffForceFieldSource,
        TLeapForceFieldSource,
    )
    from openff.evaluator.storage import LocalFileStorage, MutableLocalFileStorage, StorageBackend
    from openff.evaluator.storage.data import BaseStoredData, StoredSimulationData
    from openff.evaluator.storage.query import BaseDataQuery, SimulationDataQuery
    from openff.evaluator.substances import Component, Substance

from simarchive import HDF5Storage
from simarchive.data import StoredSimulationData as OurSimulationData
from simarchive.errors import InvalidDataError, NotFoundError, ReadOnlyError, WrongTypeError
from simarchive.interop.openff import EvaluatorStorage
from simarchive.queries import SimulationDataQuery as OurSimulationDataQuery
from simarchive.storage.evaluator_directory import LocalFileStorage as OurLocalFileStorage
from simarchive.storage.scratch import Scratch

EXAMPLES = Path(__file__).parents[2] / "examples"
STORED_DATA = EXAMPLES / "stored_data"
EXPECTED = json.loads((EXAMPLES / "EXPECTED.json").read_text())["queries"]
KEYS = json.loads((STORED_DATA / "object_keys.json").read_text())["object_keys"]
SOURCES = [
    SmirnoffForceFieldSource("<SMIRNOFF/>"),
    TLeapForceFieldSource("leaprc.gaff"),
    LigParGenForceFieldSource(),
    FoyerForceFieldSource("oplsaa"),
]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The example data in a container, read by EvaluatorStorage."""
    place = tmp_path_factory.mktemp("examples")
    with EvaluatorStorage(place / "examples.h5") as storage:
        storage.update(STORED_DATA)
        yield storage


def groups(found: Any) -> list[list[str]]:
    return sorted(sorted(key for key, _, _ in matches) for matches in found.values())


def test_it_is_a_storage_backend_of_evaluator(storage: Any) -> None:
    assert isinstance(storage, StorageBackend)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected["name"])
def test_every_expected_query_gets_evaluators_answer(examples: Any, expected: dict[str, Any]) -> None:
    query = BaseDataQuery.parse_json(json.dumps(expected["query"]))
    assert groups(examples.query(query)) == sorted(sorted(keys) for keys in expected["matches"].values())


def test_queries_answer_as_local_file_storage_does_object_by_object(examples: Any, tmp_path: Path) -> None:
    shutil.copytree(STORED_DATA, tmp_path / "copy")
    theirs = LocalFileStorage(str(tmp_path / "copy"))
    for expected in EXPECTED:
        query = BaseDataQuery.parse_json(json.dumps(expected["query"]))
        one, other = examples.query(query), theirs.query(query)
        assert one.keys() == other.keys()
        for matched in one:
            for (key, ours, path), (their_key, their, their_path) in zip(
                one[matched], other[matched], strict=True
            ):
                assert (key, ours.json()) == (their_key, their.json())
                assert (path is None) == (their_path is None)


def test_the_third_part_of_a_match_is_a_str_of_a_real_directory_that_outlives_the_query(
    examples: Any,
) -> None:
    query = SimulationDataQuery()
    query.substance = Substance.from_components("O")
    for key, _, path in [match for matches in examples.query(query).values() for match in matches]:
        assert type(path) is str
        assert Path(path).name == key
        stored = {
            file.relative_to(path): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()
        }
        original = STORED_DATA / key
        assert stored == {
            file.relative_to(original): file.read_bytes() for file in original.rglob("*") if file.is_file()
        }


def _size(path: str) -> int:
    return Path(path).stat().st_size


def test_another_process_reads_the_files_of_a_match(examples: Any) -> None:
    key = KEYS["StoredSimulationData"][0]
    _, path = examples.retrieve_object(key)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_size, (f"{path}/trajectory.dcd",)) == _size(f"{STORED_DATA / key}/trajectory.dcd")


def test_all_objects_come_back_as_evaluator_reads_them(examples: Any) -> None:
    for keys in KEYS.values():
        for key in keys:
            original = BaseStoredData.from_json(str(STORED_DATA / f"{key}.json"))
            found, _ = examples.retrieve_object(key, type(original))
            assert found.json() == original.json()


def test_what_evaluator_stores_people_without_it_read(storage: Any, tmp_path: Path) -> None:
    key = storage.store_object(simulation(), make_files(tmp_path / "run"))
    with HDF5Storage(storage.archive.path, "r") as plain:
        query = OurSimulationDataQuery()
        query.number_of_molecules = 10
        ((found_key, found, path),) = next(iter(plain.query(query).values()))
        assert found_key == key
        assert isinstance(found, OurSimulationData)
        assert found.source_calculation_id == "calculation"
        assert (path / "output.pdb").read_text() == "output.pdb"


def test_what_people_without_evaluator_store_is_here(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as plain:
        plain.update(OurLocalFileStorage(STORED_DATA, mode="r"))
    with EvaluatorStorage(tmp_path / "a.h5", mode="r") as storage:
        found, _ = storage.retrieve_object(KEYS["StoredSimulationData"][0], StoredSimulationData)
        assert found.substance == Substance.from_components("O")
        with pytest.raises(ReadOnlyError):
            storage.store_force_field(SOURCES[0])


@pytest.mark.parametrize("make", [simulation, equilibration, free_energy])
def test_every_data_class_is_stored_and_found_again(storage: Any, tmp_path: Path, make: Any) -> None:
    data = make()
    key = storage.store_object(data, make_files(tmp_path / "run"))
    found, path = storage.retrieve_object(key, type(data))
    assert found.json() == data.json()
    assert (Path(path) / "trajectory.dcd").read_text() == "trajectory.dcd"
    assert storage.has_object(data) == key
    assert groups(storage.query(data.to_storage_query())) == [[key]]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_every_force_field_source_is_stored_and_found_again(storage: Any, source: Any) -> None:
    key = storage.store_force_field(source)
    assert storage.store_force_field(source) == key
    assert storage.has_force_field(source) == key
    assert storage.retrieve_force_field(key).json() == source.json()
    assert storage.has_force_field(SmirnoffForceFieldSource("<other/>")) is None
    with pytest.raises(KeyError):
        storage.retrieve_force_field("missing")


def test_better_data_replaces_the_old_and_its_files(storage: Any, tmp_path: Path) -> None:
    key = storage.store_object(simulation(), make_files(tmp_path / "one"))
    _, old_path = storage.retrieve_object(key)
    better = simulation(statistical_inefficiency=1.0)
    assert storage.store_object(better, make_files(tmp_path / "two", extra="new")) == key
    found, path = storage.retrieve_object(key)
    assert found.statistical_inefficiency == 1.0
    assert (Path(path) / "extra").read_text() == "new"
    assert not (Path(old_path) / "extra").exists()
    assert storage.store_object(simulation(), make_files(tmp_path / "three")) == key
    assert storage.retrieve_object(key)[0].statistical_inefficiency == 1.0


def test_users_own_classes_are_kept_and_found(storage: Any, tmp_path: Path) -> None:
    note = NoteData(text="hello", values={"a": np.array([1.5, np.nan], dtype=np.float32)})
    key = storage.store_object(note)
    assert storage.store_object(note) == key
    found, path = storage.retrieve_object(key, NoteData)
    assert (type(found), found.text, path) == (NoteData, "hello", None)
    assert found.values["a"].dtype == np.float32
    assert found.values["a"].tobytes() == note.values["a"].tobytes()
    assert groups(storage.query(NoteQuery(text="hello"))) == [[key]]
    assert storage.query(NoteQuery(text="other")) == {}
    umbrella = simulation(UmbrellaData, window=3, source_calculation_id="umbrella")
    umbrella_key = storage.store_object(umbrella, make_files(tmp_path / "run"))
    found, path = storage.retrieve_object(umbrella_key)
    assert (type(found), found.window) == (UmbrellaData, 3)
    assert (Path(path) / "output.pdb").read_text() == "output.pdb"
    with EvaluatorStorage(storage.archive.path, mode="r") as again:
        assert again.has_object(umbrella) == umbrella_key
        assert again.has_object(note) == key


def test_replaceable_objects_of_users_are_replaced_as_their_class_says(storage: Any, tmp_path: Path) -> None:
    make = {"of": UmbrellaData, "window": 3}
    key = storage.store_object(simulation(**make), make_files(tmp_path / "one"))
    better = simulation(**make, statistical_inefficiency=1.0)
    assert storage.store_object(better, make_files(tmp_path / "two", extra="new")) == key
    found, path = storage.retrieve_object(key, UmbrellaData)
    assert found.statistical_inefficiency == 1.0
    assert (Path(path) / "extra").read_text() == "new"
    worse = simulation(**make, statistical_inefficiency=9.0)
    assert storage.store_object(worse, make_files(tmp_path / "three")) == key
    assert storage.retrieve_object(key)[0].statistical_inefficiency == 1.0
    assert len(storage) == 1


def test_people_without_evaluator_see_users_objects_too(storage: Any, tmp_path: Path) -> None:
    key = storage.store_object(simulation(UmbrellaData, window=3), make_files(tmp_path / "run"))
    with HDF5Storage(storage.archive.path, "r") as plain:
        found, path = plain.retrieve_object(key)
        assert found is not None
        assert found.to_document()["type_string"] == "evaluator_objects_for_tests.UmbrellaData"
        assert (Path(path) / "output.pdb").read_text() == "output.pdb"


def test_ancillary_data_is_copied_and_moved_only_by_choice(storage: Any, tmp_path: Path) -> None:
    one, two, three = (make_files(tmp_path / name) for name in ("one", "two", "three"))
    storage.store_object(simulation(), one)
    assert Path(one).is_dir()
    storage.store_object(simulation(source_calculation_id="2"), two, move=True)
    assert not Path(two).exists()
    storage.store_object(
        simulation(source_calculation_id="2", statistical_inefficiency=9.0), three, move=True
    )
    assert Path(three).is_dir(), "what was not stored is not deleted"
    with EvaluatorStorage(tmp_path / "moving.h5", move=True) as moving:
        moving.store_object(simulation(), one)
    assert not Path(one).exists()


def test_all_ways_of_the_constructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for arguments, keywords, container in (
        ((), {}, "stored_data.h5"),
        (("a.h5",), {}, "a.h5"),
        ((tmp_path / "b.h5",), {"cache_objects_in_memory": True}, "b.h5"),
        (("empty",), {}, "empty/stored_data.h5"),
        (("empty",), {}, "empty/stored_data.h5"),
        (("missing",), {}, "missing/stored_data.h5"),
        ((), {"root_directory": "other"}, "other/stored_data.h5"),
    ):
        with EvaluatorStorage(*arguments, **keywords) as storage:
            assert storage.archive.path == tmp_path / container
            assert storage.root_directory == str((tmp_path / container).parent)


def test_a_directory_of_local_file_storage_says_how_to_import_it() -> None:
    with pytest.raises(InvalidDataError, match="simarchive import"):
        EvaluatorStorage(STORED_DATA)


def test_an_object_of_another_type_than_expected_is_an_error(examples: Any) -> None:
    with pytest.raises(ValueError, match="StoredSimulationData"):
        examples.retrieve_object(KEYS["ForceFieldData"][0], StoredSimulationData)
    assert examples.retrieve_object("missing") == (None, None)


def test_a_removed_object_is_gone(storage: Any, tmp_path: Path) -> None:
    data = simulation()
    key = storage.store_object(data, make_files(tmp_path / "run"))
    storage.remove_object(key)
    assert storage.retrieve_object(key) == (None, None)
    assert storage.has_object(data) is None
    with pytest.raises(NotFoundError):
        storage.remove_object(key)


@pytest.mark.parametrize("kind", ["path", "evaluator", "mutable", "ours", "hdf5", "other backend"])
def test_update_takes_any_storage_and_keeps_the_keys(tmp_path: Path, kind: str, examples: Any) -> None:
    shutil.copytree(STORED_DATA, tmp_path / "copy")
    directory = str(tmp_path / "copy")

    class OtherBackend(LocalFileStorage):  # type: ignore[misc]
        pass

    other = {
        "path": lambda: directory,
        "evaluator": lambda: LocalFileStorage(directory),
        "mutable": lambda: MutableLocalFileStorage(directory, cache_objects_in_memory=True),
        "ours": lambda: OurLocalFileStorage(directory, mode="r"),
        "hdf5": lambda: examples.archive,
        "other backend": lambda: OtherBackend(directory),
    }[kind]()
    with EvaluatorStorage(tmp_path / "target.h5") as target:
        report = target.update(other)
        assert report.unreadable == {}
        assert sorted(target) == sorted(key for keys in KEYS.values() for key in keys)
        target += other
        assert len(target) == 13
        assert groups(target.query(SimulationDataQuery(number_of_molecules=180))) == groups(
            examples.query(SimulationDataQuery(number_of_molecules=180))
        )


def test_update_brings_users_objects_from_a_directory(tmp_path: Path) -> None:
    theirs = MutableLocalFileStorage(str(tmp_path / "theirs"))
    note = theirs.store_object(NoteData(text="hello"))
    umbrella = theirs.store_object(simulation(UmbrellaData, window=3), make_files(tmp_path / "run"))
    with EvaluatorStorage(tmp_path / "a.h5") as storage, EvaluatorStorage(tmp_path / "b.h5") as second:
        report = storage.update(theirs)
        assert (report.stored, report.unreadable) == ([note, umbrella], {})
        found, path = storage.retrieve_object(umbrella, UmbrellaData)
        assert (Path(path) / "output.pdb").read_text() == "output.pdb"
        second.update(storage)
        assert second.retrieve_object(note, NoteData)[0].text == "hello"
        assert second.retrieve_object(umbrella, UmbrellaData)[0].window == found.window == 3


def test_evaluators_own_storage_takes_our_objects(examples: Any, tmp_path: Path) -> None:
    theirs = MutableLocalFileStorage(str(tmp_path / "theirs"))
    theirs.update(examples)
    assert {name: len(keys) for name, keys in theirs._stored_object_keys.items()} == {
        name: len(keys) for name, keys in KEYS.items()
    }


def test_going_back_gives_a_directory_that_evaluator_opens(examples: Any, tmp_path: Path) -> None:
    back = OurLocalFileStorage(tmp_path / "back")
    back.update(examples.archive)
    theirs = LocalFileStorage(str(tmp_path / "back"))
    assert {name: sorted(keys) for name, keys in theirs._stored_object_keys.items()} == {
        name: sorted(keys) for name, keys in KEYS.items()
    }
    for expected in EXPECTED:
        query = BaseDataQuery.parse_json(json.dumps(expected["query"]))
        assert groups(theirs.query(query)) == sorted(sorted(keys) for keys in expected["matches"].values())


def test_a_subset_holds_what_passes_and_the_force_field_it_refers_to(examples: Any, tmp_path: Path) -> None:
    with examples.subset(tmp_path / "sub.h5", include_substances=[Substance.from_components("CO")]) as subset:
        stored = {type(subset.retrieve_object(key)[0]).__name__ for key in subset}
        assert stored == {"ForceFieldData", "StoredSimulationData"}
        assert set(subset) <= set(examples)
    with pytest.raises(ValueError, match="not empty"):
        examples.subset(tmp_path / "sub.h5")
    component = Component("O")
    with pytest.raises(ValueError, match="component"):
        examples.subset(tmp_path / "x.h5", include_components=[component], exclude_components=[component])


def test_an_incomplete_object_is_refused(storage: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="observables"):
        storage.store_object(simulation(observables=None), make_files(tmp_path / "run"))
    with pytest.raises(ValueError, match="observables"):
        storage.store_object(
            simulation(UmbrellaData, window=1, observables=None), make_files(tmp_path / "run")
        )
    with pytest.raises(WrongTypeError):
        storage.store_object(None)
    assert len(storage) == 0


SCRIPT = """
import sys
from openff.evaluator.storage.attributes import StorageAttribute
from openff.evaluator.storage.data import HashableStoredData
from simarchive.interop.openff import EvaluatorStorage

class ScriptData(HashableStoredData):
    name = StorageAttribute(docstring="", type_hint=str)

    @classmethod
    def has_ancillary_data(cls):
        return False

    def __hash__(self):
        return hash(self.name)

with EvaluatorStorage(sys.argv[1]) as storage:
    key = storage.store_object(ScriptData(name="a"))
    found, _ = storage.retrieve_object(key, ScriptData)
    print(key, found.name, len(storage))
"""


def test_a_class_of_a_script_is_kept_for_the_next_run_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), str(tmp_path / "a.h5")]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        for _ in range(2)
    )
    assert first == second
    key, *rest = first.split()
    assert rest == ["a", "1"]
    with (
        EvaluatorStorage(tmp_path / "a.h5", mode="r") as storage,
        pytest.raises(InvalidDataError, match="define or import it in the one that runs now"),
    ):
        storage.retrieve_object(key)


def test_an_empty_file_name_says_that_there_is_no_such_file(storage: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    data = simulation(coordinate_file_name="", trajectory_file_name="")
    key = storage.store_object(data, tmp_path / "run")
    found, path = storage.retrieve_object(key, StoredSimulationData)
    assert found.json() == data.json()
    assert list(Path(path).iterdir()) == []


def test_the_scratch_directory_vanishes_with_the_storage_unless_it_is_named(tmp_path: Path) -> None:
    for named in (None, tmp_path / "scratch"):
        with EvaluatorStorage(tmp_path / "a.h5", scratch_directory=named) as storage:
            _, path = storage.retrieve_object(
                storage.store_object(simulation(), make_files(tmp_path / "run"))
            )
            assert Path(path).is_dir()
        assert Path(path).is_dir() is (named is not None)
    with EvaluatorStorage(tmp_path / "a.h5", scratch_directory=tmp_path / "scratch") as storage:
        assert storage.retrieve_object(next(iter(storage)))[1] == path, (
            "files of an earlier session are used again"
        )
        (Path(path) / "output.pdb").write_text("OUTPUT.PDB")
        storage.retrieve_object(next(iter(storage)))
        assert (Path(path) / "output.pdb").read_text() == "output.pdb"


def test_nobody_takes_away_the_files_of_an_open_storage(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with EvaluatorStorage(tmp_path / "a.h5", scratch_directory=scratch) as storage:
        key = storage.store_object(simulation(), make_files(tmp_path / "run"))
        _, path = storage.retrieve_object(key)
        gc.collect()
        with Scratch(scratch) as other:
            other.clear()
            assert (Path(path) / "output.pdb").is_file()
    with Scratch(scratch) as other:
        other.clear()
    assert not Path(path).exists()


def test_moving_never_deletes_what_the_storage_extracted(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with EvaluatorStorage(tmp_path / "link" / "a.h5", move=True) as storage:
        key = storage.store_object(simulation(), make_files(tmp_path / "run"))
        _, path = storage.retrieve_object(key)
        assert storage.store_object(simulation(statistical_inefficiency=1.0), path) == key
        assert (Path(path) / "output.pdb").is_file()


def test_named_objects_are_found_by_content(storage: Any) -> None:
    keys = {storage.store_object(NamedData(name=name)) for name in ("a", "b", "a")}
    assert len(keys) == 2


def test_the_directory_of_newer_data_never_looks_older(storage: Any, tmp_path: Path) -> None:
    # Evaluator's ReweightingLayer takes the newest, by the time at which their directories changed.
    one, two, three = (
        storage.store_object(simulation(source_calculation_id=name), make_files(tmp_path / name))
        for name in ("one", "two", "three")
    )
    time.sleep(1.1)  # The time of a store is kept in whole seconds.
    better = simulation(source_calculation_id="two", statistical_inefficiency=1.0)
    assert storage.store_object(better, tmp_path / "two") == two
    for key in (two, three, one):
        storage.retrieve_object(key)
    query = SimulationDataQuery()
    query.substance = Substance.from_components("O")
    (matches,) = storage.query(query).values()
    assert [key for key, _, _ in matches] == [one, three, two]
    changed = [Path(path).stat().st_ctime_ns for _, _, path in matches]
    assert changed == sorted(changed)

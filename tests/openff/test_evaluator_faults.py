"""The faults B01-B32 of Evaluator's own storages, each tried on `EvaluatorStorage`."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import textwrap
import threading
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
    from openff.evaluator.datasets import PropertyPhase
    from openff.evaluator.forcefield import SmirnoffForceFieldSource
    from openff.evaluator.storage.data import ForceFieldData, StoredSimulationData
    from openff.evaluator.storage.query import ForceFieldQuery, SimulationDataQuery, SubstanceQuery
    from openff.evaluator.substances import Component, ExactAmount, MoleFraction, Substance
    from openff.evaluator.thermodynamics import ThermodynamicState
    from openff.evaluator.utils.observables import ObservableArray, ObservableFrame
    from openff.units import unit

from simarchive import HDF5Storage
from simarchive.errors import InvalidDataError, StorageError, WrongTypeError
from simarchive.interop.openff import EvaluatorStorage
from simarchive.storage.evaluator_json import EvaluatorObject

HERE = Path(__file__).parent


def count(found: Any) -> int:
    return sum(len(matches) for matches in found.values())


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    source = str(Path(sys.modules["simarchive"].__file__ or "").parents[1])
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, str(HERE)]), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_b01_the_same_calculation_is_stored_once_however_often_it_comes(storage: Any, tmp_path: Path) -> None:
    files = make_files(tmp_path / "run")
    keys = {storage.store_object(simulation(statistical_inefficiency=2.0 + n), files) for n in range(5)}
    assert (len(keys), len(storage)) == (1, 1)


def test_b02_the_same_free_energy_twice_is_one_and_another_is_kept_beside_it(
    storage: Any, tmp_path: Path
) -> None:
    files = make_files(tmp_path / "run")
    key = storage.store_object(free_energy(), files)
    assert storage.store_object(free_energy(), files) == key
    other = storage.store_object(free_energy(end_state_trajectory="output.pdb"), files)
    assert other != key
    with EvaluatorStorage(tmp_path / "second.h5") as second:
        second.update(storage)
        second.update(storage)
        assert sorted(second) == sorted([key, other])


def test_b03_objects_whose_hashes_collide_are_two(storage: Any) -> None:
    assert hash(NamedData(name=-1)) == hash(NamedData(name=-2))
    keys = [storage.store_object(NamedData(name=name)) for name in (-1, -2, -1)]
    assert keys[0] == keys[2] != keys[1]
    assert storage.retrieve_object(keys[1])[0].name == -2


def test_b04_another_process_with_another_hash_seed_finds_the_object(storage: Any) -> None:
    key = storage.store_object(NamedData(name="text"))
    code = f"""
        from simarchive.interop.openff import EvaluatorStorage
        from evaluator_objects_for_tests import NamedData
        with EvaluatorStorage({str(storage.archive.path)!r}) as storage:
            print("found", storage.store_object(NamedData(name="text")))
    """
    for seed in ("1", "2"):
        assert f"found {key}" in python(code, PYTHONHASHSEED=seed).communicate(timeout=120)[0]


def test_b05_two_instances_keep_each_others_objects(storage: Any) -> None:
    with EvaluatorStorage(storage.archive.path) as second:
        keys = [
            each.store_force_field(SmirnoffForceFieldSource(f"<SMIRNOFF version='{number}'/>"))
            for number, each in enumerate((storage, second, storage, second))
        ]
        assert list(storage) == list(second) == keys


def test_b06_what_was_stored_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    code = f"""
        from simarchive.interop.openff import EvaluatorStorage
        from openff.evaluator.forcefield import SmirnoffForceFieldSource
        storage = EvaluatorStorage({str(tmp_path / "a.h5")!r})
        for number in range(100000):
            source = SmirnoffForceFieldSource("<SMIRNOFF v='%d'/>" % number)
            print(storage.store_force_field(source), flush=True)
    """
    child = python(code)
    assert child.stdout is not None
    keys: list[str] = []
    for line in child.stdout:
        if len(line.strip()) == 32:
            keys.append(line.strip())
        if len(keys) == 40:
            child.send_signal(signal.SIGKILL)
            break
    keys += [line.strip() for line in child.stdout if len(line) == 33]
    child.wait(timeout=60)
    child.stdout.close()
    with EvaluatorStorage(tmp_path / "a.h5") as storage:
        assert set(keys) <= set(storage)
        assert len(storage) <= len(keys) + 1


@pytest.mark.parametrize("of", [StoredSimulationData, UmbrellaData])
def test_b07_replacing_with_bad_files_keeps_the_old_and_a_failed_store_leaves_nothing(
    storage: Any, tmp_path: Path, of: Any
) -> None:
    window = {"window": 1} if of is UmbrellaData else {}
    with pytest.raises(StorageError, match="missing"):
        storage.store_object(simulation(of, **window), tmp_path / "missing")
    assert len(storage) == 0
    key = storage.store_object(simulation(of, **window), make_files(tmp_path / "run"))
    with pytest.raises(StorageError, match="missing"):
        storage.store_object(simulation(of, **window, statistical_inefficiency=1.0), tmp_path / "missing")
    found, path = storage.retrieve_object(key)
    assert found.statistical_inefficiency == 2.0
    assert (Path(path) / "output.pdb").read_text() == "output.pdb"


def test_b08_merging_with_itself_and_storing_what_was_retrieved_change_nothing(tmp_path: Path) -> None:
    with (
        EvaluatorStorage(tmp_path / "a.h5", move=True) as storage,
        EvaluatorStorage(tmp_path / "a.h5") as same,
    ):
        key = storage.store_object(simulation(), make_files(tmp_path / "run"))
        before = (tmp_path / "a.h5").read_bytes()
        storage += storage
        storage += same
        assert storage.store_object(*storage.retrieve_object(key)) == key
        storage.archive.close()
    with EvaluatorStorage(tmp_path / "a.h5") as storage:
        assert list(storage) == [key]
        assert (Path(storage.retrieve_object(key)[1]) / "output.pdb").read_text() == "output.pdb"
    assert len(before) <= (tmp_path / "a.h5").stat().st_size


def test_b09_keys_survive_merge_and_subset_so_that_references_hold(storage: Any, tmp_path: Path) -> None:
    force_field_id = storage.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
    files = make_files(tmp_path / "run")
    keys = [
        storage.store_object(simulation(force_field_id=force_field_id), files),
        storage.store_object(simulation(UmbrellaData, window=1, force_field_id=force_field_id), files),
    ]
    with storage.subset(tmp_path / "subset.h5") as subset, EvaluatorStorage(tmp_path / "merged.h5") as merged:
        merged.update(storage)
        for copy in (subset, merged):
            assert sorted(copy) == sorted([force_field_id, *keys])
            for key in keys:
                found, _ = copy.retrieve_object(key)
                assert copy.retrieve_force_field(
                    found.force_field_id
                ).json() == '{"inner_xml": "<SMIRNOFF/>", ' + (
                    '"@type": "openff.evaluator.forcefield.forcefield.SmirnoffForceFieldSource"}'
                )


def test_b09_a_key_that_must_change_changes_in_references_too(storage: Any, tmp_path: Path) -> None:
    force_field_id = storage.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
    files = make_files(tmp_path / "run")
    known = storage.store_object(simulation(force_field_id=force_field_id), files)
    users = storage.store_object(simulation(UmbrellaData, window=1, force_field_id=force_field_id), files)
    with EvaluatorStorage(tmp_path / "target.h5") as target:
        other_key = target.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
        report = target.update(storage)
        assert report.new_keys == {force_field_id: other_key}
        for key in (known, users):
            assert target.retrieve_object(key)[0].force_field_id == other_key


def test_b10_with_the_cache_asked_for_nothing_is_stale_or_shared(tmp_path: Path) -> None:
    with EvaluatorStorage(tmp_path / "a.h5", cache_objects_in_memory=True) as storage:
        assert storage.retrieve_object("later") == (None, None)
        data = simulation()
        key = storage.store_object(data, make_files(tmp_path / "run"), move=True)
        data.number_of_molecules = 99
        first, path = storage.retrieve_object(key)
        assert first.number_of_molecules == 10
        first.number_of_molecules = 7
        assert storage.retrieve_object(key)[0].number_of_molecules == 10
        with pytest.raises(WrongTypeError):
            storage.retrieve_object(key, ForceFieldData)
        Path(path).rename(tmp_path / "moved away")
        assert (Path(storage.retrieve_object(key)[1]) / "output.pdb").is_file()


def test_b11_components_only_in_another_role_is_no_match(storage: Any, tmp_path: Path) -> None:
    solute = Substance()
    solute.add_component(Component("O", Component.Role.Solute), MoleFraction(1.0))
    files = make_files(tmp_path / "run")
    storage.store_object(simulation(substance=solute), files)
    solvent = storage.store_object(simulation(), files)
    query = SimulationDataQuery(substance=Substance.from_components("O", "CO"))
    query.substance_query = SubstanceQuery(components_only=True)
    assert [key for matches in storage.query(query).values() for key, _, _ in matches] == [solvent]


def test_b11_a_query_for_both_roles_finds_the_one_that_is_there(storage: Any, tmp_path: Path) -> None:
    solute, both = Substance(), Substance()
    solute.add_component(Component("O", Component.Role.Solute), ExactAmount(1))
    both.add_component(Component("O", Component.Role.Solvent), MoleFraction(1.0))
    both.add_component(Component("O", Component.Role.Solute), ExactAmount(1))
    storage.store_object(simulation(substance=solute), make_files(tmp_path / "run"))
    query = SimulationDataQuery(substance=both)
    query.substance_query = SubstanceQuery(components_only=True)
    assert count(storage.query(query)) == 1


def test_b12_remains_empty_queries_answer_as_evaluators_query_classes_say(
    storage: Any, tmp_path: Path
) -> None:
    source = SmirnoffForceFieldSource("<SMIRNOFF/>")
    key = storage.store_force_field(source)
    storage.store_object(simulation(), make_files(tmp_path / "run"))
    assert storage.query(SimulationDataQuery()) == {}
    assert [key for key, _, _ in storage.query(ForceFieldQuery())[()]] == [key]
    assert storage.query(ForceFieldQuery(force_field_source=source)) == {}


def test_b13_remains_states_that_round_alike_are_one_for_storing_and_finding(
    storage: Any, tmp_path: Path
) -> None:
    files = make_files(tmp_path / "run")
    key = storage.store_object(simulation(), files)
    alike = ThermodynamicState(298.1500001 * unit.kelvin, 101.325 * unit.kilopascal)
    assert storage.has_object(simulation(thermodynamic_state=alike)) == key
    assert count(storage.query(SimulationDataQuery(thermodynamic_state=alike))) == 1


def test_b15_arrays_keep_dtype_and_bits(storage: Any, tmp_path: Path) -> None:
    values = np.array([[np.nan], [-0.0], [np.inf], [1.1]], dtype=np.float32)
    frame = ObservableFrame({"Temperature": ObservableArray(values * unit.kelvin)})
    key = storage.store_object(simulation(observables=frame), make_files(tmp_path / "run"))
    found = storage.retrieve_object(key)[0].observables["Temperature"].value.magnitude
    assert found.dtype == np.float32
    assert found.tobytes() == values.tobytes()
    empty = ObservableFrame({"Temperature": ObservableArray(np.zeros((0, 1)) * unit.kelvin)})
    key = storage.store_object(
        simulation(observables=empty, source_calculation_id="2"), make_files(tmp_path / "run")
    )
    assert storage.retrieve_object(key)[0].observables["Temperature"].value.shape == (0, 1)


def test_b16_a_temperature_in_degrees_celsius_is_stored_and_read_back(storage: Any, tmp_path: Path) -> None:
    state = ThermodynamicState(unit.Quantity(25, unit.degree_Celsius))
    key = storage.store_object(simulation(thermodynamic_state=state), make_files(tmp_path / "run"))
    umbrella = simulation(UmbrellaData, window=1, thermodynamic_state=state)
    other = storage.store_object(umbrella, make_files(tmp_path / "run"))
    with EvaluatorStorage(storage.archive.path) as again:
        for stored in (key, other):
            found, _ = again.retrieve_object(stored)
            assert found.thermodynamic_state == state
            assert str(found.thermodynamic_state.temperature.units) == "degree_Celsius"


def test_b17_on_a_tie_the_new_data_and_its_files_win_together(storage: Any, tmp_path: Path) -> None:
    key = storage.store_object(simulation(), make_files(tmp_path / "one"))
    assert storage.store_object(simulation(), make_files(tmp_path / "two", extra="new")) == key
    assert (Path(storage.retrieve_object(key)[1]) / "extra").read_text() == "new"


def test_b18_wrong_arguments_get_our_errors_and_paths_may_be_path_or_str(
    storage: Any, tmp_path: Path
) -> None:
    for wrong in ("x", None, 7):
        with pytest.raises(WrongTypeError, match="data classes"):
            storage.store_object(wrong)
    with pytest.raises(InvalidDataError, match="not a path"):
        EvaluatorStorage(7)  # type: ignore[arg-type]
    make_files(tmp_path / "run")
    assert storage.store_object(simulation(), tmp_path / "run")


def test_b19_a_key_leads_nowhere_else(storage: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    for key in ("../secret", "/etc/passwd", "", ".", "object_keys", "objects", "index"):
        assert storage.retrieve_object(key) == (None, None)
        with pytest.raises(KeyError):
            storage.remove_object(key)


def test_b20_a_relative_path_stays_good_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with EvaluatorStorage("relative.h5") as storage:
        key = storage.store_object(simulation(), make_files(tmp_path / "run"))
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert Path(storage.retrieve_object(key)[1]).is_absolute()
        storage.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_b21_asking_a_result_for_a_missing_group_is_a_key_error(storage: Any, tmp_path: Path) -> None:
    storage.store_object(simulation(), make_files(tmp_path / "run"))
    found = storage.query(SimulationDataQuery(number_of_molecules=10))
    with pytest.raises(KeyError):
        found["missing"]
    assert len(found) == 1


def test_b22_a_query_finds_objects_of_subclasses(storage: Any, tmp_path: Path) -> None:
    key = storage.store_object(simulation(UmbrellaData, window=1), make_files(tmp_path / "run"))
    found = storage.query(SimulationDataQuery(number_of_molecules=10))
    assert [(key, type(stored)) for matches in found.values() for key, stored, _ in matches] == [
        (key, UmbrellaData)
    ]


def test_b23_opening_writes_nothing(storage: Any, tmp_path: Path) -> None:
    storage.store_object(simulation(), make_files(tmp_path / "run"))
    path = storage.archive.path
    storage.close()
    before = {
        file: (file.stat().st_mtime_ns, file.is_file() and file.read_bytes())
        for file in path.parent.iterdir()
    }
    for mode in ("a", "r"):
        with EvaluatorStorage(path, mode=mode) as again:
            assert count(again.query(SimulationDataQuery(number_of_molecules=10))) == 1
    assert {
        file: (file.stat().st_mtime_ns, file.is_file() and file.read_bytes()) for file in before
    } == before


def test_b24_one_bad_object_does_not_block_the_others(
    storage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = storage.store_object(NoteData(text="good"))
    bad = storage.archive.store_object(
        EvaluatorObject.of({"@type": "evaluator_objects_for_tests.NoteData", "text": 5})
    )
    found = storage.query(NoteQuery())
    assert [key for matches in found.values() for key, _, _ in matches] == [good]
    assert bad in caplog.text
    with pytest.raises(StorageError, match="NoteData"):
        storage.retrieve_object(bad)
    assert EvaluatorStorage(storage.archive.path).retrieve_object(good)[0].text == "good"


@pytest.mark.parametrize(
    "unreadable", [{"a": {1: "integer key"}}, {"a": threading.Lock}, {"a": datetime.date(2024, 1, 1)}]
)
def test_b25_what_could_not_be_read_back_is_refused(storage: Any, unreadable: Any) -> None:
    with pytest.raises(InvalidDataError):
        storage.store_object(NoteData(text="x", values=unreadable))
    assert len(storage) == 0


def test_b26_a_stored_type_string_imports_nothing(
    storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_by_test.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for type_string in ("planted_by_test.Anything", "subprocess.Popen", "os.system"):
        key = storage.archive.store_object(EvaluatorObject.of({"@type": type_string, "args": "true"}))
        with pytest.raises(InvalidDataError, match="no loaded class"):
            storage.retrieve_object(key)
    assert "planted_by_test" not in sys.modules


def test_b27_filters_may_be_generators_and_an_empty_filter_is_none(storage: Any, tmp_path: Path) -> None:
    files = make_files(tmp_path / "run")
    for number, smiles in enumerate(("O", "CO", "C")):
        storage.store_object(
            simulation(substance=Substance.from_components(smiles), source_calculation_id=str(number)), files
        )
    wanted = (Substance.from_components(smiles) for smiles in ("O", "CO"))
    with storage.subset(tmp_path / "1.h5", include_substances=wanted) as subset:
        assert len(subset) == 2
    with storage.subset(tmp_path / "2.h5", include_substances=[], exclude_components=iter(())) as subset:
        assert len(subset) == 3


@pytest.mark.parametrize(
    "make", [simulation, lambda: simulation(UmbrellaData, window=1), lambda: NamedData(name="n")]
)
def test_b28_threads_that_store_the_same_at_once_get_one_key(storage: Any, tmp_path: Path, make: Any) -> None:
    files = make_files(tmp_path / "run")
    start, keys = threading.Barrier(4), []

    def store() -> None:
        data = make()
        start.wait(10)
        keys.append(storage.store_object(data, files if data.has_ancillary_data() else None))

    threads = [threading.Thread(target=store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(keys) == 4
    assert len(set(keys)) == len(storage) == 1


@pytest.mark.parametrize("layers", [("Layer", None), (None, "Layer")])
def test_b29_data_with_and_without_a_layer_are_both_kept(storage: Any, tmp_path: Path, layers: Any) -> None:
    files = make_files(tmp_path / "run")
    keys = [storage.store_object(equilibration(calculation_layer=layer), files) for layer in layers]
    assert keys[0] != keys[1]
    for key, layer in zip(keys, layers, strict=True):
        assert storage.has_object(equilibration(calculation_layer=layer)) == key


def test_b30_a_removed_object_is_no_longer_there(storage: Any, tmp_path: Path) -> None:
    for data, files in ((NamedData(name="n"), None), (simulation(), make_files(tmp_path / "run"))):
        key = storage.store_object(data, files)
        with EvaluatorStorage(storage.archive.path) as second:
            second.remove_object(key)
        assert storage.has_object(data) is None


def test_b31_files_for_a_class_that_has_none_and_files_for_directories_are_refused(
    storage: Any, tmp_path: Path
) -> None:
    force_field = ForceFieldData(force_field_source=SmirnoffForceFieldSource("<SMIRNOFF/>"))
    for data in (force_field, NoteData(text="x")):
        with pytest.raises(InvalidDataError, match="no ancillary data"):
            storage.store_object(data, make_files(tmp_path / "run"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidDataError, match="is a file"):
        storage.store_object(simulation(), tmp_path / "file")
    with pytest.raises(InvalidDataError, match="needs the directory"):
        storage.store_object(simulation())


def test_b32_empty_folders_are_kept_links_inside_are_content_and_links_out_are_refused(
    storage: Any, tmp_path: Path
) -> None:
    run = Path(make_files(tmp_path / "run"))
    (run / "empty").mkdir()
    (run / "link.pdb").symlink_to("output.pdb")
    _, path = storage.retrieve_object(storage.store_object(simulation(), run))
    assert (Path(path) / "empty").is_dir()
    assert (Path(path) / "link.pdb").read_text() == "output.pdb"
    assert not (Path(path) / "link.pdb").is_symlink()
    (run / "out").symlink_to("/etc/hostname")
    with pytest.raises(InvalidDataError, match="leads out"):
        storage.store_object(simulation(source_calculation_id="2"), run)


def test_b14_remains_amounts_are_compared_by_evaluators_own_classes() -> None:
    one, other = MoleFraction(0.5), MoleFraction(0.5 + 4e-6)
    assert one == other
    assert hash(one) != hash(other)


def test_a_phase_of_several_is_found_by_the_index(storage: Any, tmp_path: Path) -> None:
    both = PropertyPhase.Liquid | PropertyPhase.Gas
    storage.store_object(simulation(property_phase=both), make_files(tmp_path / "run"))
    assert count(storage.query(SimulationDataQuery(property_phase=both))) == 1
    assert count(storage.query(SimulationDataQuery(property_phase=PropertyPhase.Gas))) == 0
    with HDF5Storage(storage.archive.path, "r") as plain:
        assert len(plain) == 1

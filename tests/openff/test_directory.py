"""`LocalFileStorage`: directories as OpenFF Evaluator writes them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from simarchive.chemistry import Substance
from simarchive.data import (
    BaseStoredData,
    ForceFieldData,
    StoredSimulationData,
    TrainedModelData,
    register_data_class,
)
from simarchive.errors import (
    ConflictError,
    CorruptError,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageIOError,
    WrongTypeError,
)
from simarchive.queries import SimulationDataQuery
from simarchive.storage.evaluator_directory import LocalFileStorage, rebuild_registry
from simarchive.storage.evaluator_directory import storage as directory_module
from simarchive.storage.evaluator_json import EvaluatorObject

STORED_DATA = Path(__file__).parents[2] / "examples" / "stored_data"
EXPECTED = json.loads((STORED_DATA / "object_keys.json").read_text())["object_keys"]
ALL_KEYS = [key for keys in EXPECTED.values() for key in keys]
A_FORCE_FIELD = EXPECTED["ForceFieldData"][0]
A_SIMULATION = EXPECTED["StoredSimulationData"][0]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the example data."""
    shutil.copytree(STORED_DATA, tmp_path / "stored_data")
    return tmp_path / "stored_data"


def snapshot(directory: Path) -> dict[str, tuple[bytes | None, int]]:
    return {
        str(path.relative_to(directory)): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mtime_ns,
        )
        for path in sorted(directory.rglob("*"))
    }


def water_query() -> SimulationDataQuery:
    query = SimulationDataQuery()
    query.substance = Substance.from_components("O")
    return query


def write_registry(directory: Path, **keys: list[str]) -> None:
    typed = {"object_keys": keys, "@type": "openff.evaluator.storage.storage.StorageBackend._ObjectKeyData"}
    (directory / "object_keys.json").write_text(json.dumps(typed))


def test_all_objects_of_an_evaluator_directory_are_there_under_their_keys(copied: Path) -> None:
    backend = LocalFileStorage(copied)
    assert backend.keys() == ALL_KEYS
    assert len(backend) == 13
    assert backend.problems == {}
    stored, path = backend.retrieve_object(A_SIMULATION)
    assert isinstance(stored, StoredSimulationData)
    assert Path(path) == copied / A_SIMULATION
    assert (Path(path) / "trajectory.dcd").is_file()
    assert isinstance(backend.retrieve_object(A_FORCE_FIELD)[0], ForceFieldData)
    assert backend.retrieve_object(A_FORCE_FIELD)[1] is None


def test_b23_opening_and_reading_write_nothing(copied: Path) -> None:
    before = snapshot(copied)
    for mode in ("a", "r"):
        backend = LocalFileStorage(copied, mode=mode)
        backend.query(water_query())
        backend.retrieve_object(A_SIMULATION)
    assert snapshot(copied) == before


def test_what_is_copied_out_means_the_same_and_the_files_are_identical(copied: Path, tmp_path: Path) -> None:
    target = LocalFileStorage(tmp_path / "exported")
    target.update(LocalFileStorage(copied, mode="r"))
    files = {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()}
    assert {
        path.relative_to(target.directory) for path in target.directory.rglob("*") if path.is_file()
    } == files
    for file in files:
        assert (target.directory / file).read_bytes() == (copied / file).read_bytes(), file


def test_a_query_groups_as_evaluator_does(copied: Path) -> None:
    found = LocalFileStorage(copied, mode="r").query(water_query())
    assert isinstance(found, dict)
    assert not hasattr(found, "__missing__")
    assert [[key for key, _, _ in matches] for matches in found.values()] == [
        [EXPECTED["StoredSimulationData"][index] for index in (0, 1, 2, 3)]
    ]


def test_a_missing_key_gives_nothing_and_a_wrong_type_an_error(copied: Path) -> None:
    backend = LocalFileStorage(copied, mode="r")
    assert backend.retrieve_object("missing") == (None, None)
    assert backend.retrieve_object("../stored_data/x") == (None, None)
    assert backend.retrieve_object("object_keys") == (None, None)
    with pytest.raises(WrongTypeError, match="ForceFieldData"):
        backend.retrieve_object(A_SIMULATION, ForceFieldData)


def test_keys_that_are_no_uuids_are_fine(copied: Path) -> None:
    for suffix in (".json", ""):
        (copied / f"{A_SIMULATION}{suffix}").rename(copied / f"my-run.1{suffix}")
    write_registry(copied, StoredSimulationData=["my-run.1"])
    backend = LocalFileStorage(copied)
    assert backend.keys() == ["my-run.1"]
    assert backend.retrieve_object("my-run.1")[0] is not None


def test_dangling_and_impossible_keys_are_skipped_and_reported(copied: Path) -> None:
    write_registry(
        copied,
        StoredSimulationData=[A_SIMULATION, "gone", "half", "../outside", "my run", A_SIMULATION],
        ForceFieldData=[],
    )
    (copied / "half").mkdir()
    backend = LocalFileStorage(copied)
    assert backend.keys() == [A_SIMULATION]
    assert "no file half.json" in backend.problems["half"], "its files are there: this is damage"
    assert (backend.without_object, "gone" in backend.problems) == (["gone"], False)
    assert backend.remarks == ["the registry names 1 key that has no object any more: gone"]
    assert "must not start with '.'" in backend.problems["../outside"]
    assert "spaces" in backend.problems["my run"]
    assert A_SIMULATION not in backend.problems


@pytest.mark.parametrize("text", ["", "{", "[]", '{"object_keys": [1]}', '{"object_keys": {"A": 1}}', "{}"])
def test_a_registry_that_is_none_is_refused_and_nothing_is_lost(copied: Path, text: str) -> None:
    (copied / "object_keys.json").write_text(text)
    before = snapshot(copied)
    with pytest.raises(CorruptError, match="is not a registry"):
        LocalFileStorage(copied)
    assert snapshot(copied) == before


def test_a_missing_registry_beside_objects_is_refused_and_can_be_made_anew(copied: Path) -> None:
    (copied / "object_keys.json").unlink()
    with pytest.raises(CorruptError, match="rebuild_registry"):
        LocalFileStorage(copied)
    rebuild_registry(copied)
    assert sorted(LocalFileStorage(copied).keys()) == sorted(ALL_KEYS)


def test_a_rebuilt_registry_keeps_the_old_one_beside_it(copied: Path) -> None:
    (copied / "object_keys.json").write_text("{")
    rebuild_registry(copied)
    assert (copied / "object_keys.json.old").read_text() == "{"
    assert len(LocalFileStorage(copied)) == 13


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"@type": 7}', '{"@type": "openff.evaluator.storage.data.ForceFieldData"}']
)
def test_b24_one_bad_object_is_reported_and_skipped(copied: Path, text: str) -> None:
    (copied / f"{A_SIMULATION}.json").write_text(text)
    backend = LocalFileStorage(copied)
    found = backend.query(water_query())
    assert sum(map(len, found.values())) == 3
    assert list(backend.problems) == [A_SIMULATION]
    with pytest.raises(StorageError) as caught:
        backend.retrieve_object(A_SIMULATION)
    assert A_SIMULATION in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_an_object_whose_files_are_gone_is_reported_and_still_found(copied: Path) -> None:
    shutil.rmtree(copied / A_SIMULATION)
    backend = LocalFileStorage(copied)
    stored, path = backend.retrieve_object(A_SIMULATION)
    assert stored is not None
    assert path is None
    assert "files is missing" in backend.problems[A_SIMULATION]


def test_objects_of_a_class_that_only_a_users_program_knows_lose_nothing(
    copied: Path, tmp_path: Path
) -> None:
    typed = json.loads((copied / f"{A_SIMULATION}.json").read_text())
    typed |= {"window": 3, "@type": "my_program.storage.UmbrellaData"}
    (copied / f"{A_SIMULATION}.json").write_text(json.dumps(typed))
    write_registry(copied, UmbrellaData=[A_SIMULATION])
    backend = LocalFileStorage(copied, mode="r")
    stored, path = backend.retrieve_object(A_SIMULATION)
    assert isinstance(stored, EvaluatorObject)
    assert stored.type_string == "my_program.storage.UmbrellaData"
    assert stored.substance == Substance.from_components("O")
    assert Path(path) == copied / A_SIMULATION
    target = LocalFileStorage(tmp_path / "target")
    target.update(backend)
    assert json.loads((tmp_path / "target" / f"{A_SIMULATION}.json").read_text()) == typed
    assert json.loads((tmp_path / "target" / "object_keys.json").read_text())["object_keys"] == {
        "UmbrellaData": [A_SIMULATION]
    }


def simulation_and_files(copied: Path, tmp_path: Path) -> tuple[StoredSimulationData, Path]:
    stored, path = LocalFileStorage(copied, mode="r").retrieve_object(A_SIMULATION, StoredSimulationData)
    assert isinstance(stored, StoredSimulationData)
    shutil.copytree(path, tmp_path / "run")
    return stored, tmp_path / "run"


def test_ancillary_data_is_copied_never_moved(copied: Path, tmp_path: Path) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    before = snapshot(run)
    backend = LocalFileStorage(tmp_path / "new")
    key = backend.store_object(stored, run)
    assert snapshot(run) == before
    assert (tmp_path / "new" / key / "trajectory.dcd").read_bytes() == (run / "trajectory.dcd").read_bytes()


def test_better_data_replaces_the_old_under_its_key(copied: Path, tmp_path: Path) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    backend = LocalFileStorage(copied)
    (run / "extra.txt").write_text("new")
    stored.statistical_inefficiency = 0.5
    assert backend.store_object(stored, run) == A_SIMULATION
    again, path = backend.retrieve_object(A_SIMULATION, StoredSimulationData)
    assert isinstance(again, StoredSimulationData)
    assert again.statistical_inefficiency == 0.5
    assert (Path(path) / "extra.txt").read_text() == "new"
    assert not [path for path in copied.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("failing", ["copy_files", "write_text"])
def test_b07_a_failure_while_replacing_leaves_the_old(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    (run / "extra.txt").write_text("new")
    stored.statistical_inefficiency = 0.5
    backend = LocalFileStorage(copied)
    before = {name: content for name, (content, _) in snapshot(copied).items()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory_module, failing, fail)
    with pytest.raises(StorageError, match="no room"):
        backend.store_object(stored, run)
    assert {name: content for name, (content, _) in snapshot(copied).items()} == before


def test_b07_a_failed_first_store_leaves_nothing(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    backend = LocalFileStorage(tmp_path / "new")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(directory_module, "write_text", fail)
    with pytest.raises(StorageIOError):
        backend.store_object(stored, run)
    assert list((tmp_path / "new").iterdir()) == []


def test_b05_two_backends_on_one_directory_keep_each_others_objects(tmp_path: Path) -> None:
    from simarchive.chemistry.force_fields import SmirnoffForceFieldSource

    first, second = LocalFileStorage(tmp_path / "s"), LocalFileStorage(tmp_path / "s")
    keys = [
        backend.store_force_field(SmirnoffForceFieldSource(f"<SMIRNOFF version='{number}'/>"))
        for number, backend in enumerate((first, second, first, second))
    ]
    assert first.keys() == second.keys() == LocalFileStorage(tmp_path / "s").keys() == keys


def test_b08_merging_a_directory_with_itself_changes_nothing(copied: Path) -> None:
    before = snapshot(copied)
    backend = LocalFileStorage(copied)
    backend += LocalFileStorage(copied)
    backend.store_object(*backend.retrieve_object(A_SIMULATION))  # type: ignore[arg-type]
    assert snapshot(copied) == before


def test_b18_a_directory_may_be_str_or_path_and_nothing_else(copied: Path) -> None:
    assert LocalFileStorage(str(copied)).keys() == LocalFileStorage(copied).keys()
    with pytest.raises(InvalidDataError, match="must be a path"):
        LocalFileStorage(7)  # type: ignore[arg-type]


def test_b20_the_directory_is_resolved_when_it_is_opened(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    backend = LocalFileStorage(copied.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(backend) == 13


def test_a_removed_object_is_gone_with_its_files(copied: Path) -> None:
    backend = LocalFileStorage(copied)
    backend.remove_object(A_SIMULATION)
    assert A_SIMULATION not in backend
    assert not [path for path in copied.iterdir() if path.name.startswith(A_SIMULATION)]
    assert A_SIMULATION not in (copied / "object_keys.json").read_text()
    with pytest.raises(NotFoundError):
        backend.remove_object(A_SIMULATION)


def test_b30_an_object_whose_file_was_deleted_is_no_longer_there(copied: Path) -> None:
    backend = LocalFileStorage(copied)
    stored, _ = backend.retrieve_object(A_FORCE_FIELD)
    assert stored is not None
    assert backend.has_object(stored) == A_FORCE_FIELD
    (copied / f"{A_FORCE_FIELD}.json").unlink()
    assert backend.has_object(stored) is None


def test_a_directory_opened_for_reading_refuses_changes(copied: Path) -> None:
    backend = LocalFileStorage(copied, mode="r")
    with pytest.raises(ReadOnlyError, match="mode='a'"):
        backend.remove_object(A_SIMULATION)
    assert A_SIMULATION in backend


def test_what_is_no_directory_of_objects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidDataError, match="is a file"):
        LocalFileStorage(tmp_path / "file")
    with pytest.raises(NotFoundError, match="no directory"):
        LocalFileStorage(tmp_path / "missing", mode="r")
    with pytest.raises(InvalidDataError, match="mode 'w'"):
        LocalFileStorage(tmp_path / "missing", mode="w")
    assert not (tmp_path / "missing").exists()


def test_a_subset_goes_to_a_new_directory_with_its_force_field(copied: Path, tmp_path: Path) -> None:
    backend = LocalFileStorage(copied, mode="r")
    chosen = LocalFileStorage(copied).subset(
        tmp_path / "sub", include_substances=[Substance.from_components("CO")]
    )
    assert [type(chosen.retrieve_object(key)[0]) for key in chosen] == [ForceFieldData, StoredSimulationData]
    assert set(chosen) <= set(backend)
    with pytest.raises(ConflictError):
        LocalFileStorage(copied).subset(tmp_path / "sub")


def test_a_class_that_evaluator_lacks_is_kept_where_evaluator_does_not_look(
    copied: Path, tmp_path: Path
) -> None:
    model = TrainedModelData(
        name="density", framework="torch", target_property="density", domain="liquids", metrics={"rmse": 0.1}
    )
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_bytes(b"weights")
    before = (copied / "object_keys.json").read_bytes()
    backend = LocalFileStorage(copied)
    key = backend.store_object(model, tmp_path / "weights")
    assert (copied / "object_keys.json").read_bytes() == before
    again, path = LocalFileStorage(copied, mode="r").retrieve_object(key, TrainedModelData)
    assert again == model
    assert (Path(path) / "model.pt").read_bytes() == b"weights"
    rebuild_registry(copied)
    assert (copied / "simarchive_keys.json.old").exists()
    assert sorted(LocalFileStorage(copied)) == sorted([*ALL_KEYS, key])


@register_data_class
class Profile(BaseStoredData):
    data_class_name: ClassVar[str] = "OpenffTestProfile"
    data_class_version: ClassVar[int] = 1
    values: np.ndarray[Any, Any] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


def test_b15_arrays_of_such_a_class_keep_their_dtype_and_bits(tmp_path: Path) -> None:
    values = np.array([[1.1, np.nan], [-0.0, np.inf]], dtype=np.float32)
    backend = LocalFileStorage(tmp_path / "s")
    key = backend.store_object(Profile(values=values))
    again, _ = backend.retrieve_object(key, Profile)
    assert isinstance(again, Profile)
    assert again.values is not None
    assert np.asarray(again.values).dtype == np.float32
    assert np.asarray(again.values).tobytes() == values.tobytes()


def test_files_get_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    from simarchive.chemistry.force_fields import SmirnoffForceFieldSource

    old = os.umask(0o027)
    try:
        key = LocalFileStorage(tmp_path / "s").store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
    finally:
        os.umask(old)
    assert (tmp_path / "s" / f"{key}.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_new_files_have_the_permissions_of_the_registry_whatever_the_umask(
    copied: Path, tmp_path: Path, mode: int, umask: int
) -> None:
    (copied / "object_keys.json").chmod(mode)
    stored, run = simulation_and_files(copied, tmp_path)
    run.chmod(0o700)
    stored.source_calculation_id = "another"
    old = os.umask(umask)
    try:
        key = LocalFileStorage(copied).store_object(stored, run)
    finally:
        os.umask(old)
    for name in (f"{key}.json", "object_keys.json"):
        assert (copied / name).stat().st_mode & 0o777 == mode
    assert (copied / key).stat().st_mode & 0o777 == 0o700 | mode | (mode & 0o444) >> 2


def test_a_new_directory_of_files_has_the_permissions_that_the_umask_leaves(
    copied: Path, tmp_path: Path
) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    run.chmod(0o700)
    old = os.umask(0o022)
    try:
        key = LocalFileStorage(tmp_path / "new").store_object(stored, run)
    finally:
        os.umask(old)
    assert (tmp_path / "new" / key).stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to a group that it is not in")
def test_new_files_have_the_group_of_the_registry(copied: Path, tmp_path: Path) -> None:
    stored, run = simulation_and_files(copied, tmp_path)
    stored.source_calculation_id = "another"
    os.chown(copied / "object_keys.json", -1, 12345)
    key = LocalFileStorage(copied).store_object(stored, run)
    for name in (f"{key}.json", key, "object_keys.json"):
        assert (copied / name).stat().st_gid == 12345


def test_no_new_file_is_written_through_a_link(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simarchive.storage.evaluator_directory import files as directory_files

    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(directory_files.secrets, "token_hex", lambda length: "0" * length)
    stored, run = simulation_and_files(copied, tmp_path)
    stored.statistical_inefficiency = 0.5
    real = directory_files.unused_name

    def with_a_link(directory: Path, *parts: str) -> Path:
        path = real(directory, *parts)
        path.symlink_to(victim)
        return path

    for module in ("changes", "rebuilding"):
        monkeypatch.setattr(f"simarchive.storage.evaluator_directory.{module}.unused_name", with_a_link)
    with pytest.raises(StorageIOError):
        LocalFileStorage(copied).store_object(stored, run)
    with pytest.raises(StorageIOError):
        rebuild_registry(copied)
    assert victim.read_text() == "mine"

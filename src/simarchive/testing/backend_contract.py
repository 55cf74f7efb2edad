"""What every storage backend promises, as tests that any backend can run.

Tests whose names begin with ``b`` and a number stand for faults of other stores that must not come back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simarchive import (
    Component,
    ForceFieldData,
    InvalidDataError,
    MoleFraction,
    NotFoundError,
    PropertyPhase,
    SimulationDataQuery,
    SmirnoffForceFieldSource,
    StorageBackend,
    StorageError,
    StoredFreeEnergyData,
    StoredSimulationData,
    Substance,
    TLeapForceFieldSource,
    TrainedModelData,
    WrongTypeError,
)
from simarchive.storage.ancillary import DirectoryFiles
from simarchive.storage.duplicates import Action
from simarchive.testing.sample_objects import equilibration, free_energy, simulation, write_files


class BackendContract:
    """The promises; a class of tests inherits them and gives `open_backend`."""

    def open_backend(self, root: Path) -> StorageBackend:
        """Return an empty backend that keeps what it needs in `root`, which does not exist yet."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[StorageBackend]:
        with self.open_backend(tmp_path / "store") as backend:
            yield backend

    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        return write_files(tmp_path / "files")

    def test_an_empty_backend_has_nothing(self, backend: Any) -> None:
        assert len(backend) == 0
        assert list(backend) == []
        assert backend.query(SimulationDataQuery()) == {}
        assert "1" * 32 not in backend

    def test_what_is_stored_comes_back_equal(self, backend: Any, files: Path) -> None:
        stored = simulation()
        key = backend.store_object(stored, files)
        again, path = backend.retrieve_object(key)
        assert again == stored
        assert again is not stored
        assert (Path(path) / "output.pdb").read_bytes() == (files / "output.pdb").read_bytes()
        assert (Path(path) / "nested" / "deep" / "notes.txt").read_text() == "kept\n"
        assert (Path(path) / "empty").is_dir()

    def test_keys_are_distinct_and_in_stored_order(self, backend: Any, files: Path) -> None:
        keys = [backend.store_object(simulation(calculation=str(n)), files) for n in range(5)]
        assert len(set(keys)) == 5
        assert list(backend) == keys
        assert len(backend) == 5
        assert all(key in backend for key in keys)

    def test_a_missing_key_gives_nothing(self, backend: Any) -> None:
        assert backend.retrieve_object("0" * 32) == (None, None)

    @pytest.mark.parametrize("key", ["../secret", "a/b", "", ".", "..", "object_keys", 7, None])
    def test_b19_a_key_that_is_no_key_is_never_there(self, backend: Any, key: object) -> None:
        assert key not in backend
        assert backend.retrieve_object(key) == (None, None)

    def test_a_wrong_expected_type_is_an_error(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        with pytest.raises(WrongTypeError, match="StoredSimulationData"):
            backend.retrieve_object(key, StoredFreeEnergyData)
        backend.retrieve_object(key, StoredSimulationData)

    def test_the_same_object_is_stored_once(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        assert backend.store_object(simulation(), files) == key
        assert len(backend) == 1

    def test_b08_storing_what_was_retrieved_changes_nothing(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        assert backend.store_object(*backend.retrieve_object(key)) == key
        assert len(backend) == 1
        _, path = backend.retrieve_object(key)
        assert (Path(path) / "trajectory.dcd").read_bytes() == (files / "trajectory.dcd").read_bytes()

    def test_ancillary_data_is_copied_not_moved(self, backend: Any, files: Path) -> None:
        before = sorted(path.name for path in files.rglob("*"))
        backend.store_object(simulation(), files)
        assert sorted(path.name for path in files.rglob("*")) == before

    def test_more_information_replaces_less_under_the_old_key(
        self, backend: Any, files: Path, tmp_path: Path
    ) -> None:
        key = backend.store_object(simulation(inefficiency=5.0), files)
        other = write_files(tmp_path / "other", trajectory=b"longer trajectory" * 100)
        assert backend.store_object(simulation(inefficiency=2.0), other) == key
        again, path = backend.retrieve_object(key)
        assert again.statistical_inefficiency == 2.0
        assert (Path(path) / "trajectory.dcd").read_bytes() == b"longer trajectory" * 100

    def test_an_object_takes_the_place_that_is_named(self, backend: Any, files: Path, tmp_path: Path) -> None:
        key = backend.store_object(simulation(inefficiency=2.0), files)
        last = backend.store_force_field(TLeapForceFieldSource())
        other = DirectoryFiles(write_files(tmp_path / "other", trajectory=b"other"))
        outcome = backend.put(simulation(inefficiency=5.0), other, replacing=key)
        assert (outcome.key, outcome.action) == (key, Action.REPLACE)
        again, path = backend.retrieve_object(key)
        assert again.statistical_inefficiency == 5.0
        assert (Path(path) / "trajectory.dcd").read_bytes() == b"other"
        assert backend.keys() == [key, last]
        with pytest.raises(NotFoundError):
            backend.put(simulation(), other, replacing="missing")

    def test_less_information_does_not_replace_more(self, backend: Any, files: Path, tmp_path: Path) -> None:
        key = backend.store_object(simulation(inefficiency=2.0), files)
        other = write_files(tmp_path / "other", trajectory=b"other")
        assert backend.store_object(simulation(inefficiency=5.0), other) == key
        again, path = backend.retrieve_object(key)
        assert again.statistical_inefficiency == 2.0
        assert (Path(path) / "trajectory.dcd").read_bytes() == (files / "trajectory.dcd").read_bytes()

    def test_b17_a_tie_goes_to_the_new(self, backend: Any, files: Path, tmp_path: Path) -> None:
        key = backend.store_object(simulation(inefficiency=2.0), files)
        other = write_files(tmp_path / "other", trajectory=b"newer")
        assert backend.store_object(simulation(inefficiency=2.0), other) == key
        _, path = backend.retrieve_object(key)
        assert (Path(path) / "trajectory.dcd").read_bytes() == b"newer"

    def test_b02_free_energy_data_is_stored_once_and_other_content_kept_beside(
        self, backend: Any, files: Path
    ) -> None:
        key = backend.store_object(free_energy(3.0), files)
        assert backend.store_object(free_energy(3.0), files) == key
        other = backend.store_object(free_energy(4.0), files)
        assert other != key
        assert len(backend) == 2

    def test_b29_equilibration_with_and_without_a_layer_are_kept_in_either_order(
        self, backend: Any, files: Path
    ) -> None:
        without = backend.store_object(equilibration(layer=None), files)
        with_layer = backend.store_object(equilibration(layer="EquilibrationLayer"), files)
        assert without != with_layer
        assert backend.store_object(equilibration(layer=None), files) == without

    def test_b07_a_bad_directory_leaves_what_was_stored(
        self, backend: Any, files: Path, tmp_path: Path
    ) -> None:
        key = backend.store_object(simulation(inefficiency=5.0), files)
        for bad in (tmp_path / "missing", files / "output.pdb", tmp_path / "empty"):
            (tmp_path / "empty").mkdir(exist_ok=True)
            with pytest.raises(StorageError):
                backend.store_object(simulation(inefficiency=1.0), bad)
            with pytest.raises(StorageError):
                backend.store_object(simulation(calculation="new"), bad)
        assert list(backend) == [key]
        again, path = backend.retrieve_object(key)
        assert again.statistical_inefficiency == 5.0
        assert (Path(path) / "output.pdb").read_bytes() == (files / "output.pdb").read_bytes()

    def test_b31_ancillary_data_where_none_belongs_is_refused(self, backend: Any, files: Path) -> None:
        force_field = ForceFieldData(force_field_source=TLeapForceFieldSource())
        with pytest.raises(InvalidDataError, match="no ancillary data"):
            backend.store_object(force_field, files)
        with pytest.raises(InvalidDataError, match="ancillary data"):
            backend.store_object(simulation())
        assert len(backend) == 0

    def test_b32_a_link_out_of_the_directory_is_refused(
        self, backend: Any, files: Path, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret.txt"
        secret.write_text("mine")
        (files / "link.txt").symlink_to(secret)
        with pytest.raises(InvalidDataError, match=r"link\.txt"):
            backend.store_object(simulation(), files)

    def test_b32_a_link_inside_the_directory_becomes_its_content(self, backend: Any, files: Path) -> None:
        (files / "same.pdb").symlink_to("output.pdb")
        _, path = backend.retrieve_object(backend.store_object(simulation(), files))
        again = Path(path) / "same.pdb"
        assert again.read_bytes() == (files / "output.pdb").read_bytes()
        assert not again.is_symlink()

    def test_b18_what_is_no_data_gets_our_error(self, backend: Any) -> None:
        for wrong in ("x", None, 3, object()):
            with pytest.raises(WrongTypeError):
                backend.store_object(wrong)

    def test_an_incomplete_object_is_refused_by_name(self, backend: Any, files: Path) -> None:
        stored: Any = simulation()
        stored.force_field_id = None
        with pytest.raises(InvalidDataError, match="force_field_id"):
            backend.store_object(stored, files)

    def test_force_fields_are_found_by_content(self, backend: Any) -> None:
        source = SmirnoffForceFieldSource("<SMIRNOFF version='0.3'/>")
        assert backend.has_force_field(source) is None
        key = backend.store_force_field(source)
        assert backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF version='0.3'/>")) == key
        assert backend.has_force_field(source) == key
        assert backend.retrieve_force_field(key) == source
        with pytest.raises(KeyError):
            backend.retrieve_force_field("0" * 32)

    def test_a_trained_model_is_kept_with_its_files(self, backend: Any, files: Path) -> None:
        model = TrainedModelData(
            name="density",
            framework="torch",
            target_property="Density",
            substances=[Substance.from_components("O")],
            training_data_keys=["a" * 32],
            metrics={"rmse": 0.1},
        )
        key = backend.store_object(model, files)
        again, path = backend.retrieve_object(key, TrainedModelData)
        assert again == model
        assert (Path(path) / "output.pdb").exists()

    def test_has_object_answers_with_the_key(self, backend: Any, files: Path) -> None:
        assert backend.has_object(simulation()) is None
        key = backend.store_object(simulation(inefficiency=3.0), files)
        assert backend.has_object(simulation(inefficiency=3.0)) == key
        assert backend.has_object(simulation(inefficiency=9.0)) == key, "another measurement of the same"
        assert backend.has_object(simulation(calculation="other")) is None

    def test_b30_a_removed_object_is_gone_for_every_question(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        kept = backend.store_object(simulation(calculation="kept"), files)
        backend.remove_object(key)
        assert key not in backend
        assert backend.has_object(simulation()) is None
        assert backend.retrieve_object(key) == (None, None)
        assert list(backend) == [kept]
        with pytest.raises(NotFoundError):
            backend.remove_object(key)
        assert backend.store_object(simulation(), files) != kept

    def test_queries_group_by_the_matched_values(self, backend: Any, files: Path) -> None:
        for name, phase in (
            ("1", PropertyPhase.Liquid),
            ("2", PropertyPhase.Liquid),
            ("3", PropertyPhase.Gas),
        ):
            stored = simulation(calculation=name)
            stored.property_phase = phase
            backend.store_object(stored, files)
        query = SimulationDataQuery()
        query.substance = Substance.from_components("O")
        query.property_phase = PropertyPhase.Liquid
        found = backend.query(query)
        assert list(found) == [(Substance.from_components("O"), PropertyPhase.Liquid)]
        assert [match[1].source_calculation_id for match in next(iter(found.values()))] == ["1", "2"]
        assert isinstance(found, dict)
        assert not hasattr(found, "__missing__"), "B21: looking up what is not there inserts nothing"

    def test_b12_an_empty_query_matches_every_object_of_its_class(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        backend.store_force_field(TLeapForceFieldSource())
        found = backend.query(SimulationDataQuery())
        assert list(found) == [()]
        assert [match[0] for match in found[()]] == [key]

    def test_b03_equal_hashes_are_not_equality(self, backend: Any) -> None:
        # hash(-1) == hash(-2) in CPython.
        first = backend.store_force_field(SmirnoffForceFieldSource("-1"))
        second = backend.store_force_field(SmirnoffForceFieldSource("-2"))
        assert first != second

    def test_b10_a_returned_object_is_the_callers_own(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(inefficiency=3.0), files)
        mine, _ = backend.retrieve_object(key)
        mine.statistical_inefficiency = 99.0
        again, _ = backend.retrieve_object(key)
        assert again.statistical_inefficiency == 3.0

    def test_b28_threads_store_a_duplicate_once(self, backend: Any, files: Path) -> None:
        keys: list[str] = []
        barrier = threading.Barrier(6)

        def store() -> Any:
            barrier.wait()
            keys.append(backend.store_object(simulation(), files))

        threads = [threading.Thread(target=store) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) == 1
        assert len(backend) == 1

    def test_b08_adding_a_backend_to_itself_changes_nothing(self, backend: Any, files: Path) -> None:
        key = backend.store_object(simulation(), files)
        backend += backend
        assert list(backend) == [key]
        _, path = backend.retrieve_object(key)
        assert (Path(path) / "trajectory.dcd").exists()

    def test_b09_keys_and_references_survive_an_update(
        self, backend: Any, files: Path, tmp_path: Path
    ) -> None:
        with self.open_backend(tmp_path / "second") as other:
            force_field = other.store_force_field(TLeapForceFieldSource())
            key = other.store_object(simulation(force_field=force_field), files)
            backend += other
            assert list(other) == [force_field, key]
        again, path = backend.retrieve_object(key)
        assert again.force_field_id == force_field
        assert backend.retrieve_force_field(force_field) == TLeapForceFieldSource()
        assert (Path(path) / "output.pdb").exists()

    def test_b09_references_follow_a_key_that_had_to_change(
        self, backend: Any, files: Path, tmp_path: Path
    ) -> None:
        mine = backend.store_force_field(TLeapForceFieldSource())
        with self.open_backend(tmp_path / "second") as other:
            theirs = other.store_force_field(TLeapForceFieldSource())
            key = other.store_object(simulation(force_field=theirs), files)
            report = backend.update(other)
        assert report.new_keys == {theirs: mine}
        again, _ = backend.retrieve_object(key)
        assert again.force_field_id == mine

    def test_b27_generators_and_empty_filters(self, backend: Any, files: Path, tmp_path: Path) -> None:
        water = simulation()
        methanol = simulation(calculation="m")
        methanol.substance = Substance.from_components("CO")
        mixture = simulation(calculation="x")
        mixture.substance = Substance()
        mixture.substance.add_component(Component("CO"), MoleFraction(0.5))
        mixture.substance.add_component(Component("O"), MoleFraction(0.5))
        keys = [backend.store_object(stored, files) for stored in (water, methanol, mixture)]
        with self.subset(backend, tmp_path / "1", include_components=(Component(s) for s in ["CO"])) as part:
            assert list(part) == keys[1:]
        with self.subset(backend, tmp_path / "2", include_components=[], exclude_substances=[]) as part:
            assert list(part) == keys
        with self.subset(backend, tmp_path / "3", exclude_components=[Component("O")]) as part:
            assert list(part) == [keys[1]]
        with self.subset(
            backend, tmp_path / "4", include_substances=[Substance.from_components("O")]
        ) as part:
            assert list(part) == [keys[0]]

    def subset(self, backend: Any, destination: Any, **filters: Any) -> Any:
        """Return a subset in a new backend; one that cannot make a new one of its kind overrides this."""
        return backend.subset(destination, **filters)

"""What a merge promises, with the answers written down here and not taken from its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from simarchive import HDF5Storage, TrainedModelData
from simarchive.errors import StorageFullError
from simarchive.storage.hdf5.storage import HDF5Storage as Facade
from simarchive.testing.sample_objects import simulation, write_files


def model(*keys: str) -> TrainedModelData:
    return TrainedModelData(
        name="m",
        framework="torch",
        target_property="density",
        domain="liquids",
        training_data_keys=list(keys),
        metrics={"rmse": 0.1},
    )


def test_a_model_refers_to_the_objects_that_it_was_trained_on_whatever_their_keys_are_now(
    tmp_path: Path,
) -> None:
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as source, HDF5Storage(tmp_path / "b.h5") as target:
        for calculation, key in (("mine", "k"), ("mine too", "k2"), ("third", "k3")):
            source.store_object(simulation(calculation), files, storage_key=key)
        source.store_object(model("k3", "k", "k2", "k", "unknown"), files, storage_key="m")
        for calculation, key in (("theirs", "k"), ("theirs too", "k2")):
            target.store_object(simulation(calculation), files, storage_key=key)
        target.update(source)
        referred = target.retrieve_object("m")[0].training_data_keys
        assert len(referred) == 5
        assert referred[4] == "unknown"
        found = [target.retrieve_object(key)[0].source_calculation_id for key in referred[:4]]
        assert found == ["third", "mine", "mine too", "mine"]
        assert referred[1] == referred[3] not in ("k", "k2")
        # Nobody else's object was touched.
        assert target.retrieve_object("k")[0].source_calculation_id == "theirs"
        assert target.retrieve_object("k2")[0].source_calculation_id == "theirs too"
        assert source.retrieve_object("m")[0].training_data_keys == ["k3", "k", "k2", "k", "unknown"]


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_target_without_room_is_as_it_was_before_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    with HDF5Storage(tmp_path / "a.h5") as source, HDF5Storage(tmp_path / "b.h5") as target:
        for number in range(4):
            files = write_files(tmp_path / str(number), trajectory=b"%d" % number * 70_000)
            source.store_object(simulation(str(number)), files, storage_key=f"k{number}")
        target.store_object(simulation("old"), tmp_path / "0", storage_key="k0")
        put, puts = Facade._put, []

        def full(self: Facade, *arguments: object, **options: object) -> object:
            puts.append(arguments)
            if len(puts) == failing:
                raise StorageFullError("no room")
            return put(self, *arguments, **options)

        monkeypatch.setattr(Facade, "_put", full)
        with pytest.raises(StorageFullError):
            target.update(source)
        monkeypatch.undo()
        assert target.keys() == ["k0"]
        assert target.verify(full=True).ok
    with HDF5Storage(tmp_path / "b.h5", mode="r") as again:
        assert again.keys() == ["k0"]
        assert again.retrieve_object("k0")[0].source_calculation_id == "old"

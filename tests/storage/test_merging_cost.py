"""What is there already is seen at a glance when containers are combined, and nothing else is."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import h5py
import pytest

from simarchive import Component, ForceFieldData, HDF5Storage, SmirnoffForceFieldSource
from simarchive.container import arrays
from simarchive.data.base import BaseStoredData
from simarchive.storage import incoming
from simarchive.testing.sample_objects import simulation, write_files


def make_source(path: Path, number: int, files: Path) -> list[str]:
    with HDF5Storage(path, durability="close") as backend:
        with backend.transaction():
            force_field = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
            keys = [
                backend.store_object(simulation(f"c{index}", force_field=force_field), files)
                for index in range(number)
            ]
        return [force_field, *keys]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often objects are made whole, digests of documents made, and arrays read."""
    calls: Counter[str] = Counter()
    from_document = BaseStoredData.from_document.__func__  # type: ignore[attr-defined]
    identity_digest, read_variable = incoming.identity_digest, arrays.read_variable

    def counting(cls, tree, version=None, *, lazily=False):  # type: ignore[no-untyped-def]
        calls["glances" if lazily else "objects"] += 1
        return from_document(cls, tree, version, lazily=lazily)

    def counting_digests(*arguments):  # type: ignore[no-untyped-def]
        calls["digests"] += 1
        return identity_digest(*arguments)

    def counting_arrays(*arguments):  # type: ignore[no-untyped-def]
        calls["arrays"] += 1
        return read_variable(*arguments)

    monkeypatch.setattr(BaseStoredData, "from_document", classmethod(counting))
    monkeypatch.setattr(incoming, "identity_digest", counting_digests)
    monkeypatch.setattr(arrays, "read_variable", counting_arrays)
    return calls


def test_an_update_with_what_is_there_makes_no_object_and_no_digest(
    tmp_path: Path, counted: Counter[str]
) -> None:
    keys = make_source(tmp_path / "a.h5", 6, write_files(tmp_path / "run"))
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    with HDF5Storage(tmp_path / "a.h5", "r") as source, HDF5Storage(tmp_path / "b.h5") as target:
        counted.clear()
        report = target.update(source)
    assert (report.kept, report.stored, report.unreadable) == (keys, [], {})
    # The arrays are those of the target: one that is damaged there must not count as there.
    assert counted == {"glances": 7, "arrays": 6}


def test_a_subset_makes_only_the_objects_that_pass(tmp_path: Path, counted: Counter[str]) -> None:
    make_source(tmp_path / "a.h5", 6, write_files(tmp_path / "run"))
    with HDF5Storage(tmp_path / "a.h5", "r") as source:
        counted.clear()
        with source.subset(tmp_path / "b.h5", include_components=[Component("C")]) as subset:
            assert len(subset) == 0
    assert counted["objects"] == counted["arrays"] == 0


def test_an_array_that_is_damaged_here_is_replaced_by_that_of_the_source(tmp_path: Path) -> None:
    _, key = make_source(tmp_path / "a.h5", 1, write_files(tmp_path / "run"))
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        (name,) = (name for name in file[f"objects/{key}"] if name.startswith("observables"))
        file[f"objects/{key}/{name}"][0] = 4711.0
    with HDF5Storage(tmp_path / "a.h5", "r") as source, HDF5Storage(tmp_path / "b.h5") as target:
        report = target.update(source)
        assert (report.replaced, target.load(key)) == ([key], source.load(key))
        assert target.verify(full=True).ok


def test_another_file_under_the_same_key_is_another_object(tmp_path: Path) -> None:
    _, key = make_source(tmp_path / "a.h5", 1, write_files(tmp_path / "run"))
    (tmp_path / "run" / "output.pdb").write_text("another\n")
    with HDF5Storage(tmp_path / "a.h5", "r") as source, HDF5Storage(tmp_path / "b.h5") as target:
        stored = source.load(key)
        target.store_object(stored, tmp_path / "run", storage_key=key)
        assert target.references_if_there(source, key) is None


def test_an_object_that_refers_to_another_one_under_the_same_key_is_not_there(tmp_path: Path) -> None:
    force_field, key = make_source(tmp_path / "a.h5", 1, write_files(tmp_path / "run"))
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    with HDF5Storage(tmp_path / "b.h5") as target:
        # The object stays, and what it refers to is another force field now.
        target.put(
            ForceFieldData(force_field_source=SmirnoffForceFieldSource("<OTHER/>")), replacing=force_field
        )
        with HDF5Storage(tmp_path / "a.h5", "r") as source:
            report = target.update(source)
        assert set(report.new_keys) == {force_field, key}
        copy = target.load(report.new_keys[key])
        assert copy.force_field_id == report.new_keys[force_field]  # type: ignore[attr-defined]

"""What was removed or replaced: no object, back as it was when asked for, never more than its share."""

import os
from pathlib import Path

import h5py
import pytest

from simarchive import HDF5Storage
from simarchive.container.changing import removed as space
from simarchive.container.changing.removed import RemovedObjects
from simarchive.container.contents import Contents
from simarchive.errors import CorruptError, InvalidDataError, NotFoundError
from simarchive.storage.hdf5.upkeep import repack
from simarchive.testing.sample_objects import simulation, write_files

QUERY = "phase=liquid"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A container with three simulations, a, b and c, each with files of its own and a shared one."""
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        for name in "abc":
            backend.store_object(simulation(name), files(tmp_path, name), storage_key=name)
    return path


def files(folder: Path, name: str, n_bytes: int = 300_000) -> Path:
    directory = write_files(folder / f"files-{name}", b"the same in all of them" * 10_000)
    (directory / "own.bin").write_bytes(os.urandom(n_bytes))
    return directory


def content(backend: HDF5Storage, key: str) -> tuple[str, dict[str, str], bytes]:
    """Return all that makes an object."""
    header = backend.header(key)
    return header.identity, backend.file_digests(key), backend.open_member(key, "own.bin").read()


def test_a_removed_object_is_no_object_and_comes_back_as_it_was(path: Path) -> None:
    with HDF5Storage(path) as backend:
        before = content(backend, "b")
        backend.remove_object("b")
        assert "b" not in backend
        assert backend.keys() == backend.keys(QUERY) == ["a", "c"]
        (one,) = backend.removed()
        assert (one.key, one.action, one.number) == ("b", "removed", 1)
        assert 300_000 < one.n_bytes < 320_000  # without what others have, too
        assert backend.class_of_removed(one) == "StoredSimulationData"
    with HDF5Storage(path) as backend:
        restored = backend.restore("b")
        assert (restored.key, restored.replaced, restored.missing) == ("b", False, ("f" * 32,))
        assert backend.keys() == backend.keys(QUERY) == ["a", "c", "b"]
        assert content(backend, "b") == before
        assert backend.removed() == []
        assert backend.verify(full=True).ok


def test_removing_is_a_rename_and_copies_nothing(path: Path) -> None:
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["objects/b"].id).addr
    size = path.stat().st_size
    with HDF5Storage(path) as backend:
        backend.remove_object("b")
    assert path.stat().st_size <= size + 4096
    with h5py.File(path) as file:
        (name,) = file["removed"]
        assert h5py.h5o.get_info(file["removed"][name].id).addr == address
        number, action, time, _, user, key = name.split(" ")
        assert (number, action, key) == ("00000001", "removed", "b")
        assert time.endswith("+00:00")
        assert user


def test_what_was_replaced_comes_back_and_what_replaced_it_can_be_restored_too(path: Path) -> None:
    with HDF5Storage(path) as backend:
        before = content(backend, "b")
        better = simulation("b", inefficiency=1.0)
        assert backend.store_object(better, files(path.parent, "better")) == "b"
        after = content(backend, "b")
        assert backend.keys() == ["a", "b", "c"]
        (one,) = backend.removed()
        assert (one.key, one.action) == ("b", "replaced")
        assert backend.restore("b").replaced
        assert content(backend, "b") == before
        assert backend.load("b").statistical_inefficiency == 2.0  # type: ignore[attr-defined]
        backend.restore("b")
        assert content(backend, "b") == after
        assert backend.keys(QUERY) == backend.keys() == ["a", "c", "b"]
        assert backend.verify(full=True).ok


def test_of_several_versions_the_last_is_restored_unless_a_number_says_which(path: Path) -> None:
    with HDF5Storage(path) as backend:
        for inefficiency in (1.5, 1.2):
            again = simulation("b", inefficiency=inefficiency)
            backend.store_object(again, files(path.parent, str(inefficiency)))
        assert [(one.number, one.action) for one in backend.removed()] == [(1, "replaced"), (2, "replaced")]
        backend.restore("b", number=1)
        assert backend.load("b").statistical_inefficiency == 2.0  # type: ignore[attr-defined]
        with pytest.raises(NotFoundError, match="number 1"):
            backend.restore("b", number=1)


def test_a_start_of_a_key_is_enough_if_it_is_of_one(path: Path) -> None:
    with HDF5Storage(path) as backend:
        for key in ("run-1", "run-2"):
            backend.store_object(simulation(key), files(path.parent, key), storage_key=key)
            backend.remove_object(key)
        with pytest.raises(InvalidDataError, match="2 removed keys start with 'run'"):
            backend.restore("run")
        with pytest.raises(NotFoundError, match="simarchive log"):
            backend.restore("walk")
        assert backend.restore("run-2").key == "run-2"


@pytest.mark.parametrize("name", ["Ada Lovelace", "Jürgen 100 %", "ada", "Ж" * 40])
def test_who_removed_it_is_who_the_environment_says(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SIMARCHIVE_AUTHOR", name)
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
        assert [one.by for one in backend.removed()] == [name[:32]]
        backend.add_note("b", "moved")
        assert backend.history("b")[-1].by == name  # the same person
        assert "removed" not in " ".join(problem.message for problem in backend.verify().problems)
        assert backend.restore("a").key == "a"


def test_a_name_that_could_not_be_shown_is_none_of_ours(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
    with h5py.File(path, "r+") as file:
        (link,) = file["removed"]
        parts = link.split(" ")
        for by in ("%1b[31m", "%ff"):
            file["removed"][" ".join([*parts[:4], by, parts[5]])] = file["removed"][link]
    with HDF5Storage(path) as backend:
        assert len(backend.removed()) == 1
        assert sum("is no removed object" in problem.message for problem in backend.verify().problems) == 2


def test_removing_keeps_all_however_much_and_storing_deletes_the_oldest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "KEPT_BYTES", 400_000)
    monkeypatch.setattr(space, "KEPT_SHARE", 0.0)
    with HDF5Storage(path) as backend:
        for key in "abc":
            backend.remove_object(key)
        # The last of those that share a file answers for it.
        assert sum(one.n_bytes for one in backend.removed()) > 900_000
        assert [one.key for one in backend.removed()] == ["a", "b", "c"]
        backend.store_object(simulation("d"), files(path.parent, "d"), storage_key="d")
        assert [one.key for one in backend.removed()] == ["c"]
        assert backend.restore("c").key == "c"
        assert backend.verify(full=True).ok


def test_a_file_in_which_objects_are_replaced_for_ever_does_not_grow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "KEPT_BYTES", 400_000)
    monkeypatch.setattr(space, "KEPT_SHARE", 0.0)
    sizes = []
    for round_number in range(12):
        with HDF5Storage(path) as backend:
            again = simulation("a", inefficiency=1.9 - round_number / 10)
            assert backend.store_object(again, files(path.parent, f"round-{round_number}")) == "a"
            backend.remove_object("b")
            backend.store_object(
                simulation("b"), files(path.parent, f"again-{round_number}"), storage_key="b"
            )
        sizes.append(path.stat().st_size)
    assert sizes[-1] <= sizes[4] * 1.05
    with HDF5Storage(path) as backend:
        assert backend.verify(full=True).ok


def test_the_number_of_removed_objects_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "KEPT_OBJECTS", 2)
    with HDF5Storage(path) as backend:
        for key in "abc":
            backend.remove_object(key)
        assert [one.key for one in backend.removed()] == ["b", "c"]


def test_storing_does_not_list_what_was_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
        monkeypatch.setattr(RemovedObjects, "listed", None)
        backend.store_object(simulation("d"), files(path.parent, "d"))
        backend.remove_object("b")
        assert backend.keys(QUERY)[:1] == ["c"]


def test_purging_and_repacking_delete_for_good(path: Path) -> None:
    with HDF5Storage(path) as backend:
        for key in "ab":
            backend.remove_object(key)
        assert [one.key for one in backend.purge_removed([1])] == ["a"]
        assert [one.key for one in backend.removed()] == ["b"]
        with pytest.raises(NotFoundError):
            backend.restore("a")
        numbers = backend.statistics()
        assert (numbers.n_removed, numbers.n_objects) == (1, 1)
        assert numbers.removed_bytes == backend.removed()[0].n_bytes
    report = repack(path)
    assert report.bytes_before - report.bytes_after > 500_000
    with HDF5Storage(path) as backend:
        assert backend.removed() == []
        assert backend.keys() == ["c"]
        assert backend.verify(full=True).ok


def test_a_transaction_that_fails_removes_and_restores_nothing(path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
        for change in (lambda: backend.remove_object("b"), lambda: backend.restore("a")):
            with pytest.raises(ZeroDivisionError), backend.transaction():
                change()
                raise ZeroDivisionError
            assert backend.keys() == ["b", "c"]
            assert [one.key for one in backend.removed()] == ["a"]
        assert backend.verify(full=True).ok


def test_copies_of_the_objects_have_nothing_that_was_removed(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path) as backend, HDF5Storage(tmp_path / "b.h5") as other:
        backend.remove_object("a")
        other.update(backend)
        assert other.keys() == ["b", "c"]
        assert other.removed() == []


def test_a_removed_object_that_is_damaged_is_a_warning_and_does_not_come_back(path: Path) -> None:
    with HDF5Storage(path) as backend:
        for key in "ab":
            backend.remove_object(key)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        first, second = file["removed"]
        del file["removed"][first].attrs["document"]
        del file["removed"][first].attrs["object_summary"]
        del file["removed"][first].attrs["data_class"]
        file["removed"][second].attrs["document"] = b"{}"
    with HDF5Storage(path) as backend:
        report = backend.verify()
        assert report.ok
        assert report.n_removed == 2
        told = {problem.key: problem.message for problem in report.problems if "restored" in problem.message}
        assert set(told) == {"a", "b"}
        with pytest.raises(CorruptError, match="cannot be restored"):
            backend.restore("a")
        assert backend.keys() == ["c"]
        assert [one.key for one in backend.removed()] == ["a", "b"]
        # What cannot be read can be got rid of.
        backend.purge_removed()
        assert backend.removed() == []


def hostile(file: h5py.File, tmp_path: Path) -> None:
    """Put what no program of ours writes among what was removed."""
    place = file["removed"]
    when = "2026-11-29T00:00:00.000000+00:00"
    place["not a record"] = 1
    place[f"00000007 removed {when} 10 me ../x"] = 2
    place[f"00000008 removed {when} 99999999999999999999 me x"] = 3
    place[f"00000009 removed {when} 10 me number"] = 4
    place[f"00000010 removed {when} 10 me soft"] = h5py.SoftLink("/objects/c")
    place[f"00000011 removed {when} 10 me external"] = h5py.ExternalLink(str(tmp_path / "x.h5"), "/")
    place.attrs["removed_totals"] = "lies"


def test_what_others_put_among_the_removed_harms_nothing(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        hostile(file, tmp_path)
    with HDF5Storage(path) as backend:
        assert [one.key for one in backend.removed()] == ["a", "number", "soft", "external"]
        report = backend.verify()
        assert report.ok
        for key in ("number", "soft", "external"):
            assert any(problem.key == key for problem in report.problems)
            with pytest.raises(CorruptError):
                backend.restore(key)
        assert sum("below /removed" in problem.message for problem in report.problems) == 3
        backend.remove_object("b")
        assert backend.removed()[-1].number == 12
        assert backend.restore("a").key == "a"
        backend.purge_removed()
        assert backend.keys() == ["c", "a"]
        assert backend.verify(full=True).ok


def test_a_group_of_another_program_is_not_touched(path: Path) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file["removed"] = [1, 2, 3]
    with HDF5Storage(path) as backend:
        backend.remove_object("a")
        assert [one.key for one in backend.removed()] == ["a"]
        assert backend.verify().ok
    with h5py.File(path) as file:
        assert file["set_aside/removed"][:].tolist() == [1, 2, 3]


def test_an_object_whose_name_is_no_key_is_not_kept(path: Path) -> None:
    with HDF5Storage(path) as backend, backend._container.transaction() as contents:
        assert isinstance(contents, Contents)
        contents.root.move("objects/a", "objects/not a key")
        contents.remove("not a key")
        assert contents.removed.listed() == []

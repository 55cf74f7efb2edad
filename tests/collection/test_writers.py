"""Shards are published once and whole, whoever is killed or tries the same again."""

import json
import multiprocessing
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from simarchive import HDF5Storage, InvalidDataError, NotFoundError, ReadOnlyError, SimulationDataQuery
from simarchive.collection import Collection
from simarchive.errors import ClosedError, ConflictError, FormatError, StorageIOError
from simarchive.remote.folders import LocalFolder
from simarchive.storage.hdf5.upkeep import repack
from simarchive.testing.sample_objects import free_energy, simulation, write_files

N_NAMES = int(os.environ.get("SIMARCHIVE_COLLECTION_NAMES", "2"))
N_ROUNDS = int(os.environ.get("SIMARCHIVE_COLLECTION_ROUNDS", "1"))
N_PROCESSES = 4


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


def store(collection: Collection, work_id: str, files: Path, *calculations: str) -> list[str]:
    with collection.writer(work_id) as backend:
        return [backend.store_object(simulation(calculation=name), files) for name in calculations]


def test_what_writers_published_is_read_as_one_store(tmp_path: Path, files: Path) -> None:
    with Collection(tmp_path / "c") as collection:
        second = store(collection, "b", files, "3")
        first = store(collection, "a", files, "1", "2")
        assert list(collection) == [*first, *second], "shard by shard"
        assert collection.work_ids == ["a", "b"]
        assert collection.load(second[0]).source_calculation_id == "3"
        assert sorted(path.name for path in (tmp_path / "c" / "shards").iterdir()) == ["a.h5", "b.h5"]
        with collection.open_member(second[0], "output.pdb") as member:
            assert member.read() == (files / "output.pdb").read_bytes()
        assert {info.name for info in collection.list_members(first[0], ["*.dcd"])} == {"trajectory.dcd"}
        out = collection.extract(first[0], tmp_path / "out", ["*.pdb"])
        assert [path.name for path in out] == ["output.pdb"]
        assert collection.header(first[0]).data_class == "StoredSimulationData"
        assert collection.columns(SimulationDataQuery(), ["number_of_molecules"])["key"] == list(collection)


def test_order_and_limit_hold_across_shards(tmp_path: Path, files: Path) -> None:
    with Collection(tmp_path / "c") as collection:
        for work_id, values in (("a", (3.0, 1.0)), ("b", (2.0, 4.0))):
            with collection.writer(work_id) as backend:
                for value in values:
                    backend.store_object(simulation(calculation=str(value), inefficiency=value), files)
                backend.store_object(free_energy(values[0]), files)
        query = SimulationDataQuery(order_by="-statistical_inefficiency", limit=3)
        found = [match[1].statistical_inefficiency for match in collection.query(query)[()]]
        assert found == [4.0, 3.0, 2.0]
        assert collection.count(query) == 3
        with HDF5Storage(tmp_path / "one.h5") as one:
            one.update(collection)
            for asked in (query, "phase=liquid limit=3", "class=any", "class=any limit=5"):
                assert collection.keys(asked) == one.keys(asked)


def test_a_work_that_is_done_twice_is_published_once(
    tmp_path: Path, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Collection(tmp_path / "c") as collection:
        assert not collection.is_published("a")
        keys = store(collection, "a", files, "1")
        assert collection.is_published("a")
        for calculation, is_same, words in (("1", True, "same objects"), ("2", False, "other objects")):
            again = collection.writer("a")
            with again as backend:
                backend.store_object(simulation(calculation=calculation), files)
            assert again.outcome is not None
            assert (again.outcome.is_published, again.outcome.is_same) == (False, is_same)
            assert words in caplog.text
        assert list(collection) == keys


def test_an_error_leaves_nothing(tmp_path: Path, files: Path) -> None:
    scratch = tmp_path / "scratch"
    with Collection(tmp_path / "c") as collection:
        with pytest.raises(ZeroDivisionError), collection.writer("a", directory=scratch) as backend:
            backend.store_object(simulation(), files)
            _ = 1 / 0
        assert list(collection) == []
        assert not collection.is_published("a")
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("work_id", ["../a", "a/b", "", ".", ".a", "-a", "a b", "x" * 201, "a\n", 7, None])
def test_a_hostile_work_id_is_refused(tmp_path: Path, work_id: Any) -> None:
    with Collection(tmp_path / "c") as collection:
        for ask in (collection.writer, collection.is_published, lambda name: collection.publish("x", name)):
            with pytest.raises(InvalidDataError, match="work id"):
                ask(work_id)
    assert not (tmp_path / "c").exists()


def test_a_shard_takes_no_more_than_it_may(tmp_path: Path, files: Path) -> None:
    with Collection(tmp_path / "c") as collection:
        with collection.writer("a", max_objects=2) as backend:
            keys = [backend.store_object(simulation(calculation=str(n)), files) for n in range(2)]
            assert backend.store_object(simulation(calculation="0"), files) == keys[0], "there already"
            with pytest.raises(ConflictError, match="at most 2 objects"):
                backend.store_object(simulation(calculation="2"), files)
        assert list(collection) == keys
        with pytest.raises(InvalidDataError, match="30,000"):
            collection.writer("b", max_objects=30_001)


def test_where_nothing_was_stored_nothing_is_published(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Collection(tmp_path / "c") as collection:
        writer = collection.writer("nothing")
        with writer:
            pass
        assert writer.outcome is None
        assert not collection.is_published("nothing")
        assert "nothing was stored" in caplog.text


def test_a_container_is_published_as_it_is(tmp_path: Path, files: Path) -> None:
    path = tmp_path / "own.h5"
    with HDF5Storage(path) as backend:
        key = backend.store_object(simulation(), files)
    with Collection(tmp_path / "c") as collection:
        with pytest.raises(InvalidDataError, match="--publish"):
            collection.publish(path, "own")
        repack(path, publish=True)
        assert collection.publish(path, "own").is_published
        assert collection.publish(path, "own").is_published, "tried again: it is ours"
        assert list(collection) == [key]
        assert (tmp_path / "c/shards/own.h5").read_bytes() == path.read_bytes()


def test_what_cannot_be_published_is_kept(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageIOError("no answer")

    with Collection(tmp_path / "c") as collection:
        with monkeypatch.context() as broken:
            broken.setattr(LocalFolder, "create", fail)
            with pytest.raises(StorageIOError) as caught:
                store(collection, "a", files, "1")
        [note] = caught.value.__notes__
        kept = Path(note.split("'")[1])
        assert collection.publish(kept, "a").is_published
        assert len(collection) == 1


def test_an_answer_that_was_lost_is_made_up_for(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LocalFolder.create

    def lose(*arguments: Any) -> None:
        create(*arguments)
        raise StorageIOError("no answer")

    monkeypatch.setattr(LocalFolder, "create", lose)
    with Collection(tmp_path / "c") as collection:
        writer = collection.writer("a")
        with writer as backend:
            key = backend.store_object(simulation(), files)
        assert writer.outcome is not None
        assert writer.outcome.is_published
        assert list(collection) == [key]


def _race(root: Path, files: Path, round_number: int, barrier: Any, answers: Any) -> None:
    with Collection(root) as collection:
        for name in range(N_NAMES):
            writer = collection.writer(f"{round_number}-{name}")
            with writer as backend:
                backend.store_object(simulation(calculation=str(name)), files)
                barrier.wait(60)
            assert writer.outcome is not None
            answers.put((name, writer.outcome.is_published))


def test_one_of_many_processes_wins_each_name(tmp_path: Path, files: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for round_number in range(N_ROUNDS):
        barrier, answers = context.Barrier(N_PROCESSES), context.Queue()
        arguments = (tmp_path / "c", files, round_number, barrier, answers)
        processes = [context.Process(target=_race, args=arguments) for _ in range(N_PROCESSES)]
        for process in processes:
            process.start()
        won = [answers.get(timeout=120) for _ in range(N_PROCESSES * N_NAMES)]
        for process in processes:
            process.join(60)
        assert sorted(name for name, is_published in won if is_published) == list(range(N_NAMES))
    with Collection(tmp_path / "c", "r") as collection:
        assert len(collection) == N_NAMES * N_ROUNDS


def _die(root: Path, files: Path, scratch: Path, after: str) -> None:
    with Collection(root) as collection:
        with collection.writer("a", directory=scratch) as backend:
            backend.store_object(simulation(), files)
            if after == "storing":
                os.kill(os.getpid(), signal.SIGKILL)
            if after == "copying":
                LocalFolder.create = _half  # type: ignore[method-assign]
        os.kill(os.getpid(), signal.SIGKILL)


def _half(self: LocalFolder, name: str, content: Any) -> None:
    from simarchive.remote import folders

    folders._copy = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    original(self, name, content)


original = LocalFolder.create


@pytest.mark.parametrize("after", ["storing", "copying", "publishing"])
def test_a_killed_writer_leaves_all_or_nothing(tmp_path: Path, files: Path, after: str) -> None:
    scratch = tmp_path / "scratch"
    process = multiprocessing.get_context("spawn").Process(
        target=_die, args=(tmp_path / "c", files, scratch, after)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with Collection(tmp_path / "c") as collection:
        assert len(collection) == (after == "publishing")
        store(collection, "a", files, "calculation")
        assert len(collection) == 1, "tried again"


def test_what_was_removed_never_returns(tmp_path: Path, files: Path) -> None:
    root = tmp_path / "c"
    with Collection(root) as collection, Collection(root) as other:
        first, second = store(collection, "a", files, "1", "2")
        [third] = store(collection, "b", files, "3")
        assert len(other) == 3
        collection.remove([first])
        assert list(collection) == [second, third]
        assert first not in collection
        assert collection.keys(SimulationDataQuery()) == [second, third]
        assert len(other) == 3, "one state until it is refreshed"
        with pytest.raises(NotFoundError, match=first):
            other.remove([third, first])
        other.remove_shards(["b"])
        with pytest.raises(NotFoundError, match="'b'"):
            collection.remove_shards(["b"])
        (root / "shards/b.h5").unlink()
        again = collection.writer("b")
        with again as backend:
            backend.store_object(simulation(calculation="3"), files)
        assert list(collection) == [second]
        assert collection.is_published("b")
    assert sorted(path.name for path in (root / "changes").iterdir()) == ["00000001.json", "00000002.json"]


def test_two_who_change_at_once_both_count(tmp_path: Path, files: Path, monkeypatch: Any) -> None:
    with Collection(tmp_path / "c") as collection, Collection(tmp_path / "c") as other:
        first, second, third = store(collection, "a", files, "1", "2", "3")
        create, rivals = LocalFolder.create, [lambda: other.remove([second])]

        def after_another(*arguments: Any) -> None:
            if rivals:
                rivals.pop()()
            create(*arguments)

        monkeypatch.setattr(LocalFolder, "create", after_another)
        collection.remove([first])
        assert list(collection) == [third]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "cannot be read"),
        ('{"format": 2}', "upgrade"),
        ('{"format": 1, "number": 1, "removed_shards": ["../x"], "removed_objects": {}}', "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 1, "number": 7, "removed_shards": [], "removed_objects": {}}', "cannot be read"),
    ],
)
def test_a_change_that_cannot_be_read_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "c/changes").mkdir(parents=True)
    (tmp_path / "c/changes/00000001.json").write_text(text)
    with Collection(tmp_path / "c", "r") as collection, pytest.raises(Exception, match=error) as caught:
        list(collection)
    assert caught.type.__module__ == "simarchive.errors"


def test_a_damaged_shard_does_not_hide_the_others(
    tmp_path: Path, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Collection(tmp_path / "c") as collection:
        keys = store(collection, "a", files, "1")
        (tmp_path / "c/shards/b.h5").write_bytes(b"no container")
        (tmp_path / "c/shards/notes.txt").write_text("no shard")
        collection.refresh()
        assert list(collection) == keys
        assert "b.h5" in caplog.text


def test_of_two_objects_under_one_key_the_first_counts(tmp_path: Path, files: Path) -> None:
    with Collection(tmp_path / "c") as collection:
        for work_id in ("b", "a"):
            with collection.writer(work_id) as backend:
                backend.store_object(simulation(calculation=work_id), files, storage_key="same")
        assert list(collection) == ["same"]
        assert collection.load("same").source_calculation_id == "a"
        assert [m[1].source_calculation_id for m in collection.query(SimulationDataQuery())[()]] == ["a"]
        collection.remove(["same"])
        assert list(collection) == [], "the second one does not come to light"


def test_a_collection_is_opened_as_it_is_meant(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Collection(tmp_path / "missing", "r")
    for wrong in ("", 7, None):
        with pytest.raises(InvalidDataError):
            Collection(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidDataError, match="mode"):
        Collection(tmp_path, "w")
    with pytest.raises(InvalidDataError, match="s3://"):
        Collection("https://example.org/c")
    with Collection(tmp_path, "r") as collection:
        for change in (lambda: collection.writer("a"), lambda: collection.remove([])):
            with pytest.raises(ReadOnlyError):
                change()
        copy = pickle.loads(pickle.dumps(collection))
        assert repr(copy) == repr(collection)
    with pytest.raises(ClosedError):
        list(collection)
    assert json.loads(json.dumps(list(copy))) == []
    copy.close()


def test_no_shard_is_looked_at_by_who_only_writes(tmp_path: Path, files: Path, monkeypatch: Any) -> None:
    with Collection(tmp_path / "c") as collection:
        store(collection, "a", files, "1")
        monkeypatch.setattr(LocalFolder, "names", lambda *_: pytest.fail("the collection was listed"))
        store(collection, "b", files, "2")


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes/00000001.json").write_text('{"format": 2}')
    with Collection(tmp_path, "r") as collection, pytest.raises(FormatError, match="format 2"):
        list(collection)

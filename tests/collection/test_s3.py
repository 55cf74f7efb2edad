"""A collection in an object store: written under a condition, read in few requests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import Bucket, serving

from simarchive import SimulationDataQuery, StorageIOError
from simarchive.collection import Collection
from simarchive.testing.sample_objects import simulation, write_files

URL = "s3://lab/some/water"
N_SHARDS = 8


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with serving() as (endpoint, bucket):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield bucket


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


def store(collection: Collection, work_id: str, files: Path, calculation: str) -> str:
    with collection.writer(work_id) as backend:
        return backend.store_object(simulation(calculation=calculation), files)


def test_what_was_published_is_read_in_two_requests_a_shard(bucket: Bucket, files: Path) -> None:
    with Collection(URL) as collection:
        keys = [store(collection, f"work-{n}", files, str(n)) for n in range(N_SHARDS)]
        assert len([path for _, path in bucket.requests if ".probe" in path]) == 2, "once for all writers"
    assert sorted(bucket.objects) == [f"/lab/some/water/shards/work-{n}.h5" for n in range(N_SHARDS)]
    bucket.requests.clear()
    with Collection(URL, "r") as collection:
        assert collection.keys("class=StoredSimulationData") == keys
        assert len(bucket.requests) <= 2 + 2 * N_SHARDS
        assert collection.load(keys[3]).source_calculation_id == "3"
        with collection.open_member(keys[3], "trajectory.dcd") as member:
            assert member.read() == (files / "trajectory.dcd").read_bytes()
        found = collection.query(SimulationDataQuery(source_calculation_id="5"))
        assert [match[0] for matches in found.values() for match in matches] == [keys[5]]


def test_a_name_is_given_once(bucket: Bucket, files: Path) -> None:
    with Collection(URL) as collection, Collection(URL) as other:
        first = collection.writer("w-1")
        with first as mine, other.writer("w-1") as theirs:
            key = theirs.store_object(simulation(calculation="theirs"), files)
            mine.store_object(simulation(calculation="mine"), files)
        assert first.outcome is not None
        assert not first.outcome.is_published
        assert not first.outcome.is_same
        assert list(collection) == [key]


@pytest.mark.parametrize("work_id", ["größe", "50%", "a#b", "a?b", "a+b=c", "a%2Fb", "~x", "a:b"])
def test_any_work_id_becomes_a_name(bucket: Bucket, files: Path, work_id: str) -> None:
    with Collection(URL) as collection:
        key = store(collection, work_id, files, "1")
        assert collection.is_published(work_id)
        assert collection.work_ids == [work_id]
        assert collection.load(key).source_calculation_id == "1"


def test_a_store_that_ignores_the_condition_is_refused(bucket: Bucket) -> None:
    bucket.heeds_conditions = False
    with Collection(URL) as collection:
        for change in (lambda: collection.writer("a"), lambda: collection.remove(["k"])):
            with pytest.raises(StorageIOError, match="If-None-Match"):
                change()
    assert not bucket.objects


def test_an_answer_that_was_lost_is_made_up_for(bucket: Bucket, files: Path) -> None:
    with Collection(URL) as collection:
        bucket.lost_answers = 1
        writer = collection.writer("a")
        with writer as backend:
            key = backend.store_object(simulation(), files)
            other = backend.store_object(simulation(calculation="other"), files)
        assert bucket.lost_answers == 0
        assert writer.outcome is not None
        assert writer.outcome.is_published
        bucket.lost_answers = 1
        collection.remove([key])
        assert bucket.lost_answers == 0
        assert list(collection) == [other]
        assert [path for path in bucket.objects if "/changes/" in path] == [
            "/lab/some/water/changes/00000001.json"
        ]


def test_a_store_that_does_not_answer_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("simarchive.remote.object_store._MOST_ATTEMPTS", 0)
    with Collection(URL, "r") as collection, pytest.raises(StorageIOError, match="cannot be listed"):
        list(collection)

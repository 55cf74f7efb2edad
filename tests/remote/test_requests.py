"""How many requests reading from afar takes, as the server counts them.

The numbers of objects and the size of their files are larger where these are set: SIMARCHIVE_REMOTE_OBJECTS,
SIMARCHIVE_REMOTE_FILE_BYTES.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_containers import fill
from range_server import RangeServer, serving

from simarchive import Between, HDF5Storage, SimulationDataQuery
from simarchive.storage.hdf5.upkeep import repack

N_OBJECTS = int(os.environ.get("SIMARCHIVE_REMOTE_OBJECTS", "320"))
FILE_BYTES = int(os.environ.get("SIMARCHIVE_REMOTE_FILE_BYTES", "20000"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    path = tmp_path_factory.mktemp("many") / "many.h5"
    fill(path, N_OBJECTS, FILE_BYTES)
    repack(path, publish=True)
    with serving(path.parent) as server:
        yield server


@pytest.fixture
def backend(many: RangeServer) -> Iterator[HDF5Storage]:
    many.forget()
    with HDF5Storage(f"{many.url}/many.h5", mode="r") as backend:
        yield backend


def between(low: float, high: float) -> SimulationDataQuery:
    return SimulationDataQuery(statistical_inefficiency=Between(low, high))


def matches_of(backend: HDF5Storage, query: SimulationDataQuery) -> list[str]:
    return [match[0] for found in backend.query(query).values() for match in found]


def test_open_and_list_all_keys_takes_two_requests(many: RangeServer, backend: HDF5Storage) -> None:
    assert len(backend.keys()) == N_OBJECTS
    assert len(many.requests) <= 2


def test_a_query_for_one_object_takes_three_requests_and_1_2_mb(
    many: RangeServer, backend: HDF5Storage
) -> None:
    assert len(matches_of(backend, between(1.2, 1.2001))) == 1
    assert len(many.requests) <= 3
    assert many.n_bytes <= 1_200_000


def test_300_documents_and_a_file_take_five_requests(many: RangeServer, backend: HDF5Storage) -> None:
    keys = matches_of(backend, between(1.0, 1.29901))
    assert len(keys) == 300
    with backend.open_member(keys[150], "trajectory.dcd") as file:
        assert len(file.read()) == FILE_BYTES
    assert len(many.requests) <= 5


def test_300_documents_all_over_the_container_take_as_many(many: RangeServer, backend: HDF5Storage) -> None:
    keys = backend.keys()[:: max(1, N_OBJECTS // 300)][:300]
    backend.prefetch(keys)
    for key in keys:
        backend.load(key)
    assert len(many.requests) <= 5


def test_50_files_come_in_three_rounds(many: RangeServer, backend: HDF5Storage, tmp_path: Path) -> None:
    keys = backend.keys()[:: N_OBJECTS // 50][:50]
    many.forget()
    backend.prefetch(keys, ["*.dcd"])
    rounds = many.rounds_of(lambda: [backend.extract(key, tmp_path / key, ["*.dcd"]) for key in keys])
    assert rounds <= 3
    assert sum((tmp_path / key / "trajectory.dcd").stat().st_size for key in keys) == 50 * FILE_BYTES


def test_files_of_many_sizes_come_once(tmp_path: Path) -> None:
    """Wherever their first bytes lie: some are so close to metadata that the map has them."""
    fill(tmp_path / "large.h5", 60, 256 << 10)
    repack(tmp_path / "large.h5", publish=True)
    with serving(tmp_path) as server, HDF5Storage(f"{server.url}/large.h5", mode="r") as backend:
        keys = backend.keys()
        backend.prefetch(keys, ["*.dcd"])
        server.forget()
        for key in keys:
            backend.extract(key, tmp_path / key, ["*.dcd"])
        fetched = sorted((start, start + size) for _, start, size in server.requests)
        assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(fetched))
        assert len(fetched) <= len(keys)


def test_an_index_query_reads_no_document(many: RangeServer, backend: HDF5Storage) -> None:
    assert len(backend.keys(between(1.0, 1.1))) > 90
    assert backend.count(between(1.0, 1.1)) > 90
    backend.columns(between(1.0, 1.1))
    assert len(many.requests) == 2


def test_a_walk_over_all_objects_fetches_more_and_more_at_once(
    many: RangeServer, backend: HDF5Storage
) -> None:
    for key in backend:
        backend.load(key)
    # A request brings some megabytes at most.
    assert len(many.requests) <= 8 + N_OBJECTS // 2500


def test_what_is_fetched_once_is_kept(many: RangeServer, backend: HDF5Storage) -> None:
    key = backend.keys()[7]
    backend.load(key)
    n_requests = len(many.requests)
    backend.load(key)
    backend.list_members(key)
    backend.header(key)
    assert len(many.requests) == n_requests


def test_without_a_hint_each_file_takes_one_request(many: RangeServer, backend: HDF5Storage) -> None:
    keys = backend.keys()[::100]
    backend.prefetch(keys)
    for key in keys:
        backend.load(key)
    many.forget()
    for key in keys:
        with backend.open_member(key, "trajectory.dcd") as file:
            file.read()
    assert len(many.requests) <= len(keys)

"""What the tests of reading from afar share: published containers, and a server that counts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_containers import fill
from range_server import RangeServer, serving

from simarchive.storage.hdf5.upkeep import repack


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    """A server whose directory has `small.h5`: 60 published objects. Tests add files of their own."""
    directory = tmp_path_factory.mktemp("served")
    fill(directory / "small.h5", 60, 40_000)
    shutil.copy(directory / "small.h5", directory / "plain.h5")
    repack(directory / "small.h5", publish=True)
    with serving(directory) as server:
        yield server


@pytest.fixture
def server(served: RangeServer) -> Iterator[RangeServer]:
    """The server, which has forgotten earlier requests and answers as it should."""
    served.forget()
    yield served
    served.failures, served.sends_tags, served.knows_conditions = 0, True, True
    served.ignores_ranges = False


@pytest.fixture
def tiny(server: RangeServer, request: pytest.FixtureRequest) -> Path:
    """A published container of a few objects, a test's own."""
    path = server.directory / f"{abs(hash(request.node.nodeid))}.h5"
    fill(path, 4, 2000)
    repack(path, publish=True)
    return path


@pytest.fixture
def published(server: RangeServer) -> str:
    """The URL of a published container."""
    return f"{server.url}/small.h5"


@pytest.fixture
def own(server: RangeServer, request: pytest.FixtureRequest) -> Path:
    """A published container of a test's own, in the server's directory."""
    path = server.directory / f"{abs(hash(request.node.nodeid))}.h5"
    shutil.copy(server.directory / "small.h5", path)
    return path

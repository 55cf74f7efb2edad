"""A table of members that says something else than the members: nothing is linked that is not equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.container import layout
from simarchive.storage.hdf5 import indexing
from simarchive.testing.sample_objects import simulation, write_files

SIZE = 100_000


@pytest.fixture
def backend(tmp_path: Path):
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(
            simulation("first"), write_files(tmp_path / "first", trajectory=b"1" * SIZE), storage_key="first"
        )
        yield backend


@pytest.mark.parametrize("place", ["first/trajectory.dcd", "first/output.pdb", "gone/trajectory.dcd"])
def test_a_row_with_the_digest_of_another_file_links_nothing(
    backend: HDF5Storage, tmp_path: Path, place: str
) -> None:
    content = b"2" * SIZE
    with backend.transaction(), backend._container.transaction() as contents:
        table = contents.tables.get(layout.MEMBER_TABLE)
        assert table is not None
        row = {"size": SIZE, "digest": blake3(content).hexdigest()}
        if place in table:
            table.replace(place, row)
        else:
            table.insert(place, row, is_new=True)
    files = write_files(tmp_path / "second", trajectory=content)
    backend.store_object(simulation("second"), files, storage_key="second")
    for key, byte in (("first", b"1"), ("second", b"2")):
        assert backend.open_member(key, "trajectory.dcd").read() == byte * SIZE
    # Once it is there it is found, so that equal files are still stored once.
    backend.store_object(simulation("third"), files, storage_key="third")
    assert backend.open_member("third", "trajectory.dcd").read() == content
    with backend._container.reading() as contents:
        places = [
            {info.name: place for place, info in contents.member_places(key)}["trajectory.dcd"]
            for key in ("first", "second", "third")
        ]
    assert places[0] != places[1] == places[2]


def test_what_was_distrusted_in_a_transaction_is_trusted_again_when_that_is_rolled_back(
    backend: HDF5Storage, caplog: pytest.LogCaptureFixture
) -> None:
    query = SimulationDataQuery()
    assert "the index decides" in backend.explain(query)

    class LeftError(Exception):
        pass

    with pytest.raises(LeftError), backend.transaction():
        with backend._container.transaction() as contents:
            indexing.distrust(contents, "StoredSimulationData", "it was changed in this transaction")
            contents.tables.distrusted.add(layout.MEMBER_TABLE)
            contents.remove("first")
        assert "the index decides" not in backend.explain(query)
        raise LeftError
    assert "the index decides" in backend.explain(query)
    assert backend.keys(query) == ["first"]
    with backend._container.reading() as contents:
        assert contents.shared.is_usable()
    assert len(caplog.records) == 1

"""What storing an object replaces is said: in what `store` returns, and in the log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from simarchive import HDF5Storage, LocalFileStorage, SimulationRun
from simarchive.storage.duplicates import Action
from simarchive.testing.sample_objects import simulation, write_files


@pytest.mark.parametrize("kind", [HDF5Storage, LocalFileStorage])
def test_store_says_what_it_did(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type) -> None:
    files = write_files(tmp_path / "files")
    with caplog.at_level(logging.WARNING), kind(tmp_path / "store") as backend:
        first = backend.store(simulation("one", inefficiency=3.0), files)
        again = backend.store(simulation("one", inefficiency=3.0), files)
        worse = backend.store(simulation("one", inefficiency=9.0), files)
        assert caplog.messages == []
        better = backend.store(simulation("one", inefficiency=2.0), files)
    outcomes = [first, again, worse, better]
    assert {outcome.key for outcome in outcomes} == {first.key}
    assert [outcome.action for outcome in outcomes] == [Action.ADD, Action.KEEP, Action.KEEP, Action.REPLACE]
    assert str(first) == f"{first.key}: stored"
    assert str(again).startswith(f"{first.key}: there already")
    (message,) = caplog.messages
    assert message == f"object {better}"
    assert message.startswith(f"object {first.key}: stored in the place of ")
    if kind is HDF5Storage:
        assert "the StoredSimulationData with 3 files that was stored 2" in message


def test_a_run_replaces_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), HDF5Storage(tmp_path / "a.h5") as backend:
        outcomes = [
            backend.store(SimulationRun(name="run", n_atoms=number), write_files(tmp_path / str(number)))
            for number in range(2)
        ]
        assert [outcome.action for outcome in outcomes] == [Action.ADD] * 2
    assert caplog.messages == []

"""The block of a transaction is the program's own: signals are answered at once, and closing waits."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from simarchive import HDF5Storage, LocalFileStorage, SmirnoffForceFieldSource
from simarchive.errors import ClosedError
from simarchive.testing.sample_objects import simulation, write_files

BACKENDS = {
    "container": lambda path: HDF5Storage(path / "a.h5", lock_timeout_s=0.5),
    "directory": lambda path: LocalFileStorage(path / "a", lock_timeout_s=0.5),
}


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _ctrl_c_raises() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_in_the_block_is_answered_at_once_and_takes_it_back(kind: str, tmp_path: Path) -> None:
    went_on = []
    with BACKENDS[kind](tmp_path) as backend, BACKENDS[kind](tmp_path) as other:
        with pytest.raises(KeyboardInterrupt), backend.transaction():
            backend.store_force_field(SmirnoffForceFieldSource("<one/>"))
            signal.raise_signal(signal.SIGINT)
            went_on.append(True)
        assert not went_on
        assert len(backend) == 0
        other.store_force_field(SmirnoffForceFieldSource("<two/>"))
        assert len(backend) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_the_program_installs_in_the_block_stays(kind: str, tmp_path: Path) -> None:
    came = []
    with BACKENDS[kind](tmp_path) as backend:
        with backend.transaction():
            signal.signal(signal.SIGINT, lambda *_: came.append(1))
            backend.store_force_field(SmirnoffForceFieldSource("<one/>"))
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert came == [1, 1]


def test_a_transaction_entered_by_hand_and_forgotten_is_taken_back(kind: str, tmp_path: Path) -> None:
    with BACKENDS[kind](tmp_path) as backend, BACKENDS[kind](tmp_path) as other:
        backend.transaction().__enter__()
        backend.store_force_field(SmirnoffForceFieldSource("<one/>"))
        other.store_force_field(SmirnoffForceFieldSource("<two/>"))
        assert len(other) == len(backend) == 2
        block = backend.transaction()
        block.__enter__()
        backend.store_force_field(SmirnoffForceFieldSource("<three/>"))
        del block
        other.store_force_field(SmirnoffForceFieldSource("<four/>"))
        assert len(other) == 3


def test_closing_while_progress_is_reported_lets_the_store_end_first(tmp_path: Path) -> None:
    files = write_files(tmp_path / "files", os.urandom(3_000_000))
    backend = HDF5Storage(tmp_path / "a.h5")
    backend.progress = lambda _: backend.close()
    key = backend.store_object(simulation("c"), files)
    assert backend.closed
    with pytest.raises(ClosedError):
        backend.keys()
    with HDF5Storage(tmp_path / "a.h5") as again:
        assert again.keys() == [key]
        assert again.verify(full=True).ok


def test_closing_in_a_nested_block_takes_the_whole_back(tmp_path: Path) -> None:
    backend = HDF5Storage(tmp_path / "a.h5")
    with pytest.raises(ClosedError), backend.transaction():
        backend.store_force_field(SmirnoffForceFieldSource("<one/>"))
        with contextlib.suppress(ClosedError), backend.transaction():
            backend.close()
            backend.keys()
    with HDF5Storage(tmp_path / "a.h5") as again:
        assert len(again) == 0

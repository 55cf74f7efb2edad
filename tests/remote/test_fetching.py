"""Ranges become requests, and requests ranges again."""

import gc
import random
from typing import Any

import pytest

from simarchive import StorageIOError
from simarchive.remote import fetching
from simarchive.remote.fetching import Fetcher, joined


class Bytes:
    """A source that counts."""

    name = "bytes"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.n_requests = 0

    def tail(self, size: int) -> tuple[bytes, int]:
        return self.data[-size:], len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        assert not gc.isenabled()
        self.n_requests += 1
        return self.data[offset : offset + size]

    def close(self) -> None:
        pass


def test_every_range_comes_back_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_REQUEST_BYTES", 50)
    monkeypatch.setattr(fetching, "_GAP_BYTES", 5)
    rng = random.Random(1)
    data = rng.randbytes(1000)
    fetcher = Fetcher(Bytes(data))
    for _ in range(100):
        ranges = [
            (offset, rng.randrange(min(200, 1000 - offset))) for offset in rng.choices(range(1000), k=9)
        ]
        found = fetcher.fetch(ranges)
        assert [bytes(part) for part in found] == [data[at : at + size] for at, size in ranges]
    assert gc.isenabled()


def test_what_lies_close_is_one_request() -> None:
    assert joined([(0, 10), (12, 10), (100, 5)], gap=5) == [(0, 22), (100, 5)]
    assert joined([(0, 10), (5, 20), (7, 2)], gap=0, most=12) == [(0, 25)]
    assert joined([(0, 10), (10, 10)], gap=5, most=12) == [(0, 10), (10, 10)]


def test_the_first_error_is_raised_and_the_collector_runs_again() -> None:
    class Broken(Bytes):
        def read(self, offset: int, size: int) -> Any:
            raise StorageIOError(f"byte {offset}")

    with pytest.raises(StorageIOError, match="byte"):
        Fetcher(Broken(b"")).fetch([(0, 1), (10_000_000, 1)])
    assert gc.isenabled()


def test_a_source_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(fetching, "_STALLED_S", 0.05)
    monkeypatch.setattr(fetching, "_LOOK_S", 0.01)
    released = threading.Event()

    class Silent(Bytes):
        def read(self, offset: int, size: int) -> Any:
            released.wait(30)
            return b"x"

    try:
        with pytest.raises(StorageIOError, match="has not answered"):
            Fetcher(Silent(b"")).fetch([(0, 1)])
    finally:
        released.set()

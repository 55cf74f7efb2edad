"""Real processes that are killed while they store real trajectories, with readers beside them."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import h5py
import pytest
from storage_programs import Checker, Collection, Reader, Writer, fork, sources_in, warm_up

from simarchive import HDF5Storage

KILLS = int(os.environ.get("SIMARCHIVE_KILLS", "10"))


@pytest.mark.slow
def test_a_killed_writer_loses_no_acknowledged_object(tmp_path: Path) -> None:
    path, sources, rng = tmp_path / "container.h5", sources_in(tmp_path / "sources"), random.Random(1)
    HDF5Storage(path).close()
    warm_up(tmp_path, sources)
    stop = multiprocessing.Event()
    readers = [fork(Reader(path, sources, number, stop.is_set)) for number in range(2)]
    collection: Collection = {}
    commits = hot = stored_in_doubt = 0
    try:
        for kill in range(KILLS):
            durability = ("commit", "close")[kill % 2]
            child = fork(Writer(path, sources, kill, time.monotonic() + 60, collection, durability))
            child.listen(rng.randint(0, 8))
            time.sleep(rng.uniform(0.0, 0.15))
            child.kill()
            said = child.finish()
            assert not [line for line in said if line[0] == "error"], said[-1]
            allowed = [collection]
            for word, *state in said:
                if word == "intend":
                    allowed = [allowed[0], *state]
                elif word == "done":
                    allowed, commits = allowed[1:], commits + 1
            hot += Path(f"{path}-wal").exists()
            checker = fork(Checker(path, sources))
            (line,) = checker.finish()
            assert line[0] == "collection", line[1]
            collection = line[1]
            assert collection in allowed, (kill, collection, allowed)
            stored_in_doubt += len(allowed) > 1 and collection == allowed[1]
    finally:
        stop.set()
        answers = [reader.finish() for reader in readers]
    assert [answer[-1][0] for answer in answers] == ["rounds"] * len(readers), answers
    figures = {
        "kills": KILLS,
        "commits": commits,
        "hot logs": hot,
        "unacknowledged but there": stored_in_doubt,
    }
    print(figures, "reads:", sum(answer[-1][1] for answer in answers))
    assert hot
    assert commits
    with HDF5Storage(path) as backend:
        assert dict.fromkeys(collection) == dict.fromkeys(backend.keys())
        backend.rebuild_index()
    with h5py.File(path, "r") as stock:
        assert set(stock["objects"]) == set(collection)

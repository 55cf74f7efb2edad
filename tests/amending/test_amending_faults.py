"""Amending on a full disk, interrupted by Ctrl-C, and while other processes read: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest
from children import is_a, outcome, run, say, start
from conftest_of_amending import KEY, floats
from names_of_files import mounted

from simarchive import HDF5Storage, SimulationRun
from simarchive.codecs import CHUNK_BYTES
from simarchive.errors import ConflictError

START = CHUNK_BYTES + 100_000
N_INTERRUPTIONS = int(os.environ.get("SIMARCHIVE_INTERRUPTIONS", "2"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path.resolve() / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def data() -> bytes:
    return floats(6 * CHUNK_BYTES)


def make(path: Path) -> None:
    folder = Path("run")
    folder.mkdir()
    (folder / "frames.bin").write_bytes(data()[:START])
    (folder / "log.txt").write_text("step 1\n")
    with HDF5Storage(path) as backend:
        backend.store_object(SimulationRun(name="run", tags=["draft"]), folder, storage_key=KEY)


def state(backend: HDF5Storage) -> dict[str, bytes]:
    return {info.name: backend.open_member(KEY, info.name).read() for info in backend.list_members(KEY)}


def amend_on_a_full_disk() -> None:
    with HDF5Storage("disk/a.h5") as backend:
        before = state(backend), backend.history(KEY), backend.load(KEY)
        Path("new").write_bytes(os.urandom(600_000))
        Path("grown").write_bytes(data())
        with Path("disk/of another").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        say("add", outcome(lambda: backend.add_file(KEY, "new", "new")))
        say("replace", outcome(lambda: backend.replace_file(KEY, "log.txt", "new")))
        say("append", outcome(lambda: backend.append_member(KEY, "frames.bin", "grown")))
        say("as before", before == (state(backend), backend.history(KEY), backend.load(KEY)))
        Path("disk/of another").unlink()
        say("again", outcome(lambda: backend.add_file(KEY, "new", "new")))
        say("sound", backend.verify(full=True).ok)


def test_on_a_full_disk_nothing_is_changed_and_later_all_of_it_can_be(place: Path) -> None:
    (place / "disk").mkdir()
    with mounted(place / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        make(place / "disk" / "a.h5")
        said = dict(run(amend_on_a_full_disk).ended_well().said)
    for what in ("add", "replace", "append"):
        assert is_a(said[what], "StorageFullError"), said
    assert (said["as before"], said["again"], said["sound"]) == (True, "ok", True)


def append_until_interrupted() -> None:
    whole, size = data(), START
    with HDF5Storage("a.h5") as backend:
        try:
            say("begin")
            for size in range(START, len(whole), 300_000):
                Path("source").write_bytes(whole[:size])
                backend.append_member(KEY, "frames.bin", "source")
                backend.add_tags(KEY, str(size))
                say("appended")
            say("never interrupted")
        except KeyboardInterrupt:
            found = state(backend)["frames.bin"]
            say("interrupted", found == whole[: len(found)], size - len(found))
        Path("source").write_bytes(whole[:size])
        backend.append_member(KEY, "frames.bin", "source")
        say(
            "goes on",
            state(backend)["frames.bin"] == Path("source").read_bytes(),
            backend.verify(full=True).ok,
        )


def test_ctrl_c_leaves_the_last_commit_or_the_next_and_the_backend_works(place: Path) -> None:
    chance = random.Random(3)
    for number in range(N_INTERRUPTIONS):
        shutil.rmtree(place / "run", ignore_errors=True)
        (place / "a.h5").unlink(missing_ok=True)
        make(place / "a.h5")
        child = start(append_until_interrupted)
        child.listen(chance.randrange(1, 4))
        threading.Event().wait(chance.uniform(0, 0.1))  # a moment that nobody chose
        child.signal(signal.SIGINT)
        *_, interrupted, goes_on = child.finish().ended_well().said
        assert interrupted[:2] == ["interrupted", True], (number, interrupted)
        assert interrupted[2] in (0, 300_000), interrupted
        assert goes_on == ["goes on", True, True]


def append_in_steps() -> None:
    whole = data()
    with HDF5Storage("a.h5") as backend:
        for size in range(START, len(whole) // 2, 400_000):
            Path("source").write_bytes(whole[:size])
            backend.append_member(KEY, "frames.bin", "source")
            backend.add_note(KEY, str(size))
    say("done")


def test_one_who_reads_meanwhile_sees_a_whole_state_each_time(place: Path) -> None:
    make(place / "a.h5")
    whole, seen = data(), set()
    child = start(append_in_steps)
    with HDF5Storage(place / "a.h5", mode="r") as backend:
        while not child.has_ended():
            with backend.reading():
                found = state(backend)["frames.bin"]
                sizes = [event.size for event in backend.history(KEY) if event.action == "append"]
            assert found == whole[: len(found)]
            assert not sizes or sizes[-1] == len(found)
            seen.add(len(found))
            stream = backend.open_member(KEY, "frames.bin")
            with contextlib.suppress(ConflictError):
                assert stream.read() == whole[: stream.tell()]
    assert child.finish().ended_well().said == [["done"]]
    assert len(seen) > 1

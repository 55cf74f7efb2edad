"""A stored file becomes as long as one that has grown: only what is new is written, and only if it fits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest_of_amending import FILES, KEY, OTHER, Stored, datasets_of, floats
from MDAnalysisTests.datafiles import DCD, NCDF, TRR, XTC

from simarchive import HDF5Storage, SimulationRun
from simarchive.codecs import CHUNK_BYTES, CODEC_CHOICES
from simarchive.codecs.trajectory_files.xdr import FrameScanner
from simarchive.container.members import writing
from simarchive.container.members.source import MemberSource
from simarchive.errors import ConflictError, NotFoundError

N_TIMES = int(os.environ.get("SIMARCHIVE_APPENDS", "20"))


def stored_file(path: Path, name: str, data: bytes, codec: str = "deflate") -> HDF5Storage:
    folder = path.parent / "folder"
    folder.mkdir()
    (folder / name).write_bytes(data)
    backend = HDF5Storage(path, codec=codec)
    backend.store_object(SimulationRun(name="run"), folder, storage_key=KEY)
    return backend


def grown(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def one(backend: HDF5Storage, name: str) -> bytes:
    return backend.open_member(KEY, name).read()


# Below, at and above the ends of chunks and words, from one chunk to two and on.
STEPS = [
    0,
    1,
    3,
    64,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    2 * CHUNK_BYTES,
    2 * CHUNK_BYTES + 70_001,
]


@pytest.mark.parametrize("codec", CODEC_CHOICES)
def test_a_file_that_grew_in_steps_is_stored_as_if_it_were_stored_at_once(tmp_path: Path, codec: str) -> None:
    data = floats(STEPS[-1])
    with stored_file(tmp_path / "a.h5", "x", data[:0], codec) as backend:
        for size in STEPS[1:]:
            added = backend.append_member(KEY, "x", grown(tmp_path / "source", data[:size]))
            assert added == size - STEPS[STEPS.index(size) - 1]
            assert one(backend, "x") == data[:size]
        assert backend.verify(full=True).problems == []
        (info,) = backend.list_members(KEY)
        backend.add_file(KEY, "twin", grown(tmp_path / "source", data))
        at_once = backend.list_members(KEY, ["twin"])[0]
        assert (info.size, info.digest, info.codec) == (len(data), at_once.digest, at_once.codec)
        assert backend.append_member(KEY, "x", grown(tmp_path / "source", data)) == 0
        assert [event.times for event in backend.history(KEY) if event.action == "append"] == [len(STEPS) - 1]


def test_whole_chunks_stay_where_they_are(tmp_path: Path) -> None:
    data = floats(5 * CHUNK_BYTES)
    path = tmp_path / "a.h5"
    with stored_file(path, "x", data[: 3 * CHUNK_BYTES + 999]) as backend:
        pass
    before = datasets_of(path, KEY)["x"]
    with HDF5Storage(path) as backend:
        backend.append_member(KEY, "x", grown(tmp_path / "source", data))
        backend.append_member(KEY, "x", grown(tmp_path / "source", data + b"1"))
    after = datasets_of(path, KEY)["x"]
    assert after[0] == before[0]
    assert after[1][:3] == before[1][:3]


def test_nothing_but_what_is_new_is_encoded_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = floats(6 * CHUNK_BYTES + 1000)
    with stored_file(tmp_path / "a.h5", "x", data) as backend:
        written: list[int] = []
        real = writing.nodes.write_chunk
        monkeypatch.setattr(
            writing.nodes, "write_chunk", lambda *a: (written.append(a[1] * 4 // CHUNK_BYTES), real(*a))
        )
        read: list[int] = []
        take = MemberSource.read_into
        monkeypatch.setattr(
            MemberSource, "read_into", lambda self, buffer: (read.append(len(buffer)), take(self, buffer))[1]
        )
        more = data + floats(CHUNK_BYTES, 1)
        backend.append_member(KEY, "x", grown(tmp_path / "source", more))
        assert written == [6, 7]
        # Once each, in pieces that do not grow with the file.
        assert sum(read) == len(more)
        assert max(read) <= CHUNK_BYTES


def test_the_container_grows_by_what_was_added(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.h5", random.Random(1)
    data = floats(12 * CHUNK_BYTES)
    size = 2 * CHUNK_BYTES
    with stored_file(path, "x", data[:size]):
        pass
    before = path.stat().st_size
    while size < len(data):
        size = min(len(data), size + chance.randrange(1, 2 * CHUNK_BYTES))
        with HDF5Storage(path) as backend:
            backend.append_member(KEY, "x", grown(tmp_path / "source", data[:size]))
            (info,) = backend.list_members(KEY)
    # The chunk that is written again leaves room, which the next one takes.
    assert path.stat().st_size - before <= info.stored_size - info.stored_size // 6 + 2 * CHUNK_BYTES


@pytest.mark.parametrize("size", [70_000, CHUNK_BYTES + 5, 3 * CHUNK_BYTES])
def test_an_equal_file_of_another_object_stays_as_it_is(stored: Stored, size: int) -> None:
    more = FILES["frames.bin"] + floats(size, 5)
    with stored.opened() as backend:
        backend.append_member(KEY, "frames.bin", stored.source(more))
    stored.files["frames.bin"] = more
    stored.check()
    assert datasets_of(stored.path, KEY)["frames.bin"] != datasets_of(stored.path, OTHER)["frames.bin"]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "the first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a byte in the middle": lambda data: data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :],
    "the last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "a byte too few": lambda data: data[1:],
    "nothing in common": lambda data: b"x" * len(data),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["frames.bin", "twin.bin", "system.pdb"])
def test_a_source_whose_beginning_changed_is_refused(stored: Stored, name: str, change: str) -> None:
    source = stored.source(CHANGES[change](FILES[name]) + b"more")
    before = stored.path.read_bytes()
    with stored.opened() as backend, pytest.raises(ConflictError, match="does not begin with what is stored"):
        backend.append_member(KEY, name, source)
    assert stored.path.read_bytes() == before


@pytest.mark.parametrize("name", ["frames.bin", "system.pdb"])
def test_a_shorter_source_is_refused(stored: Stored, name: str) -> None:
    with stored.opened() as backend:
        with pytest.raises(ConflictError, match="did not grow"):
            backend.append_member(KEY, name, stored.source(FILES[name][:-1]))
        with pytest.raises(NotFoundError, match="no file 'other'"):
            backend.append_member(KEY, "other", stored.source(b"x"))
        assert len(backend.history(KEY)) == 1
    stored.check()


# ---- trajectories ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [XTC, TRR], ids=["xtc", "trr"])
def test_the_places_of_frames_are_those_of_a_file_that_is_stored_at_once(tmp_path: Path, source: str) -> None:
    data = Path(source).read_bytes() * (2 if source == TRR else 8)
    chance = random.Random(4)
    places = [*sorted(chance.randrange(len(data)) for _ in range(8)), len(data)]
    with stored_file(tmp_path / "a.h5", "x", b"") as backend:
        for place in places:
            backend.append_member(KEY, "x", grown(tmp_path / "source", data[:place]))
    other = tmp_path / "other"
    other.mkdir()
    stored_file(other / "a.h5", "x", data).close()
    lengths = lengths_in(tmp_path / "a.h5")
    assert lengths == lengths_in(other / "a.h5")
    assert len(lengths) > 10


def lengths_in(path: Path) -> list[int]:
    found: list[int] = []

    def note(_: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and "member_frame_lengths" in node.attrs:
            found.extend(node.attrs["member_frame_lengths"].tolist())

    with h5py.File(path) as file:
        file["objects"][KEY].visititems(note)
    return found


def with_counts(data: bytes, format_of_it: str, n_frames: int) -> bytes:
    """Return a file that says it has as many frames, as the program that writes it does."""
    if format_of_it == "dcd":
        order = "<" if data[:1] == b"\x54" else ">"
        count = struct.pack(f"{order}i", n_frames)
        return data[:8] + count + data[12:20] + count + data[24:]
    return data[:4] + struct.pack(">i", n_frames) + data[8:]


@pytest.mark.parametrize("codec", ["deflate", "trajectory"])
@pytest.mark.parametrize(("source", "kind"), [(DCD, "dcd"), (NCDF, "nc")], ids=["dcd", "nc"])
def test_the_count_of_frames_at_the_start_may_change_and_nothing_else(
    tmp_path: Path, source: str, kind: str, codec: str
) -> None:
    data = Path(source).read_bytes()
    data += data[-2_000_000:] * (1 + 4 * CHUNK_BYTES // len(data))
    sizes = [len(data) // 3, len(data) // 2, len(data)]
    parts = [with_counts(data[:size], kind, number) for number, size in enumerate(sizes)]
    with stored_file(tmp_path / "a.h5", "x", parts[0], codec) as backend:
        for part in parts[1:]:
            backend.append_member(KEY, "x", grown(tmp_path / "source", part))
            assert one(backend, "x") == part
        wrong = bytearray(with_counts(data + b"more", kind, 9))
        wrong[40] ^= 1
        with pytest.raises(ConflictError):
            backend.append_member(KEY, "x", grown(tmp_path / "source", bytes(wrong)))
        assert backend.verify(full=True).problems == []


def test_a_run_says_how_many_frames_it_has_and_how_long_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    data = Path(XTC).read_bytes()
    lengths = np.asarray(frames_of(data))
    (folder / "run.xtc").write_bytes(data[: lengths[:4].sum()])
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.add_run(folder, name="run")
        assert backend.load(key).n_frames == 4
        # The program is in the midst of writing the seventh.
        backend.append_member(key, "run.xtc", grown(tmp_path / "s", data[: lengths[:6].sum() + 100]))
        assert backend.load(key).n_frames == 6
        backend.append_member(key, "run.xtc", grown(tmp_path / "s", data))
        run = backend.load(key)
        assert (run.n_frames, run.length.m_as("picosecond")) == (10, pytest.approx(900.0))
        assert backend.keys("class=run n_frames=10") == [key]
        assert len(backend.frames(key)) == 10
        assert backend.verify(full=True).problems == []


def frames_of(data: bytes) -> list[int]:
    scanner = FrameScanner()
    scanner.feed(memoryview(data))
    return scanner.finish()


def test_a_source_may_grow_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = floats(3 * CHUNK_BYTES)
    source = grown(tmp_path / "source", data[:-5000])
    take = MemberSource.read_into

    def while_somebody_writes(self: MemberSource, buffer: memoryview) -> None:
        take(self, buffer)
        source.write_bytes(data)

    with stored_file(tmp_path / "a.h5", "x", data[:100]) as backend:
        with monkeypatch.context() as patch:
            patch.setattr(MemberSource, "read_into", while_somebody_writes)
            backend.append_member(KEY, "x", source)
        assert one(backend, "x") == data[:-5000]
        backend.append_member(KEY, "x", source)
        assert one(backend, "x") == data


# ---- killed ------------------------------------------------------------------------------------------


def append_in_a_process(path: str, source: str) -> None:
    with HDF5Storage(path) as backend:
        backend.append_member(KEY, "x", source)


def test_a_file_appended_to_by_processes_that_are_killed_is_right_at_each_commit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    chance, path, source = random.Random(7), tmp_path / "a.h5", tmp_path / "source"
    data = floats(N_TIMES * 120_000, 2)
    stored_file(path, "x", data[:10]).close()
    sizes, stored, took_s, n_killed = [10], 10, 0.0, 0
    for number in range(N_TIMES):
        sizes.append(min(len(data), sizes[-1] + chance.randrange(1, 2 * len(data) // N_TIMES)))
        source.write_bytes(data[: sizes[-1]])
        process = context.Process(target=append_in_a_process, args=(str(path), str(source)))
        began = time.monotonic()
        process.start()
        # The first three show how long it takes.
        process.join(None if number < 3 else chance.uniform(0, 1.2 * took_s))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            n_killed += 1
        else:
            assert process.exitcode == 0
            took_s = max(took_s, time.monotonic() - began)
        with HDF5Storage(path, mode="r") as backend:
            found = one(backend, "x")
        assert len(found) in (stored, sizes[-1])
        assert found == data[: len(found)]
        stored = len(found)
    assert n_killed >= N_TIMES // 5
    with HDF5Storage(path) as backend:
        backend.append_member(KEY, "x", grown(source, data))
        assert one(backend, "x") == data
        assert backend.verify(full=True).problems == []
        (info,) = backend.list_members(KEY)
    assert path.stat().st_size <= info.stored_size + 3 * CHUNK_BYTES

"""The seal and the log, read as docs/reference/format.md says, without the code that writes them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import h5py
import pytest
from blake3 import blake3

from simarchive import HDF5Storage, SmirnoffForceFieldSource

PAGE = 4096


def digest(data: bytes) -> bytes:
    return blake3(data).digest(16)


def read_seal(container: bytes) -> dict[str, bytes]:
    (end,) = struct.unpack_from("<Q", container, 28)
    seal = container[end : end + 128]
    assert seal[:8] == b"simseal2"
    assert seal[112:] == digest(seal[:112])
    return {
        "container_id": seal[8:24],
        "state": seal[24:40],
        "ticket": seal[40:48],
        "pending": seal[48:56],
        "former": seal[56:112],
    }


def read_log(log: bytes) -> tuple[dict[str, bytes], dict[int, bytes], int, bytes]:
    """Return the header, the committed pages, the end of file and the state of the last commit."""
    assert log[:12] == b"simwal\x00\x01" + struct.pack("<I", PAGE)
    assert log[120:136] == digest(log[:120])
    header = {"salt": log[16:32], "container_id": log[32:48], "base": log[48:64], "superblock": log[72:120]}
    pages: dict[int, bytes] = {}
    unfinished: dict[int, bytes] = {}
    previous, position, sequence, end, state = header["salt"], PAGE, 0, 0, header["base"]
    while log[position : position + 4] == b"SFR1":
        flags, number, _, frame_end, count = struct.unpack_from("<IQQQQ", log, position + 4)
        table_end = position + 56 + 16 * count if flags != 2 else position + 56
        images = position + -(-(table_end - position) // 512) * 512
        stop = position + 512 if flags == 2 else images + PAGE * count
        frame = log[position:stop]
        if number != sequence + 1 or frame[40:56] != digest(previous + frame[:40] + frame[56:]):
            break
        if flags == 2:
            position, unfinished = position + count, {}
        else:
            for place in range(count):
                (page,) = struct.unpack_from("<Q", log, position + 56 + 16 * place)
                unfinished[page] = log[images + PAGE * place : images + PAGE * (place + 1)]
            position = stop
        previous, sequence = frame[40:56], number
        if flags == 1:
            pages, unfinished, end, state = pages | unfinished, {}, frame_end, frame[40:56]
    return header, pages, end, state


@pytest.fixture
def busy(tmp_path: Path) -> tuple[Path, Path]:
    """Return copies of a container and its log in the middle of a writer's work."""
    path = tmp_path / "busy.h5"
    with HDF5Storage(path) as backend:
        backend.store_force_field(SmirnoffForceFieldSource("<one/>"))
    with HDF5Storage(path) as backend:
        for text in ("<two/>", "<three/>"):
            backend.store_force_field(SmirnoffForceFieldSource(text))
        copy, log = tmp_path / "copy.h5", tmp_path / "copy.h5-wal"
        copy.write_bytes(path.read_bytes())
        log.write_bytes(path.with_name("busy.h5-wal").read_bytes())
    return copy, log


def test_the_pages_of_the_log_over_the_container_are_the_last_commit(busy: tuple[Path, Path]) -> None:
    container = busy[0].read_bytes()
    seal = read_seal(container)
    header, pages, end, state = read_log(busy[1].read_bytes())
    assert header["container_id"] == seal["container_id"]
    assert header["base"] == seal["state"] != state
    assert seal["pending"] == (1).to_bytes(8, "little")
    assert seal["ticket"] == header["salt"][:8]
    assert header["superblock"] == container[:48]
    image = bytearray(container.ljust(end, b"\0"))
    for page, content in pages.items():
        image[page * PAGE : (page + 1) * PAGE] = content
    with h5py.File(io.BytesIO(image[:end]), "r") as file, h5py.File(busy[0], "r") as before:
        assert len(before["objects"]) == 1
        assert len(file["objects"]) == 3


def test_after_the_last_close_the_seal_names_the_last_commit(busy: tuple[Path, Path]) -> None:
    header, _, _, state = read_log(busy[1].read_bytes())
    first_ticket = read_seal(busy[0].read_bytes())["former"][:8]
    assert first_ticket not in (bytes(8), header["salt"][:8])
    with HDF5Storage(busy[0]) as backend:
        assert len(backend) == 3
    assert not busy[1].exists()
    seal = read_seal(busy[0].read_bytes())
    assert seal["state"] == state
    assert seal["pending"] == bytes(8)
    assert seal["ticket"] == header["salt"][:8]
    assert seal["former"][:8] == first_ticket


def test_a_torn_frame_ends_the_log(busy: tuple[Path, Path]) -> None:
    log = bytearray(busy[1].read_bytes())
    _, whole, _, state = read_log(bytes(log))
    # The log is longer than its frames: zeros follow.
    log[len(log.rstrip(b"\0")) - 1] ^= 1
    _, pages, _, earlier = read_log(bytes(log))
    assert earlier != state
    assert set(pages) <= set(whole)
    busy[1].write_bytes(log)
    with HDF5Storage(busy[0], mode="r") as backend:
        assert len(backend) == 2

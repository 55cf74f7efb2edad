"""Scratch on a disk that lost power: files are not synced there, and are not believed afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from simarchive import HDF5Storage
from simarchive.storage.scratch import Scratch, ScratchFile, stamps
from simarchive.testing.sample_objects import simulation, write_files

CONTENT = {"a": b"content of a" * 5000, "folder/b": b"b"}
FILES = [ScratchFile(name, len(data), blake3(data).hexdigest()) for name, data in CONTENT.items()]


class Disk:
    """Extracts files; of some only the size gets to the device, as when power is lost before the bytes."""

    def __init__(self, *lost: str) -> None:
        self.lost = lost
        self.calls: list[str] = []

    def __call__(self, name: str, destination: Path) -> None:
        self.calls.append(name)
        data = CONTENT[name]
        destination.write_bytes(bytes(len(data)) if name in self.lost else data)


def start_again(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the system be another run of itself."""
    monkeypatch.setattr(stamps, "boot", lambda: blake3(b"%d" % number).digest(16))


def given(root: Path, disk: Disk) -> dict[str, bytes]:
    with Scratch(root) as scratch, scratch.extract("k1", FILES, disk) as place:
        return {name: (place / name).read_bytes() for name in CONTENT}


@pytest.mark.parametrize("lost", [("a",), ("folder/b",), ("a", "folder/b")])
def test_what_a_power_loss_took_is_extracted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    start_again(monkeypatch, 1)
    assert given(tmp_path / "s", Disk(*lost)) != CONTENT
    # In the same run nothing was lost, and nothing is read to find that out.
    same = Disk()
    assert given(tmp_path / "s", same) != CONTENT
    assert same.calls == []
    start_again(monkeypatch, 2)
    after = Disk()
    assert given(tmp_path / "s", after) == CONTENT
    assert sorted(after.calls) == sorted(lost)


def test_what_is_whole_is_read_once_after_a_start_and_not_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simarchive.storage.scratch import scratch as module

    start_again(monkeypatch, 1)
    given(tmp_path / "s", Disk())
    start_again(monkeypatch, 2)
    proved: list[str] = []
    real = module._is_proved
    monkeypatch.setattr(module, "_is_proved", lambda slot, file: proved.append(file.name) or real(slot, file))
    for _ in range(3):
        disk = Disk()
        assert given(tmp_path / "s", disk) == CONTENT
        assert disk.calls == []
    assert sorted(proved) == sorted(CONTENT)


def test_stamps_of_an_early_version_are_an_empty_table(tmp_path: Path) -> None:
    given(tmp_path / "s", Disk())
    [table] = (tmp_path / "s").glob(".simarchive/*.stamps")
    table.write_bytes(b"simarchive-stamp" + table.read_bytes()[16:])
    disk = Disk()
    assert given(tmp_path / "s", disk) == CONTENT
    assert sorted(disk.calls) == sorted(CONTENT)


def test_a_backend_gives_no_path_to_bytes_that_were_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(100_000)
    with HDF5Storage(tmp_path / "a.h5", scratch_directory=tmp_path / "s") as backend:
        backend.store_object(simulation(), write_files(tmp_path / "f", trajectory=content), storage_key="k")
        path = Path(os.fspath(backend.retrieve_object("k")[1])) / "trajectory.dcd"
        assert path.read_bytes() == content
    status = path.stat()
    with path.open("r+b") as file:
        file.write(bytes(len(content)))
    # What is known of the file is as if it had been like that when it was extracted.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    [table] = (tmp_path / "s").glob(".simarchive/*.stamps")
    digest = blake3(content).hexdigest()
    with stamps.StampTable(table) as opened:
        file = ScratchFile("trajectory.dcd", len(content), digest)
        opened.put(file, stamps.stamp_of(file, path.stat()))
    start_again(monkeypatch, 2)
    with HDF5Storage(tmp_path / "a.h5", "r", scratch_directory=tmp_path / "s") as backend:
        path = Path(os.fspath(backend.retrieve_object("k")[1])) / "trajectory.dcd"
        assert path.read_bytes() == content

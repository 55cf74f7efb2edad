"""Power loss and full devices while files are extracted: a file is whole, the old one, or not there."""

from __future__ import annotations

import errno
import io
import os
import random
from pathlib import Path

import pytest
from crash_images import crash_images
from member_material import Box, floats, noise
from recorded_calls import RecordedCalls, image_of
from simulated_disk import Image

from simarchive import HDF5Storage
from simarchive.codecs import CHUNK_BYTES
from simarchive.container.members import extract_member, store_member
from simarchive.errors import ConflictError, StorageFullError, StorageIOError
from simarchive.testing.sample_objects import simulation, write_files

CONTENT = floats(CHUNK_BYTES) + bytes(CHUNK_BYTES) + noise(CHUNK_BYTES) + b"end"
OLD = b"the file that was there"


@pytest.fixture
def full_box(box: Box) -> Box:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(CONTENT))
    return box


def extract(box: Box, destination: Path, **options: bool) -> None:
    with box.reading() as (group, file):
        extract_member(group["a"], file, destination, **options)


@pytest.mark.parametrize(("old", "overwrite"), [(None, True), (None, False), (OLD, True)])
def test_a_file_that_was_extracted_with_sync_survives_a_power_loss(
    full_box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, overwrite: bool
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    destination = folder / "a"
    if old is not None:
        destination.write_bytes(old)
    start = image_of(folder)
    with monkeypatch.context() as patch:
        calls = RecordedCalls(folder, patch)
        extract(full_box, destination, sync=True, overwrite=overwrite)
    operations, rng = calls.operations, random.Random(1)
    assert {"write", "sync", "sync-names", "name"} <= {operation.kind for operation in operations}
    for point in range(len(operations) + 1):
        for _, image in crash_images(operations[:point], rng, 12, start):
            found = image.bytes_of(str(destination))
            allowed = (CONTENT,) if point == len(operations) else (old, CONTENT)
            assert found in allowed, point
    assert destination.read_bytes() == CONTENT


def test_a_file_that_is_there_stays_if_it_is_not_to_be_replaced(full_box: Box, tmp_path: Path) -> None:
    destination = tmp_path / "out" / "a"
    destination.parent.mkdir()
    destination.write_bytes(OLD)
    with pytest.raises(ConflictError):
        extract(full_box, destination, sync=True, overwrite=False)
    assert destination.read_bytes() == OLD
    assert list(destination.parent.iterdir()) == [destination]


def test_a_file_that_was_extracted_without_sync_may_be_lost_in_a_power_loss(
    full_box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So the test above can fail.
    folder = tmp_path / "out"
    folder.mkdir()
    with monkeypatch.context() as patch:
        calls = RecordedCalls(folder, patch)
        extract(full_box, folder / "a")
    images = crash_images(calls.operations, random.Random(1), 12, Image())
    assert any(image.bytes_of(str(folder / "a")) != CONTENT for _, image in images)
    assert "sync" not in {operation.kind for operation in calls.operations}


def test_sync_is_asked_for_all_the_way_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(tmp_path / "files", trajectory=noise(CHUNK_BYTES + 7))
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_object(simulation(), files)
        for sync in (False, True):
            folder = tmp_path / f"out-{sync}"
            with monkeypatch.context() as patch:
                calls = RecordedCalls(folder, patch)
                backend.extract(key, folder, sync=sync)
            kinds = [operation.kind for operation in calls.operations]
            count = sum(path.is_file() for path in files.rglob("*"))
            assert kinds.count("unname") == count  # each got its name when it was whole
            assert kinds.count("sync") == (count if sync else 0)
            assert ("sync-names" in kinds) is sync


def test_folders_on_the_way_to_a_file_survive_a_power_loss_with_it(
    full_box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    destination = Path("new/inner/a")
    with monkeypatch.context() as patch:
        calls = RecordedCalls(tmp_path, patch)
        extract(full_box, destination, sync=True)
    made = [i for i, operation in enumerate(calls.operations) if operation.kind == "folder"]
    synced = {Path(o.path) for o in calls.operations[made[-1] :] if o.kind == "sync-names"}
    assert synced >= {tmp_path, tmp_path / "new", tmp_path / "new" / "inner"}
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StorageFullError), (errno.EDQUOT, StorageFullError), (errno.EIO, StorageIOError)],
)
@pytest.mark.parametrize("old", [None, OLD])
def test_an_error_at_any_call_leaves_the_old_file_and_nothing_beside_it(
    full_box: Box,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception],
    old: bytes | None,
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    destination = folder / "a"
    names: set[str] = set()
    for failing in ("open", "truncate", "pwrite", "fsync", "replace"):
        if old is not None:
            destination.write_bytes(old)
        with monkeypatch.context() as patch, full_box.reading() as (group, file):
            calls = RecordedCalls(folder, patch)

            def fail(call: str, failing: str = failing) -> None:
                names.add(call)
                if call == failing:
                    raise OSError(number, os.strerror(number))

            calls.fault = fail
            with pytest.raises(expected, match="out/a"):
                extract_member(group["a"], file, destination, sync=True)
        assert [path.name for path in folder.iterdir()] == ([] if old is None else ["a"])
        assert old is None or destination.read_bytes() == old
    assert {"open", "truncate", "pwrite", "fsync", "replace"} <= names

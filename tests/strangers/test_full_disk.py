"""A disk without a free byte: nothing is lost, and the tool itself offers a way out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from children import command, force_field, is_a, keys_in, outcome, run, say
from names_of_files import mounted

from simarchive import HDF5Storage, StorageFullError
from simarchive.storage.hdf5 import upkeep
from simarchive.testing.sample_objects import simulation, write_files

SIZES_MB = (5, 7, 9, 12) if os.environ.get("SIMARCHIVE_MOMENTS") == "0" else (5, 9)


@pytest.fixture(params=SIZES_MB, ids=lambda size: f"{size} MB")
def disk(request: pytest.FixtureRequest, place: Path) -> Iterator[Path]:
    """A small file system of its own."""
    directory = place / "disk"
    directory.mkdir()
    with mounted(directory, "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs"):
        yield directory


def fill_up() -> None:
    """Take every byte that is left."""
    with open("disk/of another", "ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while file.write(os.urandom(size)) == size:
                    pass
            except OSError:
                continue


def store_until_it_is_full(what: str, and_fill_up: bool) -> None:
    files = write_files(Path("files"))
    backend = HDF5Storage("disk/a.h5")
    keys: list[str] = []

    def store_all() -> None:
        while True:
            if what == "documents":
                keys.append(backend.store_force_field(force_field(os.urandom(6_000).hex())))
            else:
                (files / "trajectory.dcd").write_bytes(os.urandom(150_000))
                keys.append(backend.store_object(simulation(str(len(keys))), files))

    said = outcome(store_all)
    say("stored", said, *keys)
    if and_fill_up:
        fill_up()
    say("readable", set(backend.keys()) == set(keys))
    say("closed", outcome(backend.close))


@pytest.mark.parametrize("what", ["documents", "files"])
def test_on_a_full_disk_closing_and_removing_succeed_and_nothing_is_lost(what: str, disk: Path) -> None:
    (_, said, *keys), readable, closed = run(store_until_it_is_full, what, False).ended_well().said
    assert is_a(said, "StorageFullError"), said
    assert keys
    assert readable == ["readable", True]
    assert closed == ["closed", "ok"]
    path = disk / "a.h5"
    assert keys_in(path) == keys
    command("rm", path, keys[0], "--force").ended_well()
    assert keys_in(path) == keys[1:]
    command("verify", "--full", path).ended_well()
    # What was removed makes room for something of its size.
    run(store_one_more).ended_well()


def store_one_more() -> None:
    with HDF5Storage("disk/a.h5") as backend:
        backend.store_force_field(force_field("one more"))


@pytest.mark.parametrize("what", ["documents", "files"])
def test_where_another_took_every_byte_all_stays_readable_and_rm_works_or_says_what_it_needs(
    what: str, disk: Path, place: Path
) -> None:
    (_, _, *keys), readable, (_, closed) = run(store_until_it_is_full, what, True).ended_well().said
    assert readable == ["readable", True]
    assert is_a(closed, "ok", "StorageFullError"), closed
    path = disk / "a.h5"
    assert keys_in(path) == keys
    done = command("rm", path, keys[0], "--force")
    if done.code != 0:
        assert done.code == StorageFullError.exit_code, str(done)
        assert re.search(r"\d[\d ,.]*\s*(bytes|kB|MB|KiB|MiB|B)\b", done.err), done.err
        assert "--tmp-dir" in done.err, done.err
        assert keys_in(path) == keys
        (place / "room").mkdir()
        command("rm", path, keys[0], "--force", "--tmp-dir", place / "room").ended_well()
        assert list((place / "room").iterdir()) == []
    assert keys_in(path) == keys[1:]
    command("verify", "--full", path).ended_well()


@pytest.mark.parametrize("disk", [8], indirect=True, ids=["8 MB"])
def test_repack_on_a_full_disk_works_or_is_refused_in_words_and_leaves_nothing(disk: Path) -> None:
    (_, _, *keys), *_ = run(store_until_it_is_full, "documents", True).ended_well().said
    done = command("repack", disk / "a.h5")
    if done.code != 0:
        assert done.code == StorageFullError.exit_code, str(done)
        assert re.search(r"\d[\d ,.]*\s*(bytes|kB|MB|KiB|MiB|B)\b", done.err), done.err
    assert keys_in(disk / "a.h5") == keys
    assert {path.name for path in disk.iterdir()} <= {"a.h5", "a.h5-wal", "of another"}


def repack_with_little_room() -> None:
    """Repack with less and less room for the copy, down to none; say how each ended, and what it left."""
    with HDF5Storage("a.h5") as backend:
        for _ in range(100):
            backend.store_force_field(force_field(os.urandom(6_000).hex()))
    in_all = _free_bytes()
    for room in (2_000_000, *range(1_400_000, 0, -100_000), 4_096, 0):
        filler = Path("disk/of another")
        filler.write_bytes(bytes(in_all - room))
        free = _free_bytes()
        say(
            room,
            outcome(lambda: upkeep.repack("a.h5", tmp_directory="disk")),
            os.listdir("disk"),
            free - _free_bytes(),
        )
        filler.unlink()


def _free_bytes() -> int:
    status = os.statvfs("disk")
    return status.f_bavail * status.f_frsize


@pytest.mark.parametrize("disk", [4], indirect=True, ids=["4 MB"])
def test_wherever_in_a_repack_the_disk_is_full_it_is_said_and_the_room_comes_back(
    disk: Path, place: Path
) -> None:
    said = run(repack_with_little_room).ended_well().said
    ends = [end for _, end, *_ in said]
    assert ends[0] == "ok", said
    assert all(is_a(end, "ok", "StorageFullError") for end in ends), said
    assert len([end for end in ends if end != "ok"]) > 10, said
    assert all(left == ["of another"] for *_, left, _ in said), said
    assert all(held == 0 for *_, held in said), said
    assert len(keys_in(place / "a.h5")) == 100
    command("verify", "--full", place / "a.h5").ended_well()


def keep_on_when_it_was_full() -> None:
    """Catch the error, make room, and go on with the same backend."""
    Path("disk/of another").write_bytes(os.urandom(2_000_000))
    backend = HDF5Storage("disk/a.h5")
    keys = []
    for is_full in (True, False):
        try:
            for _ in range(100_000 if is_full else 20):
                keys.append(backend.store_force_field(force_field(os.urandom(6_000).hex())))
        except StorageFullError:
            assert is_full
        Path("disk/of another").unlink(missing_ok=True)
    backend.close()
    say(*keys)


def test_a_backend_whose_disk_was_full_goes_on_when_there_is_room(disk: Path) -> None:
    (keys,) = run(keep_on_when_it_was_full).ended_well().said
    assert keys_in(disk / "a.h5") == keys


@pytest.mark.parametrize("disk", [5], indirect=True, ids=["5 MB"])
def test_no_container_is_left_where_there_was_no_room_to_make_one(disk: Path) -> None:
    fill_up()
    ((said,),) = run(create_on_a_full_disk).ended_well().said
    assert is_a(said, "StorageFullError"), said
    assert [path.name for path in disk.iterdir()] == ["of another"]


def create_on_a_full_disk() -> None:
    say(outcome(lambda: HDF5Storage("disk/a.h5")))

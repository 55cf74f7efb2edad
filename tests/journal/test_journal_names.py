"""A container by several names, and logs that are not where they belong: told by the ticket in the seal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.errors import DetachedLogError, ForeignChangeError
from simarchive.journal import forget_log
from simarchive.journal.seal import NO_TICKET, Seal


def store(backend: HDF5Storage, text: str) -> str:
    return backend.store_force_field(SmirnoffForceFieldSource(f"<{text}/>"))


@pytest.fixture
def names(tmp_path: Path) -> tuple[Path, Path]:
    """Return two names of one container with one object."""
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    with HDF5Storage(first) as backend:
        store(backend, "base")
    os.link(first, second)
    return first, second


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def leave_pending(path: Path, text: str) -> None:
    """Leave a container and its log as a killed writer does."""
    with HDF5Storage(path) as backend:
        store(backend, text)
        kept = [(file, file.read_bytes()) for file in (path, log_of(path))]
    for file, content in kept:
        with file.open("r+b" if file.exists() else "wb") as out:
            out.write(content)
            out.truncate()


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_container_is_refused_by_a_name_that_lacks_its_log(names: tuple[Path, Path], mode: str) -> None:
    first, second = names
    leave_pending(first, "pending")
    before = second.read_bytes()
    with pytest.raises(DetachedLogError, match="not beside it"):
        HDF5Storage(second, mode=mode)
    assert second.read_bytes() == before
    assert not log_of(second).exists()
    with HDF5Storage(first) as backend:
        assert len(backend) == 2
    with HDF5Storage(second, mode=mode) as backend:
        assert len(backend) == 2


def test_a_writer_that_is_open_finds_the_log_of_another_name(names: tuple[Path, Path]) -> None:
    first, second = names
    with HDF5Storage(first) as one, HDF5Storage(second) as two:
        store(one, "one")
        for action in (two.keys, lambda: store(two, "two")):
            with pytest.raises(DetachedLogError):
                action()
        assert len(one) == 2
        two.close()
        assert not log_of(second).exists()
    with HDF5Storage(second) as backend:
        assert len(backend) == 2


@pytest.mark.parametrize("sessions", [1, 3, 7])
def test_a_log_that_was_copied_but_not_removed_is_known_by_later_sessions(
    names: tuple[Path, Path], sessions: int
) -> None:
    first, second = names
    with HDF5Storage(first) as backend:
        store(backend, "copied")
        log = log_of(first).read_bytes()
    # As a writer leaves it that is killed between the end of its last checkpoint and the removal of its log.
    log_of(first).write_bytes(log)
    for number in range(sessions):
        with HDF5Storage(second) as backend:
            store(backend, f"later{number}")
    with HDF5Storage(first, mode="r") as backend:
        assert len(backend) == 2 + sessions
    with HDF5Storage(first) as backend:
        store(backend, "last")
        assert len(backend) == 3 + sessions
    assert not log_of(first).exists()
    with HDF5Storage(second) as backend:
        assert len(backend) == 3 + sessions
        assert backend.verify(full=True).ok


def test_a_log_of_too_long_ago_is_refused_and_nothing_is_written_over(names: tuple[Path, Path]) -> None:
    first, second = names
    with HDF5Storage(first) as backend:
        store(backend, "copied")
        log = log_of(first).read_bytes()
    log_of(first).write_bytes(log)
    for number in range(9):
        with HDF5Storage(second) as backend:
            store(backend, f"later{number}")
    with pytest.raises(ForeignChangeError, match="does not fit its log"):
        HDF5Storage(first)
    log_of(first).unlink()
    with HDF5Storage(first) as backend:
        assert len(backend) == 11


@pytest.mark.parametrize("how", ["removed", "copied without it", "restored from before"])
def test_a_log_that_is_missing_is_told_and_can_be_given_up(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        store(backend, "base")
    leave_pending(path, "pending")
    if how == "removed":
        log_of(path).unlink()
    elif how == "copied without it":
        shutil.copy(path, tmp_path / "b.h5")
        path = tmp_path / "b.h5"
    else:
        with HDF5Storage(tmp_path / "other.h5") as backend:
            store(backend, "other")
            shutil.copy(log_of(tmp_path / "other.h5"), log_of(path))
    with pytest.raises(ForeignChangeError):
        HDF5Storage(path)
    if how == "restored from before":
        log_of(path).unlink()
    assert forget_log(path)
    assert not forget_log(path)
    with HDF5Storage(path) as backend:
        assert len(backend) == 1
        store(backend, "after")
        assert backend.verify(full=True).ok


def test_commits_that_were_given_up_by_another_name_are_never_lost_without_a_word(
    names: tuple[Path, Path],
) -> None:
    first, second = names
    leave_pending(first, "pending")
    with pytest.raises(DetachedLogError, match=r"also named 'first\.h5'"):
        HDF5Storage(second)
    assert forget_log(second)
    with HDF5Storage(first, mode="r") as backend:
        assert len(backend) == 2
    with HDF5Storage(second) as backend:
        store(backend, "other")
        with pytest.raises(DetachedLogError):
            HDF5Storage(first)
    with pytest.raises(ForeignChangeError, match="does not fit its log"):
        HDF5Storage(first)
    assert log_of(first).exists()


def test_nothing_is_pending_while_a_log_has_no_commits(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        store(backend, "one")
        assert backend._container.checkpoint()
        shutil.copy(path, tmp_path / "copy.h5")
    with HDF5Storage(tmp_path / "copy.h5", mode="r") as backend:
        assert len(backend) == 1


def test_a_seal_remembers_logs_that_may_turn_up_and_no_others() -> None:
    tickets = [bytes([number]) * 8 for number in range(1, 12)]
    seal = Seal.new()
    assert not seal.has_all_of(NO_TICKET + b"x")
    for ticket in tickets:
        seal = seal.pending_in(ticket)
        assert not seal.has_all_of(ticket)
        seal = Seal.from_bytes(seal.settled().to_bytes())
        assert seal is not None
        assert seal.has_all_of(ticket)
    assert [seal.has_all_of(ticket) for ticket in tickets] == [False] * 3 + [True] * 8
    over = seal.pending_in(b"z" * 8, overwritten=tickets[-1])
    assert over.former == seal.former
    torn = bytearray(over.to_bytes())
    torn[60] ^= 1
    assert Seal.from_bytes(bytes(torn)) is None


def test_a_seal_of_early_containers_is_read_and_replaced(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data" / "format-v1" / "container.h5"
    path = tmp_path / "old.h5"
    shutil.copy(old, path)
    assert path.read_bytes().rfind(b"simseal1") > 0
    with HDF5Storage(path) as backend:
        count = len(backend)
        store(backend, "new")
        with pytest.raises(DetachedLogError):
            os.link(path, tmp_path / "other.h5")
            HDF5Storage(tmp_path / "other.h5")
    assert path.read_bytes().rfind(b"simseal2") > 0
    with HDF5Storage(tmp_path / "other.h5") as backend:
        assert len(backend) == count + 1
        assert backend.verify(full=True).ok

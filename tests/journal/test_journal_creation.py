"""Files that are made beside a container: whole or not at all, hidden, and swept if their maker died."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from simarchive.errors import FormatError, StorageIOError
from simarchive.journal import creation
from simarchive.journal.creation import create_file, set_access, sweep, workplace
from simarchive.journal.files import SYSTEM, Files, OpenFile


class NoUnnamedFiles(Files):
    """A file system whose files all have names."""

    def create_unnamed(self, directory: str, mode: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")


class NoProc(Files):
    """A machine without /proc."""

    def name(self, fd: int, path: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")


ALL_FILES = pytest.mark.parametrize(
    "files", [SYSTEM, NoUnnamedFiles(), NoProc()], ids=lambda f: type(f).__name__
)


@ALL_FILES
def test_a_file_is_created_once_and_nothing_else(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "a"
    assert create_file(files, str(path), b"first")
    assert not create_file(files, str(path), b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_nlink == 1


@ALL_FILES
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o444])
def test_a_companion_has_the_mode_of_its_container_whatever_the_umask(
    tmp_path: Path, files: Files, umask: int, mode: int
) -> None:
    container = tmp_path / "a"
    container.touch()
    container.chmod(mode)
    before = os.umask(umask)
    try:
        create_file(files, str(tmp_path / "b"), b"", like=container.stat())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == mode


@pytest.mark.parametrize(("mode", "left"), [(0o664, 0o644), (0o660, 0o600), (0o646, 0o644), (0o666, 0o666)])
def test_members_of_another_group_get_no_more_than_everybody(tmp_path: Path, mode: int, left: int) -> None:
    class NotAMember(Files):
        def set_access(self, fd: int, mode: int, owner: int, group: int) -> None:
            if owner != -1 or group != -1:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            os.fchmod(fd, mode)

    class Like:
        st_mode, st_uid, st_gid = stat.S_IFREG | mode, os.getuid(), os.getgid() + 1

    path = tmp_path / "a"
    path.touch()
    with path.open("rb") as file:
        set_access(NotAMember(), file.fileno(), Like())
    # 0646: the group had less than everybody, and keeps that.
    assert stat.S_IMODE(path.stat().st_mode) == (0o646 if mode == 0o646 else left)


def test_no_link_is_followed_and_no_name_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    monkeypatch.setattr(creation.secrets, "token_hex", lambda _: "0" * 16)
    hidden = creation._hidden_name(str(tmp_path / "a"), ".new")
    monkeypatch.undo()
    assert creation._hidden_name(str(tmp_path / "a"), ".new") != hidden
    Path(hidden).symlink_to(mine)
    monkeypatch.setattr(creation.secrets, "token_hex", lambda _: "0" * 16)
    with pytest.raises(StorageIOError):
        create_file(NoUnnamedFiles(), str(tmp_path / "a"), b"other")
    assert mine.read_bytes() == b"mine"


def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    prefix = creation._prefix_of(str(path))
    dead, alive, folder = (tmp_path / f"{prefix}{name}" for name in ("1.new", "2.new", "3.work"))
    other = tmp_path / f"{creation._prefix_of(str(tmp_path / 'b.h5'))}4.new"
    theirs = [other, tmp_path / f"{prefix}5.txt", tmp_path / ".a.h5.new", path]
    for file in (dead, alive, *theirs):
        file.write_bytes(b"x")
    folder.mkdir()
    (folder / "a.h5").write_bytes(b"x")
    link = tmp_path / f"{prefix}6.new"
    link.symlink_to(path)
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sorted(sweep(path)) == sorted([dead.name, folder.name])
        assert {p.name for p in tmp_path.iterdir()} == {p.name for p in (alive, *theirs, link)}
    assert sweep(path) == [alive.name]


def test_a_workplace_is_private_and_vanishes_and_that_of_a_living_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with workplace(path) as first:
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        (first / "a.h5").write_bytes(b"x")
        with workplace(path) as second:
            assert first.is_dir()
            assert first != second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "directory"])
@pytest.mark.parametrize("writable", [True, False])
def test_anything_but_a_plain_file_is_refused_at_once(tmp_path: Path, kind: str, writable: bool) -> None:
    path, target = tmp_path / "a", tmp_path / "target"
    if kind == "symlink":
        target.write_bytes(b"x")
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(FormatError, match="plain files"):
        OpenFile(SYSTEM, str(path), writable=writable)
    assert not target.exists() or target.read_bytes() == b"x"

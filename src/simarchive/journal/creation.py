"""Making files beside a container: all or nothing, under no name that others can foresee, and cleared away.

A new file has no name until it is complete. Where the file system has no files without names, and for what
takes several files (a repack, an import into a new container), the names are hidden, random, and locked as
long as their maker lives: what a killed process left is known by the lock that nobody holds, and swept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from blake3 import blake3

from simarchive.errors import StorageError
from simarchive.ground.filesystem import PathLike, give_access
from simarchive.journal.files import SYSTEM, Files, FileStatus, directory_of, storage_error

_PREFIX = ".simarchive-"
_FILE, _FOLDER = ".new", ".work"
_TRY_EXCLUSIVE = fcntl.LOCK_EX | fcntl.LOCK_NB
# What file systems say that cannot make a file without a name, or have no /proc to name it by.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.EPERM, errno.EXDEV)


def create_file(files: Files, path: str, content: bytes, *, like: FileStatus | None = None) -> bool:
    """Create `path` with `content`, all or nothing; return False if something is there, which stays.

    The content is durable, the name is not before `sync_name`.

    Parameters
    ----------
    like
        The file whose permissions, owner and group the new one gets, whatever the umask; by default they
        are those of any new file.
    """
    try:
        try:
            return _create_unnamed(files, path, content, like)
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
        return _create_hidden(files, path, content, like)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(error, "create", path) from error


def _create_unnamed(files: Files, path: str, content: bytes, like: FileStatus | None) -> bool:
    fd = files.create_unnamed(directory_of(path), _first_mode(like))
    try:
        _fill(files, fd, content, like)
        files.name(fd, path)
    except FileExistsError:
        return False
    finally:
        files.close(fd)
    return True


def _create_hidden(files: Files, path: str, content: bytes, like: FileStatus | None) -> bool:
    sweep(path, files=files)
    hidden = _hidden_name(path, _FILE)
    fd = files.create_new(hidden, _first_mode(like))
    try:
        # Where locks are not known nobody sweeps either.
        with contextlib.suppress(OSError):
            files.lock(fd, _TRY_EXCLUSIVE)
        _fill(files, fd, content, like)
        files.link(hidden, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            files.unlink(hidden)
        files.close(fd)
    return True


def _first_mode(like: FileStatus | None) -> int:
    return 0o666 if like is None else 0o600


def _fill(files: Files, fd: int, content: bytes, like: FileStatus | None) -> None:
    if like is not None:
        set_access(files, fd, like)
    at = 0
    while at < len(content):
        at += files.pwrite(fd, content[at:], at)
    if content:
        files.sync(fd)


def set_access(files: Files, fd: int, like: FileStatus) -> None:
    """Give an open file the permissions, owner and group of another one, as far as the system lets us."""
    mode = stat.S_IMODE(like.st_mode) & 0o777
    own = files.status(fd)
    owner = -1 if own.st_uid == like.st_uid else like.st_uid
    group = -1 if own.st_gid == like.st_gid else like.st_gid
    give_access(partial(files.set_access, fd), mode, owner, group)


# ---- hidden names ------------------------------------------------------------------------------


def _hidden_name(path: str, ending: str) -> str:
    """Return a name beside `path` that nobody can foresee, by which `sweep` knows whose it is."""
    return str(Path(path).parent / f"{_prefix_of(path)}{secrets.token_hex(8)}{ending}")


def _prefix_of(path: str) -> str:
    # Not the name itself: with it the whole might be longer than names may be.
    digest: str = blake3(Path(path).name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_PREFIX}{digest[:8]}-"


def sweep(path: PathLike, *, files: Files = SYSTEM) -> list[str]:
    """Remove what killed processes left beside `path` while they made it; return the names.

    What a living process works on stays, and so does everything that is not ours.
    """
    path = os.fspath(path)
    directory, prefix = directory_of(path), _prefix_of(path)
    swept = []
    with contextlib.suppress(OSError):
        for name in files.names_in(directory):
            if name.startswith(prefix) and name.endswith((_FILE, _FOLDER)):
                place = str(Path(directory) / name)
                with contextlib.suppress(OSError):
                    _remove_unlocked(files, place)
                    swept.append(name)
    return swept


def _remove_unlocked(files: Files, place: str) -> None:
    fd = files.open(place, os.O_RDONLY)
    try:
        files.lock(fd, _TRY_EXCLUSIVE)
        if stat.S_ISDIR(files.status(fd).st_mode):
            shutil.rmtree(place)
        else:
            files.unlink(place)
    finally:
        files.close(fd)


@contextlib.contextmanager
def workplace(path: PathLike) -> Iterator[Path]:
    """Give a new folder beside `path`, for this user alone, in which what is to take that name is made.

    It vanishes with all that is in it when the block ends; if the process is killed, the next one that makes
    something for the same name removes it.
    """
    path = os.fspath(path)
    sweep(path)
    try:
        place, fd = _locked_folder(path)
    except OSError as error:
        raise storage_error(error, "create a folder beside", path) from error
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(fd)


def _locked_folder(path: str) -> tuple[str, int]:
    while True:
        place = _hidden_name(path, _FOLDER)
        os.mkdir(place, 0o700)  # noqa: PTH102 - as every other name here, a string
        try:
            fd = SYSTEM.open(place, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):
            SYSTEM.lock(fd, _TRY_EXCLUSIVE)
        # Before it was locked, somebody may have taken it for one that was left behind.
        with contextlib.suppress(FileNotFoundError):
            if SYSTEM.status(fd).st_ino == SYSTEM.status_of_name(place).st_ino:
                return place, fd
        os.close(fd)

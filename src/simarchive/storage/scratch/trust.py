"""What in a scratch directory nobody but this user can have put there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from simarchive.errors import ConflictError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def is_ours_alone(status: os.stat_result) -> bool:
    """Return whether nobody else can write to a file or folder, nor to the file by another name."""
    if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
        return False
    return stat.S_ISDIR(status.st_mode) or is_one_file(status)


def is_one_file(status: os.stat_result) -> bool:
    """Return whether it is a regular file that has no other name."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def are_ours_alone(folders: Iterable[Path]) -> bool:
    """Return whether nobody else can write to any of these folders, as far as they are there.

    Raises
    ------
    ConflictError
        If one is a link, or not a folder.
    """
    found = True
    for folder in folders:
        try:
            status = folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise ConflictError(f"{str(folder)!r} became a link, or a file: remove it")
        found &= is_ours_alone(status)
    return found

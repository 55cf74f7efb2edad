"""The system calls of code that writes files, as operations of a simulated disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_disk import Image, Operation

CALLS = ("open", "pwrite", "ftruncate", "truncate", "fsync", "mkdir", "replace", "rename", "link", "unlink")


class RecordedCalls:
    """Records what reaches the files below a folder while the calls really are made.

    `operations` is what `crash_images` of the journal's tests takes, and the folders that are made. `fault`
    is asked before each call, with its name, and may raise an OSError.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = str(root)
        self.operations: list[Operation] = []
        self.fault: Callable[[str], None] = lambda call: None
        for call in CALLS:
            monkeypatch.setattr(os, call, self._recorded(call, getattr(os, call)))

    def _recorded(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{call}")

        def recorded(*arguments: Any, **options: Any) -> Any:
            self.fault(call)
            # A name that vanishes has an inode only before.
            before = self._inode_of(arguments[0]) if call in ("replace", "rename", "link") else 0
            result = real(*arguments, **options)
            note(before, result, *arguments)
            return result

        return recorded

    @staticmethod
    def _inode_of(path: Any) -> int:
        try:
            return os.lstat(path).st_ino
        except OSError as error:
            assert error.errno == errno.ENOENT
            return 0

    def _add(self, kind: str, inode: int = 0, offset: int = 0, data: bytes = b"", path: Any = "") -> None:
        self.operations.append(Operation(kind, inode, offset, data, os.fspath(path)))

    def _open(self, before: int, fd: int, path: Any, flags: int, *_: Any) -> None:
        if flags & os.O_CREAT and flags & os.O_EXCL and os.fspath(path).startswith(self.root):
            self._add("name", os.fstat(fd).st_ino, path=path)

    def _pwrite(self, before: int, count: int, fd: int, data: Any, offset: int) -> None:
        self._add("write", os.fstat(fd).st_ino, offset, bytes(memoryview(data)[:count]))

    def _ftruncate(self, before: int, result: None, fd: int, size: int) -> None:
        self._add("truncate", os.fstat(fd).st_ino, size)

    _truncate = _ftruncate

    def _fsync(self, before: int, result: None, fd: int) -> None:
        place = Path(f"/proc/self/fd/{fd}").resolve()
        if place.is_dir():
            self._add("sync-names", path=place)
        else:
            self._add("sync", os.fstat(fd).st_ino)

    def _mkdir(self, before: int, result: None, path: Any, *_: Any) -> None:
        self._add("folder", path=path)

    def _replace(self, before: int, result: None, path: Any, new_path: Any) -> None:
        self._add("name", before, path=new_path)
        self._add("unname", path=path)

    _rename = _replace

    def _link(self, before: int, result: None, path: Any, new_path: Any) -> None:
        self._add("name", before, path=new_path)

    def _unlink(self, before: int, result: None, path: Any) -> None:
        self._add("unname", path=path)


def image_of(folder: Path) -> Image:
    """Return what lies in a folder, as it is on the device."""
    image = Image()
    for path in folder.iterdir():
        if path.is_file():
            number = path.stat().st_ino
            image.names[str(path)] = number
            image.inodes[number] = bytearray(path.read_bytes())
    return image

"""What the tests of members store, and where they store it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np


class PlainFile:
    """An HDF5 file without a journal, read by offset."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; raise EOFError if the file ends before."""
        while buffer:
            n_read = os.preadv(self._fd, [buffer], offset)
            if not n_read:
                raise EOFError(f"{self.path} ends before byte {offset + len(buffer)}")
            buffer, offset = buffer[n_read:], offset + n_read

    def close(self) -> None:
        """Close the file; later calls do nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Box:
    """One container file with one object's group, opened as often as a test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with h5py.File(path, "w", libver=("v110", "v110"), track_order=True) as file:
            file.create_group("objects", track_order=True).create_group("k1", track_order=True)

    @contextmanager
    def writing(self) -> Iterator[h5py.Group]:
        with h5py.File(self.path, "r+", libver=("v110", "v110")) as file:
            yield file["objects/k1"]

    @contextmanager
    def reading(self) -> Iterator[tuple[h5py.Group, PlainFile]]:
        with h5py.File(self.path, "r") as file, PlainFile(self.path) as plain:
            yield file["objects/k1"], plain


def floats(n_bytes: int, seed: int = 0) -> bytes:
    """Bytes that compress as coordinates do."""
    values = np.random.default_rng(seed).normal(0, 20, n_bytes // 4 + 1).astype("<f4")
    return values.tobytes()[:n_bytes]


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(n_bytes)


def text(n_bytes: int) -> bytes:
    lines = (b"ATOM  %5d  CA  ALA A%4d\n" % (i, i // 10) for i in range(n_bytes // 20 + 1))
    return b"".join(lines)[:n_bytes]


def frames(n_frames: int, n_atoms: int, *, grid: bool = False, seed: int = 3) -> np.ndarray:
    """A walk of coordinates in angstroms; on the grid of XTC if asked for."""
    random = np.random.default_rng(seed)
    start = random.uniform(0, 60, (n_atoms, 3))
    walk = (start + np.cumsum(random.normal(0, 0.2, (n_frames, n_atoms, 3)), axis=0)).astype(np.float32)
    if not grid:
        return walk
    steps = np.rint(walk * 100).astype(np.int32)
    return steps.astype(np.float32) * np.float32(0.001) * np.float32(10)

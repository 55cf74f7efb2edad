"""Small files in memory, for libraries that read from a path alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from simarchive.codecs.trajectory_files.dcd import DCDHeader
from simarchive.codecs.trajectory_files.netcdf import NetCDFHeader
from simarchive.ground.filesystem import write_all
from simarchive.storage.trajectories.source import Source


@contextmanager
def memory_file(pieces: Iterable[bytes | bytearray | memoryview]) -> Iterator[str]:
    """Give the path, good inside of the block, of a file in memory that holds these pieces."""
    fd = os.memfd_create("simarchive", os.MFD_CLOEXEC)
    try:
        at = 0
        for piece in pieces:
            write_all(fd, memoryview(piece), at)
            at += len(piece)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


@contextmanager
def excerpt(source: Source, numbers: Sequence[int]) -> Iterator[str]:
    """Give the path, good inside of the block, of a file in memory with the header and these frames alone."""

    def pieces() -> Iterator[bytes | bytearray | memoryview]:
        yield _header(source, len(numbers))
        for number in numbers:
            yield source.frame(number)

    with memory_file(pieces()) as path:
        yield path


def _header(source: Source, n_frames: int) -> bytearray:
    """Return what stands before the frames, with the number of them."""
    layout = source.layout
    end = int(layout.starts[0]) if source.n_frames else source.window.size
    with source.errors("its header cannot be read"):
        head = bytearray(source.window.read(0, end))
    if isinstance(layout.header, NetCDFHeader):
        head[4 : 4 + layout.header.count_bytes] = n_frames.to_bytes(layout.header.count_bytes, "big")
    elif isinstance(layout.header, DCDHeader):
        at = layout.header.marker_bytes + 4
        head[at : at + 4] = n_frames.to_bytes(4, "little" if layout.header.order == "<" else "big")
    return head

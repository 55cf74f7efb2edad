"""Writing the map of a container: which bytes go where, and the bytes themselves behind the seal."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from blake3 import blake3

from simarchive.errors import FormatError
from simarchive.journal.seal import SEAL_BYTES, Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, end_of_file
from simarchive.remote.fetching import Range, joined
from simarchive.remote.map_format import (
    BLOCK_DIGEST_BYTES,
    DIGEST_BYTES,
    MOST_BLOCK_BYTES,
    Directory,
    Trailer,
    deflated,
)

# What is read of an object lies in places close to each other; the bytes between them belong to it, too.
_GAP_BYTES = 512
# Some 40 small objects: what one object costs whoever asks for it alone, against how well it is compressed.
_BLOCK_BYTES = 128 << 10


class MapWriter:
    """Gathers what was read of a container, and appends it as a map.

    Parameters
    ----------
    file
        The container, which has no log, for reading and writing.
    name
        How messages name it.

    Raises
    ------
    FormatError
        If the file has no seal, or its seal says that commits are pending.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        file.seek(0)
        #: Where HDF5's part of the file ends.
        self.end = end_of_file(file.read(SUPERBLOCK_BYTES), name)
        file.seek(self.end)
        seal = Seal.from_bytes(file.read(SEAL_BYTES))
        if seal is None or seal.is_pending or seal.size != SEAL_BYTES:
            raise FormatError(f"container '{name}' is in use, or was not closed: nothing is appended to it")
        self._state = seal.state
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._owners: list[int] = []  # the block of each piece
        self._lengths = [0]
        self._n_first = 0
        self._needs: list[tuple[int, int]] = []

    def add_first(self, reads: Iterable[Range]) -> None:
        """Add what everybody reads who opens the container; once, before all objects."""
        self._add(reads, MOST_BLOCK_BYTES)
        if self._lengths[-1]:
            self._lengths.append(0)
        self._n_first = len(self._lengths) - 1

    def add_object(self, place: int, reads: Iterable[Range]) -> None:
        """Add what is read of one object whose group is at the offset `place`."""
        blocks = {block for block in self._add(reads, _BLOCK_BYTES) if block >= self._n_first}
        at = bisect_right(self._starts, place) - 1
        home = self._owners[at] if at >= 0 and place < self._stops[at] else None
        if blocks != {home}:
            self._needs += [(place, block) for block in sorted(blocks)]

    def write(self) -> int:
        """Append the map to the file, durably; return how many bytes it takes."""
        file, first = self._file, self.end + SEAL_BYTES
        if not self._lengths[-1]:
            self._lengths.pop()
        pieces: list[list[int]] = [[] for _ in self._lengths]
        for piece, block in enumerate(self._owners):
            pieces[block].append(piece)
        at, sizes, digests = first, [], []
        for members in pieces:
            stored = deflated(b"".join(self._bytes_of(piece) for piece in members))
            file.seek(at)
            file.write(stored)
            at += len(stored)
            sizes.append(len(stored))
            digests.append(blake3(stored).digest(BLOCK_DIGEST_BYTES))
        starts = np.array(self._starts, np.uint64)
        directory = Directory(
            n_first=self._n_first,
            stored_sizes=np.array(sizes, np.uint32),
            lengths=np.array(self._lengths, np.uint32),
            digests=digests,
            starts=starts,
            sizes=(np.array(self._stops, np.uint64) - starts).astype(np.uint32),
            blocks=np.array(self._owners, np.uint32),
            need_places=np.array([place for place, _ in self._needs], np.uint64),
            need_blocks=np.array([block for _, block in self._needs], np.uint32),
        ).to_bytes()
        stored = deflated(directory)
        unsigned = Trailer(self.end, at, len(stored), len(directory), self._state, bytes(DIGEST_BYTES))
        fields = (unsigned.hdf5_end, at, len(stored), len(directory), self._state)
        file.seek(at)
        file.write(stored + Trailer(*fields, digest=unsigned.digest_with(stored)).to_bytes())
        file.truncate()
        size = file.tell() - first
        file.flush()
        os.fsync(file.fileno())
        return size

    def _bytes_of(self, piece: int) -> bytes:
        self._file.seek(self._starts[piece])
        size = self._stops[piece] - self._starts[piece]
        return self._file.read(size).ljust(size, b"\0")

    def _add(self, reads: Iterable[Range], block_bytes: int) -> set[int]:
        """Give what no block has yet of some reads to the present one; return all blocks that have any."""
        blocks: set[int] = set()
        new: list[tuple[int, int]] = []
        for start, size in joined(reads, _GAP_BYTES, self.end):
            new += self._not_covered(start, min(start + size, self.end), blocks)
        length = sum(stop - start for start, stop in new)
        if self._lengths[-1] and self._lengths[-1] + length > block_bytes:
            self._lengths.append(0)
        for start, stop in new:
            at = start
            while at < stop:
                room = MOST_BLOCK_BYTES - self._lengths[-1]
                if not room:
                    self._lengths.append(0)
                    continue
                until = min(stop, at + room)
                self._insert(at, until)
                blocks.add(len(self._lengths) - 1)
                at = until
        return blocks

    def _not_covered(self, start: int, stop: int, blocks: set[int]) -> list[tuple[int, int]]:
        """Return the parts of a range that no block has; add those that have the others to `blocks`."""
        parts = []
        piece = max(0, bisect_right(self._starts, start) - 1)
        at = start
        while at < stop:
            if piece < len(self._starts) and self._stops[piece] <= at:
                piece += 1
            elif piece < len(self._starts) and self._starts[piece] <= at:
                blocks.add(self._owners[piece])
                at = self._stops[piece]
            else:
                until = min(stop, self._starts[piece]) if piece < len(self._starts) else stop
                parts.append((at, until))
                at = until
        return parts

    def _insert(self, start: int, stop: int) -> None:
        block = len(self._lengths) - 1
        self._lengths[block] += stop - start
        piece = bisect_left(self._starts, start)
        if piece and self._stops[piece - 1] == start and self._owners[piece - 1] == block:
            self._stops[piece - 1] = stop
            return
        self._starts.insert(piece, start)
        self._stops.insert(piece, stop)
        self._owners.insert(piece, block)

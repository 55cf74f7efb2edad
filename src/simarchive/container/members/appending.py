"""Making a member longer: what is new at the end of a file that has grown since it was stored.

The file is read once, from its start on. When as many bytes were read as are stored, their digest has to be
that of the member; only then anything is changed. Whole chunks stay where they are; the last one, which may
be filled in part, is written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import h5py
import numpy as np
from blake3 import blake3

from simarchive.codecs import choose_codec, codec_to_go_on_with
from simarchive.codecs.trajectory_files.formats import frame_counters
from simarchive.codecs.trajectory_files.xdr import FrameScanner
from simarchive.container import nodes
from simarchive.container.layout import (
    LONG_NAME,
    MEMBER_CHUNK_CRC32,
    MEMBER_CODEC,
    MEMBER_DESCRIPTION_DIGEST,
    MEMBER_DIGEST,
    MEMBER_FRAME_LENGTHS,
    MEMBER_SIZE,
)
from simarchive.container.members.frame_lengths import keep_frame_lengths, read_frame_lengths
from simarchive.container.members.pipeline import Progress
from simarchive.container.members.reader import open_member
from simarchive.container.members.source import MemberSource, open_source
from simarchive.container.members.table import (
    ChunkFile,
    MemberInfo,
    MemberTable,
    description_digest,
    read_table,
)
from simarchive.container.members.writing import (
    chunk_length,
    copy_chunks,
    create_member,
    describe_member,
    write_chunks,
)
from simarchive.errors import ConflictError
from simarchive.ground.signals import SIGNALS

_PIECE_BYTES = 1 << 20
_REWRITTEN = frozenset(
    {
        LONG_NAME,
        MEMBER_SIZE,
        MEMBER_DIGEST,
        MEMBER_CODEC,
        MEMBER_CHUNK_CRC32,
        MEMBER_DESCRIPTION_DIGEST,
        MEMBER_FRAME_LENGTHS,
    }
)


@dataclass
class Growth:
    """A file that begins with a member, read as far as the member goes.

    Attributes
    ----------
    size
        The size of the file in bytes.
    has_news
        Whether the file has anything that the member has not.
    """

    name: str
    size: int
    has_news: bool
    _dataset: h5py.Dataset
    _table: MemberTable
    _file: ChunkFile
    _read: _Reading = field(repr=False)

    def write(self, scratch: h5py.Group, progress: Progress | None) -> tuple[h5py.Dataset, MemberInfo]:
        """Make the member as long as the file; return its dataset, and what is known of it now.

        The dataset is another one, which has no name yet, if the present one cannot grow or is that of other
        members, too. If it fails, the transaction cannot be committed.

        Parameters
        ----------
        scratch
            A group without attributes, for what is not in its place yet.
        """
        table, read, size = self._table, self._read, self.size
        n_whole = read.n_whole
        codec = codec_to_go_on_with(table.codec.name, read.head) if n_whole else read.codec
        chunk_bytes = table.chunk_bytes if n_whole else chunk_length(size, codec)
        dataset = self._dataset
        is_alone = nodes.address_and_names(dataset.id)[1] == 1
        if is_alone and n_whole and nodes.can_grow(dataset.id):
            nodes.grow(dataset.id, -(-size // codec.element_size))
        else:
            dataset = create_member(scratch, size, codec, chunk_bytes)
            copy_chunks(dataset, table, self._file, n_whole, None)
        crcs, masks = table.crcs[:n_whole], table.filter_masks[:n_whole]
        if n_whole and read.has_other_counters:
            first = write_chunks(dataset, codec, chunk_bytes, 0, read.first_chunk, None)
            crcs, masks = np.concatenate([first[0], crcs[1:]]), np.concatenate([first[1], masks[1:]])
        more = write_chunks(dataset, codec, size, n_whole, read.next_chunk, progress)
        crcs, masks = np.concatenate([crcs, more[0]]), np.concatenate([masks, more[1]])
        digest = read.hasher.hexdigest()
        described = None
        if table.is_proved or not n_whole:
            described = description_digest(size, digest, codec.name, chunk_bytes, crcs, masks)
        nodes.replace_attributes(self._dataset, scratch, without=_REWRITTEN)
        describe_member(scratch, size, digest, codec.name, crcs, described)
        if len(crcs) > 1:
            keep_frame_lengths(scratch, digest, read.scanner.finish())
        nodes.replace_attributes(scratch, dataset)
        return dataset, MemberInfo(self.name, size, nodes.stored_bytes(dataset.id), digest, codec.name)


@contextmanager
def growth_of(
    dataset: h5py.Dataset,
    file: ChunkFile,
    name: str,
    source: str | os.PathLike[str] | BinaryIO,
    *,
    codec: str,
    progress: Progress | None = None,
) -> Iterator[Growth]:
    """Give a file that begins with a member, after reading as much of it; nothing is changed yet.

    The file may grow meanwhile: what it had at first is taken.

    Parameters
    ----------
    file
        The container's file, by offset.
    source
        Path of the file, or a binary stream at the start of it.
    codec
        One of `simarchive.codecs.CODEC_CHOICES`, for a member of one chunk; a longer one keeps its own.
    progress
        Called with the number of bytes that were read since the last call.

    Raises
    ------
    ConflictError
        If the file does not begin with the member.
    CorruptMemberError
        If the description of the member cannot be read.
    NotFoundError, InvalidDataError, StorageIOError
        If the source cannot be read.
    """
    table = read_table(dataset)
    known = read_frame_lengths(dataset, table.size, table.digest) if table.n_chunks > 1 else None
    with open_source(source) as opened:
        if opened.size < table.size:
            raise ConflictError(
                f"{opened.label} has {opened.size} bytes, and {table.size} are stored as {name!r}:"
                " it did not grow. Replace the stored file if this one is right"
            )
        reading = _Reading(opened, table, FrameScanner([] if known is None else known.tolist()), codec)
        if not reading.prove(table, file, progress):
            raise ConflictError(
                f"{opened.label} does not begin with what is stored as {name!r}:"
                " it is not the same file, grown. Replace the stored file if this one is right"
            )
        has_news = opened.size > table.size or reading.has_other_counters
        yield Growth(name, opened.size, has_news, dataset, table, file, reading)


class _Reading:
    """The source on its way through the digest and the search for frames, and what of it is needed again."""

    def __init__(self, source: MemberSource, table: MemberTable, scanner: FrameScanner, codec: str) -> None:
        self._source = source
        self._chunk_bytes = table.chunk_bytes
        # A member of one chunk is written again as a whole: its chunk is as long as it was.
        self.n_whole = table.size // table.chunk_bytes if table.n_chunks > 1 else 0
        sample = source.sample()
        self.head = sample.head
        self.codec = table.codec if self.n_whole else choose_codec(codec, sample)
        self.hasher = blake3()
        self.scanner = scanner
        self.has_other_counters = False
        self._first = bytearray()
        self._last = bytearray()

    def prove(self, table: MemberTable, file: ChunkFile, progress: Progress | None) -> bool:
        """Read as many bytes as the member has; return whether they are those that are stored.

        How many frames there are, which formats say at the start, may have changed.
        """
        start, counters = self._start_of_member(table, file)
        before = None if start is None else blake3()
        buffer = memoryview(bytearray(min(_PIECE_BYTES, max(table.size, 1))))
        whole_bytes = self.n_whole * self._chunk_bytes
        offset = 0
        while offset < table.size:
            end = min(table.size, offset + len(buffer))
            if offset < whole_bytes:
                end = min(end, whole_bytes)
            piece = buffer[: end - offset]
            self._take(piece)
            if before is not None:
                before.update(_patched(piece, offset, start or b"", counters))
                if offset < self._chunk_bytes:
                    self._first += piece[: self._chunk_bytes - offset]
            if offset >= whole_bytes:
                self._last += piece
            if progress is not None:
                progress(end - offset)
            SIGNALS.deliver()
            offset = end
        self.has_other_counters = before is not None
        return bool((before or self.hasher).hexdigest() == table.digest)

    def first_chunk(self, _: int, out: memoryview) -> None:
        """Give the first chunk again."""
        out[:] = self._first

    def next_chunk(self, _: int, out: memoryview) -> None:
        """Give the next chunk, which begins with what of it was read already."""
        known = min(len(self._last), len(out))
        out[:known] = self._last[:known]
        del self._last[:known]
        self._take(out[known:])

    def _take(self, piece: memoryview) -> None:
        self._source.read_into(piece)
        self.hasher.update(piece)
        self.scanner.feed(piece)

    def _start_of_member(
        self, table: MemberTable, file: ChunkFile
    ) -> tuple[bytes | None, tuple[tuple[int, int], ...]]:
        """Return the start of the member and where it counts frames, if it counts others than the file."""
        counters = frame_counters(self.head)
        n_bytes = max((offset + length for offset, length in counters), default=0)
        if not 0 < n_bytes <= min(table.size, table.chunk_bytes):
            return None, ()
        with open_member(table, file) as member:
            start = member.read(n_bytes)
        is_same = all(start[at : at + length] == self.head[at : at + length] for at, length in counters)
        return (None, ()) if is_same else (start, counters)


def _patched(
    piece: memoryview, offset: int, start: bytes, counters: tuple[tuple[int, int], ...]
) -> memoryview | bytes:
    """Return a piece of the file with the counts of frames that the member has."""
    if offset:
        return piece
    changed = bytearray(piece)
    for at, length in counters:
        changed[at : at + length] = start[at : at + length]
    return bytes(changed)

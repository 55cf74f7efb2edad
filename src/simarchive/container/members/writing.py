"""Storing a member: read, digest, encode in several threads, append in order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import h5py
import numpy as np
from blake3 import blake3
from isal import isal_zlib
from numpy.typing import NDArray

from simarchive.codecs import DEFAULT_CODEC, Codec, choose_codec, fits_choice
from simarchive.codecs.trajectory_files.xdr import FrameScanner
from simarchive.container import nodes
from simarchive.container.layout import (
    LONG_NAME,
    MEMBER_CHUNK_CRC32,
    MEMBER_CODEC,
    MEMBER_DESCRIPTION_DIGEST,
    MEMBER_DIGEST,
    MEMBER_LONG_NAME,
    MEMBER_SIZE,
)
from simarchive.container.members.extraction import read_stored, wrong_digest
from simarchive.container.members.frame_lengths import FrameLengths, keep_frame_lengths
from simarchive.container.members.names import keep_long_name, link_name
from simarchive.container.members.pipeline import Pipeline, Progress, Stage
from simarchive.container.members.reader import open_member
from simarchive.container.members.source import open_source
from simarchive.container.members.table import ChunkFile, MemberInfo, MemberTable, description_digest
from simarchive.errors import ConflictError
from simarchive.ground.limits import LIMITS
from simarchive.ground.signals import SIGNALS

Checks: TypeAlias = NDArray[np.uint32]


def store_member(
    group: h5py.Group,
    name: str,
    source: str | os.PathLike[str] | BinaryIO,
    *,
    codec: str = DEFAULT_CODEC,
    size: int | None = None,
    progress: Progress | None = None,
) -> MemberInfo:
    """Store a file as a member of `group` and return what is known about it.

    The member appears under its name when it is complete, never before. Memory stays within tens of MB,
    however large the file is.

    Parameters
    ----------
    group
        Where the object's members stand (`place_of_members`), open for writing.
    name
        Name of the member: a relative path.
    source
        Path of the file, or a binary stream, read from its present position to its end.
    codec
        One of `simarchive.codecs.CODEC_CHOICES`; the member keeps the variant that fits it.
    size
        Number of bytes, needed only for a stream that cannot seek.
    progress
        Called with the number of bytes that were done since the last call.

    Raises
    ------
    ConflictError
        If the group has a member of this name, or the source changes while it is read.
    InvalidDataError, NotFoundError, StorageIOError
        If the name, the codec or the source will not do. Nothing is stored.
    """
    link = link_name(name)
    if link in group:
        raise ConflictError(f"member {name!r} is already stored in {group.name}")
    with open_source(source, size) as opened:
        chosen = choose_codec(codec, opened.sample())
        chunk_bytes = chunk_length(opened.size, chosen)
        dataset = create_member(group, opened.size, chosen, chunk_bytes)
        scanner = FrameScanner()
        hasher = blake3()

        def read(_: int, piece: memoryview) -> None:
            opened.read_into(piece)
            hasher.update(piece)
            scanner.feed(piece)

        crcs, masks = write_chunks(dataset, chosen, opened.size, 0, read, progress)
        opened.check_unchanged()
        digest = hasher.hexdigest()
    described = description_digest(opened.size, digest, chosen.name, chunk_bytes, crcs, masks)
    describe_member(dataset, opened.size, digest, chosen.name, crcs, described)
    if len(crcs) > 1:  # else who wants to know reads the one chunk anyway
        keep_frame_lengths(dataset, digest, scanner.finish())
    nodes.add_link(dataset.id, group.id, link)
    keep_long_name(group, name)
    return MemberInfo(name, opened.size, nodes.stored_bytes(dataset.id), digest, chosen.name)


@dataclass(frozen=True)
class StoredMember:
    """A member of an open container as something to copy, good as long as the view it came from."""

    info: MemberInfo
    table: MemberTable
    file: ChunkFile
    frame_lengths: FrameLengths | None = None
    expect: Callable[[], None] | None = None
    """Says that all of it is about to be read, so that it comes in few requests if it lies elsewhere."""


def copy_member(
    group: h5py.Group,
    name: str,
    member: StoredMember,
    *,
    codec: str | None = DEFAULT_CODEC,
    progress: Progress | None = None,
) -> MemberInfo:
    """Store a member of another container as a member of `group`, and return what is known about it.

    If it has a codec that it could be stored with, its chunks are copied as they are, each after its check,
    and neither decoded nor encoded. It keeps its digest in any case, which stands for the bytes that were
    stored first.

    Parameters
    ----------
    group, name, progress
        As for `store_member`.
    member
        What to copy.
    codec
        As for `store_member`; ``None`` keeps the one that it has.

    Raises
    ------
    ConflictError
        If the group has a member of this name.
    CorruptMemberError
        If a chunk, or what all of them decode to, does not match its check. Nothing is stored.
    """
    table = member.table
    if member.expect is not None:
        member.expect()
    if codec is not None and not fits_choice(table.codec.name, codec):
        with open_member(table, member.file) as stream, open_source(stream, table.size) as opened:
            chosen = choose_codec(codec, opened.sample())
            if chosen.name != table.codec.name:
                stored = store_member(group, name, stream, codec=codec, size=table.size, progress=progress)
                if stored.digest != table.digest:
                    nodes.unlink(group.id, link_name(name))
                    raise wrong_digest(table, stored.digest)
                return stored
    link = link_name(name)
    if link in group:
        raise ConflictError(f"member {name!r} is already stored in {group.name}")
    dataset = create_member(group, table.size, table.codec, table.chunk_bytes)
    copy_chunks(dataset, table, member.file, table.n_chunks, progress)
    # What nothing proves of a member of an early version must not be proved by its copy.
    described = table.description_digest() if table.is_proved else None
    describe_member(dataset, table.size, table.digest, table.codec.name, table.crcs, described)
    if member.frame_lengths is not None:
        keep_frame_lengths(dataset, table.digest, member.frame_lengths)
    nodes.add_link(dataset.id, group.id, link)
    keep_long_name(group, name)
    return MemberInfo(name, table.size, nodes.stored_bytes(dataset.id), table.digest, table.codec.name)


def link_member(group: h5py.Group, name: str, dataset: h5py.Dataset) -> None:
    """Give a stored member one more name: a hard link, so that its bytes are kept once.

    Raises
    ------
    ConflictError
        If the group has a member of this name.
    """
    link = link_name(name)
    if link in group:
        raise ConflictError(f"member {name!r} is already stored in {group.name}")
    nodes.add_link(dataset.id, group.id, link)
    keep_long_name(group, name)


def chunk_length(size: int, codec: Codec) -> int:
    """Return the chunk size for a member of `size` bytes: as long as it is, up to what the codec wants.

    So a member that grows beyond it keeps the chunks that it has.
    """
    element_size = codec.element_size
    return min(codec.chunk_bytes, max(1, -(-size // element_size)) * element_size)


def create_member(group: h5py.Group, size: int, codec: Codec, chunk_bytes: int) -> h5py.Dataset:
    """Return a new dataset for a member, which has no name and no content yet."""
    element_size = codec.element_size
    dtype = "<u4" if element_size == 4 else "|u1"
    n_elements, chunk = -(-size // element_size), chunk_bytes // element_size
    # One chunk is written again when more comes.
    can_grow = size > chunk_bytes
    return h5py.Dataset(
        nodes.create_chunked(group.id, dtype, n_elements, chunk, codec.filters, can_grow=can_grow)
    )


def write_chunks(
    dataset: h5py.Dataset,
    codec: Codec,
    size: int,
    first: int,
    read: Callable[[int, memoryview], None],
    progress: Progress | None,
) -> tuple[Checks, Checks]:
    """Write the chunks of a member from the number `first` on; return their checks and filter masks.

    Parameters
    ----------
    size
        The size of the whole member in bytes.
    read
        Called with the number of each chunk in order, and what it has to fill with the bytes of the chunk.
    """
    elements = int(dataset.chunks[0])
    chunk_bytes = elements * codec.element_size
    n_chunks = -(-size // chunk_bytes) - first
    crcs, masks = np.zeros(n_chunks, np.uint32), np.zeros(n_chunks, np.uint32)
    reading, appending = Stage(), Stage()

    def store(place: int, chunk: memoryview) -> int:
        number = first + place
        length = min(chunk_bytes, size - number * chunk_bytes)
        with reading.turn(place):
            read(number, chunk[:length])
        chunk[length:] = bytes(chunk_bytes - length)
        # Readers believe only so many zeros that are not there.
        is_zero = _is_zero(chunk) and (number + 1) * chunk_bytes <= LIMITS.unwritten_bytes
        if not is_zero:
            encoded = codec.encode(chunk)
            crcs[place], masks[place] = isal_zlib.crc32(encoded.stored), encoded.filter_mask
        # Appended in order, so that the layout of a member does not depend on the threads.
        with appending.turn(place):
            if not is_zero:
                nodes.write_chunk(dataset.id, number * elements, encoded.stored, encoded.filter_mask)
        return length

    pipeline = Pipeline(n_chunks, reading, appending)
    pipeline.run(store, lambda: memoryview(bytearray(chunk_bytes)), progress)
    return crcs, masks


def copy_chunks(
    dataset: h5py.Dataset, table: MemberTable, file: ChunkFile, n_chunks: int, progress: Progress | None
) -> None:
    """Copy the first chunks of a member as they are stored, each after its check."""
    elements = table.chunk_bytes // table.codec.element_size
    for chunk in range(n_chunks):
        stored_bytes = read_stored(table, file, chunk)
        if stored_bytes:
            nodes.write_chunk(dataset.id, chunk * elements, stored_bytes, int(table.filter_masks[chunk]))
        if progress is not None:
            progress(table.plain_length(chunk))
        SIGNALS.deliver()


def _is_zero(chunk: memoryview) -> bool:
    return not any(chunk[:16]) and not np.frombuffer(chunk, np.uint8).any()


def describe_member(
    dataset: h5py.HLObject, size: int, digest: str, codec: str, crcs: Checks, described: str | None
) -> None:
    """Write the attributes of a member's new dataset, all but the lengths of frames."""
    node = dataset.id
    nodes.create_integer(node, MEMBER_SIZE, size, "<u8")
    nodes.create_text(node, MEMBER_DIGEST, digest, is_ascii=True)
    nodes.create_text(node, MEMBER_CODEC, codec, is_ascii=True)
    nodes.create_numbers(node, MEMBER_CHUNK_CRC32, crcs.astype("<u4"))
    if described is not None:
        nodes.create_text(node, MEMBER_DESCRIPTION_DIGEST, described, is_ascii=True)
    nodes.create_text(node, LONG_NAME, MEMBER_LONG_NAME, is_ascii=True)

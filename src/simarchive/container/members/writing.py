"""Storing a member: read, digest, encode in several threads, append in order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

import h5py
import numpy as np
from blake3 import blake3
from isal import isal_zlib

from simarchive.codecs import DEFAULT_CODEC, Codec, choose_codec
from simarchive.codecs.xdr_frames import FrameScanner
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
from simarchive.container.members.source import MemberSource, open_source
from simarchive.container.members.table import ChunkFile, MemberInfo, MemberTable, description_digest
from simarchive.errors import ConflictError
from simarchive.ground.limits import LIMITS
from simarchive.ground.signals import SIGNALS

_PAGE = 4096


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
        Where the object's members stand (`places`), open for writing.
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
        dataset = _create_dataset(group, opened.size, chosen, chunk_bytes)
        scanner = FrameScanner()
        digest, crcs, masks = _store_chunks(dataset, opened, chosen, progress, scanner)
        opened.check_unchanged()
    described = description_digest(opened.size, digest, chosen.name, chunk_bytes, crcs, masks)
    _write_attributes(dataset, opened.size, digest, chosen.name, crcs, described)
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


def copy_member(
    group: h5py.Group,
    name: str,
    member: StoredMember,
    *,
    codec: str = DEFAULT_CODEC,
    progress: Progress | None = None,
) -> MemberInfo:
    """Store a member of another container as a member of `group`, and return what is known about it.

    If it would be stored with the codec that it has, its chunks are copied as they are, each after its check,
    and neither decoded nor encoded. It keeps its digest in any case, which stands for the bytes that were
    stored first.

    Parameters
    ----------
    group, name, codec, progress
        As for `store_member`.
    member
        What to copy.

    Raises
    ------
    ConflictError
        If the group has a member of this name.
    CorruptMemberError
        If a chunk, or what all of them decode to, does not match its check. Nothing is stored.
    """
    table = member.table
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
    dataset = _create_dataset(group, table.size, table.codec, table.chunk_bytes)
    elements = table.chunk_bytes // table.codec.element_size
    for chunk in range(table.n_chunks):
        stored_bytes = read_stored(table, member.file, chunk)
        if stored_bytes:
            nodes.write_chunk(dataset.id, chunk * elements, stored_bytes, int(table.filter_masks[chunk]))
        if progress is not None:
            progress(table.plain_length(chunk))
        SIGNALS.deliver()
    # What nothing proves of a member of an early version must not be proved by its copy.
    described = table.description_digest() if table.is_proved else None
    _write_attributes(dataset, table.size, table.digest, table.codec.name, table.crcs, described)
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
    """Return the chunk size for a member of `size` bytes: even shares, so that there is little padding."""
    element_size = codec.element_size
    if size <= codec.chunk_bytes:
        return max(1, -(-size // element_size)) * element_size
    n_chunks = -(-size // codec.chunk_bytes)
    share = -(-size // n_chunks)
    return min(codec.chunk_bytes, -(-share // _PAGE) * _PAGE)


def _create_dataset(group: h5py.Group, size: int, codec: Codec, chunk_bytes: int) -> h5py.Dataset:
    element_size = codec.element_size
    dtype = "<u4" if element_size == 4 else "|u1"
    n_elements, chunk = -(-size // element_size), chunk_bytes // element_size
    return h5py.Dataset(nodes.create_chunked(group.id, dtype, n_elements, chunk, codec.filters))


def _store_chunks(
    dataset: h5py.Dataset,
    source: MemberSource,
    codec: Codec,
    progress: Progress | None,
    scanner: FrameScanner,
) -> tuple[str, np.ndarray, np.ndarray]:
    elements = int(dataset.chunks[0])
    chunk_bytes = elements * codec.element_size
    n_chunks = -(-source.size // chunk_bytes)
    crcs, masks = np.zeros(n_chunks, np.uint32), np.zeros(n_chunks, np.uint32)
    hasher = blake3()
    reading, appending = Stage(), Stage()

    def store(number: int, chunk: memoryview) -> int:
        length = min(chunk_bytes, source.size - number * chunk_bytes)
        with reading.turn(number):
            source.read_into(chunk[:length])
            hasher.update(chunk[:length])
            scanner.feed(chunk[:length])
        chunk[length:] = bytes(chunk_bytes - length)
        # Readers believe only so many zeros that are not there.
        is_zero = _is_zero(chunk) and (number + 1) * chunk_bytes <= LIMITS.unwritten_bytes
        if not is_zero:
            encoded = codec.encode(chunk)
            crcs[number], masks[number] = isal_zlib.crc32(encoded.stored), encoded.filter_mask
        # Appended in order, so that the layout of a member does not depend on the threads.
        with appending.turn(number):
            if not is_zero:
                nodes.write_chunk(dataset.id, number * elements, encoded.stored, encoded.filter_mask)
        return length

    pipeline = Pipeline(n_chunks, reading, appending)
    pipeline.run(store, lambda: memoryview(bytearray(chunk_bytes)), progress)
    return hasher.hexdigest(), crcs, masks


def _is_zero(chunk: memoryview) -> bool:
    return not any(chunk[:16]) and not np.frombuffer(chunk, np.uint8).any()


def _write_attributes(
    dataset: h5py.Dataset, size: int, digest: str, codec: str, crcs: np.ndarray, described: str | None
) -> None:
    node = dataset.id
    nodes.create_integer(node, MEMBER_SIZE, size, "<u8")
    nodes.create_text(node, MEMBER_DIGEST, digest, is_ascii=True)
    nodes.create_text(node, MEMBER_CODEC, codec, is_ascii=True)
    nodes.create_numbers(node, MEMBER_CHUNK_CRC32, crcs.astype("<u4"))
    if described is not None:
        nodes.create_text(node, MEMBER_DESCRIPTION_DIGEST, described, is_ascii=True)
    nodes.create_text(node, LONG_NAME, MEMBER_LONG_NAME, is_ascii=True)

"""Reading members: extraction to a file, random access, and verification. Every stored byte is checked."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
from blake3 import blake3
from isal import isal_zlib

from simarchive.codecs.planes import thread_array
from simarchive.container.members.pipeline import Pipeline, Progress, Stage
from simarchive.container.members.table import ChunkFile, MemberTable, read_table
from simarchive.errors import ConflictError, CorruptMemberError, StorageError, StorageIOError
from simarchive.ground.filesystem import (
    WRITEBACK_BYTES,
    begin_writeback,
    error_of,
    make_folder,
    whole_file,
    write_all,
)


@dataclass(frozen=True)
class MemberFault:
    """One check that a member failed: the number of the chunk, or None for the member as a whole."""

    chunk: int | None
    message: str


def extract_member(
    dataset: h5py.Dataset | MemberTable,
    file: ChunkFile,
    destination: Path,
    *,
    progress: Progress | None = None,
    sync: bool = False,
    overwrite: bool = True,
    executable: bool = False,
    modified_ns: int | None = None,
) -> None:
    """Write a member's bytes to the file `destination`, which appears complete and checked, or not at all.

    Parameters
    ----------
    dataset
        The member, or its table as `read_table` gives it.
    file
        The container's file, by offset.
    destination
        Path of the file; folders on the way are created.
    progress
        Called with the number of bytes that were done since the last call.
    sync
        Whether the file is on the disk, not only in the system's memory, when this returns.
    overwrite
        Whether a file that is there is replaced.
    executable
        Whether those who may read the file may execute it.
    modified_ns
        When the file counts as changed last, in nanoseconds since 1970; by default now.

    Raises
    ------
    CorruptMemberError
        If a chunk or the whole does not match its check.
    ConflictError
        If `destination` is a directory, or is there and is not to be replaced.
    StorageFullError, StorageIOError
        If the file cannot be written.
    """
    table = dataset if isinstance(dataset, MemberTable) else read_table(dataset)
    with _errors_named(destination):
        make_folder(destination.parent, sync=sync)
        with whole_file(destination, overwrite=overwrite, sync=sync) as fd:
            os.truncate(fd, table.size)
            _write_chunks(table, file, fd, progress, sync=sync)
            if executable:
                mode = stat.S_IMODE(os.fstat(fd).st_mode)
                os.fchmod(fd, mode | (mode & 0o444) >> 2)
            if modified_ns is not None:
                _set_time(fd, modified_ns)


def verify_member(
    dataset: h5py.Dataset | MemberTable, file: ChunkFile, *, full: bool, progress: Progress | None = None
) -> tuple[MemberFault, ...]:
    """Return every check that a member fails: an empty tuple if it is intact.

    Quick verification reads the stored bytes and compares each chunk's CRC-32. Full verification also decodes
    every chunk and compares the digest of the whole.
    """
    try:
        table = dataset if isinstance(dataset, MemberTable) else read_table(dataset)
    except CorruptMemberError as error:
        return (MemberFault(None, str(error)),)
    faults: dict[int, MemberFault] = {}
    hasher = blake3()
    digesting = Stage()

    def check(chunk: int, space: memoryview) -> int:
        length = table.plain_length(chunk)
        try:
            if full:
                decode_chunk(table, file, chunk, space)
            else:
                read_stored(table, file, chunk)
        except CorruptMemberError as error:
            faults[chunk] = MemberFault(chunk, str(error))
        if full:
            with digesting.turn(chunk):
                hasher.update(space[:length])
        return length

    Pipeline(table.n_chunks, digesting).run(check, partial(_chunk_space, table), progress)
    if full and not faults and hasher.hexdigest() != table.digest:
        return (MemberFault(None, str(wrong_digest(table, hasher.hexdigest()))),)
    return tuple(faults[chunk] for chunk in sorted(faults))


def decode_chunk(table: MemberTable, file: ChunkFile, chunk: int, out: memoryview) -> None:
    """Fill `out`, of `table.chunk_bytes` bytes, with a chunk that passed its check.

    Raises
    ------
    CorruptMemberError
        If its stored bytes fail the CRC-32, or cannot be decoded.
    """
    decode_stored(table, chunk, read_stored(table, file, chunk), 0, out)


def decode_stored(table: MemberTable, chunk: int, stored: memoryview, start: int, out: memoryview) -> None:
    """Fill `out` with the bytes from `start` on of a chunk, from its stored bytes, which passed their check.

    Raises
    ------
    CorruptMemberError
        If they cannot be decoded.
    """
    if not stored:
        out[:] = bytes(len(out))
        return
    mask = int(table.filter_masks[chunk])
    try:
        if len(out) == table.chunk_bytes:
            table.codec.decode(stored, mask, out)
        else:
            table.codec.decode_part(stored, mask, table.chunk_bytes, start, out)
    except ValueError as error:
        raise chunk_error(table, chunk, str(error)) from error


def read_stored(table: MemberTable, file: ChunkFile, chunk: int) -> memoryview:
    """Return the stored bytes of a chunk after their check, in an array that this thread reuses.

    Empty for a chunk that was not written because it is all zeros.
    """
    stored = thread_array("stored", int(table.stored_sizes[chunk])).data
    read_unchecked(table, file, chunk, 0, stored)
    check_stored(table, chunk, stored)
    return stored


def read_unchecked(table: MemberTable, file: ChunkFile, chunk: int, start: int, out: memoryview) -> None:
    """Fill `out` with the stored bytes of a chunk from `start` on, before any check.

    Raises
    ------
    CorruptMemberError
        If the container ends before.
    StorageIOError
        If the system cannot read them.
    """
    try:
        file.read_at(out, int(table.offsets[chunk]) + start)
    except EOFError as error:
        raise chunk_error(table, chunk, f"the container ends before it ({error})") from error
    except StorageError:
        raise
    except OSError as error:
        raise StorageIOError(f"{table.label}: chunk {chunk} cannot be read: {error}") from error


def check_stored(table: MemberTable, chunk: int, stored: memoryview) -> None:
    """Raise CorruptMemberError if the stored bytes of a chunk do not match their CRC-32."""
    if isal_zlib.crc32(stored) != int(table.crcs[chunk]):
        raise chunk_error(table, chunk, "its stored bytes do not match their CRC-32")


def chunk_error(table: MemberTable, chunk: int, what: str) -> CorruptMemberError:
    """Return the error for one damaged chunk of a member."""
    start = chunk * table.chunk_bytes
    return CorruptMemberError(
        f"{table.label}: chunk {chunk} (bytes {start} to {start + table.plain_length(chunk)}) is damaged: "
        f"{what}. Restore the container from a copy, or store the object again"
    )


def wrong_digest(table: MemberTable, found: str) -> CorruptMemberError:
    """Return the error for a member whose chunks are intact, but are not those that were stored."""
    return CorruptMemberError(
        f"{table.label}: the bytes have BLAKE3 {found}, stored was {table.digest}. "
        "Restore the container from a copy, or store the object again"
    )


def _set_time(fd: int, modified_ns: int) -> None:
    # Not every file system has room for every time: then the file is new, as any that is made there.
    with contextlib.suppress(OSError, OverflowError):
        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, modified_ns))


def _chunk_space(table: MemberTable) -> memoryview:
    return memoryview(bytearray(table.chunk_bytes))


def _write_chunks(
    table: MemberTable, file: ChunkFile, fd: int, progress: Progress | None, *, sync: bool
) -> None:
    hasher = blake3()
    digesting, writing = Stage(), threading.Lock()
    chunks_between = max(1, WRITEBACK_BYTES // table.chunk_bytes)

    def extract(chunk: int, space: memoryview) -> int:
        decode_chunk(table, file, chunk, space)
        plain = space[: table.plain_length(chunk)]
        with digesting.turn(chunk):
            hasher.update(plain)
        # Unwritten chunks stay holes of the new file.
        if table.stored_sizes[chunk]:
            # One at a time: the file system lets in one writer of a file, and the others spin.
            with writing:
                write_all(fd, plain, chunk * table.chunk_bytes)
        if sync and chunk % chunks_between == chunks_between - 1:
            begin_writeback(fd)
        return len(plain)

    Pipeline(table.n_chunks, digesting).run(extract, partial(_chunk_space, table), progress)
    if hasher.hexdigest() != table.digest:
        raise wrong_digest(table, hasher.hexdigest())


@contextlib.contextmanager
def _errors_named(destination: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ConflictError(
            f"{str(destination)!r} cannot be written: something else is there ({error})"
        ) from error
    except OSError as error:
        raise error_of(error, f"{str(destination)!r} cannot be written: {error}") from error

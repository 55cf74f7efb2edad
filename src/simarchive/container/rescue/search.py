"""The objects of a container that HDF5 cannot open or list any more: searched for by their headers.

Every node of HDF5 begins with a header that bears its checksum, wherever it lies. So the groups of objects
are found without the superblock, the root and the list of objects: each header is opened by its address, and
each group that says it is an object is given a place below /objects again, in a file that exists in memory
only. The name of an object stands in the list alone; but the rows of the index have the key beside the first
bytes of the identity, by which an object gets its key back.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import h5py
from h5py import h5g, h5o, h5r

from simarchive.container import layout, metadata, nodes
from simarchive.container.container import HDF5_ERRORS, Container
from simarchive.container.contents import Contents
from simarchive.container.index.table import IndexTable
from simarchive.container.new_file import LIBVER
from simarchive.container.nodes import UNREADABLE
from simarchive.container.objects import read_summary
from simarchive.container.rescue.overlay import Overlay
from simarchive.errors import CorruptError, StorageError
from simarchive.ground.keys import is_key, new_key
from simarchive.journal import Journal, PagedFile
from simarchive.journal.superblock import SUPERBLOCK_BYTES, lookup3

_HEADER = b"OHDR\x02"
_ROOT_AT, _CHECKSUM_AT = 36, 44
_NO_ADDRESS = (1 << 64) - 1
_PIECE_BYTES = 64 << 20
_MOST_SPARSE = 64
_READABLE = (*UNREADABLE, StorageError)
# The column of the identity, in every table of a data class (see `storage/hdf5/indexing.py`).
_IDENTITY_COLUMN = "identity"


@dataclass(slots=True)
class Search:
    """What was found, and how.

    Attributes
    ----------
    contents
        The objects that were found, under their keys; good as long as the block.
    loose
        Keys that had to be made up: neither the object nor the index has one, or another one has it. Such
        an object may be one that had been removed, or replaced, before.
    unlisted
        Keys that objects say they have, and the index, of which something is there, does not. They may have
        been removed before, too.
    missing
        Keys of the index for which no object was found.
    """

    contents: Contents
    loose: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@contextlib.contextmanager
def searched(path: Path) -> Iterator[Search]:
    """Give the objects of a container as far as they can be found; the file is read only.

    Raises
    ------
    CorruptError
        If none is found.
    """
    with contextlib.ExitStack() as stack:
        below = stack.enter_context(_bytes_of(path))
        handle = stack.enter_context(_with_new_root(below))
        try:
            found = _found(handle, below, _holes(path))
        except UNREADABLE as error:
            raise CorruptError(f"it cannot be searched: {error}") from error
        yield found


@contextlib.contextmanager
def rehearsed(container: Container) -> Iterator[Rehearsal]:
    """Give a place to try changes to a container before they are made; nothing of it is written.

    Within a read or a transaction of the container in which nothing was changed.
    """
    with container.reading():
        file = container.file
        yield Rehearsal(Overlay(file.read_at, file.end))


class Rehearsal:
    """A container in memory, above one on disk."""

    def __init__(self, file: Overlay) -> None:
        self.file = file

    @contextlib.contextmanager
    def opened(self, mode: str) -> Iterator[Contents]:
        """Give the contents, for changes (``"r+"``) or to look at what became of them (``"r"``)."""
        handle = None
        try:
            handle = h5py.File(self.file, mode, libver=LIBVER)
            contents = Contents(handle, cast("PagedFile", self.file))
            yield contents
            contents.tables.flush()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            if handle is not None:
                handle.close()

    def has_harmed_files(self, before: Contents, contents: Contents, key: str) -> bool:
        """Return whether stored bytes of the files of an object were sound before, and are not any more."""
        for info in contents.members(key):
            if info.fault:
                continue
            table = contents.stored_member(key, info.name).table
            places = zip(table.offsets.tolist(), table.stored_sizes.tolist(), strict=True)
            is_touched = any(size and self.file.dirty(offset, size) for offset, size in places)
            # Other things may lie in the same pages.
            if is_touched:
                faults = contents.verify_member(key, info.name, full=False)
                if faults and len(faults) > len(before.verify_member(key, info.name, full=False)):
                    return True
        return False

    def try_a_change(self) -> None:
        """Make something and remove it again, in memory, wherever objects come and go."""
        with self.opened("r+") as contents:
            root = contents.root.id
            root.get_freespace()
            names = [name for name in (layout.OBJECTS, layout.REMOVED) if nodes.link_exists(root, name)]
            # A group of many links has a list of its own of the room for names.
            for place in (root, *(nodes.open_group(root, name) for name in names)):
                nodes.create_group(place, layout.STAGING)
                nodes.unlink(place, layout.STAGING)


# --- the bytes of the file -------------------------------------------------------------------------------


@contextlib.contextmanager
def _bytes_of(path: Path) -> Iterator[Overlay]:
    """Give the bytes of a container as of its last commit; of the file alone where its log does not fit."""
    with contextlib.ExitStack() as stack:
        try:
            journal = Journal.open(path, writable=False)
            stack.callback(journal.close)
            journal.begin_read()
            stack.callback(journal.end_read)
            size = max(journal.file.end, path.stat().st_size)
            overlay = Overlay(journal.file.read_at, size)
        except StorageError:
            stack.close()
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            overlay = Overlay(_reader(fd), os.fstat(fd).st_size)
        yield overlay


def _reader(fd: int) -> Callable[[memoryview, int], None]:
    def read(buffer: memoryview, offset: int) -> None:
        done = 0
        while done < len(buffer):
            count = os.preadv(fd, [buffer[done:]], offset + done)
            if not count:
                buffer[done:] = bytes(len(buffer) - done)
                return
            done += count

    return read


@contextlib.contextmanager
def _with_new_root(below: Overlay) -> Iterator[h5py.File]:
    """Give a file with an empty root behind all that is there: nothing of the old one is needed."""
    root, address = _empty_root(), -(-max(below.end, SUPERBLOCK_BYTES) // 8) * 8
    below.patch(memoryview(root), address)
    start = b"\x89HDF\r\n\x1a\n" + bytes([3, 8, 8, 0])
    start += struct.pack("<QQQQ", 0, _NO_ADDRESS, address + len(root), address)
    below.patch(memoryview(start + struct.pack("<I", lookup3(start))), 0)
    handle = h5py.File(below, "r+", libver=LIBVER)
    try:
        yield handle
    finally:
        with contextlib.suppress(*HDF5_ERRORS):
            handle.close()


def _empty_root() -> bytes:
    """Return the header of an empty group, which says nothing of where it lies."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER, track_order=True):
        pass
    image = memory.getvalue()
    (at,) = struct.unpack_from("<Q", image, _ROOT_AT)
    flags = image[at + 5]
    prefix = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(image[at + prefix : at + prefix + width], "little")
    return image[at : at + prefix + width + size + 4]


# --- what is in it ---------------------------------------------------------------------------------------


def _holes(path: Path) -> list[tuple[int, int]]:
    """Return the long holes of a file that is nearly nothing else: to read them would take days."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < _PIECE_BYTES + _MOST_SPARSE * status.st_blocks * 512:
            return []
        holes, start = [], 0
        while start < status.st_size:
            start = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            try:
                end = os.lseek(file.fileno(), start, os.SEEK_DATA)
            except OSError:  # ENXIO: none follows
                end = status.st_size
            holes.append((start, end))
            start = end
    return holes


def _addresses(file: Overlay, end: int, holes: list[tuple[int, int]]) -> list[int]:
    """Return where headers begin, or what looks like one."""
    found, overlap = [], len(_HEADER) - 1
    space = mmap.mmap(-1, min(_PIECE_BYTES, max(end, 1)) + overlap)
    try:
        for start in _without_holes(end, holes):
            length = min(_PIECE_BYTES + overlap, end - start)
            with memoryview(space) as whole, whole[:length] as piece:
                file.read_at(piece, start)
            at = space.find(_HEADER, 0, length)
            while at >= 0:
                found.append(start + at)
                at = space.find(_HEADER, at + 1, length)
    finally:
        space.close()
    return found


def _without_holes(end: int, holes: list[tuple[int, int]]) -> Iterator[int]:
    """Yield where the pieces of a file begin that are more than a hole."""
    start = 0
    while start < end:
        hole_end = next((last for first, last in holes if first <= start and start + _PIECE_BYTES <= last), 0)
        if hole_end:
            start = max(start + _PIECE_BYTES, hole_end // _PIECE_BYTES * _PIECE_BYTES)
        else:
            yield start
            start += _PIECE_BYTES


def _nodes_at(handle: h5py.File, addresses: list[int]) -> Iterator[h5g.GroupID]:
    """Yield the groups among the nodes at some addresses; what cannot be opened is left out."""
    if not addresses:
        return
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER) as file:
        dataset = file.create_dataset("r", shape=(len(addresses),), dtype=h5py.ref_dtype)
        dataset[:] = [file.ref] * len(addresses)
        at = dataset.id.get_offset()
    image = bytearray(memory.getvalue())
    # An object reference of this kind is an address, and nothing else.
    struct.pack_into(f"<{len(addresses)}Q", image, at, *addresses)
    with h5py.File(io.BytesIO(bytes(image)), "r") as file:
        for reference in file["r"][()]:
            try:
                node = h5r.dereference(reference, handle.id)
            except _READABLE:
                continue
            if isinstance(node, h5g.GroupID):
                yield node


@dataclass(slots=True)
class _Candidate:
    node: h5g.GroupID
    identity: str
    stored_at: str
    key: str | None


def _found(handle: h5py.File, file: Overlay, holes: list[tuple[int, int]]) -> Search:
    placed: set[int | None] = set()
    tables: list[h5g.GroupID] = []
    candidates: list[_Candidate] = []
    removed: set[int] = set()
    addresses = _addresses(file, file.end, holes)
    own_root = h5o.get_info(handle.id).addr
    objects = nodes.create_group(handle.id, layout.OBJECTS)
    for node in _nodes_at(handle, [address for address in addresses if address != own_root]):
        try:
            if nodes.has_attribute(node, layout.DOCUMENT):
                summary = read_summary(node, "")
                candidates.append(_Candidate(node, summary.identity, summary.stored_at, summary.key))
            elif nodes.has_attribute(node, layout.INDEX_TABLE):
                tables.append(node)
            elif nodes.has_attribute(node, layout.REMOVED_TOTALS):
                removed |= _addresses_in(node)
            elif nodes.has_attribute(node, layout.FORMAT):
                metadata.copy_to_new_root(node, handle)
        except _READABLE:
            continue
    candidates = [candidate for candidate in candidates if nodes.address(candidate.node) not in removed]
    if not candidates:
        raise CorruptError("no object can be found in it any more")
    search = Search(Contents(handle, cast("PagedFile", file)))
    expected = _expected(tables)
    for candidate in sorted(candidates, key=lambda candidate: candidate.stored_at):
        number = _identity_number(candidate.identity)
        keys = expected.get(number, []) if number is not None else []
        key = candidate.key if candidate.key in keys else keys[0] if keys else None
        if key is None:
            if tables and number in placed:
                continue  # An earlier one with the same content, of which the index knows.
            key, is_own = _free_key(candidate, search, expected)
            if not is_own:
                search.loose.append(key)
            elif tables:
                search.unlisted.append(key)
        else:
            keys.remove(key)
        placed.add(number)
        with contextlib.suppress(*_READABLE):
            nodes.add_link(candidate.node, objects, key)
    search.missing = [key for keys in expected.values() for key in keys]
    return search


def _addresses_in(group: h5g.GroupID) -> set[int]:
    """Return where the groups are that are in a group, as far as that can be read."""
    found = set()
    for name in nodes.child_names(group):
        with contextlib.suppress(*_READABLE):
            found.add(nodes.address(nodes.open_group(group, name)))
    return found


def _free_key(candidate: _Candidate, search: Search, expected: dict[int, list[str]]) -> tuple[str, bool]:
    """Return a key for an object for which the index has none, and whether it is its own."""
    own = candidate.key
    is_taken = own is None or own in search.contents or any(own in keys for keys in expected.values())
    return (new_key(), False) if own is None or is_taken or not is_key(own) else (own, True)


def _expected(tables: list[h5g.GroupID]) -> dict[int, list[str]]:
    """Return the keys that the index has for each identity."""
    expected: dict[int, list[str]] = {}
    seen = set()
    for node in tables:
        try:
            rows = IndexTable.open(h5py.Group(node)).rows()
        except _READABLE:
            continue
        for key, row in rows.items():
            identity = row.get(_IDENTITY_COLUMN)
            if isinstance(identity, int) and (key, identity) not in seen:
                seen.add((key, identity))
                expected.setdefault(identity, []).append(key)
    return expected


def _identity_number(identity: str) -> int | None:
    try:
        return int.from_bytes(bytes.fromhex(identity[:16]), "little", signed=True)
    except ValueError:
        return None

"""The bytes of the redo log `<file>-wal`: its header and its frames.

Layout, in units of 512 bytes so that a torn write never damages a neighbour::

    0      header: magic, page size, salt, container id, base state, base end, base superblock, digest
    512    who holds the writer lock           (a hint, see locks.py)
    1024   who waits                           (a hint)
    4096   frames, one after the other: head, page table, page images

A *frame* takes the digest of the frame before it into its own, beginning with the random salt of
the header. So a frame of an earlier use of the same file, or of an unfinished transaction that
another one was written over, never joins the chain. A transaction is one frame with the COMMIT
flag, after any number of plain frames that were spilled for lack of memory. A SKIP frame is one
sector; it says how far to jump over a commit that was taken back.

The page table holds, beside each page number, the 8-byte digest that the page had in the container
when it was first logged in this generation: by it recovery tells foreign changes (zeros: not known).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from simarchive.errors import FormatError
from simarchive.journal.seal import SEAL_BYTES, TICKET_BYTES, Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES

PAGE_BYTES = 4096
SECTOR_BYTES = 512
FRAMES_AT = 4096
COMMIT, SKIP = 1, 2
DIGEST_BYTES = 16
_UNKNOWN = bytes(8)

_ANY_VERSION = b"simwal"
_MAGIC = _ANY_VERSION + b"\x00\x01"
_HEADER = struct.Struct(f"<8sI4x16s16s16sQ{SUPERBLOCK_BYTES}s")
_FRAME_MAGIC = b"SFR1"
_HEAD = struct.Struct("<4sIQQQQ")
_ROW = struct.Struct("<Q8s")
DIGEST_AT = _HEAD.size
HEAD_BYTES = _HEAD.size + DIGEST_BYTES


def round_up(size: int, unit: int = PAGE_BYTES) -> int:
    """Return the least multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def page_digest(image: bytes) -> bytes:
    """Return the digest by which a page of the container is known again, padded with zeros."""
    return blake3(image.ljust(PAGE_BYTES, b"\0")).digest(len(_UNKNOWN))


@dataclass(frozen=True, slots=True)
class Header:
    """What one generation of the log starts from."""

    salt: bytes
    base: Seal
    base_end: int
    base_superblock: bytes

    @property
    def ticket(self) -> bytes:
        """What the container's seal calls this generation of the log."""
        return self.salt[:TICKET_BYTES]

    @property
    def base_pages(self) -> int:
        """How many pages of the container the base and its seal touch."""
        return round_up(self.base_end + SEAL_BYTES) // PAGE_BYTES

    def to_bytes(self) -> bytes:
        """Return the header's sector."""
        base = self.base
        body = _HEADER.pack(
            _MAGIC, PAGE_BYTES, self.salt, base.container_id, base.state, self.base_end, self.base_superblock
        )
        return (body + blake3(body).digest(DIGEST_BYTES)).ljust(SECTOR_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Header | None:
        """Return the header in `data`, or None if there is no intact one."""
        body, check = data[: _HEADER.size], data[_HEADER.size : _HEADER.size + DIGEST_BYTES]
        if len(data) < SECTOR_BYTES or check != blake3(body).digest(DIGEST_BYTES):
            return None
        magic, page_bytes, salt, container_id, state, end, superblock = _HEADER.unpack(body)
        if magic != _MAGIC or page_bytes != PAGE_BYTES:
            raise FormatError(
                f"log {path!r} has a format that this version does not know: upgrade simarchive"
            )
        return cls(salt, Seal(container_id, state), end, superblock)


def may_be_header(data: bytes) -> bool:
    """Return whether the first bytes of a file may be what is left of a header, or room for one."""
    return data.startswith(_ANY_VERSION) or not any(data)


@dataclass(frozen=True, slots=True)
class Head:
    """The fixed part of a frame.

    `end` is the end of file that the transaction leaves. `count` is the number of pages; in a SKIP
    frame the number of bytes to jump over. `nonce` is drawn once for each transaction.
    """

    flags: int
    sequence: int
    nonce: int
    end: int
    count: int

    def to_bytes(self) -> bytes:
        """Return the head without the digest that follows it."""
        return _HEAD.pack(_FRAME_MAGIC, self.flags, self.sequence, self.nonce, self.end, self.count)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Head | None:
        """Return the head at the start of `data`, if that looks like one."""
        if len(data) < HEAD_BYTES:
            return None
        magic, flags, sequence, nonce, end, count = _HEAD.unpack_from(data)
        if magic != _FRAME_MAGIC or count > 1 << 40 or flags not in (0, COMMIT, SKIP):
            return None
        return cls(flags, sequence, nonce, end, count)

    @property
    def images_at(self) -> int:
        """Where the page images begin in the frame."""
        rows = 0 if self.flags == SKIP else self.count * _ROW.size
        return round_up(HEAD_BYTES + rows, SECTOR_BYTES)

    @property
    def stored_bytes(self) -> int:
        """How many bytes of the frame its digest covers."""
        return SECTOR_BYTES if self.flags == SKIP else self.images_at + self.count * PAGE_BYTES

    @property
    def length(self) -> int:
        """How far behind this frame the next one lies."""
        return self.count if self.flags == SKIP else self.stored_bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame, with the places of its pages in the log."""

    head: Head
    digest: bytes
    pages: dict[int, int]
    before: Mapping[int, bytes]


def log_bytes_for(pages: int) -> int:
    """Return the size of a log with one frame of so many pages."""
    return FRAMES_AT + Head(COMMIT, 1, 0, 0, pages).stored_bytes


def encode_frame(
    head: Head,
    previous: bytes,
    at: int,
    images: Sequence[tuple[int, bytes | bytearray]],
    before: Mapping[int, bytes],
) -> tuple[Frame, bytearray]:
    """Return the frame for `images` (page number, 4 KiB) at offset `at`, and its bytes."""
    rows = b"".join([_ROW.pack(page, before.get(page, _UNKNOWN)) for page, _ in images])
    table = rows.ljust(head.images_at - HEAD_BYTES, b"\0")
    data = bytearray().join([head.to_bytes(), bytes(DIGEST_BYTES), table, *[image for _, image in images]])
    digest = _chained_digest(previous, data)
    data[DIGEST_AT:HEAD_BYTES] = digest
    first = at + head.images_at
    pages = {page: first + i * PAGE_BYTES for i, (page, _) in enumerate(images)}
    return Frame(head, digest, pages, before), data


def decode_frame(data: memoryview, previous: bytes, at: int) -> Frame | None:
    """Return the frame in `data` if it is whole and follows the frame with the digest `previous`.

    The head counts only as it stands in `data`, under the digest: one that was read a moment earlier may
    be that of a frame which a writer has since written over.
    """
    head, digest = Head.from_bytes(data), bytes(data[DIGEST_AT:HEAD_BYTES])
    if head is None or len(data) != head.stored_bytes or digest != _chained_digest(previous, data):
        return None
    if head.flags == SKIP:
        return Frame(head, digest, {}, {})
    first = at + head.images_at
    pages: dict[int, int] = {}
    before: dict[int, bytes] = {}
    rows = data[HEAD_BYTES : HEAD_BYTES + head.count * _ROW.size]
    for i, (page, image) in enumerate(_ROW.iter_unpack(rows)):
        pages[page] = first + i * PAGE_BYTES
        if image != _UNKNOWN:
            before[page] = image
    return Frame(head, digest, pages, before)


def _chained_digest(previous: bytes, data: bytearray | memoryview) -> bytes:
    view = memoryview(data)
    hasher = blake3(previous)
    hasher.update(view[:DIGEST_AT])
    hasher.update(view[HEAD_BYTES:])
    return hasher.digest(DIGEST_BYTES)

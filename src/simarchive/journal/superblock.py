"""The HDF5 superblock (version 3) as far as the journal must know it: end of file, guard, checksum.

The *guard* is the superblock's own "open for writing" flag. While a checkpoint copies pages the
container is half old and half new; with the flag set every stock HDF5 refuses to open it.

References
----------
HDF5 File Format Specification 3.0, II.A "Disk Format: Level 0A - Format Signature and Superblock",
versions 2 and 3. Checksum: Bob Jenkins, lookup3.c, ``hashlittle`` with initial value 0.
"""

from __future__ import annotations

import struct

from simarchive.errors import FormatError

SUPERBLOCK_BYTES = 48
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSION_AT, _OFFSET_SIZE_AT, _FLAGS_AT, _BASE_AT, _END_AT, _CHECKSUM_AT = 8, 9, 11, 12, 28, 44
_OPEN_FOR_WRITING = 0x01
_WORD = 0xFFFFFFFF
_LARGEST_OFFSET = (
    (1 << 63) - 1 - (1 << 20)
)  # of a file, less what the journal reads and writes behind the end


def end_of_file(superblock: bytes, path: str) -> int:
    """Return the end of file that the superblock states.

    Raises
    ------
    FormatError
        If `superblock` is not an HDF5 superblock of version 2 or 3 at the start of the file.
    """
    if len(superblock) < SUPERBLOCK_BYTES or superblock[:8] != _SIGNATURE:
        raise FormatError(f"{path!r} is not an HDF5 file (or has a user block): it cannot be a container")
    version, offset_size = superblock[_VERSION_AT], superblock[_OFFSET_SIZE_AT]
    if version not in (2, 3) or offset_size != 8:
        raise FormatError(
            f"{path!r} has HDF5 superblock version {version} with {offset_size}-byte offsets; "
            "a container has version 3 with 8: copy it with 'h5repack -j 3 -k 3'"
        )
    end: int = struct.unpack_from("<Q", superblock, _END_AT)[0]
    if end > _LARGEST_OFFSET:
        raise FormatError(
            f"{path!r} has a damaged superblock, which says that the file ends at byte {end:,}: no file does;"
            " restore it from a copy"
        )
    return end


def is_guarded(superblock: bytes) -> bool:
    """Return whether stock HDF5 refuses the file: a checkpoint, or a killed HDF5 writer, left the flag."""
    return bool(superblock[_FLAGS_AT] & _OPEN_FOR_WRITING)


def is_intact(superblock: bytes) -> bool:
    """Return whether the superblock's own checksum is right."""
    stated: int = struct.unpack_from("<I", superblock, _CHECKSUM_AT)[0]
    return stated == lookup3(superblock[:_CHECKSUM_AT])


def guarded(superblock: bytes) -> bytes:
    """Return the superblock with the "open for writing" flag set."""
    changed = bytearray(superblock[:_CHECKSUM_AT])
    changed[_FLAGS_AT] |= _OPEN_FOR_WRITING
    return bytes(changed) + struct.pack("<I", lookup3(bytes(changed)))


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _WORD) ^ _rotate(c, bits)
        c = (c + b) & _WORD
        a, b, c = b, c, a
    return a, b, c


def lookup3(data: bytes) -> int:
    """Return the checksum that HDF5 keeps behind its metadata."""
    words: list[int] = list(struct.unpack(f"<{-(-len(data) // 4)}I", data + bytes(-len(data) % 4)))
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    at = 0
    while len(words) - at > 3:
        a, b, c = (a + words[at]) & _WORD, (b + words[at + 1]) & _WORD, (c + words[at + 2]) & _WORD
        a, b, c = _mix(a, b, c)
        at += 3
    rest = [*words[at:], 0, 0, 0]
    a, b, c = (a + rest[0]) & _WORD, (b + rest[1]) & _WORD, (c + rest[2]) & _WORD
    if not data:
        return c
    # final(): c, a, b, c, a, b, c in turn.
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, bits)) & _WORD
        a, b, c = b, c, a
    return b

"""What a codec is: how one chunk of a member becomes stored bytes, and back."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

# A chunk costs a dozen switches between threads, whatever its size; a random read decodes a whole one.
CHUNK_BYTES = 2 << 20

# A chunk whose encoded form is not at least this much smaller is stored as it is: it then costs
# nothing to read.
WORTH_ENCODING = 0.985


class EncodedChunk(NamedTuple):
    """The bytes to store for one chunk, and the HDF5 filter mask that says which filters they skipped."""

    stored: Buffer
    filter_mask: int


class Codec(Protocol):
    """Turns chunks into stored bytes and back; one instance serves many threads at once."""

    @property
    def name(self) -> str:
        """The permanent name, kept with each member."""
        ...

    @property
    def element_size(self) -> int:
        """Bytes per element of the dataset: 4 where words are shuffled, else 1."""
        ...

    @property
    def filters(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The HDF5 filter pipeline: filter numbers with their options, the first applied first."""
        ...

    @property
    def chunk_bytes(self) -> int:
        """The size of a chunk of a large member."""
        ...

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return the stored form of `chunk`, which may be `chunk` itself.

        The result depends on the bytes of the chunk alone, so that a member has the same stored bytes
        whatever the threads did.
        """
        ...

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out`, which has the length of the chunk, from `stored`.

        Raises
        ------
        ValueError
            If `stored` is not what `encode` makes of a chunk of this length.
        """
        ...

    def decode_part(
        self, stored: memoryview, filter_mask: int, chunk_bytes: int, start: int, out: memoryview
    ) -> None:
        """Fill `out` with the bytes from `start` on of a chunk of `chunk_bytes` bytes.

        What can be left undone of the rest of the chunk is: a frame is often a twentieth of one.

        Raises
        ------
        ValueError
            As `decode`.
        """
        ...


def keep_smaller(chunk: memoryview, encoded: Buffer, all_filters: int) -> EncodedChunk:
    """Return `encoded`, or the chunk itself with every filter skipped if encoding gained too little."""
    if len(encoded) < WORTH_ENCODING * len(chunk):
        return EncodedChunk(encoded, 0)
    return EncodedChunk(chunk, all_filters)


def copy_stored(stored: memoryview, out: memoryview) -> None:
    """Fill `out` from a chunk that was stored as it is; raise ValueError if the lengths differ."""
    if len(stored) != len(out):
        raise ValueError(f"the chunk has {len(stored)} stored bytes in place of {len(out)}")
    out[:] = stored


def copy_part(plain: Buffer, chunk_bytes: int, start: int, out: memoryview) -> None:
    """Fill `out` from `start` of a decoded chunk; raise ValueError if that has another length."""
    if len(plain) != chunk_bytes:
        raise ValueError(f"the chunk has {len(plain)} bytes in place of {chunk_bytes}")
    out[:] = memoryview(plain)[start : start + len(out)]

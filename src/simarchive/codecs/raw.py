"""The codec that leaves bytes as they are, for members that nothing makes smaller."""

from __future__ import annotations

from simarchive.codecs.codec import EncodedChunk, copy_part, copy_stored


class Raw:
    """No filters: the dataset holds the member's bytes."""

    name = "raw"
    element_size = 1
    filters = ()
    # What the last chunk has beyond the end of the member takes room: no filter makes it vanish.
    chunk_bytes = 256 << 10

    def encode(self, chunk: memoryview) -> EncodedChunk:
        """Return the chunk itself."""
        return EncodedChunk(chunk, 0)

    def decode(self, stored: memoryview, filter_mask: int, out: memoryview) -> None:
        """Fill `out` from `stored`."""
        copy_stored(stored, out)

    def decode_part(
        self, stored: memoryview, filter_mask: int, chunk_bytes: int, start: int, out: memoryview
    ) -> None:
        """Fill `out` from `start` of `stored`."""
        copy_part(stored, chunk_bytes, start, out)

"""Where the chunks of a member lie in the container's file, and the checks they must pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import h5py
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from simarchive.codecs import Codec, codec_named
from simarchive.container import nodes
from simarchive.container.layout import (
    MEMBER_CHUNK_CRC32,
    MEMBER_CODEC,
    MEMBER_DESCRIPTION_DIGEST,
    MEMBER_DIGEST,
    MEMBER_SIZE,
    OBJECTS,
)
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptMemberError, StorageError
from simarchive.ground.limits import LIMITS, in_bytes

# No codec of ours writes larger chunks; a damaged header must not make us allocate more.
MAX_CHUNK_BYTES = 64 << 20


class ChunkFile(Protocol):
    """What holds the stored chunks: the container, seen through its journal."""

    def read_at(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; thread-safe; raises EOFError past the end."""
        ...


@dataclass(frozen=True)
class MemberInfo:
    """What a container knows about a member without reading it.

    Attributes
    ----------
    name
        Relative path below the object's directory.
    size
        Size of the file in bytes.
    stored_size
        Bytes its chunks take in the container.
    digest
        BLAKE3 of the file, 64 hexadecimal digits.
    codec
        Name of the codec.
    fault
        Why its description cannot be read, if so: then the sizes are 0, and digest and codec are empty.
    """

    name: str
    size: int
    stored_size: int
    digest: str
    codec: str
    fault: str = ""


@dataclass(frozen=True, eq=False)
class MemberTable:
    """All that is needed to read a member by offset, without HDF5.

    Attributes
    ----------
    label
        How messages name the member, with its object.
    size, digest
        As in `MemberInfo`.
    codec
        The codec that reads the chunks.
    chunk_bytes
        Length of each decoded chunk, the padded last one too.
    offsets, stored_sizes, filter_masks, crcs
        One element per chunk. An unwritten chunk has stored size 0: its bytes are zeros.
    is_proved
        Whether all but the offsets was compared with a digest; members of early versions have none.
    """

    label: str
    size: int
    digest: str
    codec: Codec
    chunk_bytes: int
    offsets: NDArray[np.uint64]
    stored_sizes: NDArray[np.uint64]
    filter_masks: NDArray[np.uint32]
    crcs: NDArray[np.uint32]
    is_proved: bool

    @property
    def n_chunks(self) -> int:
        """The number of chunks, written or not."""
        return len(self.offsets)

    def plain_length(self, chunk: int) -> int:
        """Return how many bytes of the file `chunk` holds: fewer than `chunk_bytes` in the last one."""
        return min(self.chunk_bytes, self.size - chunk * self.chunk_bytes)

    def is_plain(self, chunk: int) -> bool:
        """Return whether the stored bytes of `chunk` are those of the file: no filter changed them."""
        every_filter = (1 << len(self.codec.filters)) - 1
        is_whole = int(self.stored_sizes[chunk]) == self.chunk_bytes
        return is_whole and int(self.filter_masks[chunk]) == every_filter

    def ranges(self) -> list[tuple[int, int]]:
        """Return offset and stored size of each chunk that is written."""
        places = zip(self.offsets.tolist(), self.stored_sizes.tolist(), strict=True)
        return [(offset, size) for offset, size in places if size]

    def description_digest(self) -> str:
        """Return the digest of all but the offsets: see the function of this name."""
        return description_digest(
            self.size, self.digest, self.codec.name, self.chunk_bytes, self.crcs, self.filter_masks
        )


def description_digest(
    size: int,
    digest: str,
    codec: str,
    chunk_bytes: int,
    crcs: NDArray[np.uint32],
    filter_masks: NDArray[np.uint32],
) -> str:
    """Return the BLAKE3, in hexadecimal, of what a member's attributes and chunks say of it."""
    hasher = blake3(f"{size} {digest} {codec} {chunk_bytes}\n".encode())
    hasher.update(crcs.astype("<u4").tobytes())
    hasher.update(filter_masks.astype("<u4").tobytes())
    return hasher.hexdigest()


def is_member(dataset: h5py.HLObject) -> bool:
    """Return whether an object of a group is a member's dataset."""
    return isinstance(dataset, h5py.Dataset) and nodes.has_attribute(dataset.id, MEMBER_SIZE)


def member_label(dataset: h5py.Dataset) -> str:
    """Return how a message names the member and its object."""
    place = (dataset.name or "?").strip("/").split("/")
    at = 1 if place[0] == OBJECTS and len(place) > 2 else 0
    key, link = (place[at] if len(place) > 1 else "?"), place[-1]
    return f"member {link!r} of object {key!r}"


def read_table(dataset: h5py.Dataset) -> MemberTable:
    """Return where the chunks of a member lie; after that the dataset is no longer needed.

    Raises
    ------
    CorruptMemberError
        If the dataset's attributes or chunks contradict each other.
    FormatError
        If the codec is unknown.
    """
    label = member_label(dataset)
    try:
        size = nodes.read_integer(dataset.id, MEMBER_SIZE)
        digest = nodes.read_digest(dataset.id, MEMBER_DIGEST)
        codec = codec_named(nodes.read_text(dataset.id, MEMBER_CODEC))
        crcs = nodes.read_numbers(dataset.id, MEMBER_CHUNK_CRC32).astype(np.uint32, copy=False)
        described = nodes.find_digest(dataset.id, MEMBER_DESCRIPTION_DIGEST)
        table = _checked_table(dataset, label, size, digest, codec, crcs, is_proved=described is not None)
        if described is not None and described != table.description_digest():
            raise ValueError("it does not match its digest")
    except StorageError:
        raise
    except UNREADABLE as error:
        raise CorruptMemberError(
            f"{label}: its description cannot be read ({error}): restore the container from a copy, "
            "or store the object again"
        ) from error
    return table


def _checked_table(
    dataset: h5py.Dataset,
    label: str,
    size: int,
    digest: str,
    codec: Codec,
    crcs: NDArray[np.uint32],
    *,
    is_proved: bool,
) -> MemberTable:
    shape, chunk_shape, element_size = nodes.chunked_form(dataset.id)
    if len(shape) != 1 or element_size != codec.element_size or shape[0] != -(-size // element_size):
        raise ValueError(
            f"shape {shape} of elements of {element_size} bytes does not fit {size} bytes in {codec.name}"
        )
    chunk_bytes = chunk_shape[0] * element_size
    n_chunks = -(-size // chunk_bytes)
    if chunk_bytes > MAX_CHUNK_BYTES or len(crcs) != n_chunks:
        raise ValueError(f"{len(crcs)} checks for {n_chunks} chunks of {chunk_bytes} bytes")
    offsets = np.zeros(n_chunks, np.uint64)
    stored_sizes = np.zeros(n_chunks, np.uint64)
    filter_masks = np.zeros(n_chunks, np.uint32)

    def place(chunk: h5py.h5d.StoreInfo) -> None:
        index = chunk.chunk_offset[0] * element_size // chunk_bytes
        offsets[index], stored_sizes[index], filter_masks[index] = (
            chunk.byte_offset,
            chunk.size,
            chunk.filter_mask,
        )

    if n_chunks:
        nodes.visit_chunks(dataset.id, place)
    if n_chunks and int(stored_sizes.max()) > 2 * chunk_bytes + 4096:
        raise ValueError(f"a chunk of {int(stored_sizes.max())} stored bytes is too large for {chunk_bytes}")
    nodes.check_room(dataset.id, int(stored_sizes.sum()))
    zeros = int(np.count_nonzero(stored_sizes == 0)) * chunk_bytes
    if zeros > LIMITS.unwritten_bytes:
        raise ValueError(
            f"it claims {in_bytes(zeros)} that are not in the file; {LIMITS.hint(LIMITS.unwritten_bytes)}"
        )
    return MemberTable(
        label, size, digest, codec, chunk_bytes, offsets, stored_sizes, filter_masks, crcs, is_proved
    )

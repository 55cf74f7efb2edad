"""The lengths of the frames of an XTC or TRR member, which are found while it is stored and kept beside it.

Without them, who wants one frame reads the headers of all. They are not part of what proves a member: they
are believed only if they are those that were written for the same bytes, and who reads a frame at such a
place looks whether a frame of this length is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from simarchive.container import nodes
from simarchive.container.layout import MEMBER_FRAME_LENGTHS
from simarchive.container.nodes import UNREADABLE

FrameLengths = NDArray[np.uint32]

_CHECK_WORDS = 2
_MOST_BYTES = 2**32 - 1


def keep_frame_lengths(dataset: h5py.HLObject, digest: str, lengths: Sequence[int] | FrameLengths) -> None:
    """Write the lengths in bytes of a member's frames, in order from its start, if there are any."""
    if not len(lengths) or max(lengths) > _MOST_BYTES:
        return
    words = np.asarray(lengths, "<u4")
    nodes.create_numbers(dataset.id, MEMBER_FRAME_LENGTHS, np.concatenate([_check(digest, words), words]))


def read_frame_lengths(dataset: h5py.Dataset, size: int, digest: str) -> FrameLengths | None:
    """Return the lengths of a member's frames; None if they are not kept, or not those of this member."""
    try:
        if not nodes.has_attribute(dataset.id, MEMBER_FRAME_LENGTHS):
            return None
        words = nodes.read_numbers(dataset.id, MEMBER_FRAME_LENGTHS).astype("<u4", casting="safe", copy=False)
    except UNREADABLE:
        return None
    kept, lengths = words[:_CHECK_WORDS], words[_CHECK_WORDS:]
    if not np.array_equal(kept, _check(digest, lengths)) or int(lengths.sum(dtype=np.uint64)) > size:
        return None
    return lengths


def _check(digest: str, lengths: FrameLengths) -> FrameLengths:
    hasher = blake3(f"{digest}\n".encode())
    hasher.update(lengths.tobytes())
    return np.frombuffer(hasher.digest(4 * _CHECK_WORDS), "<u4")

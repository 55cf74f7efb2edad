"""How the words of a trajectory file repeat, from its first bytes: DCD, TRR and NetCDF.

Only files made of 4-byte words are described, whose frames all have one length: in them, each word of a frame
has its counterpart exactly one frame earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

from simarchive.codecs.trajectory_files.dcd import dcd_header
from simarchive.codecs.trajectory_files.layout import LayoutError, Read, reads_of_head
from simarchive.codecs.trajectory_files.netcdf import netcdf_header
from simarchive.codecs.trajectory_files.xdr import HEADER_BYTES, trr_header

_WORD = 4


@dataclass(frozen=True)
class Repetition:
    """How the words of a trajectory repeat.

    Attributes
    ----------
    frame_words
        Words from one frame to the next.
    atom_words
        Words from a coordinate to the same coordinate of the next atom: 1 if all x come first, else 3.
    big_endian
        The byte order of the words.
    """

    frame_words: int
    atom_words: int
    big_endian: bool


def find_repetition(head: bytes) -> Repetition | None:
    """Return how the trajectory that starts with `head` repeats, or None if it is none that does."""
    read = reads_of_head(head)
    for find in (_of_dcd, _of_trr, _of_netcdf):
        try:
            found = find(read, len(head))
        except LayoutError:
            # The header ends early or contradicts itself: not a file of this format.
            continue
        if found is not None and found.frame_words > found.atom_words:
            return found
    return None


def _of_dcd(read: Read, size: int) -> Repetition | None:
    header = dcd_header(read, size)
    if header.marker_bytes != _WORD or header.free is not None or header.start % _WORD:
        return None
    return Repetition(header.frame_bytes(0) // _WORD, 1, header.order == ">")


def _of_trr(read: Read, _: int) -> Repetition | None:
    try:
        header = trr_header(read(0, HEADER_BYTES))
    except ValueError:
        return None
    if not header.x_bytes or header.real_bytes != _WORD:
        return None
    return Repetition(header.frame_bytes // _WORD, 3, big_endian=True)


def _of_netcdf(read: Read, size: int) -> Repetition | None:
    header = netcdf_header(read, size)
    if not header.record_bytes or header.record_bytes % _WORD or header.start % _WORD:
        return None
    return Repetition(header.record_bytes // _WORD, 3, big_endian=True)

"""The codecs by name, and the choice of one for a member."""

from __future__ import annotations

from collections.abc import Callable

from simarchive.codecs.codec import Codec
from simarchive.codecs.deflate import PlainDeflate, ShuffledDeflate
from simarchive.codecs.frame_layout import find_layout
from simarchive.codecs.planes import WORD
from simarchive.codecs.raw import Raw
from simarchive.codecs.trajectory import Trajectory
from simarchive.codecs.zstd import PlainZstd, ShuffledZstd
from simarchive.errors import FormatError, InvalidDataError

DEFAULT_CODEC = "deflate"

# Permanent names: each is written into containers.
_CODECS: dict[str, Callable[[], Codec]] = {
    "deflate": ShuffledDeflate,
    "deflate-text": PlainDeflate,
    "raw": Raw,
    "trajectory": Trajectory,
    "zstd": ShuffledZstd,
    "zstd-text": PlainZstd,
}

# What a person can ask for: "trajectory" means deflate for files that are not trajectories.
CODEC_CHOICES = ("deflate", "zstd", "trajectory", "raw")

_PIECE_BYTES = 1 << 16


class Sample:
    """Pieces of a member, from which its codec is chosen.

    Parameters
    ----------
    head
        The first bytes, or all if there are few.
    size
        The size of the member in bytes.
    read_piece
        Gives so many bytes from an offset, fewer only at the end; None for a stream that cannot seek.
    """

    def __init__(self, head: bytes, size: int, read_piece: Callable[[int, int], bytes] | None) -> None:
        self.head = head
        self.size = size
        self._read_piece = read_piece

    def pieces(self) -> list[bytes]:
        """Return the start, and some of the middle and of the end if they can be had."""
        found = [self.head]
        if self._read_piece is not None:
            for offset in (self.size // 2 & ~3, (self.size - _PIECE_BYTES) & ~3):
                if offset >= _PIECE_BYTES * len(found):
                    found.append(self._read_piece(offset, _PIECE_BYTES))
        return found

    def middle(self, n_bytes: int) -> bytes:
        """Return `n_bytes` from the middle, or what there is."""
        if self._read_piece is None:
            return self.head
        return self._read_piece(max(0, (self.size - n_bytes) // 2) & ~3, n_bytes)


def codec_named(name: str) -> Codec:
    """Return the codec that wrote a member, by the name kept with it.

    Raises
    ------
    FormatError
        If no codec of this version has the name.
    """
    try:
        make = _CODECS[name]
    except KeyError:
        raise FormatError(
            f"codec {name!r} is unknown to this version of simarchive "
            f"(it knows {', '.join(sorted(_CODECS))}): upgrade simarchive"
        ) from None
    return make()


def choose_codec(choice: str, sample: Sample) -> Codec:
    """Return the codec to write a member with: what makes its sample smallest.

    Raises
    ------
    InvalidDataError
        If `choice` is none of `CODEC_CHOICES`.
    """
    if choice not in CODEC_CHOICES:
        raise InvalidDataError(f"codec {choice!r} is unknown: choose one of {', '.join(CODEC_CHOICES)}")
    if choice == "raw" or not sample.size:
        return Raw()
    if choice == "trajectory":
        default = choose_codec("deflate", sample)
        return _trajectory_codec(sample, default) or default
    codecs = (codec_named(choice), codec_named(f"{choice}-text"))
    # The shuffled variant is taken if both do as well.
    return min(codecs, key=lambda codec: _encoded_size(codec, sample.pieces()))


def _trajectory_codec(sample: Sample, default: Codec) -> Codec | None:
    """Return a codec for the frames of a trajectory, or None if `default` does as well."""
    layout = find_layout(sample.head)
    if layout is None or sample.size < 2 * WORD * layout.frame_words:
        return None
    codec = Trajectory(layout)
    piece = [sample.middle(codec.chunk_bytes)]
    return codec if _encoded_size(codec, piece) < _encoded_size(default, piece) else None


def _encoded_size(codec: Codec, pieces: list[bytes]) -> int:
    total = 0
    for piece in pieces:
        padded = piece + bytes(-len(piece) % codec.element_size)
        total += len(codec.encode(memoryview(padded)).stored)
    return total

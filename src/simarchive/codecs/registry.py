"""The codecs by name, and the choice of one for a member."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from simarchive.codecs.codec import Codec
from simarchive.codecs.deflate import PlainDeflate, ShuffledDeflate
from simarchive.codecs.planes import WORD
from simarchive.codecs.raw import Raw
from simarchive.codecs.trajectory import Trajectory
from simarchive.codecs.trajectory_files.repetition import find_repetition
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

# What a person can ask for: "trajectory" means deflate or zstd for files that are not trajectories.
CODEC_CHOICES = ("deflate", "zstd", "trajectory", "raw")

_PIECE_BYTES = 1 << 16
_LARGE_PIECE_BYTES = 1 << 20
_TEXT_BYTES = bytes([*b"\t\n\r\f\v\b\x1b", *range(0x20, 0x7F)])
_CHARACTERS_TO_ONE_OTHER = 500


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


def codec_to_go_on_with(name: str, head: bytes) -> Codec:
    """Return the codec that wrote a member, for more chunks of it.

    Parameters
    ----------
    head
        The first bytes of the member.

    Raises
    ------
    InvalidDataError
        If it needs a package that is not installed.
    FormatError
        If no codec of this version has the name, or it finds no trajectory in these bytes.
    """
    if name != Trajectory.name:
        return codec_named(name)
    repetition = find_repetition(head)
    if repetition is None:
        raise FormatError("a member was written as a trajectory, and does not begin like one")
    return Trajectory(repetition)


def check_codec(choice: str) -> None:
    """Check that members can be written with a choice of codec, before the first one is.

    Raises
    ------
    InvalidDataError
        If it is none of `CODEC_CHOICES`, or needs a package that is not installed.
    """
    if choice not in CODEC_CHOICES:
        raise InvalidDataError(f"codec {choice!r} is unknown: choose one of {', '.join(CODEC_CHOICES)}")
    if choice != "trajectory":
        codec_named(choice)


def choose_codec(choice: str, sample: Sample) -> Codec:
    """Return the codec to write a member with: what makes its sample smallest.

    Raises
    ------
    InvalidDataError
        If `choice` is none of `CODEC_CHOICES`, or needs a package that is not installed.
    """
    check_codec(choice)
    if choice == "raw" or not sample.size:
        return Raw()
    if choice == "trajectory":
        return _smallest_codec(sample)
    plain, shuffled = codec_named(f"{choice}-text"), codec_named(choice)
    assert isinstance(plain, PlainDeflate | PlainZstd)
    if choice == "deflate" and is_text(sample.head):
        return plain  # No text was found that the shuffle makes smaller.
    # What repeats in mdcrd and GSD does so far away, from one frame to the next.
    has_known_frames = find_repetition(sample.head) is not None
    pieces = sample.pieces() if has_known_frames else [sample.middle(_LARGE_PIECE_BYTES)]
    # The shuffled variant is taken if both do as well.
    rough_size = sum(plain.rough_size(memoryview(piece)) for piece in pieces)
    return plain if rough_size < _encoded_size(shuffled, pieces) else shuffled


def fits_choice(name: str, choice: str) -> bool:
    """Return whether a codec is one that `choose_codec` may return for a choice, whatever the bytes are.

    So nothing has to be looked at of a member that has it; a trajectory may do better in any other.
    """
    return name == choice or (choice in ("deflate", "zstd") and name == f"{choice}-text")


def is_text(head: bytes) -> bool:
    """Return whether a file that starts so is text: ASCII, and another character here and there."""
    return len(head.translate(None, _TEXT_BYTES)) <= len(head) // _CHARACTERS_TO_ONE_OTHER


def _smallest_codec(sample: Sample) -> Codec:
    """Return the codec that makes a sample smallest: one for the frames of a trajectory, zstd, or deflate."""
    codecs = [choose_codec("deflate", sample)]
    with contextlib.suppress(InvalidDataError):  # the package for zstd is not installed
        codecs.append(choose_codec("zstd", sample))
    layout = find_repetition(sample.head)
    if layout is not None and sample.size >= 2 * WORD * layout.frame_words:
        codecs.append(Trajectory(layout))
    if len(codecs) == 1:
        return codecs[0]
    pieces = [sample.middle(max(codec.chunk_bytes for codec in codecs))]
    return min(codecs, key=lambda codec: _encoded_size(codec, pieces))


def _encoded_size(codec: Codec, pieces: list[bytes]) -> int:
    total = 0
    for piece in pieces:
        padded = piece + bytes(-len(piece) % codec.element_size)
        total += len(codec.encode(memoryview(padded)).stored)
    return total

"""The codecs by name, and the choice of one for a member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simarchive.codecs.codec import Codec
from simarchive.codecs.deflate import PlainDeflate, ShuffledDeflate
from simarchive.codecs.raw import Raw
from simarchive.errors import FormatError, InvalidDataError

DEFAULT_CODEC = "deflate"

# Permanent names: each is written into containers.
_CODECS: dict[str, Callable[[], Codec]] = {
    "deflate": ShuffledDeflate,
    "deflate-text": PlainDeflate,
    "raw": Raw,
}

# What a person can ask for: the variant with the shuffle, and the one without.
_VARIANTS: dict[str, tuple[str, str]] = {
    "deflate": ("deflate", "deflate-text"),
    "raw": ("raw", "raw"),
}
CODEC_CHOICES = tuple(_VARIANTS)


@dataclass(frozen=True)
class Sample:
    """Pieces of a member, from which its codec is chosen.

    Attributes
    ----------
    head
        The first bytes.
    others
        Pieces from further on, as many as were easy to get; each starts at a multiple of 4 bytes.
    size
        The size of the member in bytes.
    """

    head: bytes
    others: tuple[bytes, ...]
    size: int


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
    """Return the codec to write a member with: the variant of `choice` that makes its sample smallest.

    Raises
    ------
    InvalidDataError
        If `choice` is none of `CODEC_CHOICES`.
    """
    if choice not in _VARIANTS:
        raise InvalidDataError(f"codec {choice!r} is unknown: choose one of {', '.join(CODEC_CHOICES)}")
    shuffled, plain = _VARIANTS[choice]
    if not sample.size:
        return codec_named("raw")
    if shuffled == plain:
        return codec_named(plain)
    codecs = (codec_named(shuffled), codec_named(plain))
    return min(codecs, key=lambda codec: _encoded_size(codec, sample))


def _encoded_size(codec: Codec, sample: Sample) -> int:
    """Return the stored size of the sample; `min` takes the shuffled variant if both are equal."""
    total = 0
    for piece in (sample.head, *sample.others):
        padded = piece + bytes(-len(piece) % codec.element_size)
        total += len(codec.encode(memoryview(padded)).stored)
    return total

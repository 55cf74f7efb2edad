"""The codecs: how the chunks of members are stored, one file per codec.

A codec's name is kept with each member for good: it is never given to another format. To add one, write a
file with a class as in :mod:`simarchive.codecs.codec` and name it in :mod:`simarchive.codecs.registry`.
"""

from simarchive.codecs.codec import CHUNK_BYTES, Buffer, Codec, EncodedChunk
from simarchive.codecs.registry import (
    CODEC_CHOICES,
    DEFAULT_CODEC,
    Sample,
    check_codec,
    choose_codec,
    codec_named,
    codec_to_go_on_with,
    fits_choice,
)

__all__ = [
    "CHUNK_BYTES",
    "CODEC_CHOICES",
    "DEFAULT_CODEC",
    "Buffer",
    "Codec",
    "EncodedChunk",
    "Sample",
    "check_codec",
    "choose_codec",
    "codec_named",
    "codec_to_go_on_with",
    "fits_choice",
]

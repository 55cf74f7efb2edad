"""Arrays of texts in compact numpy form, in which a text is found through a 64-bit word.

Texts of 32 lower-case hexadecimal digits (keys, digests) take 16 bytes; then the word is the first half. Any
other text is kept as UTF-8 beside a word from BLAKE2b. A word only proposes: the text decides, so that
collisions are harmless.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import cast

import numpy as np

from simarchive.container.index.attributes import Array, Attributes
from simarchive.container.layout import INDEX_LENGTHS_SUFFIX, INDEX_TEXTS_SUFFIX
from simarchive.ground.keys import are_hexadecimal

_is_hex = re.compile("[0-9a-f]{32}").fullmatch
_HEX_ZERO = "0" * 32
_MOST_LENGTH_BYTES = 4  # of the number that says how long a text is
WORD = np.dtype("<u8")


def word_of(text: str) -> int:
    """Return the 64-bit word under which a text is found; the same in every process."""
    if _is_hex(text):
        return int(text[:16], 16)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def fingerprint_of(text: str) -> int:
    """Return 64 bits by which a text is told from most others, also from those that begin alike."""
    if _is_hex(text):
        return int(text[:16], 16) ^ int(text[16:], 16)
    return word_of(text)


class TextArray:
    """Texts, none missing: `words` and either `lows` (all are hexadecimal) or `data` with `offsets`."""

    __slots__ = ("data", "lows", "offsets", "words")

    def __init__(self, words: Array, lows: Array | None, data: bytes, offsets: Array | None) -> None:
        self.words = words
        self.lows = lows
        self.data = data
        self.offsets = offsets

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextArray:
        """Return the texts in the form that takes the least room."""
        if texts and are_hexadecimal(texts):
            joined = "".join(texts)
            halves = np.frombuffer(bytes.fromhex(joined), ">u8").reshape(-1, 2).astype(WORD)
            return cls(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]), b"", None)
        return cls._plain(
            [text.encode() for text in texts], np.array([word_of(text) for text in texts], WORD)
        )

    @classmethod
    def of_optional(cls, texts: Sequence[str | None]) -> TextArray:
        """Return the texts, with a stand-in where one is missing."""
        present = [text for text in texts if text is not None]
        hexadecimal = len(present) < len(texts) and are_hexadecimal(present)
        stand_in = _HEX_ZERO if hexadecimal or not present else ""
        return cls.of([stand_in if text is None else text for text in texts])

    @classmethod
    def _plain(cls, encoded: Sequence[bytes], words: Array) -> TextArray:
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        return cls(words, None, b"".join(encoded), offsets)

    @property
    def is_hexadecimal(self) -> bool:
        """Whether all texts are 32 hexadecimal digits, whatever stands in the file."""
        return self.lows is not None

    def __len__(self) -> int:
        return int(self.words.size)

    def _encoded(self, rows: Array) -> list[bytes]:
        if self.lows is not None:
            return [text.encode() for text in self.texts(rows)]
        data, offsets = self.data, cast(Array, self.offsets)
        starts, ends = offsets[rows].tolist(), offsets[rows + 1].tolist()
        return [data[start:end] for start, end in zip(starts, ends, strict=True)]

    def that_look_like(self, form: bytes) -> Array:
        """Return the rows whose texts in UTF-8 are as long as `form`, and equal to it but for its zeros."""
        lengths = np.full(len(self), len(_HEX_ZERO)) if self.offsets is None else np.diff(self.offsets)
        rows = np.flatnonzero(lengths == len(form))
        expected = np.frombuffer(form, np.uint8)
        places = np.flatnonzero(expected)
        found = np.frombuffer(b"".join(self._encoded(rows)), np.uint8).reshape(rows.size, expected.size)
        alike: Array = rows[(found[:, places] == expected[places]).all(axis=1)]
        return alike

    def text(self, row: int) -> str:
        """Return one text."""
        return self.texts(np.array([row]))[0]

    def texts(self, rows: Array) -> list[str]:
        """Return the texts of `rows`, in that order."""
        if self.lows is None:
            return [text.decode() for text in self._encoded(rows)]
        halves = np.empty((rows.size, 2), ">u8")
        halves[:, 0] = self.words[rows]
        halves[:, 1] = self.lows[rows]
        digits = halves.tobytes().hex()
        return [digits[start : start + 32] for start in range(0, len(digits), 32)]

    def find(self, text: str, word: int) -> Array:
        """Return the rows that hold `text`, whose word is `word`."""
        rows: Array = (self.words == WORD.type(word)).nonzero()[0]
        if not rows.size:
            return rows
        if self.lows is not None:
            return rows[self.lows[rows] == WORD.type(int(text[16:], 16))] if _is_hex(text) else rows[:0]
        return rows[[found == text for found in self.texts(rows)]]

    def words_fit(self) -> bool:
        """Return whether each text is found through the word that stands for it."""
        if self.lows is not None:
            return True
        texts = self.texts(np.arange(len(self)))
        return [int(word) for word in self.words] == [word_of(text) for text in texts]

    def fingerprints(self) -> Array:
        """Return `fingerprint_of` each text."""
        if self.lows is not None:
            return cast(Array, self.words ^ self.lows)
        fingerprints = self.words.copy()
        rows = np.flatnonzero(np.diff(cast(Array, self.offsets)) == len(_HEX_ZERO))
        fingerprints[rows] = [fingerprint_of(text) for text in self.texts(rows)]
        return fingerprints

    def take(self, rows: Array) -> TextArray:
        """Return the texts of `rows` as a new array."""
        if self.lows is not None:
            return TextArray(self.words[rows], self.lows[rows], b"", None)
        return self._plain(self._encoded(rows), self.words[rows])

    @classmethod
    def join(cls, arrays: Sequence[TextArray]) -> TextArray:
        """Return all texts of several arrays as one."""
        if len(arrays) == 1:
            return arrays[0]
        words = np.concatenate([array.words for array in arrays])
        lows = [array.lows for array in arrays if array.lows is not None]
        if len(lows) == len(arrays):
            return cls(words, np.concatenate(lows), b"", None)
        encoded = [text for array in arrays for text in array._encoded(np.arange(len(array)))]
        return cls._plain(encoded, words)

    def write(self, attributes: Attributes, name: str) -> None:
        """Write the texts to new attributes."""
        if self.lows is not None:
            attributes.create(name, np.concatenate([self.words, self.lows]))
            return
        lengths = np.diff(cast(Array, self.offsets))
        attributes.create(name, self.words)
        attributes.create(name + INDEX_LENGTHS_SUFFIX, lengths.astype(np.min_scalar_type(int(lengths.max()))))
        if self.data:
            attributes.create(name + INDEX_TEXTS_SUFFIX, np.frombuffer(self.data, np.uint8))

    @classmethod
    def read(cls, attributes: Attributes, name: str, size: int) -> TextArray:
        """Return the `size` texts that `write` wrote.

        Raises
        ------
        CorruptError
            If an attribute is missing or has another size.
        """
        words = attributes.read_sealed(name)
        if words.dtype != WORD or words.size not in (size, 2 * size):
            raise attributes.corrupt(f"attribute {name!r} does not hold {size} texts")
        if words.size == 2 * size:
            return cls(words[:size], words[size:], b"", None)
        lengths = attributes.read_sealed(name + INDEX_LENGTHS_SUFFIX, size)
        # No text is as long as a number of 64 bits, and none of fewer can wrap around in a sum.
        if lengths.dtype.kind != "u" or lengths.itemsize > _MOST_LENGTH_BYTES:
            raise attributes.corrupt(f"attribute {name + INDEX_LENGTHS_SUFFIX!r} does not hold lengths")
        offsets = np.zeros(size + 1, np.int64)
        np.cumsum(lengths, dtype=np.int64, out=offsets[1:])
        total = int(offsets[-1])
        attributes.check_room("bytes of text", total, 1)
        data = attributes.read_sealed(name + INDEX_TEXTS_SUFFIX, total).tobytes() if total else b""
        if not _are_texts(data, offsets):
            raise attributes.corrupt(f"attribute {name + INDEX_TEXTS_SUFFIX!r} does not hold {size} texts")
        return cls(words, None, data, offsets)


def _are_texts(data: bytes, offsets: Array) -> bool:
    """Return whether `data` is UTF-8 that no offset cuts within a character."""
    if len(data) != offsets[-1]:
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    starts = np.frombuffer(data, np.uint8)[offsets[:-1][np.diff(offsets) > 0]]
    return not bool(np.any((starts & 0xC0) == 0x80))

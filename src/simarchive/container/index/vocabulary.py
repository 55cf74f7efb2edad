"""The distinct texts of a category column; a row holds only the code of its text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simarchive.container.index.attributes import Array, Attributes
from simarchive.container.index.texts import TextArray, word_of
from simarchive.container.layout import INDEX_PIECE_TEXTS, index_vocabulary_group


class Vocabulary:
    """The texts of one column, in the order of their codes.

    They lie in pieces; new texts form a new piece, into which smaller ones before it are merged, so
    that there are few pieces and no code ever changes. Texts that are not written yet (only rows of the
    tail have them) hold the codes after those that are.
    """

    def __init__(self, attributes: Attributes, pieces: list[tuple[int, int]]) -> None:
        self._attributes = attributes
        self.pieces = pieces
        self.stored = sum(size for _, size in pieces)
        self._texts: TextArray | None = None
        self._pending: list[str] = []
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return self.stored + len(self._pending)

    def _read(self, piece: int, size: int) -> TextArray:
        group = self._attributes.child(index_vocabulary_group(piece))
        return TextArray.read(group, INDEX_PIECE_TEXTS, size)

    def _stored_texts(self) -> TextArray:
        if self._texts is None:
            parts = [self._read(piece, size) for piece, size in self.pieces]
            self._texts = TextArray.join(parts) if parts else TextArray.of([])
        return self._texts

    def code(self, text: str) -> int | None:
        """Return the code of a text; ``None`` if no row has it."""
        code = self._codes.get(text)
        if code is None and self.stored:
            found = self._stored_texts().find(text, word_of(text))
            if found.size:
                code = self._codes[text] = int(found[0])
        return code

    def code_or_new(self, text: str) -> int:
        """Return the code of a text, which becomes part of the vocabulary if it is not yet."""
        code = self.code(text)
        if code is None:
            code = self._codes[text] = len(self)
            self._pending.append(text)
        return code

    def text(self, code: int) -> str:
        """Return the text of one code."""
        return self.texts([code])[0]

    def texts(self, codes: Iterable[int]) -> list[str]:
        """Return the texts of codes."""
        wanted = np.fromiter(codes, np.int64)
        stored = wanted < self.stored
        if stored.all():
            return self._stored_texts().texts(wanted)
        known = iter(self._stored_texts().texts(wanted[stored]) if stored.any() else [])
        return [
            next(known) if code < self.stored else self._pending[code - self.stored]
            for code in wanted.tolist()
        ]

    def that_look_like(self, form: bytes) -> list[tuple[int, str]]:
        """Return code and text of those that are as long as `form`, and equal to it but for its zeros."""
        texts = self._stored_texts()
        stored = texts.that_look_like(form)
        pending = TextArray.of(self._pending).that_look_like(form) if self._pending else stored[:0]
        return [
            *zip(stored.tolist(), texts.texts(stored), strict=True),
            *((self.stored + place, self._pending[place]) for place in pending.tolist()),
        ]

    def forget_pending(self) -> None:
        """Drop the texts that are not written; rows of the tail must be encoded again."""
        for text in self._pending:
            del self._codes[text]
        self._pending.clear()

    def write_pending(self, piece: int) -> bool:
        """Write the new texts as the piece with this number; return False if there is none."""
        if not self._pending:
            return False
        texts = TextArray.join(
            [self._stored_texts(), TextArray.of(self._pending)]
            if self.stored
            else [TextArray.of(self._pending)]
        )
        size = len(self._pending)
        while self.pieces and self.pieces[-1][1] <= 2 * size:
            old, old_size = self.pieces.pop()
            self._attributes.delete_child(index_vocabulary_group(old))
            size += old_size
        group = self._attributes.create_child(index_vocabulary_group(piece), dense=False)
        texts.take(np.arange(len(texts) - size, len(texts))).write(group, INDEX_PIECE_TEXTS)
        group.seal()
        self.pieces.append((piece, size))
        self._texts = texts
        self.stored = len(texts)
        self._pending.clear()
        return True

    def is_sound(self) -> bool:
        """Return whether every text that is written is there once, and found through its word."""
        texts = self._stored_texts()
        distinct = set(texts.texts(np.arange(len(texts))))
        return len(distinct) == len(texts) == self.stored and texts.words_fit()

    def clear(self) -> None:
        """Remove every text from the file and from memory."""
        for piece, _ in self.pieces:
            self._attributes.delete_child(index_vocabulary_group(piece))
        self.pieces.clear()
        self.stored = 0
        self._texts = None
        self._pending.clear()
        self._codes.clear()

    def decoded(self, codes: Array) -> list[str | None]:
        """Return the text of each code, ``None`` for -1."""
        # `numpy.unique` loads `numpy.ma`, which takes longer than most queries.
        wanted: list[int] = codes.tolist()
        distinct = sorted(code for code in set(wanted) if code >= 0)
        found = dict(zip(distinct, self.texts(distinct), strict=True))
        return [found.get(code) for code in wanted]

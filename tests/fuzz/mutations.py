"""Random changes of bytes: flips, copies, splices, cuts, numbers at their limits, and words of a language."""

from __future__ import annotations

import random
from collections.abc import Sequence

LIMITS = [bytes([value]) * width for value in (0x00, 0xFF, 0x7F, 0x80, 0x01) for width in (1, 2, 4, 8)] + [
    number.to_bytes(8, "little") for number in (1 << 31, 1 << 32, 1 << 40, 1 << 62, 64 << 40)
]


def mutate(
    rng: random.Random, data: bytes, others: Sequence[bytes] = (), words: Sequence[bytes] = (), n: int = 0
) -> bytes:
    """Return `data` after `n` random changes, or one to eight."""
    changed = bytearray(data)
    for _ in range(n or rng.choice((1, 1, 1, 2, 3, 5, 8))):
        _CHANGES[rng.randrange(len(_CHANGES))](rng, changed, others, words)
    return bytes(changed)


def _at(rng: random.Random, data: bytearray) -> int:
    # Half of the changes meet what is there: files are mostly zeros and padding.
    for _ in range(rng.choice((1, 8))):
        place = rng.randrange(len(data) + 1)
        if place < len(data) and data[place]:
            break
    return place


def _length(rng: random.Random, data: bytearray) -> int:
    return rng.randint(1, max(1, min(len(data), rng.choice((1, 8, 64, 4096)))))


def _flip(rng: random.Random, data: bytearray, *_: object) -> None:
    place = _at(rng, data)
    if place < len(data):
        data[place] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, data: bytearray, *_: object) -> None:
    place = _at(rng, data)
    data[place : place + 1] = bytes([rng.randrange(256)])


def _limit(rng: random.Random, data: bytearray, *_: object) -> None:
    place, number = _at(rng, data), rng.choice(LIMITS)
    data[place : place + len(number)] = number


def _move(rng: random.Random, data: bytearray, *_: object) -> None:
    length, source, target = _length(rng, data), _at(rng, data), _at(rng, data)
    piece = data[source : source + length]
    data[target : target + len(piece)] = piece


def _repeat(rng: random.Random, data: bytearray, *_: object) -> None:
    length, place = _length(rng, data), _at(rng, data)
    data[place:place] = data[place : place + length] * rng.choice((1, 1, 2, 50))


def _remove(rng: random.Random, data: bytearray, *_: object) -> None:
    place = _at(rng, data)
    del data[place : place + _length(rng, data)]


def _cut(rng: random.Random, data: bytearray, *_: object) -> None:
    if rng.random() < 0.2:
        del data[rng.randrange(len(data) + 1) :]


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes], _words: object) -> None:
    if others:
        other = bytearray(rng.choice(others))
        place = _at(rng, other)
        piece = other[place : place + _length(rng, other)]
        target = rng.choice((place, _at(rng, data)))
        data[target : target + len(piece)] = piece


def _word(rng: random.Random, data: bytearray, _others: object, words: Sequence[bytes]) -> None:
    if words:
        place = rng.randrange(len(data) + 1)
        data[place : place + rng.choice((0, 0, 1, 4))] = rng.choice(words)


_CHANGES = (_flip, _byte, _limit, _move, _repeat, _remove, _cut, _splice, _word, _word)

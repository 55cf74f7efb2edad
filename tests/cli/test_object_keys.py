"""Keys as people type them."""

import pytest

from simarchive.cli.object_keys import resolve, resolve_all, short_length
from simarchive.errors import InvalidDataError, NotFoundError


class Keys(list):  # type: ignore[type-arg]
    def keys(self) -> list[str]:
        return list(self)


KEYS = Keys(["abc", "abcd", "abcdef", "x1", "x2", "öl"])


@pytest.mark.parametrize(
    ("text", "key"), [("abcde", "abcdef"), ("x1", "x1"), ("ö", "öl"), ("abc", "abc"), ("abcd", "abcd")]
)
def test_a_whole_key_or_a_unique_start_is_enough(text: str, key: str) -> None:
    assert resolve(KEYS, text) == key


def test_a_start_of_several_keys_names_them() -> None:
    with pytest.raises(InvalidDataError, match="2 keys start with 'x': x1, x2: type more"):
        resolve(KEYS, "x")


@pytest.mark.parametrize("text", ["", "y", "abcdefg", "X1", "*", "../x1"])
def test_a_start_of_no_key_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError, match="no object has a key"):
        resolve(KEYS, text)


def test_two_names_of_one_key_are_one() -> None:
    assert resolve_all(KEYS, ["abcdef", "x1", "abcde"]) == ["abcdef", "x1"]


@pytest.mark.parametrize(
    ("keys", "length"),
    [([], 8), (["a" * 32], 8), (["0123456789ab", "0123456789cd"], 11), (["12345678", "123456789"], 9)],
)
def test_short_keys_tell_all_apart(keys: list[str], length: int) -> None:
    assert short_length(keys) == length
    assert len({key[:length] for key in keys}) == len(keys)

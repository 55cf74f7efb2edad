"""Keys of objects, names of members, and the digest that says two documents are the same."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence

from simarchive.errors import InvalidDataError

MAX_KEY_BYTES = 200
MAX_COMPONENT_BYTES = 255

# All keys that look like ours. Others are looked at character by character.
_USUAL_KEY = re.compile(rf"[0-9A-Za-z_][0-9A-Za-z_.-]{{0,{MAX_KEY_BYTES - 1}}}")
_NOT_IN_KEYS = frozenset("/\\'\"")
_DIGITS = b"0123456789abcdef"
_N_DIGITS = 32


def new_key() -> str:
    """Return a new random key: 32 lower-case hexadecimal digits (UUID version 4)."""
    return uuid.uuid4().hex


def free_key(wanted: str | None, is_taken: Callable[[str], bool]) -> str:
    """Return the key that is wanted, or a random one if it is taken or none is wanted."""
    if wanted is not None and not is_taken(wanted):
        return wanted
    while True:
        key = new_key()
        if not is_taken(key):
            return key


def check_key(key: object) -> str:
    """Return `key` if it can be the key of an object.

    A key names one group and one scratch directory, so it is a single path component; and it is passed from
    one program to the next by shells and ``xargs``, so it is never an option, and one word.

    Raises
    ------
    InvalidDataError
        If the key is not a string, is empty or too long, starts with a dot or a hyphen, or holds a slash, a
        backslash, a quote, a space or a character that cannot be printed.
    """
    if not isinstance(key, str):
        raise InvalidDataError(f"a key must be a string, not {type(key).__name__}")
    if not key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise InvalidDataError(f"key {key[:40]!r} must have 1 to {MAX_KEY_BYTES} bytes")
    if _USUAL_KEY.fullmatch(key):
        return key
    if key[0] in ".-" or not key.isprintable() or " " in key or not _NOT_IN_KEYS.isdisjoint(key):
        raise InvalidDataError(
            f"key {key!r} must not start with '.' or '-', nor hold '/', '\\', quotes, spaces or unprintable"
            " characters"
        )
    return key


def is_key(text: str) -> bool:
    """Return whether a text that was read somewhere can be the key of an object: see `check_key`."""
    if _USUAL_KEY.fullmatch(text):
        return True
    try:
        check_key(text)
    except InvalidDataError:
        return False
    return True


def are_keys(texts: Sequence[str]) -> bool:
    """Return whether all texts can be keys of objects: `is_key`, faster where all are like ours."""
    return are_hexadecimal(texts) or all(map(is_key, texts))


def are_hexadecimal(texts: Sequence[str]) -> bool:
    """Return whether all texts are 32 lower-case hexadecimal digits, as `new_key` gives."""
    joined = "".join(texts)
    return (
        len(joined) == _N_DIGITS * len(texts)
        and joined.isascii()
        and not joined.encode().translate(None, _DIGITS)
        and set(map(len, texts)) <= {_N_DIGITS}
    )


def check_member_name(name: object) -> str:
    """Return `name` if it can be the name of a member: a relative POSIX path below one directory.

    Raises
    ------
    InvalidDataError
        If the name is absolute, empty, holds ``.``, ``..`` or empty components, a NUL or a
        component longer than 255 bytes.
    """
    if not isinstance(name, str):
        raise InvalidDataError(f"a member name must be a string, not {type(name).__name__}")
    components = name.split("/")
    if "\0" in name or any(component in ("", ".", "..") for component in components):
        raise InvalidDataError(
            f"member name {name!r} must be a relative path without '.', '..' or empty components"
        )
    try:
        longest = max(len(component.encode()) for component in components)
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"member name {name!r} is not valid Unicode: rename the file") from error
    if longest > MAX_COMPONENT_BYTES:
        raise InvalidDataError(f"member name {name[:60]!r}... has a component longer than 255 bytes")
    return name

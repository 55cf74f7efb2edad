"""Members by address: ``container.h5::key/name``, with a start of the key that no other one shares.

An address is text, so it survives pickling and goes to another process, which opens the container itself.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

from simarchive.container.container import Container
from simarchive.container.open_members.chunks import MemberChunks
from simarchive.errors import InvalidDataError
from simarchive.remote.address import is_url
from simarchive.storage.finding import key_prefixes

SEPARATOR = "::"

# Longer than any path that a system opens: what is longer is content, such as that of a PDB file.
_MOST_CHARACTERS = 4096 + 512

_containers: weakref.WeakValueDictionary[tuple[int, str], Container] = weakref.WeakValueDictionary()
_lock = threading.Lock()


@dataclass(frozen=True)
class Address:
    """Where a member is: the path of its container, absolute; the key, whole; and the name of the member."""

    path: str
    key: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}{SEPARATOR}{self.key}/{self.name}"

    @property
    def extension(self) -> str:
        """The extension of the member's name, in lower case, with its dot."""
        return os.path.splitext(self.name)[1].lower()  # noqa: PTH122

    def chunks(self) -> MemberChunks:
        """Return the stored chunks of the member.

        Raises
        ------
        NotFoundError
            If there is no such container, object or member.
        """
        return MemberChunks(_Opened(self.path), self.key, self.name)


def is_address(thing: object) -> bool:
    """Return whether something has the form of an address, and is not the name of a file."""
    text = _text_of(thing)
    return text is not None and bool(_splits(text)) and not os.path.lexists(text)


def find(thing: object) -> Address:
    """Return the address that a text stands for.

    Raises
    ------
    NotFoundError
        If there is no such container or object.
    InvalidDataError
        If it is no address, or several keys start with what stands for the key.
    """
    text = _text_of(thing)
    places = _splits(text) if text is not None else []
    if text is None or not places:
        raise InvalidDataError(f"{thing!r} is no address of a file: write CONTAINER::KEY/NAME")
    # A path may have the separator in it, too: the first part that is a file is the container.
    path, _, rest = next((place for place in places if Path(place[0]).is_file()), places[-1])
    key, _, name = rest.partition("/")
    absolute = path if is_url(path) else os.path.abspath(path)  # noqa: PTH100
    return Address(absolute, _whole_key(absolute, key), name)


def container_at(path: str) -> Container:
    """Return the container at a path, opened for reading; a process opens each once, a fork again.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    with _lock:
        found = _containers.get((os.getpid(), path))
        if found is None or found.closed:
            found = _containers[os.getpid(), path] = Container(path, writable=False)
        return found


def lend(container: Container) -> None:
    """Let addresses in this container be read by means of it, as long as it is open."""
    with _lock:
        _containers[os.getpid(), str(container.path)] = container


class _Opened:
    """Gives the container at a path: that of before, unless it was closed or is of a parent."""

    def __init__(self, path: str) -> None:
        self._path, self._pid = path, os.getpid()
        self._container = container_at(path)

    def __call__(self) -> Container:
        if self._container.closed or self._pid != os.getpid():
            self._container, self._pid = container_at(self._path), os.getpid()
        return self._container


def _text_of(thing: object) -> str | None:
    if isinstance(thing, (str, os.PathLike)):
        text = os.fspath(thing)
        if isinstance(text, str) and len(text) <= _MOST_CHARACTERS and "\n" not in text and "\0" not in text:
            return text
    return None


def _splits(text: str) -> list[tuple[str, str, str]]:
    """Return every way to read a text as path, separator, and key with name."""
    found = []
    at = text.find(SEPARATOR)
    while at >= 0:
        path, rest = text[:at], text[at + len(SEPARATOR) :]
        key, slash, name = rest.partition("/")
        if path and key and slash and name:
            found.append((path, SEPARATOR, rest))
        at = text.find(SEPARATOR, at + 1)
    return found


def _whole_key(path: str, text: str) -> str:
    with container_at(path).reading() as contents:
        return key_prefixes.resolve(contents, text)

"""The address of a container that is read over a network."""

from __future__ import annotations

import os
import re
from pathlib import Path, PosixPath
from typing import Any, Self

from simarchive.errors import InvalidDataError

_URL = re.compile(r"(https?|s3a?|gs|azure|az|adl|abfss?)://[^/\s]", re.IGNORECASE)


class Address(PosixPath):
    """The URL of a container: in the place of a path, so that messages and reports name it as it is.

    It names nothing on this machine: whatever looks for a file by it finds none.
    """

    _url: str

    def __new__(cls, url: str) -> Self:
        """Return the address of a URL."""
        made = super().__new__(cls, url)
        made._url = url
        return made

    def __str__(self) -> str:
        return self._url

    def __fspath__(self) -> str:
        """Return the URL."""
        return self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self._url == other._url

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (self._url,)

    def absolute(self) -> Self:
        """Return the address itself."""
        return self


def is_url(place: object) -> bool:
    """Return whether something names a container by a URL that can be read from."""
    text = os.fspath(place) if isinstance(place, os.PathLike) else place
    return isinstance(text, str) and _URL.match(text) is not None


def name_of(place: str | os.PathLike[str] | object) -> Path:
    """Return the path, or the address, of what a container is opened from.

    Raises
    ------
    InvalidDataError
        If it is neither a path, a URL nor a binary file object.
    """
    if isinstance(place, (str, os.PathLike)):
        return path_or_address(place)
    if not (hasattr(place, "read") and hasattr(place, "seek")):
        raise InvalidDataError(f"a container is named by a path or a URL, not by {place!r}")
    for attribute in ("full_name", "path", "name"):
        name = getattr(place, attribute, None)
        if isinstance(name, str) and name:
            return Address(name)
    return Address(f"<{type(place).__name__}>")


def path_or_address(place: str | os.PathLike[str]) -> Path:
    """Return an `Address` for a URL, and a path for all else."""
    if isinstance(place, Address):
        return place
    return Address(os.fspath(place)) if is_url(place) else Path(place)

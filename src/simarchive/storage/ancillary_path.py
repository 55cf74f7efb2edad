"""The path of an object's ancillary data: a directory that comes into being when someone asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class AncillaryPath(os.PathLike[str]):
    """A path-like whose directory is extracted on first use, and only as far as it is used.

    ``open``, ``os.path``, ``pathlib.Path(path)`` and ``str(path)`` extract everything and work on a real
    directory; ``path / "trajectory.dcd"`` extracts that file alone and is a real `pathlib.Path`.

    Parameters
    ----------
    key
        Of the object.
    extract
        Extracts the members whose names it is given, or all for ``None``, and returns the directory.
    """

    __slots__ = ("_extract", "key")

    def __init__(self, key: str, extract: Callable[[str | None], Path]) -> None:
        self.key = key
        self._extract = extract

    def extract(self) -> Path:
        """Extract whatever is not extracted yet; return the directory."""
        return self._extract(None)

    def __fspath__(self) -> str:
        return str(self.extract())

    def __str__(self) -> str:
        return str(self.extract())

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self._extract(os.fspath(name)) / name

    def joinpath(self, *names: str | os.PathLike[str]) -> Path:
        """Return the path of one file, extracted."""
        return self / Path(*names)

    def __repr__(self) -> str:
        return f"<AncillaryPath of object {self.key}>"

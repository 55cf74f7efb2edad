"""The path of an object's ancillary data: a directory that is made when someone asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simarchive.errors import ClosedError, ConflictError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.scratch.scratch import ScratchDirectory


class ReplacedError(ConflictError):
    """An object is not what it was when its path was given out."""


class AncillaryPath(os.PathLike[str]):
    """A path-like whose directory is extracted on first use, and only as far as it is used.

    ``os.path``, ``pathlib.Path(path)`` and ``str(path)`` extract everything and work on a real directory;
    ``path / "trajectory.dcd"`` extracts only that file and is a real `pathlib.Path`. Of the methods of a
    `Path` there are `joinpath`, `iterdir`, `glob`, `rglob`, `exists`, `is_dir`, `is_file` and `name`; for any
    other take ``Path(path)``.

    Parameters
    ----------
    key
        Of the object.
    extract
        Extracts one member, or all for ``None``, and returns the directory in scratch.

    Notes
    -----
    The files are those of the object as it was when this was made, never those of one that replaced it.

    As long as this object lives, its directory is not evicted from a scratch directory of bounded size.
    """

    __slots__ = ("_extract", "_held", "_is_complete", "key")

    def __init__(self, key: str, extract: Callable[[str | None], ScratchDirectory]) -> None:
        self.key = key
        self._extract = extract
        self._held: ScratchDirectory | None = None
        self._is_complete = False

    def extract(self, name: str | None = None) -> Path:
        """Extract one file, or whatever is not extracted yet; return the directory.

        Raises
        ------
        ClosedError
            If the backend is closed, and what is asked for was not extracted before.
        ReplacedError
            If the object was replaced or removed, and what is asked for was not extracted before.
        """
        try:
            self._held = self._extract(name)
        except (ClosedError, ReplacedError):
            held = self._held
            if held is None or not (held.path / name if name else held.path).exists():
                raise
            if not (self._is_complete or name):
                raise
            return held.path
        self._is_complete |= name is None
        return self._held.path

    def __fspath__(self) -> str:
        return str(self.extract())

    def __str__(self) -> str:
        return str(self.extract())

    def __truediv__(self, name: PathLike) -> Path:
        return self.extract(os.fspath(name)) / name

    @property
    def name(self) -> str:
        """The key of the object, after which its directory is named."""
        return self.key

    def exists(self) -> bool:
        """Return True: the directory is there when someone asks for it. Nothing is extracted."""
        return True

    def is_dir(self) -> bool:
        """Return True. Nothing is extracted."""
        return True

    def is_file(self) -> bool:
        """Return False. Nothing is extracted."""
        return False

    def iterdir(self) -> Iterator[Path]:
        """Yield the paths in the directory, after extracting everything."""
        return self.extract().iterdir()

    def glob(self, pattern: str) -> Iterator[Path]:
        """Yield the paths that fit a pattern, as `pathlib.Path.glob`, after extracting everything."""
        return self.extract().glob(pattern)

    def rglob(self, pattern: str) -> Iterator[Path]:
        """Yield the paths below the directory that fit a pattern, after extracting everything."""
        return self.extract().rglob(pattern)

    def joinpath(self, *names: PathLike) -> Path:
        """Return the path of one file, extracted."""
        return self / Path(*names)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(Path, name):
            raise AttributeError(
                f"the path of object {self.key!r} is a directory that is extracted when it is asked for,"
                f" and has no {name}: use Path(path).{name}, or (path / 'name of a file').{name}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<AncillaryPath of object {self.key}>"

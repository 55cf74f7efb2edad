"""Where `EvaluatorStorage` keeps its container, and where it extracts files to."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import uuid
import weakref
from pathlib import Path

from simarchive.errors import InvalidDataError

PathLike = str | os.PathLike[str]

CONTAINER_NAME = "stored_data.h5"


def container_path(path: PathLike | None, *, make: bool) -> Path:
    """Return the absolute path of the container that a path given to `EvaluatorStorage` stands for.

    Parameters
    ----------
    make
        Whether to make a missing directory.

    Raises
    ------
    InvalidDataError
        If it is a directory with an Evaluator store in it, or no path.
    """
    try:
        place = Path(CONTAINER_NAME if path is None else path).absolute()
    except TypeError as error:
        raise InvalidDataError(f"{path!r} is no path: give a str or a Path") from error
    if place.is_dir():
        container = place / CONTAINER_NAME
        if not container.exists() and (place / "object_keys.json").exists():
            raise InvalidDataError(
                f"{str(place)!r} holds the files of a LocalFileStorage: import them with"
                f" 'simarchive import {place} {place.with_suffix('.h5')}' and open that, or open an empty"
                " place and call update() with this directory"
            )
        return container
    if place.suffix or place.exists():
        return place
    if make:
        place.mkdir(parents=True)
    return place / CONTAINER_NAME


class ScratchPlace:
    """A directory for extracted files: a named one, which stays, or one of this process, which vanishes.

    Nothing is made before the first file is extracted.
    """

    def __init__(self, container: Path, named: PathLike | None) -> None:
        if named is not None:
            self.directory = Path(named).absolute()
            self._finalizer = None
            return
        parent = container.parent
        host = socket.gethostname().replace(os.sep, "_")
        stem = f"{container.name}.scratch-{host}-"
        if os.access(parent if parent.exists() else parent.parent, os.W_OK):
            self.directory = parent / f"{stem}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        else:
            self.directory = Path(tempfile.gettempdir()) / f"{stem}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._finalizer = weakref.finalize(self, _remove, self.directory, os.getpid())

    def holds(self, path: Path) -> bool:
        """Return whether a path lies in the directory."""
        return path.absolute().is_relative_to(self.directory)

    def remove(self) -> None:
        """Remove the directory, unless it was named."""
        if self._finalizer is not None:
            self._finalizer()


def _remove(directory: Path, owner: int) -> None:
    # A forked child must not take away what its parent still reads.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)

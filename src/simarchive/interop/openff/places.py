"""Where `EvaluatorStorage` keeps its container, and where it extracts files to."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path

from simarchive.errors import InvalidDataError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.scratch import AncillaryPath

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
        If it is a directory with an Evaluator store in it, or not a path.
    """
    try:
        place = Path(CONTAINER_NAME if path is None else path).absolute()
    except TypeError as error:
        raise InvalidDataError(f"{path!r} is not a path: give a str or a Path") from error
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


class EvaluatorScratch:
    """The directory below which a container extracts files, and those of its directories that were given out.

    Evaluator passes paths on as text, to other processes too. So the files lie where these can read them, and
    are held until the storage is closed. Nothing is made before the first file is extracted.

    Parameters
    ----------
    container
        The container.
    named
        A directory that stays when the storage is closed, and whose files are used again; by default one of
        this process beside the container, or in the temporary directory if that place cannot be written.
    """

    def __init__(self, container: Path, named: PathLike | None) -> None:
        self._held: dict[str, AncillaryPath] = {}
        self._removal = None
        if named is not None:
            self.directory = Path(named).absolute()
            return
        parent = container.parent
        if not os.access(parent, os.W_OK):
            parent = Path(tempfile.gettempdir())
        self.directory = parent / f"{container.name}.scratch-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._removal = weakref.finalize(self, _remove, self.directory, os.getpid())

    def holds(self, path: PathLike) -> bool:
        """Return whether a path lies in the directory."""
        return Path(path).resolve().is_relative_to(self.directory.resolve())

    def extracted(self, files: AncillaryPath) -> str:
        """Return the directory with the files of an object, each as it was stored.

        The directory counts as changed just now: Evaluator takes that for the age of the data where it
        prefers the newest (`ReweightingLayer`), so ask for the oldest first.
        """
        directory = str(files)
        # A path as text does not keep the directory from being evicted; this does.
        self._held[directory] = files
        os.utime(directory)
        return directory

    def remove(self) -> None:
        """Remove the directory, unless it was named."""
        if self._removal is not None:
            self._removal()


def _remove(directory: Path, owner: int) -> None:
    # A forked child must not take away what its parent still reads.
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)

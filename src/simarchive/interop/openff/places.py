"""Where `EvaluatorStorage` keeps its container, and where it extracts files to."""

from __future__ import annotations

import os
import shlex
import tempfile
import uuid
from pathlib import Path

from simarchive.errors import InvalidDataError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.evaluator_directory.registry import EVALUATOR_REGISTRY
from simarchive.storage.scratch import AncillaryPath, TemporaryFolder

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
        If it, or the directory that it is named after, holds an Evaluator store that was not imported; or
        if it is not a path.
    """
    try:
        place = Path(CONTAINER_NAME if path is None else path).absolute()
    except TypeError as error:
        raise InvalidDataError(f"{path!r} is not a path: give a str or a Path") from error
    if place.is_dir():
        container = place / CONTAINER_NAME
        if not container.exists():
            _check_is_no_evaluator_store(place, place.with_suffix(".h5"))
        return container
    if place.suffix or place.exists():
        if not place.exists():
            # `EvaluatorStorage()` where `LocalFileStorage()` kept its objects must not find none in silence.
            _check_is_no_evaluator_store(place.with_suffix(""), place)
        return place
    if make:
        place.mkdir(parents=True)
    return place / CONTAINER_NAME


def _check_is_no_evaluator_store(directory: Path, container: Path) -> None:
    if (directory / EVALUATOR_REGISTRY).exists():
        command = shlex.join(["simarchive", "import", str(directory), str(container)])
        raise InvalidDataError(
            f"{str(directory)!r} holds the files of a LocalFileStorage: import them with '{command}' and open"
            f" {str(container)!r}, or open a container of another name and call update() with this directory"
        )


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
        this process beside the container, or in the temporary directory if that place cannot be written. What
        a killed process left of that kind is removed by the next one that extracts.
    """

    def __init__(self, container: Path, named: PathLike | None) -> None:
        self._held: dict[str, AncillaryPath] = {}
        self._folder: TemporaryFolder | None = None
        self.is_named = named is not None
        if named is not None:
            self.directory = Path(named).absolute()
            return
        parent = container.parent
        if not os.access(parent, os.W_OK):
            parent = Path(tempfile.gettempdir())
        self._prefix = f"{container.name}.scratch-"
        self.directory = parent / f"{self._prefix}{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def holds(self, path: PathLike) -> bool:
        """Return whether a path lies in the directory."""
        return Path(path).resolve().is_relative_to(self.directory.resolve())

    def extracted(self, files: AncillaryPath) -> str:
        """Return the directory with the files of an object, each as it was stored.

        The directory counts as changed just now: Evaluator takes that for the age of the data where it
        prefers the newest (`ReweightingLayer`), so ask for the oldest first.
        """
        if not self.is_named and self._folder is None:
            place = self.directory
            self._folder = TemporaryFolder(place.parent, prefix=self._prefix, name=place.name)
        directory = str(files)
        # A path as text does not keep the directory from being evicted; this does.
        self._held[directory] = files
        os.utime(directory)
        return directory

    def remove(self) -> None:
        """Remove the directory, unless it was named."""
        if self._folder is not None:
            self._folder.remove()

"""Storing many runs: a few in one commit, and one that cannot be stored stops none of the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from simarchive.data import BaseStoredData
from simarchive.errors import (
    CommitInDoubtError,
    InvalidDataError,
    NotFoundError,
    StorageError,
    StorageIOError,
)
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.duplicates import StoreOutcome

if TYPE_CHECKING:
    from simarchive.storage.runs import RunReading


class Target(Protocol):
    """Where runs are stored: any backend."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Make all changes in the block one, or none, if it can."""

    def put(
        self, object_to_store: BaseStoredData, ancillary_data: AncillaryData | None = None
    ) -> StoreOutcome:
        """Store an object and its files."""


MOST_TOGETHER = 64
"""So many runs are one commit at most, which costs more than a small run does."""
LARGEST_TOGETHER_BYTES = 32 << 20
LONGEST_TOGETHER_S = 2.0
"""What is stored for longer is committed, so that little is lost with a process that is killed."""

_ITS_OWN_FAULT = (InvalidDataError, NotFoundError, StorageIOError)


@dataclass
class ReadRun:
    """A directory that is to be stored, and what its files say; or why it cannot be stored."""

    directory: Path
    files: DirectoryFiles | None = None
    reading: RunReading | None = None
    problem: StorageError | None = None
    outcome: StoreOutcome | None = None  #: what was done with it, once it is stored

    @property
    def size(self) -> int:
        """The size of all files in bytes; of files that vanished, which storing will tell, nothing."""
        try:
            return 0 if self.files is None else sum(map(self.files.size, self.files.names))
        except OSError:
            return 0


def read_runs(directories: Iterable[Path], **known: Any) -> Iterator[ReadRun]:
    """Yield what the files of each directory say, with whatever is wrong with one in its place.

    Parameters
    ----------
    known
        As for `StorageBackend.add_run`, for all of them.
    """
    from simarchive.storage.runs import read_run

    for directory in directories:
        try:
            files = DirectoryFiles(directory)
            reading = read_run(directory, files=files.paths, **known)
        except _ITS_OWN_FAULT as error:
            yield ReadRun(directory, problem=error)
        else:
            yield ReadRun(directory, files, reading)


def add_runs(target: Target, runs: Iterable[ReadRun]) -> Iterator[ReadRun]:
    """Store runs, and yield each when it is committed, or with its problem.

    A few small ones become one commit. If the process is killed, those that were yielded are stored, and to
    repeat the call stores the others: a run that is there already is kept.
    """
    waiting: list[ReadRun] = []
    size, started = 0, time.monotonic()
    for run in runs:
        if run.problem is not None:
            yield run
            continue
        if not waiting:
            size, started = 0, time.monotonic()
        waiting.append(run)
        size += run.size
        if (
            len(waiting) >= MOST_TOGETHER
            or size >= LARGEST_TOGETHER_BYTES
            or time.monotonic() - started >= LONGEST_TOGETHER_S
        ):
            yield from _store(target, waiting)
            waiting = []
    yield from _store(target, waiting)


def _store(target: Target, runs: list[ReadRun]) -> list[ReadRun]:
    if len(runs) > 1:
        try:
            with target.transaction():
                outcomes = [_put(target, run) for run in runs]
        except CommitInDoubtError:
            raise
        except _ITS_OWN_FAULT:
            pass  # Which of them it was shows when each is stored by itself.
        else:
            for run, outcome in zip(runs, outcomes, strict=True):
                run.outcome = outcome
            return runs
    for run in runs:
        try:
            run.outcome = _put(target, run)
        except CommitInDoubtError:
            raise
        except _ITS_OWN_FAULT as error:
            run.problem = error
    return runs


def _put(target: Target, run: ReadRun) -> StoreOutcome:
    assert run.reading is not None
    return target.put(run.reading.run, run.files)

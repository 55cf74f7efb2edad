"""Storing many runs: a few in one commit, and one that cannot be stored stops none of the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
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
from simarchive.queries import BaseDataQuery, RunQuery
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.duplicates import Action, StoreOutcome

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

    def keys(self, data_query: BaseDataQuery | None = None) -> list[str]:
        """Return the keys of the objects that match."""

    def file_digests(self, storage_key: str) -> dict[str, str]:
        """Return the digest of each file of an object, by name."""


MOST_TOGETHER = 64
"""So many runs are one commit at most, which costs more than a small run does."""
LARGEST_TOGETHER_BYTES = 32 << 20
LONGEST_TOGETHER_S = 2.0
"""What is stored for longer is committed, so that little is lost with a process that is killed."""

_MOST_COMPARED = 64
"""A run is compared with so many others of its name at most."""

_ITS_OWN_FAULT = (InvalidDataError, NotFoundError, StorageIOError)


@dataclass
class ReadRun:
    """A directory that is to be stored, and what its files say; or why it cannot be stored."""

    directory: Path
    files: DirectoryFiles | None = None
    reading: RunReading | None = None
    problem: StorageError | None = None
    outcome: StoreOutcome | None = None  #: what was done with it, once it is stored
    same_files: list[str] = field(default_factory=list)
    """The keys of runs of its name with the very same files that were there before it was stored."""

    @property
    def size(self) -> int:
        """The size of all files in bytes; of files that vanished, which storing will tell, nothing."""
        try:
            return 0 if self.files is None else sum(map(self.files.size, self.files.names))
        except OSError:
            return 0


def read_runs(directories: Iterable[Path], *, follow_links: bool = False, **known: Any) -> Iterator[ReadRun]:
    """Yield what the files of each directory say, with whatever is wrong with one in its place.

    Parameters
    ----------
    follow_links
        Links to files outside of a directory count as these files.
    known
        As for `StorageBackend.add_run`, for all of them.
    """
    from simarchive.storage.runs import read_run

    for directory in directories:
        try:
            files = DirectoryFiles(directory, follow_links=follow_links)
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
    there_before = set(target.keys(RunQuery()))
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
            yield from _told(target, _store(target, waiting), there_before)
            waiting = []
    yield from _told(target, _store(target, waiting), there_before)


def _told(target: Target, runs: list[ReadRun], there_before: set[str]) -> Iterator[ReadRun]:
    """Yield runs that were stored, those that others are like in all but words with the keys of these."""
    for run in runs:
        if there_before and run.outcome is not None and run.outcome.action is Action.ADD:
            assert run.reading is not None
            of_its_name = target.keys(RunQuery(name=run.reading.run.name, limit=_MOST_COMPARED))
            alike = [key for key in of_its_name if key in there_before]
            if alike:  # To list the files of each run that was stored just now takes as long as to store it.
                digests = target.file_digests(run.outcome.key)
                run.same_files = [key for key in alike if target.file_digests(key) == digests]
        yield run


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

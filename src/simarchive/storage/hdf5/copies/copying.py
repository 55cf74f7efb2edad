"""Objects of one container that are copied into another: which are there already, and what has to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simarchive.container.changing.transfer import Part, parts_of
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.errors import CorruptError, NotFoundError
from simarchive.storage.hdf5 import classes, indexing

if TYPE_CHECKING:
    from simarchive.storage.merging import MergeReport

BATCH_BYTES = 64 << 20
"""So many bytes are committed at a time by default: what an interruption may cost."""

_MOST_OBJECTS = 1000
"""Of one batch."""


def references_if_there(contents: Contents, source: Contents, key: str) -> list[str] | None:
    """Return the keys that an object refers to, if `contents` has it, whole, as `source` has it.

    ``None`` if it has not, or if only a comparison of all values could tell.

    Notes
    -----
    Equal identity digests mean the same class and document, arrays and all. What is here is read, and proved
    by its digests, so that an object that is damaged here is replaced by one that is not.
    """
    if key not in contents:
        return None
    try:
        mine, theirs = contents.header(key), source.header(key)
        if (mine.identity, mine.data_class_version) != (theirs.identity, theirs.data_class_version):
            return None
        if mine.has_ancillary_data != theirs.has_ancillary_data or mine.empty_folders != theirs.empty_folders:
            return None
        if mine.has_ancillary_data:
            digests = contents.digests_of_files(key)
            if not all(digests.values()) or digests != source.digests_of_files(key):
                return None
        # Without a loader: arrays are read now.
        return classes.references(classes.interpret(contents, key, contents.document(key), lazily=True))
    except (CorruptError, NotFoundError, *indexing.NOT_UNDERSTOOD):
        return None


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What `HDF5Storage.pull` would do.

    Attributes
    ----------
    report
        What would be stored and what is there already, as after a merge.
    n_objects
        How many objects would come.
    n_files
        How many files they have.
    n_bytes
        How many bytes their files and arrays take, as they are stored. What is one dataset under several
        names, or here already, counts once or not at all. The documents come beside them.
    """

    report: MergeReport
    n_objects: int
    n_files: int
    n_bytes: int


class Transfer:
    """What has still to be moved from one container into another.

    Parameters
    ----------
    target
        Where it goes; ``None`` for a container that does not exist yet.
    """

    def __init__(self, target: Container | None, source: Container) -> None:
        self._target = target
        self._source = source
        self._moved: set[int] = set()  # addresses of datasets

    def batches(self, keys: Sequence[str], batch_bytes: int) -> Iterator[list[str]]:
        """Yield keys batch by batch; what of a batch has to be moved is expected to be read then.

        Parameters
        ----------
        batch_bytes
            The bytes of one batch, but for what the last of its objects exceeds them by.
        """
        batch: list[str] = []
        expected: list[Part] = []
        n_bytes = 0
        for key in self._in_rounds(keys):
            parts = [] if self._is_there(key) else self._to_move(self._parts(key))
            batch.append(key)
            expected += parts
            n_bytes += sum(part.n_bytes for part in parts)
            if n_bytes >= batch_bytes or len(batch) >= _MOST_OBJECTS:
                self._expect(batch, expected)
                yield batch
                batch, expected, n_bytes = [], [], 0
        if batch:
            self._expect(batch, expected)
            yield batch

    def plan(self, report: MergeReport) -> PullPlan:
        """Return how much there is to move, given what a merge would do."""
        keys = [*report.stored, *report.replaced]
        n_files = n_bytes = 0
        for key in self._in_rounds(keys):
            parts = self._parts(key)
            n_files += sum(part.file is not None for part in parts)
            n_bytes += sum(part.n_bytes for part in self._to_move(parts))
        return PullPlan(report, len(keys), n_files, n_bytes)

    def _parts(self, key: str) -> list[Part]:
        """Return the files and arrays of an object."""
        try:
            with self._source.reading() as contents:
                return list(parts_of(contents, key))
        except (CorruptError, NotFoundError):
            return []  # whoever copies it says so

    def _to_move(self, parts: Iterable[Part]) -> list[Part]:
        """Return those that were not asked for before, and are not in the target."""
        found = {part.address: part for part in parts if part.address not in self._moved}
        self._moved.update(found)
        if self._target is None:
            return list(found.values())
        with self._target.reading() as mine:
            return [
                part for part in found.values() if part.file is None or not mine.shared.is_used(part.file)
            ]

    def _is_there(self, key: str) -> bool:
        """Return whether the target seems to have an object; a merge looks at all of it."""
        if self._target is None:
            return False
        with self._target.reading() as mine, self._source.reading() as theirs:
            try:
                return key in mine and mine.identity(key) == theirs.identity(key)
            except (CorruptError, NotFoundError):
                return False

    def _in_rounds(self, keys: Sequence[str]) -> Iterator[str]:
        """Yield keys; the documents of many at a time are expected to be read if they lie elsewhere."""
        for start in range(0, len(keys), _MOST_OBJECTS):
            some = keys[start : start + _MOST_OBJECTS]
            with self._source.reading() as contents:
                if contents.is_far:
                    contents.expect(some)
            yield from some

    def _expect(self, keys: Sequence[str], parts: Sequence[Part]) -> None:
        with self._source.reading() as contents:
            contents.expect(keys)
            contents.expect_ranges([byte_range for part in parts for byte_range in part.ranges])

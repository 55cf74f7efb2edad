"""Changes to a stored object: its files, its tags, notes. Each is told of in the object's history.

All functions work within a transaction, and leave documents, digests and the index in step with each other.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simarchive.container.changing import history
from simarchive.container.changing.amending import Amendment, NewFile
from simarchive.container.changing.amending import take_history as take_history
from simarchive.container.changing.authors import author
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.documents import identity_digest
from simarchive.container.members.pipeline import Progress
from simarchive.errors import InvalidDataError, NotFoundError, StorageError, StorageIOError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.ancillary import is_executable
from simarchive.storage.hdf5 import classes, indexing
from simarchive.storage.trajectories import opening

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData, SimulationRun

_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Amending:
    """How an object is changed.

    Attributes
    ----------
    codec
        How new files are stored.
    by
        Who does it; by default `author`.
    progress
        Called with the number of bytes that were done since the last call.
    """

    container: Container
    contents: Contents
    key: str
    codec: str
    by: str | None = None
    progress: Progress | None = None

    @contextlib.contextmanager
    def begin(self) -> Iterator[Amendment]:
        """Give an amendment, which is finished after the block."""
        by = author() if self.by is None else _checked_text("the name of who does it", self.by)
        amendment = Amendment(self.contents, self.key, codec=self.codec, by=by, progress=self.progress)
        yield amendment
        amendment.finish()

    # --- files -------------------------------------------------------------------------------------------

    def add_file(self, name: str, source: PathLike) -> None:
        """Add a file to the object."""
        self._check_has_files()
        with self.begin() as amendment:
            amendment.add_file(name, _new_file(source))

    def replace_file(self, name: str, source: PathLike) -> None:
        """Put a file in the place of another one."""
        with self.begin() as amendment:
            amendment.replace_file(name, _new_file(source))

    def rename_file(self, name: str, new_name: str) -> None:
        """Give a file another name, in the fields of the document that name it, too."""
        with self.begin() as amendment:
            amendment.rename_file(name, new_name)
            stored = self._stored()
            if classes.is_undescribed(stored):
                self._check_is_not_mentioned(stored, name)
            elif stored.rename_member(name, new_name):
                self._replace_document(amendment, stored)

    def remove_file(self, name: str) -> None:
        """Remove a file that the document does not name."""
        stored = self._stored()
        if classes.is_undescribed(stored):
            self._check_is_not_mentioned(stored, name)
        elif name in stored.member_names():
            raise InvalidDataError(
                f"the document of object {self.key!r} names the file {name!r}: replace or rename it,"
                " or store the object again without it"
            )
        with self.begin() as amendment:
            amendment.remove_file(name)

    def append_to_file(self, name: str, source: PathLike) -> int:
        """Add what is new at the end of a file; return the number of bytes."""
        from simarchive.data import SimulationRun

        stored = self._stored()
        counted = isinstance(stored, SimulationRun) and name in (stored.trajectory_file_names or ())
        before = self._n_frames(name) if counted else None
        with self.begin() as amendment:
            n_bytes = amendment.append_to_file(name, _new_file(source))
            after = None if before is None or not n_bytes else self._n_frames(name)
            if before is not None and after is not None and after > before:
                assert isinstance(stored, SimulationRun)
                self._count_frames(amendment, stored, after - before)
        return n_bytes

    def _n_frames(self, name: str) -> int | None:
        """Return how many frames a trajectory has; ``None`` if that cannot be told here."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # A frame that is written just now is no fault.
                return opening.n_frames(self.container, self.key, name)
        except StorageError:
            return None

    def _count_frames(self, amendment: Amendment, stored: SimulationRun, n_new: int) -> None:
        """Have a run say how many frames it has now, and how long it is, if it says so at all."""
        if stored.n_frames is None:
            return
        stored.n_frames += n_new
        if stored.length is not None and stored.frame_interval is not None:
            stored.length = stored.length + n_new * stored.frame_interval
        self._replace_document(amendment, stored)

    # --- words -------------------------------------------------------------------------------------------

    def add_note(self, text: str) -> None:
        """Add a note to the history."""
        with self.begin() as amendment:
            amendment.note(history.NOTE, text=_checked_text("a note", text))

    def change_tags(self, added: Sequence[str], removed: Sequence[str]) -> None:
        """Add tags to those of the object, and remove some."""
        stored = self._stored()
        if classes.is_undescribed(stored) or not hasattr(stored, "tags"):
            raise InvalidDataError(
                f"object {self.key!r} is a {type(stored).data_class_name}, which has no tags: add a note"
            )
        tags = list(stored.tags or ())
        missing = [tag for tag in removed if tag not in tags]
        if missing:
            raise NotFoundError(
                f"object {self.key!r} has no tag {missing[0]!r}: it has {', '.join(tags) or 'none'}"
            )
        new = [tag for tag in dict.fromkeys(_checked_text("a tag", tag) for tag in added) if tag not in tags]
        if not new and not removed:
            return
        stored.tags = [*(tag for tag in tags if tag not in removed), *new] or None
        with self.begin() as amendment:
            self._replace_document(amendment, stored)
            if new:
                amendment.note(history.TAGS_ADDED, tags=tuple(new))
            if removed:
                amendment.note(history.TAGS_REMOVED, tags=tuple(removed))

    # --- the parts of the above --------------------------------------------------------------------------

    def _stored(self) -> BaseStoredData:
        """Return the object; its arrays are read when someone looks at them."""
        document = self.contents.document(self.key, self.contents.loader(self.key))
        return classes.copied(self.contents, self.key, document)

    def _check_has_files(self) -> None:
        if not self.contents.has_ancillary_data(self.key):
            raise InvalidDataError(
                f"object {self.key!r} is a {self.contents.class_name(self.key)}, stored without files:"
                " nothing can be added to them"
            )

    def _check_is_not_mentioned(self, stored: BaseStoredData, name: str) -> None:
        """Check that nothing in the document of a class that is not known here may name a file."""
        if _mentions(stored.to_document(), name):
            raise InvalidDataError(
                f"object {self.key!r} is of the data class {type(stored).data_class_name!r}, not known"
                f" here, and its document mentions {name!r}: import the module that defines the class"
            )

    def _replace_document(self, amendment: Amendment, stored: BaseStoredData) -> None:
        contents, class_name = self.contents, type(stored).data_class_name
        stored.validate()
        document = stored.check_readable()
        identity = identity_digest(class_name, document)
        indexing.prepare(contents, class_name)
        amendment.replace_document(document, type(stored).data_class_version, identity)
        with contents.in_one_piece():
            indexing.put(contents, class_name, self.key, indexing.row_of(stored.index_values(), identity))


def _new_file(source: PathLike) -> NewFile:
    path = Path(source)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise NotFoundError(f"file {str(path)!r} does not exist: it was moved or deleted") from error
    except OSError as error:
        raise StorageIOError(f"file {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidDataError(f"{str(path)!r} cannot be the name of a file") from error
    return NewFile(path, is_executable(status), status.st_mtime_ns)


def _checked_text(what: str, text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidDataError(f"{what} is a text that is not blank, not {text!r}")
    if len(text) > _LONGEST_TEXT:
        raise InvalidDataError(f"{what} has at most {_LONGEST_TEXT} characters: store a longer one as a file")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataError(f"{what} holds text that is not valid Unicode: {error}") from error
    return text


def _mentions(tree: Any, text: str) -> bool:
    if isinstance(tree, dict):
        return any(_mentions(value, text) for value in tree.values())
    if isinstance(tree, list | tuple):
        return any(_mentions(value, text) for value in tree)
    return isinstance(tree, str) and tree == text

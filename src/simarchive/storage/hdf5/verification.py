"""Is everything in a container what it was when it was stored? One report that says what is not.

A verification is a list of steps, each of which looks at one thing: an object, a file, a table. Whatever
error one of them meets is a problem in the report, and the next one comes.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simarchive.container import rescue
from simarchive.container.changing.removed import RemovedObject
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.documents import identity_digest
from simarchive.container.members import MemberInfo
from simarchive.container.members.shared import MIN_SHARED_BYTES
from simarchive.container.objects import ObjectHeader
from simarchive.container.rescue import LinkKind
from simarchive.errors import (
    CorruptError,
    ForeignChangeError,
    FormatError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageIOError,
)
from simarchive.ground.conditions import Value
from simarchive.storage.hdf5 import classes, indexing, restoring
from simarchive.storage.publication import attributes

NOT_A_KEY = "its name is not a key: 'simarchive repair' gives it one"
REMEDY = "'simarchive repair --index' rebuilds it"
OF_ARCHIVE = "in the metadata of the archive"
SET_AGAIN = "'simarchive meta set' or 'meta edit' writes it again"
PUBLISH_AGAIN = "nothing of the objects is lost; 'simarchive repack FILE --publish' makes it anew"
RESCUE = "'simarchive repair FILE -o NEW' saves what can be saved"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    key: str  #: of the object, or empty for the container
    member: str | None
    chunk: int | None
    message: str
    is_error: bool = True  #: False: odd, but nothing is lost
    array: str | None = None
    offset: int | None = None  #: of the chunk in the file of the container, if its bytes are damaged


@dataclass(slots=True)
class VerificationReport:
    """What was checked, and what was found."""

    path: str
    full: bool
    n_objects: int = 0
    n_members: int = 0
    n_bytes: int = 0  #: of members, as files
    n_removed: int = 0  #: removed objects that were checked, too; what is wrong with them is a warning
    n_not_checked: int = 0  #: objects, members and tables whose check met an error; each is a problem too
    unknown_classes: dict[str, int] = field(default_factory=dict)
    """Objects by data class that is not registered here, or not in their version. That is no fault: what is
    stored of them was compared with its digests, but what it means was not checked."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  #: what is odd about the file, and harms nothing
    exit_code: int = 0  #: with which the command `verify` ends

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not any(problem.is_error for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "ok": self.ok}


def verify(
    container: Container,
    *,
    full: bool = False,
    progress: Callable[[int], None] | None = None,
    keys: Sequence[str] | None = None,
) -> VerificationReport:
    """Check every object, member and index table of a container.

    Parameters
    ----------
    full
        Also decode every member and compare its digest. Without it every stored byte of the members is
        still read and compared with its CRC-32.
    progress
        Called with the bytes of each member after it was checked.
    keys
        Check these objects and their members only.
    """
    walk = _Walk(VerificationReport(str(container.path), full), progress, keys)
    if keys is not None:
        walk.run(container.reading)
        return walk.report
    walk.pending.extendleft([functools.partial(walk.check_extent, container=container)])
    walk.last.append(functools.partial(walk.check_changes, container=container))
    walk.run(container.reading)
    if not walk.is_listed:
        walk.search(container.path)
    return walk.report


def verify_file(
    path: Path, *, full: bool = False, progress: Callable[[int], None] | None = None
) -> VerificationReport:
    """Check a container by its path, also one that cannot be opened; parameters as for `verify`.

    Raises
    ------
    NotFoundError, LockedError, ReadOnlyError
        If there is no such file, or it cannot be read now.
    FormatError
        If nothing says that it ever was a container, or if it needs a later version of this program.
    """
    try:
        with contextlib.closing(Container(path, writable=False)) as container:
            return verify(container, full=full, progress=progress)
    except (NotFoundError, LockedError, ReadOnlyError):
        raise
    except StorageError as error:
        return _verify_closed(path, error, full=full, progress=progress)


def _verify_closed(
    path: Path, error: StorageError, *, full: bool, progress: Callable[[int], None] | None
) -> VerificationReport:
    """Check what can be found of a container that cannot be opened."""
    faults = faults_of_unopened(path, error)
    walk = _Walk(VerificationReport(str(path.absolute()), full), progress)
    for fault in faults:
        walk.note_damage(fault)
    is_about_the_log = isinstance(error, ForeignChangeError) and faults == [str(error)]
    if isinstance(error, StorageIOError) or is_about_the_log:
        walk.report.n_not_checked += 1
    else:
        walk.search(path)
    walk.report.exit_code = error.exit_code if is_about_the_log else CorruptError.exit_code
    return walk.report


def faults_of_unopened(path: Path, error: StorageError) -> list[str]:
    """Return in words why a container cannot be opened or listed.

    Parameters
    ----------
    error
        What was raised; it is raised again if the file never was a container, or needs another version.
    """
    try:
        extent = rescue.extent_of(path)
    except StorageError:
        raise error from None
    faults = extent.faults()
    is_of_another_version = error.__cause__ is None and not faults
    if isinstance(error, FormatError) and (not extent.is_ours or is_of_another_version):
        raise error
    return faults or [str(error)]


@contextlib.contextmanager
def as_damage(what: str = "") -> Iterator[None]:
    """Raise whatever error something damaged makes of the block as one of ours.

    Parameters
    ----------
    what
        What was to be done, and what to do, as the beginning of the message.
    """
    try:
        yield
    except (StorageError, MemoryError):
        # Too little memory is no damage: what is sound would be left out of a copy.
        raise
    except Exception as error:
        # As in `_Walk._checking`: nearly anything.
        raise CorruptError(what + _words(error)) from error


def checked_tree(contents: Contents, header: ObjectHeader) -> Any:
    """Return the document of an object with all its arrays.

    Raises
    ------
    CorruptError
        If they cannot be read, or do not match the identity digest.
    """
    try:
        tree = contents.tree(header.key)
        matches = identity_digest(header.data_class, tree) == header.identity
    except (InvalidDataError, RecursionError, ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"the document cannot be read: {_words(error)}") from error
    if not matches:
        raise CorruptError("the document or one of its arrays does not match the identity digest")
    return tree


Step = Callable[[Contents], None]


class _Walk:
    """The steps of one verification, and what is known so far.

    Attributes
    ----------
    pending
        The steps that are still to be done, in order.
    last
        Steps to be done after all others.
    device_failed
        The last step met an error of HDF5 or of the device, which may spoil the read that it was in.
    """

    def __init__(
        self,
        report: VerificationReport,
        progress: Callable[[int], None] | None,
        only: Sequence[str] | None = None,
    ) -> None:
        self.report = report
        self._only = only
        self.pending: deque[Step] = deque([self._list_objects])
        self.device_failed = False
        self.last: list[Step] = []
        self._index_is_there = True
        self._progress = progress
        self._keys: set[str] | None = None  # None: they could not be listed
        self._headers: dict[str, ObjectHeader] = {}
        self._rows: dict[str, dict[str, Value]] = {}  # as they should be, of objects that were understood
        self._references: dict[str, list[str]] = {}
        self._members: dict[str, list[MemberInfo]] = {}
        self._named: dict[str, tuple[str, ...]] = {}  # members that the document names
        self._addresses: dict[int, str] = {}
        self._unknown: set[str] = set()  # keys of objects whose class is not known here
        self._arrays: dict[str, set[str]] = {}  # that the document names

    @property
    def is_listed(self) -> bool:
        """Whether the keys of all objects are known."""
        return self._keys is not None

    def run(self, reading: Callable[[], AbstractContextManager[Contents]]) -> None:
        """Do all steps, each within a read that `reading` gives."""
        begun = False
        while self.pending:
            entered = left = False
            self.device_failed = False
            try:
                with reading() as contents:
                    begun = entered = True
                    # A device that failed once leaves HDF5 with half of what it read: start again behind it.
                    while self.pending and not self.device_failed:
                        self.pending.popleft()(contents)
                    left = True
            except StorageError as error:
                if left:
                    # What the device failed at is in the report already.
                    continue
                if entered or not begun:
                    raise
                self.give_up(error)
        self.report.exit_code = 0 if self.report.ok else CorruptError.exit_code

    def search(self, path: Path) -> None:
        """Check the objects that can still be found in a file that cannot be opened or listed."""
        self.pending.clear()
        try:
            with rescue.searched(path) as found:
                for key in found.missing:
                    self._note(key, "the index has it, but it cannot be found any more")
                for key in found.unlisted:
                    message = "the index does not have it: it may have been removed before"
                    self._note(key, message, is_error=False)
                for key in found.loose:
                    message = "its key is lost, and this one is made up; it may have been removed before"
                    self._note(key, message, is_error=False)
                self.report.n_not_checked += 1
                self._note("", f"the list of objects and the index were not checked, only objects: {RESCUE}")
                self.pending.append(self._list_objects)
                self._index_is_there = False
                self.run(lambda: contextlib.nullcontext(found.contents))
        except StorageError as error:
            self.report.n_not_checked += 1
            self._note("", f"the objects were searched for in vain: {_words(error)}")
        except Exception as error:
            # As in `_checking`.
            self.give_up(error)

    def note_damage(self, message: str) -> None:
        """Note what is wrong with the file as a whole."""
        self._note("", message)

    def check_extent(self, contents: Contents, container: Container) -> None:
        """Compare the size of the file with what it should be."""
        if container.far is not None:
            return  # It was compared with the superblock and the seal when it was opened.
        with self._checking(contents, what="the size of the file cannot be checked: "):
            extent = rescue.extent_of_open(container)
            if extent.is_followed:
                from simarchive.container.changing.publishing import map_faults

                found = map_faults(container)
                for fault in found or ():
                    self._note("", f"the map for readers elsewhere {fault}: {PUBLISH_AGAIN}")
                if found is not None:
                    return
            for fault in extent.faults():
                self._note("", f"{fault}: {RESCUE}")
            self.report.notes += extent.oddities()

    def check_changes(self, contents: Contents, container: Container) -> None:
        """Try, in memory, whether HDF5 can still change the file: so its list of free space is read, too."""
        if container.far is not None:
            return
        what = f"HDF5 cannot change the file any more ({RESCUE}): "
        with self._checking(contents, what=what), rescue.rehearsed(container) as rehearsal:
            rehearsal.try_a_change()

    def give_up(self, error: Exception) -> None:
        """Note that the container cannot be read any further."""
        self.report.n_not_checked += len(self.pending)
        self._note(
            "", f"it cannot be read any more, {len(self.pending)} checks were not made: {_words(error)}"
        )
        self.pending.clear()

    def _note(
        self,
        key: str,
        message: str,
        *,
        member: str | None = None,
        chunk: int | None = None,
        is_error: bool = True,
        array: str | None = None,
        offset: int | None = None,
    ) -> None:
        place = None if member is None else printable(member)
        of_array = None if array is None else printable(array)
        self.report.problems.append(
            Problem(printable(key), place, chunk, printable(message), is_error, of_array, offset)
        )

    @contextlib.contextmanager
    def _checking(
        self,
        contents: Contents,
        key: str = "",
        *,
        member: str | None = None,
        array: str | None = None,
        what: str = "",
        is_error: bool = True,
    ) -> Iterator[None]:
        """Make whatever error the block meets a problem of the report, or a warning."""
        try:
            yield
            _raise_if_any(contents.failure)
        except Exception as error:
            # A damaged or hostile file makes HDF5, numpy and json raise nearly anything, and a verification
            # that one of them ends would say nothing about all the rest.
            self.device_failed = isinstance(error, OSError) or contents.failure is not None
            self.report.n_not_checked += 1
            self._note(key, what + _words(error), member=member, array=array, is_error=is_error)

    # --- objects -----------------------------------------------------------------------------------------

    def _list_objects(self, contents: Contents) -> None:
        with self._checking(contents, what="the objects cannot be listed, and none of them was checked: "):
            keys = contents.names()
            self._keys = set(keys)
            if self._only is not None:
                keys = [key for key in self._only if key in self._keys]
            self.report.n_objects = len(keys)
            for key in keys:
                self.pending += [
                    functools.partial(self._check_object, key=key),
                    functools.partial(self._list_members, key=key),
                ]
        following: list[Step] = [self._check_references, self._check_duplicates]
        if self._index_is_there and self._only is None:
            following += [self._check_root, self._list_tables, self._check_shared, self._list_removed]
        following += self.last
        self.pending += following

    def _check_root(self, contents: Contents) -> None:
        with self._checking(contents, what="the root of the file cannot be checked: "):
            for fault in rescue.root_faults(contents):
                self._note("", f"{fault}: {RESCUE}")
        with self._checking(contents, what="the list of data classes cannot be checked: "):
            present = {header.data_class for header in self._headers.values()}
            for name in sorted(present - set(contents.data_classes())):
                self._note("", f"the list of data classes lacks {name}: its objects are not found. {RESCUE}")

        with self._checking(contents, what="the metadata of the archive cannot be checked: "):
            for name, fault in attributes.read(contents).faults.items():
                self._note("", f"{name} {OF_ARCHIVE} ({SET_AGAIN}): {fault}")

    def _list_removed(self, contents: Contents) -> None:
        # Then nothing can be removed or replaced any more, which `repack` mends.
        message = "what was removed cannot be listed, which 'simarchive repack' goes on without"
        with self._checking(contents, what=f"{message}: "):
            listed = contents.removed.listed()
            self.report.n_removed = len(listed)
            for name in contents.removed.strange_names():
                self._note("", f"{name!r} below /removed is no removed object", is_error=False)
            self.pending.extendleft(
                functools.partial(self._check_removed, removed=one) for one in reversed(listed)
            )

    def _check_removed(self, contents: Contents, removed: RemovedObject) -> None:
        # Nothing of the objects is lost with it: a warning.
        message = f"it was {removed.action} at {removed.at[:19]}, and cannot be restored as it was"
        with self._checking(contents, removed.key, what=f"{message}: ", is_error=False):
            fault = restoring.fault_of(contents, removed)
            if fault is not None:
                self._note(removed.key, f"{message}: {fault}", is_error=False)

    def _check_object(self, contents: Contents, key: str) -> None:
        with self._checking(contents, key):
            header = contents.header(key)
            self._headers[key] = header
            if key not in contents:
                self._note(key, NOT_A_KEY)
            elif header.stored_key not in (key, None):
                self._note(key, f"it was stored under the key {header.stored_key!r}, and is not that object")
            first = self._addresses.setdefault(contents.address(key), key)
            if first != key:
                message = f"it is the same group as {first!r}: who changes one of them changes the other"
                self._note(key, message)
            for fault in contents.attribute_faults(key):
                self._note(key, fault)
            self._check_document(contents, header)
            if key not in contents:
                self._rows.pop(key, None)

    def _check_document(self, contents: Contents, header: ObjectHeader) -> None:
        declared = rescue.declared_arrays(contents, header.key)
        self._arrays[header.key] = {array.name for array in declared}
        unfit = {array.name: rescue.array_fault(contents, header.key, array) for array in declared}
        faults = {name: fault for name, fault in unfit.items() if fault is not None}
        for name, fault in faults.items():
            self._note(header.key, fault, array=name)
        try:
            tree = checked_tree(contents, header)
        except StorageError:
            known = len(faults)
            for array in declared:
                if array.name not in faults:
                    with self._checking(contents, header.key, array=array.name):
                        known += 1
                        rescue.check_array(contents, header.key, array)
                        known -= 1
            if not known:
                raise
            return
        data_class = classes.class_of(contents, header.data_class)
        if data_class is None:
            self._note_unknown(header, header.data_class)
            return
        try:
            stored = data_class.from_document(tree, header.data_class_version)
            stored.validate()
        except FormatError:
            self._note_unknown(header, f"{header.data_class} version {header.data_class_version}")
            return
        except InvalidDataError as error:
            if classes.stands_in(data_class):
                # The class itself may know better.
                self._note_unknown(header, header.data_class)
                return
            raise CorruptError(f"the document is not a valid {header.data_class}: {error}") from error
        self._rows[header.key] = indexing.row_of(stored.index_values(), header.identity)
        self._references[header.key] = classes.references(stored)
        self._named[header.key] = stored.member_names()

    def _note_unknown(self, header: ObjectHeader, name: str) -> None:
        self._unknown.add(header.key)
        counts = self.report.unknown_classes
        counts[printable(name)] = counts.get(printable(name), 0) + 1

    def _list_members(self, contents: Contents, key: str) -> None:
        n_problems = len(self.report.problems)
        with self._checking(contents, key):
            links = rescue.survey(contents, key)
            # Before anything is called missing: HDF5 may have taken a failure for that.
            _raise_if_any(contents.failure)
            infos = [link.info for link in links if link.info is not None]
            unreadable = {link.name: link for link in links if link.kind is LinkKind.UNREADABLE}
            arrays = self._arrays.pop(key, None)
            for link in links:
                if link.kind is LinkKind.UNREADABLE and not link.is_one_of(arrays or ()):
                    self.report.n_not_checked += 1
                    self._note(key, f"it cannot be read: {link.fault}", member=link.name)
                elif arrays is not None and link.kind is LinkKind.ARRAY and link.link not in arrays:
                    message = f"neither the document nor a file explains {link.link!r}, which stands in it"
                    self._note(key, message)
                elif link.kind is LinkKind.OTHER:
                    self._note(key, f"{link.link!r} does not belong in an object: {link.fault}")
            if not unreadable:
                self._members[key] = infos
            names = {info.name for info in infos} | unreadable.keys()
            lost = rescue.lost_members(contents, key)
            for name in lost:
                if name not in names:
                    message = "it was damaged, and was lost when the object was saved from another file"
                    self._note(key, message, member=name, is_error=False)
            for name in self._named.pop(key, ()):
                if name not in names and name not in lost:
                    self._note(key, "the document names it, but it is missing", member=name)
            n_stored = contents.n_members_stored(key)
            if n_stored is not None and not len(names) <= n_stored <= len(names.union(lost)):
                self._note(key, f"it was stored with {n_stored} files, and has {len(names)}")
            if infos and key in self._headers and not self._headers[key].has_ancillary_data:
                self._note(key, "it has files, but is said to have been stored without any")
            # Before the next object.
            self.pending.extendleft(
                functools.partial(self._check_member, key=key, info=info) for info in reversed(infos)
            )
        if self.report.problems[n_problems:] == self.report.problems[n_problems - 1 : n_problems]:
            # Nothing of this object can be read, which is said once.
            self.report.n_not_checked -= len(self.report.problems[n_problems:])
            del self.report.problems[n_problems:]

    def _check_member(self, contents: Contents, key: str, info: MemberInfo) -> None:
        with self._checking(contents, key, member=info.name):
            for fault in contents.verify_member(key, info.name, full=self.report.full):
                offset = None if fault.chunk is None else _offset(contents, key, info.name, fault.chunk)
                self._note(key, fault.message, member=info.name, chunk=fault.chunk, offset=offset)
            self.report.n_members += 1
            self.report.n_bytes += info.size
        if self._progress is not None:
            self._progress(info.size)

    def _check_references(self, contents: Contents) -> None:
        for key, others in self._references.items():
            for other in others:
                if self._keys is not None and other not in self._keys:
                    self._note(key, f"it refers to {other!r}, which is not here", is_error=False)

    def _check_duplicates(self, contents: Contents) -> None:
        alike: dict[tuple[str, str], list[str]] = {}
        for key in self._addresses.values():
            if key in self._members:
                header = self._headers[key]
                alike.setdefault((header.data_class, header.identity), []).append(key)
        for keys in alike.values():
            first: dict[frozenset[tuple[str, str]], str] = {}
            for key in keys:
                files = frozenset((info.name, info.digest) for info in self._members[key])
                twin = first.setdefault(files, key)
                if twin != key:
                    message = f"it is the same as {twin!r}, document and files: one of the two can go"
                    self._note(key, message, is_error=False)

    # --- index -------------------------------------------------------------------------------------------

    def _list_tables(self, contents: Contents) -> None:
        classes = {header.data_class for header in self._headers.values()}
        with self._checking(contents, what=f"the tables of the index cannot be listed ({REMEDY}): "):
            classes.update(printable(name) for name in contents.tables.class_names())
        self.pending.extendleft(
            functools.partial(self._check_table, class_name=name) for name in sorted(classes, reverse=True)
        )

    def _check_table(self, contents: Contents, class_name: str) -> None:
        title = f"the index of {class_name}"
        with self._checking(contents, what=f"{title} is damaged, {REMEDY}: "):
            data_class = classes.class_of(contents, class_name)
            table = contents.tables.get(class_name)
            if data_class is not None and table is not None:
                is_newer = (table.class_version or 0) > data_class.data_class_version
                data_class = None if is_newer else data_class
            if table is None:
                # Without the class nobody can make it; who has the class makes it at the first change.
                if data_class is not None:
                    self._note("", f"{title} is missing: {REMEDY}")
                return
            fault = None
            if data_class is not None:
                declared = classes.declaration_by(data_class)
                fault = indexing.fault_of(contents, table, class_name, declared)
            if fault is not None and data_class is not None and classes.stands_in(data_class):
                fault = None  # Another version of the class made one of the two.
            if fault is not None:
                self._note("", f"{title} is out of date ({fault}): {REMEDY}")
                return
            table.check()
            self._compare(class_name, table.rows(), table.left_out)

    def _compare(self, class_name: str, rows: dict[str, dict[str, Value]], left_out: frozenset[str]) -> None:
        """Compare the rows of a table with those that its objects should have."""
        if self._keys is None:
            return
        place = f"the index of {class_name}"
        for key in rows:
            header = self._headers.get(key)
            if key not in self._keys:
                self._note(key, f"{place} has it, /objects not")
            elif header is not None and header.data_class != class_name:
                self._note(key, f"{place} has it, but it is of the class {header.data_class}")
        headers = [header for header in self._headers.values() if header.data_class == class_name]
        for header in headers:
            key, row = header.key, rows.get(header.key)
            if row is None:
                # An object that could not be read is a problem already.
                if key in self._rows or (key in self._unknown and key not in left_out):
                    self._note(key, f"{place} lacks it")
            elif key in self._unknown:
                if row.get(indexing.IDENTITY.name) != indexing.identity_value(header.identity):
                    self._note(key, f"its row in {place} is wrong")
            elif row != self._rows.get(key, row):
                self._note(key, f"its row in {place} is wrong")
        stored = {header.key: None for header in headers if header.key in rows}
        if list(stored) != [key for key in rows if key in stored]:
            self._note("", f"{place} does not have the objects in their order: {REMEDY}")

    def _check_shared(self, contents: Contents) -> None:
        title = "the index of shared files"
        with self._checking(contents, what=f"{title} is damaged, {REMEDY}: "):
            contents.shared.check()
            rows = contents.shared.rows()
            if self._keys is None:
                return
            expected = {
                f"{key}/{info.name}": (key, info)
                for key, infos in self._members.items()
                for info in infos
                if info.size >= MIN_SHARED_BYTES
            }
            for place, row in rows.items():
                key, _, name = place.partition("/")
                if place in expected:
                    info = expected[place][1]
                    if row != {"size": info.size, "digest": info.digest}:
                        self._note(key, f"its row in {title} is wrong: {REMEDY}", member=name)
                elif key in self._members or key not in self._keys:
                    self._note(key, f"{title} has it, /objects not: {REMEDY}", member=name)
            for place, (key, info) in expected.items():
                if place not in rows:
                    message = f"{title} lacks it, so that an equal file would be stored again: {REMEDY}"
                    self._note(key, message, member=info.name, is_error=False)


def _offset(contents: Contents, key: str, name: str, chunk: int) -> int | None:
    """Return where a chunk of a member lies in the file, if that is known."""
    try:
        return int(contents.stored_member(key, name).table.offsets[chunk])
    except (StorageError, IndexError):
        return None


def _raise_if_any(failure: BaseException | None) -> None:
    if failure is not None:
        raise failure


def _words(error: Exception) -> str:
    """Return an error in words: ours says what happened, any other one needs its name."""
    return str(error) if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"


def printable(value: object) -> str:
    """Return a name or message that can be printed, whatever bytes a file has in its place."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value).encode("utf-8", "backslashreplace").decode()

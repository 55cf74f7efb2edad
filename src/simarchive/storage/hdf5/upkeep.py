"""Upkeep of a container: how much it holds, damaged objects set aside, and a compact copy in its place."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simarchive.container import nodes, rescue
from simarchive.container.changing.removed import RemovedObject
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.rescue import LinkKind
from simarchive.errors import CorruptError, StorageError, StorageIOError
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import free_key, is_key
from simarchive.storage.hdf5 import indexing, salvage, verification
from simarchive.storage.hdf5.grouping import GroupStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOverview:
    """What is known of a container without looking at its objects."""

    path: str
    format: int
    container_id: str
    created_by: str
    created_at: str
    n_objects: int
    objects_by_class: dict[str, int]
    n_damaged: int  #: whose name is not a key; in `ContainerStatistics` also those that cannot be read
    file_bytes: int
    log_bytes: int  #: of the redo log; 0 if every commit is in the file
    index: dict[str, str]  #: by data class: ``"ready"``, ``"missing"`` or ``"out of date"``
    n_removed: int = 0  #: objects that were removed or replaced, and can be restored
    removed_bytes: int = 0  #: about how much they take

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatistics(ContainerOverview):
    """Numbers about a container and its files."""

    n_members: int
    logical_bytes: int  #: all members, as files
    stored_bytes: int  #: their chunks, each once
    shared_bytes: int  #: of `logical_bytes`, what equal members do not take a second time


def overview(container: Container) -> ContainerOverview:
    """Return what is known of a container without looking at its objects."""
    with container.reading() as contents:
        n_damaged = len(contents.misnamed())
        return ContainerOverview(**_overview(container, contents, _count_classes(contents), n_damaged))


def statistics(container: Container, keys: Sequence[str] | None = None) -> ContainerStatistics:
    """Return numbers about a container; every object is looked at, no document is read.

    Parameters
    ----------
    keys
        The objects that are counted; all by default. What is said of the file is said of all of it.
    """
    with container.reading() as contents:
        counted = _count_files(contents, contents.keys() if keys is None else keys)
        n_damaged = counted.n_damaged + (len(contents.misnamed()) if keys is None else 0)
        return ContainerStatistics(
            n_members=counted.files.n_files,
            logical_bytes=counted.files.logical_bytes,
            stored_bytes=counted.files.stored_bytes,
            shared_bytes=counted.files.shared_bytes,
            **_overview(container, contents, counted.classes, n_damaged),
        )


def _overview(
    container: Container, contents: Contents, classes: Mapping[str, int], n_damaged: int
) -> dict[str, Any]:
    removed = _removed(contents)
    return {
        "path": str(container.path),
        **contents.description(),
        "n_objects": sum(classes.values()) + n_damaged,
        "objects_by_class": dict(classes),
        "n_damaged": n_damaged,
        "file_bytes": container.size_bytes(),
        "log_bytes": container.log_bytes(),
        "index": {name: indexing.state_of(contents, name) for name in contents.data_classes()},
        "n_removed": len(removed),
        "removed_bytes": sum(one.n_bytes for one in removed),
    }


@dataclass(slots=True)
class _Counted:
    """What was counted by looking at every object."""

    classes: Counter[str] = field(default_factory=Counter)
    n_damaged: int = 0
    files: GroupStatistics = field(default_factory=lambda: GroupStatistics("all"))


def _count_files(contents: Contents, keys: Sequence[str]) -> _Counted:
    counted = _Counted()
    seen: set[int] = set()
    contents.expect(keys)
    for key in keys:
        try:
            counted.classes[contents.class_name(key)] += 1
            for address, info in contents.member_places(key):
                counted.files.add_file(address, info, seen)
        except CorruptError:
            counted.n_damaged += 1
    return counted


def _count_classes(contents: Contents) -> Counter[str]:
    """Return the number of objects by class: the rows of the index, or else by a look at each object."""
    classes: Counter[str] = Counter()
    with contextlib.suppress(StorageError):
        for name in contents.data_classes():
            table = contents.tables.get(name)
            if table is not None and (number := len(table) + len(table.left_out)):
                classes[name] = number
        if sum(classes.values()) == len(contents.keys()):
            return classes
    classes.clear()
    for key in contents.keys():  # noqa: SIM118
        with contextlib.suppress(CorruptError):
            classes[contents.class_name(key)] += 1
    return classes


def _removed(contents: Contents) -> list[RemovedObject]:
    try:
        return contents.removed.listed()
    except CorruptError as error:
        indexing.LOGGER.warning("%s", error)
        return []


@dataclass(frozen=True, slots=True)
class SetAside:
    """One object that was damaged, and where it is now."""

    key: str
    place: str  #: path in the container, for h5py or h5dump
    message: str  #: what is wrong with it


@dataclass(slots=True)
class RepairReport:
    """What a repair did."""

    path: str
    n_objects: int = 0  #: that are sound
    rows: dict[str, int] = field(default_factory=dict)  #: of the new index, by data class
    set_aside: list[SetAside] = field(default_factory=list)
    new_keys: dict[str, str] = field(default_factory=dict)  #: of objects whose names were not keys

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def check_extent(path: Path, container: Container | None = None) -> None:
    """Check that a file is as long as it should be, before a transaction cuts off what lies behind its end.

    Raises
    ------
    CorruptError
        If it is not; the message names the way out.
    """
    try:
        faults = (rescue.extent_of(path) if container is None else rescue.extent_of_open(container)).faults()
    except StorageError:
        return  # Who opens it next says why it cannot be read.
    if faults:
        raise salvage.refuse_in_place(path, faults)


def changing(path: Path, what: str) -> contextlib.AbstractContextManager[None]:
    """Raise whatever error a change of damaged things makes as `CorruptError` that says what to do."""
    return verification.as_damage(_cannot(path, what))


@contextlib.contextmanager
def storing(path: Path, key: str, what: str = "store") -> Iterator[None]:
    """Raise an error of HDF5 as `changing` does, and no other: a program's own code runs in it, too."""
    try:
        yield
    except nodes.UNREADABLE as error:
        if not nodes.is_of_hdf5(error):
            raise
        raise CorruptError(f"{_cannot(path, f'{what} object {key!r}')}{error}") from error


def _cannot(path: Path, what: str) -> str:
    return (
        f"HDF5 cannot {what}, because '{path}' is damaged:"
        f" 'simarchive repair {path} -o NEW' saves what is sound into a new file. It said: "
    )


def repair(container: Container) -> RepairReport:
    """Move every damaged object out of the objects and rebuild the index, as one transaction.

    Raises
    ------
    CorruptError
        If the file's own bookkeeping is damaged, so that a change might write over sound data: see
        `salvage`. Nothing is written then.
    """
    report = RepairReport(str(container.path))
    with _repairing(container), container.transaction() as contents:
        _rehearse(container, contents, lambda tried: _repair(tried, RepairReport("")))
        _repair(contents, report)
    for damaged in report.set_aside:
        indexing.LOGGER.warning("object %r is set aside: %s", damaged.key, damaged.message)
    return report


@contextlib.contextmanager
def _repairing(container: Container) -> Iterator[None]:
    """Refuse in plain words where HDF5 cannot even list the objects, or open the file for a change."""
    check_extent(container.path, container)
    try:
        with verification.as_damage("HDF5 says: "):
            yield
    except CorruptError as error:
        if not isinstance(error.__cause__, Exception) or isinstance(error.__cause__, StorageError):
            raise
        raise salvage.refuse_in_place(container.path, [str(error)]) from error


def _repair(contents: Contents, report: RepairReport) -> None:
    for key in contents.names():
        try:
            proved = salvage.prove(contents, key)
        except salvage.DAMAGE as error:
            report.set_aside.append(SetAside(key, contents.set_aside(key), str(error)))
            continue
        report.n_objects += 1
        if contents.attribute_faults(key):
            contents.restore_attributes(key)
        unreadable = _unreadable_members(contents, key)
        if unreadable:
            # HDF5 can neither remove nor copy a file whose description it cannot read.
            stored, codec = proved.stored(contents), proved.codec(contents)
            place = contents.set_aside(key)
            contents.write(key, stored, codec=codec, identity=proved.header.identity)
            rescue.note_lost_members(contents, key, proved.lost)
            names = ", ".join(sorted(unreadable))
            message = f"it is kept without what cannot be read of it, {names}; as it was, it is there"
            report.set_aside.append(SetAside(key, place, message))
        if not is_key(key):
            stored_key = proved.header.stored_key
            wanted = stored_key if stored_key is not None and is_key(stored_key) else None
            report.new_keys[key] = free_key(wanted, contents.__contains__)
            contents.rename(key, report.new_keys[key])
    report.rows = indexing.rebuild_all(contents)


def _unreadable_members(contents: Contents, key: str) -> list[str]:
    return [link.name for link in rescue.survey(contents, key) if link.kind is LinkKind.UNREADABLE]


def rebuild_index(container: Container) -> dict[str, int]:
    """Rebuild the whole index from the objects, as one transaction; return the rows by data class.

    Raises
    ------
    CorruptError
        As `repair`.
    """
    with _repairing(container), container.transaction() as contents:
        _rehearse(container, contents, indexing.rebuild_all)
        return indexing.rebuild_all(contents)


def _rehearse(container: Container, contents: Contents, change: Callable[[Contents], object]) -> None:
    """Make a change in memory first, and see that whatever was sound stays so.

    A list of free space or an end of file that is wrong shows in nothing else than what is overwritten.
    """
    before = _sound(contents)
    quiet = indexing.LOGGER.isEnabledFor(logging.WARNING)
    try:
        indexing.LOGGER.disabled = quiet  # The change itself says it all.
        with verification.as_damage(), rescue.rehearsed(container) as rehearsal:
            with rehearsal.opened("r+") as tried:
                change(tried)
            with rehearsal.opened("r") as changed:
                after = {
                    key: identity
                    for key, identity in _sound(changed).items()
                    if key not in before or not rehearsal.has_harmed_files(contents, changed, key)
                }
    except (CorruptError, StorageIOError) as error:
        raise salvage.refuse_in_place(container.path, [str(error)]) from error
    finally:
        indexing.LOGGER.disabled = False
    harmed = [key for key, identity in before.items() if after.get(key) != identity]
    if harmed:
        what = f"a change would damage {len(harmed)} sound objects, such as {harmed[0]!r}"
        raise salvage.refuse_in_place(container.path, [what])


def _sound(contents: Contents) -> dict[str, str]:
    """Return the identity of each object whose document and arrays can be proved."""
    sound = {}
    for key in contents.keys():  # noqa: SIM118
        with contextlib.suppress(*salvage.DAMAGE), verification.as_damage():
            header = contents.header(key)
            verification.checked_tree(contents, header)
            sound[key] = header.identity
    return sound


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did."""

    path: str
    n_objects: int
    bytes_before: int
    bytes_after: int
    map_bytes: int = 0  #: of `bytes_after`, what the map for readers elsewhere takes

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def repack(
    path: PathLike,
    *,
    lock_timeout_s: float = 10.0,
    tmp_directory: PathLike | None = None,
    set_aside: bool = False,
    publish: bool = False,
) -> RepackReport:
    """Rewrite a container compactly: keys, documents, members, digests and order stay as they are.

    The new file is made beside the old one, synced, and takes its name in one step, so that a failure
    leaves the old one. It needs as much free room as the container has live data. Links are followed, and
    permissions, owner and group stay.

    Parameters
    ----------
    tmp_directory
        Where the new file is made, if there is no room beside the old one. It is then written over the old
        one; if that is broken off, the container is refused until the new file, which stays in this directory
        with ``.repacked`` added to its name, is put in its place.

    set_aside
        First set damaged objects aside, as `repair` does. What HDF5 can read of them is in the new file, too.
    publish
        Lay the files of all objects last, and append a map for those who read the container over a network.
        It is no part of HDF5's file, and whatever changes the container cuts it off.

    Raises
    ------
    CorruptError
        If an object is damaged so that it cannot be copied; the message names all of them.
    ConflictError
        If the container has several names (hard links).
    LockedError
        If another process writes to the container, or reads it, all the time.
    StorageFullError
        If there is no room for the new file.
    """
    place = Path(path).absolute()
    check_extent(place)
    tmp = None if tmp_directory is None else Path(tmp_directory).absolute()
    log_directory = None if tmp is None else str(tmp)
    with contextlib.closing(
        Container(place, writable=True, lock_timeout_s=lock_timeout_s, log_directory=log_directory)
    ) as container:
        if set_aside:
            repair(container)
        container.checkpoint()
        before, map_bytes = place.stat().st_size, 0

        def complete(successor: Path) -> None:
            nonlocal map_bytes
            complete_copy(successor, contents)
            if publish:
                from simarchive.container.changing.publishing import append_map

                map_bytes = append_map(successor)

        with container.transaction() as contents:
            try:
                with verification.as_damage():
                    n_objects = container.rewrite(complete, tmp_directory=tmp, members_last=publish)
            except CorruptError as error:
                raise _not_repacked(place, contents, error) from error
    return RepackReport(str(place), n_objects, before, place.stat().st_size, map_bytes)


def _not_repacked(path: Path, contents: Contents, error: CorruptError) -> CorruptError:
    """Return the error that names every object that cannot be copied."""
    damaged = {}
    for key in contents.keys():  # noqa: SIM118
        try:
            with verification.as_damage():
                verification.checked_tree(contents, contents.header(key))
                contents.members(key)
        except salvage.DAMAGE as found:
            damaged[key] = str(found)
    if not damaged:
        return error
    failure = CorruptError(
        f"container '{path}' is not repacked, because {len(damaged)} objects in it are damaged:"
        " 'simarchive repack --set-aside' goes on without them, and 'simarchive repair FILE -o NEW' saves"
        " what is sound into a new file"
    )
    for key, message in damaged.items():
        failure.add_note(f"object {key!r}: {message}")
    return failure


def complete_copy(path: Path, source: Contents | None = None) -> None:
    """Give a compact copy of `source` its index: rebuilt, or copied where the class is not known here."""
    with contextlib.closing(Container(path, writable=True)) as container, container.transaction() as contents:
        if source is not None:
            indexing.carry_over(source, contents)
        indexing.rebuild_all(contents)

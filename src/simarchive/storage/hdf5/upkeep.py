"""Upkeep of a container: how much it holds, damaged objects set aside, and a compact copy in its place."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.errors import CorruptError
from simarchive.ground.filesystem import PathLike
from simarchive.storage.hdf5 import indexing, verification


@dataclass(frozen=True, slots=True)
class ContainerStatistics:
    """Numbers about a container."""

    path: str
    format: int
    container_id: str
    created_by: str
    created_at: str
    n_objects: int
    objects_by_class: dict[str, int]
    n_damaged: int  #: objects whose header cannot be read
    n_members: int
    logical_bytes: int  #: all members, as files
    stored_bytes: int  #: their chunks, each once
    shared_bytes: int  #: of `logical_bytes`, what equal members do not take a second time
    file_bytes: int
    log_bytes: int  #: of the redo log; 0 if every commit is in the file
    index: dict[str, str]  #: by data class: ``"ready"``, ``"missing"`` or ``"out of date"``

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return asdict(self)


def statistics(container: Container) -> ContainerStatistics:
    """Return numbers about a container; every object is looked at, no document is read."""
    classes: Counter[str] = Counter()
    damaged = n_members = logical = stored = shared = 0
    seen: set[int] = set()
    with container.reading() as contents:
        for key in contents.keys():  # noqa: SIM118 - not a mapping
            try:
                classes[contents.class_name(key)] += 1
                for address, info in contents.member_places(key):
                    n_members += 1
                    logical += info.size
                    if address in seen:
                        shared += info.size
                    else:
                        stored += info.stored_size
                        seen.add(address)
            except CorruptError:
                damaged += 1
        description = contents.description()
        index = {name: indexing.state_of(contents, name) for name in contents.data_classes()}
    return ContainerStatistics(
        path=str(container.path),
        n_objects=sum(classes.values()) + damaged,
        objects_by_class=dict(classes),
        n_damaged=damaged,
        n_members=n_members,
        logical_bytes=logical,
        stored_bytes=stored,
        shared_bytes=shared,
        file_bytes=container.path.stat().st_size,
        log_bytes=container.log_bytes(),
        index=index,
        **description,
    )


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

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def repair(container: Container) -> RepairReport:
    """Move every damaged object out of the objects and rebuild the index, as one transaction."""
    report = RepairReport(str(container.path))
    with container.transaction() as contents:
        for key in contents.keys():  # noqa: SIM118 - not a mapping
            try:
                verification.checked_tree(contents, contents.header(key))
                report.n_objects += 1
            except CorruptError as error:
                report.set_aside.append(SetAside(key, contents.set_aside(key), str(error)))
                indexing.LOGGER.warning("object %r is set aside: %s", key, error)
        report.rows = indexing.rebuild_all(contents)
    return report


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did."""

    path: str
    n_objects: int
    bytes_before: int
    bytes_after: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def repack(
    path: PathLike,
    *,
    lock_timeout_s: float = 10.0,
    tmp_directory: PathLike | None = None,
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

    Raises
    ------
    ConflictError
        If the container has several names (hard links).
    LockedError
        If another process writes to the container, or reads it, all the time.
    StorageFullError
        If there is no room for the new file.
    """
    place = Path(path).absolute()
    tmp = None if tmp_directory is None else Path(tmp_directory).absolute()
    log_directory = None if tmp is None else str(tmp)
    with contextlib.closing(
        Container(place, writable=True, lock_timeout_s=lock_timeout_s, log_directory=log_directory)
    ) as container:
        container.checkpoint()
        before = place.stat().st_size
        with container.transaction() as contents:
            n_objects = container.rewrite(
                functools.partial(complete_copy, source=contents), tmp_directory=tmp
            )
    return RepackReport(str(place), n_objects, before, place.stat().st_size)


def complete_copy(path: Path, source: Contents | None = None) -> None:
    """Give a compact copy of `source` its index: rebuilt, or copied where the class is not known here."""
    with contextlib.closing(Container(path, writable=True)) as container, container.transaction() as contents:
        if source is not None:
            indexing.carry_over(source, contents)
        indexing.rebuild_all(contents)

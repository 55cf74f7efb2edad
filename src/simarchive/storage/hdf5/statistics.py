"""How much a container holds, and how much room it takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from simarchive.errors import CorruptError
from simarchive.storage.hdf5 import indexing

if TYPE_CHECKING:
    from simarchive.container.container import Container


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

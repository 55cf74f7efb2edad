"""Setting damaged objects aside, so that the rest of a container works as if they had never been there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from simarchive.errors import CorruptError
from simarchive.storage.hdf5 import indexing, verification

if TYPE_CHECKING:
    from simarchive.container.container import Container


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
    """Move every damaged object out of the objects and make the index anew, as one transaction."""
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

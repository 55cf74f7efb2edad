"""What a repository, or whoever gets the file, would miss in an archive: one report that names all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from simarchive.chemistry import ObservableFrame, Substance
from simarchive.container.members import MemberInfo
from simarchive.data import BaseSimulationData, BaseStoredData
from simarchive.data.schemas import UndescribedData
from simarchive.errors import CorruptError, FormatError, InvalidDataError, NotFoundError, StorageError
from simarchive.ground.arrays import is_array
from simarchive.ground.texts import count_text
from simarchive.storage.hdf5 import verification
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.publication import atom_counts, private_traces
from simarchive.storage.publication.atom_counts import Counts
from simarchive.storage.publication.private_traces import Trace

KINDS = {
    "title": "the archive has no title",
    "description": "it has no description",
    "license": "it has no licence",
    "authors": "it has no authors",
    "metadata": "something in the metadata cannot be understood",
    "objects": "there are none",
    "log": "the last commits are not in the file yet",
    "removed": "removed objects can still be restored from it",
    "damage": "what `verify` calls an error",
    "reference": "an object refers to a key that is not here",
    "force-field": "the force field of an object is not here",
    "composition": "an object has no substance",
    "state": "an object has no thermodynamic state",
    "topology": "a trajectory is without a topology",
    "atoms": "topology and trajectory have different numbers of atoms",
    "frames": "trajectory and observables have different lengths",
    "empty-file": "a file has no content",
    "path": "a home directory is named",
    "user": "a user is named",
    "e-mail": "an e-mail address is named",
}
"""What can be found, and what it means."""

_SHOWN_TRACES = 3
_LONGEST_TRACE = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing, or should not be there."""

    kind: str  #: one of `KINDS`
    message: str
    key: str = ""  #: of the object, or empty for the archive
    member: str | None = None


@dataclass(slots=True)
class PublicationReport:
    """What was found."""

    path: str
    n_objects: int = 0
    n_members: int = 0
    findings: list[Finding] = field(default_factory=list)
    unknown_classes: dict[str, int] = field(default_factory=dict)
    """Objects by data class that is not registered here: only their texts and files were looked at."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "ok": self.ok}


def publish_check(
    backend: HDF5Storage,
    *,
    ignore: Collection[str] = (),
    verified: Callable[[int], None] | None = None,
    looked_at: Callable[[object], None] | None = None,
) -> PublicationReport:
    """Return what is missing in an archive that is to be published. Nothing is changed.

    Parameters
    ----------
    ignore
        Kinds that are not looked for, of `KINDS`.
    verified
        Called with the bytes of each file after it was compared with its check.
    looked_at
        Called with the key of each object after it was looked at.

    Raises
    ------
    InvalidDataError
        If there is no such kind.
    """
    unknown = [kind for kind in ignore if kind not in KINDS]
    if unknown:
        raise InvalidDataError(
            f"nothing of the kind {unknown[0]!r} is looked for: there are {', '.join(KINDS)}"
        )
    report = PublicationReport(str(backend.path))
    found = [*_of_metadata(backend)]
    statistics = backend.statistics()
    if statistics.n_removed:
        objects = count_text(statistics.n_removed, "removed or replaced object")
        found.append(
            Finding("removed", f"{objects} can be restored by whoever gets the file: run 'simarchive repack'")
        )
    if statistics.log_bytes:
        found.append(
            Finding(
                "log",
                f"the last commits are in '{backend.path.name}-wal': open the file for writing and close it",
            )
        )
    damaged = set()
    if "damage" not in ignore:
        for problem in backend.verify(progress=verified).problems:
            if problem.is_error and verification.OF_ARCHIVE not in problem.message:
                damaged.add(problem.key)
                found.append(Finding("damage", problem.message, problem.key, problem.member or problem.array))
    looking = _Looking(backend, report)
    keys = backend.keys()
    if not keys and not damaged:
        found.append(Finding("objects", "there are no objects"))
    for key in keys:
        found += looking.at(key, is_damaged=key in damaged)
        if looked_at is not None:
            looked_at(key)
    report.n_objects = len(keys)
    report.findings = [finding for finding in found if finding.kind not in ignore]
    return report


def _of_metadata(backend: HDF5Storage) -> Iterator[Finding]:
    stored = backend.stored_metadata()
    for name in ("title", "description", "license", "authors"):
        if not getattr(stored.metadata, name) and name not in stored.faults:
            yield Finding(name, f"{KINDS[name]}: see 'simarchive meta set --help'")
    for name, fault in stored.faults.items():
        yield Finding("metadata", f"{name}: {fault}")


class _Looking:
    """One walk over the objects. A file that objects share is looked at once."""

    def __init__(self, backend: HDF5Storage, report: PublicationReport) -> None:
        self._backend = backend
        self._report = report
        self._traces: dict[str, list[Trace]] = {}  # by digest
        self._atoms: dict[tuple[str, str], int | None] = {}  # by digest and name
        self._counts: dict[tuple[str, str, bool], Counts] = {}

    def at(self, key: str, *, is_damaged: bool) -> Iterator[Finding]:
        """Yield what is missing in an object; of one that is damaged only what can be read."""
        try:
            members = [member for member in self._backend.list_members(key) if not member.fault]
        except StorageError:
            members = []
        self._report.n_members += len(members)
        stored = self._loaded(key)
        if stored is not None:
            yield from self._of_object(key, stored)
        yield from self._of_files(key, members, stored, is_damaged=is_damaged)
        yield from self._of_document(key)

    def _loaded(self, key: str) -> BaseStoredData | None:
        try:
            stored = self._backend.load(key)
            if not isinstance(stored, UndescribedData):
                return stored
        except (CorruptError, NotFoundError):
            return None  # a damage that was named
        except (FormatError, InvalidDataError):
            pass
        counts = self._report.unknown_classes
        name = self._backend.class_name_of(key)
        counts[name] = counts.get(name, 0) + 1
        return None

    def _of_object(self, key: str, stored: BaseStoredData) -> Iterator[Finding]:
        for name in type(stored).reference_fields:
            kind = "force-field" if name == "force_field_id" else "reference"
            for other in _texts_of(getattr(stored, name, None)):
                if other not in self._backend:
                    yield Finding(kind, f"its {name} is {other!r}, and no object has that key", key)
        substance = getattr(stored, "substance", None)
        if hasattr(stored, "substance") and (
            substance is None or (isinstance(substance, Substance) and not substance.components)
        ):
            yield Finding("composition", "it has no substance: nobody knows what was simulated", key)
        if hasattr(stored, "thermodynamic_state") and stored.thermodynamic_state is None:
            yield Finding("state", "it has no thermodynamic state", key)

    def _of_files(
        self, key: str, members: list[MemberInfo], stored: BaseStoredData | None, *, is_damaged: bool
    ) -> Iterator[Finding]:
        for member in members:
            if not member.size:
                yield Finding("empty-file", "it is empty", key, member.name)
            yield from self._of_traces(key, member)
        trajectories = [
            member for member in members if atom_counts.is_trajectory(member.name) and member.size
        ]
        topologies = [member for member in members if atom_counts.is_topology(member.name) and member.size]
        if trajectories and not topologies:
            for member in trajectories:
                yield Finding("topology", "no file names the atoms of this trajectory", key, member.name)
        if is_damaged:
            return
        atoms = {member.name: self._atoms_of(key, member) for member in topologies}
        known = {number for number in atoms.values() if number is not None}
        length = _length_of_observables(stored)
        named = getattr(stored, "trajectory_file_name", None)
        for member in trajectories:
            counts = self._counts_of(key, member, frames=length is not None and member.name == named)
            if counts.atoms is not None and known and counts.atoms not in known:
                there = ", ".join(f"{name} has {number:,}" for name, number in atoms.items() if number)
                yield Finding("atoms", f"it has {counts.atoms:,} atoms, and {there}", key, member.name)
            if length is not None and member.name == named and counts.frames not in (None, length):
                message = f"it has {counts.frames:,} frames, and the observables {length:,} values"
                yield Finding("frames", message, key, member.name)

    def _of_traces(self, key: str, member: MemberInfo) -> Iterator[Finding]:
        if member.digest not in self._traces:
            try:
                with self._backend.open_member(key, member.name) as stream:
                    start = stream.read(private_traces.BINARY_BYTES)
                    if b"\0" not in start:
                        start += stream.read(private_traces.MOST_BYTES - len(start))
            except StorageError:
                start = b""
            self._traces[member.digest] = private_traces.traces_of_file(start)
        yield from _findings(self._traces[member.digest], key, member.name)

    def _of_document(self, key: str) -> Iterator[Finding]:
        try:
            _, _, tree = self._backend.retrieve_document(key)
        except StorageError:
            return
        found = (trace for text in _texts_in(tree) for trace in private_traces.traces(text))
        yield from _findings(list(dict.fromkeys(found)), key, None)
        yield from _findings(self._traces_of_history(key), key, None)

    def _traces_of_history(self, key: str) -> list[Trace]:
        """Return who changed the object, and what notes say of people and their places."""
        try:
            events = self._backend.history(key)
        except StorageError:
            return []
        people = [Trace("user", f"{event.by}, in its history") for event in events if event.by]
        notes = [trace for event in events for trace in private_traces.traces(event.text)]
        return list(dict.fromkeys([*people, *notes]))

    def _atoms_of(self, key: str, member: MemberInfo) -> int | None:
        place = (member.digest, member.name)
        if place not in self._atoms:
            try:
                with self._backend.open_member(key, member.name) as stream:
                    self._atoms[place] = atom_counts.of_topology(member.name, stream)
            except StorageError:
                return None
        return self._atoms[place]

    def _counts_of(self, key: str, member: MemberInfo, *, frames: bool) -> Counts:
        place = (member.digest, member.name, frames)
        if place not in self._counts:
            try:
                with self._backend.open_member(key, member.name) as stream:
                    self._counts[place] = atom_counts.of_trajectory(
                        member.name, stream, size=member.size, frames=frames
                    )
            except StorageError:
                return Counts(None, None)
        return self._counts[place]


def _length_of_observables(stored: BaseStoredData | None) -> int | None:
    """Return how many values there are along the trajectory that a simulation names."""
    observables = getattr(stored, "observables", None)
    if not isinstance(stored, BaseSimulationData) or not isinstance(observables, ObservableFrame):
        return None
    return len(observables) or None


def _findings(found: list[Trace], key: str, member: str | None) -> Iterator[Finding]:
    by_kind: dict[str, list[str]] = {}
    for trace in found:
        by_kind.setdefault(trace.kind, []).append(trace.text[:_LONGEST_TRACE])
    for kind, texts in by_kind.items():
        more = f" and {len(texts) - _SHOWN_TRACES:,} more" if len(texts) > _SHOWN_TRACES else ""
        yield Finding(kind, "it has " + ", ".join(map(repr, texts[:_SHOWN_TRACES])) + more, key, member)


def _texts_of(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    return [part for part in value if isinstance(part, str)] if isinstance(value, list | tuple | set) else []


def _texts_in(tree: Any) -> Iterator[str]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            pending += node.keys()
            pending += node.values()
        elif isinstance(node, list | tuple) and not is_array(node):
            pending += node

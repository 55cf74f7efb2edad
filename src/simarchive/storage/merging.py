"""Copying objects from one store into another: merge, subset, import, export, and the plan of a merge.

Both sides are protocols. A `Source` has objects, and gives their files wherever they lie; a `Target` takes
them. Every backend is both; `Plan` is a target that keeps nothing.

Keys stay as they are. Where the target has another object under a key already, the copy gets a new
key and every reference to the old one in the other copied objects is changed with it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from simarchive.chemistry import Component, Substance
from simarchive.data import BaseStoredData
from simarchive.errors import CorruptError, FormatError, InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.keys import free_key
from simarchive.queries.substance import ComponentPattern
from simarchive.storage import duplicates
from simarchive.storage.ancillary import AncillaryData
from simarchive.storage.duplicates import Action, StoreOutcome
from simarchive.storage.incoming import Incoming
from simarchive.storage.publication.attributes import StoredMetadata
from simarchive.storage.publication.metadata import ArchiveMetadata, combined
from simarchive.storage.scratch import SharedFiles

KeepFilter = Callable[[BaseStoredData], bool]


class Side(Protocol):
    """What both sides have."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while something is copied. One that stands for another has its number as ``order``."""


class Source(Side, Protocol):
    """Where objects are copied from. The methods are called while `lock` is held."""

    def keys(self) -> list[str]:
        """Return the keys of all objects, in stored order."""

    def reading(self) -> AbstractContextManager[object]:
        """Have all reads in the block see one state."""

    def load(self, storage_key: str, /) -> BaseStoredData:
        """Return an object, which is the caller's own."""

    def members(self, storage_key: str, /, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object, wherever they lie, or ``None`` if it has no ancillary data."""


class Target(Side, Protocol):
    """Where objects are copied to. The methods are called while `lock` is held."""

    def is_same_store(self, other: object, /) -> bool:
        """Return whether a source is this very store."""

    def transaction(self) -> AbstractContextManager[object]:
        """Make all that is put in the block one change, if that can be had."""

    def put(
        self, stored: BaseStoredData, ancillary_data: AncillaryData | None, /, *, storage_key: str
    ) -> StoreOutcome:
        """Keep an object and its files under a key, or what `duplicates` decides; return what was done."""


LOGGER = logging.getLogger("simarchive")


@runtime_checkable
class Described(Protocol):
    """A side that says of itself what it is: title, authors, licence and so on."""

    def stored_metadata(self) -> StoredMetadata:
        """Return what it says."""

    def set_metadata(self, metadata: ArchiveMetadata, /) -> ArchiveMetadata:
        """Have it say something else."""

    def keys(self) -> list[str]:
        """Return the keys of all objects."""


@runtime_checkable
class Remembering(Protocol):
    """A side that knows what became of its objects."""

    def history_lines(self, storage_key: str, /) -> str:
        """Return the history of an object as it is kept."""

    def take_history(self, storage_key: str, lines: str, /, *, only_notes: bool) -> None:
        """Add what the other side knows of an object."""


@runtime_checkable
class Glancing(Protocol):
    """A source that gives objects of which only what is looked at is made."""

    def glance(self, storage_key: str, /) -> BaseStoredData:
        """Return an object to decide whether it is wanted; an error may come when something is looked at."""


@runtime_checkable
class Comparing(Protocol):
    """A target that can see at a glance that it has an object of a source of its own kind."""

    def references_if_there(self, source: object, storage_key: str, /) -> list[str] | None:
        """Return the keys that an object refers to, if the very same one is here, whole, under this key.

        ``None`` if it is not, or if only a look at all of it could tell.
        """


class Inventory(Side, Protocol):
    """What a plan asks of the store that would be changed."""

    def __contains__(self, storage_key: object, /) -> bool: ...

    def is_same_store(self, other: object, /) -> bool:
        """Return whether a source is this very store."""

    def possible_duplicates(self, incoming: Incoming, /) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects, at least all that may be duplicates of this one."""

    def members(self, storage_key: str, /) -> AncillaryData | None:
        """Return the files of an object."""


@dataclass(slots=True)
class MergeReport:
    """What a merge did, by key of the source."""

    stored: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  #: the target had them, or better ones
    new_keys: dict[str, str] = field(default_factory=dict)  #: key in the source -> key in the target
    reasons: dict[str, str] = field(default_factory=dict)
    """Why one was replaced, or kept though the new one is not equal, by key in the source."""
    unreadable: dict[str, str] = field(default_factory=dict)  #: key in the source -> what is wrong
    metadata: list[str] = field(default_factory=list)  #: what of the source's metadata was not taken, and why
    remarks: list[str] = field(default_factory=list)  #: what the source says of itself that is no problem

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{len(self.stored)} stored",
            f"{len(self.replaced)} replaced",
            f"{len(self.kept)} there already",
        ]
        if self.new_keys:
            parts.append(f"{len(self.new_keys)} under another key")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} left out")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SubstanceFilter:
    """Which substances and components are included and excluded; an empty part lets all pass."""

    include_substances: frozenset[str]  #: identifiers
    include_components: frozenset[ComponentPattern]
    exclude_substances: frozenset[str]
    exclude_components: frozenset[ComponentPattern]

    @classmethod
    def of(
        cls,
        include_substances: Iterable[Substance] | None = None,
        include_components: Iterable[Component | ComponentPattern | str] | None = None,
        exclude_substances: Iterable[Substance] | None = None,
        exclude_components: Iterable[Component | ComponentPattern | str] | None = None,
    ) -> SubstanceFilter:
        """Return the filter for any iterables.

        Parameters
        ----------
        include_components, exclude_components
            Components in one role, or SMILES of components in any role; a role may stand in braces, "C{sol}".

        Raises
        ------
        InvalidDataError
            If something is to be both included and excluded, or a SMILES cannot be read.
        """
        substances = [
            frozenset(substance.identifier for substance in values or ())
            for values in (include_substances, exclude_substances)
        ]
        components = [
            frozenset(ComponentPattern.of(component) for component in values or ())
            for values in (include_components, exclude_components)
        ]
        for what, both in (
            ("substance", substances[0] & substances[1]),
            ("component", components[0] & components[1]),
        ):
            if both:
                names = ", ".join(sorted(map(str, both)))
                raise InvalidDataError(f"the same {what} cannot be both included and excluded: {names}")
        return cls(substances[0], components[0], substances[1], components[1])

    @property
    def lets_all_pass(self) -> bool:
        """Whether no part says anything."""
        return not (
            self.include_substances
            or self.include_components
            or self.exclude_substances
            or self.exclude_components
        )

    def passes(self, stored: BaseStoredData) -> bool:
        """Return whether an object passes."""
        substance = getattr(stored, "substance", None)
        if not isinstance(substance, Substance):
            return not (self.include_substances or self.include_components)
        return self.passes_substance(substance)

    def passes_substance(self, substance: Substance) -> bool:
        """Return whether objects of a substance pass."""
        return (
            (not self.include_substances or substance.identifier in self.include_substances)
            and all(pattern.is_in(substance) for pattern in self.include_components)
            and substance.identifier not in self.exclude_substances
            and not any(pattern.is_in(substance) for pattern in self.exclude_components)
        )

    def may_pass(self, keys: Iterable[str], substances: Mapping[str, str]) -> list[str]:
        """Return the keys whose objects pass, as far as an index tells.

        Parameters
        ----------
        substances
            The identifier of the substance of each object that has one, by key. Objects without are not left
            out: only they themselves tell.
        """
        found = {
            identifier: self.passes_substance(Substance.from_identifier(identifier))
            for identifier in set(substances.values())
        }
        return [key for key in keys if key not in substances or found[substances[key]]]


def merge(
    target: Target,
    source: Source,
    *,
    keep: KeepFilter | None = None,
    keys: Iterable[str] | None = None,
    progress: Callable[[str], None] | None = None,
    batches: Callable[[Sequence[str]], Iterable[Sequence[str]]] | None = None,
) -> MergeReport:
    """Copy objects of `source` into `target` as one change; return what was done.

    Parameters
    ----------
    keep
        Which objects to copy; what they refer to is copied too. All by default.
    keys
        Those that may be copied, and what they refer to; no other object is read. All by default.
    progress
        Called with the key of each object after it was copied.
    batches
        Called with the keys of the objects that may be copied, in stored order; parts them. Each batch is one
        change then, so that what was done before an error stays. All are one by default.

    Notes
    -----
    An object of the source that cannot be read is reported and left out; an error of the target
    leaves the target as it was, or as it was before the batch.
    """
    report = MergeReport()
    only = None if keys is None else frozenset(keys)
    if target.is_same_store(source):
        report.kept = [key for key in source.keys() if only is None or key in only]  # noqa: SIM118
        return report
    with locked(source.lock, target.lock), SharedFiles() as shared:
        copying = _Copying(target, source, keep, report, shared)
        wanted = [key for key in copying.keys if only is None or key in only]
        # What the source says of itself is the first of several changes.
        rounds = [wanted] if batches is None else itertools.chain([[]], batches(wanted))
        for number, batch in enumerate(rounds):
            with target.transaction():
                if number == 0:
                    _take_metadata(target, source, report)
                for key, outcome in copying.run(batch):
                    _note(report, key, outcome)
                    if progress is not None:
                        progress(key)
    return report


def _note(report: MergeReport, key: str, outcome: StoreOutcome) -> None:
    """Put what was done with an object into the report."""
    if outcome.key != key:
        report.new_keys[key] = outcome.key
    if outcome.reason:
        report.reasons[key] = outcome.reason
    {
        Action.ADD: report.stored,
        Action.REPLACE: report.replaced,
        Action.KEEP: report.kept,
    }[outcome.action].append(key)


def _take_metadata(target: Target, source: Source, report: MergeReport) -> None:
    """Have the target say, too, what only the source says of itself; report what differs."""
    if not isinstance(target, Described) or not isinstance(source, Described):
        return
    with _of_the_source(source):
        found = source.stored_metadata()
    report.metadata += [f"{name}: not taken, {fault}" for name, fault in found.faults.items()]
    if found.metadata.is_empty:
        return
    mine = target.stored_metadata().metadata
    together = combined(mine, found.metadata, is_new=lambda: not target.keys())
    report.metadata += together.remarks
    if together.metadata != mine:
        target.set_metadata(together.metadata)


@contextlib.contextmanager
def locked(*locks: AbstractContextManager[Any]) -> Iterator[None]:
    """Hold several locks: taken in one order everywhere, so that nobody waits in a circle.

    Parameters
    ----------
    locks
        Those of backends. One that stands for another has its number as ``order``.
    """
    in_order = {getattr(lock, "order", id(lock)): lock for lock in locks}
    with contextlib.ExitStack() as stack:
        for number in sorted(in_order):
            stack.enter_context(in_order[number])
        yield


@dataclass(slots=True)
class _Copying:
    """One walk over the objects of a source, each after those that it refers to."""

    target: Target
    source: Source
    keep: KeepFilter | None
    report: MergeReport
    shared: SharedFiles
    keys: dict[str, None] = field(init=False)  #: of all objects of the source, in stored order
    _done: set[str] = field(default_factory=set)
    _waiting: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.keys = dict.fromkeys(self.source.keys())  # a backend's iterator would hold no lock

    def run(self, keys: Iterable[str]) -> Iterator[tuple[str, StoreOutcome]]:
        """Copy some objects; yield the key in the source and the outcome of each."""
        for wanted in keys:
            pending = [wanted]
            while pending:
                key, outcome = pending[-1], None
                first: list[str] = []
                if key not in self._done:
                    outcome, first = self._copied(key, is_referred_to=len(pending) > 1)
                if first:
                    pending.extend(reversed(first))
                    continue
                pending.pop()
                if outcome is not None:
                    yield key, outcome

    def _copied(self, key: str, *, is_referred_to: bool) -> tuple[StoreOutcome | None, list[str]]:
        """Copy an object unless it is not wanted, or unless others go first: these are returned."""
        outcome = None
        try:
            with self.source.reading():
                if not (is_referred_to or self.keep is None or self.keep(self._glance(key))):
                    return None, []
                if isinstance(self.target, Comparing):
                    known = self.target.references_if_there(self.source, key)
                    if known is not None:
                        first = self._to_go_first(key, known)
                        if first:
                            return None, first
                        if self.report.new_keys.keys().isdisjoint(known):
                            self._done.add(key)
                            outcome = StoreOutcome(key, Action.KEEP)
                            self._take_history(key, outcome)
                            return outcome, []
                stored = self._loaded(key)
                first = self._to_go_first(key, references(stored))
                if first:
                    return None, first
                for old in references(stored):
                    if old in self.report.new_keys:
                        rename_reference(stored, old, self.report.new_keys[old])
                outcome = self.target.put(stored, self._files(key), storage_key=key)
                self._take_history(key, outcome)
        except (CorruptError, FormatError, InvalidDataError, NotFoundError) as error:
            self.report.unreadable[key] = str(error)
        self._done.add(key)
        return outcome, []

    def _take_history(self, key: str, outcome: StoreOutcome) -> None:
        """Have the target know what became of an object in the source; of one that it had, the notes."""
        if not isinstance(self.target, Remembering) or not isinstance(self.source, Remembering):
            return
        try:
            with _of_the_source(self.source):
                lines = self.source.history_lines(key)
        except CorruptError as error:
            LOGGER.warning("object %r: %s: it is not copied", key, error)
            return
        if lines:
            self.target.take_history(outcome.key, lines, only_notes=outcome.action is Action.KEEP)

    def _glance(self, key: str) -> BaseStoredData:
        with _of_the_source(self.source):
            return self.source.glance(key) if isinstance(self.source, Glancing) else self.source.load(key)

    def _loaded(self, key: str) -> BaseStoredData:
        with _of_the_source(self.source):
            return self.source.load(key)

    def _files(self, key: str) -> AncillaryData | None:
        with _of_the_source(self.source):
            files = self.source.members(key, shared=self.shared)
            if files is not None:
                # Looked for now: what cannot be listed is a fault of the source, not of the target.
                _ = files.names
            return files

    def _to_go_first(self, key: str, referred_to: Sequence[str]) -> list[str]:
        # An object is read a second time only if it came before what it refers to.
        if key in self._waiting:
            return []
        self._waiting.add(key)
        return [
            other
            for other in dict.fromkeys(referred_to)
            if other in self.keys and other not in self._done and other not in self._waiting
        ]


@contextlib.contextmanager
def _of_the_source(source: Source) -> Iterator[None]:
    """Have an object that the system cannot read cost this object only; the target's errors end the merge.

    So does a server that does not answer: the next object would wait for it as long.
    """
    try:
        yield
    except StorageIOError as error:
        if getattr(source, "is_far", False):
            raise
        raise CorruptError(str(error)) from error


def references(stored: BaseStoredData) -> list[str]:
    """Return the keys of other objects that an object refers to."""
    found = []
    for name in type(stored).reference_fields:
        value = getattr(stored, name)
        if isinstance(value, str):
            found.append(value)
        elif value is not None:
            found.extend(value)
    return found


def rename_reference(stored: BaseStoredData, old: str, new: str) -> None:
    """Make an object refer to `new` wherever it refers to `old`."""
    for name in type(stored).reference_fields:
        value = getattr(stored, name)
        if value == old:
            setattr(stored, name, new)
        elif value is not None and not isinstance(value, str) and old in value:
            setattr(stored, name, type(value)(new if key == old else key for key in value))


# --- what a merge would do --------------------------------------------------------------------------------


def plan(
    target: Inventory | None,
    sources: Sequence[Source],
    *,
    keep: KeepFilter | None = None,
    keys: Sequence[Iterable[str] | None] | None = None,
) -> list[MergeReport]:
    """Return what merging each source into the target, one after another, would report.

    The decisions are made on documents and digests; nothing is copied or written.

    Parameters
    ----------
    target
        Where the objects would go; ``None`` for a new, empty store.
    keep, keys
        As for `merge`; of the keys, those of each source.
    """
    planned = Plan(target)
    # A later source may be compared with an earlier one: all are held at once, in the order of all merges.
    with locked(planned.lock, *(source.lock for source in sources)):
        chosen = [None] * len(sources) if keys is None else keys
        return [
            merge(planned, source, keep=keep, keys=only) for source, only in zip(sources, chosen, strict=True)
        ]


class Plan:
    """A target that remembers which objects it would have, and where their files are, but keeps none."""

    def __init__(self, target: Inventory | None) -> None:
        self._target = target
        self.lock: AbstractContextManager[Any] = contextlib.nullcontext() if target is None else target.lock
        self._objects: dict[str, tuple[BaseStoredData, AncillaryData | None]] = {}
        self._keys: dict[Hashable, list[str]] = {}  # by mark
        self._metadata = target.stored_metadata() if isinstance(target, Described) else StoredMetadata()

    def is_same_store(self, other: object, /) -> bool:
        """Return whether a source is the store that would be changed."""
        return self._target is not None and self._target.is_same_store(other)

    def stored_metadata(self) -> StoredMetadata:
        """Return what the store would say of itself."""
        return self._metadata

    def set_metadata(self, metadata: ArchiveMetadata, /) -> ArchiveMetadata:
        """Remember that it would say something else."""
        self._metadata = StoredMetadata(metadata)
        return metadata

    def keys(self) -> list[str]:
        """Return the keys of all objects that there would be."""
        there: list[str] = self._target.keys() if isinstance(self._target, Described) else []
        return list(dict.fromkeys((*there, *self._objects)))

    def transaction(self) -> AbstractContextManager[object]:
        """Do nothing: there is nothing to take back."""
        return contextlib.nullcontext()

    def put(
        self, stored: BaseStoredData, ancillary_data: AncillaryData | None, /, *, storage_key: str
    ) -> StoreOutcome:
        """Return what would be done."""
        stored.validate()
        incoming = Incoming(stored)
        decision = duplicates.decide(
            stored,
            self._possible_duplicates(incoming),
            lambda key: _digests(self._files(key)) == _digests(ancillary_data),
        )
        key = decision.existing_key or free_key(storage_key, self._has)
        if decision.action is not Action.KEEP:
            self._objects[key] = stored, ancillary_data
            for mark in incoming.marks():
                self._keys.setdefault(mark, []).append(key)
        return StoreOutcome(key, decision.action, decision.reason)

    def _has(self, storage_key: str) -> bool:
        return storage_key in self._objects or (self._target is not None and storage_key in self._target)

    def _possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        for key in dict.fromkeys(key for mark in incoming.marks() for key in self._keys.get(mark, ())):
            yield key, self._objects[key][0]
        if self._target is not None:
            for key, stored in self._target.possible_duplicates(incoming):
                if key not in self._objects:
                    yield key, stored

    def _files(self, key: str) -> AncillaryData | None:
        if key in self._objects:
            return self._objects[key][1]
        return None if self._target is None else self._target.members(key)


def _digests(files: AncillaryData | None) -> dict[str, str]:
    return {} if files is None else files.digests()

"""The contract of a backend, from top to bottom: what every store does, and what it builds that on.

A new backend implements exactly `_store_object`, `_retrieve_object` and `_object_exists`; all are called
under the backend's reentrant lock. Everything else has a default that is built on these three. A backend that
knows better overrides public methods, or the hooks at the end of `StorageBackend`. `simarchive.testing` has
the tests that any backend has to pass.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from simarchive.errors import InvalidDataError, NotFoundError, WrongTypeError
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import check_key, free_key
from simarchive.ground.signals import OpenBlock
from simarchive.ground.thread_lock import ThreadLock
from simarchive.storage import duplicates
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.display.views import Displayed, FoundData
from simarchive.storage.duplicates import Action, StoreOutcome
from simarchive.storage.finding import key_prefixes
from simarchive.storage.finding.matches import Match, arranged_matches, class_names
from simarchive.storage.incoming import Incoming

if TYPE_CHECKING:
    from simarchive.chemistry.components import Component
    from simarchive.chemistry.force_fields import ForceFieldSource
    from simarchive.chemistry.substances import Substance
    from simarchive.data import BaseStoredData
    from simarchive.queries import BaseDataQuery
    from simarchive.storage.merging import MergeReport
    from simarchive.storage.scratch import SharedFiles


LOGGER = logging.getLogger("simarchive")

REGISTRY_KEY = "object_keys"
"""The key of the registry that a backend without a better one keeps among its objects."""


class StorageBackend(Displayed, abc.ABC):
    """A store of simulation data: objects with unique keys, ancillary files, and queries.

    Attributes
    ----------
    lock
        What every public method holds while it works: the threads of a process take turns. Whoever needs the
        locks of two backends takes them with `merging.locked`.

    Notes
    -----
    Public methods may be called from several threads of one process.
    """

    def __init__(self, lock: ThreadLock | None = None) -> None:
        self.lock = lock or ThreadLock(f"this {type(self).__name__}", can_fork=True)

    # --- the three things that every backend must do ------------------------------------------------------

    @abc.abstractmethod
    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        """Keep an object, and a copy of its ancillary directory, under a key; replace what is there.

        The object and the key have been checked. If it fails, what was stored before must still be.
        """

    @abc.abstractmethod
    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        """Return the object and the path of its ancillary data, or ``(None, None)``."""

    @abc.abstractmethod
    def _object_exists(self, storage_key: str) -> bool:
        """Return whether an object is stored under the key."""

    # --- storing ---------------------------------------------------------------------------------------

    def store_object(
        self,
        object_to_store: BaseStoredData,
        ancillary_data_path: PathLike | None = None,
        *,
        storage_key: str | None = None,
        follow_links: bool = False,
    ) -> str:
        """Store an object and a copy of its ancillary data; return its key.

        An object that is there already keeps its key: an identical one is not stored again, and of two
        measurements of the same calculation (`ReplaceableData`) the one with most information stays,
        under the old key. Ties go to the new one.

        Parameters
        ----------
        object_to_store
            A complete object of a registered data class.
        ancillary_data_path
            The directory with its files; required if the class has ancillary data, refused otherwise.
            It is copied, never moved.
        storage_key
            The key for an object that is new here; by default a random one.
        follow_links
            Links to files outside of the directory count as these files.

        Raises
        ------
        InvalidDataError
            If the object is incomplete or cannot be read back, a file that it names is missing, or the
            ancillary data is missing, unexpected, not a directory, or has links that lead out of it.
        """
        return self.store(
            object_to_store, ancillary_data_path, storage_key=storage_key, follow_links=follow_links
        ).key

    def store(
        self,
        object_to_store: BaseStoredData,
        ancillary_data_path: PathLike | None = None,
        *,
        storage_key: str | None = None,
        follow_links: bool = False,
    ) -> StoreOutcome:
        """Do what `store_object` does; return the key, and whether something was replaced, and what.

        What is replaced is logged as a warning, too. Parameters and errors are those of `store_object`.
        """
        path = ancillary_data_path
        files = None if path is None else DirectoryFiles(path, follow_links=follow_links)
        outcome = self.put(object_to_store, files, storage_key=storage_key)
        if outcome.action is Action.REPLACE:
            LOGGER.warning("object %s", outcome)
        return outcome

    def put(
        self,
        object_to_store: BaseStoredData,
        ancillary_data: AncillaryData | None = None,
        *,
        storage_key: str | None = None,
        replacing: str | None = None,
    ) -> StoreOutcome:
        """Do what `store_object` does, with files from wherever they lie; return also what was done.

        Parameters
        ----------
        ancillary_data
            Its files: a `DirectoryFiles`, or what `members` of any backend returned.
        replacing
            The key of an object whose place it takes, whatever `duplicates` would decide.
        """
        _check_class(object_to_store)
        incoming = Incoming.checked(object_to_store, ancillary_data)
        if storage_key is not None:
            check_key(storage_key)
        with self.lock, self._atomic():
            if replacing is not None:
                if replacing not in self:
                    raise NotFoundError(f"no object has the key {replacing!r}: nothing was stored")
                decision = duplicates.Decision(Action.REPLACE, replacing)
            else:
                decision = duplicates.decide(
                    object_to_store,
                    self.possible_duplicates(incoming),
                    lambda key: self._has_same_files(key, ancillary_data),
                    lambda key: self._is_damaged(key, incoming),
                    incoming.damaged_twins,
                )
            key = decision.existing_key or free_key(storage_key, self._object_exists)
            replaced = self._in_words(key) if decision.action is Action.REPLACE else ""
            if decision.action is not Action.KEEP:
                self._put(incoming, key, is_new=not decision.existing_key)
                self._register_key(key, object_to_store)
            return StoreOutcome(key, decision.action, decision.reason, replaced)

    def store_force_field(self, force_field: ForceFieldSource) -> str:
        """Store a force field source and return its key; one that is there already keeps its key."""
        from simarchive.data import ForceFieldData

        return self.store_object(ForceFieldData(force_field_source=force_field))

    def add_run(
        self, directory: PathLike, *, storage_key: str | None = None, follow_links: bool = False, **known: Any
    ) -> str:
        """Store a run of a simulation program, with all of its files and what they say; return its key.

        Parameters and errors are those of `simarchive.read_run`, which only reads, and of `store_object`.
        The same files with another name, other tags or other metadata are another run.
        """
        from simarchive.storage.runs import read_run

        files = DirectoryFiles(directory, follow_links=follow_links)
        reading = read_run(directory, files=files.paths, **known)
        return self.put(reading.run, files, storage_key=storage_key).key

    def remove_object(self, storage_key: str) -> None:
        """Remove an object and its ancillary data.

        Raises
        ------
        NotFoundError
            If there is no object under the key.
        """
        with self.lock, self._atomic():
            if storage_key not in self:
                raise NotFoundError(f"no object has the key {storage_key!r}: nothing was removed")
            self._remove_object(storage_key)

    def transaction(self) -> AbstractContextManager[Self]:
        """Keep other threads out of the block; a backend that can makes all changes in it one, or none.

        Here each change is final when its method returns.
        """
        return OpenBlock(self.lock, self, lambda: self.lock.is_mine)

    # --- retrieving ------------------------------------------------------------------------------------

    def retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        """Return a stored object and the path of its extracted ancillary data.

        Returns
        -------
        stored_object
            The caller's own copy, or ``None`` if no object has the key.
        path
            A directory, or ``None`` if the object has no ancillary data.

        Raises
        ------
        WrongTypeError
            If the object is not of the expected type.
        """
        with self.lock:
            if storage_key not in self:
                return None, None
            stored, path = self._retrieve_object(storage_key, expected_type)
            if stored is not None and expected_type is not None and not isinstance(stored, expected_type):
                raise WrongTypeError(
                    f"object {storage_key!r} is a {type(stored).__name__},"
                    f" not a {expected_type.__name__}: ask for another type or key"
                )
            return stored, path

    def retrieve_force_field(self, storage_key: str) -> ForceFieldSource:
        """Return the force field source stored under a key.

        Raises
        ------
        NotFoundError
            If no object has the key.
        WrongTypeError
            If the object is not a force field.
        """
        from simarchive.data import ForceFieldData

        stored, _ = self.retrieve_object(storage_key, ForceFieldData)
        if stored is None:
            raise NotFoundError(f"no force field has the key {storage_key!r}")
        assert isinstance(stored, ForceFieldData)
        assert stored.force_field_source is not None
        return stored.force_field_source

    def load(self, storage_key: str) -> BaseStoredData:
        """Return an object alone, without a path of its files.

        Raises
        ------
        NotFoundError
            If no object has the key.
        """
        with self.lock:
            stored, _ = self._retrieve_object(storage_key)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        return stored

    def members(self, storage_key: str, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object, wherever they lie, or ``None`` if it has no ancillary data.

        Parameters
        ----------
        shared
            What keeps the files that objects share, for one who asks for the directories of many.

        Raises
        ------
        NotFoundError
            If no object has the key.
        """
        with self.lock:
            stored, path = self._retrieve_object(storage_key)
        if stored is None:
            raise NotFoundError(f"no object has the key {storage_key!r}")
        return None if path is None else DirectoryFiles(path)

    def file_digests(self, storage_key: str) -> dict[str, str]:
        """Return the BLAKE3 digest of each file of an object, by name; empty folders have an empty one."""
        with self.reading():
            files = self.members(storage_key)
            return {} if files is None else files.digests()

    def has_object(self, storage_object: BaseStoredData) -> str | None:
        """Return the key under which `store_object` would find this object already there, or ``None``.

        An object counts as there if its document is identical, or if it is another measurement of the
        same calculation.
        """
        _check_class(storage_object)
        with self.lock:
            return duplicates.find(storage_object, self.possible_duplicates(Incoming(storage_object)))

    def has_force_field(self, force_field: ForceFieldSource) -> str | None:
        """Return the key of a stored force field source that equals this one, or ``None``."""
        from simarchive.data import ForceFieldData

        return self.has_object(ForceFieldData(force_field_source=force_field))

    def possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects of the same class, at least all that may be duplicates of this one."""
        for key in self._object_keys((incoming.class_name,)):
            stored, _ = self._retrieve_object(key)
            if stored is not None:
                yield key, stored

    def reading(self) -> AbstractContextManager[object]:
        """Have all reads in the block see one state of the store, as far as the backend can."""
        return OpenBlock(self.lock, self, lambda: self.lock.is_mine)

    def __len__(self) -> int:
        with self.lock:
            return len(self._object_keys())

    def __contains__(self, storage_key: object) -> bool:
        with self.lock:
            return _is_user_key(storage_key) and self._is_stored(str(storage_key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, storage_key: str) -> BaseStoredData:
        """Return what `load` does; the start of a key is enough, as for `full_key`."""
        return self.load(self.full_key(storage_key))

    def full_key(self, text: str) -> str:
        """Return the one key that is a text, or starts with it.

        Raises
        ------
        NotFoundError
            If no key starts with it.
        InvalidDataError
            If several keys do; the message names them.
        """
        return key_prefixes.resolve(self, text)

    # --- queries -----------------------------------------------------------------------------------------

    def query(self, data_query: BaseDataQuery | str) -> FoundData:
        """Return the objects that match a query, grouped by the matched values.

        Parameters
        ----------
        data_query
            A query, or an expression such as ``"phase=liquid T=290..310K"``: see `parse_query`. So for all
            methods that take a query.

        Returns
        -------
        matches
            A dict that shows itself as a table. Its keys are tuples of the matched values: the substance
            first, then the criteria in the order in which the query class declares them. Its values are lists
            of ``(key, object, path)``; `path` is ``None`` for an object without ancillary data.
        """
        data_query = self.asked(data_query)
        with self.lock:
            found = FoundData()
            for matched, match in self._matches(data_query):
                found.setdefault(matched, []).append(match)
            return found

    def keys(self, data_query: BaseDataQuery | str | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order.

        A query that finds several classes gives them class by class, unless it says how to order them.
        """
        with self.lock:
            if data_query is None:
                return self._object_keys()
            return [key for _, (key, _, _) in self._matches(self.asked(data_query))]

    def count(self, data_query: BaseDataQuery | str) -> int:
        """Return how many objects match a query."""
        return len(self.keys(data_query))

    def asked(self, data_query: BaseDataQuery | str) -> BaseDataQuery:
        """Return a query that was validated, given as such or as an expression.

        Raises
        ------
        QuerySyntaxError, InvalidDataError
            If it makes no sense.
        """
        if isinstance(data_query, str):
            from simarchive.queries import parse_query

            return parse_query(data_query, self.data_class)
        data_query.validate()
        return data_query

    def data_class(self, name: str) -> type[BaseStoredData] | None:
        """Return the data class of a name as this backend knows it, or ``None``."""
        from simarchive.data import data_class_named

        return data_class_named(name)

    # --- combining -------------------------------------------------------------------------------------

    def update(self, other: StorageBackend) -> MergeReport:
        """Copy every object of another backend into this one; keys stay as they are.

        Returns
        -------
        report
            What was stored, replaced and skipped, and which keys had to change because this backend
            already has another object under them. References to such keys change along.
        """
        from simarchive.storage import merging

        return merging.merge(self, other)

    def __iadd__(self, other: StorageBackend) -> Self:
        self.update(other)
        return self

    def is_same_store(self, other: object) -> bool:
        """Return whether another backend keeps its objects in the same place."""
        return self is other

    def subset(
        self,
        destination: PathLike,
        include_substances: Iterable[Substance] | None = None,
        include_components: Iterable[Component] | None = None,
        exclude_substances: Iterable[Substance] | None = None,
        exclude_components: Iterable[Component] | None = None,
    ) -> Self:
        """Return a new backend at `destination` with the objects that pass all filters.

        An object passes if its substance is one of `include_substances`, holds every one of
        `include_components`, is none of `exclude_substances` and holds none of `exclude_components`; a
        filter that is empty or ``None`` lets all pass. Objects without a substance pass when nothing
        is to be included by substance. What a passing object refers to (its force field) comes along.

        Raises
        ------
        ConflictError
            If something is at `destination` already.
        """
        from simarchive.storage import merging

        filters = merging.SubstanceFilter.of(
            include_substances, include_components, exclude_substances, exclude_components
        )
        target = self._new_at(destination)
        merging.merge(target, self, keep=filters.passes)
        return target

    # --- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release whatever the backend holds; nothing by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- hooks with defaults: changes ----------------------------------------------------------------------

    def _atomic(self) -> AbstractContextManager[object]:
        """Return a context in which all changes become one, or none; here: each change is its own."""
        return contextlib.nullcontext()

    def _put(self, incoming: Incoming, storage_key: str, *, is_new: bool) -> None:
        """Do what `_store_object` does, with what is known already; inside `_atomic`.

        Parameters
        ----------
        is_new
            No object has the key.
        """
        with incoming.directory() as directory:
            self._store_object(incoming.stored, storage_key, directory)

    def _in_words(self, storage_key: str) -> str:
        """Return what is stored under a key, for people; an empty text if that cannot be told."""
        return ""

    def _remove_object(self, storage_key: str) -> None:
        """Forget an object; a backend that can also frees its room."""
        registry = self._registry()
        del registry[storage_key]
        self._write_registry(registry)

    def _has_same_files(self, storage_key: str, files: AncillaryData | None) -> bool:
        """Return whether an object has these files, which are ``None`` for a class without any."""
        stored = None if files is None else self.members(storage_key)
        return files is None or (stored is not None and stored.is_same_as(files))

    def _is_damaged(self, storage_key: str, incoming: Incoming) -> bool:
        """Return whether a stored object was the same as this one, and cannot be read whole any more."""
        return False

    def _new_at(self, destination: PathLike) -> Self:
        """Return a new empty backend of this kind at a place where nothing is."""
        raise InvalidDataError(f"{type(self).__name__} cannot make a new store at {os.fspath(destination)!r}")

    # --- hooks with defaults: the keys of all objects, kept in a registry among the objects -----------------

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        """Return the keys of all objects, or of the classes named, in stored order."""
        return [
            key
            for key, class_name in self._registry().items()
            if (class_names is None or class_name in class_names) and self._object_exists(key)
        ]

    def _is_stored(self, storage_key: str) -> bool:
        """Return whether a key is that of an object which was stored and not removed."""
        return storage_key in self._registry() and self._object_exists(storage_key)

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        """Note that an object was stored under a key."""
        registry = self._registry()
        if registry.get(storage_key) != type(stored).data_class_name:
            self._write_registry({**registry, storage_key: type(stored).data_class_name})

    # --- hooks with defaults: queries ----------------------------------------------------------------------

    def _candidates(self, data_query: BaseDataQuery) -> Iterable[str]:
        """Return the keys of at least all objects that match a query, in stored order."""
        return self._object_keys(class_names(data_query))

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        """Yield the matched values and the match of each object that matches, ordered and limited."""
        found = []
        for key in self._candidates(data_query):
            stored, path = self._retrieve_object(key)
            if stored is None:
                continue
            matched = data_query.apply(stored)
            if matched is not None:
                found.append((matched, Match(key, stored, path)))
        yield from arranged_matches(data_query, found)

    # --- the parts of the above ----------------------------------------------------------------------------

    def _registry(self) -> dict[str, str]:
        """Return the data class by key."""
        from simarchive.storage.finding.key_registry import StoredObjectKeys

        registry, _ = self._retrieve_object(REGISTRY_KEY)
        if not isinstance(registry, StoredObjectKeys):
            return {}
        return dict(zip(registry.object_keys or (), registry.object_classes or (), strict=True))

    def _write_registry(self, registry: dict[str, str]) -> None:
        from simarchive.storage.finding.key_registry import StoredObjectKeys

        stored = StoredObjectKeys(object_keys=list(registry), object_classes=list(registry.values()))
        self._store_object(stored, REGISTRY_KEY, None)


def _check_class(stored: object) -> None:
    from simarchive.data import BaseStoredData

    if not isinstance(stored, BaseStoredData):
        raise WrongTypeError(f"only objects of a data class can be stored, not {type(stored).__name__}")


def _is_user_key(storage_key: object) -> bool:
    try:
        return check_key(storage_key) != REGISTRY_KEY
    except InvalidDataError:
        return False

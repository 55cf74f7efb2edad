"""Looking at a container: its documents as they are kept, its index as a table, its health."""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.container.container import Container
from simarchive.container.contents import ObjectHeader, ReadDocument
from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import ConflictError, CorruptError, InvalidDataError, NotFoundError
from simarchive.ground.conditions import Condition, Value
from simarchive.queries import BaseDataQuery
from simarchive.storage.hdf5 import indexing, repair, selection, statistics, tabulation, verification
from simarchive.storage.hdf5.repair import RepairReport
from simarchive.storage.hdf5.statistics import ContainerStatistics
from simarchive.storage.hdf5.verification import VerificationReport

if TYPE_CHECKING:
    import pandas

Progress = Callable[[int], None]

# So many headers are read at a time: a walk that is given up early reads few in vain.
_HEADERS_AT_ONCE = 256


class Inspection(ABC):
    """What `HDF5Storage` tells about what it keeps."""

    _container: Container

    @abstractmethod
    def keys(self, data_query: BaseDataQuery | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order."""

    # --- documents as they are kept ---------------------------------------------------------------------

    def retrieve_document(self, storage_key: str) -> tuple[str, int, Any]:
        """Return the name and version of an object's data class, and its document as a tree.

        The tree holds JSON values, and arrays that are read when someone looks at them. It is there for
        objects of data classes that are not registered, too.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        with self._container.reading() as contents:
            found = contents.document(storage_key, functools.partial(self._array, storage_key))
            return found.data_class, found.data_class_version, found.tree

    def class_name_of(self, storage_key: str) -> str:
        """Return the registered name of an object's data class.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        with self._container.reading() as contents:
            return contents.class_name(storage_key)

    def select(self, class_names: Iterable[str], conditions: Sequence[Condition] = ()) -> list[str]:
        """Return the keys of the objects of some data classes whose indexed values fulfil all conditions.

        Where a class has no usable index, all its keys are returned: a caller has the last word.
        """
        with self._container.reading() as contents:
            return selection.select_by(contents, class_names, conditions)

    def header(self, storage_key: str) -> ObjectHeader:
        """Return what is known of an object without reading its document.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        with self._container.reading() as contents:
            return contents.header(storage_key)

    def headers(
        self, on_damaged: Callable[[str, CorruptError], None] | None = None
    ) -> Iterator[ObjectHeader]:
        """Yield the header of each object in stored order.

        The objects are those that are there at the first step; one that is removed before its turn is left
        out. Nothing is held between two steps: the container can be changed meanwhile.

        Parameters
        ----------
        on_damaged
            Called with the key of an object whose header cannot be read, and the error; by default it is
            raised.
        """
        with self._container.reading() as contents:
            keys = contents.keys()
        for start in range(0, len(keys), _HEADERS_AT_ONCE):
            for key, found in self._headers_of(keys[start : start + _HEADERS_AT_ONCE]):
                if isinstance(found, ObjectHeader):
                    yield found
                elif on_damaged is None:
                    raise found
                else:
                    on_damaged(key, found)

    def _headers_of(self, keys: Sequence[str]) -> list[tuple[str, ObjectHeader | CorruptError]]:
        """Return what can be read of the headers of some objects; those that are gone are left out."""
        headers: list[tuple[str, ObjectHeader | CorruptError]] = []
        with self._container.reading() as contents:
            for key in keys:
                try:
                    headers.append((key, contents.header(key)))
                except CorruptError as error:
                    headers.append((key, error))
                except NotFoundError:
                    continue
        return headers

    def statistics(self) -> ContainerStatistics:
        """Return how much the container holds, and how much room it takes."""
        return statistics.statistics(self._container)

    def columns(
        self, data_query: BaseDataQuery, names: Sequence[str] | None = None
    ) -> dict[str, list[Value]]:
        """Return the indexed values of the objects that match a query, as columns of equal length.

        The first column is ``"key"``; the others are those named, or all. Temperatures are in kelvin,
        pressures in pascals. No document is read unless the index cannot be used.
        """
        return tabulation.plain(self._columns(data_query, names))

    def table(self, data_query: BaseDataQuery) -> pandas.DataFrame:
        """Return the indexed values of the objects that match a query, one row each, as a DataFrame.

        Needs pandas (``pip install 'simarchive[table]'``). The keys are its index; temperatures are in
        kelvin and pressures in pascals. No document is read unless the index cannot be used.
        """
        return tabulation.data_frame(self._columns(data_query, None))

    def explain(self, data_query: BaseDataQuery) -> str:
        """Return in words how the index answers a query in this container."""
        data_query.validate()
        with self._container.reading() as contents:
            return selection.explain(contents, data_query)

    # --- care ------------------------------------------------------------------------------------------

    def verify(self, *, full: bool = False, progress: Progress | None = None) -> VerificationReport:
        """Check every object, member and index table; return what is wrong. Nothing is changed.

        Parameters
        ----------
        full
            Also decode every member and compare its digest. Without it every stored byte is read and
            compared with its CRC-32.
        progress
            Called with the bytes of each member after it was checked.
        """
        return verification.verify(self._container, full=full, progress=progress)

    def rebuild_index(self) -> dict[str, int]:
        """Make the whole index anew from the objects, as one transaction; return the rows by data class."""
        with self._container.transaction() as contents:
            return indexing.rebuild_all(contents)

    def repair(self) -> RepairReport:
        """Set damaged objects aside and make the index anew, as one transaction; return what was done.

        An object is damaged if its document or an array of it cannot be read or does not match its digest.
        It is moved to the group ``/set_aside`` of the container, where it is no object any more; nothing is
        deleted. Members that cannot be read stay where they are: `verify` names them.
        """
        return repair.repair(self._container)

    # --- the parts of the above ----------------------------------------------------------------------

    def _array(self, key: str, identity: str, name: str) -> np.ndarray[Any, Any]:
        if self._container.closed:
            with contextlib.closing(Container(self._container.path, writable=False)) as container:
                return _array_of(container, key, identity, name)
        return _array_of(self._container, key, identity, name)

    def _columns(self, data_query: BaseDataQuery, names: Sequence[str] | None) -> dict[str, Any]:
        data_query.validate()
        chosen = tabulation.column_names(data_query, names)
        with self._container.reading() as contents:
            found = tabulation.columns_of_index(contents, data_query, chosen)
            if found is None:
                found = tabulation.columns_of_keys(contents, data_query, self.keys(data_query), chosen)
        return found


def interpret(key: str, document: ReadDocument, *, lazily: bool = False) -> BaseStoredData:
    """Return the object that a document says.

    Raises
    ------
    InvalidDataError
        If its data class is not registered in this process, or the document does not fit the class.
    """
    data_class = data_class_named(document.data_class)
    if data_class is None:
        raise InvalidDataError(
            f"object {key!r} is of the data class {document.data_class!r}, which is not registered:"
            " import the module that defines it"
        )
    return data_class.from_document(document.tree, document.data_class_version, lazily=lazily)


def _array_of(container: Container, key: str, identity: str, name: str) -> np.ndarray[Any, Any]:
    with container.reading() as contents:
        if key not in contents or contents.identity(key) != identity:
            raise ConflictError(f"object {key!r} was replaced or removed before its array {name!r} was read")
        return contents.variable(key, name)

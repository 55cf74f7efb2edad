"""`HDF5Storage`: a whole collection of simulation data in one HDF5 file."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from simarchive.conditions import Condition
from simarchive.container.container import Container
from simarchive.container.contents import Contents, ObjectHeader, StoredDocument
from simarchive.container.documents import identity_digest
from simarchive.container.members import MemberInfo
from simarchive.data import BaseStoredData, ReplaceableData, data_class_named, name_and_subclasses
from simarchive.errors import ConflictError, CorruptError, InvalidDataError, NotFoundError, ReadOnlyError, WrongTypeError
from simarchive.journal import Durability
from simarchive.queries import BaseDataQuery
from simarchive.storage import indexing
from simarchive.storage.ancillary import ancillary_files
from simarchive.storage.ancillary_path import AncillaryPath
from simarchive.storage.backend import PathLike, StorageBackend
from simarchive.storage.scratch import Scratch

if TYPE_CHECKING:
    import pandas


class HDF5Storage(StorageBackend):
    """A storage backend that keeps everything in one HDF5 file, the container.

    Each object is a group with its document as JSON text, its large arrays as variables with units, and
    its files byte for byte as chunked datasets. Every change is a transaction: whatever happens, the
    file opens at the last commit. Several processes may have the same container open; they take turns
    writing, and readers see the last committed state.

    Parameters
    ----------
    path
        The container. It is made if it is missing and `mode` is ``"a"``; an existing one is not written
        to by opening it.
    mode
        ``"a"`` to read and change, ``"r"`` to read: works on read-only media, never writes there.
    scratch_directory
        Where files are extracted to. A directory that is named stays when the backend is closed, and its
        files are used again; by default a temporary one is made, which vanishes with the backend.
    codec
        How new members are stored: ``"deflate"`` (every HDF5 reads it), ``"zstd"`` (smaller and faster,
        needs a plugin elsewhere), ``"trajectory"`` (smallest), ``"raw"``.
    durability
        ``"commit"``: what a call stored is on the disk when it returns. ``"close"``: only when the backend
        is closed, which is faster; a power cut may lose the last commits, never the file.
    lock_timeout_s
        How long to wait for another process that is writing.

    Examples
    --------
    >>> with HDF5Storage("water.h5") as backend:  # doctest: +SKIP
    ...     query = SimulationDataQuery()
    ...     query.substance = Substance.from_components("O")
    ...     query.property_phase = PropertyPhase.Liquid
    ...     found_data = backend.query(query)
    """

    def __init__(
        self,
        path: PathLike = "stored_data.h5",
        mode: str = "a",
        scratch_directory: PathLike | None = None,
        *,
        codec: str = "deflate",
        durability: str | Durability = Durability.COMMIT,
        lock_timeout_s: float = 10.0,
    ) -> None:
        super().__init__()
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        self.codec = checked_codec(codec)
        self._container = Container(
            _checked_path(path),
            writable=mode == "a",
            durability=Durability(durability),
            lock_timeout_s=lock_timeout_s,
            lock=self._lock,
        )
        self._scratch_directory = None if scratch_directory is None else Path(scratch_directory).absolute()
        self._scratch: Scratch | None = None

"""`HDF5Storage`: a whole collection of simulation data in one HDF5 file.

This is the facade. What it is composed of stands beside it: `answers` (which keys a query selects, tables),
`members` (files), `indexing` (the index kept in step), `verification` and `upkeep`. Below all of them is the
container, which knows groups, documents as text, members as bytes, and index tables.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from simarchive.codecs import check_codec
from simarchive.container.changing.authors import author
from simarchive.container.changing.history import Event
from simarchive.container.changing.removed import RemovedObject
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.members import MemberInfo
from simarchive.container.members.pipeline import Progress
from simarchive.container.objects import ObjectHeader, StoredDocument
from simarchive.errors import ClosedError, ConflictError, CorruptError, InvalidDataError, NotFoundError
from simarchive.ground.conditions import Condition, Value
from simarchive.ground.filesystem import PathLike
from simarchive.ground.keys import new_key
from simarchive.ground.texts import count_text, date_text
from simarchive.ground.thread_lock import ThreadLock
from simarchive.journal import Durability
from simarchive.remote.address import Address, name_of
from simarchive.storage.ancillary import AncillaryData, DirectoryFiles
from simarchive.storage.backend import StorageBackend
from simarchive.storage.display.rows import substances_of
from simarchive.storage.finding.matches import Match, arranged_matches
from simarchive.storage.hdf5 import (
    amending,
    answers,
    classes,
    grouping,
    indexing,
    listing,
    restoring,
    upkeep,
    verification,
)
from simarchive.storage.hdf5.copies import copying, splitting
from simarchive.storage.hdf5.copies.copying import PullPlan
from simarchive.storage.hdf5.copies.splitting import Volume
from simarchive.storage.hdf5.dataset import dataset_of
from simarchive.storage.hdf5.grouping import GroupStatistics
from simarchive.storage.hdf5.members import Members, to_store
from simarchive.storage.hdf5.restoring import RestoredObject
from simarchive.storage.hdf5.upkeep import ContainerOverview, ContainerStatistics, RepairReport
from simarchive.storage.hdf5.verification import VerificationReport
from simarchive.storage.incoming import Incoming
from simarchive.storage.publication import attributes
from simarchive.storage.publication.attributes import StoredMetadata
from simarchive.storage.publication.metadata import FIELDS, ArchiveMetadata
from simarchive.storage.scratch import AncillaryPath, SharedFiles
from simarchive.storage.trajectories import opening as trajectories

if TYPE_CHECKING:
    import MDAnalysis
    import pandas
    import xarray
    from mdtraj import Trajectory as MdtrajTrajectory

    from simarchive.data import BaseStoredData
    from simarchive.queries import BaseDataQuery
    from simarchive.storage.merging import MergeReport
    from simarchive.storage.trajectories.frames import Frames

# So many headers are read at a time: a walk that is given up early reads few in vain.
_HEADERS_AT_ONCE = 256


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
        to by opening it. To read, it may be at a URL (``https://``, ``s3://``, ``gs://``, ``az://``), which
        needs obstore (``pip install 'simarchive[remote]'``), or a binary file object, of fsspec for example,
        which stays open.
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
    scratch_max_bytes
        Bound on the size of the scratch directory: what was unused for longest makes room.
    log_directory
        Where the redo log lies until `close`, if not beside the container: a way out when its device is full.
        Meanwhile nobody else can open the container.

    Notes
    -----
    A backend can be pickled, as Dask and `multiprocessing` do to send it to workers: there it opens the
    container again, and sees the last commit.

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
        path: PathLike | BinaryIO = "stored_data.h5",
        mode: str = "a",
        scratch_directory: PathLike | None = None,
        *,
        codec: str = "deflate",
        durability: str | Durability = Durability.COMMIT,
        lock_timeout_s: float = 10.0,
        scratch_max_bytes: int | None = None,
        log_directory: PathLike | None = None,
    ) -> None:
        place = _checked_name(path)
        super().__init__(ThreadLock(f"container '{place}'", lock_timeout_s))
        if mode not in ("a", "r"):
            raise InvalidDataError(f"mode {mode!r} is not known: use 'a' to read and change, 'r' to read")
        check_codec(codec)
        self.codec = codec
        self._container = Container(
            place if isinstance(path, (str, os.PathLike)) else path,
            writable=mode == "a",
            durability=_checked_durability(durability),
            lock_timeout_s=lock_timeout_s,
            lock=self.lock,
            log_directory=None if log_directory is None else os.fspath(Path(log_directory).absolute()),
        )
        self._scratch_directory = None if scratch_directory is None else Path(scratch_directory).absolute()
        self._members = Members(self._container, self._scratch_directory, scratch_max_bytes)
        self._options = {
            "codec": codec,
            "durability": _checked_durability(durability).value,
            "lock_timeout_s": lock_timeout_s,
            "scratch_max_bytes": scratch_max_bytes,
        }
        # What no other process can open: a log elsewhere, an open file object.
        self._is_of_this_process = log_directory is not None or not isinstance(path, (str, os.PathLike))
        self._index_checked_at = -1
        self._told_of_misnamed = False
        self._keeps_codecs = False
        self.progress: Progress | None = None
        """Called with the number of bytes stored since the last call, while files are stored."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process opens the container again.

        Raises
        ------
        ClosedError
            If the backend is closed.
        ConflictError
            If the other process could not see what is here: a transaction is open, the log is elsewhere, or
            the container was opened from a file object.
        """
        if self.closed:
            raise ClosedError(f"the backend of '{self.path}' is closed and cannot be pickled: open it again")
        if self._container.is_changing:
            raise ConflictError(
                f"the backend of '{self.path}' has an open transaction, of which no other process knows:"
                " pickle it before or afterwards"
            )
        if self._is_of_this_process:
            raise ConflictError(
                f"the backend of '{self.path}' keeps its log elsewhere, or reads an open file object, so that"
                " no other process can open it: open it by its path alone"
            )
        options = {**self._options, "codec": self.codec}
        return _opened_again, (type(self), str(self.path), self.mode, self._scratch_directory, options)

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"{type(self).__name__}({str(self.path)!r}, mode={self.mode!r}{state})"

    @property
    def path(self) -> Path:
        """The container's file."""
        return self._container.path

    @property
    def mode(self) -> str:
        """``"a"`` or ``"r"``."""
        return "a" if self._container.writable else "r"

    @property
    def closed(self) -> bool:
        """Whether the backend has been closed."""
        return self._container.closed

    def close(self) -> None:
        """Release the container, and remove a temporary scratch directory. Closing twice does nothing.

        An open transaction is rolled back. In the handler of a signal that came in the midst of an operation,
        the container is closed as soon as the operation is given up or done.

        Raises
        ------
        LockedError
            If another thread is at work and does not finish within the timeout.
        """
        try:
            self._container.close()
        finally:
            if self._container.closed:
                self._members.close()

    def transaction(self) -> AbstractContextManager[Self]:
        """Make every change in the block one commit, or none if an error leaves it.

        Blocks may be nested: only the outermost commits. If an error leaves an inner one after something was
        changed in it, the outermost commits nothing, even if the error was caught.

        Raises
        ------
        ReadOnlyError
            If the backend was opened for reading.
        LockedError
            If another process is writing and does not finish in time.
        """
        return self._container.open_transaction(self._care_for_index, self)

    def reading(self) -> AbstractContextManager[Self]:
        """Have all reads in the block see one committed state, whatever other processes commit meanwhile."""
        return self._container.open_reading(self)

    def is_same_store(self, other: object) -> bool:
        """Return whether another backend has the same container open."""
        return isinstance(other, HDF5Storage) and (other is self or _is_same_file(other.path, self.path))

    # --- queries that the index answers ------------------------------------------------------------------

    def keys(self, data_query: BaseDataQuery | str | None = None) -> list[str]:
        """Return the keys of the objects that match a query, or of all objects, in stored order.

        No document is read unless the index cannot be used.
        """
        if data_query is None:
            return super().keys()
        data_query = self.asked(data_query)
        with self._container.reading() as contents:
            found = answers.select(contents, data_query)
        return super().keys(data_query) if found is None else found

    def count(self, data_query: BaseDataQuery | str) -> int:
        """Return how many objects match a query; no document is read unless the index cannot be used."""
        data_query = self.asked(data_query)
        if data_query.limit is None:
            with self._container.reading() as contents:
                number = answers.count(contents, data_query)
            if number is not None:
                return number
        return len(self.keys(data_query))

    def data_class(self, name: str) -> type[BaseStoredData] | None:
        """Return the data class of a name: of this program, or made from what the container keeps of it."""
        with self._container.reading() as contents:
            return classes.class_of(contents, name)

    def data_classes(self) -> list[type[BaseStoredData]]:
        """Return the known data classes of the objects, and the registered ones."""
        with self._container.reading() as contents:
            described = (classes.class_of(contents, name) for name in contents.data_classes())
            return list(dict.fromkeys([*classes.registered(), *filter(None, described)]))

    def select(self, class_names: Iterable[str], conditions: Sequence[Condition] = ()) -> list[str]:
        """Return the keys of the objects of some data classes whose indexed values fulfil all conditions.

        Where a class has no usable index, all its keys are returned: a caller has the last word.
        """
        with self._container.reading() as contents:
            return answers.select_by(contents, class_names, conditions)

    def indexed_rows(self, column: str | None = None) -> tuple[listing.Rows, list[str]]:
        """Return the class and the indexed values of the objects by key, and which classes are left out.

        No document is read, and no data class is needed. The objects of the classes that are left out have
        no usable index, or are of a class that is not known here.

        Parameters
        ----------
        column
            Only this column, of the objects whose class has it; all columns by default.
        """
        with self._container.reading() as contents:
            return listing.rows_of_index(contents, column)

    def columns(
        self, data_query: BaseDataQuery | str, names: Sequence[str] | None = None
    ) -> dict[str, list[Value]]:
        """Return the indexed values of the objects that match a query, as columns of equal length.

        The first column is ``"key"``; the others are those named, or all. Temperatures are in kelvin,
        pressures in pascals. No document is read unless the index cannot be used.
        """
        return answers.plain(self._columns(self.asked(data_query), names))

    def table(self, data_query: BaseDataQuery | str) -> pandas.DataFrame:
        """Return the indexed values of the objects that match a query, one row each, as a DataFrame.

        Needs pandas (``pip install 'simarchive[table]'``). The keys are its index; temperatures are in
        kelvin and pressures in pascals. No document is read unless the index cannot be used.
        """
        return answers.data_frame(self._columns(self.asked(data_query), None))

    def explain(self, data_query: BaseDataQuery | str) -> str:
        """Return in words how the index answers a query in this container."""
        data_query = self.asked(data_query)
        with self._container.reading() as contents:
            return answers.explain(contents, data_query)

    # --- files ---------------------------------------------------------------------------------------------

    def members(self, storage_key: str, *, shared: SharedFiles | None = None) -> AncillaryData | None:
        """Return the files of an object as it is now, or ``None`` if it has no ancillary data.

        Names, sizes and digests are known without reading a file; another container copies the files as they
        are stored. If the object is replaced or removed, what is asked for later raises `ConflictError`.

        Parameters
        ----------
        shared
            What keeps the files that objects share, for one who asks for the directories of many.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        return self._members.of(storage_key, shared)

    def ancillary_path(self, storage_key: str) -> AncillaryPath | None:
        """Return the path of an object's files, which are extracted when someone uses it.

        It is that of `retrieve_object`, without reading the object; ``None`` if it has no ancillary data.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        return self._members.path_of(storage_key)

    def list_members(self, storage_key: str, patterns: Sequence[str] | None = None) -> list[MemberInfo]:
        """Return name, size, stored size, digest (BLAKE3) and codec of each file of an object.

        Parameters
        ----------
        patterns
            As for `extract`; files that fit none are not looked at.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        return self._members.infos(storage_key, patterns)

    def open_member(self, storage_key: str, name: str) -> BinaryIO:
        """Return a seekable, buffered, read-only binary file over a member, without extracting it.

        Every chunk is checked when it is read. The file stays good when other objects change; if this
        object is replaced or removed, reading on raises `ConflictError`.

        Raises
        ------
        NotFoundError
            If there is no such object or member.
        """
        return self._members.open(storage_key, name)

    def extract(
        self,
        storage_key: str,
        destination: PathLike,
        patterns: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        sync: bool = False,
    ) -> list[Path]:
        """Write an object's files below a directory; return their paths.

        Each file gets its name when it is complete and its digest is right.

        Parameters
        ----------
        patterns
            Shell patterns such as ``"*.pdb"``, matched against the member's name and its last component.
            All files by default. Files that fit none are not looked at.
        progress
            Called with the number of bytes that were done since the last call.
        sync
            Whether the files are on the disk, not only in the system's memory, when this returns.
        """
        return self._members.extract(storage_key, destination, patterns, progress=progress, sync=sync)

    def watch_requests(self, progress: Progress | None) -> bool:
        """Have a function called with the bytes of each request, in whatever thread.

        Returns
        -------
        is_far
            Whether there are requests: the container lies elsewhere.
        """
        far = self._container.far
        if far is not None:
            far.progress = progress
        return far is not None

    def prefetch(self, storage_keys: Iterable[str], files: Sequence[str] = ()) -> None:
        """Say which objects will be read next, and which files of them as wholes.

        Of a container that lies elsewhere, they come in few requests then, when the first of them is read;
        nothing is kept that nobody reads. For one on this machine this does nothing. Keys that are not there
        are left out.

        Parameters
        ----------
        files
            Shell patterns, as for `extract`; no files by default.
        """
        with self._container.reading() as contents:
            if contents.is_far:
                self._members.expect(contents, list(storage_keys), files)

    # --- trajectories, where they lie ------------------------------------------------------------------

    def frames(self, storage_key: str, name: str | None = None) -> Frames:
        """Return the frames of a trajectory as arrays: ``backend.frames(key)[10:1000:10].positions``.

        Nothing is extracted, and only what is asked for is decoded. DCD, XTC, TRR and AMBER NetCDF
        (NetCDF-3) can be read; for XTC, MDAnalysis or mdtraj has to be installed.

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        name
            The file. By default the one that the object's document names, or the only trajectory.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        InvalidDataError
            If it is no trajectory that can be read, or the object has several.
        """
        return trajectories.frames(self._container, self.full_key(storage_key), name)

    def universe(
        self,
        storage_key: str,
        topology: str | None = None,
        trajectory: str | Sequence[str] | None = None,
        **options: Any,
    ) -> MDAnalysis.Universe:
        """Return a universe of MDAnalysis that reads an object's files where they lie.

        It stays good when the backend is closed, and in other processes, which open the container
        themselves. Needs MDAnalysis (``pip install 'simarchive[trajectories]'``).

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        topology, trajectory
            The files; several trajectories are read as one. By default those that the object's document
            names, or the only ones; an object without a trajectory has a universe of its topology.
        options
            Those of `MDAnalysis.Universe`.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        InvalidDataError
            If MDAnalysis is not installed, or the object has several files that could be meant.
        """
        return trajectories.universe(
            self._container, self.full_key(storage_key), topology, trajectory, options
        )

    def export_trajectory(
        self,
        storage_key: str,
        path: PathLike,
        *,
        trajectory: str | Sequence[str] | None = None,
        topology: str | None = None,
        frames: slice = slice(None),
        selection: str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Write a trajectory as a file of another kind; return how many frames were written.

        The ending of the name decides: ``.nc`` is netCDF-4 with the names of AMBER's convention, ``.h5md`` is
        H5MD, both compressed, with chunks of one frame; any other is written by MDAnalysis: ``.xtc``,
        ``.trr``, ``.dcd``, ``.ncdf`` and so on. Frames are read where they lie, one after the other. The file
        gets its name when it is complete. Needs ``pip install 'simarchive[trajectories]'``.

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        trajectory, topology
            As for `universe`. Without a selection, no topology is needed.
        frames
            Which frames.
        selection
            The atoms, in the words of MDAnalysis, chosen in the first frame; all by default.
        overwrite
            Whether a file that is there is replaced.
        progress
            Called with the number of frames that were written since the last call.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        ConflictError
            If something is there that is not to be replaced.
        InvalidDataError
            If the ending is unknown, nothing is chosen, or a library is missing.
        FrameReadError, CorruptMemberError
            If a frame cannot be read. No file is left then.

        Examples
        --------
        >>> backend.export_trajectory("8d13", "water.nc", frames=slice(0, None, 10))  # doctest: +SKIP
        """
        from simarchive.storage.trajectories.export import Part

        return trajectories.export_trajectory(
            self._container,
            self.full_key(storage_key),
            Path(path),
            trajectory,
            topology,
            Part(frames, selection),
            overwrite=overwrite,
            progress=progress,
        )

    def mdtraj(
        self,
        storage_key: str,
        name: str | None = None,
        *,
        top: Any = None,
        stride: int = 1,
        atom_indices: Sequence[int] | None = None,
        frames: int | slice | Sequence[int] | None = None,
    ) -> MdtrajTrajectory:
        """Return frames of a trajectory as an `mdtraj.Trajectory`, in nanometres, read where they lie.

        Needs mdtraj (``pip install 'simarchive[trajectories]'``).

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        name
            As for `frames`.
        top
            A topology of mdtraj or the name of a file of the object. By default chosen as by `universe`.
        stride
            Take each of so many frames.
        atom_indices
            The atoms that are wanted; all by default.
        frames
            The frames that are wanted, in this order, before `stride` is applied; all by default.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        InvalidDataError
            If mdtraj is not installed or cannot read a file, or the object has several that could be meant.
        """
        return trajectories.mdtraj_frames(
            self._container, self.full_key(storage_key), name, top, stride, atom_indices, frames
        )

    def mdtraj_chunks(
        self,
        storage_key: str,
        name: str | None = None,
        *,
        top: Any = None,
        chunk: int = 100,
        stride: int = 1,
        skip: int = 0,
        atom_indices: Sequence[int] | None = None,
    ) -> Iterator[MdtrajTrajectory]:
        """Yield a trajectory in pieces of `chunk` frames, as `mdtraj.iterload` does with a file.

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        skip
            Frames that are left out at the start.
        name, top, stride, atom_indices
            As for `mdtraj`.
        """
        return trajectories.mdtraj_chunks(
            self._container, self.full_key(storage_key), name, top, chunk, stride, skip, atom_indices
        )

    # --- changes to an object ----------------------------------------------------------------------------
    # Each is one commit, or part of the transaction that is open.

    def add_file(self, storage_key: str, name: str, source: PathLike, *, by: str | None = None) -> None:
        """Add a file to an object, with its permission to be executed and the time of its last change.

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.
        name
            What the file is called there; "/" stands between folders.
        source
            Where it is now. It is copied.
        by
            Who stands in the history of the object: by default what the environment variable
            ``SIMARCHIVE_AUTHOR`` says, or the login name.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        ConflictError
            If the object has a file or folder of this name.
        InvalidDataError
            If objects of its class have no files, or the name or the file will not do. Nothing is changed.
        """
        with self._amending(storage_key, by) as change:
            change.add_file(name, source)

    def replace_file(self, storage_key: str, name: str, source: PathLike, *, by: str | None = None) -> None:
        """Put a file in the place of one of an object, whose bytes are gone then; parameters as `add_file`.

        Raises
        ------
        NotFoundError
            If there is no such object, or it has no file of this name.
        """
        with self._amending(storage_key, by) as change:
            change.replace_file(name, source)

    def rename_file(self, storage_key: str, name: str, new_name: str, *, by: str | None = None) -> None:
        """Give a file of an object another name, in the fields of the object that name it, too.

        Raises
        ------
        NotFoundError
            If there is no such object, or it has no file of this name.
        ConflictError
            If it has a file or folder of the new name.
        """
        with self._amending(storage_key, by) as change:
            change.rename_file(name, new_name)

    def remove_file(self, storage_key: str, name: str, *, by: str | None = None) -> None:
        """Remove a file of an object; its room is used again by what is stored next.

        Raises
        ------
        NotFoundError
            If there is no such object, or it has no file of this name.
        InvalidDataError
            If a field of the object names the file.
        """
        with self._amending(storage_key, by) as change:
            change.remove_file(name)

    def append_member(self, storage_key: str, name: str, source: PathLike, *, by: str | None = None) -> int:
        """Make a stored file as long as a file that has grown since; return how many bytes were added.

        For the trajectory of a run that is going on. The whole file is read, to see that it begins with what
        is stored; only what is new is written. The number of frames that DCD and NetCDF files say at their
        start may differ. Where the object says how many frames it has and how long it is, it says the new
        numbers.

        Parameters
        ----------
        name
            The file of the object.
        source
            The file as it is now; what is added to it meanwhile is left for the next time.

        Raises
        ------
        NotFoundError
            If there is no such object or file.
        ConflictError
            If `source` does not begin with what is stored. Nothing is changed.
        """
        with self._amending(storage_key, by) as change:
            return change.append_to_file(name, source)

    def add_note(self, storage_key: str, text: str, *, by: str | None = None) -> None:
        """Add a note to the history of an object; see `history`."""
        with self._amending(storage_key, by) as change:
            change.add_note(text)

    def add_tags(self, storage_key: str, *tags: str, by: str | None = None) -> None:
        """Add tags to an object of a class that has tags; those that it has already stay as they are.

        Raises
        ------
        InvalidDataError
            If objects of its class have no tags.
        """
        with self._amending(storage_key, by) as change:
            change.change_tags(tags, ())

    def remove_tags(self, storage_key: str, *tags: str, by: str | None = None) -> None:
        """Remove tags of an object.

        Raises
        ------
        NotFoundError
            If it does not have one of them. Nothing is changed.
        """
        with self._amending(storage_key, by) as change:
            change.change_tags((), tags)

    @contextlib.contextmanager
    def _amending(self, storage_key: str, by: str | None) -> Iterator[amending.Amending]:
        with self._changing() as contents:
            key = self.full_key(storage_key)
            with upkeep.storing(self.path, key, "amend"):
                yield amending.Amending(self._container, contents, key, self.codec, by, self.progress)

    # --- documents as they are kept ---------------------------------------------------------------------

    def load(self, storage_key: str) -> BaseStoredData:
        """Return an object alone; its arrays are read when someone looks at them.

        An object of a data class that is neither registered in this process nor described in the container is
        an `UndescribedData`, which has the document as it was stored.

        Raises
        ------
        NotFoundError
            If there is no such object.
        InvalidDataError
            If it does not fit its data class.
        """
        with self._container.reading() as contents:
            document = contents.document(storage_key, functools.partial(self._array, storage_key))
            return classes.copied(contents, storage_key, document)

    def glance(self, storage_key: str) -> BaseStoredData:
        """Return an object of which only what is looked at is made, and only then found to be wrong.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If its document cannot be read.
        """
        with self._container.reading() as contents:
            document = contents.document(storage_key, functools.partial(self._array, storage_key))
            return classes.copied(contents, storage_key, document, lazily=True)

    def references_if_there(self, source: object, storage_key: str) -> list[str] | None:
        """Return the keys that an object of another container refers to, if it is here as it is there.

        Only digests are compared; nothing is decoded but what is here, so that damage is not taken for it.
        ``None`` if it is not, or if that does not tell.
        """
        if not isinstance(source, HDF5Storage):
            return None
        with self._container.reading() as contents, source._container.reading() as theirs:
            return copying.references_if_there(contents, theirs, storage_key)

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

    def dataset(self, storage_key: str) -> xarray.Dataset:
        """Return the arrays of an object as a dataset of xarray, each read when someone looks at it.

        Observables of one length have the dimension ``frame``, and if one of them is the time, it is the
        coordinate ``time``. Variables have the attributes ``long_name``, ``units`` for UDUNITS, and
        ``pint_units``. Needs xarray (``pip install 'simarchive[trajectories]'``).

        Parameters
        ----------
        storage_key
            The key of the object, or a start of it that no other key shares.

        Raises
        ------
        NotFoundError
            If there is no such object.
        InvalidDataError
            If xarray is not installed.
        CorruptError
            If the document cannot be read; later, when someone looks at an array, if that does not match its
            digest.

        Examples
        --------
        >>> backend.dataset("8d13")["PotentialEnergy"].mean("frame")  # doctest: +SKIP
        """
        key = self.full_key(storage_key)
        class_name, _, tree = self.retrieve_document(key)
        return dataset_of(key, class_name, tree)

    def class_name_of(self, storage_key: str) -> str:
        """Return the registered name of an object's data class.

        Raises
        ------
        NotFoundError
            If there is no such object.
        """
        with self._container.reading() as contents:
            return contents.class_name(storage_key)

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

    def history(self, storage_key: str) -> list[Event]:
        """Return what became of an object since it was stored: what was changed, by whom, when; and notes.

        The oldest comes first: that it was stored.

        Raises
        ------
        NotFoundError
            If there is no such object.
        CorruptError
            If it cannot be read.
        """
        with self._container.reading() as contents:
            return contents.history(storage_key)

    def history_lines(self, storage_key: str) -> str:
        """Return the history of an object as it is kept, for `take_history`; errors as `history`."""
        with self._container.reading() as contents:
            return contents.history_lines(storage_key)

    def take_history(self, storage_key: str, lines: str, *, only_notes: bool) -> None:
        """Add what another container says of the history of an object, or only the notes."""
        with self._changing() as contents:
            amending.take_history(contents, storage_key, lines, only_notes=only_notes)

    @property
    def problems(self) -> dict[str, str]:
        """What keeps objects out of everything but `verify` and `repair`: names that are not keys."""
        with self._container.reading() as contents:
            return dict.fromkeys(contents.misnamed(), verification.NOT_A_KEY)

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
            keys = self._keys_of(contents)
            contents.expect(keys)
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

    # --- what the archive says of itself -----------------------------------------------------------------

    @property
    def metadata(self) -> ArchiveMetadata:
        """What the archive says of itself: title, authors, licence and so on. `set_metadata` changes it."""
        return self.stored_metadata().metadata

    @property
    def created_at(self) -> str:
        """When the container was made, ISO 8601."""
        with self._container.reading() as contents:
            return str(contents.description()["created_at"])

    def stored_metadata(self) -> StoredMetadata:
        """Return the metadata, when they were written, and what of them cannot be understood."""
        with self._container.reading() as contents:
            return attributes.read(contents)

    def set_metadata(self, metadata: ArchiveMetadata | None = None, /, **changes: Any) -> ArchiveMetadata:
        """Set the metadata, or some fields of them, as one commit; return the new ones.

        Parameters
        ----------
        metadata
            All of them, in place of what is there; by default, what is there.
        changes
            Fields to set, by name; an empty value removes one. Authors and funding may be given as texts:
            ``authors=["Ada Lovelace <0000-0002-1825-0097> (London)"]``.

        Raises
        ------
        InvalidDataError
            If a value is not what it should be. Nothing is changed.
        """
        if metadata is not None and not isinstance(metadata, ArchiveMetadata):
            raise InvalidDataError(f"metadata are an ArchiveMetadata, not {type(metadata).__name__}")
        changed = set(changes) if metadata is None else set(FIELDS)
        with upkeep.changing(self.path, "write the metadata"), self._container.transaction() as contents:
            before = attributes.read(contents)
            after = (metadata or before.metadata).with_changes(**changes)
            if after != before.metadata or before.faults:
                attributes.write(contents, after, changed)
        return after

    # --- undo ---------------------------------------------------------------------------------------------

    def removed(self) -> list[RemovedObject]:
        """Return what was removed or replaced and can be restored, the oldest first.

        It is kept as long as it takes at most 16 MiB, or 10 % of the file if that is more: what exceeds this
        is deleted, the oldest first, when the next object is stored. `repack` deletes all of it.
        """
        with self._container.reading() as contents:
            return contents.removed.listed()

    def class_of_removed(self, removed: RemovedObject) -> str:
        """Return the name of the data class of what was removed; empty if it cannot be read."""
        with self._container.reading() as contents, contextlib.suppress(CorruptError, NotFoundError):
            return contents.of_removed().class_name(removed.link)
        return ""

    def find_removed(self, storage_key: str, *, number: int | None = None) -> RemovedObject:
        """Return what `restore` would bring back; parameters and errors as there."""
        with self._container.reading() as contents:
            return restoring.chosen(contents, storage_key, number)

    def restore(self, storage_key: str, *, number: int | None = None) -> RestoredObject:
        """Bring back the object that was last removed or replaced under a key; it comes last in the order.

        What stands under the key now is removed in turn, so that this can be undone, too.

        Parameters
        ----------
        storage_key
            The key, or a start of it that no other removed object has.
        number
            Which one, as `removed` numbers them, if not the last one.

        Raises
        ------
        NotFoundError
            If nothing was removed under the key, or it is not kept any more.
        CorruptError
            If it cannot be read. Nothing is changed.
        """
        what = f"restore object {storage_key!r}"
        with self.lock, upkeep.changing(self.path, what), self._changing() as contents:
            return restoring.restore(contents, restoring.chosen(contents, storage_key, number))

    def purge_removed(self, numbers: Sequence[int] | None = None) -> list[RemovedObject]:
        """Delete what was removed for good: all, or what has these numbers; return what it was."""
        with self.lock, upkeep.changing(self.path, "delete"), self._changing() as contents:
            return restoring.purge(contents, numbers)

    # --- copying from elsewhere ----------------------------------------------------------------------------

    @property
    def is_far(self) -> bool:
        """Whether the container lies elsewhere, so that each read may take a request."""
        return self._container.far is not None

    def pull(
        self,
        source: HDF5Storage | PathLike | BinaryIO,
        data_query: BaseDataQuery | str | None = None,
        *,
        keys: Iterable[str] | None = None,
        batch_bytes: int = copying.BATCH_BYTES,
        progress: Callable[[str], None] | None = None,
    ) -> MergeReport:
        """Copy objects from another container, such as a published one, and whatever they refer to.

        Files are copied as they are stored, each chunk after its check; those that are here already are not
        asked for. What was copied is committed batch by batch: whoever calls this again after an interruption
        gets the rest. Decisions are those of `update`.

        Parameters
        ----------
        source
            The container: its URL, its path, a file object, or a backend.
        data_query
            Which objects: a query, or an expression such as ``"phase=liquid"``. All by default.
        keys
            Their keys, in place of a query.
        batch_bytes
            How many bytes are committed at a time. An object is never parted.
        progress
            Called with the key of each object after it was copied.

        Returns
        -------
        report
            What was stored, what was here already, and which objects are damaged and were left out.

        Raises
        ------
        NotFoundError, FormatError
            If there is no container, or none that can be read.
        StorageIOError
            If a server does not answer any more. What was committed stays.
        ConflictError
            If the container was overwritten meanwhile. What was committed stays.

        Examples
        --------
        >>> backend.pull("https://example.org/water.h5", "phase=liquid")  # doctest: +SKIP
        """
        from simarchive.storage import merging

        with _source_of(source) as other, merging.locked(other.lock, self.lock), self._keeping_codecs():
            chosen = other.keys(data_query) if keys is None else list(keys)
            transfer = copying.Transfer(self._container, other._container)
            batches = functools.partial(transfer.batches, batch_bytes=batch_bytes)
            return merging.merge(self, other, keys=chosen, progress=progress, batches=batches)

    def plan_pull(
        self,
        source: HDF5Storage | PathLike | BinaryIO,
        data_query: BaseDataQuery | str | None = None,
        *,
        keys: Iterable[str] | None = None,
    ) -> PullPlan:
        """Return what `pull` would do, and how many objects, files and bytes would come.

        Only documents and digests are read. Parameters and errors as for `pull`.
        """
        with _source_of(source) as other:
            return other.plan_to(self, other.keys(data_query) if keys is None else keys)

    def plan_to(self, target: HDF5Storage | None, keys: Iterable[str] | None = None) -> PullPlan:
        """Return what a `pull` of objects from this container would do.

        Parameters
        ----------
        target
            What would pull them; ``None`` for a container that does not exist yet.
        keys
            The objects; all by default.
        """
        from simarchive.storage import merging

        chosen = self.keys() if keys is None else list(keys)
        self.prefetch(chosen)
        [report] = merging.plan(target, [self], keys=[chosen])
        return copying.Transfer(None if target is None else target._container, self._container).plan(report)

    @contextlib.contextmanager
    def _keeping_codecs(self) -> Iterator[None]:
        """Have files of other containers keep the codecs that they have."""
        before, self._keeps_codecs = self._keeps_codecs, True
        try:
            yield
        finally:
            self._keeps_codecs = before

    # --- upkeep ------------------------------------------------------------------------------------------

    def overview(self) -> ContainerOverview:
        """Return what is known of the container without looking at its objects, however many there are."""
        return upkeep.overview(self._container)

    def statistics(self, keys: Sequence[str] | None = None) -> ContainerStatistics:
        """Return how much the container holds, all of it or some objects, and how much room it takes.

        Each of the objects is looked at.
        """
        return upkeep.statistics(self._container, keys)

    def statistics_by(self, by: str, keys: Sequence[str] | None = None) -> tuple[list[GroupStatistics], int]:
        """Return how much the container holds of each group, and how many objects could not be looked at.

        No document is read. The group that takes most room is the first.

        Parameters
        ----------
        by
            ``"extension"`` of files, such as ``.dcd``; ``"class"``: the data class; or ``"substance"``.
        keys
            The objects that are counted; all by default.
        """
        substances = substances_of(self) if by == "substance" else {}
        return grouping.statistics_by(self._container, by, substances, keys)

    def verify(
        self, *, full: bool = False, progress: Progress | None = None, keys: Sequence[str] | None = None
    ) -> VerificationReport:
        """Check every object, member and index table; return what is wrong. Nothing is changed.

        Parameters
        ----------
        full
            Also decode every member and compare its digest. Without it every stored byte is read and
            compared with its CRC-32.
        progress
            Called with the bytes of each member after it was checked.
        keys
            Check these objects and their files only; the index and whatever else there is are left out.
        """
        return verification.verify(self._container, full=full, progress=progress, keys=keys)

    def plan_split(self, prefix: PathLike, max_bytes: int) -> list[Volume]:
        """Return the volumes that `split` would make; parameters and errors as there."""
        return splitting.planned(self._container, prefix, max_bytes)

    def split(
        self, prefix: PathLike, max_bytes: int, *, progress: Callable[[str], None] | None = None
    ) -> list[Volume]:
        """Cut the container into volumes for a repository that takes files of a certain size; return them.

        Each is a container of its own, with a map for those who read it over a network, and says of itself
        what this one does. Objects are never cut and keep their order; together the volumes have each object
        once, as repacking copies it: with its key, digests, chunks and history. What was removed or set aside
        is in none of them. This container is not changed.

        Parameters
        ----------
        prefix
            What the names of the volumes begin with: ``PREFIX-001.h5`` and so on.
        max_bytes
            The size that no volume exceeds.
        progress
            Called with the key of each object, when its volume is complete.

        Raises
        ------
        InvalidDataError
            If an object alone is larger; the message names all such objects. No volume is made.
        ConflictError
            If a file has the name of a volume already. No volume is made.
        CorruptError
            If an object cannot be copied. Volumes that are complete stay.
        """
        return splitting.split(self._container, prefix, max_bytes, progress)

    def rebuild_index(self) -> dict[str, int]:
        """Rebuild the whole index from the objects, as one transaction; return the rows by data class.

        Raises
        ------
        CorruptError
            If the file's own bookkeeping is damaged: then nothing is written.
        """
        return upkeep.rebuild_index(self._container)

    def repair(self) -> RepairReport:
        """Set damaged objects aside and rebuild the index, as one transaction; return what was done.

        An object is damaged if its document or an array of it cannot be read or does not match its digest.
        It is moved to the group ``/set_aside`` of the container, where it is no longer an object; nothing is
        deleted. Attributes for other programs are written again where they are not as they were stored, and
        an object whose name is not a key gets its own key back, or a new one. Members with damaged bytes stay
        where they are: `verify` names them. An object with members of which not even the description can be
        read is kept without these.

        Raises
        ------
        CorruptError
            If the file's own bookkeeping is damaged, so that sound data might be overwritten. Then nothing is
            written: ``simarchive repair FILE -o NEW`` saves what is sound into a new file.
        """
        return upkeep.repair(self._container)

    def set_aside(self, storage_key: str) -> str:
        """Take an object out of the objects, unread and undeleted; return where it is now in the file.

        For one that is so damaged that it cannot be removed.
        """
        with upkeep.changing(self.path, f"remove object {storage_key!r}"), self._changing() as contents:
            class_name = classes.name_if_readable(contents, storage_key)
            place = contents.set_aside(storage_key)
            with contents.in_one_piece():
                indexing.forget(contents, class_name, storage_key)
        return place

    # --- what StorageBackend asks for ------------------------------------------------------------------

    def _atomic(self) -> AbstractContextManager[object]:
        return self._changing()

    def _changing(self) -> AbstractContextManager[Contents]:
        """Give the contents for changes, with an index that works."""
        return self._container.transaction(self._care_for_index)

    def _care_for_index(self, contents: Contents) -> None:
        # What was rebuilt in a transaction that was rolled back is gone.
        if self._index_checked_at != self._container.roll_backs or contents.tables.distrusted:
            with upkeep.changing(self.path, "rebuild the index"):
                indexing.restore(contents)
            self._index_checked_at = self._container.roll_backs

    def _object_exists(self, storage_key: str) -> bool:
        with self._container.reading() as contents:
            return storage_key in contents

    def _is_stored(self, storage_key: str) -> bool:
        return self._object_exists(storage_key)

    def _object_keys(self, class_names: tuple[str, ...] | None = None) -> list[str]:
        with self._container.reading() as contents:
            if class_names is None:
                return self._keys_of(contents)
            return answers.select_by(contents, class_names, ())

    def _keys_of(self, contents: Contents) -> list[str]:
        """Return the keys of all objects; say once which objects have none."""
        keys = contents.keys()
        if len(keys) != len(contents) and not self._told_of_misnamed:
            self._told_of_misnamed = True
            for name in contents.misnamed():
                indexing.LOGGER.warning("object %r is left out: %s", name, verification.NOT_A_KEY)
        return keys

    def __len__(self) -> int:
        with self._container.reading() as contents:
            return len(contents.keys())

    def _register_key(self, storage_key: str, stored: BaseStoredData) -> None:
        """Do nothing: the objects themselves are the registry."""

    def _store_object(
        self,
        object_to_store: BaseStoredData,
        storage_key: str | None = None,
        ancillary_data_path: Path | None = None,
    ) -> None:
        files = None if ancillary_data_path is None else DirectoryFiles(ancillary_data_path)
        with self._changing() as contents:
            key = storage_key or new_key()
            self._put(Incoming(object_to_store, files), key, is_new=key not in contents)

    def _put(self, incoming: Incoming, storage_key: str, *, is_new: bool) -> None:
        files = incoming.ancillary
        with (
            to_store(files) as members,
            self._container.reading() as contents,
            upkeep.storing(self.path, storage_key),
        ):
            stored = StoredDocument(
                data_class=incoming.class_name,
                data_class_version=type(incoming.stored).data_class_version,
                tree=incoming.readable_document(),
                has_ancillary_data=files is not None,
                empty_folders=() if files is None else files.empty_folders,
                executables=() if files is None else files.executables,
                times={} if files is None else files.times,
                members=members,
            )
            row = None
            if not incoming.is_undescribed:
                row = indexing.row_of(incoming.index_values, incoming.identity)
            classes.keep_schema(contents, type(incoming.stored))
            # Before the object is written: a table that has to be made must not find it.
            indexing.prepare(contents, stored.data_class)
            replaced = None if is_new else classes.name_if_readable(contents, storage_key)
            if not is_new and not contents.can_be_replaced(storage_key):
                # HDF5 cannot take it apart: it is set aside, and the new one is the last in the order.
                with contents.in_one_piece():
                    indexing.forget(contents, replaced, storage_key)
                    contents.remove(storage_key)
                is_new = True
            contents.write(
                storage_key,
                stored,
                codec=self.codec,
                identity=incoming.identity,
                is_new=is_new,
                progress=self.progress,
                by="" if is_new else author(),
                keeps_codecs=self._keeps_codecs,
            )
            with contents.in_one_piece():
                if is_new or replaced == stored.data_class:
                    indexing.put(contents, stored.data_class, storage_key, row)
                else:
                    indexing.forget(contents, replaced, storage_key)
                    # It keeps its place among the objects, so its row is not the last one of its new class.
                    indexing.put_between(contents, stored.data_class, storage_key)

    def _retrieve_object(
        self, storage_key: str, expected_type: type[BaseStoredData] | None = None
    ) -> tuple[BaseStoredData | None, Any]:
        with self._container.reading() as contents:
            if storage_key not in contents:
                return None, None
            found = contents.document(storage_key)
            return classes.interpret(contents, storage_key, found), self._members.path(storage_key, found)

    def _in_words(self, storage_key: str) -> str:
        with self._container.reading() as contents:
            try:
                header = contents.header(storage_key)
                n_files = contents.n_members_stored(storage_key)
            except CorruptError:
                return "one that cannot be read"
        files = "" if n_files is None else f" with {count_text(n_files, 'file')}"
        return f"the {header.data_class}{files} that was stored {date_text(header.stored_at)}"

    def _remove_object(self, storage_key: str) -> None:
        with upkeep.changing(self.path, f"remove object {storage_key!r}"), self._changing() as contents:
            class_name = classes.name_if_readable(contents, storage_key)
            contents.remove(storage_key)
            with contents.in_one_piece():
                indexing.forget(contents, class_name, storage_key)

    def possible_duplicates(self, incoming: Incoming) -> Iterator[tuple[str, BaseStoredData]]:
        """Yield keys and objects that may be duplicates of this one, as the index knows them."""
        # Nothing is held open between two of them: the caller may leave in the midst, or store.
        for key in self._likely_duplicates(incoming):
            with self._container.reading() as contents:
                if key not in contents:
                    continue
                try:
                    stored = self._load(contents, key, type(incoming.stored))
                except (CorruptError, *indexing.NOT_UNDERSTOOD) as error:
                    indexing.LOGGER.warning("object %r: %s: nothing is compared with it", key, error)
                    if isinstance(error, CorruptError):
                        incoming.damaged_twins.append(key)
                    continue
            yield key, stored

    def _likely_duplicates(self, incoming: Incoming) -> list[str]:
        """Return the keys of at least all objects that may be the same as this one."""
        class_name = incoming.class_name
        with self._container.reading() as contents:
            found = indexing.select(contents, class_name, [indexing.identical(incoming.identity)])
            if found is not None and incoming.is_replaceable:
                same = indexing.select(contents, class_name, incoming.same_measurement())
                found = None if same is None else [*found, *same]
            return list(
                indexing.keys_by_scan(contents, (class_name,)) if found is None else dict.fromkeys(found)
            )

    def _is_damaged(self, storage_key: str, incoming: Incoming) -> bool:
        if storage_key in incoming.damaged_twins:
            return self._was_same(storage_key, incoming)
        if incoming.ancillary is None:
            return False
        with self._container.reading() as contents:
            # Files of a container are known by their digests: none was read so far, and none is for this.
            read = isinstance(incoming.ancillary, DirectoryFiles)
            return contents.has_ancillary_data(storage_key) and not contents.has_intact_members(
                storage_key, read=read
            )

    def _was_same(self, storage_key: str, incoming: Incoming) -> bool:
        """Return whether an object that cannot be read was the same as another when it was stored."""
        with self._container.reading() as contents:
            try:
                header = contents.header(storage_key)
            except CorruptError:
                return False
        if (header.data_class, header.identity) != (incoming.class_name, incoming.identity):
            return False
        return incoming.is_hashable or self._has_same_files(storage_key, incoming.ancillary)

    def _matches(self, data_query: BaseDataQuery) -> Iterator[tuple[tuple[Any, ...], Match]]:
        found = []
        with self._container.reading() as contents:
            keys = answers.select(contents, data_query)
            chosen = answers.candidates(contents, data_query) if keys is None else keys
            contents.expect(chosen)
            for key in chosen:
                try:
                    document = contents.document(key, functools.partial(self._array, key))
                    stored = classes.interpret(contents, key, document, lazily=True)
                    matched = data_query.apply(stored)
                except (CorruptError, NotFoundError, *indexing.NOT_UNDERSTOOD) as error:
                    indexing.LOGGER.warning("object %r is left out of a query: %s", key, error)
                    continue
                if matched is not None:
                    found.append((matched, Match(key, stored, self._members.path(key, document))))
        yield from arranged_matches(data_query, found) if keys is None else found

    def _new_at(self, destination: PathLike) -> Self:
        if Path(destination).exists():
            raise ConflictError(f"'{os.fspath(destination)}' exists already: name a file that does not")
        return type(self)(destination, codec=self.codec)

    # --- the parts of the above ----------------------------------------------------------------------

    def _load(self, contents: Contents, key: str, like: type[BaseStoredData]) -> BaseStoredData:
        """Return an object to compare; its arrays are read when someone looks at them."""
        document = contents.document(key, functools.partial(self._array, key))
        return classes.interpret(contents, key, document, like=like)

    def _array(self, key: str, mark: str, name: str) -> np.ndarray[Any, Any]:
        if self._container.closed:
            with contextlib.closing(Container(self._container.path, writable=False)) as container:
                return _array_of(container, key, mark, name)
        return _array_of(self._container, key, mark, name)

    def _columns(self, data_query: BaseDataQuery, names: Sequence[str] | None) -> dict[str, Any]:
        chosen = answers.column_names(data_query, names)
        with self._container.reading() as contents:
            found = answers.columns_of_index(contents, data_query, chosen)
            if found is None:
                found = answers.columns_of_keys(contents, data_query, self.keys(data_query), chosen)
        return found


def _opened_again(
    backend_class: type[HDF5Storage],
    path: str,
    mode: str,
    scratch_directory: PathLike | None,
    options: dict[str, Any],
) -> HDF5Storage:
    return backend_class(path, mode, scratch_directory, **options)


@contextlib.contextmanager
def _source_of(source: HDF5Storage | PathLike | BinaryIO) -> Iterator[HDF5Storage]:
    """Give the backend of a container to copy from; one that is opened here is closed after the block."""
    if isinstance(source, HDF5Storage):
        yield source
        return
    with HDF5Storage(source, mode="r") as opened:
        yield opened


def _is_same_file(one: Path, other: Path) -> bool:
    if isinstance(one, Address) or isinstance(other, Address):
        return one == other
    return os.path.samefile(one, other)  # noqa: PTH121


def _checked_name(path: object) -> Path:
    if isinstance(path, (str, os.PathLike)) and not os.fspath(path):
        raise InvalidDataError(f"a container is named by a path, not by {path!r}")
    try:
        return name_of(path).absolute()
    except FileNotFoundError as error:
        raise NotFoundError(f"'{path}' names no container: the current directory was removed") from error


def _checked_durability(durability: str | Durability) -> Durability:
    try:
        return Durability(durability)
    except ValueError as error:
        raise InvalidDataError(f"durability {durability!r} is not known: use 'commit' or 'close'") from error


def _array_of(container: Container, key: str, mark: str, name: str) -> np.ndarray[Any, Any]:
    with container.reading() as contents:
        if key not in contents or contents.mark(key) != mark:
            raise ConflictError(f"object {key!r} was replaced or removed before its array {name!r} was read")
        return contents.variable(key, name)

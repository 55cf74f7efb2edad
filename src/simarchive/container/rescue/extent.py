"""Does a container's file have the bytes that it should have? Superblock, size and seal are compared."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from simarchive.container.container import Container
from simarchive.container.layout import FORMAT
from simarchive.errors import FormatError, NotFoundError, StorageError
from simarchive.journal.filepair import log_path_of, real_path
from simarchive.journal.files import SYSTEM, Files, OpenFile, status_of
from simarchive.journal.seal import SEAL_BYTES, Seal
from simarchive.journal.superblock import SUPERBLOCK_BYTES, end_of_file, is_guarded, is_intact

_LOG_MAGIC = b"simwal\x00\x01"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEAL_MAGIC = b"simseal"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """What the first and the last bytes of a file say.

    Attributes
    ----------
    size
        Of the file, in bytes.
    end
        Where the superblock says that HDF5's part of the file ends; ``None`` if it cannot be read.
    is_ours
        Whether something in the file, or a log beside it, says that it is, or was, a container.
    superblock_fault
        What is wrong with the first bytes, in words; empty if nothing is.
    has_log
        Whether a log lies beside it, or may lie beside another name of it. Then the size alone says nothing.
    seal
        The bytes behind the end, as far as a seal goes.
    may_have_rest
        Whether a file lies in the place of a log, if only an empty one. Then bytes behind the end may be the
        rest of a change that was broken off.
    """

    size: int
    end: int | None
    is_ours: bool
    superblock_fault: str
    has_log: bool
    seal: bytes
    may_have_rest: bool = False

    @property
    def missing_bytes(self) -> int:
        """How many bytes are missing at the end of the file, as far as it is known."""
        if self.end is None:
            return 0
        if self.size < self.end:
            return self.end - self.size
        if self.size < self.end + SEAL_BYTES and not self.has_whole_seal:
            return self.end + SEAL_BYTES - self.size if self.size > self.end else 0
        return 0

    @property
    def has_whole_seal(self) -> bool:
        """Whether an intact seal stands behind the end."""
        return Seal.from_bytes(self.seal) is not None

    @property
    def is_followed(self) -> bool:
        """Whether more than an intact seal stands behind the end, and no log says what it is."""
        seal = Seal.from_bytes(self.seal)
        if self.end is None or self.has_log or seal is None:
            return False
        return self.size > self.end + max(seal.size, SEAL_BYTES)

    def faults(self) -> list[str]:
        """Return what is wrong with superblock and size, in words."""
        if self.superblock_fault:
            return [self.superblock_fault]
        if self.end is None or self.has_log:
            return []
        if self.size < self.end:
            return [
                f"the file was cut short: {self.missing_bytes} bytes are missing at its end, it should have"
                f" {self.end} and has {self.size}"
            ]
        if self.may_have_rest:
            return []
        behind = self.size - self.end
        seal = Seal.from_bytes(self.seal)
        if seal is None and 0 < behind < SEAL_BYTES:
            return [
                f"the file was cut short: {self.missing_bytes} bytes are missing at its end, all of them of"
                " the seal, with which nothing of the objects is lost"
            ]
        if seal is None and behind:
            return [
                f"the file is longer than its superblock says: {behind} bytes follow the end at byte"
                f" {self.end}, and no intact seal stands there"
            ]
        return []

    def oddities(self) -> list[str]:
        """Return what is odd about the size, with which nothing is lost."""
        if self.end is None or self.has_log or self.superblock_fault or self.size < self.end:
            return []
        seal = Seal.from_bytes(self.seal)
        if seal is None and self.size == self.end:
            return [
                "the file has no seal: another HDF5 program changed it, or it was cut off where HDF5's part"
                " of it ends"
            ]
        if seal is not None and self.is_followed:
            return [
                f"{self.size - self.end - seal.size} bytes follow the seal, which are no part of the"
                " container, or of a map that was cut: the next change cuts them off"
            ]
        return []


def extent_of(path: Path, files: Files = SYSTEM, log_path: str | None = None) -> Extent:
    """Return what the first and the last bytes of a file say; nothing else is read, nothing written.

    Parameters
    ----------
    files
        The system calls.
    log_path
        Where its log lies, if not beside it.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    place = real_path(path, files)
    try:
        file = OpenFile(files, place, writable=False)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no container '{path}'") from error
    try:
        status = file.status()
        size = status.st_size
        first = file.read(SUPERBLOCK_BYTES, 0)
        log_path = log_path_of(place) if log_path is None else log_path
        log = status_of(files, log_path, follow=False)
        has_log = (log is not None and _is_log(files, log_path)) or status.st_nlink > 1
        end, fault = None, ""
        try:
            end = end_of_file(first, place)
            if not is_intact(first):
                end, fault = None, "the superblock, the first 48 bytes, is damaged: its checksum is wrong"
            elif is_guarded(first) and not has_log:
                fault = "the file is marked as being written"
        except FormatError:
            fault = "the superblock, the first 48 bytes, is damaged or is none of a container"
        seal = file.read(SEAL_BYTES, end) if end is not None and end < size else b""
        # Of a file that was cut off early, nothing else may be left.
        is_rest = first.startswith(_SIGNATURE) and size < (end or SUPERBLOCK_BYTES)
        is_ours = _SEAL_MAGIC in seal or is_rest or _is_ours(file, size)
    finally:
        file.close()
    return Extent(size, end, is_ours or has_log, fault, has_log, seal, has_log or log is not None)


def extent_of_open(container: Container) -> Extent:
    """Return what `extent_of` does of a container that is open: where there is a log, that was believed."""
    extent = extent_of(container.path, container.files, container.log_path)
    return replace(extent, superblock_fault="") if extent.has_log else extent


def _is_log(files: Files, path: str) -> bool:
    try:
        file = OpenFile(files, path, writable=False)
    except (FileNotFoundError, StorageError):
        return False
    with contextlib.closing(file):
        return file.read(len(_LOG_MAGIC) + 1, 0)[:-1] == _LOG_MAGIC


def _is_ours(file: OpenFile, size: int) -> bool:
    """Return whether the first or last MiB has a name that only containers have."""
    for at in (0, max(0, size - _PIECE_BYTES)):
        piece = file.read(_PIECE_BYTES, at)
        if FORMAT.encode() in piece or _SEAL_MAGIC in piece:
            return True
    return False

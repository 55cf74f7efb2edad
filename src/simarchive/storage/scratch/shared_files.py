"""Files that several objects of a container share, extracted once for one walk over its objects."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from simarchive.container.members import MemberInfo
from simarchive.storage.scratch.temporary_folder import TemporaryFolder

_NO_TIMES: Mapping[str, int] = MappingProxyType({})

KEPT_BYTES = 1 << 30
"""Room for files that are kept because another object will need them; a single larger one is kept alone."""


@dataclass(slots=True)
class _Kept:
    path: Path
    size: int
    uses_left: int
    time_ns: int | None  # when it was changed last


class SharedFiles:
    """The files of objects; those that later objects share are kept until the last of these.

    Nobody may change an extracted file: the next object may get the same one, under another name.

    Parameters
    ----------
    kept_bytes
        Bound on the room of kept files; those that were unused for longest make room.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._kept: dict[MemberInfo, _Kept] = {}  # the one that was unused for longest first
        self._bytes = 0
        self._place: TemporaryFolder | None = None

    def extract(
        self,
        directory: Path,
        members: Iterable[tuple[MemberInfo, int]],
        extract: Callable[[str, Path], object],
        times: Mapping[str, int] = _NO_TIMES,
    ) -> None:
        """Put the files of an object into a directory.

        Parameters
        ----------
        directory
            In a folder of its own, which may vanish before the next call.
        members
            Each file, and how many objects have it.
        extract
            Called as ``extract(name, destination)`` for a file that was not kept.
        times
            When each was changed last, in nanoseconds since 1970, as far as it is known. `extract` sees to
            it for the files that it is called for.
        """
        for info, n_objects in members:
            destination, content = directory / info.name, replace(info, name="")
            kept, time_ns = self._kept.get(content), times.get(info.name)
            if kept is None or not _is_at(destination, kept, time_ns):
                extract(info.name, destination)
            if kept is not None:
                self._use(content, kept)
            elif n_objects > 1:
                # Beside the folder that holds the directory: there a file can have a second name.
                self._keep(content, destination, directory.parent.parent, n_objects - 1, time_ns)

    def close(self) -> None:
        """Remove the kept files."""
        self._kept.clear()
        place, self._place = self._place, None
        if place is not None:
            place.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _use(self, content: MemberInfo, kept: _Kept) -> None:
        del self._kept[content]
        self._kept[content] = kept
        kept.uses_left -= 1
        if kept.uses_left <= 0:
            self._drop(content)

    def _keep(
        self, content: MemberInfo, file: Path, parent: Path, uses_left: int, time_ns: int | None
    ) -> None:
        if self._place is None:
            self._place = TemporaryFolder(parent)
        kept = self._place.path / secrets.token_hex(8)
        if not _has_second_name(file, kept):
            return
        self._kept[content] = _Kept(kept, content.size, uses_left, time_ns)
        self._bytes += content.size
        while self._bytes > self._kept_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, content: MemberInfo) -> None:
        kept = self._kept.pop(content)
        self._bytes -= kept.size
        kept.path.unlink(missing_ok=True)


def _is_at(name: Path, kept: _Kept, time_ns: int | None) -> bool:
    """Return whether a kept file is under a name now, or a copy of it that was changed at another time."""
    if kept.time_ns == time_ns:
        return _has_second_name(kept.path, name)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept.path, name)
        if time_ns is not None:
            os.utime(name, ns=(time_ns, time_ns))
    except OSError:
        name.unlink(missing_ok=True)
        return False
    return True


def _has_second_name(file: Path, name: Path) -> bool:
    """Return whether a file has a second name now, or a copy where no file can have two."""
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        try:
            name.hardlink_to(file)
        except OSError:
            shutil.copy2(file, name)
    except OSError:
        name.unlink(missing_ok=True)
        return False
    return True

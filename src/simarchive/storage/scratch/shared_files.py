"""Files that several objects of a container share, extracted once for one walk over its objects."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from simarchive.container.members import MemberInfo
from simarchive.storage.scratch.temporary_folder import TemporaryFolder

KEPT_BYTES = 1 << 30
"""Room for files that are kept because another object will need them; a single larger one is kept alone."""


_Content: TypeAlias = tuple[MemberInfo, int | None]
"""What is known of a file but its name, and when it was changed last."""


@dataclass(slots=True)
class _Kept:
    path: Path
    size: int
    uses_left: int


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
        self._kept: dict[_Content, _Kept] = {}  # the one that was unused for longest first
        self._bytes = 0
        self._place: TemporaryFolder | None = None

    def extract(
        self,
        directory: Path,
        members: Iterable[tuple[MemberInfo, int]],
        extract: Callable[[str, Path], object],
        times: Mapping[str, int],
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
            When each was changed last, as far as it is known: of one that is kept it is the same.
        """
        for info, n_objects in members:
            destination, content = directory / info.name, (replace(info, name=""), times.get(info.name))
            kept = self._kept.get(content)
            if kept is None or not _has_second_name(kept.path, destination):
                extract(info.name, destination)
            if kept is not None:
                self._use(content, kept)
            elif n_objects > 1:
                # Beside the folder that holds the directory: there a file can have a second name.
                self._keep(content, destination, directory.parent.parent, n_objects - 1)

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

    def _use(self, content: _Content, kept: _Kept) -> None:
        del self._kept[content]
        self._kept[content] = kept
        kept.uses_left -= 1
        if kept.uses_left <= 0:
            self._drop(content)

    def _keep(self, content: _Content, file: Path, parent: Path, uses_left: int) -> None:
        if self._place is None:
            self._place = TemporaryFolder(parent)
        kept = self._place.path / secrets.token_hex(8)
        if not _has_second_name(file, kept):
            return
        size = content[0].size
        self._kept[content] = _Kept(kept, size, uses_left)
        self._bytes += size
        while self._bytes > self._kept_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, content: _Content) -> None:
        kept = self._kept.pop(content)
        self._bytes -= kept.size
        kept.path.unlink(missing_ok=True)


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

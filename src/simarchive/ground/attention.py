"""What a process is looking at, noted where its parent can read it when the process has died of it."""

from __future__ import annotations

import mmap

_NOTE_BYTES = 512

_page: mmap.mmap | None = None
_place: tuple[str, ...] = ()


def share() -> None:
    """Keep the notes of this process, and of those that it forks, in memory that they share."""
    global _page
    _page = mmap.mmap(-1, _NOTE_BYTES)


def note(*place: str) -> None:
    """Note what is about to be read: the key of an object, and the name of a member of it."""
    global _place
    _place = place
    if _page is not None:
        text = "\0".join(place).encode("utf-8", "backslashreplace")
        _page[:] = text[:_NOTE_BYTES].ljust(_NOTE_BYTES, b"\0")


def noted() -> list[str]:
    """Return what was noted last, by whichever process: nothing if nothing was."""
    if _page is None:
        return list(_place)
    text = _page[:].rstrip(b"\0").decode("utf-8", "replace")
    return text.split("\0") if text else []


def noted_place() -> str:
    """Return in words where that is, to follow what happened there; an empty text if nothing was noted."""
    key, *member = noted() or [""]
    of_member = f", member {member[0]!r}" if member else ""
    return f" at object {key!r}{of_member}" if key else ""

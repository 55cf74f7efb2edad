"""When the files of an object were changed last, as the file system had it.

Of the group, not of the dataset: equal files of several objects, changed at different times, are one dataset.
"""

from __future__ import annotations

from collections.abc import Mapping

import h5py
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from simarchive.container import nodes
from simarchive.container.layout import MEMBER_TIMES
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError

ModifiedTimes = Mapping[str, int]
"""By the name of a member, nanoseconds since 1970."""

_Numbers = NDArray[np.int64]


class MemberTimes:
    """The times of an object's members, by name.

    Parameters
    ----------
    by_mark
        By the first 8 bytes of the BLAKE3 of the name, which stand for it in the file.
    """

    def __init__(self, by_mark: dict[int, int] | None = None) -> None:
        self._by_mark = {} if by_mark is None else by_mark

    def of(self, name: str) -> int | None:
        """Return when a member was changed last, in nanoseconds since 1970; ``None`` if that is not known."""
        return self._by_mark.get(_mark(name)) if self._by_mark else None

    def put(self, name: str, time_ns: int | None) -> None:
        """Set the time of a member, or forget it."""
        if time_ns is None:
            self._by_mark.pop(_mark(name), None)
        else:
            self._by_mark[_mark(name)] = time_ns

    def write(self, group: h5py.Group) -> None:
        """Write them to a group that has none."""
        if self._by_mark:
            numbers = np.array([*self._by_mark.items()], "<i8").ravel()
            nodes.create_numbers(group.id, MEMBER_TIMES, np.concatenate([_check(numbers), numbers]))


def keep_times(group: h5py.Group, times: ModifiedTimes) -> None:
    """Write when the members of a new `group` were changed last."""
    kept = MemberTimes()
    for name, time_ns in times.items():
        # Of 1677 to 2262; nothing else is a time that a program set on purpose.
        if -(1 << 63) <= time_ns < 1 << 63:
            kept.put(name, time_ns)
    kept.write(group)


def read_times(group: h5py.Group) -> MemberTimes:
    """Return the times that `keep_times` wrote; none where there are none.

    Raises
    ------
    CorruptError
        If they cannot be read, or do not match their check.
    """
    try:
        if not nodes.has_attribute(group.id, MEMBER_TIMES):
            return MemberTimes()
        found = nodes.read_numbers(group.id, MEMBER_TIMES).astype("<i8", casting="safe", copy=False)
    except UNREADABLE as error:
        raise CorruptError(f"its attribute {MEMBER_TIMES!r} cannot be read: {error}") from error
    numbers = found[1:]
    if not len(found) % 2 or not np.array_equal(found[:1], _check(numbers)):
        raise CorruptError(f"its attribute {MEMBER_TIMES!r} does not match its check")
    return MemberTimes(dict(numbers.reshape(-1, 2).tolist()))


def _mark(name: str) -> int:
    return int.from_bytes(blake3(name.encode("utf-8", "backslashreplace")).digest(8), "little", signed=True)


def _check(numbers: _Numbers) -> _Numbers:
    return np.frombuffer(blake3(numbers.tobytes()).digest(8), "<i8")

"""Keeping Python's garbage collector out of the calls that HDF5 makes."""

from __future__ import annotations

import gc


class CollectorPause:
    """Holds off the cyclic garbage collector between `begin` and `end`.

    HDF5 seeks and then reads or writes. Between the two the collector may run, find an h5py object in a
    cycle, and close it; HDF5 then does its own seeks and reads in the midst of a call, and the bytes that
    were to be written land where the last of those ended.

    Pauses of several files never overlap, in whatever threads: h5py lets one thread at a time into HDF5.
    """

    def __init__(self) -> None:
        self._is_ours = False

    def begin(self) -> None:
        """Hold the collector off, unless it is off anyway."""
        if not self._is_ours and gc.isenabled():
            gc.disable()
            self._is_ours = True

    def end(self) -> None:
        """Let the collector run again if `begin` stopped it."""
        if self._is_ours:
            self._is_ours = False
            gc.enable()

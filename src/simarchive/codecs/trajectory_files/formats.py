"""The formats of trajectories by the extension of a name, and the layout of a file of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simarchive.codecs.trajectory_files.dcd import dcd_layout
from simarchive.codecs.trajectory_files.layout import Layout, Read
from simarchive.codecs.trajectory_files.netcdf import netcdf_layout
from simarchive.codecs.trajectory_files.xdr import xdr_layout

FORMATS = {
    ".dcd": "DCD",
    ".nc": "NCDF",
    ".ncdf": "NCDF",
    ".netcdf": "NCDF",
    ".trr": "TRR",
    ".xtc": "XTC",
}
"""The format of a trajectory by the extension of its name."""

LAYOUTS: dict[str, Callable[[Read, int], Layout]] = {
    "DCD": dcd_layout,
    "NCDF": netcdf_layout,
    "TRR": partial(xdr_layout, kind="TRR"),
    "XTC": partial(xdr_layout, kind="XTC"),
}
"""What gives the layout of a file of a format; each raises `LayoutError` for another file."""


def frame_counters(head: bytes) -> tuple[tuple[int, int], ...]:
    """Return where a file that starts with `head` says how many frames it has: offsets and lengths in bytes.

    Programs that write DCD and NetCDF write these again with each frame; all else stays as it was.
    """
    if head[4:8] == b"CORD":
        return (8, 4), (20, 4)  # NSET, and NSTEP, which is the last step in files of CHARMM and OpenMM
    if head[:3] == b"CDF" and head[3:4] in (b"\x01", b"\x02"):
        return ((4, 4),)  # numrecs
    if head[:4] == b"CDF\x05":
        return ((4, 8),)
    return ()

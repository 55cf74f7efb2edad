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

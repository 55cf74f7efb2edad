"""The command line: one file for each command, and what they share.

Nothing here imports HDF5, numpy or chemistry at the top of a module: a command imports them when it
runs, so that ``simarchive --help`` answers at once.
"""

from simarchive.cli.application import main

__all__ = ["main"]

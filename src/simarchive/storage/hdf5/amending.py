"""Changes to a stored object: its files, tags and notes, each one commit that its history tells of."""

from __future__ import annotations

import getpass
import os

AUTHOR_VARIABLE = "SIMARCHIVE_AUTHOR"
"""The environment variable that says who stands in the history, in place of the login name."""


def author() -> str:
    """Return who works with this process: what the environment says, or the login name; empty if unknown."""
    name = os.environ.get(AUTHOR_VARIABLE, "").strip()
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""  # A container of a cluster or of CI may run as a user without a name.

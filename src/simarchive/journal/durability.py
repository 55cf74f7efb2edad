"""What survives a killed process, and what a power loss."""

from __future__ import annotations

from enum import Enum


class Durability(Enum):
    """What survives when.

    A killed process never costs a commit, and power loss never damages the container: what differs
    is which commits a power loss (or a crash of the operating system) can take.
    """

    COMMIT = "commit"
    """Each commit is on the device when `commit` returns."""

    CLOSE = "close"
    """Commits are on the device after a checkpoint or `close`. A power loss before that can take
    the last ones, always from the end: what stays is the state after some earlier commit."""

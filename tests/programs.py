"""Independent programs with which tests look at what is on disk; pip cannot install them."""

from __future__ import annotations

import re
import shutil

import pytest

INSTALL = {
    "h5dump": "apt-get install hdf5-tools",
    "ncdump": "apt-get install netcdf-bin",
    "b3sum": "apt-get install b3sum",
}
"""How to get each on Debian; other systems and conda-forge have them too."""


def path_of(program: str) -> str:
    """Return the path of a program; where it is missing, skip the test and say how to get it.

    Ask for it after everything that can be checked without it.
    """
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs the program {program}: {INSTALL[program]}")
    return found


def named_in(command: str) -> list[str]:
    """Return which of the programs a shell command runs."""
    return [name for name in INSTALL if re.search(rf"(^|[|;&(] *){name}\b", command, re.MULTILINE)]

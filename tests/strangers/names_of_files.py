"""Other names of one container: those that a path resolves, and those that only the file gives away."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

RESOLVED = (
    "the name itself",
    "relative",
    "with dots",
    "symbolic link",
    "link to a link",
    "link in another directory",
    "linked directory",
    "/proc/self/fd",
    "/dev/fd",
)
"""Names that the system resolves to the file's own."""
UNRESOLVED = ("hard link", "hard link in another directory", "bind mount")
"""Names that no path gives away."""


@contextlib.contextmanager
def other_name(kind: str, real: Path) -> Iterator[str]:
    """Give another name of the file `real`; the test is skipped if it would have to mount and may not."""
    directory = real.parent
    (directory / "elsewhere").mkdir(exist_ok=True)
    if kind == "the name itself":
        yield str(real)
    elif kind == "relative":
        yield os.path.relpath(real)
    elif kind == "with dots":
        yield str(directory / "elsewhere" / ".." / real.name)
    elif kind == "symbolic link":
        (directory / "link.h5").symlink_to(real.name)
        yield str(directory / "link.h5")
    elif kind == "link to a link":
        (directory / "elsewhere" / "inner.h5").symlink_to(real)
        (directory / "link.h5").symlink_to("elsewhere/inner.h5")
        yield str(directory / "link.h5")
    elif kind == "link in another directory":
        (directory / "elsewhere" / "b.h5").symlink_to(f"../{real.name}")
        yield str(directory / "elsewhere" / "b.h5")
    elif kind == "linked directory":
        (directory / "door").symlink_to(".")
        yield str(directory / "door" / real.name)
    elif kind in ("/proc/self/fd", "/dev/fd"):
        # The number is that of this process: a child opens its own, see `for_child`.
        yield f"{kind}/{real}"
    elif kind == "hard link":
        os.link(real, directory / "hard.h5")
        yield str(directory / "hard.h5")
    elif kind == "hard link in another directory":
        os.link(real, directory / "elsewhere" / "b.h5")
        yield str(directory / "elsewhere" / "b.h5")
    else:
        with bind_mount(real, directory / "elsewhere" / "b.h5") as name:
            yield str(name)


@contextlib.contextmanager
def bind_mount(real: Path, name: Path) -> Iterator[Path]:
    """Give a name by which the system mounts the file itself."""
    name.touch()
    with mounted(name, "--bind", str(real)):
        yield name


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    """Have something mounted at a place; the test is skipped where that cannot be, or is not allowed."""
    try:
        done = subprocess.run(["mount", *arguments, place], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the program mount (Debian's package mount) and the right to use it")
    if done.returncode:
        pytest.skip("not allowed to mount: needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def in_this_process(name: str) -> str:
    """Return a name that `other_name` gave, with a descriptor of this process where it needs one."""
    for kind in ("/proc/self/fd", "/dev/fd"):
        if name.startswith(f"{kind}/"):
            return f"{kind}/{os.open(name.removeprefix(kind + '/'), os.O_RDWR)}"
    return name

"""The arguments FILE and WHAT, and what a shell completes of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from simarchive.cli.arguments import FILE_VARIABLE, container_argument
from simarchive.cli.selection.completion import complete

Command = TypeVar("Command", bound=Callable[..., Any])

_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".he5", ".nc", ".simarchive"})


def what_argument(command: Command) -> Command:
    """Add the argument WHAT, which selects objects; without it, all are."""
    return click.argument("what", metavar="[WHAT]...", nargs=-1, shell_complete=complete)(command)


def file_and_what(purpose: str | None = None, *, metavar: str = "WHAT") -> Callable[[Command], Command]:
    """Add the arguments FILE and WHAT; FILE may be left out where the environment names it.

    Parameters
    ----------
    purpose
        What is done with the objects, ``"removed"``, if they have to be named; by default, no WHAT is all.
    metavar
        How the help page names WHAT.
    """

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, container: Path, what: tuple[str, ...], **arguments: Any) -> None:
            default = os.environ.get(FILE_VARIABLE)
            if default and str(container) != default and not _names_a_file(container):
                container, what = Path(default), (str(container), *what)
            if purpose is not None and not what:
                raise click.UsageError(
                    f"name what is to be {purpose}: keys, or criteria such as phase=liquid"
                )
            command(container=container, what=what, **arguments)

        shown = f"[{metavar}]..." if purpose is None else f"{metavar}..."
        with_what = click.argument("what", metavar=shown, nargs=-1, shell_complete=complete)(run)
        return container_argument(with_what)  # type: ignore[return-value]

    return add


def _names_a_file(path: Path) -> bool:
    """Return whether a word is meant as a file, not as what is selected in the one of the environment."""
    return os.sep in str(path) or path.suffix.lower() in _SUFFIXES or os.path.lexists(path)

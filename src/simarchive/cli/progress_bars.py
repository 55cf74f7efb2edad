"""Progress bars: on standard error, and only on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from simarchive.cli.output import TALK
from simarchive.cli.streams import behind

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from simarchive.storage.hdf5.storage import HDF5Storage


@contextlib.contextmanager
def bytes_bar(description: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Yield what to call with the bytes of each step, or ``None`` if standard error is not a terminal."""
    if not _is_shown():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _bar(description, total, columns) as (progress, task):
        yield lambda n_bytes: progress.advance(task, n_bytes)


@contextlib.contextmanager
def objects_bar(
    description: str, total: int | None, target: HDF5Storage | None = None
) -> Iterator[Callable[[object], None] | None]:
    """Yield what to call for each object that is done, or ``None`` if standard error is not a terminal.

    With a `target`, the bytes of the files that are stored in it are shown too.
    """
    if not _is_shown():
        yield None
        return
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn())
    with _bar(description, total, columns) as (progress, task):
        n_bytes = 0

        def count(n_more: int) -> None:
            nonlocal n_bytes
            n_bytes += n_more
            progress.update(task, done=decimal(n_bytes))

        if target is not None:
            target.progress = count
        yield lambda _: progress.advance(task)


def _is_shown() -> bool:
    return sys.stderr.isatty() and TALK.has_progress and not TALK.is_quiet


@contextlib.contextmanager
def _bar(
    description: str, total: int | None, columns: tuple[ProgressColumn, ...]
) -> Iterator[tuple[Progress, TaskID]]:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(file=behind(sys.stderr))
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as progress:
        yield progress, progress.add_task(description, total=total, done="")

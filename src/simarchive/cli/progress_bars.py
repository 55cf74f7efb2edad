"""Progress bars: on standard error, and only where someone is looking."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bytes_bar(description: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Give what to call with the bytes of each step, or ``None`` if standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _bar(description, total, columns) as advance:
        yield advance


@contextlib.contextmanager
def objects_bar(description: str, total: int | None) -> Iterator[Callable[[object], None] | None]:
    """Give what to call for each object that is done, or ``None`` if standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    with _bar(description, total, (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())) as advance:
        yield lambda _: advance(1)


@contextlib.contextmanager
def _bar(description: str, total: int | None, columns: tuple[object, ...]) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TextColumn

    shown = [column for column in columns if isinstance(column, ProgressColumn)]
    console = Console(file=sys.stderr)
    with Progress(TextColumn("{task.description}"), *shown, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)

        def advance(steps: int) -> None:
            progress.advance(task, steps)

        yield advance

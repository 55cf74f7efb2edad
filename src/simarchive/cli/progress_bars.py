"""Progress bars: on standard error, and only on a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
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
def received_bar(backend: HDF5Storage) -> Iterator[None]:
    """Show how many bytes have come over a network, while that takes long and no other bar is shown."""
    if not sys.stderr.isatty() or not backend.watch_requests(None):
        yield
        return
    received = _Received()
    backend.watch_requests(received.count)
    _WAITING.append(received)
    try:
        yield
    finally:
        _WAITING.remove(received)
        if not backend.closed:
            backend.watch_requests(None)
        received.hide()


class _Received:
    """The bar of a container that lies elsewhere. Threads that fetch count; whoever shows a bar hides it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_bytes, self._since = 0, time.monotonic()
        self._shown: contextlib.ExitStack | None = None
        self._update: Callable[[int], None] | None = None

    def count(self, n_bytes: int) -> None:
        """Take note of more bytes."""
        with self._lock:
            self._n_bytes += n_bytes
            if self._update is not None:
                self._update(n_bytes)
            elif not _shown_bars and time.monotonic() - self._since > _PATIENCE_S:
                self._show()

    def hide(self) -> None:
        """Take the bar away."""
        with self._lock:
            shown, self._shown, self._update = self._shown, None, None
            if shown is not None:
                shown.close()

    def _show(self) -> None:
        from rich.progress import DownloadColumn, TransferSpeedColumn

        self._shown = contextlib.ExitStack()
        columns = (DownloadColumn(), TransferSpeedColumn())
        progress, task = self._shown.enter_context(_live("received", None, columns))
        progress.advance(task, self._n_bytes)
        self._update = lambda n_bytes: progress.advance(task, n_bytes)


_WAITING: list[_Received] = []
_PATIENCE_S = 1.0
_shown_bars = 0


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

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with _bar(description, total, columns) as (progress, task):
        n_bytes = 0

        def count(n_more: int) -> None:
            nonlocal n_bytes
            n_bytes += n_more
            progress.update(task, done=decimal(n_bytes))

        if target is not None:
            target.progress = count

        def advance(_: object) -> None:
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            if speed:
                progress.update(task, rate=f"{speed:.3g}/s")

        yield advance


def _is_shown() -> bool:
    return sys.stderr.isatty() and TALK.has_progress and not TALK.is_quiet


@contextlib.contextmanager
def _bar(
    description: str, total: int | None, columns: tuple[ProgressColumn, ...]
) -> Iterator[tuple[Progress, TaskID]]:
    global _shown_bars
    # A terminal has room for one.
    _shown_bars += 1
    for received in _WAITING:
        received.hide()
    try:
        with _live(description, total, columns) as shown:
            yield shown
    finally:
        _shown_bars -= 1


@contextlib.contextmanager
def _live(
    description: str, total: int | None, columns: tuple[ProgressColumn, ...]
) -> Iterator[tuple[Progress, TaskID]]:
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(file=behind(sys.stderr))
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as progress:
        yield progress, progress.add_task(description, total=total, done="", rate="")

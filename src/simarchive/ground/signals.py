"""Holding off Python's signal handlers while something must not be left half done.

Python runs a signal handler between any two instructions of the main thread. One that raises, as that of
Ctrl-C does, would leave a change, a lock or HDF5 itself wherever it happened to be; one that stores something
would do so in the middle of another store. So while an operation is at work handlers wait: for its end, or
for a point at which it can be given up (`SignalHold.deliver`).

Only handlers that are Python functions wait, and only in the main thread, which is the one that runs them.
After each operation the handlers of the program are in place again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

# Those of `signal` make an enumeration member of every number, which takes ten times as long.
from _signal import getsignal as handler_of  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import CodeType, FrameType
from typing import Any, TypeVar

from simarchive.errors import StorageError

_WAITING_SIGNALS = tuple(
    int(getattr(signal, name))
    # Ctrl-C first: it is held off first and let through last, so that it meets no handler half put back.
    for name in (
        *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGPROF"),
        *("SIGCHLD", "SIGCONT", "SIGTSTP", "SIGWINCH", "SIGXCPU", "SIGPIPE", "SIGIO"),
    )
    if hasattr(signal, name)
)
# Somebody who presses Ctrl-C a third time after so long wants an end at any price.
_PATIENCE_S, _PATIENT_PRESSES = 5.0, 3

Guarded = TypeVar("Guarded", bound=Callable[..., Any])
Given = TypeVar("Given")


class GivenUp(BaseException):
    """Ends an operation because the handler of a signal raised; it never gets out of it."""


class SignalHold:
    """The handlers that wait, and the signals that came meanwhile; there is one, `SIGNALS`.

    `begin` and `end` nest. Between an `open_up` and its `take_back` the program's own code runs inside an
    operation (the block of a transaction): handlers run at once there, unless `begin` was called again.

    Attributes
    ----------
    is_delivering
        Whether a handler runs in the midst of an operation now.
    """

    def __init__(self) -> None:
        self.is_delivering = False
        self._depth = self._open = 0
        self._kept: list[tuple[int, Any]] = []
        self._waiting: list[int] = []
        self._raised: BaseException | None = None
        self._first_at = 0.0
        self._guarded: set[CodeType] = set()
        self._noter = self._note
        self._main = threading.main_thread().ident

    def guards(self, function: Guarded) -> Guarded:
        """Have handlers wait while this function runs, too, from before its first line on."""
        self._guarded.add(function.__code__)
        return function

    def begin(self) -> None:
        """Hold handlers off, until `end` was called as often as this."""
        if threading.get_ident() == self._main:
            if not self._depth:
                self._take_over()
            self._depth += 1

    def end(self) -> None:
        """Undo one `begin`; after the outermost, the handlers of the signals that came run, and may raise.

        Raises
        ------
        BaseException
            What a handler raises, or has raised while the operation was at work.
        """
        # A forked child leaves operations that its parent has begun: nothing is held off for them.
        if threading.get_ident() != self._main or not self._depth:
            return
        self._depth -= 1
        if self._depth:
            return
        raised, self._raised = self._raised, None
        try:
            if self._open:
                self.deliver()
            else:
                self._give_back()
        finally:
            if raised is not None:
                raise raised from None

    def open_up(self) -> None:
        """Undo one `begin` for code of the program that runs inside the operation."""
        if threading.get_ident() == self._main:
            self._open += 1
            self._depth -= 1

    def take_back(self) -> None:
        """Undo one `open_up`; in a forked child, for which there was none, do nothing."""
        if threading.get_ident() == self._main and self._open:
            self._depth += 1
            self._open -= 1

    def deliver(self) -> None:
        """Run the handlers of the signals that came; call it where the operation can be given up.

        Raises
        ------
        GivenUp
            If a handler raises, be it `KeyboardInterrupt` or an error that the operation might take for one
            of its own. What it raised comes when the operation has ended.
        BaseException
            That itself, in the block of a transaction.
        """
        if not self._waiting or self.is_delivering or threading.get_ident() != self._main:
            return
        numbers = list(dict.fromkeys(self._waiting))
        self._waiting.clear()
        self.is_delivering = bool(self._depth)
        try:
            while numbers:
                number = numbers.pop(0)
                self._run(number, sys._getframe(1))
        except BaseException as raised:
            if not self._depth:
                raise
            self._raised = raised
            raise GivenUp from None
        finally:
            self._waiting[:0] = numbers
            self.is_delivering = False

    # ---- the parts of the above ----------------------------------------------------------------

    def _take_over(self) -> None:
        try:
            for number in _WAITING_SIGNALS:
                handler = handler_of(number)
                if callable(handler) and handler is not self._noter:
                    self._kept.append((number, handler))
                    set_handler(number, self._noter)
        except BaseException:
            # A handler whose turn had not come.
            self._give_back()
            raise

    def _give_back(self) -> None:
        # Others may begin and end meanwhile: finalizers, and handlers that use a store.
        kept, self._kept = self._kept, []
        handlers = dict(kept)
        error: BaseException | None = None
        while True:
            try:
                while kept:
                    number, handler = kept[-1]
                    # Unless the program has installed another one meanwhile.
                    if handler_of(number) is self._noter:
                        set_handler(number, handler)
                    kept.pop()
                break
            except BaseException as raised:
                error = error or raised
        due = {number for number in self._waiting if not _is_running(handlers.get(number))}
        self._waiting = [number for number in self._waiting if number not in due]
        while due:
            # Each runs, though another one raised.
            try:
                signal.raise_signal(due.pop())
            except BaseException as raised:
                error = error or raised
        if error is not None:
            raise error

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of a signal that comes while handlers wait."""
        if self._open and not self._depth and not self._is_guarded(frame):
            self._run(number, frame)
            return
        if not self._waiting:
            self._first_at = time.monotonic()
        self._waiting.append(number)
        if self._waiting.count(signal.SIGINT) >= _PATIENT_PRESSES and (
            time.monotonic() - self._first_at > _PATIENCE_S
        ):
            self._waiting = [other for other in self._waiting if other != signal.SIGINT]
            self._run(signal.SIGINT, frame)

    def _run(self, number: int, frame: FrameType | None) -> None:
        for kept, handler in reversed(self._kept):
            if kept == number:
                handler(number, frame)
                return

    def _is_guarded(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code in self._guarded:
                return True
            frame = frame.f_back
        return False

    def _forget_in_child(self) -> None:
        """A forked child has none of its parent's operations."""
        self._main = threading.get_ident()
        self._depth = self._open = 0
        self._waiting.clear()
        self._raised = None
        self.is_delivering = False
        self._give_back()


def _is_running(handler: object) -> bool:
    """Return whether a handler is on the stack: as the system does, one signal does not interrupt its like.

    Else a timer that is faster than its handler would nest it without end.
    """
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    frame: FrameType | None = sys._getframe(1)
    while code is not None and frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


SIGNALS = SignalHold()


class OpenBlock(AbstractContextManager[Given]):
    """A block of the program's own code inside an operation: what the operation holds stays, signals do not.

    Parameters
    ----------
    inner
        The operation; it begins to hold handlers off when it is entered, and ends that when it is left.
    given
        What the block gets.
    is_mine
        Whether this thread is the one that entered the operation.
    """

    def __init__(
        self, inner: AbstractContextManager[object], given: Given, is_mine: Callable[[], bool]
    ) -> None:
        self._inner, self._given, self._is_mine = inner, given, is_mine
        self._is_entered = False

    @SIGNALS.guards
    def __enter__(self) -> Given:
        self._inner.__enter__()
        self._is_entered = True
        SIGNALS.open_up()
        try:
            SIGNALS.deliver()
        except BaseException as error:
            self._leave(error)
            raise
        return self._given

    @SIGNALS.guards
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        self._is_entered = False
        SIGNALS.take_back()
        if error is None:
            self._inner.__exit__(None, None, None)
        else:
            self._inner.__exit__(type(error), error, error.__traceback__)

    @SIGNALS.guards
    def __del__(self) -> None:
        # Entered by hand and forgotten.
        if self._is_entered and self._is_mine():
            with contextlib.suppress(StorageError):
                self._leave(StorageError("a transaction was forgotten"))


os.register_at_fork(after_in_child=SIGNALS._forget_in_child)

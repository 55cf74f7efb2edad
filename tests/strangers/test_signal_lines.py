"""A signal at every line of an operation: its exception arrives, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from children import say, start
from interruptions import (
    HANDLED,
    KINDS,
    OPERATIONS,
    Kind,
    Operation,
    Scene,
    check_the_end,
    faults_after,
    installed,
)

import simarchive

# All lines are passed with 0; else so many moments of each operation, from the first to the last.
MOMENTS = int(os.environ.get("SIMARCHIVE_MOMENTS", "14"))
STALL_S = 10.0
PACKAGE = str(Path(simarchive.__file__).parent)
Moment = tuple[tuple[str, int], int]
"""A line of a file, and the how manieth time that it is passed."""


class Passage:
    """The lines of simarchive that an operation passes, and a signal at one of them."""

    def __init__(self, kind: Kind | None = None, moment: Moment | None = None) -> None:
        self.passed: Counter[tuple[str, int]] = Counter()
        self.has_arrived = False
        self._kind, self._moment = kind, moment

    def through(self, operation: Operation) -> None:
        sys.settrace(self._enter)
        try:
            operation()
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        return self._pass if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _pass(self, frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "line":
            here = (frame.f_code.co_filename, frame.f_lineno)
            self.passed[here] += 1
            if (
                self._kind is not None
                and (here, self.passed[here]) == self._moment
                and not is_of_a_finalizer(frame)
            ):
                self.has_arrived = True
                self._kind.arrive()
        return self._pass


SWALLOWED: list[str] = []
"""Where the interpreter could not let an exception out, and went on."""


# Called by the C code of `io`, which clears what they raise: when a file is let go of, and when a buffer is
# put around one.
SWALLOWING = {("reader.py", "close"), ("streams.py", "tell")}


def is_of_a_finalizer(frame: FrameType | None) -> bool:
    """Return whether the interpreter would swallow whatever is raised in a frame, in any program."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        if (Path(frame.f_code.co_filename).name, frame.f_code.co_name) in SWALLOWING:
            return True
        if frame.f_code.co_filename.endswith("weakref.py"):
            name, given = frame.f_code.co_name, frame.f_locals
            if name == "remove" or (name == "__call__" and given.get("_") is not None):
                return True
        frame = frame.f_back
    return False


def moments_of(operation: str, scene: Scene) -> list[Moment]:
    """Return the moments to try: each line the first, the middle and the last time that it is passed."""
    for _ in range(2):  # The first time, things are loaded.
        passage = Passage()
        passage.through(OPERATIONS[operation](scene))
        list(faults_after(scene))
    moments = [
        (line, nth)
        for line, times in sorted(passage.passed.items())
        for nth in sorted({1, (times + 1) // 2, times})
    ]
    if MOMENTS and len(moments) > MOMENTS:
        step = len(moments) / MOMENTS
        moments = [moments[int(number * step)] for number in range(MOMENTS)]
    return moments


def sweep(operation: str, first: int) -> None:
    """Try the moments from `first` on; say which, and what was wrong after it."""
    sys.unraisablehook = lambda swallowed: SWALLOWED.append(repr(swallowed.object))
    scene = Scene(path=f"a{first}.h5")
    moments = moments_of(operation, scene)
    say("moments", len(moments))
    arrived = 0
    for number in range(first, len(moments)):
        (file, line), _ = moments[number]
        where = f"{Path(file).name}:{line}"
        name = list(KINDS)[(number if MOMENTS else number + line) % len(KINDS)]
        say("at", number, where, name)
        passage = Passage(KINDS[name], moments[number])
        handlers = [signal.getsignal(handled) for handled in HANDLED]
        for fault in faults_at(operation, scene, passage, KINDS[name]):
            say("fault", f"{where} ({name}): {fault}")
        if [signal.getsignal(handled) for handled in HANDLED] != handlers:
            say("fault", f"{where} ({name}): a signal handler is another than before")
        arrived += passage.has_arrived
    say("arrived", arrived)
    for fault in check_the_end(scene):
        say("fault", fault)


def faults_at(operation: str, scene: Scene, passage: Passage, kind: Kind) -> list[str]:
    faults = []
    prepared = OPERATIONS[operation](scene)
    with installed(kind):
        try:
            passage.through(prepared)
        except kind.raised:
            # What the exception keeps alive, for as long as a program looks at it, must hold nothing up.
            return list(faults_after(scene))
        except BaseException as error:
            faults.append(f"it comes as {type(error).__name__}: {str(error)[:150]}")
        else:
            if passage.has_arrived:
                where = f", swallowed in {SWALLOWED[-1]}" if SWALLOWED else ""
                faults.append(f"it does not come{where}")
        SWALLOWED.clear()
    return faults + list(faults_after(scene))


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_signal_at_any_line_arrives_and_leaves_nothing_behind(operation: str, place: Path) -> None:
    faults: list[str] = []
    first, moments, arrived = 0, 1, 0
    while first < moments and len(faults) < 100:
        done = start(sweep, operation, first).watch(STALL_S)
        at = [line for line in done.said if line[0] == "at"]
        moments = next((line[1] for line in done.said if line[0] == "moments"), 0)
        assert moments > 10, str(done)
        arrived += sum(line[1] for line in done.said if line[0] == "arrived")
        faults += [line[1] for line in done.said if line[0] == "fault"]
        if done.code == 0:
            break
        how = "hangs" if done.code is None else f"ends with code {done.code}"
        faults.append(f"{at[-1][2:] if at else 'before the first'}: the process {how}: {done.err[-300:]}")
        assert at, faults
        first = at[-1][1] + 1
    assert not faults, f"{len(faults)} faults in {moments} moments:\n" + "\n".join(faults[:40])
    assert arrived >= moments // 3

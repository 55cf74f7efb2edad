"""Ctrl-C at every line of `simarchive.storage` that an operation passes, one per try."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import simarchive

STORAGE = str(Path(simarchive.__file__).parent / "storage")


@dataclass(frozen=True)
class Moment:
    """The nth time that a line is passed."""

    file: str
    line: int
    nth: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} the {self.nth}. time"


def lines_of(operation: Callable[[], object], interrupt_at: Moment | None = None) -> Counter[tuple[str, int]]:
    """Do an operation; return how often it passed each line. `KeyboardInterrupt` comes at the moment."""
    passed: Counter[tuple[str, int]] = Counter()

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            here = (frame.f_code.co_filename, frame.f_lineno)
            passed[here] += 1
            if interrupt_at is not None and interrupt_at == Moment(*here, passed[here]):
                raise KeyboardInterrupt
        return local

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        # What is raised in a finaliser is nobody's to catch.
        is_ours = frame.f_code.co_filename.startswith(STORAGE) and frame.f_code.co_name != "__del__"
        return local if is_ours else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        operation()
    finally:
        sys.settrace(before)
    return passed


def moments(lines: Counter[tuple[str, int]]) -> Iterator[Moment]:
    """Yield the first time of each line, and the last time of those that change a directory."""
    for (file, line), times in lines.items():
        yield Moment(file, line, 1)
        if times > 1 and Path(file).parent.name == "evaluator_directory":
            yield Moment(file, line, times)

"""The standard streams: there even if they were closed, and never commanded by what a file holds.

Everything that the command line writes goes through the streams made here: answers, errors, tracebacks, what
click and Python's warnings say. Colours and bars are the exception: rich writes to `behind(stream)`, and gets
only text that is `printable`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any, TextIO, cast

from simarchive.ground.texts import one_line as one_line
from simarchive.ground.texts import printable as printable


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return strict JSON in which the same characters are escaped, so that it reads back as it was."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return "\n".join(line if line.isprintable() else _escaped_json(line) for line in text.split("\n"))


def _escaped_json(line: str) -> str:
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


class PrintableStream(io.TextIOBase):
    """A text stream that escapes what it is given, in front of another one.

    Parameters
    ----------
    stream
        The other one.
    is_optional
        Whether to go on without it if it cannot be written to, as with standard error: what a command does
        is worth more than what it says about it.
    """

    def __init__(self, stream: TextIO, *, is_optional: bool = False) -> None:
        self.stream = stream
        self._is_optional = is_optional

    def write(self, text: str) -> int:
        """Write a text, escaped."""
        with self._trying():
            self.stream.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Hand on all that was written."""
        with self._trying():
            self.stream.flush()

    def _trying(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.suppress(OSError, ValueError) if self._is_optional else contextlib.nullcontext()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self.stream.fileno()

    @property
    def buffer(self) -> Any:
        """The stream of bytes, which nothing is escaped in."""
        return self.stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How text becomes bytes."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding does not have."""
        return self.stream.errors


def behind(stream: TextIO) -> TextIO:
    """Return the stream itself, for one who writes colours and printable text."""
    return stream.stream if isinstance(stream, PrintableStream) else stream


def prepare() -> None:
    """Make the standard streams whole: open, writing all they are given, and escaping it."""
    _open_closed_descriptors()
    output = _complete(sys.stdout, 1)
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="backslashreplace")
    sys.stdout = _guarded(output)
    sys.stderr = _guarded(_complete(sys.stderr, 2), is_optional=True)


def _guarded(stream: TextIO, *, is_optional: bool = False) -> TextIO:
    if isinstance(stream, PrintableStream):
        return cast("TextIO", stream)
    return cast("TextIO", PrintableStream(stream, is_optional=is_optional))


def _open_closed_descriptors() -> None:
    """Put the null device where a standard stream was closed.

    Else the container could get the number of one, and what is printed would be written into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def _complete(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:
        return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: a raw write to a pipe may take only a part, and the rest would be lost.
        encoding, lines = stream.encoding, stream.isatty() or descriptor == 2
        raw = stream.detach()
        assert isinstance(raw, io.RawIOBase)
        return io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=lines
        )
    return stream


def forget_output() -> None:
    """Leave nothing for the interpreter to flush at exit, which would fail again."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)

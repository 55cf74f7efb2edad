"""What a failed command says, and the exit code it leaves with.

People get one line, ``simarchive: <message>``, and notes below it. With ``--json`` standard error is
JSON Lines: an object with ``warning`` for each warning, and one with ``error`` as the last line.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import click

from simarchive.cli.output import TALK
from simarchive.cli.streams import forget_output, json_text, one_line
from simarchive.errors import OutOfMemoryError, StorageError
from simarchive.ground import attention
from simarchive.ground.filesystem import error_of

USAGE = 2
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE = 141  # 128 + SIGPIPE: what `cat` gives when `head` has seen enough


class Findings(Exception):
    """A command that did its work and has printed an answer other than "all is well"."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


@contextlib.contextmanager
def as_exit_codes(*, as_json: bool) -> Iterator[None]:
    """Turn every expected failure of the block into a message and an exit code.

    An unexpected error keeps its traceback, and leaves with code 70.
    """
    _send_warnings_to_stderr(as_json=as_json)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (Findings, click.exceptions.Exit) as outcome:
        raise SystemExit(outcome.exit_code) from None
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted", as_json=as_json, kind="KeyboardInterrupt", exit_code=INTERRUPTED)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        forget_output()
        raise SystemExit(BROKEN_PIPE) from None
    except click.ClickException as error:
        _explain_usage(error, as_json=as_json)
        raise SystemExit(error.exit_code) from None
    except StorageError as error:
        _report(error, as_json=as_json)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        forget_output()
        translated = _as_storage_error(error)
        _report(translated, as_json=as_json)
        raise SystemExit(translated.exit_code) from None
    except MemoryError:
        # Of what reads a container, the container has spoken.
        short = OutOfMemoryError(f"this takes more memory than there is{attention.noted_place()}")
        _report(short, as_json=as_json)
        raise SystemExit(short.exit_code) from None
    except Exception as error:
        _report_fault(error, as_json=as_json)
        raise SystemExit(UNEXPECTED) from None


def _report(error: StorageError, *, as_json: bool) -> None:
    _say(
        str(error),
        as_json=as_json,
        kind=type(error).__name__,
        exit_code=error.exit_code,
        notes=getattr(error, "__notes__", []),
    )


def _report_fault(error: Exception, *, as_json: bool) -> None:
    if not as_json:
        sys.excepthook(type(error), error, error.__traceback__)
        return
    lines = "".join(traceback.format_exception(error)).splitlines()
    _say(str(error), as_json=True, kind=type(error).__name__, exit_code=UNEXPECTED, notes=lines)


def _say(message: str, *, as_json: bool, kind: str, exit_code: int, notes: Sequence[str] = ()) -> None:
    if as_json:
        line: dict[str, Any] = {"error": message, "type": kind, "exit_code": exit_code, "notes": list(notes)}
        print(json_text(line), file=sys.stderr)
        return
    first, *more = message.split("\n")
    print(_wrapped(one_line(f"simarchive: {first}"), is_alone=not more), file=sys.stderr)
    # A line that begins like another message would be one that a file made up.
    for following in more:
        print(following if following.startswith("  ") else f"  {following}", file=sys.stderr)
    for note in notes:
        for line_of_note in note.split("\n"):
            print(f"  {line_of_note}", file=sys.stderr)


def _wrapped(message: str, *, is_alone: bool) -> str:
    """Return a message wrapped at whole words if it goes to a terminal, and unchanged otherwise."""
    if not is_alone or not sys.stderr.isatty():
        return message
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        message, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _explain_usage(error: click.ClickException, *, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    notes = []
    if context is not None:
        notes.append(f"see: {context.command_path} --help")
    _say(error.format_message(), as_json=as_json, kind="UsageError", exit_code=error.exit_code, notes=notes)


def _as_storage_error(error: OSError) -> StorageError:
    place = f": '{error.filename}'" if error.filename else ""
    message = f"{error.strerror or error}{place}"
    return error_of(error, message)


class _WarningLines(logging.Handler):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__(logging.WARNING)
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        _warn(record.getMessage(), as_json=self._as_json)


def _warn(message: str, *, as_json: bool) -> None:
    if TALK.is_quiet:
        return
    sys.stdout.flush()  # Otherwise the answer would follow the warning where both go to one place.
    print(
        json_text({"warning": message}) if as_json else f"simarchive: warning: {one_line(message)}",
        file=sys.stderr,
    )


def _send_warnings_to_stderr(*, as_json: bool) -> None:
    logger = logging.getLogger("simarchive")
    logger.handlers = [_WarningLines(as_json=as_json)]
    logger.propagate = False

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _warn(str(message), as_json=as_json)

    warnings.showwarning = show

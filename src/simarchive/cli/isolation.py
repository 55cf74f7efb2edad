"""Reading a stranger's file in a process of its own: what crashes, hangs or takes all memory is the child.

A file can be made, or damaged, so that the HDF5 library itself crashes or never returns. With ``--isolated``
the command forks before it has started a thread or touched HDF5, which costs a millisecond; the child is the
command, with the terminal and the streams of its parent, and limits of memory and time. The parent reads
nothing: it waits, and says how the child ended.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from simarchive.cli import failures
from simarchive.cli.output import size_text
from simarchive.cli.streams import behind
from simarchive.errors import CrashedError
from simarchive.ground import attention
from simarchive.journal.creation import sweep

Command = TypeVar("Command", bound=Callable[..., Any])
Rule = Callable[[Sequence[Path]], bool]

MEMORY_VARIABLE = "SIMARCHIVE_ISOLATED_MB"
TIME_VARIABLE = "SIMARCHIVE_ISOLATED_SECONDS"

# Commands take 200 MB of address space, `verify` 4 KB more for each object: enough for some 900,000.
_MEMORY_MB = 4096
# So that a large file has its time: no way of reading is ten times slower than this.
_TIME_S, _SLOWEST_BYTES_PER_S = 600, 2_000_000

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WATCHED = (*_FORWARDED, signal.SIGCHLD, signal.SIGCONT)
_BY_KERNEL = 0x80  # SI_KERNEL of <asm-generic/siginfo.h>: a key at the terminal, which all its processes get
_PATIENCE_S = 0.5
_GRACE_S = 5
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_CURSOR_AND_EMPTY_LINE = "\x1b[?25h\r\x1b[2K"


def always(paths: Sequence[Path]) -> bool:
    """Be the rule of a command that isolates unless it is told not to."""
    return True


def never(paths: Sequence[Path]) -> bool:
    """Be the rule of a command that isolates when it is told to."""
    return False


def of_others(paths: Sequence[Path]) -> bool:
    """Return whether one of the files belongs to another user."""
    for path in paths:
        with contextlib.suppress(OSError):  # the command says what is wrong with it
            if path.stat().st_uid != os.geteuid():
                return True
    return False


def isolated_option(
    *parameters: str, rule: Rule = never, made: str | None = None
) -> Callable[[Command], Command]:
    """Add ``--isolated`` to a command that reads the files which these parameters name.

    Parameters
    ----------
    rule
        Decides where neither ``--isolated`` nor ``--no-isolated`` is given.
    made
        The parameter that names the container which the command makes: a crash leaves nothing beside it.
    """

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, isolated: bool | None, **arguments: Any) -> None:
            given = [arguments[name] for name in parameters]
            paths = [path for value in given for path in ([value] if isinstance(value, Path) else value)]
            if rule(paths) if isolated is None else isolated:
                try:
                    _run_apart(functools.partial(command, **arguments), paths, bool(arguments.get("as_json")))
                except CrashedError:
                    if made is not None:
                        sweep(arguments[made])
                    raise
            else:
                command(**arguments)

        return click.option(
            "--isolated/--no-isolated",
            default=None,
            help="Read in a process of its own, with limits: a hostile file can crash nothing else.",
        )(run)  # type: ignore[return-value]

    return add


@dataclass(frozen=True)
class _Limits:
    memory_bytes: int
    time_s: int

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Limits:
        memory_mb = _number(MEMORY_VARIABLE) or _MEMORY_MB
        time_s = _number(TIME_VARIABLE) or _TIME_S + sum(map(_size, paths)) // _SLOWEST_BYTES_PER_S
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return cls(min(memory_mb << 20, sys.maxsize if soft == resource.RLIM_INFINITY else soft), time_s)


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if text and not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise click.UsageError(f"{variable} has to be a whole number above 0, not {text!r}")
    return int(text or 0)


def _size(path: Path) -> int:
    """Return the bytes that are on the disk, whatever size a sparse file claims."""
    size = 0
    with contextlib.suppress(OSError):
        if not path.is_dir():
            return path.stat().st_blocks * 512
        for folder, _, names in os.walk(path):
            for name in names:
                with contextlib.suppress(OSError):
                    size += (Path(folder) / name).lstat().st_blocks * 512
    return size


def _run_apart(work: Callable[[], None], paths: Sequence[Path], as_json: bool) -> None:
    limits = _Limits.of(paths)
    attention.share()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _be_the_child(work, paths, limits, parent=parent, mask=mask, as_json=as_json)
        status, is_late = _wait(pid, limits.time_s)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    code, place = os.waitstatus_to_exitcode(status), attention.noted_place()
    if code == 0:
        return
    if code > 0:
        raise failures.Findings(code)
    if -code in _FORWARDED:
        signal.signal(-code, signal.SIG_DFL)
        signal.raise_signal(-code)
    if sys.stderr is not None and sys.stderr.isatty():
        # A progress bar hides the cursor, and could not show it again.
        behind(sys.stderr).write(_CURSOR_AND_EMPTY_LINE)
    if is_late or -code == signal.SIGXCPU:
        raise CrashedError(
            f"reading {_named(paths)} took more than {limits.time_s:,} s{place} and was given up: "
            + _ways_out(TIME_VARIABLE)
        )
    if -code == signal.SIGKILL:
        raise CrashedError(
            f"reading {_named(paths)} was killed{place}, as the system does when memory runs out:"
            " free some memory; if that does not help, take the file for damaged or hostile"
        )
    raise CrashedError(
        f"reading {_named(paths)} crashed the HDF5 library ({signal.Signals(-code).name}){place}, in a"
        " process of its own: the file is damaged or hostile; restore it from a copy,"
        " and read it only with --isolated"
    )


def _named(paths: Sequence[Path]) -> str:
    return " and ".join(f"'{path}'" for path in paths[:3]) + (" and others" if len(paths) > 3 else "")


def _ways_out(variable: str) -> str:
    return f"if you trust the file, raise the limit with {variable}, or use --no-isolated"


# ---- the parent ----------------------------------------------------------------------------------


def _wait(pid: int, time_s: int) -> tuple[int, bool]:
    """Wait for the child; return its status, and whether it was killed because its time was over."""
    deadline = time.monotonic() + time_s
    forward: list[tuple[float, int]] = []
    is_late = False
    while True:
        until = min([deadline, *(at for at, _ in forward)])
        info = signal.sigtimedwait(_WATCHED, max(until - time.monotonic(), 0))
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, is_late
        now = time.monotonic()
        if info is not None and info.si_signo == signal.SIGCONT:
            deadline = now + time_s
        elif info is not None and info.si_signo in _FORWARDED and info.si_code != _BY_KERNEL:
            # Whoever signals all processes of a group has reached the child too, which then ends meanwhile.
            forward.append((now + _PATIENCE_S, info.si_signo))
        for at, number in list(forward):
            if at <= now:
                forward.remove((at, number))
                os.kill(pid, number)
        if now >= deadline:
            if _is_read_slowly():
                deadline = now + time_s
            else:
                is_late, deadline = True, now + _GRACE_S
                os.kill(pid, signal.SIGKILL)


def _is_read_slowly() -> bool:
    """Return whether standard output is full: the child waits for somebody who reads it page by page."""
    try:
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        return not poll.poll(0)
    except OSError:
        return False


# ---- the child -----------------------------------------------------------------------------------


def _be_the_child(
    work: Callable[[], None],
    paths: Sequence[Path],
    limits: _Limits,
    *,
    parent: int,
    mask: set[int | signal.Signals],
    as_json: bool,
) -> NoReturn:
    # What is registered by now is the parent's to do.
    atexit._clear()
    code = failures.UNEXPECTED
    try:
        with failures.as_exit_codes(as_json=as_json):
            _set_limits(limits, parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            try:
                work()
            except MemoryError as error:  # Ours is one too.
                # Room to say so.
                resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
                raise CrashedError(
                    f"reading {_named(paths)} took more than {size_text(limits.memory_bytes)} of memory"
                    f"{attention.noted_place()} and was given up: {_ways_out(MEMORY_VARIABLE)}"
                ) from error
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else failures.UNEXPECTED
    finally:
        # Not up into the frames of the parent: what is above is its own, and may be another program.
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _set_limits(limits: _Limits, parent: int) -> None:
    # A parent that is killed takes the child with it.
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(failures.UNEXPECTED)
    # numpy would start a thread for each processor, with memory of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_CPU, limits.time_s)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(which: int, value: int) -> None:
    """Set a limit, unless there is a tighter one."""
    soft, hard = resource.getrlimit(which)
    if soft == resource.RLIM_INFINITY or value < soft:
        resource.setrlimit(which, (value, hard))

"""Programs in processes of their own, each with a time limit, and what became of them.

A program is a function of a test's module; what it says with `say` reaches the test as lists of JSON
values. A new interpreter takes a second to load what simarchive needs, and the tests here start hundreds of
processes. So each process of pytest has one nursery, which has loaded everything, has opened nothing and
runs no thread. It forks a child for each program, within some milliseconds. Threads are joined and handlers
at exit run when a child ends, as in every Python program. Only where a test is about the end is the
interpreter torn down too, which takes longer than all else.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

LIMIT_S = 20.0
Program = Callable[..., object]


# ---- what a test does ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What became of a process; `code` is None if it was still running at its time limit."""

    code: int | None
    out: str
    err: str

    @property
    def said(self) -> list[list[Any]]:
        """What the program said, call by call; the last one is left out if a kill cut it off."""
        return [json.loads(line) for line in self.out.splitlines() if line.endswith("]")]

    def ended_well(self) -> Run:
        """Check that the process ended by itself, with exit code 0 and without a word of alarm."""
        assert self.code == 0, str(self)
        assert "Traceback" not in self.err, str(self)
        assert "Exception ignored" not in self.err, str(self)
        return self

    def __str__(self) -> str:
        how = "still running at its time limit" if self.code is None else f"ended with code {self.code}"
        if self.code is not None and self.code < 0:
            how = f"killed by signal {-self.code}"
        return f"{how}\n{self.out[-1500:]}\n{self.err[-3000:]}"


@dataclass
class Child:
    """A process that runs a program."""

    pid: int
    _line: socket.socket
    _out: IO[bytes]
    _err: IO[bytes]
    _texts: tuple[str, str] | None = field(default=None, init=False)

    def listen(self, n_lines: int = 1, timeout_s: float = LIMIT_S) -> list[list[Any]]:
        """Return what the program has said when that is so many calls of `say`."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = os.pread(self._out.fileno(), 1 << 20, 0)
            if text.count(b"\n") >= n_lines:
                return [json.loads(line) for line in text.split(b"\n")[:-1]]
            if time.monotonic() > deadline or self.has_ended():
                raise AssertionError(f"said too little:\n{self.finish(0.1)}")
            time.sleep(0.001)

    def has_ended(self) -> bool:
        """Return whether the process is over."""
        self._line.setblocking(False)
        try:
            return bool(self._line.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._line.setblocking(True)

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def watch(self, silence_s: float) -> Run:
        """Return what became of the process; it is killed when it has been silent for so long."""
        size, changed = -1, time.monotonic()
        while not self.has_ended() and time.monotonic() - changed < silence_s:
            if (size_now := os.fstat(self._out.fileno()).st_size) != size:
                size, changed = size_now, time.monotonic()
            time.sleep(0.005)
        return self.finish(0.01)

    def finish(self, timeout_s: float = LIMIT_S) -> Run:
        """Return what became of the process; it is killed at the time limit, with its children."""
        self._line.settimeout(timeout_s)
        code: int | None
        try:
            code = int(self._line.recv(32))
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self._line.settimeout(None)
            self._line.recv(32)
            code = None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # Whoever it forked and left behind.
        self._line.close()
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Run(code, *texts)


def start(program: Program, *arguments: object, torn_down: bool = False) -> Child:
    """Return a process that runs a function of a module, in the current directory.

    Parameters
    ----------
    torn_down
        Whether the interpreter is torn down at the end, as it is outside of tests.
    """
    return _nursery().start(program, arguments, torn_down=torn_down)


def run(program: Program, *arguments: object, timeout_s: float = LIMIT_S, torn_down: bool = False) -> Run:
    """Return what became of a process that ran a function of a module."""
    return start(program, *arguments, torn_down=torn_down).finish(timeout_s)


def command(*arguments: object, timeout_s: float = LIMIT_S) -> Run:
    """Return what became of a `simarchive` command."""
    return run(command_line, *map(str, arguments), timeout_s=timeout_s)


# ---- what a program does -------------------------------------------------------------------------------


def say(*words: object) -> None:
    """Tell the test something, at once and in one piece."""
    os.write(1, json.dumps(words).encode() + b"\n")


def outcome(action: Callable[[], object]) -> str:
    """Return "ok", or class and message of an error of ours; any other begins with "FOREIGN"."""
    from simarchive import StorageError

    try:
        action()
    except StorageError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"FOREIGN {type(error).__name__}: {error}"
    return "ok"


def is_ours(said: str) -> bool:
    """Return whether an outcome is success or a refusal in words."""
    return not said.startswith("FOREIGN")


def is_a(said: str, *names: str) -> bool:
    """Return whether an outcome is "ok", if that is among the names, or an error of one of the classes."""
    from simarchive import errors

    name = said.partition(":")[0]
    kind = getattr(errors, name, None)
    return name in names or (kind is not None and any(base.__name__ in names for base in kind.__mro__))


def force_field(text: object) -> Any:
    """Return a force field that differs from all with another text."""
    from simarchive import SmirnoffForceFieldSource

    return SmirnoffForceFieldSource(f"<SMIRNOFF><!-- {text} --></SMIRNOFF>")


def text_of(backend: Any, key: str) -> str:
    """Return the text that a force field was made with."""
    inner_xml: str = backend.retrieve_force_field(key).inner_xml
    return inner_xml.removeprefix("<SMIRNOFF><!-- ").removesuffix(" --></SMIRNOFF>")


def command_line(*arguments: str) -> None:
    from simarchive.cli import main

    main(list(arguments))


def store_and_die(path: str, *texts: str) -> None:
    """Store force fields, say the key of each, and die without closing."""
    from simarchive import HDF5Storage

    backend = HDF5Storage(path)
    for text in texts:
        say(backend.store_force_field(force_field(text)))
    os.kill(os.getpid(), signal.SIGKILL)


def killed_writer(path: object, *texts: str) -> list[str]:
    """Have a process store force fields and die without closing; return the keys that it acknowledged."""
    done = run(store_and_die, str(path), *texts)
    keys = [line[0] for line in done.said]
    assert len(keys) == len(texts), str(done)
    return keys


def store(path: object, *texts: str) -> list[str]:
    """Have a process store force fields and close; return their keys."""
    return [line[0] for line in run(store_and_close, str(path), *texts).ended_well().said]


def store_and_close(path: str, *texts: str) -> None:
    from simarchive import HDF5Storage

    with HDF5Storage(path) as backend:
        for text in texts:
            say(backend.store_force_field(force_field(text)))


def say_contents(path: str, mode: str) -> None:
    """Say the keys of a container, and what is wrong with it."""
    from simarchive import HDF5Storage

    with HDF5Storage(path, mode=mode) as backend:
        report = backend.verify(full=True)
        say(backend.keys(), [] if report.ok else [problem.message for problem in report.problems])


def keys_in(path: object, mode: str = "r") -> list[str]:
    """Return the keys of a container, which a new process has found sound."""
    ((keys, problems),) = run(say_contents, str(path), mode).ended_well().said
    assert problems == [], problems
    return list(keys)


def open_outcome(path: str, mode: str) -> None:
    from simarchive import HDF5Storage

    def look() -> None:
        with HDF5Storage(path, mode=mode, lock_timeout_s=0.3) as backend:
            say("keys", backend.keys())
            if mode == "a":
                say("key", backend.store_force_field(force_field(os.urandom(8).hex())))

    say("outcome", outcome(look))


def use(path: object, mode: str, timeout_s: float = 10.0) -> str:
    """Return the outcome of opening a container in a new process, reading it, and with mode "a" storing."""
    done = run(open_outcome, str(path), mode, timeout_s=timeout_s).ended_well()
    return str(done.said[-1][1])


# ---- the nursery ---------------------------------------------------------------------------------------


class Nursery:
    """The client's side of the process that forks the children."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def start(self, program: Program, arguments: tuple[object, ...], *, torn_down: bool) -> Child:
        task = {
            "program": (program.__module__, program.__qualname__),
            "arguments": arguments,
            "torn down": torn_down,
            "directory": str(Path.cwd()),
        }
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - the child closes them
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = [theirs.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._control, [pickle.dumps(task)], fds)
        pid = line.recv(32)
        assert pid, "the nursery has ended"
        return Child(int(pid), line, out, err)

    def close(self) -> None:
        self._control.close()
        self._process.wait()


_NURSERIES: list[Nursery] = []


def _nursery() -> Nursery:
    if not _NURSERIES:
        _NURSERIES.append(Nursery())
        atexit.register(_NURSERIES[0].close)
    return _NURSERIES[0]


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork a child for each task, and say its exit code when it is over; return, in the child, the task."""
    children: dict[int, tuple[int, int]] = {}
    while True:
        for ready in select.select([control, *children], [], [])[0]:
            if ready is control:
                message, fds, _, _ = socket.recv_fds(control, 1 << 17, 3)
                if not message:
                    os._exit(0)
                line, *streams = fds
                pid = os.fork()
                if pid == 0:
                    _become_a_program(
                        control, line, streams, [*children, *(line for _, line in children.values())]
                    )
                    return dict(pickle.loads(message))
                os.write(line, str(pid).encode())
                children[os.pidfd_open(pid)] = (pid, line)
                for fd in streams:
                    os.close(fd)
            else:
                pid, line = children.pop(ready)
                _, status = os.waitpid(pid, 0)
                with contextlib.suppress(BrokenPipeError):
                    os.write(line, str(os.waitstatus_to_exitcode(status)).encode())
                os.close(ready)
                os.close(line)


def _become_a_program(control: socket.socket, line: int, streams: list[int], others: list[int]) -> None:
    control.close()
    os.setsid()
    for number, fd in enumerate(streams, 1):
        os.dup2(fd, number)
    for fd in (line, *streams, *others):
        os.close(fd)


def _load() -> None:
    """Load what programs need, and make what is made once; open nothing.

    An import that a signal interrupts is no fault of simarchive, so none must be left for later.
    """
    for name in (
        "numpy",
        "h5py",
        "pytest",
        "rdkit.Chem",
        "simarchive.cli",
        "simarchive.testing.sample_objects",
    ):
        importlib.import_module(name)
    import simarchive

    for name in simarchive.__all__:
        getattr(simarchive, name)
    for command_file in (Path(simarchive.__file__).parent / "cli" / "commands").glob("*.py"):
        importlib.import_module(f"simarchive.cli.commands.{command_file.stem}")
    importlib.import_module("simarchive.testing.sample_objects").simulation()
    for name in _modules_that_a_program_loads():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _modules_that_a_program_loads() -> list[str]:
    """Return the modules that are loaded when every method of a backend is used once, in another process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            uses = importlib.import_module("uses_of_backends")
            stored = uses.filled("a.h5")
            for use in uses.USES.values():
                outcome(lambda use=use: use(stored))
            stored.backend.close()
            stored.other.close()
            os.chdir("/")
        os.write(writer, json.dumps([name for name in sys.modules if name != "__main__"]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        names: list[str] = json.loads(stream.read())
    os.waitpid(pid, 0)
    return names


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:] = json.loads(sys.argv[2])
    _load()
    task = _serve(control)
    os.chdir(task["directory"])
    # Scratch directories of those who are killed must not stay in the system's.
    os.environ["TMPDIR"] = str(Path.cwd().parent / "tmp")
    Path(os.environ["TMPDIR"]).mkdir(exist_ok=True)
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if task["torn down"]:
        _run(task)
    else:
        _run_and_exit(task)


def _run(task: dict[str, Any]) -> None:
    module, name = task["program"]
    getattr(importlib.import_module(module), name)(*task["arguments"])


def _run_and_exit(task: dict[str, Any]) -> None:
    """Do what the interpreter does at the end of a program, up to where it begins to take itself apart."""
    code = 0
    try:
        _run(task)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
